//! Admission by two real hosts: in all four outcomes, over the network, by stick and by code; what
//! each side records, says and ends with.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// `admission VERB` with the world's stick and its host `home`.
fn verb(world: &World, verb: &str) -> Command {
    let mut command = world.asl().words(["admission", verb, "--host", "home"]);
    command.arg("--stick").arg(world.stick());
    command
}

fn request(world: &World) -> Command {
    let mut command = verb(world, "request");
    command.arg("--passphrase-file").arg(world.passphrase());
    command
}

/// A signed request in a directory.
fn mail(world: &World, name: &str) -> PathBuf {
    let to = world.path(name);
    request(world).words(["--to"]).words([&to]).run().ok();
    to
}

fn with_request(world: &World, what: &str, mail: &Path) -> Command {
    verb(world, what).words(["--request"]).words([mail])
}

/// `admission VERB` on the keeper's side.
fn keeper(world: &World, verb: &str) -> Command {
    asl(&world.keeper()).words(["admission", verb])
}

fn set_policy(root: &Path, changes: &[(&str, &str)]) {
    let path = root.join("host/host-policy");
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(path, text).unwrap();
}

/// Known roots get this outcome from now on.
fn give(world: &World, outcome: &str) {
    let changes = [(
        "known_roots = \"ACCEPTED_LIMITED\"",
        format!("known_roots = \"{outcome}\""),
    )];
    set_policy(
        &world.keeper(),
        &changes.each_ref().map(|(a, b)| (*a, b.as_str())),
    );
}

