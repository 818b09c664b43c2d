//! Every call of every flow fails, once and for ever (reliability.md, P3), and a sync that failed
//! is never believed later (P4).

use crate::ledger::{bytes, name, Ledger, LOG};
use crate::lying::{Lie, Lying};
use crate::{copy, disks, flows};
use asl_backend::disk::{Access, Disk, DiskFile};
use asl_backend::{Backend, PosixBackend};
use asl_core::Kind;
use asl_testkit::{Fault, SimDisk};
use std::path::Path;

const FAULTS: [Fault; 5] = [
    Fault::Io,
    Fault::NoSpace,
    Fault::ReadOnly,
    Fault::Interrupted,
    Fault::Short,
];

#[test]
fn any_call_may_fail_and_nothing_promised_is_lost() {
    let (mut failed, mut unharmed) = (0, 0);
    for disk in disks() {
        let start = flows::prepared(disk);
        for (name, flow) in flows::all() {
            for fault in FAULTS {
                for for_ever in [false, true] {
                    for k in 1.. {
                        let disk = copy(&start);
                        let before = disk.calls();
                        disk.fail_at(k, fault, for_ever);
                        let mut ledger = Ledger::default();
                        let outcome = flow(&Lying(disk.clone(), Lie::Nothing), &mut ledger);
                        let to_the_end = disk.calls() - before < k;
                        disk.heal();
                        let what = format!("{name}, {fault:?} at {k}, for ever: {for_ever}");
                        ledger
                            .check(disk.clone())
                            .unwrap_or_else(|why| panic!("{what}: {why}"));
                        for image in disk.crash_images(k, 3) {
                            ledger
                                .check(image)
                                .unwrap_or_else(|why| panic!("{what}, after a crash: {why}"));
                        }
                        match outcome {
                            Ok(()) => unharmed += 1,
                            Err(e) => {
                                assert!(fault != Fault::Short, "{what}: {e}");
                                assert!(!e.why().is_empty(), "{what}: no reason");
                                failed += 1;
                            }
                        }
                        if to_the_end {
                            break;
                        }
                    }
                }
            }
        }
    }
    println!("{failed} calls failed, {unharmed} flows went to the end");
    assert!(failed >= 3000 && unharmed >= 1000, "{failed}, {unharmed}");
}

/// Every call that writes, on a backend.
fn writes(backend: &dyn Backend, end: u64) -> Vec<(&'static str, asl_core::Result<()>)> {
    let at = asl_backend::LogPosition {
        commit: 0,
        byte: end,
    };
    vec![
        ("barrier", backend.barrier()),
        ("append", backend.append(&name(LOG), at, b"frame")),
        ("put_new", backend.put_new(&name("snapshots/z"), b"z")),
        ("put", backend.put(&name("snapshots/z"), b"z")),
        ("remove", backend.remove(&name("snapshots/z"))),
        ("create_dirs", backend.create_dirs(&[name("snapshots")])),
        (
            "cut_log",
            backend.cut_log(&name(LOG), at, &name("quarantine/z")),
        ),
        ("lock", backend.lock_writer(&name(LOG)).map(drop)),
    ]
}

fn refuses_everything(backend: &dyn Backend, end: u64) {
    for (call, outcome) in writes(backend, end) {
        let Err(error) = outcome else {
            panic!("{call} goes on");
        };
        assert_eq!(error.kind(), Kind::Io, "{call}");
        assert!(error.why().contains("a sync failed earlier"), "{call}");
        assert!(error.what_next().contains("open the store again"), "{call}");
    }
    assert!(backend.list(&name("log")).is_ok(), "reading goes on");
}

