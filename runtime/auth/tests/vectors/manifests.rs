//! Spoilt DAMs: their chain and their form.

use super::*;
use asl_core::{Digest, DomainHash, Timestamp};

pub fn chain() -> Vec<Vector> {
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
            // It names the DAM in force, and yet two numbers lie between.
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
            "signed by 0 of the old root keys",
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

pub fn forms() -> Vec<Vector> {
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
                d.encryption.as_mut().unwrap().owner_recipients = vec!["ssh-dss AAAA".into()];
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
