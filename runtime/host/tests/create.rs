//! A domain is made whole or not at all, and only under the authority that its genesis names.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::{DomainState, NewEpoch, OpenIdentity};
use asl_core::Kind;
use asl_host::capability::Place;
use asl_host::keystick::EpochFiles;
use asl_host::{Domain, Founding, HostRoot, KeptKey};
use asl_testkit::SeededEntropy;
use common::*;

fn try_create(
    host: &Host,
    genesis: &[u8],
    dam: Option<&asl_host::keystick::Signed>,
    epochs: &[EpochFiles],
) -> asl_core::Result<Domain> {
    let founding = Founding {
        genesis,
        dam,
        epochs,
        place: Place::Home,
    };
    Domain::create(&host.root(), &host.context, &founding)
}

#[test]
fn a_domain_from_a_dam_is_whole_and_stands_in_its_first_state() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let domain = owner.create_on(&host, Place::Home).unwrap();
    for dir in asl_host::layout::DOMAIN_DIRS {
        assert!(domain.dir().join(dir).is_dir(), "{dir}");
    }
    assert_eq!(domain.state(), DomainState::Unrecognized);
    assert_eq!(domain.place(), Place::Home);
    assert!(domain.leases().is_empty());
    assert_eq!(domain.hash(), owner.genesis.hash());
    assert_eq!(domain.epochs().unwrap(), owner.epochs());
    // GENESIS and EPOCH stand in the log before anything is sealed.
    let current = domain.current().unwrap();
    assert_eq!(current.head.logseq.0, 2);
    assert_eq!(current.genesis, owner.dam_genesis());
    let view: serde_json::Value =
        serde_json::from_slice(&std::fs::read(domain.dir().join("domain.json")).unwrap()).unwrap();
    assert_eq!(view["layout"], 1);
    assert_eq!(view["state"], "UNRECOGNIZED");
    assert_eq!(view["domain_hash"], owner.genesis.hash().to_string());
}

#[test]
fn a_plain_domain_needs_no_dam_and_an_encrypted_one_does() {
    let (host, plain, sealed) = (Host::new(1), Owner::plain(7), Owner::new(8));
    let domain = try_create(&host, &plain.dam_genesis(), None, &[]).unwrap();
    assert!(domain.dam().is_none());
    assert_eq!(kind_of(domain.require_dam().map(drop)), Kind::Refused);
    let handle = host
        .open(
            &plain,
            asl_store::Mode::Write,
            asl_host::Credentials::None,
            asl_host::LeaseScope::Remote,
            BOOT,
        )
        .unwrap();
    seal_something(&handle, 3);

    let e = try_create(&host, &sealed.dam_genesis(), None, &[])
        .err()
        .unwrap();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.why().contains("DAM"), "{e}");
}

#[test]
fn the_same_domain_twice_is_refused_and_left_as_it_is() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    owner.create_on(&host, Place::Home).unwrap();
    let before = files(&host.path());
    for place in [Place::Home, Place::Elsewhere] {
        assert_eq!(kind_of(owner.create_on(&host, place)), Kind::Exists);
    }
    assert_eq!(files(&host.path()), before);
}

#[test]
fn another_genesis_with_the_same_directory_name_is_refused() {
    // 48 bits of a hash cannot be met here by search: the directory is given the name by hand.
    let (host, one, two) = (Host::new(1), Owner::new(7), Owner::new(8));
    let domain = one.create_on(&host, Place::Home).unwrap();
    let taken = host.root().layout().domain(&two.genesis.domain_id());
    std::fs::rename(domain.dir(), &taken).unwrap();
    let e = two.create_on(&host, Place::Home).err().unwrap();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.why().contains("another domain"), "{e}");
    // And what lies there is not taken for the domain of that name.
    let opened = Domain::open(&host.root(), &two.genesis.domain_id());
    assert_eq!(kind_of(opened), Kind::Damage);
}

#[test]
fn epoch_files_that_are_not_the_dams_are_refused() {
    let (host, owner, other) = (Host::new(1), Owner::new(7), Owner::new(8));
    let genesis = owner.dam_genesis();
    let good = owner.epochs();
    let mut swapped_identity = good.clone();
    swapped_identity[0].identity = other.epoch.epoch_age.clone();
    let mut swapped_keys = good.clone();
    swapped_keys[0].keys = other.epoch.epoch_keys_age.clone();
    let mut bit = good.clone();
    bit[0].identity[40] ^= 1;
    let mut renumbered = good.clone();
    renumbered[0].number = 2;
    for epochs in [
        vec![],
        other.epochs(),
        swapped_identity,
        swapped_keys,
        bit,
        renumbered,
    ] {
        let e = try_create(&host, &genesis, Some(&owner.dam), &epochs)
            .err()
            .unwrap();
        assert_eq!(e.kind(), Kind::Refused);
        assert!(e.why().contains("DAM names"), "{e}");
    }
    assert!(host.root().domains().unwrap().is_empty());
    // A thief's epoch for the same number, made with other owner keys, is among those refused.
    let (thief, _) = OpenIdentity::generate();
    let forged = NewEpoch::create(1, &thief.recipients(), &SeededEntropy::new(9)).unwrap();
    let forged = EpochFiles {
        number: 1,
        identity: forged.epoch_age,
        keys: forged.epoch_keys_age,
    };
    assert_eq!(
        kind_of(try_create(&host, &genesis, Some(&owner.dam), &[forged])),
        Kind::Refused
    );
    try_create(&host, &genesis, Some(&owner.dam), &good).unwrap();
}

