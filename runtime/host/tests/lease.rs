//! A lease cannot be stretched, nor its holder locked out by a bad clock (reliability.md, P10).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_core::Kind;
use asl_host::{Credentials, LeaseScope, StoreHandle};
use asl_store::{Mode, ReadBack};
use common::*;
use std::time::Duration;

const DAY_S: u64 = 86_400;

/// Puts pieces until the lease refuses; gives the refusal.
fn fill(handle: &StoreHandle, length: usize) -> asl_core::Error {
    for seed in 0..1_000_000 {
        if let Err(e) = put(handle, seed, length) {
            return e;
        }
        handle.commit_due().unwrap();
    }
    panic!("the lease never ended");
}

fn stored(all: &Admitted) -> u64 {
    let handle = all.home.open(
        &all.owner,
        Mode::Read,
        Credentials::None,
        LeaseScope::Remote,
        BOOT,
    );
    handle.unwrap().head().stored_bytes
}

/// Bytes that really lie in the store.
fn on_disk(all: &Admitted) -> u64 {
    let files = files(all.home.domain(&all.owner).dir());
    let counted = |p: &std::path::Path| {
        [
            "store/blocks",
            "index/segments",
            "log/append.log",
            "snapshots",
        ]
        .iter()
        .any(|dir| p.starts_with(dir))
    };
    files
        .iter()
        .filter(|(p, _)| counted(p))
        .map(|(_, b)| b.len() as u64)
        .sum()
}

#[test]
fn what_is_stored_never_exceeds_the_leases_bytes() {
    // Few large pieces, and so many small ones that their rows weigh more than they do.
    for (bytes, length) in [
        (600_000, 30_000),
        (200_000, 900),
        (150_000, 40),
        (120_000, 8),
    ] {
        let all = admitted(bytes, DAY_S, 8);
        let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
        handle.begin_root().unwrap();
        let e = fill(&handle, length);
        assert_eq!(e.kind(), Kind::Refused);
        assert!(e.why().contains(&format!("lease of {bytes} bytes")), "{e}");
        assert!(e.what_next().contains("larger lease"), "{e:?}");
        // What was taken in can be ended, snapshotted, and is what the lease promised at most.
        handle.finish_root(b"the root").unwrap();
        handle.snapshot(None, ReadBack::Skipped, 0).unwrap();
        drop(handle);
        assert!(
            stored(&all) <= bytes,
            "{} of {bytes}, pieces of {length}",
            stored(&all)
        );
        assert!(on_disk(&all) <= bytes, "{} of {bytes}", on_disk(&all));
        // Nor is the lease useless: most of it was given.
        assert!(
            stored(&all) > bytes / 2,
            "{} of {bytes}, pieces of {length}",
            stored(&all)
        );
    }
}

#[test]
fn a_full_lease_still_lets_what_is_known_pass_and_everything_be_read() {
    let all = admitted(200_000, DAY_S, 8);
    let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
    handle.begin_root().unwrap();
    fill(&handle, 10_000);
    handle.finish_root(b"the root").unwrap();
    drop(handle);
    let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
    assert_eq!(put(&handle, 0, 10_000).unwrap(), asl_host::Put::Known);
    assert_eq!(kind_of(put(&handle, 77_777, 10_000)), Kind::Refused);
    assert!(handle.lease_left().unwrap() < 60_000);
    drop(handle);
    let reader = all.home.open_to_read(&all.owner).unwrap();
    let bytes = random(0, 10_000);
    assert_eq!(
        reader.get_piece(&reader.chunk_id(&bytes).unwrap()).unwrap(),
        bytes
    );
}

#[test]
fn reopening_does_not_give_the_bytes_again() {
    let all = admitted(300_000, DAY_S, 8);
    for round in 0..6 {
        let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
        if handle.begin_root().is_err() {
            continue;
        }
        for n in 0..40 {
            if put(&handle, round * 1000 + n, 5_000).is_err() {
                break;
            }
        }
        // Half of them end without a commit, as by a crash.
        if round % 2 == 0 {
            handle.finish_root(&round.to_le_bytes()).unwrap();
        }
    }
    assert!(stored(&all) <= 300_000, "{}", stored(&all));
}

