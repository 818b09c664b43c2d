//! Authority moves on: the next DAM, other roots, a new epoch, other owners, what is revoked; and
//! what was before neither comes back nor is lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::*;
use asl_core::{Digest, Kind, Timestamp};
use asl_host::capability::Place;
use asl_host::keystick::{EpochFiles, Signed};
use asl_host::{Credentials, Domain, Founding, LeaseScope};
use asl_store::Mode;
use asl_testkit::SeededEntropy;
use common::*;

/// An owner with a second epoch, and the DAM that names it.
struct Renewed {
    owner: Owner,
    second: NewEpoch,
    dam: Signed,
    epochs: Vec<EpochFiles>,
}

fn renewed(seed: u8) -> Renewed {
    let owner = Owner::new(seed);
    let open = OpenIdentity::parse(&owner.open_text).unwrap();
    let second = NewEpoch::create(2, &open.recipients(), &SeededEntropy::new(99)).unwrap();
    let dam = owner.next_dam(|d| {
        let old = d.encryption.as_mut().unwrap();
        old.earlier = vec![EarlierEpoch {
            data_recipient: old.data_recipient.clone(),
            epoch_file: old.epoch_file,
            keys_file: old.keys_file,
        }];
        old.epoch = 2;
        old.data_recipient = second.data_recipient.to_string();
        old.index_recipient = second.index_identity.recipient().to_string();
        (old.epoch_file, old.keys_file) = second.digests();
    });
    let mut epochs = owner.epochs();
    epochs.push(EpochFiles {
        number: 2,
        identity: second.epoch_age.clone(),
        keys: second.epoch_keys_age.clone(),
    });
    Renewed {
        owner,
        second,
        dam,
        epochs,
    }
}

/// Puts one piece under a credential and ends the root with it; the piece's id.
fn seal(
    host: &Host,
    owner: &Owner,
    credential: SealCredential,
    seed: u64,
) -> asl_core::Result<asl_core::ChunkId> {
    let credentials = Credentials::Seal(credential);
    let handle = host.open(owner, Mode::Write, credentials, LeaseScope::Remote, BOOT)?;
    handle.begin_root()?;
    let bytes = piece(seed);
    let id = handle.chunk_id(&bytes)?;
    handle.put_piece(id, &"asl.blob".parse().unwrap(), &bytes)?;
    handle.finish_root(b"the root").map(|_| id)
}

fn piece(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 5000];
    asl_core::Entropy::fill(&SeededEntropy::new(seed), &mut bytes).unwrap();
    bytes
}

fn revocation(owner: &Owner, dam: &Signed, number: u64, target: RevocationTarget) -> Signed {
    let bytes = Revocation {
        domain: owner.genesis.hash(),
        number,
        dam: Digest::of(&dam.bytes),
        target,
        reason: "stolen".into(),
        time: Timestamp::claimed(NOW),
    }
    .encode();
    let sig = cose::sign(Revocation::KIND, &bytes, &[&owner.root]).unwrap();
    Signed { bytes, sig }
}

#[test]
fn after_a_new_epoch_the_stolen_stick_seals_nothing_and_all_data_stays_readable() {
    let (host, new) = (Host::new(1), renewed(7));
    let owner = &new.owner;
    let mut domain = owner.create_on(&host, Place::Home).unwrap();
    let before = seal(&host, owner, owner.credential(), 1).unwrap();

    // Nothing changes while a file is missing.
    let e = domain
        .follow(&host.context, &new.dam, &owner.epochs())
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.to_string().contains("epoch-2.age"), "{e}");
    assert_eq!(host.domain(owner).dam().unwrap().dam().sequence, 1);

    assert!(domain.follow(&host.context, &new.dam, &new.epochs).unwrap());
    assert!(
        !domain.follow(&host.context, &new.dam, &[]).unwrap(),
        "the same again is no news"
    );
    let e = seal(&host, owner, owner.credential(), 2).unwrap_err();
    assert!(
        e.why().contains("of epoch 1, which is over: epoch 2"),
        "{e}"
    );
    let after = seal(&host, owner, new.second.credential(), 2).unwrap();

    // The old DAM is not taken up again.
    let e = domain
        .follow(&host.context, &owner.dam, &new.epochs)
        .unwrap_err();
    assert!(e.why().contains("number 1 is older than number 2"), "{e}");

    let handle = host.open_to_read(owner).unwrap();
    assert_eq!(handle.get_piece(&before).unwrap(), piece(1));
    assert_eq!(handle.get_piece(&after).unwrap(), piece(2));
}

