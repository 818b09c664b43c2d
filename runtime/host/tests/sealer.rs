//! Who can seal cannot read, and who can read is the owner.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::{NewEpoch, OpenIdentity, SealCredential};
use asl_core::Kind;
use asl_host::capability::Place;
use asl_host::keystick::EpochFiles;
use asl_host::sealer::AgeSealer;
use asl_host::{Credentials, LeaseScope};
use asl_store::{Mode, Part, Sealer, VerifyOptions};
use asl_testkit::SeededEntropy;
use common::*;

fn verified(owner: &Owner) -> asl_auth::VerifiedDam {
    asl_auth::Dam::verify(&owner.dam.bytes, &owner.dam.sig, None).unwrap()
}

fn sealing(owner: &Owner) -> AgeSealer {
    AgeSealer::sealing(owner.credential(), &verified(owner), &owner.epochs()).unwrap()
}

fn opening(owner: &Owner) -> AgeSealer {
    let identity = OpenIdentity::parse(&owner.open_text).unwrap();
    AgeSealer::opening(&identity, &owner.epochs()).unwrap()
}

#[test]
fn the_seal_credential_seals_and_reads_segments_and_opens_no_block() {
    let owner = Owner::new(7);
    let sealer = sealing(&owner);
    for part in [Part::Segment, Part::Working] {
        let sealed = sealer.seal(part, b"index").unwrap();
        assert_eq!(sealer.open(part, 1, &sealed).unwrap(), b"index");
    }
    let block = sealer.seal(Part::Block, b"private").unwrap();
    assert!(sealer.has_shape(Part::Block, 1, &block));
    let e = sealer.open(Part::Block, 1, &block).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.why().contains("open identity"), "{e}");
    let cursor = std::io::Cursor::new(block.clone());
    assert_eq!(
        kind_of(sealer.open_parts(Part::Block, 1, Box::new(cursor))),
        Kind::Refused
    );
    // Not even when a block is passed off as a segment.
    assert!(sealer.open(Part::Segment, 1, &block).is_err());

    let reader = opening(&owner);
    assert_eq!(reader.open(Part::Block, 1, &block).unwrap(), b"private");
    let cursor = std::io::Cursor::new(block);
    let mut parts = reader.open_parts(Part::Block, 1, Box::new(cursor)).unwrap();
    assert_eq!(parts.plain_len(), 7);
    for (range, bytes) in [(3..7, &b"vate"[..]), (0..3, b"pri"), (7..7, b"")] {
        assert_eq!(parts.read_range(range).unwrap(), bytes);
    }
    assert_eq!(kind_of(parts.read_range(3..8)), Kind::Invalid);
}

#[test]
fn the_open_identity_reads_everything_and_seals_nothing() {
    let owner = Owner::new(7);
    let reader = opening(&owner);
    for part in [Part::Block, Part::Segment, Part::Working] {
        let sealed = sealing(&owner).seal(part, b"x").unwrap();
        assert_eq!(reader.open(part, 1, &sealed).unwrap(), b"x");
        let e = reader.seal(part, b"x").unwrap_err();
        assert_eq!(e.kind(), Kind::Refused);
        assert!(e.what_next().contains("key stick"));
    }
}

#[test]
fn both_ways_in_name_pieces_and_judge_segments_alike_and_others_differ() {
    let (one, two) = (Owner::new(7), Owner::new(8));
    let (sealer, reader, other) = (sealing(&one), opening(&one), sealing(&two));
    let id = sealer.chunk_id(1, b"piece").unwrap();
    assert_eq!(reader.chunk_id(1, b"piece").unwrap(), id);
    assert_ne!(other.chunk_id(1, b"piece").unwrap(), id);
    assert_ne!(
        *id.as_bytes(),
        *blake3::hash(b"piece").as_bytes(),
        "a host could test for files"
    );
    let mac = sealer.mac(1, b"segment").unwrap();
    assert_eq!(reader.mac(1, b"segment").unwrap(), mac);
    assert_ne!(other.mac(1, b"segment").unwrap(), mac);
    assert_ne!(
        mac.as_bytes(),
        sealer.chunk_id(1, b"segment").unwrap().as_bytes()
    );
}

#[test]
fn a_wrong_owner_is_refused_before_anything_is_read() {
    let (one, two) = (Owner::new(7), Owner::new(8));
    let wrong = OpenIdentity::parse(&two.open_text).unwrap();
    assert_eq!(
        kind_of(AgeSealer::opening(&wrong, &one.epochs())),
        Kind::Refused
    );
}

#[test]
fn an_epoch_whose_files_were_swapped_is_refused() {
    // The wrapped identity is the owner's, the wrapped keys another's.
    let (one, two) = (Owner::new(7), Owner::new(8));
    let owner = OpenIdentity::parse(&one.open_text).unwrap();
    let mut epochs = one.epochs();
    epochs[0].keys = two.epochs()[0].keys.clone();
    assert!(AgeSealer::opening(&owner, &epochs).is_err());
    assert!(AgeSealer::sealing(one.credential(), &verified(&one), &epochs).is_err());
}

