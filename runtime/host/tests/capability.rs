//! The state table tried, not read: every verb that does something today, on a real domain, in
//! every state. What is refused names the capability, the state and the way on, and changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::DomainState;
use asl_core::{Error, Kind, Result, Timestamp};
use asl_host::capability::{require, Place, Verb};
use asl_host::hostlog::HostRecord;
use asl_host::{Credentials, LeaseScope};
use asl_store::{GcOptions, Mode, ReadBack, VerifyOptions};
use common::*;

/// The columns of the table.
const COLUMNS: [(DomainState, Place); 6] = [
    (DomainState::Unrecognized, Place::Home),
    (DomainState::Unrecognized, Place::Elsewhere),
    (DomainState::Courtesy, Place::Home),
    (DomainState::Full, Place::Home),
    (DomainState::Suspended, Place::Home),
    (DomainState::Revoked, Place::Home),
];

/// How a verb is tried.
enum Trial {
    /// It is really done, on this domain.
    Done(fn(&World) -> Result<()>),
    /// It has no implementation yet: the table alone is asked.
    TableOnly,
}

/// One line a verb: how it is tried, and where it may be done (columns as above).
///
/// `Verb` has no wildcard here: a new verb does not compile without its row, and an implementation
/// belongs here in place of `TableOnly`.
fn row(verb: Verb) -> (Trial, &'static str) {
    use Trial::{Done, TableOnly};
    match verb {
        Verb::AllocateBlock => (Done(allocate), "y-yy--"),
        Verb::SealBlock => (Done(seal), "y-yy--"),
        Verb::AppendLog => (Done(append), "y-yy--"),
        Verb::SnapshotCreate => (Done(snapshot), "y-yy--"),
        // REVOKED: the owner's own reads, which these are.
        Verb::Read => (Done(read), "y-yyyy"),
        Verb::AdmissionRequest => (Done(ask), "yyyyy-"),
        Verb::Run => (TableOnly, "y-yy--"),
        Verb::Push => (TableOnly, "--yy--"),
        Verb::PublishSnapshot | Verb::FederateLog | Verb::ImportFrom => (TableOnly, "---y--"),
        // SUSPENDED and REVOKED: the host's own doing, which a table alone cannot tell apart.
        Verb::Evict => (TableOnly, "y-yyyy"),
        Verb::Gc => (Done(gc), "y-yyyy"),
        Verb::MigrateOut => (TableOnly, "y-yy--"),
        Verb::MigrateIn => (TableOnly, "---y--"),
    }
}

/// A host with a domain that holds something and was then put into a state.
struct World {
    host: Host,
    owner: Owner,
    state: DomainState,
    place: Place,
}

impl World {
    /// The domain is admitted by this very host, then put into its state.
    fn new(state: DomainState, place: Place) -> World {
        let (host, owner) = (Host::new(1), Owner::new(7));
        host.trust(&owner);
        let world = World {
            host,
            owner,
            state,
            place,
        };
        let World { host, owner, .. } = &world;
        owner.create_on(host, Place::Home).unwrap();
        seal_something(&host.open_to_seal(owner, LeaseScope::Remote).unwrap(), 1);
        if state != DomainState::Unrecognized {
            host.keeper()
                .admit(&owner.petition(&host.root(), 1))
                .unwrap();
        }
        let mut domain = host.domain(owner);
        let given = HostRecord::State {
            state,
            why: "a test".into(),
            time: Timestamp::claimed(NOW),
        };
        domain
            .record(&host.context, &[HostRecord::Role(place), given])
            .unwrap();
        assert_eq!((domain.state(), domain.place()), (state, place));
        world
    }

    fn write(&self) -> Result<asl_host::StoreHandle> {
        self.host.open_to_seal(&self.owner, LeaseScope::Remote)
    }
}

fn allocate(world: &World) -> Result<()> {
    world.write()?.begin_root()
}

fn seal(world: &World) -> Result<()> {
    put(&world.write()?, 2, 5000).map(drop)
}

fn append(world: &World) -> Result<()> {
    let handle = world.write()?;
    handle.begin_root()?;
    handle.finish_root(b"a root").map(drop)
}

fn snapshot(world: &World) -> Result<()> {
    world
        .write()?
        .snapshot(None, ReadBack::Skipped, 0)
        .map(drop)
}

fn read(world: &World) -> Result<()> {
    let handle = world.host.open_to_read(&world.owner)?;
    let piece = random(1, 5000);
    assert_eq!(handle.get_piece(&handle.chunk_id(&piece)?)?, piece);
    let report = handle.verify(VerifyOptions::default(), &|_, _| (), &|| false)?;
    assert!(report.damage.is_empty());
    Ok(())
}