#[test]
fn an_epoch_that_the_log_knows_is_not_sealed_past_by_an_older_dam() {
    let (host, new) = (Host::new(1), renewed(7));
    let owner = &new.owner;
    let mut domain = owner.create_on(&host, Place::Home).unwrap();
    domain.follow(&host.context, &new.dam, &new.epochs).unwrap();
    // A crash, or a hand, took the DAM away; the log still knows.
    let dams = domain.dir().join("auth/dams");
    std::fs::remove_file(dams.join("dam-000002.cbor")).unwrap();
    let e = seal(&host, owner, owner.credential(), 1).unwrap_err();
    assert!(e.why().contains("the log knows epoch 2"), "{e}");
    // The same again completes it.
    assert!(host
        .domain(owner)
        .follow(&host.context, &new.dam, &[])
        .unwrap());
    seal(&host, owner, new.second.credential(), 1).unwrap();
}

#[test]
fn a_domain_made_from_a_stick_of_a_later_epoch_knows_every_epoch() {
    let (host, new) = (Host::new(1), renewed(7));
    let genesis = new.owner.dam_genesis();
    let founding = |epochs| Founding {
        genesis: &genesis,
        dam: Some(&new.dam),
        epochs,
        place: Place::Home,
    };
    let e = Domain::create(&host.root(), &host.context, &founding(&new.epochs[1..]));
    assert!(e.err().unwrap().to_string().contains("files of epoch 1"));
    let domain = Domain::create(&host.root(), &host.context, &founding(&new.epochs)).unwrap();
    let current = domain.current().unwrap();
    assert_eq!(current.epochs.keys().copied().collect::<Vec<_>>(), [1, 2]);
    seal(&host, &new.owner, new.second.credential(), 1).unwrap();
}

#[test]
fn an_epoch_wrapped_anew_opens_for_the_new_owner_alone() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let mut domain = owner.create_on(&host, Place::Home).unwrap();
    let id = seal(&host, &owner, owner.credential(), 1).unwrap();
    let (new, text) = OpenIdentity::generate();
    let old = OpenIdentity::parse(&owner.open_text).unwrap();
    let wrapped = epoch::rewrap(1, &owner.epoch.epoch_age, &old, &new.recipients()).unwrap();
    let dam = owner.next_dam(|d| {
        let encryption = d.encryption.as_mut().unwrap();
        encryption.owner_recipients = vec![new.recipients()[0].to_string()];
        encryption.epoch_file = Digest::of(&wrapped);
    });
    let mut epochs = owner.epochs();
    epochs[0].identity = wrapped;
    assert!(domain.follow(&host.context, &dam, &epochs).unwrap());

    let open = |text: &str| {
        let identity = Credentials::Open(OpenIdentity::parse(text).unwrap());
        host.open(&owner, Mode::Read, identity, LeaseScope::Remote, BOOT)
    };
    assert_eq!(open(&text).unwrap().get_piece(&id).unwrap(), piece(1));
    assert_eq!(open(&owner.open_text).err().unwrap().kind(), Kind::Refused);
    // The stick is the same: what it seals is for the same data identity.
    seal(&host, &owner, owner.credential(), 2).unwrap();
}

#[test]
fn a_host_follows_other_root_keys_also_from_an_expired_dam_and_never_back() {
    let (keeper, owner) = (Host::new(2), Owner::new(7));
    keeper.trust(&owner);
    let first = owner.petition(&keeper.root(), 1);
    keeper.keeper().admit(&first).unwrap();

    let fresh = SigningKey::from_seed(&[200; 32]);
    let change = |d: &mut Dam| {
        d.roots = RootSet::new(vec![fresh.public()], 1).unwrap();
        d.lineage = Some(Lineage {
            bytes: owner.dam.bytes.clone(),
            sig: owner.dam.sig.clone(),
        });
    };
    let by_old_alone = owner.next_dam(change);
    let e = keeper
        .domain(&owner)
        .follow(&keeper.context, &by_old_alone, &[])
        .unwrap_err();
    assert!(e.why().contains("0 of its new root keys"), "{e}");
    let known = [owner.root.public(), fresh.public()];
    let next = Signed {
        sig: cose::add(
            Dam::KIND,
            &by_old_alone.bytes,
            &by_old_alone.sig,
            &known,
            &fresh,
        )
        .unwrap(),
        bytes: by_old_alone.bytes,
    };
    assert!(keeper
        .domain(&owner)
        .follow(&keeper.context, &next, &[])
        .unwrap());
    assert_eq!(keeper.domain(&owner).dam().unwrap().dam().sequence, 2);

    // Asked again under the old one, the host says why not.
    let again = owner.petition(&keeper.root(), 2);
    let decision = Decision::decode(&keeper.keeper().admit(&again).unwrap().bytes).unwrap();
    assert!(
        decision.reason.contains("number 1 is older than number 2"),
        "{}",
        decision.reason
    );
    // A host that never saw the domain believes the new DAM by what it shows.
    let other = Host::new(3);
    let line = fresh.public().to_openssh("") + "\n";
    std::fs::write(
        other.root().layout().trusted_roots().join("fresh.pub"),
        line,
    )
    .unwrap();
    let petition = owner.petition_under(&next, &other.root(), |_| ());
    let decision = Decision::decode(&other.keeper().admit(&petition).unwrap().bytes).unwrap();
    assert_ne!(
        decision.outcome,
        AdmissionResult::Rejected,
        "{}",
        decision.reason
    );
}

