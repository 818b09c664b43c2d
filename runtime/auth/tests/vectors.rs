//! P9: authority is never widened by error, replay or age. One named case each: what is spoilt,
//! and the reason it must be refused with. No two cases may share a reason.

#![allow(clippy::unwrap_used)] // a failed unwrap fails the test

mod common;

use asl_auth::secrets::{passphrase_lock, passphrase_unlock};
use asl_auth::*;
use asl_core::{Digest, DomainHash, Error, Timestamp, Value};
use common::*;
use coset::{iana, CborSerializable, CoseSign, HeaderBuilder};
use std::collections::BTreeMap;
use std::time::Duration;

type Made = Box<dyn Fn() -> String>;

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

fn case(name: &'static str, why: &'static str, made: impl Fn() -> String + 'static) -> Vector {
    Vector {
        name,
        why,
        made: Box::new(made),
    }
}

struct Vector {
    name: &'static str,
    why: &'static str,
    made: Made,
}

fn signature(bytes: &[u8], change: impl FnOnce(&mut CoseSign)) -> Vec<u8> {
    let mut cose = CoseSign::from_slice(bytes).unwrap();
    change(&mut cose);
    cose.to_vec().unwrap()
}

/// A case with a spoilt DAM signature.
fn dam_sig(change: impl FnOnce(&mut CoseSign)) -> String {
    let mut c = Case::new();
    c.dam_sig = signature(&c.dam_sig, change);
    c.rejected()
}

/// A case whose DAM was changed before it was signed.
fn dam_with(key: i64, to: impl Into<Value>) -> String {
    Case::with_dam_bytes(set(&dam().encode(), key, to)).rejected()
}

/// A case whose DAM follows another.
fn following(change: impl FnOnce(&mut Dam)) -> Case {
    let first = verified(&dam());
    let mut next = next_dam(&dam().encode());
    change(&mut next);
    let mut c = Case::with_dam(&next);
    c.previous = Some(first);
    c
}

fn request_with(change: impl FnOnce(&mut AdmissionRequest)) -> String {
    let c = Case::new();
    let mut request = request_for(&c.dam);
    change(&mut request);
    c.with_request(request.encode()).rejected()
}

fn chain() -> Vec<Vector> {
    vec![
        case("rollback", "is older than number 2", || {
            let mut c = Case::new();
            let second = next_dam(&c.dam).encode();
            let sig = sign_dam(&second, &[1, 2]);
            let first = verified(&dam());
            c.previous = Some(Dam::verify(&second, &sig, Some(&first)).unwrap());
            c.rejected()
        }),
        case("fork", "another DAM of number 1", || {
            let mut other = dam();
            other.time = Timestamp::claimed(NOW + 1);
            let mut c = Case::with_dam(&other);
            c.previous = Some(verified(&dam()));
            c.rejected()
        }),
        case(
            "gap in the chain",
            "the chain is broken: number 3 follows number 1",
            || following(|d| d.sequence = 3).rejected(),
        ),
        case(
            "chain to another DAM",
            "it does not name the DAM in force",
            || following(|d| d.previous = Some(Digest::of(b"other"))).rejected(),
        ),
        case(
            "wrong domain",
            "of another domain than the DAM in force",
            || {
                let mut other = genesis(true);
                other.nonce = [1; 16];
                let mut c = Case::new();
                c.previous = Some(verified(&dam_of(&other)));
                c.rejected()
            },
        ),
        case(
            "domain is not its genesis",
            "is not that of its genesis",
            || dam_with(1, DomainHash::from([1; 32])),
        ),
        case(
            "genesis carried off under other keys",
            "not the one its genesis names",
            || {
                let mut stolen = dam();
                stolen.roots = roots(&[7, 8, 9], 2);
                let mut c = Case::with_dam(&stolen);
                c.dam_sig = sign_dam(&c.dam, &[7, 8]);
                c.trusted = vec![root(7).public()];
                c.rejected()
            },
        ),
        case(
            "threshold lowered under a genesis",
            "signed by 1 of the root keys, 2",
            || {
                let mut c = Case::new();
                c.dam_sig = sign_dam(&c.dam, &[3]);
                c.rejected()
            },
        ),
        case(
            "next DAM signed by its own new roots only",
            "signed by 0 of the root keys",
            || {
                let mut c = following(|d| d.roots = roots(&[7, 8, 9], 2));
                c.dam_sig = sign_dam(&c.dam, &[7, 8, 9]);
                c.rejected()
            },
        ),
        case("first DAM with one before it", "only the first DAM", || {
            dam_with(4, Digest::of(b"before"))
        }),
    ]
}

