//! Holds a disk, however it was left, against what was acknowledged.

use super::common::Owner;
use super::flows::{run_all, Ready};
use super::model::Model;
use super::verbs::Verb;
use super::world::{self, World};
use asl_auth::DomainState;
use asl_core::Kind;
use asl_host::Purpose;
use asl_testkit::SimDisk;
use std::sync::Arc;

/// What was acknowledged, and what was begun after and was not.
#[derive(Clone)]
pub struct Told {
    pub model: Model,
    pub flight: Vec<Verb>,
}

/// Opens what is on a disk and judges it: every acknowledgement is there, nothing half, and opened
/// twice is opened once. Answers the world, opened again, and what it holds.
pub fn judge(disk: &SimDisk, owner: &Arc<Owner>, told: &Told, at: &str) -> (World, Model) {
    let fail = |e: &dyn std::fmt::Display| -> ! { panic!("{at}: {e}") };
    let mut world = World::on(disk, owner, 0x0dd);
    let mut model = told.model.clone();
    // Looking writes nothing, and what the next session does for recovery changes nothing seen.
    let seen = world
        .look(&model, &told.flight)
        .unwrap_or_else(|e| fail(&e));
    model
        .settle(&told.flight, &seen)
        .unwrap_or_else(|e| fail(&e));
    if seen.home.is_none() {
        return (world, model);
    }
    if told.flight.contains(&Verb::Repair) {
        // What was broken before may be broken still; done again it is whole.
        world
            .run(&Verb::Repair, &mut model)
            .unwrap_or_else(|e| fail(&e));
    }
    let unopened = world.handle(Purpose::Read).unwrap().current();
    let opened = world.handle(Purpose::Upkeep).unwrap_or_else(|e| fail(&e));
    let current = opened.current();
    assert!(
        current.head.commit >= model.commit,
        "{at}: a commit is lost"
    );
    assert_eq!(
        unopened.digest(),
        current.digest(),
        "{at}: looking and opening differ"
    );
    for n in model.served() {
        let bytes = world::piece(n);
        let served = opened.chunk_id(&bytes).and_then(|id| opened.get_piece(&id));
        let served = served.unwrap_or_else(|e| panic!("{at}: piece {n}: {e}"));
        assert!(served == bytes, "{at}: piece {n} is another");
    }
    // Verify replays the whole log and holds CURRENT and each manifest against it.
    world.verify().unwrap_or_else(|e| fail(&e));
    let again = world
        .look(&model, &told.flight)
        .unwrap_or_else(|e| fail(&e));
    assert_eq!(again, seen, "{at}: opened twice is not opened once");
    let twice = world
        .handle(Purpose::Upkeep)
        .unwrap_or_else(|e| fail(&e))
        .current();
    assert_eq!(twice.digest(), current.digest(), "{at}: opened twice");
    model.commit = twice.head.commit;
    (world, model)
}

/// Life goes on: what the state allows can be done, and is there afterwards.
pub fn go_on(world: &mut World, model: &mut Model, at: &str) {
    let Some(home) = &model.seen.home else { return };
    let may = matches!(home.state, DomainState::Unrecognized | DomainState::Full);
    let lent = home.lease.is_some();
    match world.run(&Verb::Seal(200, vec![3, 21]), model) {
        // A lease may be over.
        Err(e) if e.kind() == Kind::Refused && (lent || !may) => return,
        Err(e) => panic!("{at}: going on: {e}"),
        Ok(()) => assert!(may, "{at}: sealed in {}", home_state(model)),
    }
    let seen = world
        .look(model, &[])
        .unwrap_or_else(|e| panic!("{at}: {e}"));
    model
        .settle(&[], &seen)
        .unwrap_or_else(|e| panic!("{at}: going on: {e}"));
}

fn home_state(model: &Model) -> DomainState {
    model
        .seen
        .home
        .as_ref()
        .map(|word| word.state)
        .unwrap_or_default()
}

/// Does the rest of a flow after a verb of it failed on this disk: again what did not happen, then
/// what follows; and takes the power at the end.
pub fn finish(ready: &Ready, disk: &SimDisk, told: &Told, done: usize, at: &str) {
    // What a cache still shows may not be on the medium: the next session makes it so or drops it.
    let mut next = World::on(disk, &ready.owner, 0x0de);
    if next.domain().is_ok() {
        next.handle(Purpose::Upkeep)
            .unwrap_or_else(|e| panic!("{at}: {e}"));
    }
    drop(next);
    let (mut world, mut model) = judge(disk, &ready.owner, told, at);
    world.clock.advance(ready.waited(done));
    // Whoever was told of a failure does it again, and may be told that it is so already: that is an
    // acknowledgement too. What would be done twice, and happened, is left.
    let happened = model.seen != told.model.seen;
    // A domain that is there after all is simply used.
    let used = |verb: &&Verb| !(happened && **verb == Verb::Create);
    if let Some(verb) = told.flight.first().filter(used) {
        let twice = matches!(verb, Verb::Snapshot | Verb::Forget(..));
        match world.run(verb, &mut model) {
            Err(e) if happened && (twice || e.kind() == Kind::Exists) => {}
            done => done.unwrap_or_else(|e| panic!("{at}: after the fault, {verb:?}: {e}")),
        }
    }
    let rest = ready.flow.live.iter().enumerate().skip(done + 1);
    if let Some((i, e)) = run_all(&mut world, rest, &mut model) {
        panic!("{at}: after the fault, {:?}: {e}", ready.flow.live[i]);
    }
    drop(world);
    let told = Told {
        model,
        flight: Vec::new(),
    };
    for n in [0, 4] {
        let image = disk.crash_images(7, n + 1).remove(n);
        judge(
            &image,
            &ready.owner,
            &told,
            &format!("{at}, and the power gone at the end"),
        );
    }
}