#[test]
fn a_revoked_operator_asks_no_host_and_stays_revoked_over_a_restart() {
    let all = admitted(1 << 30, 86_400, 8);
    let (keeper, owner) = (&all.keeper, &all.owner);
    let target = RevocationTarget::Operator(owner.operator.id());
    let revoked = revocation(owner, &owner.dam, 1, target);
    let id = keeper.root().id();
    let mut domain = keeper.domain(owner);
    assert!(domain
        .take_revocation(&keeper.context, id, &revoked)
        .unwrap());
    for _ in 0..2 {
        let mut domain = keeper.domain(owner);
        assert!(!domain
            .take_revocation(&keeper.context, id, &revoked)
            .unwrap());
        assert!(domain.dam().unwrap().revoked().of(&target).is_some());
    }
    let petition = owner.petition(&keeper.root(), 9);
    let decision = Decision::decode(&keeper.keeper().admit(&petition).unwrap().bytes).unwrap();
    assert_eq!(decision.outcome, AdmissionResult::Rejected);
    assert!(
        decision.reason.contains("is revoked: stolen"),
        "{}",
        decision.reason
    );
}

#[test]
fn an_admission_that_its_owner_revokes_is_suspended_on_the_host_that_gave_it() {
    let all = admitted(1 << 30, 86_400, 8);
    let (keeper, owner) = (&all.keeper, &all.owner);
    let id = keeper.root().id();
    let other = RevocationTarget::Admission(Digest::of(b"another request"));
    let own = RevocationTarget::Admission(Digest::of(&all.petition.request.bytes));
    let mut domain = keeper.domain(owner);
    for (number, target, state) in [
        (1, other, DomainState::Courtesy),
        (2, own, DomainState::Suspended),
    ] {
        let revoked = revocation(owner, &owner.dam, number, target);
        domain
            .take_revocation(&keeper.context, id, &revoked)
            .unwrap();
        assert_eq!(keeper.domain(owner).state(), state);
    }
}

#[test]
fn a_revocation_of_strangers_or_under_an_unknown_dam_changes_nothing() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let mut domain = owner.create_on(&host, Place::Home).unwrap();
    let target = RevocationTarget::Operator(owner.operator.id());
    let unknown = revocation(&owner, &owner.next_dam(|_| ()), 1, target);
    let stranger = SigningKey::from_seed(&[250; 32]);
    let mut foreign = revocation(&owner, &owner.dam, 1, target);
    foreign.sig = cose::sign(Revocation::KIND, &foreign.bytes, &[&stranger]).unwrap();
    let id = host.root().id();
    for (revoked, why) in [(unknown, "not known here"), (foreign, "unknown key")] {
        let e = domain
            .take_revocation(&host.context, id, &revoked)
            .unwrap_err();
        assert!(e.why().contains(why), "{e}");
    }
    let kept = std::fs::read_dir(domain.dir().join("auth/revocations")).unwrap();
    assert_eq!(kept.count(), 0);
}

#[test]
fn a_spoilt_revocation_stops_writing_until_it_is_brought_again() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let mut domain = owner.create_on(&host, Place::Home).unwrap();
    seal(&host, &owner, owner.credential(), 1).unwrap();
    let target = RevocationTarget::Device(stranger_id());
    let revoked = revocation(&owner, &owner.dam, 1, target);
    domain
        .take_revocation(&host.context, host.root().id(), &revoked)
        .unwrap();
    let name = format!("auth/revocations/{}.cbor", Digest::of(&revoked.bytes));
    let path = domain.dir().join(name);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"nothing").unwrap();
    let e = seal(&host, &owner, owner.credential(), 2).unwrap_err();
    assert_eq!(e.kind(), Kind::Damage, "{e}");
    assert!(e.what_next().contains("revocation apply"), "{e}");
    host.open_to_read(&owner).unwrap();
    let mut domain = host.domain(&owner);
    assert!(domain
        .take_revocation(&host.context, host.root().id(), &revoked)
        .unwrap());
    seal(&host, &owner, owner.credential(), 2).unwrap();
}

fn stranger_id() -> asl_core::KeyId {
    SigningKey::from_seed(&[250; 32]).id()
}
