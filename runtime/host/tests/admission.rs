//! Admission on both sides: records are immutable, the same question has the same answer, nothing
//! a stranger sends is an error of this host, and nothing is recorded that does not hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::{cose, AdmissionResult, Decision, DomainState, SigningKey};
use asl_core::{Kind, Timestamp};
use asl_host::admission::{read_decision, write_decision, Petition};
use asl_host::capability::Place;
use asl_host::keystick::Signed;
use common::*;
use std::time::Duration;

fn decided(host: &Host, petition: &Petition) -> Decision {
    let signed = host.keeper().admit(petition).unwrap();
    let keys = [*host.root().public_key()];
    cose::verify(Decision::KIND, &signed.bytes, &signed.sig, &keys).unwrap();
    Decision::decode(&signed.bytes).unwrap()
}

fn quarantined(host: &Host) -> usize {
    std::fs::read_dir(host.root().layout().quarantine())
        .unwrap()
        .count()
}

#[test]
fn a_known_root_gets_a_courtesy_lease_that_is_recorded_before_it_is_handed_out() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    host.trust(&owner);
    let petition = owner.petition_for(&host.root(), 1, 1 << 40, 999 * 86_400, 9999);
    let decision = decided(&host, &petition);
    assert_eq!(decision.outcome, AdmissionResult::AcceptedLimited);
    let lease = decision.lease.unwrap();
    // Never more than the policy's, whatever was asked for.
    assert_eq!(lease.storage_bytes, 64 << 30);
    assert_eq!(lease.snapshots, 64);
    assert_eq!(lease.expires_at.unix_ns, NOW + 30 * DAY);
    assert!(lease.encryption_only);

    let domain = host.domain(&owner);
    assert_eq!(domain.state(), DomainState::Courtesy);
    assert_eq!(domain.place(), Place::Elsewhere);
    assert_eq!(only_lease(&domain).terms, lease);
    assert_eq!(only_lease(&domain).granted_by, host.root().id());
    for name in [
        "dam.cbor",
        "dam.sig",
        "admission-request.cbor",
        "admission-decision.cbor",
    ] {
        assert!(
            domain.dir().join("admission").join(name).is_file(),
            "{name}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(domain.dir().join("leases/active")).unwrap(),
        "lease-001.json\n"
    );
    assert_eq!(quarantined(&host), 0);
}

#[test]
fn the_same_request_again_has_the_same_decision_to_the_byte() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    host.trust(&owner);
    let petition = owner.petition(&host.root(), 1);
    let first = host.keeper().admit(&petition).unwrap();
    let before = files(&host.path());
    // Later, by another process: an old request sent again stretches nothing.
    host.clock.advance(Duration::from_secs(5 * 86_400));
    assert_eq!(host.keeper().admit(&petition).unwrap(), first);
    assert_eq!(files(&host.path()), before);
    // Nor does it bring back what has ended.
    host.clock.advance(Duration::from_secs(20 * 86_400));
    assert_eq!(host.keeper().admit(&petition).unwrap(), first);
    assert_eq!(host.domain(&owner).state(), DomainState::Suspended);
}

#[test]
fn a_second_request_renews_and_the_first_records_stay_as_they_were() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    host.trust(&owner);
    decided(&host, &owner.petition(&host.root(), 1));
    let first = files(&host.domain(&owner).dir().join("admission"));
    host.clock.advance(Duration::from_secs(5 * 86_400));
    let renewed = decided(&host, &owner.petition(&host.root(), 2));
    let ends = renewed.lease.clone().unwrap().expires_at.unix_ns;
    assert_eq!(ends, NOW + 12 * DAY);
    let domain = host.domain(&owner);
    assert_eq!(domain.admissions(), 2);
    assert_eq!(only_lease(&domain).terms, renewed.lease.unwrap());
    let now = files(&domain.dir().join("admission"));
    for (name, bytes) in &first {
        assert_eq!(now.get(name), Some(bytes), "{}", name.display());
    }
    assert_eq!(now.len(), 2 * first.len());
    assert!(now.contains_key(std::path::Path::new("0002/admission-decision.sig")));
    use std::os::unix::fs::PermissionsExt;
    for name in now.keys() {
        let meta = std::fs::metadata(domain.dir().join("admission").join(name)).unwrap();
        assert_eq!(
            meta.permissions().mode() & 0o777,
            0o400,
            "{}",
            name.display()
        );
    }
}