fn signatures() -> Vec<Vector> {
    vec![
        case("same key twice", "signed twice", || {
            dam_sig(|s| s.signatures[1] = s.signatures[0].clone())
        }),
        case(
            "unknown key",
            "signature of asl.dam/1: signed by unknown key",
            || {
                let mut c = Case::new();
                c.dam_sig = sign_dam(&c.dam, &[1, 2, 9]);
                c.rejected()
            },
        ),
        case(
            "DAM altered after signing",
            "signature of asl.dam/1: key",
            || {
                let mut c = Case::new();
                c.dam = set(&c.dam, 9, Timestamp::claimed(1));
                c.rejected()
            },
        ),
        case("algorithm swap", "the algorithm is not Ed25519", || {
            dam_sig(|s| {
                let id = s.signatures[0].protected.header.key_id.clone();
                let es256 = HeaderBuilder::new()
                    .algorithm(iana::Algorithm::ES256)
                    .key_id(id);
                s.signatures[0].protected = coset::ProtectedHeader {
                    original_data: None,
                    header: es256.build(),
                };
            })
        }),
        case("no key id", "no key id of 32 bytes", || {
            dam_sig(|s| {
                let bare = HeaderBuilder::new()
                    .algorithm(iana::Algorithm::EdDSA)
                    .build();
                s.signatures[0].protected = coset::ProtectedHeader {
                    original_data: None,
                    header: bare,
                };
            })
        }),
        case(
            "signatures in another order",
            "not in order of key id",
            || dam_sig(|s| s.signatures.reverse()),
        ),
        case(
            "an unprotected header added",
            "not in its one spelling",
            || dam_sig(|s| s.unprotected.key_id = vec![1]),
        ),
        case(
            "a payload inside the signature",
            "it carries a payload",
            || dam_sig(|s| s.payload = Some(b"other".to_vec())),
        ),
        case("no signature", "not 1 to 16 signatures", || {
            dam_sig(|s| s.signatures.clear())
        }),
        case(
            "another COSE structure",
            "not a COSE_Sign structure",
            || {
                let mut c = Case::new();
                c.dam_sig = asl_core::canon::encode(&Value::Array(vec![Value::Null]));
                c.rejected()
            },
        ),
        case(
            "non-canonical signature",
            "signature of asl.dam/1: not deterministic CBOR",
            || {
                let mut c = Case::new();
                c.dam_sig = [&[0x98, 0x04], &c.dam_sig[1..]].concat();
                c.rejected()
            },
        ),
        case(
            "trailing bytes after a signature",
            "signature of asl.dam/1: trailing",
            || {
                let mut c = Case::new();
                c.dam_sig.push(0);
                c.rejected()
            },
        ),
    ]
}

