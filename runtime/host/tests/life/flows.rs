//! The scripted flows: a domain's life in pieces, each from a disk that all before it has reached.

use super::common::Owner;
use super::model::Model;
use super::verbs::Verb;
use super::world::{Terms, World};
use asl_auth::{AdmissionResult, DomainState};
use asl_core::Result;
use asl_host::Purpose;
use asl_testkit::{Random, SimDisk};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use Verb::{
    Apply, Ask, Beside, Close, Create, Decide, DropWorking, Forget, Gc, Init, InitAgain,
    InitKeeper, Pin, Refused, Repair, Seal, Snapshot, State, Unpin, Verify, Wait, Working,
};

/// One flow: what came before it, and what is done while the power may go.
pub struct Flow {
    pub name: &'static str,
    pub encrypted: bool,
    before: Vec<Verb>,
    /// Harm done to the files before it begins.
    harm: Option<fn(&SimDisk)>,
    /// It begins on a disk that a power cut in this verb has left.
    torn: Option<Verb>,
    pub live: Vec<Verb>,
}

/// A flow made ready: a disk on whose medium all that came before lies.
pub struct Ready {
    pub flow: Flow,
    pub owner: Arc<Owner>,
    pub disk: SimDisk,
    pub model: Model,
    /// The calls of the whole flow, and how many of them are syncs.
    pub calls: u64,
    pub syncs: u64,
}

fn seal(name: u8, pieces: &[u64]) -> Verb {
    Seal(name, pieces.to_vec())
}

fn pin(number: u32) -> Verb {
    Pin(number, format!("kept for reason {number}"))
}

fn working(name: &str, content: &str) -> Verb {
    Working(name.into(), content.repeat(60).into_bytes())
}

/// Breaks what can be made anew: a snapshot's list of blocks, a segment, a checkpoint.
fn break_derived(disk: &SimDisk) {
    for (path, bytes) in disk.files() {
        let derived = ["snap-000001/blocks", "/segment", "checkpoints/chk"];
        if path.contains("home/domains") && derived.iter().any(|part| path.contains(part)) {
            disk.flip(path.as_ref(), bytes.len() / 2, 3).unwrap();
        }
    }
}

const LIMITED: AdmissionResult = AdmissionResult::AcceptedLimited;