#[test]
fn the_next_dam_of_the_chain_takes_force_and_an_older_one_is_a_rollback() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    host.trust(&owner);
    decided(&host, &owner.petition(&host.root(), 1));
    let second = owner.next_dam(|d| d.time = Timestamp::claimed(NOW + 1));
    let with =
        |dam: &Signed, nonce| owner.petition_under(dam, &host.root(), |r| r.nonce = [nonce; 16]);
    let taken = decided(&host, &with(&second, 2));
    assert_eq!(taken.outcome, AdmissionResult::AcceptedLimited);
    assert_eq!(host.domain(&owner).dam().unwrap().dam().sequence, 2);
    let back = decided(&host, &with(&owner.dam, 3));
    assert_eq!(back.outcome, AdmissionResult::Rejected);
    assert_eq!(host.domain(&owner).dam().unwrap().dam().sequence, 2);
}

#[test]
fn an_unknown_root_is_rejected_and_only_its_evidence_is_kept() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let petition = owner.petition(&host.root(), 1);
    let decision = decided(&host, &petition);
    assert_eq!(decision.outcome, AdmissionResult::Rejected);
    assert!(decision.lease.is_none());
    assert!(decision.reason.contains("trusted"), "{}", decision.reason);
    assert!(host.root().domains().unwrap().is_empty());
    assert_eq!(quarantined(&host), 1);
    // The same again is not kept twice, another one is.
    decided(&host, &petition);
    assert_eq!(quarantined(&host), 1);
    decided(&host, &owner.petition(&host.root(), 2));
    assert_eq!(quarantined(&host), 2);
}

#[test]
fn strangers_cannot_fill_the_keepers_disk_with_evidence() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    for n in 0..999 {
        std::fs::create_dir(host.root().layout().quarantine().join(n.to_string())).unwrap();
    }
    for nonce in 1..5 {
        let decision = decided(&host, &owner.petition(&host.root(), nonce));
        assert_eq!(decision.outcome, AdmissionResult::Rejected);
    }
    assert_eq!(quarantined(&host), 1000);
}

#[test]
fn a_rejected_upgrade_takes_nothing_away() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    host.trust(&owner);
    decided(&host, &owner.petition(&host.root(), 1));
    host.set_policy(&[("labels = [\"*\"]", "labels = [\"bob\"]")]);
    let no = decided(&host, &owner.petition(&host.root(), 2));
    assert_eq!(no.outcome, AdmissionResult::Rejected);
    let domain = host.domain(&owner);
    assert_eq!(domain.state(), DomainState::Courtesy);
    assert_eq!(domain.admissions(), 1);
    assert!(!domain.leases().is_empty());
}

#[test]
fn accepted_is_full_without_a_lease_and_deferred_stays_unrecognized() {
    let (host, owner, other) = (Host::new(1), Owner::new(7), Owner::new(8));
    host.trust(&owner);
    host.set_policy(&[
        (
            "known_roots = \"ACCEPTED_LIMITED\"",
            "known_roots = \"ACCEPTED\"",
        ),
        ("\"REJECTED\"", "\"DEFERRED\""),
    ]);
    let yes = decided(&host, &owner.petition(&host.root(), 1));
    assert_eq!((yes.outcome, yes.lease), (AdmissionResult::Accepted, None));
    assert_eq!(host.domain(&owner).state(), DomainState::Full);
    let later = decided(&host, &other.petition(&host.root(), 1));
    assert_eq!(later.outcome, AdmissionResult::Deferred);
    let domain = host.domain(&other);
    assert_eq!(domain.state(), DomainState::Unrecognized);
    assert_eq!(domain.admissions(), 1);
    assert!(domain.leases().is_empty());
}

