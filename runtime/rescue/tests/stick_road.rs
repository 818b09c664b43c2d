//! The road of a person with a stick from a shop: `rescue --prepare` makes it the key stick, and a
//! session is unlocked from that same medium. It is FAT where this kernel has a driver for that, as
//! the appliance's has, else ext4.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::appliance::{appliance, at_home, filled};
use common::loops::{tool, Disk};
use common::pty::Pty;
use common::session::{ends_with, type_passphrase};
use common::*;

/// From nothing to a stick and a card, in the directory `keys`.
fn prepare(world: &World, stick: &Disk) {
    let command = at_home(stick, world.dir.path()).words(["rescue", "--prepare"]);
    let mut pty = Pty::start(command, 24, 120);
    let typed = |pty: &mut Pty, question: &str, text: &str| {
        pty.expect(question);
        if question.contains("assphrase") || question.contains("same again") {
            wait_for("no echo", || !pty.echoes());
        }
        pty.send(&format!("{text}\r"));
    };
    typed(&mut pty, "Which directory", "keys");
    pty.choose("Who shall open the data", "Make an owner");
    typed(&mut pty, "New passphrase", PASSPHRASE);
    typed(&mut pty, "The same again", PASSPHRASE);
    typed(&mut pty, "The domain's name", "alice.personal");
    typed(&mut pty, "Days until its DAM ends", "");
    pty.choose("No host is pinned", "Go on");
    typed(&mut pty, "The owner's identity file", "");
    typed(&mut pty, "Passphrase of the key stick", PASSPHRASE);
    let name = stick.name().trim_start_matches("/dev/");
    pty.choose("Where shall the key stick be written", "ERASED");
    typed(&mut pty, &format!("Type {name} to erase it"), name);
    pty.expect("It may be taken out.");
    pty.expect("Print the owner's secret too");
    pty.send("n");
    let said = ends_with(pty, 0);
    assert!(said.contains("Prepared."), "{said}");
}

#[test]
fn a_stick_that_was_prepared_at_home_unlocks_a_session_as_it_is() {
    let world = World {
        dir: tempfile::tempdir().unwrap(),
        server: None,
    };
    let stick = Disk::new(&world.path("stick.img"), 300);
    prepare(&world, &stick);
    let kind = |tag| tool(&["blkid", "-p", "-s", tag, "-o", "value", stick.name()]);
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    let fat = known.lines().any(|l| l.trim() == "vfat");
    assert_eq!(kind("TYPE"), if fat { "vfat" } else { "ext4" });
    assert_eq!(kind("LABEL"), "ASL-KEYS");
    let before = blake3::hash(&std::fs::read(&stick.device).unwrap());

    let source = world.path("source");
    tree::make(&source);
    let victim = filled(&world, "VICTIM", &source);
    let target = Disk::new(&world.path("target.img"), 96).format("ext4", "ROOMY");
    let mut pty = appliance(&world, &[&stick, &victim, &target]);
    pty.choose("Where shall the domain live", "ROOMY");
    pty.expect("Created domain alice.personal~");
    world.compare_with_card(&mut pty);
    type_passphrase(&mut pty);
    pty.expect("The key stick may be taken out.");
    pty.choose("What shall be sealed first", "VICTIM");
    pty.expect("Snapshot snap-000001");
    pty.choose("When you are ready", "Go to a shell");
    ends_with(pty, 0);
    let after = blake3::hash(&std::fs::read(&stick.device).unwrap());
    assert_eq!(after, before, "a session only reads the stick");

    // What was sealed opens with the keys that stayed at home.
    std::os::unix::fs::symlink(world.path("mounted/asl-host"), world.path("opened")).unwrap();
    std::fs::create_dir(world.path("mounted")).unwrap();
    let mounted = world.path("mounted").display().to_string();
    tool(&["mount", target.name(), &mounted]);
    let opened = || asl(&world.path("opened"));
    let mut restore = opened().words(["restore", "--identity"]);
    restore
        .arg(world.owner())
        .arg("--to")
        .arg(world.path("back"));
    let restored = restore.run();
    let verified = opened().words(["verify", "--json"]).run();
    tool(&["umount", &mounted]);
    restored.ok();
    assert_eq!(verified.ok().json()["damage"], serde_json::json!([]));
    for name in std::fs::read_dir(&source).unwrap() {
        let name = name.unwrap().file_name();
        assert!(
            world.path("back").join(&name).symlink_metadata().is_ok(),
            "{name:?}"
        );
    }
}