/// Every flow there is.
pub fn all() -> Vec<Flow> {
    let home = || vec![Init, Create];
    let both = || vec![Init, Create, InitKeeper];
    let two_roots = || {
        let mut verbs = vec![Init, Create, seal(1, &[1, 2, 3]), Snapshot];
        verbs.extend([seal(2, &[2, 3, 4]), Snapshot]);
        verbs
    };
    let flow = |name, before: Vec<Verb>, live: Vec<Verb>| Flow {
        name,
        encrypted: false,
        before,
        harm: None,
        torn: None,
        live,
    };
    let sealed = |flow| Flow {
        encrypted: true,
        ..flow
    };
    let after = |mut before: Vec<Verb>, more: Vec<Verb>| {
        before.extend(more);
        before
    };
    let one = Terms::wide(1);
    let week = 8 * 86_400;
    vec![
        flow("a host is made", vec![], vec![Init]),
        flow("a host is made twice", vec![Init], vec![InitAgain]),
        flow("a domain is made", vec![Init], vec![Create, seal(1, &[2])]),
        sealed(flow(
            "an encrypted domain is made",
            vec![Init],
            vec![Create],
        )),
        flow(
            "the first seal",
            home(),
            vec![seal(1, &[1, 2, 3, 4, 7]), Snapshot],
        ),
        sealed(flow(
            "the first seal of an encrypted domain",
            home(),
            vec![seal(1, &[1, 2, 4]), Snapshot, Close, seal(2, &[2, 5])],
        )),
        flow(
            "many commits",
            home(),
            vec![
                Beside(vec![1]),
                Beside(vec![2, 3]),
                Beside(vec![4]),
                seal(1, &[1, 2, 5]),
            ],
        ),
        flow(
            "segments are merged",
            after(home(), (1..8).map(|n| Beside(vec![n])).collect()),
            vec![Beside(vec![8]), seal(1, &[1, 8, 9])],
        ),
        flow(
            "sessions in turn, each with its checkpoint",
            home(),
            vec![
                seal(1, &[1, 2]),
                Close,
                seal(2, &[3]),
                Snapshot,
                Close,
                Verify,
                seal(3, &[4]),
            ],
        ),
        flow(
            "snapshots are pinned and unpinned",
            two_roots(),
            vec![pin(1), pin(2), Unpin(1), pin(1), Unpin(2)],
        ),
        flow(
            "forgotten and collected",
            after(two_roots(), vec![seal(3, &[8]), Snapshot]),
            vec![
                Forget(vec![1, 2], vec![1]),
                Gc { unfinished: false },
                seal(4, &[1, 8]),
                Gc { unfinished: false },
            ],
        ),
        flow(
            "what was not finished is collected",
            after(two_roots(), vec![Beside(vec![11, 12]), Beside(vec![13])]),
            vec![Gc { unfinished: true }, seal(3, &[11, 12])],
        ),
        Flow {
            harm: Some(break_derived),
            ..flow(
                "repaired",
                two_roots(),
                vec![Repair, Verify, seal(3, &[1, 9])],
            )
        },
        Flow {
            torn: Some(seal(9, &[1, 2, 3, 4])),
            ..flow(
                "opened again after a power cut",
                two_roots(),
                vec![Verify, seal(3, &[2, 5]), Snapshot],
            )
        },
        flow("admitted", both(), vec![Ask(one, LIMITED), Apply(one)]),
        flow(
            "deferred, decided later, and asked again",
            after(both(), vec![seal(1, &[1])]),
            vec![
                Ask(one, AdmissionResult::Deferred),
                Apply(one),
                Decide(one, LIMITED),
                Apply(one),
                Ask(Terms::wide(2), AdmissionResult::Accepted),
                Apply(Terms::wide(2)),
            ],
        ),
        flow(
            "a lease ends",
            after(both(), vec![Ask(one, LIMITED), Apply(one)]),
            vec![
                seal(1, &[1, 2]),
                Snapshot,
                Wait(week),
                Refused(2),
                Close,
                Refused(3),
            ],
        ),
        flow(
            "suspended and taken back",
            after(home(), vec![seal(1, &[1, 2])]),
            vec![
                State(DomainState::Suspended),
                State(DomainState::Full),
                seal(2, &[3]),
            ],
        ),
        sealed(flow(
            "working files",
            home(),
            vec![
                working("journal", "one"),
                seal(1, &[1]),
                working("journal", "two"),
                working("map", "x"),
                Beside(vec![2]),
                DropWorking("map".into()),
                seal(2, &[2, 5]),
            ],
        )),
    ]
}

impl Flow {
    /// Makes everything ready for it, and runs it once, whole.
    pub fn ready(self) -> Ready {
        let owner = Arc::new(match self.encrypted {
            true => Owner::new(7),
            false => Owner::plain(7),
        });
        let disk = SimDisk::new();
        let mut ready = Ready {
            model: Model::default(),
            disk,
            owner,
            calls: 0,
            syncs: 0,
            flow: self,
        };
        let name = ready.flow.name;
        ready.prepare();
        let (disk, mut model) = (ready.copy(), ready.model.clone());
        let mut world = World::on(&disk, &ready.owner, 1);
        for verb in &ready.flow.live {
            world
                .run(verb, &mut model)
                .unwrap_or_else(|e| panic!("{name}: {verb:?}: {e}"));
        }
        drop(world);
        (ready.calls, ready.syncs) = (disk.calls(), disk.syncs());
        ready
    }

    fn prologue(&self) -> &[Verb] {
        &self.before
    }
}

impl Ready {
    fn prepare(&mut self) {
        let (disk, name) = (SimDisk::new(), self.flow.name);
        for root in ["home", "keeper"] {
            use asl_backend::disk::Disk;
            disk.make_dir(root.as_ref(), 0o700).unwrap();
        }
        let disk = disk.crash_images(0, 2).remove(1);
        let mut world = World::on(&disk, &self.owner, 2);
        for verb in self.flow.prologue() {
            world
                .run(verb, &mut self.model)
                .unwrap_or_else(|e| panic!("{name}, before: {verb:?}: {e}"));
        }
        world.close();
        if let Some(harm) = self.flow.harm {
            harm(&disk);
        }
        self.disk = disk.crash_images(0, 2).remove(1);
        if let Some(verb) = self.flow.torn.clone() {
            self.disk = self.torn_in(&verb);
            let seen = World::on(&self.disk, &self.owner, 3)
                .look(&self.model, std::slice::from_ref(&verb));
            self.model.settle(&[verb], &seen.unwrap()).unwrap();
        }
    }