/// Fails the next sync and no other call: finds it by trying.
fn fail_each_call(
    start: &SimDisk,
    act: impl Fn(&PosixBackend<SimDisk>) -> asl_core::Result<()>,
    then: impl Fn(&SimDisk, &PosixBackend<SimDisk>, bool),
) -> usize {
    let mut latched = 0;
    for k in 1.. {
        let disk = copy(start);
        let backend = PosixBackend::with_disk(disk.clone());
        disk.fail_at(k, Fault::Io, false);
        let before = disk.calls();
        let outcome = act(&backend);
        if disk.calls() - before < k {
            outcome.unwrap();
            return latched;
        }
        disk.heal();
        let is_latched = backend
            .barrier()
            .is_err_and(|e| e.why().contains("a sync failed earlier"));
        latched += usize::from(is_latched);
        assert!(!is_latched || outcome.is_err(), "call {k} was acknowledged");
        then(&disk, &backend, is_latched);
    }
    latched
}

#[test]
fn a_sync_that_failed_in_a_barrier_latches_the_backend() {
    for disk in disks() {
        let latched = fail_each_call(
            &flows::prepared(disk),
            |backend| {
                backend.put_new(&name("snapshots/a"), b"a")?;
                backend.put_new(&name("store/blocks/sealed/ab/a.blk"), b"a")?;
                backend.barrier()
            },
            |disk, backend, latched| {
                if latched {
                    refuses_everything(backend, 0);
                    PosixBackend::with_disk(disk.clone()).barrier().unwrap();
                }
            },
        );
        assert!(latched >= 3, "each put syncs, and the barrier: {latched}");
    }
}

#[test]
fn a_frame_whose_sync_failed_is_not_believed_after_opening_again() {
    let frame = bytes(1, 900);
    let at = Ledger::default().end();
    for disk in disks() {
        let latched = fail_each_call(
            &flows::prepared(disk),
            |backend| backend.append(&name(LOG), at, &frame),
            |disk, backend, latched| {
                if !latched {
                    return;
                }
                refuses_everything(backend, 900);
                // The cache still shows the frame, and the kernel has forgotten the error.
                let again = PosixBackend::with_disk(disk.clone());
                let _lock = again.lock_writer(&name(LOG)).unwrap();
                let log = again.get(&name(LOG), 0..u64::MAX).unwrap();
                for image in disk.crash_images(5, 8) {
                    assert_eq!(image.files()[LOG], log, "what was read is on the medium");
                }
            },
        );
        assert!(latched >= 1, "{latched}");
    }
}

#[test]
fn a_frame_that_did_not_fit_leaves_no_part_of_itself() {
    let disk = flows::prepared(SimDisk::new());
    let backend = PosixBackend::with_disk(disk.clone());
    let mut ledger = Ledger::default();
    ledger.append(&backend, &bytes(1, 900)).unwrap();
    disk.set_capacity(Some(1000));
    let error = ledger.append(&backend, &bytes(2, 900)).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.why().contains("no space"), "{error}");
    assert!(error.what_next().contains("free space"), "{error}");
    assert_eq!(backend.size(&name(LOG)).unwrap(), 900);
    for image in disk.crash_images(1, 8) {
        assert_eq!(image.files()[LOG], bytes(1, 900));
    }
    disk.set_capacity(None);
    ledger.append(&backend, &bytes(3, 900)).unwrap();
    ledger.check(disk).unwrap();
}

#[test]
fn a_log_never_grows_past_the_largest_file_and_says_so_before() {
    let disk = flows::prepared(SimDisk::new());
    disk.set_largest_file(2000);
    let backend = PosixBackend::with_disk(disk.clone());
    let mut ledger = Ledger::default();
    ledger.append(&backend, &bytes(1, 900)).unwrap();
    let error = ledger.append(&backend, &bytes(2, 1101)).unwrap_err();
    assert!(error.why().contains("grow to 2001 bytes"), "{error}");
    assert!(error.what_next().contains("nothing is lost"), "{error}");
    assert_eq!(disk.files()[LOG], bytes(1, 900), "not a byte of it");
    ledger.append(&backend, &bytes(3, 1100)).unwrap();
    ledger.check(disk).unwrap();
}

