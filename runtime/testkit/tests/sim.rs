//! The simulated disk must be able to lose everything a real one can lose, and nothing more.

// A test's helpers may panic; the lint knows only its functions.
#![allow(clippy::unwrap_used)]

use asl_backend::disk::{Access, Disk, DiskFile, Lock};
use asl_testkit::{Fault, SimDisk};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::path::Path;

fn write(disk: &SimDisk, path: &str, bytes: &[u8]) -> asl_testkit::SimFile {
    let file = disk.create(Path::new(path), 0o600).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    file
}

/// The different states a path is in over many images; none where it is missing.
fn states(disk: &SimDisk, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    disk.crash_images(7, 64)
        .iter()
        .map(|image| image.files().get(path).cloned())
        .collect()
}

#[test]
fn a_synced_file_may_lose_its_name() {
    let disk = SimDisk::new();
    write(&disk, "a", b"bytes").sync().unwrap();
    let seen = states(&disk, "a");
    assert!(seen.contains(&None));
    assert!(seen.contains(&Some(b"bytes".to_vec())));
    assert_eq!(seen.len(), 2, "synced bytes are never torn");
}

#[test]
fn a_synced_name_may_lose_its_bytes() {
    let disk = SimDisk::new();
    write(&disk, "a", &[1; 1500]);
    disk.sync_dir(Path::new("")).unwrap();
    let seen = states(&disk, "a");
    assert!(!seen.contains(&None));
    assert!(seen.contains(&Some(vec![])));
    assert!(seen.contains(&Some(vec![1; 1500])));
    let torn = |s: &Option<Vec<u8>>| s.as_ref().is_some_and(|b| b.contains(&0) && b.contains(&1));
    assert!(seen.iter().any(torn), "bytes tear");
    for bytes in seen.iter().flatten() {
        for sector in bytes.chunks(512) {
            assert!(sector.windows(2).all(|w| w[0] == w[1]), "a sector is whole");
        }
    }
}

#[test]
fn what_is_synced_with_its_name_stays() {
    let disk = SimDisk::new();
    write(&disk, "a", b"bytes").sync().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    assert_eq!(
        states(&disk, "a"),
        BTreeSet::from([Some(b"bytes".to_vec())])
    );
    assert!(disk.sync_all().unwrap());
}

#[test]
fn a_rename_and_an_unlink_are_volatile_until_the_directory_is_synced() {
    let disk = SimDisk::new();
    write(&disk, "a", b"1").sync().unwrap();
    write(&disk, "b", b"2").sync().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    disk.rename(Path::new("a"), Path::new("c")).unwrap();
    disk.unlink(Path::new("b")).unwrap();
    assert_eq!(states(&disk, "c").len(), 2);
    assert_eq!(states(&disk, "b").len(), 2);
    for image in disk.crash_images(3, 64) {
        let files = image.files();
        assert_ne!(files.contains_key("a"), files.contains_key("c"), "one step");
    }
    disk.sync_dir(Path::new("")).unwrap();
    assert_eq!(states(&disk, "a"), BTreeSet::from([None]));
    assert_eq!(states(&disk, "b"), BTreeSet::from([None]));
}

#[test]
fn a_rename_across_directories_may_leave_the_old_name_until_both_are_synced() {
    let disk = SimDisk::new();
    for dir in ["x", "y"] {
        disk.make_dir(Path::new(dir), 0o700).unwrap();
    }
    write(&disk, "x/a", b"1").sync().unwrap();
    disk.sync_all().unwrap();
    disk.rename(Path::new("x/a"), Path::new("y/a")).unwrap();
    disk.sync_dir(Path::new("y")).unwrap();
    assert_eq!(states(&disk, "y/a"), BTreeSet::from([Some(b"1".to_vec())]));
    assert_eq!(states(&disk, "x/a").len(), 2);
    disk.sync_dir(Path::new("x")).unwrap();
    assert_eq!(states(&disk, "x/a"), BTreeSet::from([None]));
}

