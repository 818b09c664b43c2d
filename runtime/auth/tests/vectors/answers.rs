//! Decisions, delegations, proofs and secrets that must not be believed.

use super::*;
use asl_auth::secrets::{passphrase_lock, passphrase_unlock};
use asl_core::{Digest, Timestamp};
use std::time::Duration;

fn decided(change: impl FnOnce(&mut Decision)) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let c = Case::new();
    let mut decision = c.admit();
    change(&mut decision);
    let bytes = decision.encode();
    let sig = cose::sign(Decision::KIND, &bytes, &[&host()]).unwrap();
    (bytes, sig, c.request)
}

fn believed(change: impl FnOnce(&mut Decision)) -> String {
    let (bytes, sig, request) = decided(change);
    refused(check_decision(&bytes, &sig, &host().public(), &request))
}

pub fn decisions() -> Vec<Vector> {
    vec![
        case("decision by another host", "another host decided", || {
            believed(|d| d.host = key(41).id())
        }),
        case(
            "decision for another request",
            "it answers another request",
            || believed(|d| d.request = Digest::of(b"other")),
        ),
        case(
            "decision signed by another key",
            "asl.admission-decision/1: signed by unk",
            || {
                let (bytes, _, request) = decided(|_| ());
                let sig = cose::sign(Decision::KIND, &bytes, &[&key(41)]).unwrap();
                refused(check_decision(&bytes, &sig, &host().public(), &request))
            },
        ),
        case(
            "decision made better on the way",
            "asl.admission-decision/1: key",
            || {
                let (_, sig, request) = decided(|_| ());
                let (better, _, _) = decided(|d| d.lease.as_mut().unwrap().storage_bytes *= 2);
                refused(check_decision(&better, &sig, &host().public(), &request))
            },
        ),
        case(
            "rejected, yet with a lease",
            "outcome and lease disagree",
            || believed(|d| d.outcome = AdmissionResult::Rejected),
        ),
        case(
            "a reason that drives the terminal",
            "not printable ASCII",
            || believed(|d| d.reason = "\x1b[2J".into()),
        ),
        case(
            "an outcome nobody knows",
            "not ACCEPTED, ACCEPTED_LIMITED",
            || {
                let (bytes, _, _) = decided(|_| ());
                refused(Decision::decode(&set(&bytes, 3, "PERHAPS")))
            },
        ),
    ]
}

fn delegation() -> Delegation {
    Delegation {
        device: key(50).public(),
        session: [1; 16],
        start: Timestamp::claimed(0),
        duration_s: 3600,
        verbs: vec![Verb::SignHead, Verb::SignManifest],
        dam: verified(&dam()).digest(),
    }
}

fn delegated(change: impl FnOnce(&mut Delegation)) -> String {
    let mut d = delegation();
    change(&mut d);
    let bytes = d.encode();
    let sig = cose::sign(Delegation::KIND, &bytes, &[&operator()]).unwrap();
    refused(Delegation::verify(&bytes, &sig, &verified(&dam())))
}

fn proof(signer: &SigningKey, recipient: &str) -> Result<Proven, Error> {
    let bytes = Proven {
        data_recipient: OWNER.into(),
        owner_recipients: vec![recipient.into()],
        time: Timestamp::claimed(NOW),
    }
    .encode();
    let sig = cose::sign(Proven::KIND, &bytes, &[signer]).unwrap();
    Proven::verify(&bytes, &sig, &verified(&dam()))
}

pub fn sessions_and_secrets() -> Vec<Vector> {
    vec![
        case(
            "signature of another kind",
            "signature of asl.delegation/1: key",
            || {
                let bytes = delegation().encode();
                let sig = cose::sign(AdmissionRequest::KIND, &bytes, &[&operator()]).unwrap();
                refused(Delegation::verify(&bytes, &sig, &verified(&dam())))
            },
        ),
        case(
            "device delegates itself",
            "asl.delegation/1: signed by unknown",
            || {
                let bytes = delegation().encode();
                let sig = cose::sign(Delegation::KIND, &bytes, &[&key(50)]).unwrap();
                refused(Delegation::verify(&bytes, &sig, &verified(&dam())))
            },
        ),
        case(
            "delegation under another DAM",
            "verify delegation: it names another",
            || delegated(|d| d.dam = Digest::of(b"other")),
        ),
        case("delegation of 8 days", "not 1 second to 7 days", || {
            delegated(|d| d.duration_s = 8 * 86400)
        }),
        case("delegation of nothing", "no verbs, or not in order", || {
            delegated(|d| d.verbs.clear())
        }),
        case("a verb nobody knows", "an unknown verb", || {
            let bytes = set(&delegation().encode(), 5, vec![Value::from("sign-dam")]);
            refused(Delegation::decode(&bytes))
        }),
        case(
            "a verb that was not delegated",
            "cannot renew session",
            || refused(delegation().allows(Verb::Renew, Duration::ZERO)),
        ),
        case(
            "a session that lasts too long",
            "ended after 3600 s",
            || refused(delegation().allows(Verb::SignHead, Duration::from_secs(3601))),
        ),
        case(
            "proof of other recipients",
            "proves other recipients",
            || {
                let other = OpenIdentity::generate().0.recipients()[0].to_string();
                refused(proof(&operator(), &other))
            },
        ),
        case(
            "proof by a stranger",
            "asl.proven/1: signed by unknown key",
            || refused(proof(&key(41), OWNER)),
        ),
        case("wrong passphrase", "wrong passphrase", || {
            let sealed = passphrase_lock(b"x", "right", 2).unwrap();
            refused(passphrase_unlock(&sealed, "wrong", 20))
        }),
        case(
            "work factor above the maximum",
            "asks for work factor 5",
            || {
                let sealed = passphrase_lock(b"x", "right", 5).unwrap();
                refused(passphrase_unlock(&sealed, "right", 4))
            },
        ),
    ]
}
