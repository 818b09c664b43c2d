//! A request and what becomes of it: decided later, repeated, replayed, bounded.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::AdmissionResult::{self, Accepted, AcceptedLimited, Deferred, Rejected};
use asl_auth::{Decision, DomainState};
use asl_core::{Kind, Timestamp};
use asl_host::admission::{recorded, rejected, strangers, Petition};
use asl_host::capability::Place;
use asl_host::keystick::Signed;
use asl_host::LeaseScope;
use common::*;
use std::time::Duration;

fn outcome(signed: &Signed) -> AdmissionResult {
    Decision::decode(&signed.bytes).unwrap().outcome
}

fn reason(signed: &Signed) -> String {
    Decision::decode(&signed.bytes).unwrap().reason
}

/// A keeper who looks at every stranger himself.
fn careful() -> Host {
    let host = Host::new(2);
    host.set_policy(&[("\"REJECTED\"", "\"DEFERRED\"")]);
    host
}

/// A home whose request waits at a careful keeper's.
fn waiting() -> (Host, Host, Owner, Petition, Signed) {
    let (home, keeper, owner) = (Host::new(1), careful(), Owner::new(7));
    owner.create_on(&home, Place::Home).unwrap();
    let petition = owner.petition(&keeper.root(), 1);
    let later = keeper.keeper().admit(&petition).unwrap();
    assert_eq!(outcome(&later), Deferred);
    apply(&home, &owner, &keeper, &petition, &later).unwrap();
    (home, keeper, owner, petition, later)
}

#[test]
fn a_deferred_request_is_decided_later_and_both_sides_hold_both_decisions() {
    for (ruling, state, leased) in [
        (AcceptedLimited, DomainState::Courtesy, true),
        (Accepted, DomainState::Full, false),
        (Rejected, DomainState::Unrecognized, false),
    ] {
        let (home, keeper, owner, petition, later) = waiting();
        let first = files(&keeper.domain(&owner).dir().join("admission"));
        // Sent again it waits on, and nothing is written for it.
        assert_eq!(keeper.keeper().admit(&petition).unwrap(), later);
        assert_eq!(keeper.keeper().decide(&petition, None).unwrap(), later);
        assert_eq!(files(&keeper.domain(&owner).dir().join("admission")), first);

        let id = owner.genesis.domain_id();
        let (waited, decided) = keeper.keeper().decide_waiting(&id, Some(ruling)).unwrap();
        assert_eq!((waited, outcome(&decided)), (petition.clone(), ruling));
        assert!(reason(&decided).contains("the keeper of this host decided so"));
        // The same request, sent again, has the later decision.
        assert_eq!(keeper.keeper().admit(&petition).unwrap(), decided);
        let domain = keeper.domain(&owner);
        assert_eq!(domain.state(), state);
        assert_eq!(!domain.leases().is_empty(), leased);
        let all = recorded(&domain).unwrap();
        let outcomes: Vec<_> = all.iter().map(|r| r.decision.outcome).collect();
        assert_eq!(outcomes, [Deferred, ruling]);
        let now = files(&domain.dir().join("admission"));
        assert!(first
            .iter()
            .all(|(name, bytes)| now.get(name) == Some(bytes)));
        let evidence = rejected(&keeper.root()).unwrap();
        assert_eq!(evidence.len(), usize::from(ruling == Rejected));

        let taken = apply(&home, &owner, &keeper, &petition, &decided).unwrap();
        assert_eq!(taken.outcome, ruling);
        let at_home = home.domain(&owner);
        assert_eq!(at_home.admissions(), 2);
        assert_eq!(at_home.state(), DomainState::Unrecognized);
        assert_eq!(!at_home.leases().is_empty(), leased);
        // The old decision, replayed, takes nothing back.
        let replayed = apply(&home, &owner, &keeper, &petition, &later).unwrap();
        assert_eq!(replayed.outcome, ruling);
        assert_eq!(home.domain(&owner).admissions(), 2);
        // Whatever came of it, sealing at home goes on.
        seal_something(&home.open_to_seal(&owner, LeaseScope::Both).unwrap(), 1);
    }
}

