//! The documents that speak of authority, as values.
//!
//! Each is a deterministic CBOR map with integer keys; key 0 names kind and version; its identity
//! is the BLAKE3-256 of its bytes and excludes its signatures (formats.md, "Documents"). The bytes
//! received are the bytes verified, so a reader keeps them and never signs a re-encoding.
//! The byte tables stand in `runtime/FORMATS.md`.

mod dam;
mod decision;
mod delegation;
mod genesis;
mod proven;
mod request;
mod revocation;

pub use dam::{
    Dam, DamPolicy, DomainEncryption, EarlierEpoch, Lineage, OperatorVerb, Role, VerifiedDam,
    MAX_EPOCHS,
};
pub use decision::{AdmissionResult, Decision, LeaseTerms, Reclaim};
pub use delegation::{Delegation, Verb, MAX_DELEGATION};
pub use genesis::{Genesis, RootSet, StoreParams};
pub use proven::Proven;
pub use request::AdmissionRequest;
pub use revocation::{Revocation, RevocationTarget, Revoked};

use crate::keys::PublicKey;
use asl_core::{Error, Fields, Kind, Result, Timestamp};

/// Keys in one list at most: roots, operators, recipients.
pub const MAX_KEYS: usize = 16;

fn bad(what: &str, why: &str) -> Error {
    Error::new(Kind::Invalid, "read", what, why)
}

fn time(f: &mut Fields, key: i64) -> Result<Timestamp> {
    Timestamp::from_value(&f.value(key)?)
}

fn public_key(f: &mut Fields, key: i64) -> Result<PublicKey> {
    PublicKey::from_bytes(&f.bytes(key)?)
}

/// Checks that a list of keys is 1 to 16 long, ascending and without repetition.
fn check_keys(what: &str, keys: &[PublicKey]) -> Result<()> {
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return Err(bad(what, "not 1 to 16 keys"));
    }
    if keys.windows(2).any(|w| w[0] >= w[1]) {
        return Err(bad(what, "keys not ascending, or one stands twice"));
    }
    Ok(())
}

fn public_keys(f: &mut Fields, key: i64, what: &str) -> Result<Vec<PublicKey>> {
    let raw: Vec<[u8; 32]> = f.ids(key)?;
    let keys = raw.iter().map(|b| PublicKey::from_bytes(b));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    check_keys(what, &keys)?;
    Ok(keys)
}