fn forms() -> Vec<Vector> {
    vec![
        case(
            "non-canonical bytes",
            "number not in its shortest form",
            || {
                let bytes = dam().encode();
                let count = bytes[0] & 31;
                Case::with_dam_bytes([&[0xb8, count], &bytes[1..]].concat()).rejected()
            },
        ),
        case(
            "trailing bytes",
            "asl.dam/1: not deterministic CBOR at byte",
            || {
                let mut bytes = dam().encode();
                bytes.push(0);
                let reason = Case::with_dam_bytes(bytes).rejected();
                assert!(reason.contains("trailing bytes"), "{reason}");
                reason
            },
        ),
        case("equal keys", "duplicate map key", || {
            let twice = changed(&dam().encode(), |m| {
                m.push((Value::from(3), Value::from(1)))
            });
            Case::with_dam_bytes(twice).rejected()
        }),
        case(
            "unknown critical field",
            "key 99: unknown critical field",
            || dam_with(99, 1),
        ),
        case("another version", "it says it is \"asl.dam/2\"", || {
            dam_with(0, "asl.dam/2")
        }),
        case(
            "another document in its place",
            "it says it is \"asl.genesis/1\"",
            || Case::with_dam_bytes(genesis(true).encode()).rejected(),
        ),
        case("weak root key", "a weak key", || {
            let mut small = vec![0u8; 32];
            small[0] = 1;
            dam_with(6, vec![Value::Bytes(small)])
        }),
        case("a root key listed twice", "one stands twice", || {
            let twice = vec![Value::from(root(1).public()); 2];
            dam_with(
                5,
                Value::Map(vec![
                    (Value::from(1), Value::from(2)),
                    (Value::from(2), Value::Array(twice)),
                ]),
            )
        }),
        case(
            "threshold above its keys",
            "threshold not within 1 and its keys",
            || refused(RootSet::new(vec![root(1).public()], 2)),
        ),
        case("threshold zero", "threshold: not 1 to 16", || {
            refused(Genesis::decode(&set(&genesis(true).encode(), 7, 0)))
        }),
        case(
            "policy and recipients disagree",
            "recipients disagree about encryption",
            || {
                let mut d = dam();
                d.encryption = None;
                Case::with_dam(&d).rejected()
            },
        ),
        case(
            "plain DAM over an encrypted genesis",
            "genesis disagree about encryption",
            || {
                let mut d = dam();
                d.encryption = None;
                d.policy.encrypted = false;
                Case::with_dam(&d).rejected()
            },
        ),
        case(
            "a recipient nobody can use",
            "kind that this program does not seal to",
            || {
                let mut d = dam();
                d.encryption.as_mut().unwrap().owner_recipients = vec!["ssh-rsa AAAA".into()];
                Case::with_dam(&d).rejected()
            },
        ),
        case(
            "a recipient with a comment",
            "recipient is not in its one spelling",
            || {
                let mut d = dam();
                let line = format!("{} home", operator().public().to_openssh(""));
                d.encryption.as_mut().unwrap().owner_recipients = vec![line];
                Case::with_dam(&d).rejected()
            },
        ),
        case("ends before it begins", "it ends before it begins", || {
            let mut d = dam();
            (d.not_before, d.not_after) =
                (Some(Timestamp::claimed(NOW)), Some(Timestamp::claimed(NOW)));
            Case::with_dam(&d).rejected()
        }),
        case(
            "a chunker from the future",
            "a chunker this program lacks",
            || {
                let g = genesis(true).encode();
                refused(Genesis::decode(&changed(&g, |m| {
                    let of = |k: i64| move |(key, _): &&mut (Value, Value)| *key == Value::from(k);
                    let params = m.iter_mut().find(of(5)).unwrap().1.as_map_mut().unwrap();
                    params.iter_mut().find(of(6)).unwrap().1 = Value::from(2);
                })))
            },
        ),
        case(
            "a block target out of range",
            "block target not within",
            || {
                let mut g = genesis(true);
                g.params.block_target = 1;
                refused(Genesis::decode(&g.encode()))
            },
        ),
    ]
}

