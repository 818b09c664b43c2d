//! What is prepared at home, by plain commands: what goes wrong is told and gives nothing away.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::keys::*;
use common::medium::Medium;
use common::*;
use std::path::Path;

#[test]
fn keys_are_there_whole_or_not_at_all_and_are_never_overwritten() {
    let world = World::offline();
    let before = all_files(&world.keys());
    let generate = |to: &Path| {
        let mut command = world.asl().words(["key", "generate", "--to"]);
        command
            .arg(to)
            .arg("--passphrase-file")
            .arg(world.passphrase());
        command
    };
    generate(&world.keys())
        .run()
        .refused(1, &["exists", "never overwritten"]);
    assert_eq!(all_files(&world.keys()), before);
    generate(Path::new("/proc/none"))
        .run()
        .refused(1, &["another place"]);
    // The disk fills in the middle.
    let narrow = Medium::memory(world.path("narrow"), "nr_inodes=6");
    generate(&narrow.path().join("keys")).run().ends(1);
    assert_eq!(std::fs::read_dir(narrow.path()).unwrap().count(), 0);
    // Interrupted: ends with 130 and leaves nothing. Killed: the next run begins anew.
    let to = world.path("new");
    for (n, kill) in [(300, false), (300, true), (500, true)] {
        let mut child = generate(&to).spawn().unwrap();
        let unfinished = world.path(".new.unfinished");
        wait_for("the first files", || {
            unfinished.join("operator.pub").exists() || to.exists()
        });
        std::thread::sleep(std::time::Duration::from_millis(n / 10));
        if kill {
            child.kill().unwrap();
        } else {
            signal(&child, nix::sys::signal::Signal::SIGINT);
        }
        let ended = child.wait().unwrap();
        assert!(!to.exists(), "too late to be interrupted");
        assert_eq!(ended.code(), (!kill).then_some(130));
        // A killed run may have been clearing away what one killed before it had left.
        assert!(kill || !unfinished.exists());
    }
    generate(&to).run().ok();
    assert!(!world.path(".new.unfinished").exists());
    assert_eq!(all_files(&to).len(), 10);
}

#[test]
fn a_passphrase_that_is_none_makes_no_keys_and_a_short_one_is_told_what_it_risks() {
    let world = World::offline();
    let file = world.path("words");
    let generate = |words: &str| {
        std::fs::write(&file, words).unwrap();
        world.asl().words(["key", "generate", "--to"]).words([
            world.path(&format!("of-{}", words.len())).as_path(),
            "--passphrase-file".as_ref(),
            &file,
        ])
    };
    generate("").run().refused(1, &["empty"]);
    generate("\nsecond line").run().refused(1, &["empty"]);
    generate("seven77").run().refused(1, &["fewer than 8"]);
    assert!(!world.path("of-7").exists());
    let short = generate("only eight").run().ok();
    assert!(short.err.contains("guess"), "{}", short.err);
    let long = generate("four words are enough").run().ok();
    assert_eq!(long.err, "");
}

#[test]
fn a_passphrase_is_shown_on_request_alone_and_taken_off_the_screen_again() {
    let world = World::offline();
    let keys = world.path("new");
    let command = world
        .asl()
        .words(["key", "generate", "--to"])
        .words([&keys]);
    let mut pty = pty::Pty::start(command, 24, 80);
    pty.expect("New passphrase for the key stick (Tab shows it): ");
    wait_for("no echo", || !pty.echoes());
    // Too weak, and asked for again at once.
    pty.send("\r");
    pty.expect("it is empty");
    pty.expect("New passphrase");
    pty.send("six ra\r");
    pty.expect("fewer than 8");
    pty.expect("New passphrase");
    pty.send("zebra lampq\x7f quilt");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!pty.said().contains("zebra"), "{}", pty.said());
    pty.send("\t");
    pty.expect("zebra lamp quilt");
    pty.send(" river\r");
    pty.expect("zebra lamp quilt river");
    // Blanks stand where it stood before the next question is asked.
    pty.expect(&" ".repeat("zebra lamp quilt river".len()));
    pty.expect("The same again");
    pty.send("zebra lamp quilt river\r");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert!(keys.join("seal.age").is_file());
}