#[test]
fn what_waits_is_decided_by_policy_once_its_root_is_trusted() {
    let (_, keeper, owner, petition, _) = waiting();
    keeper.trust(&owner);
    // Not by itself: a decision that was handed out stands until the keeper decides again.
    assert_eq!(
        outcome(&keeper.keeper().admit(&petition).unwrap()),
        Deferred
    );
    let decided = keeper.keeper().decide(&petition, None).unwrap();
    assert_eq!(outcome(&decided), AcceptedLimited);
}

#[test]
fn a_ruling_that_cannot_be_given_is_refused_and_nothing_is_recorded() {
    let (home, keeper, owner, petition, _) = waiting();
    let id = owner.genesis.domain_id();
    keeper.set_policy(&[("labels = [\"*\"]", "labels = [\"bob\"]")]);
    let before = files(&keeper.path());
    let e = keeper
        .keeper()
        .decide_waiting(&id, Some(AcceptedLimited))
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.why().contains("label"), "{e}");
    assert_eq!(files(&keeper.path()), before);
    // Nor is a decision that stands replaced by another.
    keeper.set_policy(&[]);
    keeper.trust(&owner);
    keeper.keeper().decide(&petition, None).unwrap();
    let e = keeper
        .keeper()
        .decide(&petition, Some(Rejected))
        .unwrap_err();
    assert!(e.why().contains("decided already: ACCEPTED_LIMITED"), "{e}");
    assert_eq!(
        kind_of(keeper.keeper().decide_waiting(&id, None)),
        Kind::NotFound
    );
    assert_eq!(
        kind_of(home.keeper().decide_waiting(&id, None)),
        Kind::NotFound
    );
}

#[test]
fn a_rejection_may_be_followed_by_a_grant_of_the_same_request_and_never_the_other_way() {
    let (home, keeper, owner) = (Host::new(1), Host::new(2), Owner::new(7));
    owner.create_on(&home, Place::Home).unwrap();
    let petition = owner.petition(&keeper.root(), 1);
    let no = keeper.keeper().admit(&petition).unwrap();
    assert_eq!(outcome(&no), Rejected);
    apply(&home, &owner, &keeper, &petition, &no).unwrap();
    keeper.trust(&owner);
    let yes = keeper.keeper().admit(&petition).unwrap();
    assert_eq!(outcome(&yes), AcceptedLimited);
    let taken = apply(&home, &owner, &keeper, &petition, &yes).unwrap();
    assert_eq!(taken.outcome, AcceptedLimited);
    let taken = apply(&home, &owner, &keeper, &petition, &no).unwrap();
    assert_eq!(taken.outcome, AcceptedLimited);
    assert!(!home.domain(&owner).leases().is_empty());
}

#[test]
fn a_decision_asked_under_another_dam_or_for_another_domain_cannot_break_the_records() {
    let (home, keeper, owner) = (Host::new(1), Host::new(2), Owner::new(7));
    owner.create_on(&home, Place::Home).unwrap();
    keeper.trust(&owner);
    let old = owner.petition(&keeper.root(), 1);
    let on_old = keeper.keeper().admit(&old).unwrap();
    let next = owner.next_dam(|d| d.time = Timestamp::claimed(NOW + 1));
    let new = owner.petition_under(&next, &keeper.root(), |r| r.nonce = [2; 16]);
    let on_new = keeper.keeper().admit(&new).unwrap();
    apply(&home, &owner, &keeper, &new, &on_new).unwrap();
    // The letter that was under way all the time.
    let e = apply(&home, &owner, &keeper, &old, &on_old).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.why().contains("older than number 2"), "{e}");
    assert!(e.what_next().contains("ask again"), "{e:?}");
    assert_eq!(home.domain(&owner).dam().unwrap().dam().sequence, 2);

    let bob = Owner::with(8, true, |g| g.label = "bob".parse().unwrap());
    keeper.trust(&bob);
    let petition = bob.petition(&keeper.root(), 1);
    let decision = keeper.keeper().admit(&petition).unwrap();
    let e = apply(&home, &owner, &keeper, &petition, &decision).unwrap_err();
    assert!(e.why().contains("another domain"), "{e}");
    assert_eq!(home.domain(&owner).recorded().len(), 1);
}

