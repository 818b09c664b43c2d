//! Root keys and epochs that change along the chain: what must not.

use super::*;
use asl_core::{Digest, Timestamp};

/// The DAM after this one, changed, with its lineage, signed by these roots.
fn successor(
    before: &VerifiedDam,
    before_sig: &[u8],
    change: impl FnOnce(&mut Dam),
    by: &[u8],
) -> (Dam, Vec<u8>) {
    let mut next = Dam {
        sequence: before.dam().sequence + 1,
        previous: Some(before.digest()),
        lineage: None,
        ..before.dam().clone()
    };
    change(&mut next);
    if next.lineage.is_none() {
        next.lineage = before
            .lineage_for(&next.roots, &before.dam().encode(), before_sig)
            .unwrap();
    }
    let sig = sign_dam(&next.encode(), by);
    (next, sig)
}

fn first() -> (VerifiedDam, Vec<u8>) {
    let dam = dam();
    (verified(&dam), sign_dam(&dam.encode(), &[1, 2]))
}

/// The second DAM, which brings other root keys, signed by these.
fn second(by: &[u8]) -> (Dam, Vec<u8>) {
    let (first, sig) = first();
    successor(&first, &sig, |d| d.roots = roots(&[7, 8], 2), by)
}

/// A third DAM under the new root keys.
fn third(change: impl FnOnce(&mut Dam)) -> (Dam, Vec<u8>) {
    let (second, sig) = second(&[1, 2, 7, 8]);
    let second = Dam::verify(&second.encode(), &sig, None).unwrap();
    successor(&second, &sig, change, &[7, 8])
}

fn verdict(dam: &(Dam, Vec<u8>), previous: Option<&VerifiedDam>) -> String {
    refused(Dam::verify(&dam.0.encode(), &dam.1, previous))
}

fn with_epoch(dam: &mut Dam, number: u32) {
    let encryption = dam.encryption.as_mut().unwrap();
    let old = EarlierEpoch {
        data_recipient: encryption.data_recipient.clone(),
        epoch_file: encryption.epoch_file,
        keys_file: encryption.keys_file,
    };
    encryption.earlier = vec![old; number as usize - 1];
    encryption.epoch = number;
    let fresh = DataIdentity::generate().recipient().to_string();
    encryption.data_recipient.clone_from(&fresh);
    encryption.index_recipient = fresh;
}

/// A DAM of epoch 2 that follows the first.
fn of_epoch_2() -> (Dam, Vec<u8>) {
    let (first, sig) = first();
    successor(&first, &sig, |d| with_epoch(d, 2), &[1, 2])
}

fn after_epoch_2(change: impl FnOnce(&mut DomainEncryption)) -> String {
    let (second, sig) = of_epoch_2();
    let second = Dam::verify(&second.encode(), &sig, None).unwrap();
    let next = |d: &mut Dam| change(d.encryption.as_mut().unwrap());
    verdict(&successor(&second, &sig, next, &[1, 2]), Some(&second))
}

