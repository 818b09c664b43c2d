//! The keeper's own hand, rules and audit log: what the hand did no request undoes, what it changed
//! the asking side learns, and why anything was decided can be read afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::AdmissionResult::{self, Accepted, AcceptedLimited, Deferred, Rejected};
use asl_auth::DomainState::{self, Courtesy, Full, Revoked, Suspended, Unrecognized};
use asl_auth::{Amendment, Decision, LeaseBounds};
use asl_core::{DomainId, Kind};
use asl_host::admission::{Act, Keeper, News};
use asl_host::audit::{Audit, History};
use asl_host::capability::Place;
use asl_host::keystick::Signed;
use asl_host::LeaseScope;
use common::*;
use std::time::Duration;

const DAY_S: u64 = 86_400;

fn read(signed: &Signed) -> Decision {
    Decision::decode(&signed.bytes).unwrap()
}

fn history(host: &Host) -> History {
    Audit::at(host.root().layout().audit()).history().unwrap()
}

/// A keeper's host with one domain that was let in, and the ways to look at it.
struct World {
    host: Host,
    owner: Owner,
    keeper: Keeper,
    id: DomainId,
}

impl World {
    fn new(outcome: AdmissionResult) -> World {
        let (host, owner) = (Host::new(2), Owner::new(7));
        host.trust(&owner);
        let known = format!("known_roots = \"{outcome}\"");
        host.set_policy(&[("known_roots = \"ACCEPTED_LIMITED\"", &known)]);
        let keeper = host.keeper();
        keeper.admit(&owner.petition(&host.root(), 1)).unwrap();
        let id = owner.genesis.domain_id();
        World {
            host,
            owner,
            keeper,
            id,
        }
    }

    fn state(&self) -> DomainState {
        self.host.domain(&self.owner).state()
    }

    fn ask(&self, nonce: u8) -> Decision {
        read(
            &self
                .keeper
                .admit(&self.owner.petition(&self.host.root(), nonce))
                .unwrap(),
        )
    }

    fn act(&self, act: Act) -> asl_core::Result<DomainState> {
        self.keeper.act(&self.id, act, "a test")
    }

    fn amend(&self, amendment: Amendment) -> asl_core::Result<Decision> {
        let done = self.keeper.amend(&self.id, amendment, "a test");
        done.map(|(_, signed)| read(&signed))
    }
}

#[test]
fn what_the_keeper_suspended_no_request_and_no_policy_lifts() {
    for outcome in [AcceptedLimited, Accepted] {
        let world = World::new(outcome);
        let before = world.state();
        assert_eq!(world.act(Act::Suspend).unwrap(), Suspended);
        assert_eq!(world.ask(2).outcome, Deferred);
        assert!(world.ask(3).reason.contains("own hand suspended"));
        assert_eq!(world.state(), Suspended);
        // Nor does the time: a lease that ends meanwhile makes nobody's appeal an answer.
        world.host.clock.advance(Duration::from_secs(30 * DAY_S));
        world.keeper.lapse().unwrap();
        assert_eq!(world.ask(4).outcome, Deferred);
        world.host.clock.set_wall_ns(NOW);
        assert_eq!(world.act(Act::Resume).unwrap(), before);
        assert_eq!(world.state(), before);
        assert_eq!(world.ask(5).outcome, outcome);
    }
}

#[test]
fn an_appeal_that_waits_is_lifted_by_the_keepers_ruling() {
    let world = World::new(AcceptedLimited);
    world.act(Act::Suspend).unwrap();
    world.ask(2);
    let (_, ruled) = world
        .keeper
        .decide_waiting(&world.id, Some(Accepted))
        .unwrap();
    assert_eq!((read(&ruled).outcome, world.state()), (Accepted, Full));
    assert!(!world.host.domain(&world.owner).is_held());
}

#[test]
fn a_suspension_that_outlasts_the_lease_resumes_to_its_end_and_a_renewal_goes_on() {
    let world = World::new(AcceptedLimited);
    world.act(Act::Suspend).unwrap();
    world.host.clock.advance(Duration::from_secs(8 * DAY_S));
    assert_eq!(world.act(Act::Resume).unwrap(), Suspended);
    assert!(!world.host.domain(&world.owner).is_held());
    let e = world.act(Act::Resume).unwrap_err();
    assert!(e.why().contains("no hand suspended it"), "{e}");
    assert!(e.what_next().contains("lease renew"), "{e:?}");
    world.amend(Amendment::Renew { seconds: DAY_S }).unwrap();
    assert_eq!(world.state(), Courtesy);
}

