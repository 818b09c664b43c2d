//! The contract, the same on a real directory and on the simulated disk.

// A test's helpers may panic; the lint knows only its functions.
#![allow(clippy::unwrap_used)]

use asl_backend::{Backend, Durability, LogPosition, Name, PosixBackend};
use asl_core::{Kind, Result};
use asl_testkit::SimDisk;
use std::fmt::Debug;

const LOG: &str = "log/append.log";

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn end(byte: u64) -> LogPosition {
    LogPosition { commit: 3, byte }
}

fn kind<T>(outcome: Result<T>) -> Kind {
    outcome.map(drop).unwrap_err().kind()
}

/// Runs a promise on a fresh location of each sort, given with a second writer's view of it.
fn each(promise: impl Fn(&dyn Backend, &dyn Backend)) {
    let run = |first: &dyn Backend, second: &dyn Backend| {
        let dirs = ["log", "tmp", "snapshots", "store/blocks/sealed/ab"];
        first.create_dirs(&dirs.map(name)).unwrap();
        first.barrier().unwrap();
        promise(first, second);
    };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    run(
        &PosixBackend::open(dir.path()).unwrap(),
        &PosixBackend::open(dir.path()).unwrap(),
    );
    for disk in [
        SimDisk::new(),
        SimDisk::new().without_rename_new().without_sync_all(),
        SimDisk::new().without_rename_new().without_links(),
        SimDisk::new().without_journal().without_sync_all(),
    ] {
        let other = disk.as_process(2);
        run(
            &PosixBackend::with_disk(disk),
            &PosixBackend::with_disk(other),
        );
    }
}

fn same<T: PartialEq + Debug>(outcome: Result<T>, wanted: T) {
    assert_eq!(outcome.unwrap(), wanted);
}

#[test]
fn what_was_put_is_got_in_any_range() {
    each(|b, _| {
        let bytes: Vec<u8> = (0..=255)
            .cycle()
            .take(3 << 20)
            .map(|i: u8| i ^ 0x5a)
            .collect();
        let at = name("store/blocks/sealed/ab/x.blk");
        b.put_new(&at, &bytes).unwrap();
        b.barrier().unwrap();
        same(b.size(&at), 3 << 20);
        assert!(b.get(&at, 0..u64::MAX).unwrap() == bytes);
        same(b.get(&at, 1000..1004), bytes[1000..1004].to_vec());
        same(
            b.get(&at, (3 << 20) - 2..u64::MAX),
            bytes[(3 << 20) - 2..].to_vec(),
        );
        same(b.get(&at, 3 << 20..4 << 20), vec![]);
        same(b.get(&at, u64::MAX - 1..u64::MAX), vec![]);
        #[allow(clippy::reversed_empty_ranges)]
        let backwards = 9..3;
        same(b.get(&at, backwards), vec![]);
    });
}

#[test]
fn put_new_never_replaces() {
    each(|b, other| {
        let at = name("snapshots/a");
        b.put_new(&at, b"first").unwrap();
        assert_eq!(kind(b.put_new(&at, b"second")), Kind::Exists);
        assert_eq!(kind(other.put_new(&at, b"second")), Kind::Exists);
        assert_eq!(kind(b.put_new(&name("log"), b"x")), Kind::Exists);
        same(b.get(&at, 0..99), b"first".to_vec());
        same(b.list(&name("tmp")), vec![]);
    });
}

#[test]
fn of_many_who_put_the_same_name_one_wins_also_where_only_a_lock_can_decide() {
    let disk = SimDisk::new().without_rename_new().without_links();
    PosixBackend::with_disk(disk.clone())
        .create_dirs(&["tmp", "snapshots"].map(name))
        .unwrap();
    for round in 0..50 {
        let at = name(&format!("snapshots/{round}"));
        let won: Vec<u8> = std::thread::scope(|scope| {
            let put = |who: u8| {
                let backend = PosixBackend::with_disk(disk.as_process(who.into()));
                let at = &at;
                scope.spawn(move || match backend.put_new(at, &[who; 100]) {
                    Ok(()) => Some(who),
                    Err(e) => {
                        assert_eq!(e.kind(), Kind::Exists, "{e}");
                        None
                    }
                })
            };
            let all = [1, 2, 3, 4].map(put);
            all.into_iter().filter_map(|p| p.join().unwrap()).collect()
        });
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        assert_eq!(disk.files()[at.as_str()], [won[0]; 100]);
    }
    assert!(disk.files().keys().all(|at| !at.contains(".new-")));
}

