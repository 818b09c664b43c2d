//! Spoilt revocations, what is revoked, and roles that are overstepped.

use super::*;
use asl_core::{Digest, DomainHash, Timestamp};

/// A second operator, of whom a role says what it may sign.
pub fn helper() -> SigningKey {
    key(31)
}

/// A DAM with two operators: the usual one, and a helper with this role.
pub fn dam_with_role(verbs: &[OperatorVerb]) -> Dam {
    let mut dam = dam();
    dam.operators.push(helper().public());
    dam.operators.sort();
    dam.roles = vec![Role {
        operator: helper().public(),
        verbs: verbs.to_vec(),
    }];
    dam
}

pub fn revocation_of(dam: &VerifiedDam, target: RevocationTarget) -> Revocation {
    Revocation {
        domain: dam.dam().domain,
        number: 1,
        dam: dam.digest(),
        target,
        reason: "stolen".into(),
        time: Timestamp::claimed(NOW),
    }
}

pub fn device() -> RevocationTarget {
    RevocationTarget::Device(key(50).id())
}

pub fn sign_revocation(bytes: &[u8], keys: &[&SigningKey]) -> Vec<u8> {
    cose::sign(Revocation::KIND, bytes, keys).unwrap()
}

/// The verified DAM with one thing revoked by its roots.
pub fn after(dam: &Dam, target: RevocationTarget) -> VerifiedDam {
    let mut dam = verified(dam);
    let bytes = revocation_of(&dam, target).encode();
    let sig = sign_revocation(&bytes, &[&root(1), &root(2)]);
    dam.revoke(Revocation::accept(&bytes, &sig, &dam, &dam).unwrap());
    dam
}

/// A revocation by the roots, changed before it was signed.
fn changed_by(change: impl FnOnce(&mut Revocation)) -> String {
    let dam = verified(&dam());
    let mut revocation = revocation_of(&dam, device());
    change(&mut revocation);
    let bytes = revocation.encode();
    let sig = sign_revocation(&bytes, &[&root(1), &root(2)]);
    refused(Revocation::accept(&bytes, &sig, &dam, &dam))
}

/// The bytes of a revocation, spoilt and duly signed.
fn spelt(spoil: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    let dam = verified(&dam());
    let bytes = spoil(revocation_of(&dam, device()).encode());
    let sig = sign_revocation(&bytes, &[&root(1), &root(2)]);
    refused(Revocation::accept(&bytes, &sig, &dam, &dam))
}

/// A revocation signed by these keys.
fn signed_by(dam: &Dam, target: RevocationTarget, keys: &[&SigningKey]) -> String {
    let dam = verified(dam);
    let bytes = revocation_of(&dam, target).encode();
    let sig = sign_revocation(&bytes, keys);
    refused(Revocation::accept(&bytes, &sig, &dam, &dam))
}

fn delegation_by(signer: &SigningKey, dam: &VerifiedDam) -> Result<Delegation, Error> {
    let bytes = Delegation {
        device: key(50).public(),
        session: [1; 16],
        start: Timestamp::claimed(0),
        duration_s: 3600,
        verbs: vec![Verb::SignHead],
        dam: dam.digest(),
    }
    .encode();
    let sig = cose::sign(Delegation::KIND, &bytes, &[signer]).unwrap();
    Delegation::verify(&bytes, &sig, dam)
}

pub fn forms() -> Vec<Vector> {
    vec![
        case(
            "revocation of another domain",
            "verify revocation: it is of another domain",
            || changed_by(|r| r.domain = DomainHash::from([1; 32])),
        ),
        case(
            "revocation under an unknown DAM",
            "names a DAM that is not known",
            || changed_by(|r| r.dam = Digest::of(b"other")),
        ),
        case("revocation number 0", "revocations count from 1", || {
            changed_by(|r| r.number = 0)
        }),
        case(
            "a revocation that drives the terminal",
            "the reason is missing, too long",
            || changed_by(|r| r.reason = "\x1b[2J".into()),
        ),
        case(
            "revocation of what nobody knows",
            "revokes what nobody knows",
            || {
                spelt(|b| {
                    let target = vec![
                        (Value::from(1), Value::from("moon")),
                        (Value::from(2), Value::Bytes(vec![0; 32])),
                    ];
                    set(&b, 4, Value::Map(target))
                })
            },
        ),
        case(
            "revocation with trailing bytes",
            "asl.revocation/1: not deterministic CBOR at byte",
            || spelt(|b| [&b[..], &[0]].concat()),
        ),
        case(
            "revocation with an unknown critical field",
            "asl.revocation/1: key 77",
            || spelt(|b| set(&b, 77, 1)),
        ),
        case(
            "revocation of another version",
            "it says it is \"asl.revocation/2\"",
            || spelt(|b| set(&b, 0, "asl.revocation/2")),
        ),
        case(
            "delegation in a revocation's place",
            "it says it is \"asl.delegation/1\"",
            || spelt(|b| set(&b, 0, "asl.delegation/1")),
        ),
        case(
            "revocation altered after signing",
            "signature of asl.revocation/1: key",
            || {
                let dam = verified(&dam());
                let bytes = revocation_of(&dam, device()).encode();
                let sig = sign_revocation(&bytes, &[&root(1), &root(2)]);
                refused(Revocation::verify(&set(&bytes, 5, "lost"), &sig, &dam))
            },
        ),
        case(
            "revocation by a stranger",
            "asl.revocation/1: signed by unknown",
            || signed_by(&dam(), device(), &[&key(41)]),
        ),
    ]
}

