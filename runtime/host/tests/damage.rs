//! Damaged records refuse writing, widen no right, and never lock an owner out of reading.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::DomainState;
use asl_core::{Kind, Timestamp};
use asl_host::capability::{grant, Grant, Place, Verb};
use asl_host::hostlog::HostRecord;
use asl_host::LeaseScope;
use common::*;
use std::path::PathBuf;

/// A domain at home with three roots, whose host says that it may write no more.
fn suspended() -> (Host, Owner, PathBuf) {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let mut domain = owner.create_on(&host, Place::Home).unwrap();
    seal_something(&host.open_to_seal(&owner, LeaseScope::Remote).unwrap(), 1);
    let states = [DomainState::Full, DomainState::Suspended];
    for state in states {
        let record = HostRecord::State {
            state,
            why: "the keeper".into(),
            time: Timestamp::claimed(NOW),
        };
        domain.record(&host.context, &[record]).unwrap();
    }
    let log = domain.dir().join("log/host.log");
    (host, owner, log)
}

/// The verbs that write.
const WRITES: [Verb; 5] = [
    Verb::AllocateBlock,
    Verb::AppendLog,
    Verb::SnapshotCreate,
    Verb::Push,
    Verb::PublishSnapshot,
];

/// Asserts that no right is there which the undamaged log does not give, and that reading works.
fn assert_narrow(host: &Host, owner: &Owner, what: &str) {
    let domain = host.domain(owner);
    for verb in WRITES {
        let said = grant(domain.state(), domain.place(), verb);
        assert_eq!(
            said,
            Grant::No,
            "{what}: {} in {}",
            verb.as_str(),
            domain.state()
        );
    }
    assert!(
        host.open_to_seal(owner, LeaseScope::Remote).is_err(),
        "{what}"
    );
    let reader = host.open_to_read(owner).expect(what);
    let bytes = random(1, 5000);
    assert_eq!(
        reader.get_piece(&reader.chunk_id(&bytes).unwrap()).unwrap(),
        bytes,
        "{what}"
    );
}

#[test]
fn a_flipped_bit_anywhere_in_the_host_log_widens_no_right() {
    let (host, owner, log) = suspended();
    assert_eq!(host.domain(&owner).state(), DomainState::Suspended);
    let good = std::fs::read(&log).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&log, &bad).unwrap();
        let domain = host.domain(&owner);
        let e = domain
            .require_sound()
            .expect_err(&format!("byte {at} passed"));
        assert!(
            matches!(e.kind(), Kind::Damage | Kind::Invalid),
            "byte {at}: {e}"
        );
        assert!(e.what_next().contains("restor"), "{e:?}");
        if at % 37 == 0 {
            assert_narrow(&host, &owner, &format!("byte {at}"));
        }
    }
    std::fs::write(&log, &good).unwrap();
    host.domain(&owner).require_sound().unwrap();
}

#[test]
fn a_shortened_or_missing_host_log_gives_no_right_back() {
    let (host, owner, log) = suspended();
    let good = std::fs::read(&log).unwrap();
    let mut cuts: Vec<usize> = (0..good.len()).step_by(23).collect();
    // Exactly at each frame's end: what is left is a perfect log, of yesterday.
    let frames: Vec<usize> = (0..good.len())
        .filter(|n| good[*n..].starts_with(b"ASLHLOG\x01"))
        .collect();
    assert_eq!(frames.len(), 3);
    cuts.extend(&frames);
    for cut in cuts {
        std::fs::write(&log, &good[..cut]).unwrap();
        let domain = host.domain(&owner);
        assert_eq!(
            kind_of(domain.require_sound()),
            Kind::Damage,
            "cut at {cut}"
        );
        assert_eq!(domain.state(), DomainState::Suspended);
    }
    for cut in frames {
        std::fs::write(&log, &good[..cut]).unwrap();
        assert_narrow(&host, &owner, &format!("cut at {cut}"));
    }
    std::fs::remove_file(&log).unwrap();
    assert_narrow(&host, &owner, "removed");
    // Nor does writing make a new one in its place.
    let mut domain = host.domain(&owner);
    let record = HostRecord::Role(Place::Home);
    assert_eq!(
        kind_of(domain.record(&host.context, &[record])),
        Kind::Damage
    );
    assert!(!log.exists());
}

#[test]
fn a_torn_write_of_the_host_log_is_no_damage() {
    // Power is lost while a record is appended: nobody was told, so nothing is missing.
    let (host, owner, log) = suspended();
    let good = std::fs::read(&log).unwrap();
    let last = (0..good.len())
        .rev()
        .find(|n| good[*n..].starts_with(b"ASLHLOG\x01"))
        .unwrap();
    for length in [1, 7, 19, 20, 40, good.len() - last - 1] {
        let torn = [&good[..], &good[last..last + length]].concat();
        std::fs::write(&log, torn).unwrap();
        let mut domain = host.domain(&owner);
        domain.require_sound().unwrap();
        assert_eq!(domain.state(), DomainState::Suspended);
        let record = HostRecord::State {
            state: DomainState::Suspended,
            why: "again".into(),
            time: Timestamp::claimed(NOW),
        };
        domain.record(&host.context, &[record]).unwrap();
        host.domain(&owner).require_sound().unwrap();
        std::fs::write(&log, &good).unwrap();
        let head = host.root().layout().host_head(domain.id());
        std::fs::remove_file(head).unwrap();
    }
}