#[test]
fn put_replaces_whole_and_never_a_directory() {
    each(|b, _| {
        let at = name("snapshots/a");
        b.put(&at, b"a long first version").unwrap();
        b.put(&at, b"short").unwrap();
        same(b.get(&at, 0..99), b"short".to_vec());
        assert_eq!(kind(b.put(&name("log"), b"x")), Kind::Damage);
    });
}

#[test]
fn what_is_missing_is_not_found() {
    each(|b, _| {
        let at = name("snapshots/a");
        assert_eq!(kind(b.get(&at, 0..1)), Kind::NotFound);
        assert_eq!(kind(b.size(&at)), Kind::NotFound);
        assert_eq!(kind(b.remove(&at)), Kind::NotFound);
        assert_eq!(kind(b.read_back(&at)), Kind::NotFound);
        assert_eq!(kind(b.append(&name(LOG), end(7), b"x")), Kind::NotFound);
        assert_eq!(kind(b.cut_log(&name(LOG), end(0), &at)), Kind::NotFound);
        let nowhere = name("no/such/directory");
        assert_eq!(kind(b.put_new(&nowhere, b"x")), Kind::NotFound);
        assert_eq!(kind(b.put(&nowhere, b"x")), Kind::NotFound);
        assert_eq!(kind(b.append(&nowhere, end(0), b"x")), Kind::NotFound);
        same(b.list(&nowhere), vec![]);
    });
}

#[test]
fn a_directory_is_no_object() {
    each(|b, _| {
        assert_eq!(kind(b.get(&name("log"), 0..1)), Kind::Damage);
        assert_eq!(kind(b.size(&name("log"))), Kind::Damage);
        assert_eq!(kind(b.remove(&name("log"))), Kind::Damage);
        assert_eq!(kind(b.read_back(&name("log"))), Kind::Damage);
        assert_eq!(kind(b.lock_writer(&name("log"))), Kind::Damage);
        b.put_new(&name("snapshots/a"), b"").unwrap();
        assert_eq!(kind(b.get(&name("snapshots/a/b"), 0..1)), Kind::Damage);
        assert_eq!(kind(b.list(&name("snapshots/a"))), Kind::Damage);
    });
}

#[test]
fn a_list_is_sorted_and_hides_what_is_temporary() {
    each(|b, _| {
        for at in ["b", "a", "c~1", "B"] {
            b.put_new(&name("snapshots").join(at).unwrap(), b"")
                .unwrap();
        }
        b.create_dirs(&[name("snapshots/pinned")]).unwrap();
        same(
            b.list(&name("snapshots")),
            ["B", "a", "b", "c~1", "pinned"].map(str::to_owned).to_vec(),
        );
    });
}

#[test]
fn directories_are_made_with_their_parents_and_again() {
    each(|b, _| {
        let deep = [name("x/y/z"), name("x/y"), name("w")];
        b.create_dirs(&deep).unwrap();
        b.create_dirs(&deep).unwrap();
        b.put_new(&name("x/y/z/a"), b"1").unwrap();
        b.barrier().unwrap();
        b.create_dirs(&deep).unwrap();
        same(b.get(&name("x/y/z/a"), 0..9), b"1".to_vec());
        assert_eq!(kind(b.create_dirs(&[name("x/y/z/a")])), Kind::Exists);
        assert_eq!(kind(b.create_dirs(&[name("x/y/z/a/b")])), Kind::Exists);
    });
}

#[test]
fn a_log_grows_only_where_the_writer_believes_its_end_to_be() {
    each(|b, other| {
        let log = name(LOG);
        b.append(&log, end(0), b"one").unwrap();
        for wrong in [0, 2, 4, u64::MAX] {
            let error = b.append(&log, end(wrong), b"x").unwrap_err();
            assert_eq!(error.kind(), Kind::Concurrent);
            assert!(error.why().contains("ends at byte 3"), "{error}");
        }
        other.append(&log, end(3), b"two").unwrap();
        assert_eq!(kind(b.append(&log, end(3), b"late")), Kind::Concurrent);
        b.append(&log, end(6), b"").unwrap();
        same(b.get(&log, 0..99), b"onetwo".to_vec());
    });
}

#[test]
fn a_torn_tail_is_cut_and_kept() {
    each(|b, _| {
        let (log, keep) = (name(LOG), name("snapshots/tail"));
        b.append(&log, end(0), b"good").unwrap();
        b.append(&log, end(4), &[7; 3 << 20]).unwrap();
        b.cut_log(&log, end(4), &keep).unwrap();
        same(b.get(&log, 0..99), b"good".to_vec());
        assert!(b.get(&keep, 0..u64::MAX).unwrap() == vec![7; 3 << 20]);
        let unused = name("snapshots/unused");
        b.cut_log(&log, end(4), &unused).unwrap();
        assert_eq!(kind(b.size(&unused)), Kind::NotFound);
        assert_eq!(kind(b.cut_log(&log, end(5), &unused)), Kind::Concurrent);
        b.append(&log, end(4), b" more").unwrap();
        same(b.get(&log, 0..99), b"good more".to_vec());
    });
}

