//! Mishaps with keys, hosts and leases: the words and the ways on of MISHAPS.md, on a terminal.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::loops::{tool, Disk};
use common::pty::Pty;
use common::session::{ends_with, mishap, table, type_passphrase, Session, PROMPT};
use common::*;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

const LOOK_AGAIN: &str = "A key stick is in: look again";

/// A session that may ask, with a small source.
fn asking(world: World) -> Session {
    write_random(&world.path("source/a"), 2);
    Session::new(world, true)
}

/// The session goes on from the card to its end; the domain opens and the source comes back.
#[track_caller]
fn goes_on(session: &Session, mut pty: Pty) -> String {
    session.unlock(&mut pty);
    ends_well(session, pty)
}

#[track_caller]
fn ends_well(session: &Session, pty: Pty) -> String {
    let said = ends_with(pty, 0);
    assert!(
        said.contains("signed by this session's device key"),
        "{said}"
    );
    session.prove(&session.world.path("source"));
    said
}

#[test]
fn every_line_of_the_table_has_its_test_and_every_test_its_line() {
    let mut tested = BTreeSet::new();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in std::fs::read_dir(tests).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(path).unwrap();
            let names = text.split("mishap(\"").skip(1);
            tested.extend(names.filter_map(|n| n.split('"').next().map(String::from)));
        }
    }
    let written: BTreeSet<String> = table().into_keys().collect();
    assert!(written.len() > 20, "{written:?}");
    assert_eq!(tested, written);
}

#[test]
fn a_stick_that_is_not_in_is_asked_for_and_found_when_it_is() {
    let session = asking(World::offline());
    let away = session.world.path("in-a-pocket");
    std::fs::rename(session.world.stick(), &away).unwrap();
    let mut pty = session.start(24, 80);
    pty.expect("What now?");
    std::fs::rename(&away, session.world.stick()).unwrap();
    pty.choose_here(LOOK_AGAIN);
    mishap("missing-stick").was_said(&goes_on(&session, pty));
}

#[test]
fn of_two_key_sticks_the_right_one_is_chosen() {
    let mut session = asking(World::offline());
    // Filled without a mount: a test beside this one would keep it in a namespace of its own.
    let keys = session.world.stick().display().to_string();
    let stick = |name: &str| {
        let disk = Disk::new(&session.world.path(name), 400);
        let ext4 = ["mke2fs", "-q", "-t", "ext4", "-L", "ASL-KEYS", "-d"];
        tool(&[&ext4[..], &[&keys, disk.name()]].concat());
        disk
    };
    let (other, right) = (stick("other.image"), stick("right.image"));
    let named = format!("path = {:?}\n", session.world.stick());
    session.profile = session.profile.replacen(&named, "", 1);
    // What udev would note of them.
    let notes = session.world.path("run/udev/data");
    std::fs::create_dir_all(&notes).unwrap();
    for disk in [&other, &right] {
        let said = Command::new("blkid")
            .args(["-p", "-o", "udev", disk.name()])
            .output();
        let lines = String::from_utf8(said.unwrap().stdout).unwrap();
        let note: String = lines.lines().map(|l| format!("E:{l}\n")).collect();
        let device = Path::new("/sys/class/block").join(&disk.name()["/dev/".len()..]);
        let number = std::fs::read_to_string(device.join("dev")).unwrap();
        std::fs::write(notes.join(format!("b{}", number.trim())), note).unwrap();
    }
    let mut pty = session.start(24, 80);
    let item = format!("{}  ", right.name());
    pty.choose("Several key sticks are there. Which one", &item);
    let said = goes_on(&session, pty);
    assert!(said.contains(other.name()), "{said}");
    mishap("two-sticks").was_said(&said);
}

#[test]
fn three_wrong_passphrases_are_told_and_the_right_one_goes_on() {
    let session = asking(World::offline());
    let mut pty = session.start(24, 80);
    session.world.compare_with_card(&mut pty);
    for n in 0..3 {
        pty.expect(PROMPT);
        pty.send(&format!("wrong {n}\r"));
    }
    pty.choose("What now?", "It is put right: try it again");
    type_passphrase(&mut pty);
    mishap("wrong-passphrase").was_said(&ends_well(&session, pty));
}

/// A DAM that does not hold makes nothing, is said, and the right stick then goes on.
#[track_caller]
fn a_false_dam(session: &Session, file: &str, bytes: &[u8]) -> String {
    let path = session.world.stick().join("asl-keys").join(file);
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let mut pty = session.start(24, 80);
    pty.expect("What now?");
    assert!(!session.world.root().join("domains").exists());
    std::fs::write(&path, good).unwrap();
    pty.choose_here(LOOK_AGAIN);
    goes_on(session, pty)
}

