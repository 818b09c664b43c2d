//! P4: a sync that failed is never believed later.

use super::flows::{all_ready, boundaries, is_whole, run_all, Ready};
use super::judge::{finish, judge, Told};
use super::world::{self, World};
use asl_core::Kind;
use asl_host::Purpose;
use asl_store::{GcOptions, ReadBack};
use asl_testkit::torture_count;

/// Failed syncs of the bounded form.
const BOUNDED: u64 = 54;

#[derive(Default)]
struct Count {
    syncs: u64,
    /// Those by which a verb failed.
    told: u64,
    /// Those after which a handle stayed open that could have believed them.
    asked: u64,
}

#[test]
fn p4_after_a_sync_that_failed_nothing_is_acknowledged_until_the_domain_is_opened_again() {
    let flows = all_ready();
    let mut count = Count::default();
    for ready in flows {
        println!("  {}: {} syncs", ready.flow.name, ready.syncs);
        for k in boundaries(ready.syncs, torture_count(BOUNDED), 4) {
            fail(ready, k, &mut count);
        }
    }
    let Count { syncs, told, asked } = count;
    println!(
        "{} flows: {syncs} failed syncs, {told} told to the caller, {asked} handles asked to go \
         on: 0 acknowledged, 0 lost",
        flows.len()
    );
    assert!(!is_whole() || syncs >= BOUNDED / 2 && told > 0 && asked > 0);
}

fn fail(ready: &Ready, k: u64, count: &mut Count) {
    let at = format!("{}: sync {k} of {}", ready.flow.name, ready.syncs);
    let disk = ready.copy();
    disk.fail_sync_at(k);
    let mut model = ready.model.clone();
    let mut world = World::on(&disk, &ready.owner, k);
    let failed = run_all(&mut world, ready.flow.live.iter().enumerate(), &mut model);
    count.syncs += 1;
    let (done, flight) = match &failed {
        Some((i, _)) => (*i, vec![ready.flow.live[*i].clone()]),
        None => (ready.flow.live.len(), Vec::new()),
    };
    if let Some((_, e)) = &failed {
        count.told += 1;
        // A block that could not be read back is told as damage; nothing was to be written.
        if e.kind() != Kind::Damage {
            count.asked += u64::from(acknowledges_nothing(&mut world, &format!("{at}: {e}")));
        }
    }
    drop(world);
    let told = Told { model, flight };
    judge(&disk.crash_images(k, 1)[0], &ready.owner, &told, &at);
    finish(ready, &disk, &told, done, &at);
}

/// Asks the handle that saw the failure for everything it could acknowledge.
fn acknowledges_nothing(world: &mut World, at: &str) -> bool {
    let Some(what) = world.opened_for() else {
        return false;
    };
    let clock = world.clock.clone();
    let handle = world.handle(what).unwrap();
    match what {
        Purpose::Read => return false,
        Purpose::Seal => {
            for _ in 0..2 {
                let sealed = handle
                    .begin_root()
                    .and_then(|()| world::put(handle, 30))
                    .and_then(|_| handle.finish_root(b"after"));
                assert!(sealed.is_err(), "{at}: a root was acknowledged");
                let snapshot = handle.snapshot(None, ReadBack::Skipped, 0);
                assert!(snapshot.is_err(), "{at}: a snapshot was acknowledged");
                clock.advance(std::time::Duration::from_secs(31));
                let commit = handle.commit_due();
                assert!(
                    !matches!(commit, Ok(Some(_))),
                    "{at}: a commit was acknowledged"
                );
            }
        }
        Purpose::Upkeep => {
            let current = handle.current();
            let root: Vec<_> = current.roots.keys().take(1).copied().collect();
            drop(current);
            let forgotten = handle.forget(&[], &root);
            assert!(
                root.is_empty() || forgotten.is_err(),
                "{at}: a root was forgotten"
            );
            let collected = handle.gc(GcOptions::default(), &|| false);
            let nothing = |report: &asl_store::GcReport| *report == Default::default();
            assert!(
                collected.as_ref().map_or(true, nothing),
                "{at}: blocks were collected"
            );
        }
    }
    true
}
