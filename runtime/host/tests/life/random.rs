//! P12 on one host and its keeper: random verbs, crashes and clocks against the model and the state
//! table, and CURRENT = snapshot + replay(log) after every step.

use super::flows::prepared;
use super::judge::{judge, Told};
use super::model::Model;
use super::verbs::Verb;
use super::world::{Terms, World};
use asl_auth::{AdmissionResult, DomainState};
use asl_backend::disk::Disk;
use asl_backend::PosixBackend;
use asl_core::{HostClock, Kind};
use asl_host::Purpose;
use asl_store::{Mode, PlainSealer, Store, StoreOptions};
use asl_testkit::{torture_count, Random, SimDisk};
use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Sequences of the bounded form: 500 would take longer than all other tests of this crate.
const BOUNDED: u64 = 60;

const HOUR: u64 = 3600;
const WEEK: u64 = 7 * 24 * HOUR;

#[test]
fn p12_random_lives_keep_to_the_model_and_the_state_table() {
    let before = [Verb::Init, Verb::Create, Verb::InitKeeper];
    let (owner, disk, model) = prepared(&before);
    let mut count: BTreeMap<&'static str, u64> = BTreeMap::new();
    let sequences = torture_count(BOUNDED);
    let one = std::env::var("ASL_SEED").ok().map(|s| s.parse().unwrap());
    for seed in one.map_or(0..sequences, |seed: u64| seed..seed + 1) {
        if seed > 0 && seed % 500 == 0 {
            println!("  {seed} sequences: 0 divergences so far");
        }
        let copy = disk.crash_images(0, 1).remove(0);
        let mut life = Life {
            world: World::on(&copy, &owner, seed),
            disk: copy,
            model: model.clone(),
            random: Random::new(seed),
            lease: Lease::default(),
            next: 1,
            asked: None,
            steps: Vec::new(),
        };
        let steps = 6 + life.random.below(10);
        let lived = catch_unwind(AssertUnwindSafe(|| {
            (0..steps).for_each(|_| life.step(&mut count));
            life.end();
        }));
        if let Err(panic) = lived {
            println!(
                "seed {seed}, its shortest prefix ({} steps):",
                life.steps.len()
            );
            life.steps.iter().for_each(|step| println!("  {step}"));
            println!("again: ASL_SEED={seed} cargo test -p asl-host --test life p12_");
            std::panic::resume_unwind(panic);
        }
    }
    let total: u64 = count.values().sum();
    println!("{sequences} sequences, {total} steps ({count:?}): 0 divergences");
    let often = ["done", "refused", "crashed"].map(|what| count.contains_key(what));
    assert!(one.is_some() || often == [true; 3], "{count:?}");
}

/// What the model knows of the keeper's lease at home: whether it has ended, as far as evidence says.
#[derive(Default)]
struct Lease {
    snapshots: Option<u32>,
    /// Time since boot at which it came in, while the boot lasts.
    received: Option<Duration>,
    lasts: Duration,
    /// Refused once for having ended: for good, whatever the clock.
    ended: bool,
    /// A crash came while that was to be recorded.
    unsure: bool,
}

struct Life {
    world: World,
    disk: SimDisk,
    model: Model,
    random: Random,
    lease: Lease,
    /// The next name of a root, and nonce of a request.
    next: u8,
    /// What was asked of the keeper last.
    asked: Option<Terms>,
    steps: Vec<String>,
}

/// What the invariants and the state table say of a verb.
#[derive(Debug, PartialEq)]
enum Expected {
    Done,
    Refused(Kind),
    Either(Kind),
}

impl Life {
    fn step(&mut self, count: &mut BTreeMap<&'static str, u64>) {
        if self.random.below(12) == 0 {
            self.jump();
        }
        let verb = self.choose();
        let expected = self.expected(&verb);
        let crashes = self.random.below(6) == 0;
        self.steps.push(format!(
            "{verb:?}, expected {expected:?}{}",
            if crashes { ", the power going" } else { "" }
        ));
        let before = self.model.clone();
        if crashes {
            let k = 1 + self.random.below(160);
            self.disk.halt_at(k);
        }
        let done = self.world.run(&verb, &mut self.model);
        let cut = crashes && done.is_err() && self.disk.is_halted();
        self.disk.heal();
        if matches!(verb, Verb::Ask(..)) && done.is_err() {
            // To take up what was not decided would ask anew (seed 367).
            self.asked = None;
        }
        if cut {
            self.crashed(&verb);
            *count.entry("crashed").or_default() += 1;
        } else {
            match (&done, &expected) {
                (Ok(()), Expected::Done | Expected::Either(_)) => {}
                (Err(e), Expected::Refused(kind) | Expected::Either(kind)) if e.kind() == *kind => {
                }
                (done, expected) => panic!("{verb:?}: {done:?}, and expected {expected:?}"),
            }
            if done.is_err() {
                // What was refused is on no medium, whatever commits later (seed 1415).
                self.model.unsure.clone_from(&before.unsure);
            }
            let what = if done.is_ok() { "done" } else { "refused" };
            *count.entry(what).or_default() += 1;
            self.after(&verb, done.is_ok(), before);
        }
        self.check_replay();
    }

