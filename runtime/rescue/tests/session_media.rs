//! Mishaps with targets, sources, consoles and the power: the words and the ways on of MISHAPS.md,
//! with real file systems that fail.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::disk::Disk;
use common::pty::Pty;
use common::session::{ends_with, mishap, rescue, type_passphrase, Session, PROMPT};
use common::*;
use std::path::PathBuf;

/// A root that is a folder on a disk.
fn root_on(world: &World, disk: &Disk) {
    std::os::unix::fs::symlink(disk.path(), world.root()).unwrap();
}

#[test]
fn while_sealing_a_person_sees_what_is_safe_what_is_to_come_and_what_the_lease_leaves() {
    let world = World::new();
    let disk = Disk::new(world.path("large"), 300);
    write_random(&disk.path().join("a"), 160);
    let (root, sources) = (world.root(), [disk.path().to_path_buf()]);
    let session = Session::between(world, true, &root, &sources).asks(900_000_000, "both");
    let profile = session.world.path("profile.toml");
    std::fs::write(&profile, &session.profile).unwrap();
    // On a terminal that lines can be drawn on anew.
    let mut command = rescue(&session.world, &profile);
    command.env("TERM", "vt220");
    let mut pty = Pty::start(command, 24, 120);
    session.unlock(&mut pty);
    pty.expect(" to go, lease ");
    ends_with(pty, 0);
}

#[test]
fn a_full_target_goes_on_once_there_is_room() {
    let world = World::offline();
    let disk = Disk::new(world.path("target"), 64);
    root_on(&world, &disk);
    let filler = disk.path().join("somebody-elses-file");
    write_random(&filler, 28);
    for n in 0..4 {
        write_random(&world.path(&format!("source/{n}")), 8);
    }
    let session = Session::new(world, true);
    let mut pty = session.unlocked();
    pty.expect("no space is left");
    std::fs::remove_file(filler).unwrap();
    pty.choose("What now?", "There is room now: go on");
    let said = ends_with(pty, 0);
    mishap("target-full").was_said(&said);
    session.prove(&session.world.path("source"));
}

#[test]
fn a_target_that_was_pulled_goes_on_when_it_is_in_again() {
    let world = World::offline();
    let disk = Disk::new(world.path("target"), 300);
    root_on(&world, &disk);
    write_random(&world.path("source/large"), 160);
    let session = Session::new(world, true);
    let mut pty = session.sealing();
    disk.pull();
    pty.expect("What now?");
    disk.plug_in();
    // What was acknowledged before is there; the session has its old mount, the next one goes on.
    session.world.asl().words(["log", "verify"]).run().ok();
    pty.send("\x03");
    mishap("target-pulled").was_said(&ends_with(pty, 130));
    let said = ends_with(session.unlocked(), 0);
    assert!(said.contains("it goes on where it stopped"), "{said}");
    session.prove(&session.world.path("source"));
}

#[test]
fn a_source_that_was_pulled_is_told_and_the_next_one_is_whole() {
    let world = World::offline();
    let disk = Disk::new(world.path("loose"), 300);
    let mut files = Vec::new();
    for name in (0..80).map(|n| format!("{n:02}")) {
        write_random(&disk.path().join(&name), 2);
        let bytes = std::fs::read(disk.path().join(&name)).unwrap();
        files.push((name, blake3::hash(&bytes)));
    }
    let disk = disk.read_only();
    let second = world.path("second");
    tree::make(&second);
    let (root, sources) = (world.root(), [disk.path().to_path_buf(), second.clone()]);
    let session = Session::between(world, true, &root, &sources);
    let mut pty = session.sealing();
    disk.pull();
    pty.choose("What now?", "Go on without it");
    let said = ends_with(pty, 0);
    mishap("source-pulled").was_said(&said);
    session.world.verify();
    restore_all(&session.world);
    tree::assert_same(&second, &session.world.path("back/02"));
    // What was read of the first before is there, as it was.
    let is_whole = |(name, hash): &(String, blake3::Hash)| {
        let bytes = std::fs::read(session.world.path("back/01").join(name));
        bytes.is_ok_and(|bytes| blake3::hash(&bytes) == *hash)
    };
    let kept = files.iter().filter(|f| is_whole(f)).count();
    assert!(
        (1..files.len()).contains(&kept),
        "{kept} of {}",
        files.len()
    );
}

/// Restores, where what is sealed has holes.
fn restore_all(world: &World) {
    let ran = world.restore("back").run();
    assert!([0, 5].contains(&ran.code), "{} {}", ran.code, ran.err);
}

#[test]
fn a_source_that_is_missing_costs_no_other() {
    let make = |interactive| {
        let world = World::offline();
        let second = world.path("second");
        write_random(&second.join("a"), 1);
        let (root, sources) = (world.root(), [world.path("nowhere"), second]);
        Session::between(world, interactive, &root, &sources)
    };
    let session = make(true);
    let mut pty = session.unlocked();
    pty.choose("What now?", "Leave this source out, go on with the next");
    mishap("source-missing").was_said(&ends_with(pty, 0));
    session.prove(&session.world.path("second"));

    let session = make(false);
    let mut pty = session.start(24, 80);
    type_passphrase(&mut pty);
    mishap("source-missing-unattended").was_said(&ends_with(pty, 1));
    session.prove(&session.world.path("second"));
}

