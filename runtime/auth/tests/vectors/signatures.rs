//! Spoilt signatures.

use super::*;
use asl_core::Timestamp;
use coset::{iana, HeaderBuilder};

pub fn signatures() -> Vec<Vector> {
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