pub fn roots_change() -> Vec<Vector> {
    vec![
        case(
            "new roots that the new ones did not sign",
            "signed by 0 of its new root keys",
            || verdict(&second(&[1, 2]), Some(&first().0)),
        ),
        case(
            "new roots below their own threshold",
            "signed by 1 of its new root keys",
            || verdict(&second(&[1, 2, 7]), Some(&first().0)),
        ),
        case(
            "new roots, old ones below their threshold",
            "signed by 1 of the old root keys",
            || verdict(&second(&[1, 7, 8]), None),
        ),
        case(
            "new roots without a lineage",
            "and it shows no lineage",
            || {
                let mut dam = third(|_| ());
                dam.0.lineage = None;
                dam.1 = sign_dam(&dam.0.encode(), &[7, 8]);
                verdict(&dam, None)
            },
        ),
        case(
            "lineage of another domain",
            "its lineage is of another domain",
            || {
                let mut other = genesis(true);
                other.nonce = [1; 16];
                let other = dam_of(&other);
                let lineage = Lineage {
                    bytes: other.encode(),
                    sig: sign_dam(&other.encode(), &[1, 2]),
                };
                verdict(&third(|d| d.lineage = Some(lineage)), None)
            },
        ),
        case(
            "lineage that goes on in a circle",
            "its lineage is not older",
            || {
                let (mut ninth, _) = third(|_| ());
                ninth.sequence = 9;
                ninth.previous = Some(Digest::of(b"the eighth"));
                let lineage = Lineage {
                    sig: sign_dam(&ninth.encode(), &[7, 8]),
                    bytes: ninth.encode(),
                };
                verdict(&third(|d| d.lineage = Some(lineage)), None)
            },
        ),
        case(
            "lineage whose own signatures do not hold",
            "asl.dam/1: key",
            || {
                let (second, mut sig) = second(&[1, 2, 7, 8]);
                let end = sig.len() - 1;
                sig[end] ^= 1;
                let lineage = Lineage {
                    bytes: second.encode(),
                    sig,
                };
                verdict(&third(|d| d.lineage = Some(lineage)), None)
            },
        ),
        case(
            "a change of roots passed over",
            "the roots changed in a DAM that is not shown",
            || {
                // Lineage: the first DAM, which cannot vouch for the new roots two numbers later.
                let (one, sig) = first();
                let lineage = Lineage {
                    bytes: one.dam().encode(),
                    sig,
                };
                verdict(&third(|d| d.lineage = Some(lineage)), None)
            },
        ),
        case(
            "rollback over a change of roots",
            "number 1 is older than number 2",
            || {
                let (two, sig) = second(&[1, 2, 7, 8]);
                let two = Dam::verify(&two.encode(), &sig, None).unwrap();
                verdict(&(dam(), first().1), Some(&two))
            },
        ),
        case(
            "fork over a change of roots",
            "another DAM of number 2",
            || {
                let (two, sig) = second(&[1, 2, 7, 8]);
                let two = Dam::verify(&two.encode(), &sig, None).unwrap();
                let (one, one_sig) = first();
                verdict(&successor(&one, &one_sig, |_| (), &[1, 2]), Some(&two))
            },
        ),
        case(
            "freeze: the DAM that ended is shown again",
            "use DAM: it has expired",
            || {
                let mut d = dam();
                d.not_after = Some(Timestamp::claimed(NOW - DAY));
                let held = verified(&d);
                refused(held.check_end(NOW))
            },
        ),
        case(
            "a hundred and one epochs",
            "epochs count from 1 to 100",
            || {
                let mut d = dam();
                with_epoch(&mut d, 101);
                Case::with_dam(&d).rejected()
            },
        ),
        case("an epoch left out", "does not name every epoch", || {
            let mut d = dam();
            with_epoch(&mut d, 3);
            d.encryption.as_mut().unwrap().earlier.pop();
            Case::with_dam(&d).rejected()
        }),
        case(
            "back to the stolen epoch",
            "goes back to epoch 1; epoch 2 is in force",
            || {
                after_epoch_2(|e| {
                    e.epoch = 1;
                    e.data_recipient = OWNER.into();
                    e.index_recipient = OWNER.into();
                    e.earlier.clear();
                })
            },
        ),
        case(
            "an epoch for another data identity",
            "for whom epoch 2 was sealed",
            || after_epoch_2(|e| e.data_recipient = OWNER.into()),
        ),
        case(
            "an earlier epoch for another data identity",
            "for whom epoch 1 was sealed",
            || after_epoch_2(|e| e.earlier[0].data_recipient = e.data_recipient.clone()),
        ),
        case(
            "another index identity within an epoch",
            "the index identity within an epoch",
            || after_epoch_2(|e| e.index_recipient = OWNER.into()),
        ),
        case("peers in disorder", "peers not ascending", || {
            let mut d = dam();
            d.policy.peers = vec![key(60).id(); 2];
            Case::with_dam(&d).rejected()
        }),
    ]
}