#[test]
fn a_tampered_dam_is_told_and_another_stick_goes_on() {
    let session = asking(World::offline());
    let mut bad = std::fs::read(session.world.stick().join("asl-keys/dam.cbor")).unwrap();
    // The quality of its time: the document is well-formed, and nobody signed it.
    *bad.last_mut().unwrap() ^= 1;
    mishap("tampered-dam").was_said(&a_false_dam(&session, "dam.cbor", &bad));
}

/// Another person's keys, with a DAM of their own that is signed.
fn strangers_keys(world: &World, days: Option<&str>) -> std::path::PathBuf {
    let keys = world.path("stranger");
    let run = |words: &[&str], at: &str, more: &[&std::ffi::OsStr]| {
        let mut command = world.asl().words(words);
        command.arg(at).arg(&keys).args(more);
        command.run().ok();
    };
    let file = world.passphrase();
    let typed = ["--passphrase-file".as_ref(), file.as_os_str()];
    run(&["key", "generate"], "--to", &typed);
    let label = ["dam", "create", "--label", "alice.personal"];
    match days {
        Some(days) => run(&[&label[..], &["--days", days]].concat(), "--keys", &[]),
        None => run(&label, "--keys", &[]),
    }
    run(&["dam", "sign"], "--keys", &[]);
    keys
}

#[test]
fn a_dam_that_another_root_signed_is_told_and_another_stick_goes_on() {
    let session = asking(World::offline());
    let foreign = strangers_keys(&session.world, None);
    let sig = std::fs::read(foreign.join("dam.sig")).unwrap();
    mishap("dam-by-another-root").was_said(&a_false_dam(&session, "dam.sig", &sig));
}

#[test]
fn a_dam_that_has_ended_is_told_and_keeps_nobody_from_sealing() {
    let mut session = asking(World::offline());
    let keys = strangers_keys(&session.world, Some("0"));
    session.profile = session.profile.replace(
        &format!("{:?}", session.world.stick()),
        &format!("{keys:?}"),
    );
    let mut pty = session.start(24, 80);
    pty.expect("Type word ");
    pty.send("\r");
    pty.expect("Type without card");
    pty.send("without card\r");
    // Nobody has proven these keys.
    pty.expect("Seal all the same");
    pty.send("y");
    type_passphrase(&mut pty);
    let said = ends_with(pty, 0);
    mishap("expired-dam").was_said(&said);
    let mut restore = session.world.asl().words(["restore", "--identity"]);
    restore.arg(keys.join("owner.txt"));
    restore.arg("--to").arg(session.world.path("back"));
    restore.run().ok();
    tree::assert_same(&session.world.path("source"), &session.world.path("back"));
}

#[test]
fn a_host_that_does_not_answer_gets_its_request_by_the_stick_and_answers_by_it() {
    let mut world = World::new();
    assert_eq!(world.server.take().unwrap().stop(), 0);
    let session = asking(world).asks(900_000_000, "both");
    let mut pty = session.unlocked();
    pty.choose(
        "The request for home",
        "Write it to the key stick (put the stick in first)",
    );
    let said = ends_well(&session, pty);
    assert!(
        said.contains("nothing has left this machine but the request"),
        "{said}"
    );
    mail_comes_back(&session);
    let mut unattended = session;
    unattended.profile = unattended
        .profile
        .replace("interactive = true", "interactive = false");
    let mut pty = unattended.start(24, 80);
    type_passphrase(&mut pty);
    let later = ends_with(pty, 0);
    assert!(
        later.contains("The key stick brings a decision of home."),
        "{later}"
    );
    assert!(later.contains("The host lends 900.00 MB"), "{later}");
    mishap("host-not-reachable").was_said(&said);
}

/// The keeper decides what lies on the stick.
fn mail_comes_back(session: &Session) {
    let mail = session.world.stick().join("mail/home");
    asl(&session.world.keeper())
        .words(["admission", "decide", "--request"])
        .words([&mail])
        .run()
        .ok();
}