    /// Holds what is seen against the model once a verb was answered.
    fn after(&mut self, verb: &Verb, done: bool, mut before: Model) {
        let limited = matches!(verb, Verb::Seal(..) | Verb::Beside(_) | Verb::Snapshot);
        let now = self.world.clock.since_boot();
        if limited && !done && self.lease.over(now) {
            self.lease.ended = true;
        }
        if let (Verb::Apply(terms), true) = (verb, done) {
            let home = self.model.seen.home.as_ref();
            let changed = home != before.seen.home.as_ref();
            if home.is_some_and(|word| word.lease.is_none()) {
                self.lease = Lease::default();
            } else if changed {
                self.lease = Lease {
                    snapshots: Some(terms.snapshots),
                    received: Some(now),
                    lasts: Duration::from_secs(terms.seconds),
                    ..Lease::default()
                };
            }
        }
        let seen = self
            .world
            .look(&self.model, std::slice::from_ref(verb))
            .unwrap();
        let fresh = std::mem::take(&mut self.model.unsure);
        if verb.asks_the_keeper() {
            self.model.lapse(&seen);
        }
        let mut held = self.model.clone();
        held.unsure.clone_from(&fresh);
        held.settle(&[], &seen).unwrap();
        self.model.unsure = fresh;
        // What came of it is what this verb may do, and not only what the host says of itself.
        before.unsure.extend(self.model.unsure.iter().cloned());
        before.pieces.clone_from(&self.model.pieces);
        before.settle(std::slice::from_ref(verb), &seen).unwrap();
    }

    fn crashed(&mut self, verb: &Verb) {
        self.world.close();
        let image = self.random.below(8) as usize;
        let seed = self.random.next_u64();
        self.disk = self.disk.crash_images(seed, image + 1).remove(image);
        let told = Told {
            model: self.model.clone(),
            flight: vec![verb.clone()],
        };
        let owner = self.world.owner.clone();
        let (world, model) = judge(&self.disk, &owner, &told, &format!("crashed in {verb:?}"));
        (self.world, self.model) = (world, model);
        self.world.boot = [self.steps.len() as u8 + 100; 16];
        if self.model.seen.home.as_ref().and_then(|word| word.lease)
            != told.model.seen.home.and_then(|word| word.lease)
        {
            // The lease of the decision that was being taken up came in, in the boot before.
            if let Verb::Apply(terms) = verb {
                self.lease = Lease {
                    snapshots: Some(terms.snapshots),
                    ..Lease::default()
                };
            }
        }
        if self
            .model
            .seen
            .home
            .as_ref()
            .is_some_and(|word| word.lease.is_none())
        {
            self.lease = Lease::default();
        }
        self.lease.unsure = !self.lease.ended;
        self.lease.received = None;
    }

    /// CURRENT is what replaying the log from its first frame gives, wherever it is opened.
    fn check_replay(&mut self) {
        let purpose = self.world.opened_for().unwrap_or(Purpose::Read);
        let current = self.world.handle(purpose).unwrap().current();
        // Read as it lies there now, without the checkpoints.
        let id = self.world.owner.genesis.domain_id();
        let place = PathBuf::from(format!("home/domains/{id}"));
        let copy = self
            .disk
            .crash_images(0, 2)
            .remove(1)
            .below(&place)
            .unwrap();
        let mut todo = vec![PathBuf::from("log/checkpoints")];
        while let Some(dir) = todo.pop() {
            for name in copy.list(&dir).unwrap() {
                let path = dir.join(name);
                match copy.unlink(&path) {
                    Ok(()) => {}
                    Err(_) => todo.push(path),
                }
            }
        }
        let options = StoreOptions {
            sealer: Some(Arc::new(PlainSealer)),
            ..StoreOptions::new([0; 16])
        };
        let backend = Arc::new(PosixBackend::with_disk(copy));
        let replayed = Store::open(backend, Mode::Read, options).unwrap();
        assert_eq!(replayed.damage(), [], "replayed");
        assert_eq!(
            replayed.current().digest(),
            current.digest(),
            "CURRENT and the replay differ"
        );
    }

    /// Everything is there at the end, should the power go.
    fn end(&mut self) {
        self.world.close();
        let told = Told {
            model: self.model.clone(),
            flight: Vec::new(),
        };
        let image = self.disk.crash_images(9, 1).remove(0);
        judge(&image, &self.world.owner, &told, "at the end");
    }

    /// The wall clock jumps; what only a wall clock says revives nothing and ends nothing at home.
    fn jump(&mut self) {
        let (past, future) = (0, super::common::YEAR_2106);
        let back = self.world.clock.wall_ns() - 3_600_000_000_000;
        let to = [past, future, back, super::common::NOW][self.random.below(4) as usize];
        self.steps.push(format!("the clock jumps to {to}"));
        self.world.clock.set_wall_ns(to);
    }