#[test]
fn a_credential_for_other_recipients_than_the_dams_is_refused() {
    let (one, two) = (Owner::new(7), Owner::new(8));
    let refused = |credential: SealCredential, dam: &Owner, epochs: &[EpochFiles]| {
        let e = AgeSealer::sealing(credential, &verified(dam), epochs)
            .err()
            .unwrap();
        assert_eq!(e.kind(), Kind::Refused, "{e}");
        assert!(e.what_next().contains("key bundle"), "{e:?}");
    };
    refused(two.credential(), &one, &one.epochs());
    refused(one.credential(), &two, &two.epochs());
    refused(one.credential(), &one, &[]);
    // Another epoch of the same owner.
    let owner = OpenIdentity::parse(&one.open_text).unwrap();
    let second = NewEpoch::create(2, &owner.recipients(), &SeededEntropy::new(3)).unwrap();
    let files = EpochFiles {
        number: 2,
        identity: second.epoch_age.clone(),
        keys: second.epoch_keys_age.clone(),
    };
    refused(
        second.credential(),
        &one,
        &[one.epochs(), vec![files]].concat(),
    );
    // The data recipient alone replaced: sealed to somebody else under a true index identity.
    let mut mixed = one.credential();
    mixed.data_recipient = two.credential().data_recipient;
    refused(mixed, &one, &one.epochs());
    let mut mixed = one.credential();
    mixed.index_identity = two.credential().index_identity;
    refused(mixed, &one, &one.epochs());
    // A plain domain has nothing to seal to.
    let plain = Owner::plain(9);
    refused(one.credential(), &plain, &one.epochs());
}

#[test]
fn damaged_sealed_bytes_are_never_opened_as_others() {
    let owner = Owner::new(7);
    let (sealer, reader) = (sealing(&owner), opening(&owner));
    let sealed = sealer.seal(Part::Block, &random(1, 3000)).unwrap();
    for at in (0..sealed.len()).step_by(61) {
        let mut bad = sealed.clone();
        bad[at] ^= 4;
        assert!(reader.open(Part::Block, 1, &bad).is_err(), "byte {at}");
        assert!(
            reader.open(Part::Block, 1, &sealed[..at]).is_err(),
            "cut at {at}"
        );
    }
    assert!(!reader.has_shape(Part::Block, 1, b"plain text"));
    assert!(
        !reader.has_shape(Part::Block, 0, &sealed),
        "epoch 0 is the plain form"
    );
    assert_eq!(kind_of(reader.open(Part::Block, 2, &sealed)), Kind::Refused);
}

#[test]
fn a_handle_gives_each_credential_what_it_may_and_no_more() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    owner.create_on(&host, Place::Home).unwrap();
    let sealer = host.open_to_seal(&owner, LeaseScope::Remote).unwrap();
    seal_something(&sealer, 1);
    let bytes = random(1, 5000);
    let id = sealer.chunk_id(&bytes).unwrap();
    assert_eq!(kind_of(sealer.get_piece(&id)), Kind::Refused);
    assert_eq!(put(&sealer, 1, 5000).unwrap(), asl_host::Put::Known);
    drop(sealer);

    let nobody = host
        .open(
            &owner,
            Mode::Read,
            Credentials::None,
            LeaseScope::Remote,
            BOOT,
        )
        .unwrap();
    assert_eq!(kind_of(nobody.chunk_id(&bytes)), Kind::Refused);
    assert_eq!(kind_of(nobody.get_piece(&id)), Kind::Refused);
    let report = nobody
        .verify(
            VerifyOptions {
                data: false,
                ..VerifyOptions::default()
            },
            &|_, _| (),
            &|| false,
        )
        .unwrap();
    assert!(report.damage.is_empty() && report.blocks > 0);

    let reader = host.open_to_read(&owner).unwrap();
    assert_eq!(reader.get_piece(&id).unwrap(), bytes);
    assert!(
        put(&reader, 2, 10).is_err(),
        "an open identity seals nothing"
    );

    let thief = Credentials::Open(OpenIdentity::generate().0);
    let opened = host.open(&owner, Mode::Read, thief, LeaseScope::Remote, BOOT);
    assert_eq!(kind_of(opened), Kind::Refused);
    let foreign = Credentials::Seal(Owner::new(8).credential());
    let opened = host.open(&owner, Mode::Write, foreign, LeaseScope::Remote, BOOT);
    assert_eq!(kind_of(opened), Kind::Refused);
}

#[test]
fn a_working_file_is_sealed_and_one_of_another_domain_is_not_believed() {
    let host = Host::new(1);
    let (mine, other) = (Owner::new(7), Owner::new(8));
    for owner in [&mine, &other] {
        owner.create_on(&host, Place::Home).unwrap();
    }
    let a = host.open_to_seal(&mine, LeaseScope::Remote).unwrap();
    let b = host.open_to_seal(&other, LeaseScope::Remote).unwrap();
    a.write_working("files-x", b"what nobody else reads")
        .unwrap();
    let place = |h: &asl_host::StoreHandle| {
        let layout = host.root().layout().clone();
        layout.domain(h.domain()).join("index/working/files-x")
    };
    let bytes = std::fs::read(place(&a)).unwrap();
    assert!(!bytes.windows(6).any(|w| w == b"nobody"));
    assert!(asl_auth::sealing::has_shape(&bytes[48..]));
    std::fs::write(place(&b), &bytes).unwrap();
    assert!(b.read_working("files-x").is_err());
    assert_eq!(
        a.read_working("files-x").unwrap(),
        b"what nobody else reads"
    );
    assert_ne!(a.working_key(b"s").unwrap(), b.working_key(b"s").unwrap());
    drop(a);
    let reader = host.open_to_read(&mine).unwrap();
    assert_eq!(kind_of(reader.write_working("files-x", b"")), Kind::Refused);
}
