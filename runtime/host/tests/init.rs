//! A root is there whole or not at all, and nobody's identity is taken by mistake.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::IndexIdentity;
use asl_core::Kind;
use asl_host::{HostRoot, KeptKey};
use common::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_new_root_has_every_directory_and_keeps_its_key_to_itself() {
    let host = Host::new(1);
    let root = host.root();
    for dir in asl_host::layout::ROOT_DIRS {
        let meta = std::fs::metadata(host.path().join(dir)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o700, "{dir}");
    }
    let mode = |p: std::path::PathBuf| std::fs::metadata(p).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(root.layout().identity_key()), 0o600);
    assert_eq!(root.identity(None).unwrap().public(), *root.public_key());
    root.policy().unwrap();
    assert!(root.trusted_roots().unwrap().is_empty());
    assert!(root.domains().unwrap().is_empty());
}

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let host = Host::new(1);
    let before = files(&host.path());
    let again = HostRoot::init(&host.path(), &host.context, KeptKey::Plain);
    assert_eq!(kind_of(again), Kind::Exists);
    assert_eq!(files(&host.path()), before);
}

#[test]
fn a_root_without_host_id_does_not_exist_and_init_completes_it() {
    // Every prefix of what init writes can be what a crash leaves.
    let whole = Host::new(1);
    let names: Vec<_> = files(&whole.path()).into_keys().collect();
    assert!(names.contains(&"host/host-id".into()));
    for keep in 0..names.len() {
        let host = Host::new(2);
        for gone in names.iter().skip(keep).chain([&"host/host-id".into()]) {
            let _ = std::fs::remove_file(host.path().join(gone));
        }
        assert_eq!(kind_of(HostRoot::open(&host.path())), Kind::NotFound);
        HostRoot::init(&host.path(), &host.context, KeptKey::Plain).unwrap();
        let root = host.root();
        assert_eq!(root.identity(None).unwrap().public(), *root.public_key());
        root.policy().unwrap();
    }
}

#[test]
fn a_crashed_init_of_the_other_form_leaves_no_key_behind() {
    let index = IndexIdentity::generate();
    let recipient = index.recipient().to_string();
    let host = Host::new(1);
    std::fs::remove_file(host.root().layout().host_id()).unwrap();
    HostRoot::init(&host.path(), &host.context, KeptKey::SealedTo(&recipient)).unwrap();
    let root = host.root();
    assert!(!root.layout().identity_key().exists(), "a thief reads it");
    assert_eq!(
        root.identity(Some(&index)).unwrap().public(),
        *root.public_key()
    );
    // And back.
    std::fs::remove_file(root.layout().host_id()).unwrap();
    HostRoot::init(&host.path(), &host.context, KeptKey::Plain).unwrap();
    let root = host.root();
    assert_eq!(root.identity(None).unwrap().public(), *root.public_key());
}

#[test]
fn the_keepers_own_policy_survives_a_completed_init() {
    let host = Host::new(1);
    host.set_policy(&[("\"REJECTED\"", "\"DEFERRED\"")]);
    let kept = std::fs::read(host.root().layout().host_policy()).unwrap();
    std::fs::remove_file(host.root().layout().host_id()).unwrap();
    HostRoot::init(&host.path(), &host.context, KeptKey::Plain).unwrap();
    assert_eq!(
        std::fs::read(host.root().layout().host_policy()).unwrap(),
        kept
    );
}

#[test]
fn a_layout_of_an_unknown_major_is_refused_by_its_number() {
    let host = Host::new(1);
    let path = host.root().layout().host_id();
    let text = std::fs::read_to_string(&path).unwrap();
    // With a record of today's form, and with one nobody knows yet.
    for bytes in [
        text.replace("\"layout\": 1", "\"layout\": 2"),
        r#"{ "layout": 2, "identity": [1, 2, 3] }"#.to_string(),
        r#"{ "layout": 0 }"#.to_string(),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        let e = HostRoot::open(&host.path()).err().expect(&bytes);
        assert_eq!(e.kind(), Kind::Invalid);
        assert!(e.why().contains("its layout is"), "{e}");
        assert!(e.what_next().contains("version"), "{e:?}");
        // Nor may init take it for a crash's remains.
        let again = HostRoot::init(&host.path(), &host.context, KeptKey::Plain);
        assert_eq!(kind_of(again), Kind::Exists);
    }
}