#[test]
fn a_host_with_another_key_is_told_gets_nothing_and_keeps_nothing_from_being_sealed() {
    let world = World::new();
    let address = world.server.as_ref().unwrap().address.clone();
    let other = std::fs::read_to_string(world.keys().join("operator.pub")).unwrap();
    std::fs::remove_dir_all(world.stick()).unwrap();
    world.bundle("stick", &[&format!("home={address}={}", other.trim())]);
    let session = asking(world).asks(900_000_000, "both");
    let mut pty = session.unlocked();
    pty.choose("The request for home", "Later: go on without it");
    mishap("host-with-another-key").was_said(&ends_well(&session, pty));
    let there = asl(&session.world.keeper())
        .words(["status", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(there["domains"], serde_json::json!([]));
}

#[test]
fn a_host_that_takes_the_call_and_says_nothing_keeps_nobody_waiting() {
    let world = World::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let key = world.server.as_ref().unwrap().key.clone();
    std::fs::remove_dir_all(world.stick()).unwrap();
    world.bundle(
        "stick",
        &[&format!("home={}={key}", silent.local_addr().unwrap())],
    );
    let session = asking(world).asks(900_000_000, "both");
    let mut pty = session.unlocked();
    // Every part on the screen, each with its number, until a key is pressed.
    pty.choose(
        "The request for home",
        "Show it as QR codes, for a telephone to carry",
    );
    for n in 1.. {
        pty.expect(&format!("Part {n} of "));
        pty.expect("then press a key");
        pty.send(" ");
        if pty.said().contains(&format!("Part {n} of {n}")) {
            break;
        }
    }
    mishap("slow-host").was_said(&ends_well(&session, pty));
}

#[test]
fn a_decision_that_answers_another_request_is_told_and_left() {
    let world = World::new();
    let request = |to: &Path| {
        let mut request = world
            .asl()
            .words(["admission", "request", "--host", "home"]);
        request
            .arg("--stick")
            .arg(world.stick())
            .arg("--to")
            .arg(to);
        request.arg("--passphrase-file").arg(world.passphrase());
        request.run().ok();
    };
    let (mine, other) = (world.stick().join("mail/home"), world.path("other"));
    request(&mine);
    request(&other);
    asl(&world.keeper())
        .words(["admission", "decide", "--request"])
        .words([&other])
        .run()
        .ok();
    for name in ["admission-decision.cbor", "admission-decision.sig"] {
        std::fs::copy(other.join(name), mine.join(name)).unwrap();
    }
    let mut session = asking(world);
    session.profile.push_str("[admission]\noffline = true\n");
    let said = goes_on(&session, session.start(24, 80));
    mishap("decision-for-another-request").was_said(&said);
    assert!(said.contains("none; no host has lent anything"), "{said}");
}

#[test]
fn a_lease_that_is_too_small_keeps_what_fits_and_a_larger_one_takes_the_rest() {
    let world = World::new();
    write_random(&world.path("source/a"), 8);
    let session = Session::new(world, true).asks(3_000_000, "both");
    let mut pty = session.unlocked();
    pty.choose("What now?", "Seal no more: snapshot what is sealed");
    let said = ends_with(pty, 0);
    mishap("lease-too-small").was_said(&said);
    assert!(said.contains("Snapshot snap-000001"), "{said}");
    session.world.verify();
    let larger = Session {
        profile: session
            .profile
            .replace("bytes = 3000000", "bytes = 900000000"),
        world: session.world,
    };
    goes_on(&larger, larger.start(24, 80));
}

#[test]
fn a_lease_that_ends_in_mid_ingest_is_told_and_a_new_one_goes_on() {
    let world = World::offline();
    asl(&world.keeper()).words(["init"]).run().ok();
    let policy = world.keeper().join("host/host-policy");
    let text = std::fs::read_to_string(&policy).unwrap();
    let short = text.replace("max_time = \"30 days\"", "max_time = \"20 seconds\"");
    assert_ne!(text, short);
    std::fs::write(&policy, short).unwrap();
    let world = world.served();
    write_random(&world.path("source/a"), 160);
    let session = Session::new(world, true).asks(900_000_000, "both");
    let mut pty = session.unlocked();
    pty.expect("The host lends");
    session.wait_until_sealed(&mut pty);
    // Held still in mid-work until the lease is over.
    signal(pty.child(), Signal::SIGSTOP);
    std::thread::sleep(std::time::Duration::from_secs(22));
    signal(pty.child(), Signal::SIGCONT);
    pty.expect("What now?");
    std::fs::write(&policy, text).unwrap();
    pty.choose_here("Start again from the first step (another stick, another target)");
    mishap("lease-expired").was_said(&goes_on(&session, pty));
}

#[test]
fn without_a_terminal_mail_or_menu_nothing_waits() {
    // The same profile from a script: nobody could answer, so nothing is asked.
    let session = asking(World::offline());
    let path = session.world.path("profile.toml");
    std::fs::write(&path, &session.profile).unwrap();
    let mut rescue = session.world.asl().words(["rescue", "--profile"]);
    rescue.arg(&path).stdin(Stdio::null());
    rescue.run().refused(2, &["no terminal"]);
}