#[test]
fn revoked_is_for_good_whatever_is_asked_ruled_or_done() {
    let world = World::new(AcceptedLimited);
    assert_eq!(world.act(Act::Revoke).unwrap(), Revoked);
    assert_eq!(world.ask(2).outcome, Rejected);
    let petition = world.owner.petition(&world.host.root(), 3);
    assert_eq!(
        kind_of(world.keeper.decide(&petition, Some(Accepted))),
        Kind::Refused
    );
    for act in [Act::Suspend, Act::Resume, Act::Revoke, Act::Invalidate] {
        let e = world.act(act).unwrap_err();
        assert_eq!(e.kind(), Kind::Refused);
        assert!(e.why().contains("REVOKED"), "{e}");
        assert!(!e.what_next().is_empty());
    }
    for amendment in [
        Amendment::Renew {
            seconds: 90 * DAY_S,
        },
        Amendment::Shrink { bytes: 1 },
        Amendment::End,
    ] {
        assert_eq!(kind_of(world.amend(amendment)), Kind::Refused);
    }
    world.host.clock.set_wall_ns(0);
    world.keeper.lapse().unwrap();
    assert_eq!(world.state(), Revoked);
}

#[test]
fn an_admission_taken_back_ends_the_lease_and_the_domain_may_ask_anew() {
    for outcome in [AcceptedLimited, Accepted] {
        let world = World::new(outcome);
        assert_eq!(world.act(Act::Invalidate).unwrap(), Unrecognized);
        let domain = world.host.domain(&world.owner);
        let now = world.host.clock.clone();
        let over = |l: &asl_host::leases::LeaseRecord| {
            l.terms.expires_at.unix_ns < asl_core::HostClock::wall_ns(&*now)
        };
        assert!(domain.leases().all().all(over));
        assert_eq!(kind_of(world.act(Act::Invalidate)), Kind::Refused);
        world.host.clock.advance(Duration::from_secs(1));
        assert_eq!(world.ask(2).outcome, outcome);
        world.act(Act::Suspend).unwrap();
        let e = world.act(Act::Invalidate).unwrap_err();
        assert!(e.why().contains("free to ask again"), "{e}");
    }
}

#[test]
fn each_change_of_a_lease_reaches_the_asking_side_by_the_request_it_sent() {
    let all = admitted(1 << 30, 7 * DAY_S, 9);
    let id = all.owner.genesis.domain_id();
    let keeper = all.keeper.keeper();
    let bounds = LeaseBounds {
        bytes: 3 << 30,
        snapshots: 2,
        seconds: DAY_S,
    };
    let mut number = 1;
    for (amendment, bytes, days) in [
        (Amendment::Shrink { bytes: 1 << 20 }, 1 << 20, 7),
        (
            Amendment::Renew {
                seconds: 60 * DAY_S,
            },
            1 << 20,
            60,
        ),
        (Amendment::Grant(bounds), 3 << 30, 1),
    ] {
        // The time since the decision before is what makes it the newer one.
        let past = Duration::from_secs(1);
        all.keeper.clock.advance(past);
        let (petition, signed) = keeper.amend(&id, amendment, "").unwrap();
        assert_eq!(petition, all.petition);
        assert_eq!(keeper.admit(&all.petition).unwrap(), signed);
        apply(&all.home, &all.owner, &all.keeper, &petition, &signed).unwrap();
        // The letter before, once more.
        all.apply().unwrap();
        number += 1;
        for host in [&all.home, &all.keeper] {
            let domain = host.domain(&all.owner);
            assert_eq!(domain.admissions(), number);
            let terms = only_lease(&domain).terms;
            assert_eq!(terms.storage_bytes, bytes);
            let end = NOW + (number as i64 - 1) * 1_000_000_000 + days * DAY;
            let end = if number == 2 { NOW + 7 * DAY } else { end };
            assert_eq!(terms.expires_at.unix_ns, end, "{amendment:?}");
        }
    }
    all.keeper.clock.advance(Duration::from_secs(1));
    let (petition, ended) = keeper.amend(&id, Amendment::End, "").unwrap();
    assert_eq!(all.keeper.domain(&all.owner).state(), Suspended);
    apply(&all.home, &all.owner, &all.keeper, &petition, &ended).unwrap();
    let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
    assert!(put(&handle, 1, 10).unwrap_err().why().contains("expired"));
    // Taken back by hand, it comes back by hand.
    assert_eq!(
        read(
            &keeper
                .admit(&all.owner.petition(&all.keeper.root(), 2))
                .unwrap()
        )
        .outcome,
        Deferred
    );
    assert_eq!(
        kind_of(keeper.amend(&id, Amendment::Grant(bounds), "")),
        Kind::Refused
    );
}