#[test]
fn a_dam_of_another_domain_or_one_not_signed_by_its_roots_is_refused() {
    let (host, owner, other) = (Host::new(1), Owner::new(7), Owner::new(8));
    let genesis = owner.dam_genesis();
    let epochs = owner.epochs();
    let foreign = try_create(&host, &genesis, Some(&other.dam), &other.epochs());
    assert_eq!(kind_of(foreign), Kind::Refused);
    let mut unsigned = owner.dam.clone();
    unsigned.sig = other.dam.sig.clone();
    let carried_off = sign_dam(&owner.decoded(), &other.root);
    let mut tampered = owner.dam.clone();
    let end = tampered.bytes.len() - 1;
    tampered.bytes[end] ^= 1;
    // The genesis, carried off under keys of somebody else's.
    let mut stolen = owner.decoded();
    stolen.roots = asl_auth::RootSet::new(vec![other.root.public()], 1).unwrap();
    let stolen = sign_dam(&stolen, &other.root);
    for (dam, why) in [
        (unsigned, "signed by unknown key"),
        (carried_off, "signed by unknown key"),
        (tampered, ""),
        (stolen, "its root set is not the one its genesis names"),
    ] {
        let e = try_create(&host, &genesis, Some(&dam), &epochs)
            .err()
            .unwrap();
        assert!(e.why().contains(why), "{e}");
        if !why.is_empty() {
            assert!(e.what_next().contains("nothing of it is trusted"), "{e:?}");
        }
    }
    assert!(try_create(&host, b"garbage", Some(&owner.dam), &epochs).is_err());
    assert!(host.root().domains().unwrap().is_empty());
    assert_eq!(
        std::fs::read_dir(host.root().layout().domains())
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn the_remains_of_a_crashed_creation_are_no_domain_and_in_nobodys_way() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let domains = host.root().layout().domains();
    std::fs::create_dir_all(domains.join(".new-0011/log")).unwrap();
    std::fs::write(domains.join(".new-0011/log/append.log"), b"half a frame").unwrap();
    std::fs::write(domains.join("not-a-domain"), b"").unwrap();
    std::fs::create_dir(domains.join("Alice~000000000000")).unwrap();
    assert!(host.root().domains().unwrap().is_empty());
    let domain = owner.create_on(&host, Place::Home).unwrap();
    assert_eq!(host.root().domains().unwrap(), vec![domain.id().clone()]);
    seal_something(
        &host
            .open_to_seal(&owner, asl_host::LeaseScope::Remote)
            .unwrap(),
        1,
    );
}

#[test]
fn a_replica_has_no_log_of_its_own_and_cannot_be_written() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let domain = owner.create_on(&host, Place::Elsewhere).unwrap();
    assert_eq!(domain.place(), Place::Elsewhere);
    assert!(!domain.dir().join("log/append.log").exists());
    let e = host
        .open_to_seal(&owner, asl_host::LeaseScope::Remote)
        .err()
        .unwrap();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.why().contains("UNRECOGNIZED"), "{e}");
}

#[test]
fn domain_json_is_a_view_and_never_a_right() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let domain = owner.create_on(&host, Place::Elsewhere).unwrap();
    let path = domain.dir().join("domain.json");
    let mut view: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    view["state"] = "FULL".into();
    view["home"] = true.into();
    std::fs::write(&path, view.to_string()).unwrap();
    let again = host.domain(&owner);
    assert_eq!(again.state(), DomainState::Unrecognized);
    assert_eq!(again.place(), Place::Elsewhere);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(host.domain(&owner).state(), DomainState::Unrecognized);
}

#[test]
fn two_roots_may_hold_the_same_domain_without_knowing_of_each_other() {
    let owner = Owner::new(7);
    for seed in [1, 2] {
        let host = Host::empty(seed);
        HostRoot::init(&host.path(), &host.context, KeptKey::Plain).unwrap();
        owner.create_on(&host, Place::Home).unwrap();
    }
}