#[test]
fn the_owners_key_is_proven_by_the_right_identity_alone() {
    let world = World::offline();
    let other = other_keys(&world, "bobs");
    let check = |keys: &Path, identity: &Path| {
        on_keys(&world, &["key", "check"], keys).words([
            "--identity".as_ref(),
            identity.as_os_str(),
            "--passphrase-file".as_ref(),
            world.passphrase().as_os_str(),
        ])
    };
    for file in ["proven.cbor", "proven.sig"] {
        std::fs::remove_file(world.keys().join(file)).unwrap();
    }
    check(&world.keys(), &other.join("owner.txt"))
        .run()
        .refused(3, &["not the identity of an owner"]);
    check(&world.keys(), &world.passphrase()).run().ends(1);
    check(&world.keys(), &world.path("none")).run().ends(1);
    check(&other, &other.join("owner.txt"))
        .run()
        .refused(1, &["not signed", "dam sign"]);
    assert!(show(&world, &world.keys())["proven"].is_null());
    // The operator of other keys cannot vouch for these.
    for file in ["operator.age", "seal.age"] {
        std::fs::copy(other.join(file), world.keys().join(file)).unwrap();
    }
    let ran = check(&world.keys(), &world.owner()).run();
    assert_ne!(ran.code, 0, "{}", ran.out);
    assert!(show(&world, &world.keys())["proven"].is_null());
}

#[test]
fn hosts_are_pinned_in_one_way_at_home_and_on_a_stick() {
    let world = World::offline();
    let key = host_key(&world);
    let host =
        |verb: &str, what: &str, at: &Path| on_keys(&world, &["key", "host", verb, what], at);
    for (pin, why) in [
        ("home", "three parts"),
        ("home=192.0.2.7=ssh-ed25519 AAAA", "port"),
        (&format!("ho\u{1b}[2Jme=192.0.2.7:1={key}")[..], "name"),
        ("home=192.0.2.7:7643=ssh-ed25519 AAAA", "key"),
    ] {
        let ran = host("add", pin, &world.keys())
            .run()
            .refused(2, &[why, "NAME=ADDRESS:PORT"]);
        assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
    }
    assert!(!world.keys().join("hosts.toml").exists());
    for at in [world.keys(), world.stick()] {
        let pin = format!("home=192.0.2.7:7643={key} a comment");
        let said = host("add", &pin, &at).run().ok().out;
        assert!(said.contains("by telephone"), "{said}");
        host("add", &pin, &at).run().refused(1, &["host remove"]);
        host("remove", "hime", &at)
            .run()
            .refused(1, &["the hosts there: home"]);
        let list = on_keys(&world, &["key", "host", "list", "--json"], &at)
            .run()
            .ok()
            .json();
        assert_eq!(list["hosts"][0]["address"], "192.0.2.7:7643");
        assert!(said.contains(list["hosts"][0]["words"].as_str().unwrap()));
        host("remove", "home", &at).run().ok();
        host("remove", "home", &at).run().refused(1, &["host add"]);
    }
}