#[test]
fn a_lease_that_counts_only_at_its_host_caps_nothing_here() {
    let all = admitted(1000, 1, 1);
    all.home.clock.advance(Duration::from_secs(10 * DAY_S));
    let handle = all
        .home
        .open_to_seal(&all.owner, LeaseScope::Remote)
        .unwrap();
    assert_eq!(handle.lease_left(), None);
    for n in 0..3 {
        seal_something(&handle, n);
        handle.snapshot(None, ReadBack::Skipped, 0).unwrap();
    }
}

#[test]
fn the_number_of_snapshots_is_the_leases() {
    let all = admitted(1 << 30, DAY_S, 2);
    let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
    seal_something(&handle, 1);
    handle.snapshot(None, ReadBack::Skipped, 0).unwrap();
    handle.snapshot(None, ReadBack::Skipped, 0).unwrap();
    let e = handle.snapshot(None, ReadBack::Skipped, 0).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.why().contains("2 snapshots"), "{e}");
    assert_eq!(handle.current().snapshots.len(), 2);
    drop(handle);
    let again = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
    assert_eq!(
        kind_of(again.snapshot(None, ReadBack::Skipped, 0)),
        Kind::Refused
    );
    // Sealing goes on.
    seal_something(&again, 2);
}

/// What a session at home finds: the wall's claim, the time since the decision came in, the boot.
struct Case {
    name: &'static str,
    wall: i64,
    passed: u64,
    another_boot: bool,
    may_seal: bool,
}

#[test]
fn only_evidence_ends_a_lease_and_no_clock_revives_or_kills_one() {
    const WEEK: u64 = 7 * DAY_S;
    let case = |name, wall, passed, another_boot, may_seal| Case {
        name,
        wall,
        passed,
        another_boot,
        may_seal,
    };
    let cases = [
        case("fresh", NOW, 0, false, true),
        case("1970", 0, 0, false, true),
        case("before 1970", -DAY, 0, false, true),
        case("the earliest clock", i64::MIN, 0, false, true),
        case("2106", YEAR_2106, 0, false, true),
        case("the latest clock", i64::MAX, 0, false, true),
        case("back an hour", NOW - DAY / 24, 3_600, false, true),
        case(
            "a day before the end",
            NOW + 6 * DAY,
            6 * DAY_S,
            false,
            true,
        ),
        case(
            "a second before the end",
            NOW + 7 * DAY,
            WEEK - 1,
            false,
            true,
        ),
        case(
            "a second after the end",
            NOW + 7 * DAY,
            WEEK + 1,
            false,
            false,
        ),
        case("after the end, wall in 1970", 0, WEEK + 1, false, false),
        case(
            "after the end, wall back a week",
            NOW,
            WEEK + 1,
            false,
            false,
        ),
        case(
            "after the end, wall in 2106",
            YEAR_2106,
            WEEK + 1,
            false,
            false,
        ),
        case(
            "long after the end",
            NOW + 700 * DAY,
            700 * DAY_S,
            false,
            false,
        ),
        case("another boot, no evidence", NOW + 6 * DAY, 0, true, true),
        case("another boot, wall in 1970", 0, 5, true, true),
        case("another boot, wall in 2106", YEAR_2106, 5, true, true),
        case(
            "another boot, wall past the end",
            NOW + 70 * DAY,
            5,
            true,
            true,
        ),
    ];
    let all = admitted(1 << 30, WEEK, 99);
    let home = tempfile::tempdir().unwrap();
    copy(&all.home.path(), &home.path().join("kept"));
    for (n, case) in cases.iter().enumerate() {
        // Each from the same disk: what a case records is not the next one's.
        std::fs::remove_dir_all(all.home.path()).unwrap();
        copy(&home.path().join("kept"), &all.home.path());
        all.home.clock.reboot();
        all.home.clock.advance(Duration::from_secs(case.passed));
        all.home.clock.set_wall_ns(case.wall);
        let boot = if case.another_boot { [9; 16] } else { BOOT };
        let handle = all
            .home
            .open(
                &all.owner,
                Mode::Write,
                Credentials::Seal(all.owner.credential()),
                LeaseScope::Both,
                boot,
            )
            .unwrap();
        let done = put(&handle, n as u64, 100);
        assert_eq!(done.is_ok(), case.may_seal, "{}: {done:?}", case.name);
        if let Err(e) = done {
            assert_eq!(e.kind(), Kind::Refused);
            assert!(e.why().contains("expired"), "{e}");
            assert!(e.what_next().contains("admission request"), "{e:?}");
            assert_eq!(kind_of(handle.begin_root()), Kind::Refused);
            assert_eq!(
                kind_of(handle.snapshot(None, ReadBack::Skipped, 0)),
                Kind::Refused
            );
        }
    }
}