#[test]
fn of_two_writers_one_wins_and_the_other_is_told() {
    each(|b, other| {
        let log = name(LOG);
        let lock = b.lock_writer(&log).unwrap();
        b.append(&log, end(0), b"mine").unwrap();
        let at = name("snapshots/tail");
        for error in [
            other.lock_writer(&log).map(drop).unwrap_err(),
            other.append(&log, end(4), b"theirs").unwrap_err(),
            other.cut_log(&log, end(0), &at).unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Concurrent);
            assert!(error.why().contains("process"), "{error}");
            assert!(!error.what_next().is_empty());
        }
        assert_eq!(kind(b.lock_writer(&log)), Kind::Concurrent);
        same(b.get(&log, 0..99), b"mine".to_vec());
        drop(lock);
        let lock = other.lock_writer(&log).unwrap();
        assert_eq!(kind(b.append(&log, end(4), b"x")), Kind::Concurrent);
        other.append(&log, end(4), b" theirs").unwrap();
        drop(lock);
        b.append(&log, end(11), b" mine again").unwrap();
        same(b.list(&name("tmp")), vec![]);
    });
}

#[test]
fn the_locks_of_two_logs_are_apart() {
    each(|b, other| {
        let first = b.lock_writer(&name(LOG)).unwrap();
        let second = other.lock_writer(&name("log/host.log")).unwrap();
        let error = other.lock_writer(&name(LOG)).map(drop).unwrap_err();
        assert!(error.why().contains("process"), "{error}");
        drop(first);
        assert_eq!(kind(b.lock_writer(&name("log/host.log"))), Kind::Concurrent);
        drop(second);
        b.lock_writer(&name("log/host.log")).map(drop).unwrap();
    });
}

#[test]
fn what_is_read_back_is_what_was_put() {
    each(|b, _| {
        for len in [
            0,
            1,
            4095,
            4096,
            4097,
            (1 << 20) - 1,
            1 << 20,
            (2 << 20) + 513,
        ] {
            let bytes: Vec<u8> = (0..len).map(|i: usize| (i / 7 + i / 4096) as u8).collect();
            let at = name(&format!("snapshots/of-{len}"));
            b.put_new(&at, &bytes).unwrap();
            let mut back = Vec::new();
            b.read_back(&at).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{len} bytes come back as {}", back.len());
        }
    });
}

#[test]
fn the_temporary_directories_may_be_deleted_at_any_moment() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let b = PosixBackend::open(dir.path()).unwrap();
    b.create_dirs(&["snapshots", "tmp"].map(name)).unwrap();
    std::thread::scope(|scope| {
        let tmp = dir.path().join("tmp");
        let deleting = scope.spawn(move || {
            let mut deleted = 0;
            while deleted < 200 {
                deleted += u32::from(std::fs::remove_dir_all(&tmp).is_ok());
            }
        });
        let mut put = 0;
        while !deleting.is_finished() {
            let at = name(&format!("snapshots/{put}"));
            match b.put_new(&at, b"whole") {
                Ok(()) => same(b.get(&at, 0..9), b"whole".to_vec()),
                // Deleted again and again while it was written: told, and nothing half there.
                Err(e) => {
                    assert_eq!(e.kind(), Kind::NotFound, "{e}");
                    assert_eq!(kind(b.get(&at, 0..9)), Kind::NotFound);
                }
            }
            put += 1;
        }
    });
}

#[test]
fn the_room_and_the_durability_of_a_location_are_told() {
    each(|b, _| {
        let space = b.space().unwrap();
        assert!(space.total > 0 && space.free <= space.total, "{space:?}");
        assert_eq!(b.append_unit(), 1);
    });
    let volatile = PosixBackend::with_disk(SimDisk::new().volatile());
    assert_eq!(volatile.durability(), Durability::Volatile);
    let durable = PosixBackend::with_disk(SimDisk::new());
    assert_eq!(durable.durability(), Durability::Durable);
}

#[test]
fn snapshots_of_its_own_are_refused_by_name() {
    each(|b, _| {
        let error = b.snapshot(&name("s")).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.what_next().contains("the store's own snapshots"));
        assert_eq!(kind(b.mount_snapshot(&name("s"))), Kind::Refused);
    });
}