#[test]
fn the_words_of_a_key_are_the_same_on_card_stick_screen_and_host() {
    let world = World::new();
    let owner = world.owner_words();
    let shown = show(&world, &world.stick());
    assert_eq!(shown["owner"][0]["words"].as_str(), Some(&owner[..]));
    assert_eq!(show(&world, &world.keys())["owner"], shown["owner"]);
    let dam = on_keys(&world, &["dam", "verify"], &world.stick())
        .run()
        .ok()
        .out;
    assert!(dam.contains(&owner), "{dam}");
    // The host's own, as its keeper reads them, and as they are pinned.
    let status = asl(&world.keeper())
        .words(["status", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(shown["hosts"][0]["words"], status["words"]);
    let card = on_keys(&world, &["key", "card"], &world.stick())
        .run()
        .ok()
        .out;
    for words in [&owner, status["words"].as_str().unwrap()] {
        for (n, word) in words.split(' ').enumerate() {
            let numbered = format!("{:2} {word}", n + 1);
            assert!(card.contains(&numbered), "{numbered}: {card}");
        }
    }
}

#[test]
fn the_card_fits_paper_and_holds_no_secret_unless_its_file_is_named() {
    let world = World::new();
    let identity = std::fs::read_to_string(world.owner()).unwrap();
    let secret = identity.lines().last().unwrap();
    let card = |more: &[&std::ffi::OsStr]| {
        on_keys(&world, &["key", "card"], &world.keys())
            .words(more)
            .run()
    };
    let plain = card(&[]).ok().out;
    assert!(!plain.contains("AGE-S"), "{plain}");
    assert!(
        plain.lines().count() <= 66,
        "{} lines are more than a page",
        plain.lines().count()
    );
    let other = other_keys(&world, "bobs");
    card(&[
        "--with-owner-identity".as_ref(),
        other.join("owner.txt").as_os_str(),
    ])
    .refused(3, &["not the identity of an owner"]);
    on_keys(&world, &["key", "card"], &other)
        .run()
        .refused(1, &["not signed"]);

    let full = card(&["--with-owner-identity".as_ref(), world.owner().as_os_str()])
        .ok()
        .out;
    for line in full.lines().chain(plain.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(line.is_ascii() || is_drawing(line), "{line}");
        assert!(
            line.chars().all(|c| !c.is_control() || c == '\u{c}'),
            "{line:?}"
        );
    }
    // A person types the lines back, and checks their sums; Debian's age knows the key again.
    let mut typed = String::new();
    for line in full.lines() {
        let Some((letters, sum)) = line.split_once("  sum ") else {
            continue;
        };
        let letters: String = letters.split_whitespace().skip(1).collect();
        let by_hand: u32 = letters
            .chars()
            .map(|c| match c {
                'A'..='Z' => c as u32 - 'A' as u32 + 1,
                _ => c.to_digit(10).unwrap_or(0),
            })
            .sum();
        assert_eq!(by_hand.to_string(), sum, "{line}");
        typed.push_str(&letters);
    }
    assert_eq!(typed, secret);
    assert_eq!(photographed(&full), secret);
    std::fs::write(world.path("typed"), &typed).unwrap();
    let known = detached("age-keygen")
        .arg("-y")
        .arg(world.path("typed"))
        .run_it();
    let recipient = std::fs::read_to_string(world.keys().join("owner.pub")).unwrap();
    assert_eq!(known.ok().out, recipient);
}

#[test]
fn a_next_dam_follows_the_old_one_and_what_changed_is_said_in_words() {
    let world = World::offline();
    let keys = world.keys();
    let diff = |old: &Path, new: &Path| {
        world
            .asl()
            .words(["dam", "diff", "--json"])
            .words([old, new])
            .run()
    };
    let create = |more: &[&str]| on_keys(&world, &["dam", "create"], &keys).words(more).run();
    create(&[]).ends(2);
    create(&["--label", "alice.personal", "--next"]).ends(2);
    create(&["--label", "alice.personal"]).refused(1, &["--next"]);
    for label in ["../up", "Alice", "a\u{1b}[2J", ""] {
        let ran = create(&["--label", label]).ends(1);
        assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
    }
    create(&["--next", "--days", "30"]).ok();
    let first = keys.join("dam-1.cbor");
    assert_eq!(
        diff(&first, &keys).ok().json()["follows"],
        false,
        "not signed yet"
    );
    on_keys(&world, &["dam", "sign"], &keys).run().ok();
    let said = diff(&first, &keys).ok().json();
    assert_eq!(said["follows"], true, "{said}");
    let changed: Vec<&str> = said["gone"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["what"].as_str().unwrap())
        .collect();
    assert_eq!(changed, ["number", "follows", "ends"], "{said}");
    let back = diff(&keys, &first).ok().json();
    assert_eq!(back["follows"], false);
    assert!(
        back["why_not"].as_str().unwrap().contains("older"),
        "{back}"
    );
    // Another domain's DAM follows nothing here.
    let other = other_keys(&world, "bobs");
    on_keys(&world, &["dam", "sign"], &other).run().ok();
    let said = diff(&keys, &other).ok().json();
    assert!(
        said["why_not"].as_str().unwrap().contains("another domain"),
        "{said}"
    );
    let text = world
        .asl()
        .words(["dam", "diff"])
        .words([&keys, &other])
        .run()
        .ok()
        .out;
    assert!(
        text.contains("DOES NOT FOLLOW") && text.contains("+ owner"),
        "{text}"
    );
    diff(&keys, &world.path("none")).ends(1);
    // The proof stays good: it is the same recipients; a stick with the next DAM is made.
    bundle(&world, &keys, &world.stick()).run().ok();
    assert_eq!(show(&world, &world.stick())["dam"]["sequence"], 2);
    let shown = world
        .asl()
        .words(["dam", "show"])
        .words([&first])
        .run()
        .ok()
        .out;
    assert!(shown.contains("Signed by its roots"), "{shown}");
}

fn is_drawing(line: &str) -> bool {
    line.contains(['\u{2588}', '\u{2580}', '\u{2584}']) && !line.contains(char::is_alphanumeric)
}

/// The one code on a paper.
fn photographed(card: &str) -> String {
    let mut codes = scan::codes(card, scan::Blocks::Ink);
    assert_eq!(codes.len(), 1, "{card}");
    codes.remove(0)
}

trait RunIt {
    fn run_it(&mut self) -> Ran;
}

impl RunIt for std::process::Command {
    fn run_it(&mut self) -> Ran {
        Ran::of(
            self.output()
                .expect("THIS TEST NEEDS age-keygen (Debian package age)"),
        )
    }
}