#[test]
fn what_was_seen_to_end_stays_over_after_a_reboot_with_any_clock() {
    let all = admitted(1 << 30, 7 * DAY_S, 99);
    all.home.clock.advance(Duration::from_secs(8 * DAY_S));
    let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
    assert_eq!(kind_of(put(&handle, 1, 100)), Kind::Refused);
    drop(handle);
    for (n, wall) in [0, NOW, NOW + DAY, YEAR_2106, i64::MIN]
        .into_iter()
        .enumerate()
    {
        all.home.clock.reboot();
        all.home.clock.set_wall_ns(wall);
        let boot = [50 + n as u8; 16];
        let open = |boot| {
            let seal = Credentials::Seal(all.owner.credential());
            all.home
                .open(&all.owner, Mode::Write, seal, LeaseScope::Both, boot)
                .unwrap()
        };
        assert_eq!(kind_of(put(&open(boot), 1, 100)), Kind::Refused, "{wall}");
        // Applying the old decision again gives nothing back.
        all.apply().unwrap();
        assert_eq!(kind_of(put(&open(boot), 1, 100)), Kind::Refused, "{wall}");
    }
}

#[test]
fn a_new_lease_lifts_the_end_of_an_old_one_even_after_a_clock_that_was_in_2106() {
    // The granting host's clock was in 2106 for one decision, and is right for the next.
    let (home, keeper, owner) = (Host::new(1), Host::new(2), Owner::new(7));
    owner
        .create_on(&home, asl_host::capability::Place::Home)
        .unwrap();
    keeper.trust(&owner);
    keeper.clock.set_wall_ns(YEAR_2106);
    let ask = |nonce| {
        let petition = owner.petition_for(&keeper.root(), nonce, 1 << 30, DAY_S, 9);
        let decision = keeper.keeper().admit(&petition).unwrap();
        apply(&home, &owner, &keeper, &petition, &decision).unwrap();
    };
    ask(1);
    home.clock.advance(Duration::from_secs(2 * DAY_S));
    let seal = || {
        put(
            &home.open_to_seal(&owner, LeaseScope::Both).unwrap(),
            1,
            100,
        )
    };
    assert_eq!(kind_of(seal()), Kind::Refused);
    keeper.clock.set_wall_ns(NOW + 2 * DAY);
    ask(2);
    seal().unwrap();
    home.clock.advance(Duration::from_secs(2 * DAY_S));
    assert_eq!(kind_of(seal()), Kind::Refused);
}

#[test]
fn a_lease_that_arrives_while_sealing_counts_from_then_on() {
    let (home, keeper, owner) = (Host::new(1), Host::new(2), Owner::new(7));
    owner
        .create_on(&home, asl_host::capability::Place::Home)
        .unwrap();
    keeper.trust(&owner);
    let handle = home.open_to_seal(&owner, LeaseScope::Both).unwrap();
    put(&handle, 1, 50_000).unwrap();
    let petition = owner.petition_for(&keeper.root(), 1, 60_000, DAY_S, 9);
    let decision = keeper.keeper().admit(&petition).unwrap();
    let mut domain = home.domain(&owner);
    let (_, lease) = asl_host::admission::apply(
        &mut domain,
        &home.context,
        keeper.root().public_key(),
        &petition,
        &decision,
        BOOT,
    )
    .unwrap();
    handle.attach_lease(lease.unwrap());
    assert_eq!(kind_of(put(&handle, 2, 50_000)), Kind::Refused);
    // What came in before is not lost by it.
    handle.commit_due().unwrap();
}

#[test]
fn two_threads_under_one_lease_do_not_share_the_same_last_bytes() {
    let all = admitted(400_000, DAY_S, 8);
    let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
    handle.begin_root().unwrap();
    std::thread::scope(|s| {
        for t in 0..4u64 {
            let handle = &handle;
            s.spawn(move || (0..100).all(|n| put(handle, t * 1000 + n, 20_000).is_ok()));
        }
    });
    handle.finish_root(b"root").unwrap();
    assert!(
        handle.head().stored_bytes <= 400_000,
        "{}",
        handle.head().stored_bytes
    );
}

