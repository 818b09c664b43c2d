//! `asl-host rescue` on a terminal, typed at as a person would: the six steps, and what a person
//! does wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::pty::Pty;
use common::session::{rescue, type_passphrase, Session, PROMPT};
use common::*;
use std::path::Path;

const STEPS: [&str; 6] = [
    "[1/6] Create a local domain",
    "[2/6] Load DAM and keys",
    "[3/6] Submit the admission request",
    "[4/6] Receive the decision",
    "[5/6] Sealed ingestion",
    "[6/6] Snapshot and wait",
];

fn assert_six_steps(said: &str) {
    let mut at = 0;
    for step in STEPS {
        let found = said[at..].find(step);
        at += found.unwrap_or_else(|| panic!("no {step} in its place:\n{said}"));
    }
}

fn no_panic_and_no_secret(said: &str) {
    assert!(!said.contains("panicked"), "{said}");
    assert!(
        !said.contains(PASSPHRASE),
        "the passphrase was shown:\n{said}"
    );
}

#[test]
fn the_unattended_profile_takes_six_steps_once_the_passphrase_is_typed() {
    let session = Session::new(World::new(), false).asks(900_000_000, "both");
    let source = session.world.path("source");
    tree::make(&source);
    let mut pty = session.start(24, 80);
    pty.expect("ASL rescue appliance");
    type_passphrase(&mut pty);
    pty.expect("may be taken out");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    no_panic_and_no_secret(&said);
    assert_six_steps(&said);
    for words in [
        "Created domain alice.personal~",
        "Sealing for age1",
        "ACCEPTED_LIMITED",
        "The host lends 900.00 MB",
        "complete; durable",
        "read back: ",
        "Snapshot snap-000001, signed",
        "Log head, commit ",
        "every block read back and checked",
        "no sealed block has left this machine yet",
    ] {
        assert!(said.contains(words), "no {words:?} in:\n{said}");
    }
    let world = &session.world;
    world.verify();
    world.restore("back").run().ok();
    tree::assert_same(&source, &world.path("back"));
    // On an appliance the host's own key lies sealed.
    assert!(!world.root().join("host/identity.key").exists());
    assert!(world.root().join("host/identity.key.age").is_file());

    // A second session finds the domain and goes on; on a serial line of no known size.
    let mut pty = session.start(0, 0);
    type_passphrase(&mut pty);
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    no_panic_and_no_secret(&said);
    assert_six_steps(&said);
    assert!(said.contains("it goes on where it stopped"), "{said}");
    // Whether files are read again depends on how long before the first session they were made.
    assert!(said.contains("(0 B new"), "{said}");
    assert!(said.contains("snap-000002"), "{said}");
}

#[test]
fn three_wrong_passphrases_end_an_unattended_session_with_3_and_lose_nothing() {
    let session = Session::new(World::offline(), false);
    write_random(&session.world.path("source/a"), 1);
    let mut pty = session.start(24, 80);
    for n in 0..3 {
        pty.expect(PROMPT);
        pty.send(&format!("wrong {n}\r"));
        if n < 2 {
            pty.expect("Try again");
        }
    }
    let (code, said) = pty.end();
    assert_eq!(code, 3, "{said}");
    no_panic_and_no_secret(&said);
    assert!(said.contains("passphrase"), "{said}");
    assert_eq!(
        said.matches("asl-host: cannot").count(),
        1,
        "told once:\n{said}"
    );
    assert!(!said.contains("[3/6]"), "{said}");
    // The right one, the next time: the second of three tries is good enough.
    let mut pty = session.start(24, 80);
    pty.expect(PROMPT);
    pty.send("wrong again\r");
    pty.expect("Try again");
    type_passphrase(&mut pty);
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Nothing has left this machine."), "{said}");
    session.world.verify();
}

