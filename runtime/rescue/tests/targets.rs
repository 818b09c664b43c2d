//! A domain on every file system that a rescuer finds at hand, and what each of them cannot do.
//!
//! Real file systems on loop devices: NTFS and exFAT by their drivers of user space, which this
//! machine's kernel need not have. The kernel's own drivers of vfat, exFAT and NTFS are tried in
//! the guest, by scripts/test-targets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_backend::{Backend, Limits, Name, PosixBackend};
use asl_core::Kind;
use common::loops::Volume;
use common::*;

/// A world whose root lies on a file system, below its top as on a target.
fn world_on(fstype: &'static str) -> (World, Volume) {
    let world = World::offline();
    let medium = Volume::new(world.dir.path(), fstype, &world.path("target"));
    std::fs::create_dir(world.path("target/asl-host")).unwrap();
    std::os::unix::fs::symlink("target/asl-host", world.root()).unwrap();
    (world, medium)
}

/// What holds on every one of them.
fn keeps_its_promises(fstype: &'static str, said: &[&str]) {
    let (world, mut medium) = world_on(fstype);
    let made = world.asl().words(["init"]).run().ok();
    for words in said {
        assert!(made.err.contains(words), "no {words:?} in {}", made.err);
    }
    let silent = said.is_empty();
    assert_eq!(
        silent,
        !made.err.contains("This file system"),
        "{}",
        made.err
    );
    let mut create = world.asl().words(["domain", "create", "--stick"]);
    create.arg(world.stick());
    create.run().ok();
    let source = world.path("source");
    tree::make(&source);
    write_random(&source.join("random"), 6);
    world.ingest(&source).run().ok();
    world.verify();

    // Killed at any moment: what was acknowledged stays, and the next one goes on.
    for round in 0..2 {
        write_random(&source.join(format!("more-{round}")), 4);
        let before = log_length(&world);
        let mut child = world.ingest(&source).spawn().unwrap();
        wait_for("an acknowledgement", || log_length(&world) > before);
        let _ = child.kill();
        child.wait().unwrap();
        world.asl().words(["log", "verify"]).run().ok();
    }
    world.ingest(&source).run().ok();
    let before = log_length(&world);

    // Filled to the last byte: told, nothing lost, and not wedged.
    let filler = medium.fill();
    write_random(&world.path("other/one"), 8);
    let full = world.ingest(&world.path("other")).run();
    full.refused(1, &["no space is left", "free space"]);
    world.asl().words(["status"]).run().ok();
    world.verify();
    std::fs::remove_file(filler).unwrap();
    world.ingest(&world.path("other")).run().ok();
    assert!(log_length(&world) > before);

    // All of it is on the medium, and not in this machine's memory.
    medium.unmount();
    medium.mount();
    world.verify();
    let mut last = world.ingest(&source);
    last.arg("--snapshot");
    last.run().ok();
    world.verify();
    world.restore("back").run().ok();
    // Of the two roots, the second.
    tree::assert_same(&source, &world.path("back/02"));
    medium.unmount();
}

#[test]
fn a_domain_on_ext4_keeps_its_promises() {
    keeps_its_promises("ext4", &[]);
}

#[test]
fn a_domain_on_ext2_keeps_its_promises_and_says_what_it_cannot() {
    keeps_its_promises("ext2", &["cannot change a name in one step"]);
}

#[test]
fn a_domain_on_xfs_keeps_its_promises() {
    keeps_its_promises("xfs", &[]);
}

#[test]
fn a_domain_on_btrfs_keeps_its_promises() {
    keeps_its_promises("btrfs", &[]);
}

#[test]
fn a_domain_on_ntfs_keeps_its_promises_and_says_what_it_cannot() {
    let said = [
        "keeps no permissions, so anyone who has the disk can read what is in clear",
        "cannot change a name in one step",
        "each file is synced by itself",
    ];
    keeps_its_promises("ntfs", &said);
}

#[test]
fn a_domain_on_exfat_keeps_its_promises_without_links_and_renames_that_spare() {
    let said = [
        "keeps no permissions",
        "cannot change a name in one step",
        "names are given under a lock",
    ];
    keeps_its_promises("exfat", &said);
}

