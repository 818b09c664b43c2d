//! Two hosts lend to one domain: each one's newest decision counts for itself, and what both bound
//! is bounded by the stricter.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::{AdmissionResult, Decision};
use asl_core::{Kind, Timestamp};
use asl_host::admission::Petition;
use asl_host::capability::Place;
use asl_host::keystick::Signed;
use asl_host::LeaseScope;
use asl_store::{Mode, ReadBack};
use common::*;
use std::time::Duration;

const DAY_S: u64 = 86_400;

/// A home with a domain, and two hosts that its owner knows.
struct Three {
    home: Host,
    first: Host,
    second: Host,
    owner: Owner,
}

impl Three {
    fn new() -> Three {
        let all = Three {
            home: Host::new(1),
            first: Host::new(2),
            second: Host::new(3),
            owner: Owner::new(7),
        };
        all.owner.create_on(&all.home, Place::Home).unwrap();
        all.first.trust(&all.owner);
        all.second.trust(&all.owner);
        all
    }

    /// Asks a host now, by the home's clock; gives its answer, not yet taken up.
    fn answer(&self, host: &Host, bytes: u64, seconds: u64, snapshots: u32) -> (Petition, Signed) {
        use asl_host::root::Context;
        let Context { clock, entropy } = &self.home.context;
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce).unwrap();
        let petition = self
            .owner
            .petition_under(&self.owner.dam, &host.root(), |r| {
                (r.nonce, r.time) = (nonce, Timestamp::claimed(clock.wall_ns()));
                (r.storage_bytes, r.seconds, r.snapshots) = (bytes, seconds, snapshots);
            });
        let decision = host.keeper().admit(&petition).unwrap();
        (petition, decision)
    }

    fn take(
        &self,
        host: &Host,
        (petition, decision): &(Petition, Signed),
    ) -> asl_core::Result<Decision> {
        apply(&self.home, &self.owner, host, petition, decision)
    }

    fn ask(&self, host: &Host, bytes: u64, seconds: u64, snapshots: u32) {
        let answer = self.answer(host, bytes, seconds, snapshots);
        self.take(host, &answer).unwrap();
    }

    /// Every clock goes on.
    fn pass(&self, seconds: u64) {
        for host in [&self.home, &self.first, &self.second] {
            host.clock.advance(Duration::from_secs(seconds));
        }
    }

    fn lent_by(&self, host: &Host) -> Option<u64> {
        let domain = self.home.domain(&self.owner);
        let lease = domain.leases().of(&host.root().id());
        lease.map(|l| l.terms.storage_bytes)
    }

    /// Puts one piece under every lease, in a handle of its own.
    fn seal(&self, seed: u64, length: usize) -> asl_core::Result<asl_host::Put> {
        let handle = self.home.open_to_seal(&self.owner, LeaseScope::Both)?;
        handle.begin_root()?;
        let put = put(&handle, seed, length)?;
        handle.finish_root(b"the root").map(|_| put)
    }
}

#[test]
fn the_second_hosts_larger_lease_does_not_lift_the_firsts_cap_whichever_came_first() {
    for turned in [false, true] {
        let all = Three::new();
        let lend = |host: &Host| {
            let bytes = if std::ptr::eq(host, &all.first) {
                200_000
            } else {
                1 << 30
            };
            all.ask(host, bytes, DAY_S, 8);
        };
        let (one, other) = if turned {
            (&all.second, &all.first)
        } else {
            (&all.first, &all.second)
        };
        lend(one);
        lend(other);
        assert_eq!(all.lent_by(&all.first), Some(200_000));
        assert_eq!(all.lent_by(&all.second), Some(1 << 30));
        let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
        assert!(handle.lease_left().unwrap() <= 200_000);
        let e = put(&handle, 1, 300_000).unwrap_err();
        assert_eq!(e.kind(), Kind::Refused);
        assert!(e.why().contains("lease of 200000 bytes"), "{e}");
        drop(handle);
        // Where no lease counts, neither does.
        let free = all
            .home
            .open_to_seal(&all.owner, LeaseScope::Remote)
            .unwrap();
        assert_eq!(free.lease_left(), None);
        put(&free, 1, 300_000).unwrap();
        drop(free);
        // The first host's own larger one does lift it.
        all.pass(1);
        all.ask(&all.first, 1 << 29, DAY_S, 8);
        all.seal(2, 300_000).unwrap();
        assert_eq!(all.lent_by(&all.second), Some(1 << 30));
    }
}

#[test]
fn each_bound_is_the_stricter_hosts() {
    let all = Three::new();
    all.ask(&all.first, 1 << 30, DAY_S, 1);
    all.ask(&all.second, 400_000, DAY_S, 9);
    let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
    seal_something(&handle, 1);
    handle.snapshot(None, ReadBack::Skipped, 0).unwrap();
    let e = handle.snapshot(None, ReadBack::Skipped, 0).unwrap_err();
    assert!(e.why().contains("allows 1 snapshots"), "{e}");
    let e = put(&handle, 2, 500_000).unwrap_err();
    assert!(e.why().contains("lease of 400000 bytes"), "{e}");
}

#[test]
fn a_lease_that_arrives_while_sealing_takes_no_other_hosts_place() {
    let all = Three::new();
    all.ask(&all.first, 200_000, DAY_S, 8);
    let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
    all.ask(&all.second, 1 << 30, DAY_S, 8);
    let domain = all.home.domain(&all.owner);
    let larger = domain.leases().of(&all.second.root().id()).unwrap();
    handle.attach_lease(larger.clone());
    assert_eq!(kind_of(put(&handle, 1, 300_000)), Kind::Refused);
}