#[test]
fn a_lease_is_changed_only_where_there_is_one_and_granted_only_to_who_asked() {
    let (host, owner) = (Host::new(2), Owner::new(7));
    let id = owner.genesis.domain_id();
    let keeper = host.keeper();
    let renew = Amendment::Renew { seconds: 9 };
    assert_eq!(kind_of(keeper.amend(&id, renew, "")), Kind::NotFound);
    owner.create_on(&host, Place::Home).unwrap();
    let bounds = LeaseBounds {
        bytes: 1,
        snapshots: 1,
        seconds: 1,
    };
    assert_eq!(
        kind_of(keeper.amend(&id, Amendment::Grant(bounds), "")),
        Kind::NotFound
    );
    assert_eq!(kind_of(keeper.amend(&id, renew, "")), Kind::Refused);
    host.set_policy(&[("\"REJECTED\"", "\"DEFERRED\"")]);
    keeper.admit(&owner.petition(&host.root(), 1)).unwrap();
    let granted = keeper.amend(&id, Amendment::Grant(bounds), "").unwrap();
    assert_eq!(read(&granted.1).outcome, AcceptedLimited);
    assert_eq!(host.domain(&owner).state(), Courtesy);

    let world = World::new(Accepted);
    let e = world.amend(Amendment::Grant(bounds)).unwrap_err();
    assert!(e.why().contains("taken in full"), "{e}");
}

#[test]
fn a_crash_between_the_decision_and_its_record_leaves_the_lease_as_it_was() {
    let world = World::new(AcceptedLimited);
    let log = world.host.domain(&world.owner).dir().join("log/host.log");
    let before = std::fs::read(&log).unwrap();
    let heads = files(&world.host.path().join("host/heads"));
    world.amend(Amendment::Shrink { bytes: 5 }).unwrap();
    std::fs::write(&log, before).unwrap();
    for (name, bytes) in heads {
        std::fs::write(world.host.path().join("host/heads").join(name), bytes).unwrap();
    }
    let domain = world.host.domain(&world.owner);
    assert_eq!(only_lease(&domain).terms.storage_bytes, 10 << 30);
    assert_eq!(domain.admissions(), 1);
    let shrunk = world
        .host
        .keeper()
        .amend(&world.id, Amendment::Shrink { bytes: 5 }, "");
    assert_eq!(read(&shrunk.unwrap().1).lease.unwrap().storage_bytes, 5);
    assert_eq!(
        only_lease(&world.host.domain(&world.owner))
            .terms
            .storage_bytes,
        5
    );
}

// The rules in force.

