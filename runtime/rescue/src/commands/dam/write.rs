//! `dam create` and `dam sign`: a domain's first DAM, and each next one.

use crate::commands::context;
use crate::commands::keys::generate::EPOCH_PUB;
use crate::out::Out;
use asl_auth::{
    cose, AdmissionResult, Dam, DamPolicy, DomainEncryption, Genesis, PublicKey, RootSet,
    SigningKey, StoreParams, VerifiedDam,
};
use asl_backend::files;
use asl_core::{Digest, Error, Kind, Result, Timestamp};
use asl_host::keystick::{name, KeyStick};
use serde_json::json;
use std::path::Path;

/// Nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;

pub fn create(
    keys: &Path,
    label: Option<&str>,
    next: bool,
    days: Option<u32>,
    out: Out,
) -> Result<()> {
    let dam = match label {
        Some(label) if !next => first(keys, label, days)?,
        _ => following(keys, days)?,
    };
    let id = dam.check()?.domain_id();
    out.result(
        &format!(
            "Wrote DAM number {} of {id}.\nNext: `asl-host dam sign --keys {}`.",
            dam.sequence,
            keys.display()
        ),
        &json!({
            "domain_id": id.to_string(),
            "domain_hash": dam.domain.to_string(),
            "sequence": dam.sequence,
        }),
    )
}

/// Writes the first DAM of a new domain, not yet signed.
///
/// # Errors
/// `Exists` where there is a DAM; `Invalid` for a label that is none; those of the key files.
pub fn first(keys: &Path, label: &str, days: Option<u32>) -> Result<Dam> {
    let stick = KeyStick::open(keys)?;
    let context = context();
    let roots = RootSet::new(PublicKey::parse_file(&stick.text(name::ROOT_PUB)?)?, 1)?;
    let host = roots.keys().first().map(PublicKey::id);
    let genesis = Genesis {
        label: label.parse()?,
        nonce: context.nonce()?,
        host: host.unwrap_or(asl_core::KeyId::from([0; 32])),
        time: Timestamp::claimed(context.clock.wall_ns()),
        params: StoreParams::standard(true),
        root_set: roots.digest(),
        threshold: roots.threshold(),
    };
    let dam = compose(&stick, genesis.encode(), roots, None, days)?;
    stick.write(name::DAM, &dam.encode(), false).map_err(|e| {
        if e.kind() != Kind::Exists {
            return e;
        }
        e.next("the next DAM of the same domain is `asl-host dam create --next`; a new domain wants new keys")
    })?;
    Ok(dam)
}

/// Writes the DAM that follows the one in force, from the keys as they are now, not yet signed.
/// The old one is kept as `dam-N.cbor` and `dam-N.sig`.
///
/// # Errors
/// Those of the DAM in force, which must verify; `Io`.
fn following(keys: &Path, days: Option<u32>) -> Result<Dam> {
    let stick = KeyStick::open(keys)?;
    let signed = stick.dam()?;
    let before = Dam::verify(&signed.bytes, &signed.sig, None)?;
    let roots = RootSet::new(PublicKey::parse_file(&stick.text(name::ROOT_PUB)?)?, 1)?;
    let genesis = before.dam().genesis.clone();
    let dam = compose(&stick, genesis, roots, Some(&before), days)?;
    let n = before.dam().sequence;
    stick.write(&format!("dam-{n}.cbor"), &signed.bytes, true)?;
    stick.write(&format!("dam-{n}.sig"), &signed.sig, true)?;
    // Without its signatures first: the old ones never lie beside the new document.
    stick.remove(name::DAM_SIG)?;
    stick.write(name::DAM, &dam.encode(), true)?;
    Ok(dam)
}

fn compose(
    stick: &KeyStick,
    genesis: Vec<u8>,
    roots: RootSet,
    before: Option<&VerifiedDam>,
    days: Option<u32>,
) -> Result<Dam> {
    let now = context().clock.wall_ns();
    let public = stick.text(EPOCH_PUB)?;
    let [data_recipient, index_recipient]: [&str; 2] =
        public.lines().collect::<Vec<_>>().try_into().map_err(|_| {
            let why = "it does not hold two recipients";
            Error::new(Kind::Invalid, "read", EPOCH_PUB, why)
        })?;
    let end = |d| now.saturating_add(i64::from(d).saturating_mul(DAY));
    let dam = Dam {
        domain: Genesis::hash_of(&genesis),
        genesis,
        sequence: before.map_or(1, |b| b.dam().sequence.saturating_add(1)),
        previous: before.map(VerifiedDam::digest),
        roots,
        operators: PublicKey::parse_file(&stick.text(name::OPERATOR_PUB)?)?,
        encryption: Some(DomainEncryption {
            epoch: 1,
            data_recipient: data_recipient.to_string(),
            index_recipient: index_recipient.to_string(),
            owner_recipients: stick
                .text(name::OWNER_PUB)?
                .lines()
                .map(str::to_string)
                .collect(),
            epoch_file: Digest::of(&stick.read("epoch-1.age")?),
            keys_file: Digest::of(&stick.read("epoch-1.keys.age")?),
        }),
        policy: DamPolicy {
            encrypted: true,
            outcomes: vec![AdmissionResult::Accepted, AdmissionResult::AcceptedLimited],
        },
        time: Timestamp::claimed(now),
        not_before: None,
        not_after: days.map(end).map(Timestamp::claimed),
    };
    dam.check()?;
    Ok(dam)
}

pub fn sign(keys: &Path, root_key: Option<&Path>, out: Out) -> Result<()> {
    let (verified, key) = sign_with(keys, root_key)?;
    let id = verified.genesis().domain_id();
    out.result(
        &format!("Signed DAM number {} of {id} with root key {}.\nNext: `asl-host key check`, then `asl-host key bundle`.", verified.dam().sequence, key.words()),
        &json!({ "domain_id": id.to_string(), "signed_by": key.id().to_string() }),
    )
}

/// Signs the DAM of a key directory; the root key is its own `root.key` where none is named.
///
/// # Errors
/// `Exists` where it is signed; `Refused` where the key is no root of it; those of the files.
pub fn sign_with(keys: &Path, root_key: Option<&Path>) -> Result<(VerifiedDam, PublicKey)> {
    let stick = KeyStick::open(keys)?;
    let path = root_key.map_or_else(|| stick.path().join(name::ROOT_KEY), Path::to_path_buf);
    let key = SigningKey::decode(&zeroize::Zeroizing::new(files::read_limited(
        &path,
        64 << 10,
    )?))?;
    let bytes = stick.read(name::DAM)?;
    let sig = cose::sign(Dam::KIND, &bytes, &[&key])?;
    let verified = Dam::verify(&bytes, &sig, None)?;
    stick.write(name::DAM_SIG, &sig, false)?;
    Ok((verified, key.public()))
}