#[test]
fn every_good_authority_is_accepted() {
    use super::revocations::*;
    let mut good: Vec<(&str, Result<(), Error>)> = Vec::new();
    let mut holds = |name, result: Result<VerifiedDam, Error>| good.push((name, result.map(drop)));
    let verify = |dam: &(Dam, Vec<u8>), previous: Option<&VerifiedDam>| {
        Dam::verify(&dam.0.encode(), &dam.1, previous)
    };
    let (one, one_sig) = first();
    let two = second(&[1, 2, 7, 8]);
    let three = third(|_| ());
    holds("the first DAM", verify(&(dam(), one_sig.clone()), None));
    holds(
        "the same again",
        verify(&(dam(), one_sig.clone()), Some(&one)),
    );
    holds(
        "by all three roots",
        verify(&(dam(), sign_dam(&dam().encode(), &[1, 2, 3])), None),
    );
    holds(
        "new roots, where the old are known",
        verify(&two, Some(&one)),
    );
    holds("new roots, to who knows nothing", verify(&two, None));
    holds(
        "under the new roots, to who knows nothing",
        verify(&three, None),
    );
    holds(
        "under the new roots, to who knows the old",
        verify(&three, Some(&one)),
    );
    let (fourth, sig) = successor(&verify(&three, None).unwrap(), &three.1, |_| (), &[7, 8]);
    holds(
        "a DAM later, to who knows nothing",
        verify(&(fourth.clone(), sig.clone()), None),
    );
    holds(
        "a DAM later, to who knows the old roots",
        verify(&(fourth.clone(), sig.clone()), Some(&one)),
    );
    let four = verify(&(fourth, sig.clone()), None).unwrap();
    let back = successor(
        &four,
        &sig,
        |d| d.roots = roots(&[4, 5, 6], 2),
        &[7, 8, 4, 5],
    );
    holds("roots changed twice", verify(&back, None));
    holds(
        "roots changed twice, from the first",
        verify(&back, Some(&one)),
    );
    let mut late = dam();
    late.not_after = Some(Timestamp::claimed(NOW - DAY));
    let late_sig = sign_dam(&late.encode(), &[1, 2]);
    let late = verified(&late);
    let renewed = successor(
        &late,
        &late_sig,
        |d| {
            d.not_after = None;
            d.roots = roots(&[7, 8], 2);
        },
        &[1, 2, 7, 8],
    );
    holds(
        "new roots after the old DAM expired",
        verify(&renewed, Some(&late)),
    );
    let jump = successor(
        &one,
        &one_sig,
        |d| {
            d.sequence = 5;
            d.previous = Some(Digest::of(b"the fourth"));
        },
        &[1, 2],
    );
    holds(
        "numbers passed over under one set",
        verify(&jump, Some(&one)),
    );
    holds("a new epoch", verify(&of_epoch_2(), Some(&one)));
    holds("a DAM with roles", {
        let d = dam_with_role(&OperatorVerb::ALL);
        verify(&(d.clone(), sign_dam(&d.encode(), &[1, 2])), None)
    });
    for target in [
        device(),
        RevocationTarget::Operator(operator().id()),
        RevocationTarget::Root(root(3).id()),
        RevocationTarget::Peer(key(60).id()),
        RevocationTarget::Admission(Digest::of(b"r")),
        RevocationTarget::Snapshot(Digest::of(b"s")),
    ] {
        let bytes = revocation_of(&one, target).encode();
        let sig = sign_revocation(&bytes, &[&root(1), &root(2)]);
        let accepted = Revocation::accept(&bytes, &sig, &one, &one);
        good.push((target.kind(), accepted.map(drop)));
    }
    let d = verified(&dam_with_role(&[OperatorVerb::RevokeDevice]));
    let bytes = revocation_of(&d, device()).encode();
    let by_helper = sign_revocation(&bytes, &[&helper()]);
    good.push((
        "a device, by role",
        Revocation::accept(&bytes, &by_helper, &d, &d).map(drop),
    ));

    for (name, result) in &good {
        assert!(result.is_ok(), "{name}: {result:?}");
    }
    println!("{} good authorities accepted", good.len());
    assert!(good.len() >= 10);
}

#[test]
fn revocations_come_in_any_order_and_as_often_as_they_like() {
    use super::revocations::*;
    let dam = verified(&dam());
    let mut one = revocation_of(&dam, device());
    one.number = 2;
    let mut same_earlier = one.clone();
    same_earlier.number = 1;
    let other = revocation_of(&dam, RevocationTarget::Peer(key(60).id()));
    let all = [one, same_earlier, other];
    let mut seen = Vec::new();
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        let mut dam = dam.clone();
        for n in order.into_iter().chain(order) {
            dam.revoke(all[n].clone());
        }
        seen.push(dam.revoked().clone());
    }
    assert!(seen.windows(2).all(|w| w[0] == w[1]));
    assert_eq!(seen[0].all().count(), 2);
    assert_eq!(seen[0].of(&device()).unwrap().number, 1);
    assert!(seen[0].missing().is_empty());
    let mut far = dam.clone();
    let mut fourth = revocation_of(&dam, device());
    fourth.number = 4;
    far.revoke(fourth);
    assert_eq!(far.revoked().missing(), [1, 2, 3]);
}

#[test]
fn holders_sign_in_turn_and_none_twice() {
    let bytes = dam().encode();
    let known = roots(&[1, 2, 3], 2).keys().to_vec();
    let one = sign_dam(&bytes, &[2]);
    let both = cose::add(Dam::KIND, &bytes, &one, &known, &root(1)).unwrap();
    assert_eq!(both, sign_dam(&bytes, &[1, 2]));
    let e = cose::add(Dam::KIND, &bytes, &both, &known, &root(1)).unwrap_err();
    assert!(e.why().contains("signed it already"), "{e}");
    let e = cose::add(Dam::KIND, &bytes, &sign_dam(&bytes, &[9]), &known, &root(1)).unwrap_err();
    assert!(e.why().contains("unknown key"), "{e}");
}
