//! The crash matrix of the backend: the power goes before every call of every flow, and whatever
//! the medium may hold then is held against what was promised (reliability.md, P1).

// A test's helpers may panic; the lint knows only its functions.
#![allow(clippy::unwrap_used)]

mod faults;
mod flows;
mod ledger;
mod lying;

use asl_backend::disk::Disk;
use asl_testkit::{Random, SimDisk};
use flows::Flow;
use ledger::Ledger;
use lying::{Lie, Lying};

const IMAGES: usize = 12;

#[derive(Default, Debug)]
struct Counts {
    points: usize,
    images: usize,
    recoveries: usize,
    crashed_recoveries: usize,
    promises: usize,
}

/// The same disk again, apart from the first: nothing is pending on either.
fn copy(disk: &SimDisk) -> SimDisk {
    disk.crash_images(0, 1).remove(0)
}

/// Every kind of disk that the backend goes other ways on.
fn disks() -> Vec<SimDisk> {
    vec![
        SimDisk::new(),
        SimDisk::new().without_rename_new(),
        SimDisk::new().without_sync_all(),
        SimDisk::new().without_rename_new().without_sync_all(),
        SimDisk::new().without_rename_new().without_links(),
        SimDisk::new().without_journal().without_sync_all(),
        SimDisk::new()
            .without_journal()
            .without_rename_new()
            .without_sync_all(),
    ]
}

fn matrix(start: &SimDisk, flow: Flow<Lying>, lie: Lie, counts: &mut Counts) -> Result<(), String> {
    let mut random = Random::new(11);
    for k in 1.. {
        let disk = copy(start);
        disk.halt_at(k);
        let before = disk.calls();
        let mut ledger = Ledger::default();
        let outcome = flow(&Lying(disk.clone(), lie), &mut ledger);
        let to_the_end = disk.calls() - before < k;
        if to_the_end {
            outcome.map_err(|e| format!("it fails with the power on: {e}"))?;
        }
        counts.points += 1;
        counts.promises += ledger.promises;
        for (number, image) in disk.crash_images(k, IMAGES).iter().enumerate() {
            counts.images += 1;
            let told = |why: String| format!("power gone before call {k}: {why}");
            ledger.check(copy(image)).map_err(told)?;
            let calls = after(image, &ledger, lie, counts).map_err(told)?;
            if number % 3 == 0 {
                let k = 1 + random.below(calls);
                crashed_after(image, &ledger, k, lie, counts).map_err(told)?;
            }
        }
        if to_the_end {
            return Ok(());
        }
    }
    Ok(())
}

/// Recovers a found disk; answers the calls that took.
fn after(image: &SimDisk, ledger: &Ledger, lie: Lie, counts: &mut Counts) -> Result<u64, String> {
    let disk = copy(image);
    let mut ledger = ledger.clone();
    ledger.settle(copy(image))?;
    ledger
        .recover(Lying(disk.clone(), lie))
        .map_err(|e| format!("recovery fails: {e}"))?;
    counts.recoveries += 1;
    let calls = disk.calls();
    let swept = |at: &String| {
        !at.contains(".new-") || !(at.starts_with("tmp/") || at.starts_with("store/"))
            // There a leftover may be the second name of what was acknowledged.
            || !disk.renames_whole()
    };
    if let Some(at) = disk.files().keys().find(|at| !swept(at)) {
        return Err(format!("recovery leaves {at}"));
    }
    for found in disk.crash_images(1, 4) {
        ledger.check(found).map_err(|e| format!("recovered: {e}"))?;
    }
    Ok(calls)
}

/// Lets the power go in the recovery too, before its `k`-th call, and recovers from that.
fn crashed_after(
    image: &SimDisk,
    ledger: &Ledger,
    k: u64,
    lie: Lie,
    counts: &mut Counts,
) -> Result<(), String> {
    let disk = copy(image);
    let mut ledger = ledger.clone();
    ledger.settle(copy(image))?;
    disk.halt_at(k);
    // It fails, or not: the power may go in what is done for tidiness alone.
    let _ = ledger.recover(Lying(disk.clone(), lie));
    counts.crashed_recoveries += 1;
    for found in disk.crash_images(k, 8) {
        let told = |e| format!("power gone before call {k} of the recovery: {e}");
        ledger.check(copy(&found)).map_err(told)?;
        after(&found, &ledger, lie, &mut Counts::default()).map_err(told)?;
    }
    Ok(())
}

#[test]
fn what_was_acknowledged_survives_and_what_was_not_is_never_half_visible() {
    let mut counts = Counts::default();
    for (variant, disk) in disks().into_iter().enumerate() {
        let start = flows::prepared(disk);
        for (name, flow) in flows::all() {
            matrix(&start, flow, Lie::Nothing, &mut counts)
                .unwrap_or_else(|why| panic!("{name} on disk {variant}: {why}"));
        }
    }
    println!("{counts:?}");
    assert!(counts.points >= 1500, "{counts:?}");
    assert!(counts.images >= 12 * counts.points, "{counts:?}");
    assert!(counts.crashed_recoveries >= 500, "{counts:?}");
    assert!(counts.promises >= 1000, "{counts:?}");
}

/// Flows of which the matrix must say that a promise was broken, for each sync that does nothing.
fn found_out(disk: SimDisk, lie: Lie) -> Vec<&'static str> {
    let start = flows::prepared(disk);
    flows::all()
        .into_iter()
        .filter(|(_, flow)| matrix(&start, *flow, lie, &mut Counts::default()).is_err())
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn a_file_sync_that_does_nothing_is_found_out() {
    let found = found_out(SimDisk::new().without_sync_all(), Lie::FileSync);
    for flow in [
        "commits",
        "put_new",
        "put",
        "append",
        "cut_log",
        "a frame left in the cache",
        "create_whole",
        "documents",
    ] {
        assert!(found.contains(&flow), "{flow} is not: {found:?}");
    }
}

#[test]
fn a_directory_sync_that_does_nothing_is_found_out() {
    let found = found_out(SimDisk::new().without_sync_all(), Lie::DirSync);
    assert_eq!(found.len(), flows::all::<Lying>().len(), "{found:?}");
}

#[test]
fn a_sync_of_everything_that_does_nothing_is_found_out() {
    let found = found_out(SimDisk::new(), Lie::SyncAll);
    for flow in ["commits", "put_new", "put", "remove", "create_whole"] {
        assert!(found.contains(&flow), "{flow} is not: {found:?}");
    }
}

#[test]
fn a_rename_in_two_steps_that_is_taken_for_one_is_found_out() {
    // What is swept, or removed after a naming that failed, then has the bytes of what counts.
    let found = found_out(
        SimDisk::new().without_journal().without_sync_all(),
        Lie::Journal,
    );
    for flow in ["commits", "put_new", "put", "cut_log", "documents"] {
        assert!(found.contains(&flow), "{flow} is not: {found:?}");
    }
}
