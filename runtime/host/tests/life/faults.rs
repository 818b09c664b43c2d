//! P3: every call of every flow fails in every way, once and for ever.

use super::flows::{all_ready, boundaries, is_whole, Ready};
use super::judge::{finish, judge, Told};
use asl_testkit::{torture_count, Fault};
use std::sync::atomic::{AtomicU64, Ordering};

/// How a call fails, and whether all after it do too.
const WAYS: [(Fault, bool); 8] = [
    (Fault::Io, false),
    (Fault::Io, true),
    (Fault::NoSpace, false),
    (Fault::NoSpace, true),
    (Fault::ReadOnly, false),
    (Fault::ReadOnly, true),
    (Fault::Short, false),
    (Fault::Interrupted, false),
];

/// Faults of the bounded form.
const BOUNDED: u64 = 90;

/// Panics of the program's own threads, which their owners may have caught.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn count_panics() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // A test's own thread has the test's name.
        let thread = std::thread::current();
        let of_a_test = thread.name().is_some_and(|name| name.contains("::"));
        PANICS.fetch_add(u64::from(!of_a_test), Ordering::SeqCst);
        told(info);
    }));
}

#[test]
fn p3_a_call_that_fails_in_any_way_loses_nothing_and_is_got_over() {
    let flows = all_ready();
    count_panics();
    let (mut faults, mut told_of) = (0u64, 0u64);
    for ready in flows {
        println!("  {}: {} calls", ready.flow.name, ready.calls);
        for k in boundaries(ready.calls * WAYS.len() as u64, torture_count(BOUNDED), 3) {
            let call = 1 + (k - 1) / WAYS.len() as u64;
            let way = WAYS[((k - 1) % WAYS.len() as u64) as usize];
            faults += 1;
            told_of += u64::from(fail(ready, call, way));
        }
    }
    println!(
        "{} flows: {faults} faults, {told_of} of them told to the caller: 0 panics, 0 lost",
        flows.len()
    );
    assert_eq!(
        PANICS.load(Ordering::SeqCst),
        0,
        "a worker's panic was told as an error"
    );
    assert!(!is_whole() || faults >= BOUNDED / 2 && told_of > 0 && told_of < faults);
}

/// Fails one call; answers whether a verb failed by it.
fn fail(ready: &Ready, call: u64, (fault, for_ever): (Fault, bool)) -> bool {
    let ever = if for_ever { ", and all after it" } else { "" };
    let at = format!(
        "{}: call {call} of {}, {fault:?}{ever}",
        ready.flow.name, ready.calls
    );
    let disk = ready.copy();
    disk.fail_at(call, fault, for_ever);
    let (model, failed) = ready.run(&disk, call);
    disk.heal();
    let (done, flight) = match &failed {
        Some((i, _)) => (*i, vec![ready.flow.live[*i].clone()]),
        None => (ready.flow.live.len(), Vec::new()),
    };
    let at = match &failed {
        Some((_, e)) => format!("{at}: {e}"),
        None => at,
    };
    let told = Told { model, flight };
    // What was acknowledged beside the fault is durable, should the power go now.
    judge(&disk.crash_images(call, 1)[0], &ready.owner, &told, &at);
    finish(ready, &disk, &told, done, &at);
    failed.is_some()
}
