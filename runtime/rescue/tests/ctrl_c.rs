//! Ctrl-C at each question of a session: a way on, or the end with 130; the terminal as it was (as
//! the end of every test on a terminal asserts), and nothing half-made. `prepare.rs` does the same
//! for the questions at home.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::appliance::{appliance, appliance_with_screen, digest, filled, key_stick};
use common::loops::{tool, Disk};
use common::pty::Pty;
use common::session::{ends_with, mishap, type_passphrase, Session, PROMPT};
use common::*;
use std::time::Duration;

const AGAIN: &str = "Start again from the first step (another stick, another target)";

const WHERE: &str = "Where shall the domain live";

/// Presses Ctrl-C at a question.
#[track_caller]
fn interrupt(pty: &mut Pty, question: &str) {
    pty.expect(question);
    std::thread::sleep(Duration::from_millis(300));
    pty.send("\x03");
}

/// Presses Ctrl-C at a question, and again at the menu that it leads to.
#[track_caller]
fn leave_at(mut pty: Pty, question: &str) -> String {
    interrupt(&mut pty, question);
    interrupt(&mut pty, "What now?");
    ends_with(pty, 130)
}

#[test]
fn ctrl_c_at_each_question_offers_a_way_on_and_loses_nothing() {
    let world = World::new();
    write_random(&world.path("source/a"), 1);
    let session = Session::new(world, true);
    let mut pty = session.start(24, 80);
    let questions = [
        " of the owner's card",
        "Which host shall be asked for admission",
        PROMPT,
    ];
    // Ctrl-C at the first, then at the second, and so on: each is come to anew.
    for n in 0..questions.len() {
        for question in &questions[..n] {
            pty.expect(question);
            answer(&session, &mut pty, question);
        }
        interrupt(&mut pty, questions[n]);
        pty.choose("What now?", AGAIN);
    }
    for question in questions {
        pty.expect(question);
        answer(&session, &mut pty, question);
    }
    mishap("ctrl-c-at-a-prompt").was_said(&ends_with(pty, 0));
    session.prove(&session.world.path("source"));
}

fn answer(session: &Session, pty: &mut Pty, question: &str) {
    if question == PROMPT {
        pty.send(&format!("{PASSPHRASE}\r"));
    } else if question.contains("card") {
        pty.send(&format!("{}\r", session.world.owner_words()));
    } else {
        pty.choose_here("None: work offline");
    }
}