#[test]
fn a_person_who_may_be_asked_is_offered_a_way_on_after_a_failure() {
    let session = Session::new(World::offline(), true);
    write_random(&session.world.path("source/a"), 1);
    let away = session.world.path("stick-in-a-pocket");
    std::fs::rename(session.world.stick(), &away).unwrap();
    let mut pty = session.start(24, 80);
    pty.expect("cannot find keys");
    pty.expect("Nothing that was acknowledged is lost.");
    // The stick is put in, and looked for again.
    std::fs::rename(&away, session.world.stick()).unwrap();
    pty.choose("What now?", "A key stick is in: look again");
    session.world.compare_with_card(&mut pty);
    type_passphrase(&mut pty);
    pty.expect("[6/6]");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    no_panic_and_no_secret(&said);
    session.world.verify();
}

#[test]
fn without_a_key_stick_a_person_may_look_again_or_use_a_shell_and_come_back() {
    let world = World::offline();
    let profile = world.path("profile.toml");
    std::fs::write(&profile, "interactive = true\n").unwrap();
    let mut pty = Pty::start(rescue(&world, &profile), 24, 80);
    pty.expect("no medium is labelled ASL-KEYS");
    pty.choose("What now?", "A key stick is in: look again");
    pty.expect("no medium is labelled ASL-KEYS");
    // A shell, and back to the same question.
    pty.choose("What now?", "A shell; `exit` comes back here");
    // Typed before the shell has the terminal, a line would be the menu's.
    pty.expect("A shell as root");
    pty.send("echo $((6 * 7))\r");
    pty.expect("42");
    pty.send("exit\r");
    pty.expect("What now?");
    pty.send("\x03");
    let (code, said) = pty.end();
    assert_eq!(code, 130, "{said}");
    assert!(!world.root().exists(), "nothing was made");
}

/// Leaves when asked what now, and asserts that nothing was sealed.
fn leave_with_nothing_sealed(session: &Session, mut pty: Pty) -> String {
    pty.expect("What now?");
    pty.send("\x03");
    let (code, said) = pty.end();
    assert_eq!(code, 130, "{said}");
    assert!(!said.contains("[3/6]"), "{said}");
    assert_eq!(session.world.verify(), 0);
    said
}

#[test]
fn words_that_are_not_the_cards_stop_before_the_first_byte() {
    let session = Session::new(World::offline(), true);
    write_random(&session.world.path("source/a"), 1);
    // The card of another owner: whoever types it without looking is stopped too.
    let mut pty = session.start(24, 80);
    pty.expect("Sealing for age1");
    for wrong in ["y", "yes", "zebra"] {
        pty.expect("Type word ");
        pty.send(&format!("{wrong}\r"));
    }
    pty.expect("their words are not the card's");
    let said = leave_with_nothing_sealed(&session, pty);
    let words = session.world.owner_words();
    assert!(!said.contains(&words), "all twelve were shown:\n{said}");
    assert!(said.contains("____"), "{said}");
}

#[test]
fn without_the_card_nothing_is_sealed_unless_that_is_typed_in_full() {
    let session = Session::new(World::offline(), true);
    write_random(&session.world.path("source/a"), 1);
    let mut pty = session.start(24, 80);
    pty.expect("Type word ");
    pty.send("\r");
    pty.expect("Ask the owner by telephone");
    pty.expect("Type without card");
    pty.send("\r");
    pty.expect("nobody compared their words with the card");
    leave_with_nothing_sealed(&session, pty);
    let mut pty = session.start(24, 80);
    pty.expect("Type word ");
    pty.send("\r");
    pty.expect("Type without card");
    pty.send("without card\r");
    pty.expect(PROMPT);
    pty.send("\x03");
    pty.expect("What now?");
}

#[test]
fn without_a_terminal_a_session_says_so_and_ends_with_2() {
    let session = Session::new(World::offline(), false);
    let path = session.world.path("profile.toml");
    std::fs::write(&path, &session.profile).unwrap();
    let rescue = session
        .world
        .asl()
        .words(["rescue", "--profile"])
        .words([&path]);
    rescue.run().refused(2, &["no terminal"]);
    assert!(!session.world.root().exists());
}

#[test]
fn a_profile_that_cannot_be_meant_is_refused_with_its_line_and_demo_counts_from_no_file() {
    let mut session = Session::new(World::offline(), false);
    session.profile.push_str("[target]\n");
    let (code, said) = session.start(24, 80).end();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("line "), "{said}");

    let world = World::offline();
    let mut session = Session::new(world, false);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../keys-example");
    session.profile = format!(
        "demo = true\n{}",
        session.profile.replace(
            &format!("{:?}", session.world.stick()),
            &format!("{example:?}")
        )
    );
    let (code, said) = session.start(24, 80).end();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("example keys"), "{said}");
    assert!(!session.world.root().exists(), "{said}");
}