#[test]
fn without_a_journal_a_rename_may_leave_both_names_and_taking_one_frees_the_bytes() {
    let disk = SimDisk::new().without_journal();
    write(&disk, "a", b"1").sync().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    disk.rename(Path::new("a"), Path::new("b")).unwrap();
    let images = disk.crash_images(3, 64);
    let has = |image: &SimDisk, name: &str| image.files().contains_key(name);
    let both: Vec<_> = images
        .iter()
        .filter(|image| has(image, "a") && has(image, "b"))
        .collect();
    assert!(!both.is_empty());
    assert!(images.iter().any(|i| !has(i, "a") && !has(i, "b")));
    both[0].unlink(Path::new("a")).unwrap();
    assert_eq!(both[0].files()["b"], b"", "its clusters are free");
    let error = disk.link(Path::new("b"), Path::new("c")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn without_a_journal_the_second_step_of_a_rename_may_fail() {
    let disk = SimDisk::new().without_journal();
    write(&disk, "a", b"1");
    disk.fail_at(2, Fault::Io, false);
    disk.rename(Path::new("a"), Path::new("b")).unwrap_err();
    assert_eq!(disk.files().len(), 2);
}

#[test]
fn a_directory_is_held_by_one_at_a_time() {
    let disk = SimDisk::new();
    let held = disk.lock_dir(Path::new("")).unwrap();
    let (told, hears) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let other = disk.as_process(2);
        scope.spawn(move || {
            let _held = other.lock_dir(Path::new("")).unwrap();
            told.send(()).unwrap();
        });
        let short = std::time::Duration::from_millis(50);
        hears.recv_timeout(short).unwrap_err();
        drop(held);
        hears.recv().unwrap();
    });
    disk.lock_dir(Path::new("nowhere")).map(drop).unwrap_err();
}

#[test]
fn a_failed_sync_loses_the_bytes_and_the_next_one_does_not_say_so() {
    let disk = SimDisk::new();
    let file = write(&disk, "a", b"old");
    assert!(disk.sync_all().unwrap());
    file.write_at(b"new", 0).unwrap();
    disk.fail_at(1, Fault::Io, false);
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(disk.files()["a"], b"new", "the cache still shows it");
    assert_eq!(states(&disk, "a"), BTreeSet::from([Some(b"old".to_vec())]));
    file.drop_cache();
    assert_eq!(disk.files()["a"], b"old");
}

#[test]
fn the_medium_is_read_past_the_cache() {
    let disk = SimDisk::new();
    let file = write(&disk, "a", b"old");
    file.sync().unwrap();
    file.write_at(b"new", 0).unwrap();
    disk.fail_at(1, Fault::Io, false);
    file.sync().unwrap_err();
    let mut bytes = Vec::new();
    let mut medium = disk.open_medium(Path::new("a")).unwrap();
    medium.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"old");
}

#[test]
fn nothing_is_done_after_the_power_went() {
    let disk = SimDisk::new();
    write(&disk, "a", b"1");
    disk.halt_at(1);
    disk.create(Path::new("b"), 0o600).map(drop).unwrap_err();
    disk.sync_all().unwrap_err();
    assert_eq!(states(&disk, "b"), BTreeSet::from([None]));
    let all = [None, Some(vec![]), Some(vec![0]), Some(b"1".to_vec())];
    assert_eq!(
        states(&disk, "a"),
        BTreeSet::from(all),
        "nothing was synced"
    );
}

#[test]
fn the_chosen_call_fails_once_or_for_ever() {
    let disk = SimDisk::new();
    disk.fail_at(2, Fault::NoSpace, false);
    let make = |name: &str| disk.create(Path::new(name), 0o600).map(drop);
    make("a").unwrap();
    assert_eq!(make("b").unwrap_err().kind(), ErrorKind::StorageFull);
    make("b").unwrap();
    disk.fail_at(1, Fault::ReadOnly, true);
    for _ in 0..3 {
        let error = make("c").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
        disk.list(Path::new("")).unwrap();
    }
    disk.heal();
    make("c").unwrap();
}

#[test]
fn a_full_disk_takes_what_fits_and_no_more() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(10));
    let file = disk.create(Path::new("a"), 0o600).unwrap();
    assert_eq!(file.write_at(&[1; 20], 0).unwrap(), 10);
    let error = file.write_at(&[1; 1], 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(disk.space().unwrap().free, 0);
    disk.unlink(Path::new("a")).unwrap();
    assert_eq!(disk.space().unwrap().free, 10);
}

#[test]
fn locks_are_of_the_open_file_and_go_with_it() {
    let disk = SimDisk::new();
    let first = write(&disk, "a", b"");
    assert!(first.try_lock(Lock::Exclusive).unwrap());
    let second = disk.open(Path::new("a"), Access::Read).unwrap();
    assert!(!second.try_lock(Lock::Shared).unwrap());
    assert!(!second.try_lock(Lock::Exclusive).unwrap());
    drop(first);
    assert!(second.try_lock(Lock::Shared).unwrap());
    let third = disk.open(Path::new("a"), Access::Read).unwrap();
    assert!(third.try_lock(Lock::Shared).unwrap());
    assert!(!third.try_lock(Lock::Exclusive).unwrap());
}

#[test]
fn the_same_seed_draws_the_same_images() {
    let disk = SimDisk::new();
    write(&disk, "a", &[1; 4000]);
    write(&disk, "b", &[2; 4000]);
    let draw = |seed| -> Vec<_> {
        let images = disk.crash_images(seed, 16);
        images.iter().map(SimDisk::files).collect()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}
