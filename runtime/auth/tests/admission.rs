//! What is admitted, on what terms, and how a chain of DAMs goes on.

mod common;

use asl_auth::*;
use asl_core::{Digest, Timestamp};
use common::*;

#[test]
fn a_trusted_root_gets_a_courtesy_lease_within_what_was_asked_and_what_policy_allows() {
    let c = Case::new();
    let lease = c.admit().lease.unwrap();
    assert_eq!(c.admit().outcome, AdmissionResult::AcceptedLimited);
    assert_eq!(lease.storage_bytes, 10 << 30);
    assert_eq!(lease.snapshots, 8);
    assert_eq!(lease.expires_at.unix_ns, NOW + 7 * DAY);
    assert_eq!(lease.grace_s, 7 * 86400);
    assert!(lease.encryption_only && lease.renewable);

    let mut greedy = request_for(&c.dam);
    greedy.storage_bytes = u64::MAX;
    greedy.seconds = u64::MAX;
    greedy.snapshots = u32::MAX;
    let mut c = c.with_request(greedy.encode());
    let lease = c.admit().lease.unwrap();
    assert_eq!(lease.storage_bytes, c.policy.lease.bytes);
    assert_eq!(lease.snapshots, c.policy.lease.snapshots);
    assert_eq!(lease.expires_at.unix_ns, NOW + 30 * DAY);

    c.promised = c.policy.total_bytes - 5;
    assert_eq!(c.admit().lease.unwrap().storage_bytes, 5);
}

#[test]
fn the_same_input_gives_the_same_decision_and_another_request_another_lease() {
    let c = Case::new();
    assert_eq!(c.admit(), c.admit());
    let mut again = request_for(&c.dam);
    again.nonce = [6; 16];
    let other = Case::new().with_request(again.encode());
    assert_ne!(
        c.admit().lease.unwrap().lease_id,
        other.admit().lease.unwrap().lease_id
    );
}

#[test]
fn policy_decides_what_known_and_unknown_roots_get() {
    let mut c = Case::new();
    c.policy.known_roots = AdmissionResult::Accepted;
    let d = c.admit();
    assert_eq!((d.outcome, d.lease), (AdmissionResult::Accepted, None));
    c.policy.known_roots = AdmissionResult::Deferred;
    let d = c.admit();
    assert_eq!((d.outcome, d.lease), (AdmissionResult::Deferred, None));
    assert!(d.reason.contains("decides later"), "{}", d.reason);

    c.trusted.clear();
    c.policy.unknown_roots = AdmissionResult::AcceptedLimited;
    assert_eq!(c.admit().outcome, AdmissionResult::AcceptedLimited);
}

#[test]
fn the_keepers_ruling_takes_the_place_of_the_policys_outcome_and_of_no_other_rule() {
    let mut c = Case::new();
    c.trusted.clear();
    c.strangers = c.policy.strangers;
    for (ruling, lease) in [
        (AdmissionResult::AcceptedLimited, true),
        (AdmissionResult::Accepted, false),
        (AdmissionResult::Deferred, false),
    ] {
        c.ruling = Some(ruling);
        let d = c.admit();
        assert_eq!((d.outcome, d.lease.is_some()), (ruling, lease));
        assert!(d.reason.contains("the keeper of this host decided"));
    }
    c.ruling = Some(AdmissionResult::AcceptedLimited);
    let asked = c.admit().lease.unwrap();
    assert_eq!(asked.storage_bytes, 10 << 30);
    c.policy.labels = vec!["bob".into()];
    assert!(c.rejected().contains("label"));
    c.policy.labels = vec!["*".into()];
    c.promised = c.policy.total_bytes;
    assert!(c.rejected().contains("no room"));
    c.request_sig = vec![0xa0];
    c.rejected();
}

#[test]
fn strangers_beyond_the_number_are_refused_and_known_roots_are_not() {
    let mut c = Case::new();
    c.strangers = u32::MAX;
    assert_eq!(c.admit().outcome, AdmissionResult::AcceptedLimited);
    c.trusted.clear();
    c.policy.unknown_roots = AdmissionResult::AcceptedLimited;
    c.strangers = c.policy.strangers - 1;
    assert_eq!(c.admit().outcome, AdmissionResult::AcceptedLimited);
    c.strangers += 1;
    assert!(c.rejected().contains("keeps 64 domains"));
}

#[test]
fn a_plain_domain_is_taken_where_policy_allows_it() {
    let mut c = Case::with_dam(&dam_of(&genesis(false)));
    c.policy.encryption_only = false;
    assert!(!c.admit().lease.unwrap().encryption_only);
}

#[test]
fn a_host_that_knows_the_domain_takes_its_next_dam_and_the_same_dam_again() {
    let first = verified(&dam());
    let mut c = Case::new();
    c.previous = Some(first.clone());
    assert_eq!(c.admit().outcome, AdmissionResult::AcceptedLimited);

    let mut c = Case::with_dam(&next_dam(&dam().encode()));
    c.previous = Some(first);
    assert_eq!(c.admit().outcome, AdmissionResult::AcceptedLimited);
}

#[test]
fn a_host_that_never_saw_the_domain_takes_a_later_dam_under_the_first_root_set() {
    let c = Case::with_dam(&next_dam(&dam().encode()));
    assert_eq!(c.admit().outcome, AdmissionResult::AcceptedLimited);
}

