//! The first step of a session on an appliance: which disk the domain lives on, and what that disk
//! cannot do. The real binary on a terminal, and real disks.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::appliance::{appliance, digest, filled, key_stick};
use common::loops::{tool, Disk};
use common::pty::Pty;
use common::*;
use std::process::Command;

/// Ends the session at its next question, so that its disks are let go.
#[track_caller]
fn leave(mut pty: Pty, question: &str) {
    pty.expect(question);
    pty.signal(nix::sys::signal::Signal::SIGTERM);
    pty.send("\x03");
    let (code, said) = pty.end();
    assert!(matches!(code, 1 | 130), "{code}: {said}");
}

/// Adds a file to an NTFS disk.
fn put_on_ntfs(world: &World, disk: &Disk, name: &str, bytes: &[u8]) {
    let at = world.path("mounted");
    std::fs::create_dir_all(&at).unwrap();
    tool(&["ntfs-3g", disk.name(), at.to_str().unwrap()]);
    std::fs::write(at.join(name), bytes).unwrap();
    tool(&["umount", at.to_str().unwrap()]);
}

const WHERE: &str = "Where shall the domain live";

#[test]
fn a_disk_is_erased_only_after_its_name_was_typed_and_its_domain_is_found_again() {
    let world = World::offline();
    let source = world.path("source");
    write_random(&source.join("photos/one"), 2);
    let keys = key_stick(&world);
    let victim = filled(&world, "VICTIM", &source);
    let blank = Disk::new(&world.path("blank.img"), 96);
    let disks = [&keys, &victim, &blank];
    let before = disks.map(digest);
    let mut pty = appliance(&world, &disks);

    // A wrong name changes nothing; the stick and what is in use are not even offered.
    pty.choose(WHERE, "A new file system");
    pty.expect(&format!("not {}: ", keys.name()));
    pty.choose("shall be erased", blank.name());
    pty.expect("On it is now, and would be lost");
    pty.choose("Which file system", "ext4");
    pty.expect("type its name");
    pty.send("sda\r");
    pty.expect("That is not its name. Nothing was changed.");
    assert_eq!(disks.map(digest), before);

    pty.choose(WHERE, "A new file system");
    pty.choose("shall be erased", blank.name());
    pty.choose("Which file system", "ext4");
    let name = blank.name().trim_start_matches("/dev/");
    pty.expect("type its name");
    pty.send(&format!("{name}\r"));
    pty.expect(&format!("Made ext4 on {}", blank.name()));
    pty.expect("Created domain alice.personal~");
    world.compare_with_card(&mut pty);
    pty.expect("Passphrase of the key stick");
    pty.send(&format!("{PASSPHRASE}\r"));
    pty.expect("may be taken out");
    pty.choose("What shall be sealed first", "VICTIM");
    pty.expect("Snapshot snap-000001");
    leave(pty, "When you are ready");
    assert_eq!(digest(&victim), before[1], "the source is as it was");
    assert_eq!(digest(&keys), before[0], "and so is the stick");

    // What was made is what it says, and the next session offers it before the others.
    assert_eq!(
        tool(&["blkid", "-o", "value", "-s", "LABEL", blank.name()]),
        "ASL-TARGET"
    );
    std::fs::create_dir(world.root()).unwrap_or_default();
    let mounted = world.path("mounted");
    std::fs::create_dir(&mounted).unwrap();
    tool(&["mount", blank.name(), mounted.to_str().unwrap()]);
    let verified = asl(&mounted.join("asl-host"))
        .words(["verify", "--json", "--identity"])
        .words([world.owner()])
        .run();
    tool(&["umount", mounted.to_str().unwrap()]);
    assert_eq!(verified.ok().json()["damage"], serde_json::json!([]));
    let mut again = appliance(&world, &disks);
    again.expect(WHERE);
    again.expect(blank.name());
    again.expect("holds domain alice.personal~");
    again.expect("last sealed 20");
    again.send("\r");
    again.expect("Found domain alice.personal~");
    leave(again, "of the owner's card");
}

#[test]
fn an_ntfs_disk_says_what_it_cannot_and_one_that_windows_sleeps_on_is_refused() {
    let world = World::offline();
    let keys = key_stick(&world);
    let disk = |name: &str| Disk::new(&world.path(name), 64);
    let asleep = disk("asleep.img").format("ntfs", "ASLEEP");
    put_on_ntfs(
        &world,
        &asleep,
        "hiberfil.sys",
        &[b"hibr".as_slice(), &[0; 8188]].concat(),
    );
    let awake = disk("awake.img").format("ntfs", "AWAKE");
    put_on_ntfs(&world, &awake, "letter.txt", b"theirs");
    let before = digest(&asleep);
    let mut pty = appliance(&world, &[&keys, &asleep, &awake]);

    pty.choose(WHERE, "ASLEEP");
    pty.expect("Windows hibernated on it");
    pty.expect("next: start Windows");
    pty.choose("What now?", "Choose another target");
    pty.choose(WHERE, "AWAKE");
    pty.expect("keeps no permissions, so anyone who has the disk can read");
    pty.expect("cannot change a name in one step");
    pty.expect("Use it all the same");
    pty.send("y\r");
    pty.expect("Created domain alice.personal~");
    leave(pty, "of the owner's card");
    assert_eq!(digest(&asleep), before, "not a byte of it");

    let at = world.path("mounted");
    tool(&["ntfs-3g", "-o", "ro", awake.name(), at.to_str().unwrap()]);
    let letter = std::fs::read(at.join("letter.txt"));
    let ours = at.join("asl-host/domains").is_dir();
    tool(&["umount", at.to_str().unwrap()]);
    assert_eq!(letter.unwrap(), b"theirs");
    assert!(ours, "a folder beside what was there");
}

#[test]
fn a_disk_that_cannot_be_mounted_is_no_reason_to_leave() {
    let world = World::offline();
    let keys = key_stick(&world);
    let broken = Disk::new(&world.path("broken.img"), 64).format("ext4", "BROKEN");
    // The superblock says ext4 with a feature that no kernel has.
    let mut debugfs = Command::new("debugfs");
    debugfs.args(["-w", "-R", "set_super_value feature_incompat 0x80000042"]);
    assert!(debugfs.arg(broken.name()).status().unwrap().success());
    let mut pty = appliance(&world, &[&keys, &broken]);
    pty.choose(WHERE, "BROKEN");
    pty.expect("cannot mount");
    pty.expect("choose another");
    pty.choose("What now?", "Choose another target");
    pty.choose(WHERE, "VOLATILE");
    pty.expect("Type volatile to go on");
    pty.send("yes\r");
    pty.choose(WHERE, "VOLATILE");
    pty.expect("Type volatile to go on");
    pty.send("volatile\r");
    pty.expect("Created domain alice.personal~");
    leave(pty, "of the owner's card");
}