#[test]
fn a_changed_policy_is_in_force_at_once_and_a_broken_one_is_told_once_and_changes_nothing() {
    let world = World::new(AcceptedLimited);
    assert_eq!(world.keeper.reload().unwrap(), None);
    world
        .host
        .set_policy(&[("\"ACCEPTED_LIMITED\"", "\"DEFERRED\"")]);
    assert_eq!(world.ask(2).outcome, Deferred);
    assert_eq!(world.keeper.reload().unwrap(), Some(News::Taken));
    assert_eq!(world.keeper.reload().unwrap(), None);

    let path = world.host.root().layout().host_policy();
    let good = std::fs::read(&path).unwrap();
    for broken in ["", "layout = 1", "\u{0}", "layout = 9\n"] {
        std::fs::write(&path, broken).unwrap();
        assert_eq!(world.ask(3).outcome, Deferred);
        match world.keeper.reload().unwrap() {
            Some(News::Kept(e)) => assert!(e.why().contains("line "), "{e}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(world.keeper.reload().unwrap(), None, "told twice");
    }
    // A key file with a mistake keeps all of it too.
    std::fs::write(&path, good).unwrap();
    assert_eq!(world.keeper.reload().unwrap(), Some(News::Taken));
    let keys = world.host.root().layout().trusted_roots().join("bad.pub");
    std::fs::write(&keys, "no key").unwrap();
    assert!(matches!(
        world.keeper.reload().unwrap(),
        Some(News::Kept(_))
    ));
    assert_eq!(world.ask(4).outcome, Deferred);
    std::fs::remove_file(&keys).unwrap();
    assert_eq!(world.keeper.reload().unwrap(), Some(News::Taken));
    // A host that starts with a mistake does not start.
    std::fs::write(&path, "layout = 1").unwrap();
    assert!(Keeper::open(world.host.root(), world.host.context.clone()).is_err());
}

#[test]
fn a_domain_that_asks_too_often_is_not_decided_and_others_are() {
    let (host, owner) = (Host::new(2), Owner::new(7));
    let bob = Owner::with(8, true, |g| g.label = "bob".parse().unwrap());
    host.trust(&owner);
    host.trust(&bob);
    host.set_policy(&[
        ("per_domain = 24", "per_domain = 2"),
        ("total = 1000", "total = 4"),
    ]);
    let keeper = host.keeper();
    let ask = |owner: &Owner, nonce| keeper.admit(&owner.petition(&host.root(), nonce));
    let first = ask(&owner, 1).unwrap();
    ask(&owner, 2).unwrap();
    let before = files(&host.path().join("domains"));
    let e = ask(&owner, 3).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.why().contains("asked 2 times within 86400 s"), "{e}");
    assert_eq!(files(&host.path().join("domains")), before);
    // What was decided is told as often as it is asked for, and the keeper's hand is free.
    for _ in 0..5 {
        assert_eq!(ask(&owner, 1).unwrap(), first);
    }
    keeper
        .decide(&owner.petition(&host.root(), 4), None)
        .unwrap();
    ask(&bob, 1).unwrap();
    ask(&bob, 2).unwrap();
    let carol = Owner::with(9, true, |g| g.label = "carol".parse().unwrap());
    host.trust(&carol);
    assert!(ask(&carol, 1)
        .unwrap_err()
        .why()
        .contains("this host was asked 4 times"));
    // A clock that jumps gives nobody more; time that passes does.
    host.clock.set_wall_ns(YEAR_2106);
    assert!(ask(&owner, 3).is_err());
    host.clock.set_wall_ns(NOW);
    host.clock.advance(Duration::from_secs(DAY_S));
    ask(&owner, 3).unwrap();
}

#[test]
fn an_admission_reads_the_records_of_no_domain_that_has_not_changed() {
    let host = Host::new(2);
    let owners: Vec<Owner> = (10..17u8)
        .map(|n| Owner::with(n, true, |g| g.label = format!("d{n}").parse().unwrap()))
        .collect();
    owners.iter().for_each(|o| host.trust(o));
    let keeper = host.keeper();
    for owner in &owners {
        keeper.admit(&owner.petition(&host.root(), 1)).unwrap();
    }
    let before = keeper.reads();
    for nonce in 2..6 {
        keeper
            .admit(&owners[0].petition(&host.root(), nonce))
            .unwrap();
    }
    // The one that asked has changed each time; nobody else has.
    assert!(
        keeper.reads() - before <= 5,
        "{} reads",
        keeper.reads() - before
    );
    // Another process of this host changes one: it is read again, and counts as it is now.
    let other = host.keeper();
    other
        .amend(
            &owners[5].genesis.domain_id(),
            Amendment::Shrink { bytes: 1 },
            "",
        )
        .unwrap();
    host.set_policy(&[("\"256 GiB\"", "\"60 GiB\"")]);
    let petition = owners[0].petition_for(&host.root(), 9, 64 << 30, 9, 1);
    let lease = read(&keeper.admit(&petition).unwrap()).lease.unwrap();
    // 6 others hold 10 GiB each, but for the one that was shrunk.
    assert_eq!(lease.storage_bytes, (10 << 30) - 1);
}

// What is told afterwards.

#[test]
fn every_decision_and_every_act_has_its_line_with_who_what_when_and_why() {
    let world = World::new(AcceptedLimited);
    world.act(Act::Suspend).unwrap();
    world.ask(2);
    world.act(Act::Resume).unwrap();
    world
        .amend(Amendment::Renew {
            seconds: 60 * DAY_S,
        })
        .unwrap();
    world.host.clock.advance(Duration::from_secs(61 * DAY_S));
    world.keeper.lapse().unwrap();
    let stranger = Owner::with(9, true, |g| g.label = "eve".parse().unwrap());
    world
        .keeper
        .admit(&stranger.petition(&world.host.root(), 1))
        .unwrap();
    let told = history(&world.host);
    assert_eq!(told.broken, []);
    let events: Vec<_> = told
        .lines
        .iter()
        .map(|l| l["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        [
            "admission",
            "suspend",
            "admission",
            "resume",
            "lease-renew",
            "lapse",
            "admission"
        ]
    );
    for line in &told.lines {
        assert!(line["time"].as_str().unwrap().starts_with("202"), "{line}");
        assert!(line["domain"].as_str().unwrap().contains('~'), "{line}");
        assert!(!line["by"].as_str().unwrap().is_empty(), "{line}");
        assert!(!line["why"].as_str().unwrap().is_empty(), "{line}");
    }
    let (first, last) = (&told.lines[0], &told.lines[6]);
    assert_eq!(
        (&first["rule"], &first["outcome"]),
        (&"known_roots".into(), &"ACCEPTED_LIMITED".into())
    );
    assert_eq!(first["asked"]["bytes"], 10u64 << 30);
    assert_eq!(last["rule"], "unknown_roots");
    // The same request again is no new decision, and explaining is none.
    world
        .keeper
        .admit(&stranger.petition(&world.host.root(), 1))
        .unwrap();
    let lines = history(&world.host).lines.len();
    world
        .keeper
        .explain(&stranger.petition(&world.host.root(), 2))
        .unwrap();
    assert_eq!(history(&world.host).lines.len(), lines);
}

#[test]
fn a_line_that_was_changed_cut_or_taken_out_shows() {
    let world = World::new(AcceptedLimited);
    for _ in 0..2 {
        world.act(Act::Suspend).unwrap();
        world.act(Act::Resume).unwrap();
    }
    let path = world.host.root().layout().audit().join("audit.log");
    let good = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    assert_eq!(lines.len(), 5);
    let changed = good.replacen("a test", "a jest", 1);
    let without = [&lines[..2], &lines[3..]].concat().join("\n") + "\n";
    let half = lines[..2].join("\n") + "\n" + &lines[2][..40];
    for (name, text, left) in [
        ("changed", changed, 5),
        ("taken out", without, 4),
        ("half", half, 2),
    ] {
        std::fs::write(&path, text).unwrap();
        let told = history(&world.host);
        assert_eq!(
            (told.lines.len(), told.broken.len()),
            (left, 1),
            "{name}: {:?}",
            told.broken
        );
        // What comes after is told all the same, and follows what is there.
        let held = world.host.domain(&world.owner).is_held();
        world
            .act(if held { Act::Resume } else { Act::Suspend })
            .unwrap();
        let told = history(&world.host);
        assert_eq!(
            (told.lines.len(), told.broken.len()),
            (left + 1, 1),
            "{name}"
        );
    }
}

#[test]
fn the_audit_log_stays_within_its_bound_and_strangers_cannot_push_the_rest_out() {
    let world = World::new(AcceptedLimited);
    let dir = world.host.root().layout().audit();
    let audit = Audit::of_size(dir.clone(), 64 << 10);
    let long = serde_json::json!({ "why": "x".repeat(7000) });
    for _ in 0..80 {
        audit
            .note(&world.host.context, "filling", long.clone())
            .unwrap();
    }
    let bytes: usize = files(&dir).values().map(Vec::len).sum();
    assert!((256 << 10..5 * (72 << 10)).contains(&bytes), "{bytes}");
    let told = history(&world.host);
    assert_eq!(told.broken, []);
    // Too long a line is told as that, not cut in two.
    audit
        .note(
            &world.host.context,
            "long",
            serde_json::json!({ "why": "x".repeat(9000) }),
        )
        .unwrap();
    assert!(history(&world.host).lines.last().unwrap()["why"]
        .as_str()
        .unwrap()
        .contains("too long"));

    let host = Host::new(3);
    host.set_policy(&[("total = 1000", "total = 3")]);
    let keeper = host.keeper();
    for nonce in 0..9 {
        keeper
            .admit(&world.owner.petition(&host.root(), nonce))
            .unwrap();
    }
    assert_eq!(history(&host).lines.len(), 3);
    host.clock.advance(Duration::from_secs(DAY_S));
    keeper
        .admit(&world.owner.petition(&host.root(), 99))
        .unwrap();
    assert_eq!(history(&host).lines.last().unwrap()["unwritten_before"], 6);
}