#[test]
fn all_leases_together_never_promise_more_than_the_budget() {
    let host = Host::new(1);
    host.set_policy(&[("\"64 GiB\"", "\"6 GiB\""), ("\"256 GiB\"", "\"10 GiB\"")]);
    let owners: Vec<Owner> = (10..14).map(Owner::new).collect();
    let mut granted = Vec::new();
    for owner in &owners {
        host.trust(owner);
        let d = decided(
            &host,
            &owner.petition_for(&host.root(), 1, 6 << 30, 86_400, 1),
        );
        granted.push(d.lease.map(|l| l.storage_bytes >> 30));
    }
    assert_eq!(granted, [Some(6), Some(4), None, None]);
    // A renewal takes the place of the same domain's lease and does not count beside it.
    let again = decided(
        &host,
        &owners[0].petition_for(&host.root(), 2, 6 << 30, 86_400, 1),
    );
    assert_eq!(again.lease.unwrap().storage_bytes, 6 << 30);
    // What ended may still lie here until its grace is over: the room is promised until then.
    host.clock.advance(Duration::from_secs(3 * 86_400));
    let early = decided(
        &host,
        &owners[2].petition_for(&host.root(), 2, 1 << 30, 86_400, 1),
    );
    assert_eq!(early.outcome, AdmissionResult::Rejected);
    host.clock.advance(Duration::from_secs(7 * 86_400));
    let late = decided(
        &host,
        &owners[2].petition_for(&host.root(), 3, 1 << 30, 86_400, 1),
    );
    assert_eq!(late.lease.unwrap().storage_bytes, 1 << 30);
}