fn ls(at: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(at).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The one domain of a root.
fn domain_dir(root: &Path) -> PathBuf {
    let names = ls(&root.join("domains"));
    assert_eq!(names.len(), 1, "{names:?}");
    root.join("domains").join(&names[0])
}

fn row(command: Command, list: &str) -> Value {
    let said = command.words(["--json"]).run().ok().json();
    said[list]
        .as_array()
        .unwrap()
        .last()
        .cloned()
        .unwrap_or(Value::Null)
}

const SIX: [&str; 6] = [
    "admission-decision.cbor",
    "admission-decision.sig",
    "admission-request.cbor",
    "admission-request.sig",
    "dam.cbor",
    "dam.sig",
];

#[test]
fn each_of_the_four_outcomes_is_said_recorded_and_followed_on_both_sides() {
    for (outcome, exit, state, words) in [
        ("ACCEPTED_LIMITED", 0, "COURTESY", "The host lends"),
        ("ACCEPTED", 0, "FULL", "takes the domain in full"),
        ("DEFERRED", 0, "UNRECOGNIZED", "Ask again later"),
        ("REJECTED", 3, "", "takes nothing of this domain"),
    ] {
        let world = World::new().with_domain();
        give(&world, outcome);
        let mail = mail(&world, "mail");
        let said = with_request(&world, "submit", &mail).run().ends(exit);
        assert!(
            said.out.starts_with(&format!("{outcome}: ")),
            "{}",
            said.out
        );
        assert!(said.out.contains(words), "{}", said.out);
        let applied = with_request(&world, "apply", &mail)
            .words(["--json"])
            .run()
            .ends(exit)
            .json();
        assert_eq!(applied["outcome"], outcome);
        assert_eq!(applied["lease"].is_object(), outcome == "ACCEPTED_LIMITED");

        // The keeper's side.
        if outcome == "REJECTED" {
            assert_eq!(ls(&world.keeper().join("domains")), Vec::<String>::new());
            let kept = ls(&world.keeper().join("quarantine"));
            assert_eq!(kept.len(), 1, "{kept:?}");
            assert_eq!(ls(&world.keeper().join("quarantine").join(&kept[0])), SIX);
            let listed = row(keeper(&world, "list"), "quarantine");
            assert_eq!(listed["outcome"], "REJECTED");
        } else {
            assert_eq!(ls(&domain_dir(&world.keeper()).join("admission")), SIX);
            assert_eq!(ls(&world.keeper().join("quarantine")), Vec::<String>::new());
            let there = row(asl(&world.keeper()).words(["domain", "list"]), "domains");
            assert_eq!(there["state"], state);
            assert_eq!(there["home"], false);
            assert_eq!(
                there["leases"][0].is_object(),
                outcome == "ACCEPTED_LIMITED"
            );
            assert!(there["last_seen"].is_string());
            let listed = row(keeper(&world, "list"), "admissions");
            assert_eq!(listed["outcome"], outcome);
            assert_eq!(listed["waits"], outcome == "DEFERRED");
        }

        // The asking side: its own word is its own, and sealing goes on in any case.
        assert_eq!(ls(&domain_dir(&world.root()).join("admission")), SIX);
        let here = row(world.asl().words(["domain", "list"]), "domains");
        assert_eq!(
            (&here["state"], &here["home"]),
            (&"UNRECOGNIZED".into(), &true.into())
        );
        assert_eq!(here["leases"][0].is_object(), outcome == "ACCEPTED_LIMITED");
        let source = world.path("source");
        write_random(&source.join("a"), 1);
        world.ingest(&source).run().ok();
    }
}

#[test]
fn a_request_that_waits_is_decided_later_by_stick_and_taken_up_at_home() {
    let world = World::new().with_domain();
    give(&world, "DEFERRED");
    let letter = mail(&world, "mail");
    let decide = || keeper(&world, "decide");
    decide().words(["--request"]).words([&letter]).run().ok();
    with_request(&world, "apply", &letter).run().ok();
    let waiting = keeper(&world, "list").words(["--waiting"]).run().ok().out;
    assert!(waiting.contains("alice.personal~"), "{waiting}");
    assert!(waiting.contains("waits for the keeper"), "{waiting}");
    let shown = keeper(&world, "show").run().ok().out;
    for word in [
        "DAM number 1",
        "operator",
        "an operator of the DAM signed it",
        "DEFERRED",
    ] {
        assert!(shown.contains(word), "no {word} in {shown}");
    }

    decide()
        .words(["--domain", "alice.personal", "--outcome", "PERHAPS"])
        .run()
        .ends(2);
    let back = world.path("back");
    let decided = decide()
        .words([
            "--domain",
            "alice.personal",
            "--outcome",
            "ACCEPTED_LIMITED",
            "--json",
            "--to",
        ])
        .words([&back])
        .run()
        .ok()
        .json();
    assert_eq!(decided["outcome"], "ACCEPTED_LIMITED");
    let nothing = keeper(&world, "list").words(["--waiting"]).run().ok().out;
    assert!(nothing.contains("Nothing waits"), "{nothing}");
    decide()
        .words(["--domain", "alice.personal", "--outcome", "REJECTED"])
        .run()
        .refused(1, &["waits for a decision", "admission list"]);

    let said = with_request(&world, "apply", &back).run().ok().out;
    assert!(said.contains("The host lends"), "{said}");
    // The first answer once more: it takes nothing back. Over the network the later one comes.
    let said = with_request(&world, "apply", &letter).run().ok().out;
    assert!(said.contains("The host lends"), "{said}");
    let said = with_request(&world, "submit", &letter).run().ok().out;
    assert!(said.starts_with("ACCEPTED_LIMITED"), "{said}");
    for root in [world.root(), world.keeper()] {
        let records = domain_dir(&root).join("admission");
        assert_eq!(ls(&records.join("0002")), SIX);
        let first = std::fs::read(records.join("admission-decision.cbor")).unwrap();
        assert!(String::from_utf8_lossy(&first).contains("DEFERRED"));
    }
    let lease = row(world.asl().words(["lease", "show"]), "leases");
    assert_eq!(lease["leases"][0]["granted_here"], false);
    assert_eq!(lease["leases"][0]["clock"]["judged_by"], "evidence");
    let lease = row(asl(&world.keeper()).words(["lease", "show"]), "leases");
    assert_eq!(
        lease["leases"][0]["clock"]["judged_by"],
        "this host's clock"
    );
    let text = asl(&world.keeper()).words(["lease", "show"]).run().ok().out;
    for word in ["snapshots", "grace", "until", "are left", "clock"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

/// The codes on a screen.
fn scan(text: &str) -> Vec<String> {
    scan::codes(text, scan::Blocks::Light)
}

#[test]
fn a_request_leaves_the_machine_as_codes_and_its_decision_comes_back_by_stick() {
    let world = World::new().with_domain();
    let shown = request(&world).words(["--qr"]).run().ok().out;
    for line in shown.lines().filter(|l| l.contains('█')) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let mut parts = scan(&shown);
    assert!(parts.len() > 1, "{shown}");
    assert!(
        shown.contains(&format!("Part {0} of {0}", parts.len())),
        "{shown}"
    );
    parts.reverse();
    let scanned = world.path("scanned.txt");
    std::fs::write(&scanned, parts.join("\n")).unwrap();

    let decide = || keeper(&world, "decide").words(["--code"]);
    // The keeper must have the DAM that the request names, or be given it.
    decide()
        .words([&scanned])
        .run()
        .refused(1, &["names DAM", "--dam DIR"]);
    let back = world.path("back");
    let said = decide()
        .words([&scanned])
        .words(["--dam".as_ref(), world.stick().join("asl-keys").as_os_str()])
        .words(["--to".as_ref(), back.as_os_str()])
        .run()
        .ok()
        .out;
    assert!(said.starts_with("ACCEPTED_LIMITED"), "{said}");
    assert!(said.contains("carry it back"), "{said}");
    let said = with_request(&world, "apply", &back).run().ok().out;
    assert!(said.contains("The host lends"), "{said}");

    // From then on the keeper has the DAM: the next code, as text, is enough.
    let codes = request(&world).words(["--qr", "--json"]).run().ok().json();
    let codes: Vec<&str> = codes["codes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c.as_str().unwrap())
        .collect();
    let said = decide()
        .words([codes.join(" ").to_lowercase()])
        .run()
        .ok()
        .out;
    assert!(said.starts_with("ACCEPTED_LIMITED"), "{said}");

    // What was not scanned well is told, and decides nothing.
    for (text, why) in [
        (codes[0].to_string(), "part 2 of"),
        (codes.join("").replace("/", "7"), "which of how many"),
        ([codes[0], parts[0].as_str()].concat(), "different codes"),
        ("aslr1:".to_string(), "which of how many"),
    ] {
        decide()
            .words([text])
            .run()
            .refused(1, &[why, "scan it again"]);
    }
    decide()
        .words(["/nonexistent"])
        .run()
        .refused(1, &["/nonexistent", "scanned text"]);
    keeper(&world, "decide").run().ends(2);
}

#[test]
fn on_80x24_one_part_after_the_other_is_shown_and_each_can_be_scanned() {
    let world = World::new();
    let mut command = request(&world);
    command.arg("--qr").env("TERM", "xterm");
    let mut pty = pty::Pty::start(command, 24, 80);
    pty.expect("Part 1 of ");
    let mut count = 1;
    loop {
        pty.expect("then press a key");
        pty.send(" ");
        count += 1;
        pty.expect(&format!("Part {count} of "));
        if pty.said().contains(&format!("Part {count} of {count}")) {
            break;
        }
    }
    pty.expect("admission decide --code");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    let parts = scan(&said.replace('\r', ""));
    assert_eq!(parts.len(), count);
    let (request, _) = asl_auth::code::read(&parts.concat()).unwrap();
    asl_auth::AdmissionRequest::decode(&request).unwrap();
}

/// The host is gone; what a person then does on the rescue screen is carry the request by hand.
#[test]
fn on_the_rescue_screen_a_request_that_nobody_answers_leaves_as_codes() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "THIS TEST MUST RUN AS ROOT: the session takes its lock in /run/asl"
    );
    let mut world = World::new();
    drop(world.server.take());
    write_random(&world.path("source/a"), 1);
    let profile = format!(
        "interactive = true\n[keys]\npath = {:?}\n[target]\npath = {:?}\n\
         [source]\npaths = [{:?}]\n[end]\naction = \"shell\"\n\
         [admission]\nhost = \"home\"\n\
         [lease]\nbytes = 900000000\ndays = 1\napplies = \"remote\"\n",
        world.stick(),
        world.root(),
        world.path("source"),
    );
    let path = world.path("profile.toml");
    std::fs::write(&path, profile).unwrap();
    let mut command = world.asl().words(["rescue", "--profile"]);
    command.arg(path).env("TERM", "dumb");
    let mut pty = pty::Pty::start(command, 24, 80);
    world.compare_with_card(&mut pty);
    pty.expect("Passphrase of the key stick");
    pty.send(&format!("{PASSPHRASE}\r"));
    let mut asked = false;
    wait_for("the end of sealing", || {
        let said = pty.said();
        // Where this machine's disks are full, it is asked whether the source fits.
        if !asked && said.contains("Go on [Y/n]") {
            pty.send("y");
            asked = true;
        }
        said.contains("has not answered")
    });
    pty.expect("home has not answered.");
    pty.choose("The request for home", "Show it as QR codes");
    pty.expect("Part 1 of ");
    loop {
        pty.expect("then press a key");
        let said = pty.said();
        let last = said.matches("then press a key").count();
        pty.send(" ");
        if said.contains(&format!("Part {last} of {last}\r\n")) {
            break;
        }
    }
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    let scanned = scan(&said.replace('\r', "")).join("\n");

    // The keeper reads it off the telephone; the stick was at his place before.
    let mut decide = keeper(&world, "decide");
    decide.args(["--code", &scanned, "--dam"]);
    decide.arg(world.stick().join("asl-keys")).arg("--to");
    let back = world.path("back");
    decide.arg(&back);
    let decided = decide.run().ok().out;
    assert!(decided.contains("The host lends 900.00 MB"), "{decided}");
    with_request(&world, "apply", &back).run().ok();
    world.verify();
}

#[test]
fn a_lease_that_a_host_gave_its_own_domain_counts_in_bytes_snapshots_and_time() {
    let world = World::offline().with_domain();
    let root = world.root();
    std::fs::copy(
        world.keys().join("root.pub"),
        root.join("host/trusted-roots/alice.pub"),
    )
    .unwrap();
    set_policy(
        &root,
        &[
            ("\"64 GiB\"", "\"1 MiB\""),
            ("snapshots = 64", "snapshots = 1"),
        ],
    );
    let id: Value =
        serde_json::from_slice(&std::fs::read(root.join("host/host-id")).unwrap()).unwrap();
    let key = id["public_key"].as_str().unwrap();
    std::fs::remove_dir_all(world.stick()).unwrap();
    world.bundle("stick", &[&format!("home=127.0.0.1:1={}", key.trim())]);
    let ask = |name: &str| {
        let letter = mail(&world, name);
        let decide = world.asl().words(["admission", "decide", "--request"]);
        decide.words([&letter]).run().ok()
    };
    ask("first");
    let (small, large) = (world.path("small"), world.path("large"));
    write_random(&large.join("a"), 3);
    std::fs::create_dir(&small).unwrap();
    std::fs::write(small.join("a"), vec![7; 50_000]).unwrap();
    world.ingest(&large).run().refused(
        3,
        &["its lease of 1048576 bytes is used up", "larger lease"],
    );
    // What was not sealed to its end takes room until it is collected; a new root has none of it.
    let snapshot = || world.asl().words(["snapshot", "create"]).run();
    snapshot().ok();
    snapshot().refused(3, &["its lease allows 1 snapshots", "larger lease"]);
    let shown = row(world.asl().words(["lease", "show"]), "leases");
    assert_eq!(shown["leases"][0]["snapshots_made"], 1);

    // A lease of a second, and its end.
    set_policy(&root, &[("\"30 days\"", "\"1 seconds\"")]);
    ask("second");
    std::thread::sleep(Duration::from_millis(1200));
    let shown = row(world.asl().words(["lease", "show"]), "leases");
    assert_eq!(
        (&shown["state"], &shown["leases"][0]["expired"]),
        (&"SUSPENDED".into(), &true.into())
    );
    world.ingest(&small).run().refused(3, &["SUSPENDED"]);
    let listed = row(world.asl().words(["domain", "list"]), "domains");
    assert_eq!(listed["state"], "SUSPENDED");
    world.asl().words(["verify"]).run().ok();
    // Asking again lifts it.
    set_policy(
        &root,
        &[("\"1 seconds\"", "\"30 days\""), ("\"1 MiB\"", "\"1 GiB\"")],
    );
    ask("third");
    world.ingest(&small).run().ok();
}

#[test]
fn a_decision_that_is_not_the_answer_is_refused_with_its_reason() {
    let world = World::new().with_domain();
    let (one, two) = (mail(&world, "one"), mail(&world, "two"));
    for letter in [&one, &two] {
        with_request(&world, "submit", letter).run().ok();
    }
    let before = ls(&domain_dir(&world.root()).join("admission"));
    let swap = |from: &Path| {
        for name in ["admission-decision.cbor", "admission-decision.sig"] {
            std::fs::copy(from.join(name), one.join(name)).unwrap();
        }
    };
    let kept = world.path("kept");
    std::fs::create_dir(&kept).unwrap();
    for name in ["admission-decision.cbor", "admission-decision.sig"] {
        std::fs::copy(one.join(name), kept.join(name)).unwrap();
    }
    let apply = || with_request(&world, "apply", &one).run();
    swap(&two);
    apply().refused(
        3,
        &["it answers another request", "belongs to this request"],
    );

    // Another host of the same policy decides the same request: it was not asked.
    let stranger = world.path("stranger");
    asl(&stranger).words(["init"]).run().ok();
    let roots = stranger.join("host/trusted-roots/alice.pub");
    std::fs::copy(world.keys().join("root.pub"), roots).unwrap();
    asl(&stranger)
        .words(["admission", "decide", "--request"])
        .words([&one])
        .run()
        .ok();
    apply().refused(3, &["another host decided", "the host that was asked"]);

    swap(&kept);
    let path = one.join("admission-decision.sig");
    let mut sig = std::fs::read(&path).unwrap();
    let end = sig.len() - 1;
    sig[end] ^= 1;
    std::fs::write(&path, sig).unwrap();
    apply().refused(3, &["signature", "nothing of it was recorded"]);
    assert_eq!(ls(&domain_dir(&world.root()).join("admission")), before);
    swap(&kept);
    apply().ok();
}

#[test]
fn a_spoilt_dam_is_told_by_the_machine_that_loads_it_and_by_the_host_it_is_sent_to() {
    let world = World::new();
    let letter = mail(&world, "mail");
    let spoil = |path: PathBuf| {
        let mut sig = std::fs::read(&path).unwrap();
        let end = sig.len() - 1;
        sig[end] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, sig).unwrap();
    };
    spoil(letter.join("dam.sig"));
    let said = with_request(&world, "submit", &letter).run().ends(3).out;
    assert!(
        said.starts_with("REJECTED: cannot verify signature of asl.dam/1"),
        "{said}"
    );
    assert!(said.contains("did not sign this document"), "{said}");
    spoil(world.stick().join("asl-keys/dam.sig"));
    world.asl().words(["init"]).run().ok();
    let mut create = world.asl().words(["domain", "create", "--stick"]);
    create.arg(world.stick());
    let words = ["did not sign this document", "nothing of it is trusted"];
    create.run().refused(3, &words);
    assert_eq!(ls(&world.root().join("domains")), Vec::<String>::new());
}

#[test]
fn a_host_that_is_slow_or_cuts_the_line_is_given_up_in_time_and_nothing_is_written() {
    let world = World::new();
    let key = world.server.as_ref().unwrap().key.clone();
    let letter = mail(&world, "mail");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::fs::remove_dir_all(world.stick()).unwrap();
    world.bundle("stick", &[&format!("home={address}={key}")]);
    let submit = || {
        let command = with_request(&world, "submit", &letter);
        command.words(["--timeout", "2"]).run()
    };
    let begun = Instant::now();
    // It takes the connection and says nothing.
    submit().refused(1, &["no answer within 2 s", "sealing does not wait"]);
    assert!(begun.elapsed() < Duration::from_secs(10));
    let cutting = std::thread::spawn(move || {
        // The first connection, still waiting, and the next.
        for _ in 0..2 {
            drop(listener.accept().unwrap());
        }
    });
    submit().refused(
        1,
        &["it hung up before it said who it is", "check the address"],
    );
    cutting.join().unwrap();
    assert!(!letter.join("admission-decision.cbor").exists());
}

#[test]
fn a_damaged_domain_hides_no_other_from_its_keeper() {
    let world = World::new();
    let letter = mail(&world, "mail");
    with_request(&world, "submit", &letter).run().ok();
    let dir = domain_dir(&world.keeper());
    std::fs::write(dir.join("log/host.log"), [0x55; 300]).unwrap();
    let at_keeper = |words: &[&str]| asl(&world.keeper()).words(words);
    let listed = row(at_keeper(&["domain", "list"]), "domains");
    assert!(listed["damage"].is_string(), "{listed}");
    for words in [
        &["domain", "list"][..],
        &["lease", "show"],
        &["admission", "list"],
        &["status"],
    ] {
        at_keeper(words).run().ok();
    }
    let status = at_keeper(&["status", "--json"]).run().ok().json();
    assert_eq!(status["strangers"]["most"], 64);
    // Its own admission is refused as the host's trouble, not as a verdict.
    let said = with_request(&world, "submit", &mail(&world, "again")).run();
    said.refused(1, &["cannot decide now"]);
}