#[test]
fn a_file_that_cannot_be_read_in_part_leaves_a_hole_and_all_else_whole() {
    let world = World::offline();
    let disk = Disk::new(world.path("failing"), 64);
    write_random(&disk.path().join("good"), 4);
    write_random(&disk.path().join("later"), 8);
    let good = std::fs::read(disk.path().join("good")).unwrap();
    let disk = disk.read_only();
    disk.spoil("later");
    let (root, sources) = (world.root(), [disk.path().to_path_buf()]);
    let session = Session::between(world, true, &root, &sources);
    let mut pty = session.unlocked();
    pty.choose("What now?", "Go on without it");
    let said = ends_with(pty, 0);
    mishap("read-error").was_said(&said);
    session.world.verify();
    restore_all(&session.world);
    let back = |name: &str| std::fs::read(session.world.path("back").join(name)).unwrap();
    assert!(back("good") == good);
    let later = back("later");
    assert_eq!(later.len(), 8 << 20);
    assert!(later[..1 << 20].iter().any(|b| *b != 0));
}

#[test]
fn ctrl_c_while_sealing_goes_on_with_the_same_source() {
    let world = World::offline();
    write_random(&world.path("source/large"), 128);
    let session = Session::new(world, true);
    let mut pty = session.sealing();
    pty.send("\x03");
    pty.choose("What now?", "It is put right: try it again");
    mishap("ctrl-c-while-sealing").was_said(&ends_with(pty, 0));
    session.prove(&session.world.path("source"));
}

#[test]
fn a_console_that_is_lost_ends_the_session_and_the_next_goes_on() {
    let world = World::offline();
    write_random(&world.path("source/large"), 128);
    let session = Session::new(world, true);
    let pty = session.sealing();
    let said = pty.said();
    pty.hang_up();
    mishap("console-lost").was_said(&said);
    session.world.asl().words(["log", "verify"]).run().ok();
    let said = ends_with(session.unlocked(), 0);
    assert!(said.contains("it goes on where it stopped"), "{said}");
    session.prove(&session.world.path("source"));
}

#[test]
fn another_console_may_look_and_take_over() {
    let world = World::offline();
    write_random(&world.path("source/large"), 500);
    let session = Session::new(world, true);
    let first = session.sealing();
    let mut second = session.start(24, 80);
    let question = "The session is on another console";
    second.choose(question, "Look at what it says");
    second.expect("it said last:");
    second.expect("Sealing /");
    second.choose(question, "Take over here");
    session.unlock(&mut second);
    assert_eq!(first.end().0, 130);
    mishap("second-console").was_said(&ends_with(second, 0));
    session.prove(&session.world.path("source"));
}

#[test]
fn a_session_taken_over_at_a_question_ends_too() {
    let world = World::offline();
    write_random(&world.path("source/a"), 1);
    let session = Session::new(world, true);
    let mut first = session.start(24, 80);
    first.expect("Type word ");
    let mut second = session.start(24, 80);
    second.choose("The session is on another console", "Take over here");
    assert_eq!(first.end().0, 130);
    session.unlock(&mut second);
    ends_with(second, 0);
}

/// The bounded form of a power cut in each step: killed at once where the step has just begun, and
/// the next session goes on. `scripts/mishaps` cuts the power of a whole machine.
#[test]
fn a_session_killed_in_any_of_its_six_steps_is_taken_up_by_the_next() {
    let world = World::new();
    write_random(&world.path("source/a"), 24);
    let session = Session::new(world, false).asks(900_000_000, "both");
    let markers = ["[1/6]", PROMPT, "[3/6]", "[4/6]", "[5/6]", "[6/6]"];
    let mut acknowledged = 0;
    for (n, marker) in markers.iter().enumerate() {
        let mut pty = session.start(24, 80);
        if n > 1 {
            type_passphrase(&mut pty);
        }
        pty.expect(marker);
        // Killed, as Drop does it: nothing is said, nothing is written any more.
        drop(pty);
        acknowledged = nothing_lost(&session.world, acknowledged);
    }
    let mut pty = session.start(24, 80);
    type_passphrase(&mut pty);
    mishap("power-cut").was_said(&ends_with(pty, 0));
    session.prove(&session.world.path("source"));
}

/// The log's commits never become fewer; what is there is sound.
fn nothing_lost(world: &World, before: u64) -> u64 {
    let domains: Vec<PathBuf> = std::fs::read_dir(world.root().join("domains"))
        .map(|d| d.filter_map(|d| d.ok().map(|d| d.path())).collect())
        .unwrap_or_default();
    if domains.is_empty() {
        assert_eq!(before, 0, "the domain is gone");
        return 0;
    }
    let log = world
        .asl()
        .words(["log", "verify", "--json"])
        .run()
        .ok()
        .json();
    let now = log["stored_bytes"].as_u64().unwrap();
    assert!(now >= before, "{now} of {before} bytes are left");
    world.verify();
    now
}