#[test]
fn garbage_in_any_part_is_rejected_and_never_an_error() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    host.trust(&owner);
    let keeper = host.keeper();
    let good = owner.petition(&host.root(), 1);
    let garbage: [&[u8]; 6] = [
        b"",
        b"\x00",
        b"\xa1",
        b"\xff\xff\xff",
        &[0x9b; 64],
        b"asl.dam/1",
    ];
    let mut tried = 0;
    for part in 0..4 {
        let with = |bytes: &[u8]| {
            let mut p = good.clone();
            let slot = match part {
                0 => &mut p.dam.bytes,
                1 => &mut p.dam.sig,
                2 => &mut p.request.bytes,
                _ => &mut p.request.sig,
            };
            *slot = bytes.to_vec();
            p
        };
        let original = match part {
            0 => &good.dam.bytes,
            1 => &good.dam.sig,
            2 => &good.request.bytes,
            _ => &good.request.sig,
        };
        let mut spoilt: Vec<Vec<u8>> = garbage.iter().map(|g| g.to_vec()).collect();
        for at in (0..original.len()).step_by(original.len() / 12 + 1) {
            let mut flipped = original.clone();
            flipped[at] ^= 0x11;
            spoilt.push(flipped);
            spoilt.push(original[..at].to_vec());
        }
        spoilt.push([original.as_slice(), b"\x00"].concat());
        for bytes in spoilt {
            let signed = keeper.admit(&with(&bytes)).unwrap();
            let decision = Decision::decode(&signed.bytes).unwrap();
            assert_eq!(
                decision.outcome,
                AdmissionResult::Rejected,
                "part {part}: {bytes:02x?}"
            );
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");
    assert!(host.root().domains().unwrap().is_empty());
    // The keeper still works.
    assert_eq!(
        decided(&host, &good).outcome,
        AdmissionResult::AcceptedLimited
    );
}

#[test]
fn a_request_for_another_host_or_by_another_operator_is_rejected() {
    let (host, elsewhere, owner) = (Host::new(1), Host::new(2), Owner::new(7));
    host.trust(&owner);
    let misdirected = owner.petition(&elsewhere.root(), 1);
    assert_eq!(
        decided(&host, &misdirected).outcome,
        AdmissionResult::Rejected
    );
    let mut foreign = owner.petition(&host.root(), 1);
    foreign.request.sig = Owner::new(8).petition(&host.root(), 1).request.sig;
    assert_eq!(decided(&host, &foreign).outcome, AdmissionResult::Rejected);
}

/// What a crash between the documents and the host log's record leaves must wedge nobody.
#[test]
fn a_crash_while_recording_wedges_neither_the_same_request_nor_the_next() {
    let names = [
        "dam.cbor",
        "dam.sig",
        "admission-request.cbor",
        "admission-request.sig",
        "admission-decision.sig",
        "admission-decision.cbor",
    ];
    for written in 0..=names.len() {
        let (host, owner) = (Host::new(1), Owner::new(7));
        host.trust(&owner);
        decided(&host, &owner.petition(&host.root(), 1));
        // A second DAM, a second request: the documents of a host of the same name, cut off.
        let dam = owner.next_dam(|d| d.time = Timestamp::claimed(NOW + 1));
        let petition = owner.petition_under(&dam, &host.root(), |r| r.nonce = [2; 16]);
        let decision = asl_auth::admit(&asl_auth::AdmitInput {
            dam: &petition.dam.bytes,
            dam_sig: &petition.dam.sig,
            request: &petition.request.bytes,
            request_sig: &petition.request.sig,
            trusted_roots: &[owner.root.public()],
            policy: &host.root().policy().unwrap(),
            now: Timestamp::claimed(NOW - 5),
            host: host.root().public_key(),
            previous: host.domain(&owner).dam(),
            state: DomainState::Courtesy,
            promised_bytes: 0,
            held: false,
            conduct: Default::default(),
            strangers: 0,
            ruling: None,
        })
        .encode();
        let key = host.root().identity(None).unwrap();
        let sig = cose::sign(Decision::KIND, &decision, &[&key]).unwrap();
        let dir = host.domain(&owner).dir().join("admission/0002");
        std::fs::create_dir(&dir).unwrap();
        let bytes = [
            &petition.dam.bytes,
            &petition.dam.sig,
            &petition.request.bytes,
            &petition.request.sig,
            &sig,
            &decision,
        ];
        for (name, bytes) in names.iter().zip(bytes).take(written) {
            std::fs::write(dir.join(name), bytes).unwrap();
        }

        assert_eq!(host.domain(&owner).admissions(), 1, "{written}");
        let other = decided(&host, &owner.petition(&host.root(), 3));
        assert_eq!(other.outcome, AdmissionResult::AcceptedLimited, "{written}");
        let same = host.keeper().admit(&petition).unwrap();
        let read = Decision::decode(&same.bytes).unwrap();
        assert_eq!(
            read.outcome,
            AdmissionResult::AcceptedLimited,
            "{written}: {read:?}"
        );
        assert_eq!(host.keeper().admit(&petition).unwrap(), same, "{written}");
        assert_eq!(
            host.domain(&owner).dam().unwrap().dam().sequence,
            2,
            "{written}"
        );
    }
}

#[test]
fn a_recorded_decision_that_was_changed_on_disk_is_damage_and_not_handed_out() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    host.trust(&owner);
    let petition = owner.petition(&host.root(), 1);
    decided(&host, &petition);
    let path = host
        .domain(&owner)
        .dir()
        .join("admission/admission-decision.cbor");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(kind_of(host.keeper().admit(&petition)), Kind::Damage);
}

// The asking side.

#[test]
fn a_decision_is_applied_once_and_changes_no_state_of_this_host() {
    let all = admitted(1 << 30, 86_400, 3);
    let domain = all.home.domain(&all.owner);
    assert_eq!(domain.state(), DomainState::Unrecognized);
    assert_eq!(domain.place(), Place::Home);
    assert_eq!(only_lease(&domain).granted_by, all.keeper.root().id());
    assert_eq!(domain.admissions(), 1);
    let before = files(&all.home.path());
    all.apply().unwrap();
    assert_eq!(files(&all.home.path()), before);
}

