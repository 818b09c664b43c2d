//! What a probe finds, on the file systems of this machine that need no preparation and on
//! simulated ones; `runtime/rescue/tests/targets.rs` has the others.

// A test's helpers may panic; the lint knows only its functions.
#![allow(clippy::unwrap_used)]

use asl_backend::Limits;
use asl_core::Kind;
use asl_testkit::{Fault, SimDisk};
use std::path::Path;

#[test]
fn a_probe_finds_what_an_ordinary_file_system_can_and_leaves_nothing() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let limits = Limits::probe(dir.path()).unwrap();
    limits.check().unwrap();
    assert!(limits.locks && limits.renames_new && limits.links && limits.permissions);
    assert!(limits.tells_case && limits.sparse, "{limits:?}");
    assert!(limits.largest_file > 1 << 40, "{limits:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    Limits::probe(dir.path()).unwrap();
}

#[test]
fn memory_is_said_to_be_volatile() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let limits = Limits::probe(dir.path()).unwrap();
    assert_eq!(limits.file_system, "tmpfs");
    assert!(limits.volatile && limits.words()[0].contains("VOLATILE"));
}

#[test]
fn what_cannot_be_done_is_said_in_words_and_the_rest_is_not() {
    let plain = Limits::probe_on(&SimDisk::new()).unwrap();
    assert_eq!(plain.words(), Vec::<String>::new());

    let disk = SimDisk::new().without_journal().without_rename_new();
    disk.set_largest_file(u64::from(u32::MAX));
    let fat = Limits::probe_on(&disk.without_sync_all()).unwrap();
    assert_eq!(fat.largest_file, u64::from(u32::MAX));
    let words = fat.words().join("\n");
    for said in ["checked", "under a lock", "4294967295 bytes", "one call"] {
        assert!(words.contains(said), "no {said:?} in {words}");
    }
    let few = Limits {
        permissions: false,
        files: Some(12),
        ..plain
    };
    let words = few.words().join("\n");
    assert!(
        words.contains("anyone who has the disk can read"),
        "{words}"
    );
    assert!(words.contains("only 12 more files"), "{words}");
}

#[test]
fn what_could_not_keep_a_promise_is_refused() {
    let plain = Limits::probe_on(&SimDisk::new()).unwrap();
    plain.check().unwrap();
    let unlocked = Limits {
        locks: false,
        ..plain.clone()
    };
    let unsynced = Limits {
        syncs_last: false,
        ..plain
    };
    for (limits, why) in [(unlocked, "two writers"), (unsynced, "nothing was written")] {
        let error = limits.check().unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.why().contains(why), "{error}");
        assert!(error.what_next().contains("another disk"));
    }
}

#[test]
fn a_place_that_is_missing_full_or_read_only_is_told() {
    let nowhere = Limits::probe(Path::new("/no/such/place")).unwrap_err();
    assert_eq!(nowhere.kind(), Kind::NotFound);
    for (fault, why) in [(Fault::NoSpace, "no space"), (Fault::ReadOnly, "read-only")] {
        for k in 1..40 {
            let disk = SimDisk::new();
            disk.fail_at(k, fault, true);
            match Limits::probe_on(&disk) {
                Ok(_) => assert!(k > 5, "call {k} is not heeded"),
                Err(e) => assert!(e.why().contains(why), "{e}"),
            }
        }
    }
}