#[test]
fn a_keeper_with_a_damaged_record_grants_nothing_on_it() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    host.trust(&owner);
    let petition = owner.petition(&host.root(), 1);
    host.keeper().admit(&petition).unwrap();
    let log = host.domain(&owner).dir().join("log/host.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let end = bytes.len() - 5;
    bytes[end] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    for nonce in [1, 2] {
        let again = host.keeper().admit(&owner.petition(&host.root(), nonce));
        assert_eq!(kind_of(again), Kind::Damage);
    }
}

#[test]
fn a_content_log_shorter_than_its_known_head_is_damage_to_write_and_still_read() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let domain = owner.create_on(&host, Place::Home).unwrap();
    let log = domain.dir().join("log/append.log");
    let handle = host.open_to_seal(&owner, LeaseScope::Remote).unwrap();
    seal_something(&handle, 1);
    let first = handle.head();
    let length = std::fs::metadata(&log).unwrap().len();
    seal_something(&handle, 2);
    drop(handle);
    // The disk of yesterday: log and ledger roll back together, the head outside does not.
    let yesterday = std::fs::read(&log).unwrap()[..length as usize].to_vec();
    std::fs::write(&log, yesterday).unwrap();
    std::fs::remove_file(domain.dir().join("log/seal.log")).unwrap();
    let e = host.open_to_seal(&owner, LeaseScope::Remote).err().unwrap();
    assert_eq!(e.kind(), Kind::Damage);
    assert!(e.why().contains("shorter"), "{e}");
    assert!(!e.what_next().is_empty());
    // It was not cut, nor written to.
    assert_eq!(std::fs::metadata(&log).unwrap().len(), length);
    let reader = host.open_to_read(&owner).unwrap();
    assert_eq!(reader.head().commit, first.commit);
    assert!(!reader.damage().is_empty(), "it is told");
    let bytes = random(1, 5000);
    assert_eq!(
        reader.get_piece(&reader.chunk_id(&bytes).unwrap()).unwrap(),
        bytes
    );
}

#[test]
fn another_history_of_the_same_length_is_damage_too() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let domain = owner.create_on(&host, Place::Home).unwrap();
    let kept = tempfile::tempdir().unwrap();
    copy(domain.dir(), &kept.path().join("d"));
    seal_something(&host.open_to_seal(&owner, LeaseScope::Remote).unwrap(), 1);
    let head = std::fs::read(host.root().layout().head(domain.id())).unwrap();
    std::fs::remove_dir_all(domain.dir()).unwrap();
    copy(&kept.path().join("d"), domain.dir());
    std::fs::remove_file(host.root().layout().head(domain.id())).unwrap();
    seal_something(&host.open_to_seal(&owner, LeaseScope::Remote).unwrap(), 2);
    std::fs::write(host.root().layout().head(domain.id()), head).unwrap();
    let e = host.open_to_seal(&owner, LeaseScope::Remote).err().unwrap();
    assert_eq!(e.kind(), Kind::Damage);
    assert!(e.why().contains("another history"), "{e}");
}

#[test]
fn a_spoilt_head_may_stop_writing_and_never_reading() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let domain = owner.create_on(&host, Place::Home).unwrap();
    seal_something(&host.open_to_seal(&owner, LeaseScope::Remote).unwrap(), 1);
    let path = host.root().layout().head(domain.id());
    for bytes in [b"".to_vec(), b"garbage".to_vec(), vec![0; 100_000]] {
        std::fs::write(&path, bytes).unwrap();
        assert!(host.open_to_seal(&owner, LeaseScope::Remote).is_err());
        let reader = host.open_to_read(&owner).unwrap();
        let bytes = random(1, 5000);
        assert_eq!(
            reader.get_piece(&reader.chunk_id(&bytes).unwrap()).unwrap(),
            bytes
        );
    }
}

#[test]
fn a_spoilt_dam_stops_writing_and_never_reading() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let domain = owner.create_on(&host, Place::Home).unwrap();
    seal_something(&host.open_to_seal(&owner, LeaseScope::Remote).unwrap(), 1);
    for file in ["dam.cbor", "dam.sig"] {
        let path = domain.dir().join("admission").join(file);
        let good = std::fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for bytes in [flipped, good[..20].to_vec(), Vec::new()] {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
            assert_narrow(&host, &owner, file);
            let e = host.domain(&owner).require_sound().unwrap_err();
            assert_eq!(e.kind(), Kind::Damage, "{e}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, good).unwrap();
        host.domain(&owner).require_sound().unwrap();
    }
}

#[test]
fn a_second_writer_is_told_and_the_first_goes_on() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    owner.create_on(&host, Place::Home).unwrap();
    let first = host.open_to_seal(&owner, LeaseScope::Remote).unwrap();
    let e = host.open_to_seal(&owner, LeaseScope::Remote).err().unwrap();
    assert_eq!(e.kind(), Kind::Concurrent);
    seal_something(&first, 1);
    // Reading beside a writer is nobody's harm.
    host.open_to_read(&owner).unwrap();
    drop(first);
    seal_something(&host.open_to_seal(&owner, LeaseScope::Remote).unwrap(), 2);
}
