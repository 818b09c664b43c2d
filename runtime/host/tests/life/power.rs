//! P1: the power gone before every call of every flow, and once more in the recovery.

use super::flows::{all_ready, boundaries, is_whole, run_all, Ready};
use super::judge::{go_on, judge, Told};
use super::world::World;
use asl_testkit::{torture_count, Random, SimDisk};
use std::collections::BTreeSet;

/// Images of each crash; the first four are the corners.
const IMAGES: usize = 8;

/// Crash points of the bounded form.
const BOUNDED: u64 = 36;

#[derive(Default)]
struct Count {
    points: u64,
    images: u64,
    distinct: u64,
    in_recovery: u64,
}

#[test]
fn p1_power_lost_at_any_call_loses_no_acknowledgement_and_leaves_nothing_half() {
    let flows = all_ready();
    let mut count = Count::default();
    for ready in flows {
        let before = count.distinct;
        let mut judged = BTreeSet::new();
        for k in boundaries(ready.calls + 1, torture_count(BOUNDED), 1) {
            cut(ready, k, &mut judged, &mut count);
        }
        let (name, calls, distinct) = (ready.flow.name, ready.calls, count.distinct - before);
        println!("  {name}: {calls} calls, {distinct} images that differ");
    }
    let Count {
        points,
        images,
        distinct,
        in_recovery,
    } = count;
    println!(
        "{} flows: {points} crash points, {images} images ({distinct} of them differ), \
         {in_recovery} crashes in recovery: 0 lost, 0 half, 0 that did not open",
        flows.len()
    );
    assert!(!is_whole() || points >= BOUNDED / 2 && in_recovery > 0);
}

fn cut(ready: &Ready, k: u64, judged: &mut BTreeSet<(usize, u64)>, count: &mut Count) {
    let disk = ready.copy();
    disk.halt_at(k);
    let (model, failed) = ready.run(&disk, k);
    let (done, flight) = match &failed {
        Some((i, _)) => (*i, vec![ready.flow.live[*i].clone()]),
        None => (ready.flow.live.len(), Vec::new()),
    };
    count.points += 1;
    let told = Told { model, flight };
    for (n, image) in disk.crash_images(k, IMAGES).into_iter().enumerate() {
        let at = format!(
            "{}: call {k} of {}, image {n}",
            ready.flow.name, ready.calls
        );
        count.images += 1;
        if n % 4 == 1 {
            count.in_recovery += 1;
            cut_again(ready, &image, told.clone(), done, k, &at);
        } else if judged.insert((done, image.fingerprint())) {
            // The same disk after the same acknowledgements is judged once.
            count.distinct += 1;
            let (mut world, mut model) = judge(&image, &ready.owner, &told, &at);
            go_on(&mut world, &mut model, &at);
        }
    }
}

/// The power goes once more, while everything is opened again and what was begun is done again.
fn cut_again(ready: &Ready, image: &SimDisk, mut told: Told, done: usize, k: u64, at: &str) {
    let mut world = World::on(image, &ready.owner, k ^ 0xa6a1);
    world.clock.advance(ready.waited(done));
    let seen = world
        .look(&told.model, &told.flight)
        .unwrap_or_else(|e| panic!("{at}: {e}"));
    let settled = told.model.settle(&told.flight, &seen);
    settled.unwrap_or_else(|e| panic!("{at}: {e}"));
    told.flight.clear();
    image.halt_at(1 + Random::new(k).below(120));
    let again = ready.flow.live.iter().enumerate().skip(done);
    // What was in flight and did happen may be refused the second time: then nothing more is done.
    let failed = run_all(&mut world, again, &mut told.model);
    drop(world);
    if let Some((i, _)) = failed {
        told.flight.push(ready.flow.live[i].clone());
    }
    for twice in image.crash_images(k ^ 0x5eed, 2) {
        judge(&twice, &ready.owner, &told, &format!("{at}, crashed again"));
    }
}