#[test]
fn after_a_medium_was_pulled_nothing_is_written_even_when_it_is_back() {
    for fault in [Fault::Io, Fault::ReadOnly] {
        let disk = flows::prepared(SimDisk::new());
        let backend = PosixBackend::with_disk(disk.clone());
        backend.put_new(&name("snapshots/before"), b"put").unwrap();
        disk.fail_at(1, fault, true);
        backend
            .put_new(&name("snapshots/a"), &bytes(1, 10))
            .unwrap_err();
        disk.heal();
        // The object before it was never promised: no barrier came.
        for (call, outcome) in writes(&backend, 0) {
            let error = outcome.expect_err(call);
            assert!(error.why().contains("the medium failed earlier"), "{error}");
            assert!(error.what_next().contains("open the store again"));
        }
        PosixBackend::with_disk(disk).barrier().unwrap();
    }
}

#[test]
fn a_full_disk_latches_nothing() {
    let disk = flows::prepared(SimDisk::new());
    let backend = PosixBackend::with_disk(disk.clone());
    disk.fail_at(1, Fault::NoSpace, true);
    backend
        .put_new(&name("snapshots/a"), &bytes(1, 10))
        .unwrap_err();
    disk.heal();
    backend
        .put_new(&name("snapshots/a"), &bytes(1, 10))
        .unwrap();
    backend.barrier().unwrap();
}

#[test]
fn a_full_disk_leaves_no_temporary_file_and_lets_one_free_space() {
    let disk = flows::prepared(SimDisk::new());
    let backend = PosixBackend::with_disk(disk.clone());
    backend.put(&name("snapshots/a"), &bytes(1, 800)).unwrap();
    disk.set_capacity(Some(1000));
    let lock = backend.lock_writer(&name(LOG)).unwrap();
    for _ in 0..20 {
        let put = backend.put_new(&name("snapshots/b"), &bytes(2, 800));
        assert_eq!(put.unwrap_err().kind(), Kind::Io);
        let put = backend.put(&name("snapshots/a"), &bytes(2, 800));
        assert_eq!(put.unwrap_err().kind(), Kind::Io);
    }
    assert!(disk.files().keys().all(|at| !at.contains(".new-")));
    let kept = backend.get(&name("snapshots/a"), 0..u64::MAX).unwrap();
    assert_eq!(kept, bytes(1, 800), "the old version stays");
    backend.remove(&name("snapshots/a")).unwrap();
    backend.barrier().unwrap();
    backend
        .put_new(&name("snapshots/b"), &bytes(2, 800))
        .unwrap();
    drop(lock);
}

#[test]
fn a_lock_can_be_taken_on_a_disk_filled_to_the_last_byte() {
    let disk = flows::prepared(SimDisk::new());
    disk.set_capacity(Some(0));
    let backend = PosixBackend::with_disk(disk.clone());
    let lock = backend.lock_writer(&name(LOG)).unwrap();
    let other = PosixBackend::with_disk(disk.as_process(2));
    let error = other.lock_writer(&name(LOG)).map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::Concurrent);
    drop(lock);
    other.lock_writer(&name(LOG)).map(drop).unwrap();
}

#[test]
fn a_cut_that_stopped_halfway_is_made_again_and_keeps_its_bytes() {
    let disk = flows::prepared(SimDisk::new());
    let backend = PosixBackend::with_disk(disk.clone());
    let mut ledger = Ledger::default();
    ledger.append(&backend, &bytes(1, 900)).unwrap();
    let log = disk.open(Path::new(LOG), Access::Write).unwrap();
    log.write_at(&bytes(2, 300), 900).unwrap();
    let keep = name("quarantine/tail");
    backend.put_new(&keep, &bytes(2, 300)).unwrap();
    backend.cut_log(&name(LOG), ledger.end(), &keep).unwrap();
    assert_eq!(backend.size(&name(LOG)).unwrap(), 900);

    log.write_at(&bytes(3, 300), 900).unwrap();
    let error = backend
        .cut_log(&name(LOG), ledger.end(), &keep)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "other bytes are never replaced");
    assert_eq!(
        backend.size(&name(LOG)).unwrap(),
        1200,
        "and nothing is cut"
    );
    assert_eq!(backend.get(&keep, 0..999).unwrap(), bytes(2, 300));
}