#[test]
fn an_older_decision_of_the_same_host_never_replaces_a_newer_one() {
    let all = Three::new();
    let old = all.answer(&all.first, 1 << 30, 7 * DAY_S, 8);
    all.pass(3600);
    all.ask(&all.first, 200_000, DAY_S, 8);
    let before = files(&all.home.path());
    let e = all.take(&all.first, &old).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.why().contains("decided anew since"), "{e}");
    assert!(e.what_next().contains("lease show"), "{e:?}");
    assert_eq!(files(&all.home.path()), before);
    assert_eq!(kind_of(all.seal(1, 300_000)), Kind::Refused);
    // Nor once the newer one has ended, nor under another clock.
    all.pass(2 * DAY_S);
    assert_eq!(kind_of(all.seal(1, 300_000)), Kind::Refused);
    assert_eq!(kind_of(all.take(&all.first, &old)), Kind::Refused);
    all.home.clock.set_wall_ns(YEAR_2106);
    assert_eq!(kind_of(all.take(&all.first, &old)), Kind::Refused);
    // The other host's old word is as good as ever.
    all.home.clock.set_wall_ns(NOW);
    all.ask(&all.second, 1 << 30, 7 * DAY_S, 8);
    all.seal(1, 300_000).unwrap();
}

#[test]
fn a_request_that_was_answered_late_is_the_newer_decision() {
    let all = Three::new();
    let petition = all
        .owner
        .petition_under(&all.owner.dam, &all.first.root(), |r| {
            (r.nonce, r.time) = ([77; 16], Timestamp::claimed(NOW));
            r.storage_bytes = 1 << 29;
        });
    all.pass(3600);
    all.ask(&all.first, 200_000, DAY_S, 8);
    // Asked for first, decided last: the host's word in force.
    all.pass(3600);
    let decision = all.first.keeper().admit(&petition).unwrap();
    all.take(&all.first, &(petition, decision)).unwrap();
    assert_eq!(all.lent_by(&all.first), Some(1 << 29));
}

#[test]
fn clocks_that_were_in_2106_everywhere_shut_no_later_decision_out() {
    let all = Three::new();
    for host in [&all.home, &all.first] {
        host.clock.set_wall_ns(YEAR_2106);
    }
    all.ask(&all.first, 200_000, DAY_S, 8);
    for host in [&all.home, &all.first] {
        host.clock.set_wall_ns(NOW);
    }
    all.ask(&all.first, 1 << 29, DAY_S, 8);
    assert_eq!(all.lent_by(&all.first), Some(1 << 29));
}

#[test]
fn a_lease_that_has_ended_neither_caps_nor_stops_what_another_host_lends() {
    let all = Three::new();
    all.ask(&all.first, 200_000, DAY_S, 8);
    all.ask(&all.second, 1 << 30, 7 * DAY_S, 8);
    assert_eq!(kind_of(all.seal(1, 300_000)), Kind::Refused);
    all.pass(2 * DAY_S);
    all.seal(1, 300_000).unwrap();
    // After a reboot with any clock the first is still over, and the second still runs.
    for (n, wall) in [0, NOW, YEAR_2106].into_iter().enumerate() {
        all.home.clock.reboot();
        all.home.clock.set_wall_ns(wall);
        let seal = asl_host::Credentials::Seal(all.owner.credential());
        let boot = [50 + n as u8; 16];
        let handle = all
            .home
            .open(&all.owner, Mode::Write, seal, LeaseScope::Both, boot)
            .unwrap();
        put(&handle, 10 + n as u64, 300_000).unwrap();
    }
    // When the last has ended nothing more goes in.
    all.home.clock.reboot();
    all.home.clock.advance(Duration::from_secs(8 * DAY_S));
    let e = all.seal(2, 100).unwrap_err();
    assert!(e.why().contains("its lease has expired"), "{e}");
}

#[test]
fn a_host_that_takes_the_domain_in_full_lifts_its_own_bound_alone() {
    let all = Three::new();
    all.ask(&all.first, 200_000, DAY_S, 8);
    all.ask(&all.second, 400_000, DAY_S, 8);
    all.pass(3600);
    let petition = all
        .owner
        .petition_under(&all.owner.dam, &all.first.root(), |r| {
            (r.nonce, r.time) = ([77; 16], Timestamp::claimed(NOW + DAY / 24));
        });
    let full = Some(AdmissionResult::Accepted);
    let decision = all.first.keeper().decide(&petition, full).unwrap();
    assert!(all.first.domain(&all.owner).leases().is_empty());
    all.take(&all.first, &(petition, decision)).unwrap();
    assert_eq!(all.lent_by(&all.first), None);
    all.seal(1, 300_000).unwrap();
    let e = all.seal(2, 300_000).unwrap_err();
    assert!(e.why().contains("lease of 400000 bytes"), "{e}");
}

#[test]
fn the_files_of_the_leases_name_every_host_that_lends() {
    let all = Three::new();
    all.ask(&all.first, 200_000, DAY_S, 8);
    all.ask(&all.second, 400_000, DAY_S, 8);
    let leases = all.home.domain(&all.owner).dir().join("leases");
    let active = std::fs::read_to_string(leases.join("active")).unwrap();
    let mut named: Vec<&str> = active.lines().collect();
    named.sort_unstable();
    assert_eq!(named, ["lease-001.json", "lease-002.json"]);
    for (name, host) in named.iter().zip([&all.first, &all.second]) {
        let text = std::fs::read_to_string(leases.join(name)).unwrap();
        assert!(text.contains(&host.root().id().to_string()), "{text}");
    }
}