#[test]
fn a_root_set_is_replaced_along_the_chain_and_the_old_one_then_counts_for_nothing() {
    let first = verified(&dam());
    let mut second = next_dam(&dam().encode());
    second.roots = roots(&[7, 8], 1);
    let bytes = second.encode();
    // Both sets must sign.
    let second = Dam::verify(&bytes, &sign_dam(&bytes, &[1, 2, 7]), Some(&first)).unwrap();
    assert_eq!(second.signers().len(), 3);

    let third = Dam {
        sequence: 3,
        previous: Some(second.digest()),
        roots: roots(&[7, 8], 1),
        ..dam()
    };
    let bytes = third.encode();
    assert!(Dam::verify(&bytes, &sign_dam(&bytes, &[8]), Some(&second)).is_ok());
    let e = Dam::verify(&bytes, &sign_dam(&bytes, &[1, 2]), Some(&second)).unwrap_err();
    assert!(e.why().contains("unknown key"), "{e}");
    // Without the chain nobody can know that the set was replaced by right.
    let e = Dam::verify(&bytes, &sign_dam(&bytes, &[8]), None).unwrap_err();
    assert!(e.why().contains("its genesis names"), "{e}");
}

#[test]
fn a_dam_within_its_bounds_is_valid_whatever_the_year_the_clock_claims() {
    let mut c = Case::new();
    for year in [1970, 2026, 2106] {
        c.now = Timestamp::claimed((year - 1970) * 365 * DAY);
        assert_eq!(c.admit().outcome, AdmissionResult::AcceptedLimited);
    }
    let mut d = dam();
    d.not_before = Some(Timestamp::claimed(NOW));
    d.not_after = Some(Timestamp::claimed(NOW + 1));
    assert_eq!(
        Case::with_dam(&d).admit().outcome,
        AdmissionResult::AcceptedLimited
    );
}

#[test]
fn the_asking_side_believes_the_host_it_pinned() {
    let c = Case::new();
    let bytes = c.admit().encode();
    let sig = cose::sign(Decision::KIND, &bytes, &[&host()]).unwrap();
    let read = check_decision(&bytes, &sig, &host().public(), &c.request).unwrap();
    assert_eq!(read, c.admit());
    assert_eq!(read.request, Digest::of(&c.request));
}

#[test]
fn a_signed_request_fits_one_qr_code_even_at_its_longest() {
    let longest = AdmissionRequest {
        storage_bytes: u64::MAX,
        seconds: u64::MAX,
        snapshots: u32::MAX,
        time: Timestamp::claimed(i64::MIN),
        ..request_for(b"dam")
    };
    let bytes = longest.encode();
    let signed = bytes.len() + sign_request(&bytes).len();
    assert!(
        bytes.len() <= AdmissionRequest::MAX_BYTES,
        "{}",
        bytes.len()
    );
    assert!(signed <= AdmissionRequest::MAX_SIGNED, "{signed}");
    assert_eq!(AdmissionRequest::decode(&bytes).unwrap(), longest);
}

#[test]
fn an_outcome_moves_the_domain_as_the_table_says_and_revocation_is_for_good() {
    use AdmissionResult::{Accepted, AcceptedLimited, Deferred, Rejected};
    use DomainState::{Courtesy, Full, Revoked, Suspended, Unrecognized};
    for (from, outcome, to) in [
        (Unrecognized, Accepted, Full),
        (Unrecognized, AcceptedLimited, Courtesy),
        (Unrecognized, Deferred, Unrecognized),
        (Unrecognized, Rejected, Unrecognized),
        (Courtesy, Accepted, Full),
        (Courtesy, Rejected, Courtesy),
        (Full, Rejected, Full),
        (Suspended, AcceptedLimited, Courtesy),
        (Suspended, Deferred, Suspended),
        (Revoked, Accepted, Revoked),
        (Revoked, AcceptedLimited, Revoked),
    ] {
        assert_eq!(from.after(outcome), to, "{from} {outcome}");
        assert_eq!(from.code().parse::<DomainState>().unwrap(), from);
    }
}

#[test]
fn every_document_is_read_back_as_it_was_written() {
    let g = genesis(true);
    assert_eq!(Genesis::decode(&g.encode()).unwrap(), g);
    assert!(g.domain_id().names(&g.hash()));
    let mut d = next_dam(&dam().encode());
    d.not_before = Some(Timestamp::claimed(-1));
    assert_eq!(Dam::decode(&d.encode()).unwrap(), d);
    let delegation = Delegation {
        device: key(50).public(),
        session: [1; 16],
        start: Timestamp::claimed(0),
        duration_s: 604_800,
        verbs: Verb::ALL.to_vec(),
        dam: verified(&dam()).digest(),
    };
    let bytes = delegation.encode();
    let sig = cose::sign(Delegation::KIND, &bytes, &[&operator()]).unwrap();
    let read = Delegation::verify(&bytes, &sig, &verified(&dam())).unwrap();
    assert_eq!(read, delegation);
    let week = std::time::Duration::from_secs(604_800);
    assert!(read.allows(Verb::SignManifest, week).is_ok());
}