    fn expected(&self, verb: &Verb) -> Expected {
        let seen = &self.model.seen;
        let state = seen
            .home
            .as_ref()
            .map(|word| word.state)
            .unwrap_or_default();
        let writes = matches!(state, DomainState::Unrecognized | DomainState::Full);
        match verb {
            Verb::Seal(..) | Verb::Beside(_) | Verb::Snapshot if !writes => {
                Expected::Refused(Kind::Refused)
            }
            Verb::Working(..) | Verb::DropWorking(_) if !writes => Expected::Refused(Kind::Refused),
            Verb::Snapshot if self.lease.is_full(seen.snapshots.len()) => {
                Expected::Refused(Kind::Refused)
            }
            Verb::Seal(..) | Verb::Beside(_) | Verb::Snapshot => {
                match self.lease.over(self.world.clock.since_boot()) {
                    true => Expected::Refused(Kind::Refused),
                    false if self.lease.unsure => Expected::Either(Kind::Refused),
                    false => Expected::Done,
                }
            }
            Verb::Pin(number, _) if !seen.snapshots.contains(number) => {
                Expected::Refused(Kind::NotFound)
            }
            Verb::Forget(snapshots, _) => {
                let newest = seen.snapshots.last();
                let pinned = snapshots.iter().any(|n| seen.pins.contains_key(n));
                let unknown = snapshots.iter().any(|n| !seen.snapshots.contains(n));
                match pinned || snapshots.iter().any(|n| Some(n) == newest) {
                    true => Expected::Refused(Kind::Refused),
                    false if unknown => Expected::Refused(Kind::NotFound),
                    false => Expected::Done,
                }
            }
            Verb::DropWorking(name) => {
                let written = self.model.unsure.iter().rev().find(|(n, _)| n == name);
                let there = written.map_or(seen.working.contains_key(name), |(_, c)| c.is_some());
                match there {
                    true => Expected::Done,
                    false => Expected::Refused(Kind::NotFound),
                }
            }
            // A decision that is older than the one in force is refused, and clocks jump here.
            Verb::Apply(_) => Expected::Either(Kind::Refused),
            Verb::Ask(..) => Expected::Either(Kind::Refused),
            _ => Expected::Done,
        }
    }

    fn choose(&mut self) -> Verb {
        let seen = self.model.seen.clone();
        let below = |random: &mut Random, n: usize| random.below(n as u64) as usize;
        let some = |random: &mut Random, all: Vec<u32>| {
            let taken = all.into_iter().filter(|_| random.below(3) == 0);
            taken.collect::<Vec<u32>>()
        };
        let pieces = |random: &mut Random| {
            let count = 1 + random.below(4);
            (0..count).map(|_| random.below(14)).collect::<Vec<u64>>()
        };
        let (name, random) = (self.next, &mut self.random);
        let number = 1 + random.below(4) as u32;
        self.next += 1;
        match random.below(24) {
            0..=5 => Verb::Seal(name, pieces(random)),
            6 | 7 => Verb::Beside(pieces(random)),
            8..=10 => Verb::Snapshot,
            11 => Verb::Pin(number, format!("for reason {name}")),
            12 => Verb::Unpin(number),
            13 | 14 => {
                let snapshots = some(random, seen.snapshots.iter().copied().collect());
                let roots = some(random, seen.roots.iter().map(|n| u32::from(*n)).collect());
                Verb::Forget(snapshots, roots.iter().map(|n| *n as u8).collect())
            }
            15 | 16 => Verb::Gc {
                unfinished: random.coin(),
            },
            17 => [Verb::Repair, Verb::Verify, Verb::Close][below(random, 3)].clone(),
            18 => Verb::Working(format!("w{}", random.below(2)), vec![name; 90]),
            19 => Verb::DropWorking(format!("w{}", random.below(2))),
            20 => {
                let outcomes = [
                    AdmissionResult::AcceptedLimited,
                    AdmissionResult::AcceptedLimited,
                    AdmissionResult::Accepted,
                    AdmissionResult::Deferred,
                ];
                let terms = Terms {
                    snapshots: 2 + number,
                    seconds: WEEK,
                    ..Terms::wide(name)
                };
                self.asked = Some(terms);
                Verb::Ask(terms, outcomes[below(&mut self.random, 4)])
            }
            21 => match self.asked {
                Some(terms) => Verb::Apply(terms),
                None => Verb::Close,
            },
            22 => {
                let states = [
                    DomainState::Full,
                    DomainState::Suspended,
                    DomainState::Revoked,
                ];
                match random.below(3) {
                    0 => Verb::State(states[below(random, 3)]),
                    _ => Verb::State(DomainState::Full),
                }
            }
            _ => Verb::Wait([HOUR, 3 * WEEK][below(random, 2)]),
        }
    }
}

impl Lease {
    fn over(&self, now: Duration) -> bool {
        let passed = self
            .received
            .map_or(Duration::ZERO, |at| now.saturating_sub(at));
        self.snapshots.is_some() && (self.ended || passed > self.lasts && self.received.is_some())
    }

    fn is_full(&self, snapshots: usize) -> bool {
        self.snapshots
            .is_some_and(|most| snapshots >= most as usize)
    }
}