#[test]
fn a_request_under_an_older_dam_that_waited_too_long_is_rejected_and_wedges_nothing() {
    let (_, keeper, owner, old, _) = waiting();
    let next = owner.next_dam(|d| d.time = Timestamp::claimed(NOW + 1));
    let new = owner.petition_under(&next, &keeper.root(), |r| r.nonce = [2; 16]);
    keeper.keeper().admit(&new).unwrap();
    let decided = keeper.keeper().decide(&old, None).unwrap();
    assert_eq!(outcome(&decided), Rejected);
    assert!(reason(&decided).contains("older"), "{}", reason(&decided));
    assert_eq!(keeper.domain(&owner).dam().unwrap().dam().sequence, 2);
    keeper
        .keeper()
        .decide_waiting(&owner.genesis.domain_id(), Some(Accepted))
        .unwrap();
    assert_eq!(keeper.domain(&owner).state(), DomainState::Full);
}

// What strangers and damage can cost.

#[test]
fn strangers_make_no_more_domains_than_the_keeper_allows() {
    for policy in ["\"DEFERRED\"", "\"ACCEPTED_LIMITED\""] {
        let host = Host::new(2);
        host.set_policy(&[
            ("\"REJECTED\"", policy),
            ("strangers = 64", "strangers = 3"),
        ]);
        let owners: Vec<Owner> = (10..15).map(Owner::new).collect();
        let ask = |owner: &Owner| {
            let petition = owner.petition_for(&host.root(), 1, 1, 1, 1);
            host.keeper().admit(&petition).unwrap()
        };
        for owner in &owners[..3] {
            assert_ne!(outcome(&ask(owner)), Rejected);
        }
        assert_eq!(strangers(&host.root()).unwrap(), (3, 3));
        let no = ask(&owners[3]);
        assert_eq!(outcome(&no), Rejected);
        assert!(reason(&no).contains("keeps 3 domains"), "{}", reason(&no));
        assert_eq!(host.root().domains().unwrap().len(), 3);
        // Time alone makes no room, else they would come again and again.
        host.clock.advance(Duration::from_secs(1000 * 86_400));
        assert_eq!(outcome(&ask(&owners[3])), Rejected);
        // Those who are here may ask again, a known root always, and the keeper can let one in.
        let again = owners[0].petition(&host.root(), 9);
        assert_ne!(outcome(&host.keeper().admit(&again).unwrap()), Rejected);
        host.trust(&owners[4]);
        assert_eq!(outcome(&ask(&owners[4])), AcceptedLimited);
        let petition = owners[3].petition(&host.root(), 5);
        let let_in = host
            .keeper()
            .decide(&petition, Some(AcceptedLimited))
            .unwrap();
        assert_eq!(outcome(&let_in), AcceptedLimited);
        assert_eq!(strangers(&host.root()).unwrap(), (4, 3));
    }
}

#[test]
fn a_stranger_whom_the_keeper_rejects_makes_room_for_another() {
    let (_, keeper, owner, _, _) = waiting();
    assert_eq!(strangers(&keeper.root()).unwrap(), (1, 64));
    let id = owner.genesis.domain_id();
    keeper.keeper().decide_waiting(&id, Some(Rejected)).unwrap();
    assert_eq!(strangers(&keeper.root()).unwrap(), (0, 64));
}

#[test]
fn a_damaged_domain_stops_its_own_admission_and_nobody_elses() {
    let (host, alice) = (Host::new(2), Owner::new(7));
    let bob = Owner::with(8, true, |g| g.label = "bob".parse().unwrap());
    for owner in [&alice, &bob] {
        host.trust(owner);
    }
    // All the room there is was promised to the domain that is then damaged.
    host.set_policy(&[("\"64 GiB\"", "\"10 GiB\""), ("\"256 GiB\"", "\"10 GiB\"")]);
    host.keeper()
        .admit(&alice.petition(&host.root(), 1))
        .unwrap();
    let dir = host.domain(&alice).dir().to_path_buf();
    let spoil: [fn(&std::path::Path); 3] = [
        |dir| std::fs::write(dir.join("log/host.log"), [0x55; 400]).unwrap(),
        |dir| std::fs::remove_file(dir.join("log/host.log")).unwrap(),
        |dir| {
            std::fs::remove_file(dir.join("admission/dam.cbor")).unwrap();
            std::fs::write(dir.join("admission/dam.cbor"), b"not a DAM").unwrap();
        },
    ];
    // A root that is trusted is no stranger's, as long as the DAM that names it can be read.
    for ((nonce, spoil), count) in (1..).zip(spoil).zip([0, 0, 1]) {
        spoil(&dir);
        assert!(host
            .keeper()
            .admit(&alice.petition(&host.root(), 77))
            .is_err());
        let decision = host
            .keeper()
            .admit(&bob.petition_for(&host.root(), nonce, 1 << 20, 9, 1));
        let decision = decision.unwrap();
        assert_eq!(outcome(&decision), AcceptedLimited, "{}", reason(&decision));
        assert_eq!(strangers(&host.root()).unwrap().0, count);
    }
    // What it holds still lies here, and is counted.
    std::fs::write(dir.join("store/held"), vec![0; 5 << 20]).unwrap();
    host.set_policy(&[("\"64 GiB\"", "\"6 MiB\""), ("\"256 GiB\"", "\"6 MiB\"")]);
    let decision = host
        .keeper()
        .admit(&bob.petition_for(&host.root(), 9, 1 << 30, 9, 1));
    let lease = Decision::decode(&decision.unwrap().bytes)
        .unwrap()
        .lease
        .unwrap();
    assert!(lease.storage_bytes < 1 << 20, "{}", lease.storage_bytes);
}

