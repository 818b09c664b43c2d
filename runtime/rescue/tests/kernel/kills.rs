//! P2: SIGKILL at any moment of any verb.

use crate::common::loops::Volume;
use crate::common::signal;
use crate::life::{along, count, scratch, Life};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn p2_killed_at_any_moment_it_keeps_what_it_told() {
    let kills = count(15);
    let home = scratch();
    let medium = Volume::new(home.path(), "ext4", &home.path().join("target"));
    let mut life = Life::begin(&medium.at.join("asl-host"), home.path());
    life.goes_on();
    // How long each verb takes that nothing comes between.
    let mut lengths: BTreeMap<&str, Duration> = BTreeMap::new();
    let mut hit: BTreeMap<&str, u64> = BTreeMap::new();
    let mut killed = 0;
    while killed < kills {
        let verb = life.next();
        let Some(length) = lengths.get(verb.name()).copied() else {
            let began = Instant::now();
            life.does(&verb);
            lengths.insert(verb.name(), began.elapsed());
            continue;
        };
        // Evenly over its length, and a little beyond.
        let share = life.dice.below(1050) as u32;
        life.told.begins(&verb);
        let mut command = life.command(&verb);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let began = Instant::now();
        let child = command.spawn().unwrap();
        std::thread::sleep(length * share / 1000);
        signal(&child, Signal::SIGKILL);
        let output = child.wait_with_output().unwrap();
        life.told.heard_all(&verb, &output.stdout);
        if output.status.signal() == Some(9) {
            killed += 1;
            along(killed, "kills");
            *hit.entry(verb.name()).or_default() += 1;
        } else {
            // It was faster: so it is measured anew.
            lengths.insert(verb.name(), began.elapsed().min(length));
        }
        if let Err(lost) = life.check() {
            panic!("kill {killed}, {verb:?} at {share}/1000 of {length:?}: {lost}");
        }
        if killed % 4 == 0 {
            life.goes_on();
        }
    }
    println!(
        "{killed} kills ({hit:?}), {} acknowledgements, 0 lost",
        life.told.count
    );
}