    /// A disk whose log ends in a part of a frame, as a power cut in this verb may leave it.
    fn torn_in(&self, verb: &Verb) -> SimDisk {
        for k in 1.. {
            let disk = self.copy();
            disk.halt_at(k);
            let done = World::on(&disk, &self.owner, 3).run(verb, &mut self.model.clone());
            assert!(done.is_err(), "no cut in {verb:?} tears the log");
            let log = |disk: &SimDisk| {
                let mut files = disk.files().into_iter();
                files.find(|(path, _)| path.contains("home/") && path.ends_with("append.log"))
            };
            let before = log(&self.disk);
            let changed = |image: &SimDisk| log(image) != before;
            for image in disk.crash_images(k, 40).into_iter().filter(changed) {
                let opened = image.crash_images(0, 1).remove(0);
                let cut = World::on(&opened, &self.owner, 4)
                    .handle(Purpose::Upkeep)
                    .is_ok()
                    && opened.files().keys().any(|path| path.contains("cut-tails"));
                if cut {
                    return image;
                }
            }
        }
        unreachable!("calls end")
    }

    /// The disk it begins on.
    pub fn copy(&self) -> SimDisk {
        self.disk.crash_images(0, 1).remove(0)
    }

    /// The time that has passed for who is at that verb.
    pub fn waited(&self, done: usize) -> Duration {
        let waits = self.flow.live.iter().take(done).map(|v| match v {
            Wait(seconds) => *seconds,
            _ => 0,
        });
        Duration::from_secs(waits.sum())
    }

    /// Runs it until a verb fails; answers what was acknowledged and which verb was in flight.
    pub fn run(&self, disk: &SimDisk, seed: u64) -> (Model, Option<(usize, asl_core::Error)>) {
        let mut model = self.model.clone();
        let mut world = World::on(disk, &self.owner, seed);
        let verbs = self.flow.live.iter().enumerate();
        let failed = run_all(&mut world, verbs, &mut model);
        (model, failed)
    }
}

/// Runs verbs until one fails.
pub fn run_all<'a>(
    world: &mut World,
    verbs: impl Iterator<Item = (usize, &'a Verb)>,
    model: &mut Model,
) -> Option<(usize, asl_core::Error)> {
    for (i, verb) in verbs {
        let done: Result<()> = world.run(verb, model);
        if let Err(e) = done {
            return Some((i, e));
        }
    }
    None
}

/// Every flow, ready; made once for all tests. ASL_FLOW takes those alone whose name has that in it.
pub fn all_ready() -> &'static [Ready] {
    static READY: OnceLock<Vec<Ready>> = OnceLock::new();
    READY.get_or_init(|| {
        let part = std::env::var("ASL_FLOW").unwrap_or_default();
        let named = all().into_iter().filter(|flow| flow.name.contains(&part));
        named.map(Flow::ready).collect()
    })
}

/// Whether all flows are taken, so that a test may ask for what comes of them together.
pub fn is_whole() -> bool {
    std::env::var("ASL_FLOW").is_err()
}

/// Boundaries from 1 to `last`: every one where the flow's share of the budget allows, else as many
/// of them as it does, chosen by a seed.
pub fn boundaries(last: u64, budget: u64, seed: u64) -> BTreeSet<u64> {
    let share = budget.div_ceil(all_ready().len() as u64);
    if last <= share {
        return (1..=last).collect();
    }
    let mut random = Random::new(seed ^ last);
    let mut chosen = BTreeSet::new();
    while (chosen.len() as u64) < share {
        chosen.insert(1 + random.below(last));
    }
    chosen
}

/// A plain domain's owner, and a disk on which these verbs were done, with what was acknowledged.
pub fn prepared(before: &[Verb]) -> (Arc<Owner>, SimDisk, Model) {
    let flow = Flow {
        name: "prepared",
        encrypted: false,
        before: before.to_vec(),
        harm: None,
        torn: None,
        live: Vec::new(),
    };
    let ready = flow.ready();
    (ready.owner, ready.disk, ready.model)
}