#[test]
fn a_root_begun_before_the_end_is_ended_after_it_and_nothing_new_is_begun() {
    let all = admitted(1 << 30, 7 * DAY_S, 9);
    let handle = all.home.open_to_seal(&all.owner, LeaseScope::Both).unwrap();
    handle.begin_root().unwrap();
    put(&handle, 1, 50_000).unwrap();
    all.home.clock.advance(Duration::from_secs(8 * DAY_S));
    // No more goes in, but what is in is named.
    let e = put(&handle, 2, 50_000).unwrap_err();
    assert!(
        e.why().contains("expired, which makes its state SUSPENDED"),
        "{e}"
    );
    handle.finish_root(b"the root").unwrap();
    assert_eq!(kind_of(handle.finish_root(b"another")), Kind::Refused);
    assert_eq!(kind_of(handle.begin_root()), Kind::Refused);
    assert_eq!(
        kind_of(handle.snapshot(None, ReadBack::Skipped, 0)),
        Kind::Refused
    );
    drop(handle);
    let reader = all.home.open_to_read(&all.owner).unwrap();
    assert_eq!(reader.current().roots.len(), 1);
    let piece = random(1, 50_000);
    let id = reader.chunk_id(&piece).unwrap();
    assert_eq!(reader.get_piece(&id).unwrap(), piece);
}

/// On the host that granted it a lease counts whatever the scope, by that host's own clock.
#[test]
fn at_the_host_that_granted_it_a_lease_ends_by_the_hosts_clock_and_suspends() {
    use asl_auth::DomainState;
    let (host, owner) = (Host::new(1), Owner::new(7));
    host.trust(&owner);
    owner
        .create_on(&host, asl_host::capability::Place::Home)
        .unwrap();
    let petition = owner.petition_for(&host.root(), 1, 400_000, DAY_S, 1);
    host.keeper().admit(&petition).unwrap();
    let handle = host.open_to_seal(&owner, LeaseScope::Remote).unwrap();
    seal_something(&handle, 1);
    assert_eq!(kind_of(put(&handle, 2, 1 << 20)), Kind::Refused);
    host.clock.set_wall_ns(NOW + 2 * DAY);
    let e = put(&handle, 3, 100).unwrap_err();
    assert!(e.why().contains("expired"), "{e}");
    drop(handle);
    assert_eq!(host.domain(&owner).state(), DomainState::Suspended);
    host.clock.set_wall_ns(NOW);
    let e = host.open_to_seal(&owner, LeaseScope::Remote).err().unwrap();
    assert!(e.why().contains("SUSPENDED"), "{e}");
    assert!(e.what_next().contains("admission request"), "{e:?}");
    host.open_to_read(&owner).unwrap();
}

#[test]
fn a_dam_that_has_expired_ends_sealing_only_where_the_time_is_evidenced() {
    let (home, keeper, mut owner) = (Host::new(1), Host::new(2), Owner::new(7));
    let mut dam = owner.decoded();
    dam.not_after = Some(asl_core::Timestamp::claimed(NOW + 3 * DAY));
    owner.dam = sign_dam(&dam, &owner.root);
    owner
        .create_on(&home, asl_host::capability::Place::Home)
        .unwrap();
    keeper.trust(&owner);
    let seal = || home.open_to_seal(&owner, LeaseScope::Remote).map(drop);
    // Whatever a clock that nobody vouches for says.
    for wall in [0, NOW + 4 * DAY, YEAR_2106] {
        home.clock.set_wall_ns(wall);
        seal().unwrap();
    }
    let petition = owner.petition_for(&keeper.root(), 1, 1 << 30, 7 * DAY_S, 9);
    let decision = keeper.keeper().admit(&petition).unwrap();
    apply(&home, &owner, &keeper, &petition, &decision).unwrap();
    home.clock.advance(Duration::from_secs(2 * DAY_S));
    seal().unwrap();
    // The host's signed time and what has passed since say that it is over.
    home.clock.advance(Duration::from_secs(2 * DAY_S));
    home.clock.set_wall_ns(0);
    let e = seal().unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert_eq!(e.to_string(), "cannot use DAM: it has expired");
    assert!(e.what_next().contains("sign a new DAM"), "{e:?}");
    home.open_to_read(&owner).unwrap();
    // The host judges by its own clock.
    keeper.clock.set_wall_ns(NOW + 4 * DAY);
    let late = keeper.keeper().admit(&owner.petition(&keeper.root(), 2));
    let late = asl_auth::Decision::decode(&late.unwrap().bytes).unwrap();
    assert_eq!(late.reason, "cannot use DAM: it has expired");
}