#[test]
fn ctrl_c_before_a_target_is_taken_or_erased_leaves_nothing_on_any_disk() {
    let world = World::offline();
    let keys = key_stick(&world);
    let blank = Disk::new(&world.path("blank.img"), 96);
    let limited = Disk::new(&world.path("limited.img"), 64).format("ntfs", "LIMITED");
    let untouched = [&keys, &blank];
    let before = untouched.map(digest);
    let mut pty = appliance(&world, &[&keys, &blank, &limited]);
    let roads: [(&[(&str, &str)], &str); 6] = [
        (&[], WHERE),
        (&[(WHERE, "A new file system")], "shall be erased"),
        (
            &[
                (WHERE, "A new file system"),
                ("shall be erased", blank.name()),
            ],
            "Which file system",
        ),
        (
            &[
                (WHERE, "A new file system"),
                ("shall be erased", blank.name()),
                ("Which file system", "ext4"),
            ],
            "type its name",
        ),
        (&[(WHERE, "LIMITED")], "Use it all the same"),
        (&[(WHERE, "VOLATILE")], "Type volatile to go on"),
    ];
    for (answers, question) in roads {
        for (asked, item) in answers {
            pty.choose(asked, item);
        }
        interrupt(&mut pty, question);
        pty.choose("What now?", AGAIN);
    }
    let said = leave_at(pty, WHERE);
    assert!(!said.contains("Created domain"), "{said}");
    assert_eq!(untouched.map(digest), before);
    // The one that was looked at for writing keeps nothing of it.
    let at = world.path("mounted");
    std::fs::create_dir(&at).unwrap();
    tool(&["ntfs-3g", "-o", "ro", limited.name(), at.to_str().unwrap()]);
    let kept: Vec<_> = std::fs::read_dir(&at).unwrap().collect();
    tool(&["umount", at.to_str().unwrap()]);
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn ctrl_c_where_sources_are_chosen_may_seal_nothing_and_at_the_very_end_it_ends() {
    let world = World::offline();
    let keys = key_stick(&world);
    write_random(&world.path("source/a"), 1);
    let victim = filled(&world, "VICTIM", &world.path("source"));
    let before = digest(&victim);
    let mut pty = appliance(&world, &[&keys, &victim]);
    pty.choose(WHERE, "VOLATILE");
    pty.expect("Type volatile to go on");
    pty.send("volatile\r");
    world.compare_with_card(&mut pty);
    type_passphrase(&mut pty);
    interrupt(&mut pty, "What shall be sealed first");
    pty.choose("What now?", "Seal no more: snapshot what is sealed");
    pty.expect("Snapshot snap-000001");
    interrupt(&mut pty, "When you are ready");
    ends_with(pty, 130);
    assert_eq!(digest(&victim), before);
}

#[test]
fn ctrl_c_at_the_keyboards_layout_asks_for_no_passphrase_and_makes_nothing_more() {
    let world = World::offline();
    let keys = key_stick(&world);
    for (item, question) in [
        (None, "Keyboard layout"),
        (Some("Another, by its name"), "Its name, such as"),
    ] {
        let mut pty = appliance_with_screen(&world, &[&keys]);
        pty.choose(WHERE, "VOLATILE");
        pty.expect("Type volatile to go on");
        pty.send("volatile\r");
        world.compare_with_card(&mut pty);
        if let Some(item) = item {
            pty.choose("Keyboard layout", item);
        }
        let said = leave_at(pty, question);
        assert!(!said.contains(PROMPT), "{said}");
    }
}

#[test]
fn ctrl_c_at_the_request_and_at_its_codes_keeps_what_is_sealed() {
    let mut world = World::new();
    assert_eq!(world.server.take().unwrap().stop(), 0);
    write_random(&world.path("source/a"), 2);
    let session = Session::new(world, true).asks(900_000_000, "both");
    let mut pty = session.unlocked();
    interrupt(&mut pty, "The request for home");
    pty.choose("What now?", "It is put right: try it again");
    session.unlock(&mut pty);
    pty.choose(
        "The request for home",
        "Show it as QR codes, for a telephone to carry",
    );
    interrupt(&mut pty, "then press a key");
    pty.choose("What now?", "Go on without it");
    let said = ends_with(pty, 0);
    assert!(said.contains("Snapshot snap-000001"), "{said}");
    session.prove(&session.world.path("source"));
}

#[test]
fn ctrl_c_at_another_consoles_menu_leaves_the_session_alone() {
    let world = World::offline();
    write_random(&world.path("source/a"), 1);
    let session = Session::new(world, true);
    let mut first = session.start(24, 80);
    first.expect("Type word ");
    let mut second = session.start(24, 80);
    interrupt(&mut second, "The session is on another console");
    ends_with(second, 130);
    first.send(&format!("{}\r", session.world.owner_words()));
    type_passphrase(&mut first);
    ends_with(first, 0);
    session.prove(&session.world.path("source"));
}

#[test]
fn ctrl_c_at_the_first_question_of_all_does_nothing() {
    let world = World::offline();
    let before = contents(world.dir.path());
    let start = || {
        let mut command = world.asl().words(["rescue"]);
        command.current_dir(world.dir.path()).env("TERM", "dumb");
        Pty::start(command, 24, 80)
    };
    let mut pty = start();
    interrupt(&mut pty, "What shall be done");
    ends_with(pty, 130);
    let mut pty = start();
    pty.choose("What shall be done", "Look after what is prepared");
    interrupt(&mut pty, "Which directory");
    ends_with(pty, 130);
    let mut pty = start();
    pty.choose("What shall be done", "Look after what is prepared");
    pty.expect("Which directory");
    pty.send("keys\r");
    interrupt(&mut pty, "What shall be done");
    ends_with(pty, 130);
    assert_eq!(contents(world.dir.path()), before);
}