#[test]
fn the_end_of_a_lease_suspends_the_domain_where_it_was_granted_for_good() {
    let all = admitted(1 << 30, 86_400, 3);
    let keeper = &all.keeper;
    let at = |days: i64| keeper.clock.set_wall_ns(NOW + days * DAY);
    assert_eq!(keeper.keeper().lapse().unwrap(), []);
    at(2);
    let domain = keeper.domain(&all.owner);
    let host = keeper.root().id();
    assert_eq!(domain.state(), DomainState::Courtesy);
    assert_eq!(domain.state_at(host, NOW + 2 * DAY), DomainState::Suspended);
    let id = all.owner.genesis.domain_id();
    assert_eq!(keeper.keeper().lapse().unwrap(), [id]);
    assert_eq!(keeper.keeper().lapse().unwrap(), []);
    // A clock set back brings nothing back, an appeal does.
    at(0);
    assert_eq!(keeper.domain(&all.owner).state(), DomainState::Suspended);
    let again = all.owner.petition(&keeper.root(), 2);
    assert_eq!(
        outcome(&keeper.keeper().admit(&again).unwrap()),
        AcceptedLimited
    );
    assert_eq!(keeper.domain(&all.owner).state(), DomainState::Courtesy);
}

/// The granting host judges by its own clock: whatever that claims, nothing that has ended comes
/// back by itself, and nobody is locked out for good.
#[test]
fn a_granting_hosts_clock_revives_nothing_and_locks_nobody_out() {
    use DomainState::{Courtesy, Suspended};
    let all = admitted(1 << 30, 7 * 86_400, 3);
    let kept = tempfile::tempdir().unwrap();
    copy(&all.keeper.path(), &kept.path().join("kept"));
    let day = |n: i64| NOW + n * DAY;
    // What the clock says at one look after the other, and the state after the last.
    for (clocks, state) in [
        (vec![day(0)], Courtesy),
        (vec![0], Courtesy),
        (vec![i64::MIN], Courtesy),
        (vec![day(0) - DAY / 24], Courtesy),
        (vec![day(7)], Courtesy),
        (vec![day(7) + 1], Suspended),
        (vec![day(8), day(0)], Suspended),
        (vec![day(8), 0], Suspended),
        (vec![YEAR_2106], Suspended),
        (vec![YEAR_2106, day(1)], Suspended),
        (vec![i64::MAX, i64::MIN], Suspended),
    ] {
        std::fs::remove_dir_all(all.keeper.path()).unwrap();
        copy(&kept.path().join("kept"), &all.keeper.path());
        for clock in &clocks {
            all.keeper.clock.set_wall_ns(*clock);
            all.keeper.keeper().lapse().unwrap();
        }
        assert_eq!(all.keeper.domain(&all.owner).state(), state, "{clocks:?}");
        // With the clock put right, asking again is enough.
        all.keeper.clock.set_wall_ns(day(1));
        let again = all.owner.petition(&all.keeper.root(), 2);
        let decision = all.keeper.keeper().admit(&again).unwrap();
        assert_eq!(outcome(&decision), AcceptedLimited, "{clocks:?}");
        assert_eq!(all.keeper.domain(&all.owner).state(), Courtesy);
    }
}