#[test]
fn a_probe_finds_what_a_driver_can_and_not_what_a_name_promises() {
    let dir = tempfile::tempdir().unwrap();
    let found = |fstype| {
        let medium = Volume::new(dir.path(), fstype, &dir.path().join("at"));
        let limits = Limits::probe(&medium.at).unwrap();
        limits.check().unwrap();
        let left = std::fs::read_dir(&medium.at).unwrap();
        let left = left.filter(|e| e.as_ref().unwrap().file_name() != "lost+found");
        assert_eq!(left.count(), 0, "{fstype}: the probe leaves nothing");
        limits
    };
    let ext4 = found("ext4");
    assert!(ext4.renames_new && ext4.links && ext4.renames_whole && ext4.permissions);
    assert_eq!((ext4.file_system.as_str(), ext4.volatile), ("ext4", false));
    assert!(ext4.largest_file < u64::MAX >> 1, "{}", ext4.largest_file);
    let ext2 = found("ext2");
    assert_eq!(
        (ext2.file_system.as_str(), ext2.renames_whole),
        ("ext2", false)
    );
    let ntfs = found("ntfs");
    assert!(
        !ntfs.renames_new && ntfs.links && !ntfs.permissions,
        "{ntfs:?}"
    );
    assert!(!ntfs.renames_whole, "{ntfs:?}");
    assert!(ntfs.tells_case && !ntfs.volatile && ntfs.syncs_last && ntfs.locks);
    let exfat = found("exfat");
    assert!(!exfat.renames_new && !exfat.links && !exfat.permissions && !exfat.sparse);
    assert!(!exfat.tells_case && !exfat.volatile && exfat.syncs_last && exfat.locks);
}

#[test]
fn of_many_programs_that_take_a_name_on_exfat_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let medium = Volume::new(dir.path(), "exfat", &dir.path().join("at"));
    let name = |text: &str| Name::new(text).unwrap();
    let backend = PosixBackend::open(&medium.at).unwrap();
    backend.create_dirs(&["tmp", "s"].map(name)).unwrap();
    for round in 0..30 {
        let at = name(&format!("s/{round}"));
        let won: usize = std::thread::scope(|scope| {
            let put = |who: u8| {
                // Opened apart, as by another program: the lock is of the open directory.
                let (at, root) = (&at, &medium.at);
                scope.spawn(move || {
                    let other = PosixBackend::open(root).unwrap();
                    usize::from(other.put_new(at, &[who; 64]).is_ok())
                })
            };
            let all = [1, 2, 3, 4].map(put);
            all.into_iter().map(|p| p.join().unwrap()).sum()
        });
        assert_eq!(won, 1, "round {round}");
    }
}

#[test]
fn after_a_target_was_pulled_nothing_is_acknowledged() {
    for fstype in ["ext4", "xfs"] {
        let dir = tempfile::tempdir().unwrap();
        let medium = Volume::new(dir.path(), fstype, &dir.path().join("at"));
        let name = |text: &str| Name::new(text).unwrap();
        let open = || PosixBackend::open(&medium.at).unwrap();
        open().create_dirs(&["tmp", "s"].map(name)).unwrap();
        open().barrier().unwrap();
        // Whatever is the first to meet the dead disk is refused; the name was never promised.
        let barrier_first = open();
        barrier_first.put_new(&name("s/a"), b"put").unwrap();
        let put_first = open();
        put_first.put_new(&name("s/b"), b"put").unwrap();
        medium.shut_down(2);
        let error = barrier_first.barrier().expect_err(fstype);
        assert_eq!(error.kind(), Kind::Io, "{error}");
        put_first.put_new(&name("s/c"), b"put").unwrap_err();
        for backend in [&barrier_first, &put_first] {
            let error = backend.barrier().unwrap_err();
            assert!(error.why().contains("nothing written since"), "{error}");
        }
    }
}

#[test]
fn after_a_driver_of_user_space_died_nothing_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut medium = Volume::new(dir.path(), "ntfs", &dir.path().join("at"));
    let name = |text: &str| Name::new(text).unwrap();
    let backend = PosixBackend::open(&medium.at).unwrap();
    backend.create_dirs(&["tmp", "s"].map(name)).unwrap();
    backend.put_new(&name("s/a"), b"put").unwrap();
    medium.driver.take().unwrap().kill().unwrap();
    let error = backend.put_new(&name("s/b"), b"put").unwrap_err();
    assert!(error.why().contains("the medium is gone"), "{error}");
    let error = backend.barrier().unwrap_err();
    assert!(error.why().contains("nothing written since"), "{error}");
}