#[test]
fn a_lease_that_is_too_small_stops_with_words_and_keeps_what_was_sealed() {
    let session = Session::new(World::new(), false).asks(3_000_000, "both");
    write_random(&session.world.path("source/a"), 8);
    let mut pty = session.start(24, 80);
    type_passphrase(&mut pty);
    let (code, said) = pty.end();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("lease of 3000000 bytes is used up"), "{said}");
    assert!(said.contains("larger lease"), "{said}");
    let world = &session.world;
    world.verify();
    let log = world
        .asl()
        .words(["log", "verify", "--json"])
        .run()
        .ok()
        .json();
    assert!(log["stored_bytes"].as_u64().unwrap() <= 3_000_000, "{log}");
    // A larger one, asked for in the next session, lifts it.
    let larger = Session {
        profile: session
            .profile
            .replace("bytes = 3000000", "bytes = 900000000"),
        world: session.world,
    };
    let mut pty = larger.start(24, 80);
    type_passphrase(&mut pty);
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    larger.world.restore("back").run().ok();
    tree::assert_same(&larger.world.path("source"), &larger.world.path("back"));
}

#[test]
fn a_host_that_is_gone_does_not_keep_anything_from_being_sealed() {
    let mut world = World::new();
    drop(world.server.take());
    let session = Session::new(world, false).asks(900_000_000, "remote");
    write_random(&session.world.path("source/a"), 2);
    let mut pty = session.start(24, 80);
    type_passphrase(&mut pty);
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Sealing does not wait for it"), "{said}");
    assert!(said.contains("Snapshot snap-000001"), "{said}");
    assert!(said.contains("No lease"), "{said}");
    session.world.verify();
}

#[test]
fn ctrl_c_at_the_passphrase_ends_with_130_and_the_terminal_as_it_was() {
    let session = Session::new(World::offline(), false);
    write_random(&session.world.path("source/a"), 1);
    let mut pty = session.start(24, 80);
    pty.expect(PROMPT);
    wait_for("no echo: a passphrase would be shown", || !pty.echoes());
    pty.send("half a pass\x03");
    wait_for("the echo", || pty.echoes());
    let (code, said) = pty.end();
    assert_eq!(code, 130, "{said}");
    no_panic_and_no_secret(&said);
    assert!(!said.contains("half a pass"), "{said}");
    assert!(said.contains("interrupted"), "{said}");
}

#[test]
fn a_second_console_waits_and_takes_over_when_the_first_ends() {
    let session = Session::new(World::offline(), false);
    write_random(&session.world.path("source/a"), 1);
    let mut first = session.start(24, 80);
    first.expect(PROMPT);
    let mut second = session.start(24, 80);
    second.expect("The rescue session runs on console pts/");
    first.send("\x03");
    assert_eq!(first.end().0, 130);
    type_passphrase(&mut second);
    let (code, said) = second.end();
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_new_passphrase_is_typed_twice_and_ctrl_c_makes_no_keys() {
    let world = World::offline();
    let keys = world.path("new");
    let generate = || {
        let command = world
            .asl()
            .words(["key", "generate", "--to"])
            .words([&keys]);
        Pty::start(command, 24, 80)
    };
    let mut pty = generate();
    pty.expect("New passphrase");
    wait_for("no echo", || !pty.echoes());
    pty.send("\x03");
    assert_eq!(pty.end().0, 130);
    assert!(!keys.exists());

    let mut pty = generate();
    pty.expect("New passphrase");
    wait_for("no echo", || !pty.echoes());
    pty.send("one long enough\r");
    pty.expect("The same again");
    pty.send("another one here\r");
    pty.expect("The two differ.");
    pty.expect("New passphrase");
    pty.send("one long enough\r");
    pty.expect("The same again");
    pty.send("one long enough\r");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("long enough"), "{said}");
    assert!(keys.join("seal.age").is_file());
}