#[test]
fn a_decision_that_does_not_hold_is_refused_and_nothing_of_it_recorded() {
    let (home, keeper, owner) = (Host::new(1), Host::new(2), Owner::new(7));
    let stranger = Host::new(3);
    owner.create_on(&home, Place::Home).unwrap();
    for host in [&keeper, &stranger] {
        host.trust(&owner);
    }
    let petition = owner.petition(&keeper.root(), 1);
    let good = keeper.keeper().admit(&petition).unwrap();
    let for_another_request = keeper
        .keeper()
        .admit(&owner.petition(&keeper.root(), 2))
        .unwrap();
    let by_another_host = stranger
        .keeper()
        .admit(&owner.petition(&stranger.root(), 1))
        .unwrap();
    let forged = {
        let key = SigningKey::from_seed(&[66; 32]);
        let sig = cose::sign(Decision::KIND, &good.bytes, &[&key]).unwrap();
        Signed {
            bytes: good.bytes.clone(),
            sig,
        }
    };
    let unsigned = Signed {
        bytes: good.bytes.clone(),
        sig: vec![],
    };
    let mut bad = vec![for_another_request, by_another_host, forged, unsigned];
    for at in (0..good.bytes.len()).step_by(7) {
        let mut tampered = good.clone();
        tampered.bytes[at] ^= 1;
        bad.push(tampered);
    }
    for at in (0..good.sig.len()).step_by(5) {
        let mut tampered = good.clone();
        tampered.sig[at] ^= 1;
        bad.push(tampered);
    }
    let before = files(&home.path());
    for decision in bad {
        let e = apply(&home, &owner, &keeper, &petition, &decision).unwrap_err();
        assert!(matches!(e.kind(), Kind::Refused | Kind::Invalid), "{e}");
        assert_eq!(files(&home.path()), before);
    }
    apply(&home, &owner, &keeper, &petition, &good).unwrap();
    assert!(!home.domain(&owner).leases().is_empty());
}

#[test]
fn a_rejection_is_kept_at_home_and_brings_no_lease() {
    let (home, keeper, owner) = (Host::new(1), Host::new(2), Owner::new(7));
    owner.create_on(&home, Place::Home).unwrap();
    let petition = owner.petition(&keeper.root(), 1);
    let no = keeper.keeper().admit(&petition).unwrap();
    let read = apply(&home, &owner, &keeper, &petition, &no).unwrap();
    assert_eq!(read.outcome, AdmissionResult::Rejected);
    let domain = home.domain(&owner);
    assert!(domain.leases().is_empty());
    assert_eq!(domain.admissions(), 1);
    // Sealing goes on without the host.
    seal_something(
        &home
            .open_to_seal(&owner, asl_host::LeaseScope::Both)
            .unwrap(),
        1,
    );
}

#[test]
fn a_petition_travels_as_files_and_a_missing_one_is_named() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let dir = tempfile::tempdir().unwrap();
    let petition = owner.petition(&host.root(), 1);
    petition.write(dir.path()).unwrap();
    assert_eq!(Petition::read(dir.path()).unwrap(), petition);
    assert_eq!(kind_of(petition.write(dir.path())), Kind::Exists);
    let decision = host.keeper().admit(&petition).unwrap();
    write_decision(dir.path(), &decision).unwrap();
    assert_eq!(read_decision(dir.path()).unwrap(), decision);
    std::fs::remove_file(dir.path().join("admission-request.sig")).unwrap();
    let e = Petition::read(dir.path()).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    assert!(e.to_string().contains("admission-request.sig"), "{e}");
    std::fs::write(dir.path().join("dam.cbor"), vec![0; 100_000]).unwrap();
    assert_eq!(kind_of(Petition::read(dir.path())), Kind::Invalid);
}