pub fn authority() -> Vec<Vector> {
    vec![
        case(
            "revocation below the threshold",
            "verify revocation: signed by 1 of the root keys",
            || signed_by(&dam(), device(), &[&root(1)]),
        ),
        case(
            "operator without the role revokes a device",
            "may revoke: device",
            || signed_by(&dam(), device(), &[&operator()]),
        ),
        case(
            "operator revokes an operator",
            "may revoke: operator",
            || {
                let d = dam_with_role(&OperatorVerb::ALL);
                signed_by(
                    &d,
                    RevocationTarget::Operator(operator().id()),
                    &[&helper()],
                )
            },
        ),
        case("operator revokes a root", "may revoke: root", || {
            let d = dam_with_role(&OperatorVerb::ALL);
            signed_by(&d, RevocationTarget::Root(root(1).id()), &[&helper()])
        }),
        case(
            "operator with another role revokes a peer",
            "may revoke: peer",
            || {
                let d = dam_with_role(&[OperatorVerb::RevokeDevice]);
                signed_by(&d, RevocationTarget::Peer(key(60).id()), &[&helper()])
            },
        ),
        case(
            "operator that may only ask revokes an admission",
            "may revoke: admission",
            || {
                let d = dam_with_role(&[OperatorVerb::AdmitRequest]);
                signed_by(
                    &d,
                    RevocationTarget::Admission(Digest::of(b"r")),
                    &[&helper()],
                )
            },
        ),
        case("revoked operator revokes", "may revoke: snapshot", || {
            let d = dam_with_role(&OperatorVerb::ALL);
            let dam = after(&d, RevocationTarget::Operator(helper().id()));
            let target = RevocationTarget::Snapshot(Digest::of(b"s"));
            let bytes = revocation_of(&dam, target).encode();
            let sig = sign_revocation(&bytes, &[&helper()]);
            refused(Revocation::accept(&bytes, &sig, &verified(&d), &dam))
        }),
        case(
            "revoked root below the threshold of the others",
            "could not sign the next DAM",
            || {
                let mut d = dam();
                d.roots = roots(&[1, 2, 3], 2);
                let dam = after(&d, RevocationTarget::Root(root(3).id()));
                let bytes = revocation_of(&dam, RevocationTarget::Root(root(2).id())).encode();
                let sig = sign_revocation(&bytes, &[&root(1), &root(2)]);
                refused(Revocation::accept(&bytes, &sig, &dam, &dam))
            },
        ),
        case(
            "old roots revoke after their set was replaced",
            "under the DAM in force: signed by unknown key",
            || {
                let first = verified(&dam());
                let second = rotated(&first);
                let bytes = revocation_of(&first, RevocationTarget::Peer(key(60).id())).encode();
                let sig = sign_revocation(&bytes, &[&root(1), &root(2)]);
                refused(Revocation::accept(&bytes, &sig, &first, &second))
            },
        ),
        case(
            "request by a revoked operator",
            "is revoked: stolen",
            || {
                let mut c = Case::new();
                c.previous = Some(after(&dam(), RevocationTarget::Operator(operator().id())));
                c.rejected()
            },
        ),
        case(
            "delegation by a revoked operator",
            "signature of asl.delegation/1: operator",
            || {
                let dam = after(&dam(), RevocationTarget::Operator(operator().id()));
                refused(delegation_by(&operator(), &dam))
            },
        ),
        case(
            "next DAM signed with a revoked root",
            "signed by 1 of the root keys and by 1 that are revoked",
            || {
                let mut c = following(|_| ());
                c.previous = Some(after(&dam(), RevocationTarget::Root(root(1).id())));
                c.rejected()
            },
        ),
        case(
            "operator asks without the role",
            "has not the role to sign: admit-request",
            || {
                let d = dam_with_role(&[OperatorVerb::Delegate]);
                let mut c = Case::with_dam(&d);
                c.request_sig =
                    cose::sign(AdmissionRequest::KIND, &c.request, &[&helper()]).unwrap();
                c.rejected()
            },
        ),
        case(
            "operator delegates without the role",
            "has not the role to sign: delegate",
            || {
                let dam = verified(&dam_with_role(&[OperatorVerb::AdmitRequest]));
                refused(delegation_by(&helper(), &dam))
            },
        ),
        case(
            "a role that nobody has",
            "a verb that no operator has",
            || {
                let d = dam_with_role(&OperatorVerb::ALL).encode();
                Case::with_dam_bytes(changed(&d, |m| {
                    let roles = &mut m.iter_mut().find(|(k, _)| *k == Value::from(13)).unwrap().1;
                    let role = roles.as_array_mut().unwrap()[0].as_map_mut().unwrap();
                    role[1].1 = Value::Array(vec![Value::from("rule")]);
                }))
                .rejected()
            },
        ),
        case(
            "a role of a key that is no operator",
            "of a key that is no operator",
            || {
                let mut d = dam_with_role(&OperatorVerb::ALL);
                d.operators = vec![operator().public()];
                Case::with_dam(&d).rejected()
            },
        ),
        case("a role without verbs", "a role without verbs", || {
            Case::with_dam(&dam_with_role(&[])).rejected()
        }),
    ]
}