#[test]
fn a_host_id_that_is_not_one_is_refused() {
    let host = Host::new(1);
    let path = host.root().layout().host_id();
    let long = " ".repeat(100_000);
    for text in [
        "",
        "{",
        "[]",
        "null",
        "{\"layout\": 1}",
        "{\"layout\": -1}",
        &long,
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(
            kind_of(HostRoot::open(&host.path())),
            Kind::Invalid,
            "{text:.9}"
        );
    }
}

#[test]
fn a_host_id_that_names_another_key_is_damage() {
    let (host, other) = (Host::new(1), Host::new(2));
    let foreign = std::fs::read(other.root().layout().host_id()).unwrap();
    std::fs::write(host.root().layout().host_id(), foreign).unwrap();
    let e = host.root().identity(None).unwrap_err();
    assert_eq!(e.kind(), Kind::Damage);
    assert!(e.why().contains("host-id names another"));
    assert_eq!(
        kind_of(asl_host::admission::Keeper::open(
            host.root(),
            host.context.clone()
        )),
        Kind::Damage
    );
}

#[test]
fn an_appliances_key_needs_its_own_index_identity() {
    let (index, other) = (IndexIdentity::generate(), IndexIdentity::generate());
    let recipient = index.recipient().to_string();
    let host = Host::empty(1);
    HostRoot::init(&host.path(), &host.context, KeptKey::SealedTo(&recipient)).unwrap();
    let root = host.root();
    let e = root.identity(None).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.what_next().contains("key stick"));
    assert!(root.identity(Some(&other)).is_err());
    let key = root.identity(Some(&index)).unwrap();
    assert_eq!(key.public(), *root.public_key());
    // Nothing on the disk gives it away.
    let seed = key.to_seed();
    for (name, bytes) in files(&host.path()) {
        assert!(
            !bytes.windows(32).any(|w| w == &seed[..]),
            "{}",
            name.display()
        );
    }
}

#[test]
fn a_malformed_policy_or_trusted_root_stops_the_keeper_before_the_first_guest() {
    let host = Host::new(1);
    std::fs::write(host.root().layout().host_policy(), "layout = 1\n").unwrap();
    let opened = asl_host::admission::Keeper::open(host.root(), host.context.clone());
    assert_eq!(kind_of(opened), Kind::Invalid);
    host.set_policy(&[]);
    std::fs::write(
        host.root().layout().trusted_roots().join("x.pub"),
        "ssh-rsa AAAA\n",
    )
    .unwrap();
    let opened = asl_host::admission::Keeper::open(host.root(), host.context.clone());
    let e = opened.err().unwrap();
    assert!(e.object().contains("x.pub"), "{e}");
}

#[test]
fn a_domain_is_found_by_label_name_and_hash_and_not_by_a_guess() {
    let (host, one, two) = (Host::new(1), Owner::new(1), Owner::new(2));
    let root = host.root();
    assert_eq!(kind_of(root.find(None)), Kind::NotFound);
    let first = one
        .create_on(&host, asl_host::capability::Place::Home)
        .unwrap();
    assert_eq!(root.find(None).unwrap(), *first.id());
    let second = two
        .create_on(&host, asl_host::capability::Place::Home)
        .unwrap();
    assert_eq!(kind_of(root.find(None)), Kind::Usage);
    assert_eq!(kind_of(root.find(Some("alice.personal"))), Kind::Usage);
    assert_eq!(
        root.find(Some(&second.id().to_string())).unwrap(),
        *second.id()
    );
    assert_eq!(
        root.find(Some(&second.hash().to_string())).unwrap(),
        *second.id()
    );
    for wrong in ["alice", "", "../..", "alice.personal~000000000000"] {
        assert_eq!(kind_of(root.find(Some(wrong))), Kind::NotFound, "{wrong}");
    }
}