/// Forgets, collects and repairs; what was sealed is still read after it.
fn gc(world: &World) -> Result<()> {
    let World { host, owner, .. } = world;
    let mut handle = host.open_for_upkeep(owner, Credentials::None)?;
    handle.forget(&[], &[])?;
    handle.gc(GcOptions::default(), &|| false)?;
    let report = handle.repair(&|_, _| (), &|| false)?;
    assert!(report.lost.is_empty() && report.remains.is_empty());
    Ok(())
}

fn ask(world: &World) -> Result<()> {
    let petition = world.owner.petition(&world.host.root(), 9);
    let decision = world.host.keeper().admit(&petition)?;
    let decision = asl_auth::Decision::decode(&decision.bytes)?;
    match decision.outcome {
        asl_auth::AdmissionResult::Rejected => {
            assert!(decision.reason.contains("revoked"), "{}", decision.reason);
            let domain = world.owner.genesis.domain_id();
            require(domain, world.state, world.place, Verb::AdmissionRequest).map(drop)
        }
        _ => Ok(()),
    }
}

/// A refusal that helps.
fn check(refusal: &Error, verb: Verb, state: DomainState, opened_for: Verb) {
    assert_eq!(refusal.kind(), Kind::Refused, "{refusal}");
    let text = refusal.to_string();
    assert!(
        text.contains(verb.as_str()) || text.contains(opened_for.as_str()),
        "{text}"
    );
    assert!(text.contains("alice.personal~"), "{text}");
    assert!(text.contains(state.code()), "{text}");
    assert!(!refusal.what_next().is_empty(), "{text}");
}

#[test]
fn every_verb_is_done_or_refused_as_its_row_says() {
    let mut tried = 0;
    for verb in Verb::ALL {
        let (trial, letters) = row(verb);
        for ((state, place), letter) in COLUMNS.into_iter().zip(letters.chars()) {
            let domain = Owner::new(7).genesis.domain_id();
            let asked = require(&domain, state, place, verb);
            let done = match trial {
                Trial::TableOnly => asked.map(drop),
                Trial::Done(trial) => {
                    let world = World::new(state, place);
                    let before = files(&world.host.domain(&world.owner).dir().join("log"));
                    let done = trial(&world);
                    if done.is_err() {
                        let after = files(&world.host.domain(&world.owner).dir().join("log"));
                        assert_eq!(after, before, "{} in {state}", verb.as_str());
                    }
                    tried += 1;
                    done
                }
            };
            let name = format!("{} in {state} at {place:?}", verb.as_str());
            assert_eq!(done.is_ok(), letter == 'y', "{name}: {done:?}");
            if let Err(refusal) = done {
                check(&refusal, verb, state, Verb::AppendLog);
            }
        }
    }
    assert_eq!(tried, 42);
}

#[test]
fn a_revoked_domain_is_read_by_its_owner_and_by_nobody_else() {
    let world = World::new(DomainState::Revoked, Place::Home);
    let open = |credentials| {
        let World { host, owner, .. } = &world;
        host.open(owner, Mode::Read, credentials, LeaseScope::Remote, BOOT)
    };
    for nobody in [
        Credentials::None,
        Credentials::Seal(world.owner.credential()),
    ] {
        let e = open(nobody).err().unwrap();
        assert_eq!(e.kind(), Kind::Refused);
        assert!(
            e.to_string().contains("REVOKED, and only its owner may"),
            "{e}"
        );
        assert!(e.what_next().contains("--identity"), "{e:?}");
    }
    read(&world).unwrap();
}

#[test]
fn a_courtesy_state_without_a_lease_lends_nothing() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let mut domain = owner.create_on(&host, Place::Home).unwrap();
    let given = HostRecord::State {
        state: DomainState::Courtesy,
        why: "a test".into(),
        time: Timestamp::claimed(NOW),
    };
    domain.record(&host.context, &[given]).unwrap();
    let handle = host.open_to_seal(&owner, LeaseScope::Remote).unwrap();
    for refused in [
        put(&handle, 1, 100).map(drop),
        handle.begin_root(),
        handle.snapshot(None, ReadBack::Skipped, 0).map(drop),
    ] {
        let e = refused.unwrap_err();
        assert_eq!(e.kind(), Kind::Refused);
        assert!(e.why().contains("COURTESY, and it holds no lease"), "{e}");
        assert!(e.what_next().contains("admission request"), "{e:?}");
    }
}