fn requests() -> Vec<Vector> {
    vec![
        case("expired", "it has expired", || {
            let mut d = dam();
            d.not_after = Some(Timestamp::claimed(NOW));
            Case::with_dam(&d).rejected()
        }),
        case("not valid yet", "it is not valid yet", || {
            let mut d = dam();
            d.not_before = Some(Timestamp::claimed(NOW + 1));
            Case::with_dam(&d).rejected()
        }),
        case(
            "request under another DAM",
            "admission request: it names another DAM",
            || request_with(|r| r.dam = Digest::of(b"other")),
        ),
        case("wrong host", "it asks another host", || {
            request_with(|r| r.host = key(41).id())
        }),
        case("request for nothing", "it asks for nothing", || {
            request_with(|r| r.seconds = 0)
        }),
        case(
            "request signed by a root",
            "asl.admission-request/1: signed by unknown",
            || {
                let mut c = Case::new();
                c.request_sig =
                    cose::sign(AdmissionRequest::KIND, &c.request, &[&root(1)]).unwrap();
                c.rejected()
            },
        ),
        case(
            "request altered",
            "signature of asl.admission-request/1: key",
            || {
                let mut c = Case::new();
                c.request = set(&c.request, 3, u64::MAX);
                c.rejected()
            },
        ),
        case(
            "request too long for its code",
            "longer than 300 bytes",
            || {
                let c = Case::new();
                let long = set(&c.request, -1, "x".repeat(300));
                c.with_request(long).rejected()
            },
        ),
        case("label not taken", "takes no domain of this label", || {
            let mut c = Case::new();
            c.policy.labels = vec!["bob*".into()];
            c.rejected()
        }),
        case(
            "plain domain where only encrypted are taken",
            "only encrypted domains",
            || Case::with_dam(&dam_of(&genesis(false))).rejected(),
        ),
        case(
            "roots nobody trusts",
            "rejects it: none of its roots is trusted",
            || {
                let mut c = Case::new();
                c.trusted = vec![operator().public()];
                c.rejected()
            },
        ),
        case(
            "trusted roots, rejected by policy",
            "rejects it: its root is trusted",
            || {
                let mut c = Case::new();
                c.policy.known_roots = AdmissionResult::Rejected;
                c.rejected()
            },
        ),
        case("revoked", "the domain is revoked here", || {
            let mut c = Case::new();
            c.state = DomainState::Revoked;
            c.rejected()
        }),
        case(
            "outcome the domain does not accept",
            "which the domain does not accept",
            || {
                let mut d = dam();
                d.policy.outcomes = vec![AdmissionResult::Accepted];
                Case::with_dam(&d).rejected()
            },
        ),
        case("no room", "no room left", || {
            let mut c = Case::new();
            c.promised = c.policy.total_bytes;
            c.rejected()
        }),
        case("a clock at the end of time", "clock is too far off", || {
            let mut c = Case::new();
            c.now = Timestamp::claimed(i64::MAX);
            c.rejected()
        }),
    ]
}

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

fn decisions() -> Vec<Vector> {
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

fn sessions_and_secrets() -> Vec<Vector> {
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

#[test]
fn every_spoilt_authority_is_refused_for_its_own_reason() {
    let groups = [
        chain(),
        signatures(),
        forms(),
        requests(),
        decisions(),
        sessions_and_secrets(),
    ];
    let mut seen = BTreeMap::new();
    for v in groups.into_iter().flatten() {
        let reason = (v.made)();
        assert!(
            reason.contains(v.why),
            "{}: expected {:?}, got {reason:?}",
            v.name,
            v.why
        );
        if let Some(other) = seen.insert(v.why, v.name) {
            panic!("{} and {other} share a reason", v.name);
        }
    }
    assert!(seen.len() >= 60, "only {} cases", seen.len());
}

#[test]
fn a_signature_in_its_second_mathematical_form_is_refused() {
    // S + L verifies under a lax reading of RFC 8032; strict reading allows one form only.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let c = Case::new();
    let spoilt = signature(&c.request_sig, |s| {
        let sig = &mut s.signatures[0].signature;
        let mut carry = 0u16;
        for (byte, add) in sig[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
    });
    assert_ne!(spoilt, c.request_sig);
    let keys = [operator().public()];
    let verify = |sig: &[u8]| cose::verify(AdmissionRequest::KIND, &c.request, sig, &keys);
    assert!(verify(&c.request_sig).is_ok());
    assert!(verify(&spoilt).is_err());
}

#[test]
fn no_single_flipped_bit_of_what_is_sent_is_admitted() {
    fn part(c: &mut Case, n: usize) -> &mut Vec<u8> {
        match n {
            0 => &mut c.dam,
            1 => &mut c.dam_sig,
            2 => &mut c.request,
            _ => &mut c.request_sig,
        }
    }
    let mut c = Case::new();
    let mut tried = 0;
    for n in 0..4 {
        for bit in (0..part(&mut c, n).len() * 8).step_by(7) {
            part(&mut c, n)[bit / 8] ^= 1 << (bit % 8);
            c.rejected();
            part(&mut c, n)[bit / 8] ^= 1 << (bit % 8);
            tried += 1;
        }
    }
    assert_eq!(c.admit().outcome, AdmissionResult::AcceptedLimited);
    assert!(tried > 1000, "{tried}");
}
