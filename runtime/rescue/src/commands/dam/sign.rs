//! `dam sign`: holders of root keys sign in turn, each where the key is.

use crate::out::Out;
use asl_auth::{cose, Dam, PublicKey, RootSet, SigningKey, VerifiedDam};
use asl_backend::files;
use asl_core::{Error, KeyId, Kind, Result};
use asl_host::keystick::{name, KeyStick};
use serde_json::json;
use std::path::Path;
use zeroize::Zeroizing;

pub fn sign(keys: &Path, root_key: Option<&Path>, out: Out) -> Result<()> {
    let stick = KeyStick::documents(keys)?;
    let (dam, key) = add(&stick, root_key)?;
    let id = dam.check()?.domain_id();
    let missing = missing(&stick, &dam)?;
    let next = match missing.as_slice() {
        [] => "Next: `asl-host key check`, then `asl-host key bundle`.".to_string(),
        some => format!(
            "It does not hold yet: {} must sign. Carry dam.cbor and dam.sig to the next holder.",
            some.join(", and ")
        ),
    };
    out.result(
        &format!(
            "Signed DAM number {} of {id} with root key {}.\n{next}",
            dam.sequence,
            key.words()
        ),
        &json!({
            "domain_id": id.to_string(),
            "signed_by": key.id().to_string(),
            "whole": missing.is_empty(),
            "missing": missing,
        }),
    )
}

/// Signs the DAM of a key directory alone; the root key is its own `root.key`.
///
/// # Errors
/// `Exists` where it is signed with that key; `Refused` where the key is no root of it, or is not
/// enough; those of the files.
pub fn sign_alone(keys: &Path) -> Result<VerifiedDam> {
    let stick = KeyStick::open(keys)?;
    add(&stick, None)?;
    let signed = stick.dam()?;
    Dam::verify(&signed.bytes, &signed.sig, None)
}

/// Adds one signature to those that are there.
fn add(stick: &KeyStick, root_key: Option<&Path>) -> Result<(Dam, PublicKey)> {
    let key =
        read_key(&root_key.map_or_else(|| stick.path().join(name::ROOT_KEY), Path::to_path_buf))?;
    let bytes = stick.read(name::DAM)?;
    let dam = Dam::decode(&bytes)?;
    let known: Vec<PublicKey> = sets(&dam)?
        .iter()
        .flat_map(|(_, s)| s.keys().to_vec())
        .collect();
    if !known.contains(&key.public()) {
        let why = format!("{} is no root key of this DAM", key.public().words());
        return Err(Error::new(Kind::Refused, "sign", "DAM", why)
            .next("give a root key that `asl-host dam show` names"));
    }
    let sig = match stick.read_optional(name::DAM_SIG)? {
        Some(there) => cose::add(Dam::KIND, &bytes, &there, &known, &key)?,
        None => cose::sign(Dam::KIND, &bytes, &[&key])?,
    };
    stick.write(name::DAM_SIG, &sig, true)?;
    Ok((dam, key.public()))
}

/// Reads a root key: our own form, or OpenSSH's.
///
/// # Errors
/// `NotFound`, `Io`, `Invalid`; `Refused` for an OpenSSH key under a passphrase.
pub fn read_key(path: &Path) -> Result<SigningKey> {
    SigningKey::from_file(&Zeroizing::new(files::read_limited(path, 64 << 10)?))
}

/// The sets that must sign, each with how it is called: where the root keys change there are two.
fn sets(dam: &Dam) -> Result<Vec<(&'static str, RootSet)>> {
    let own = dam.roots.clone();
    let shown = match &dam.lineage {
        Some(lineage) => Some(Dam::decode(&lineage.bytes)?.roots),
        None => None,
    };
    Ok(match shown.filter(|roots| *roots != own) {
        Some(old) => vec![("old", old), ("new", own)],
        None => vec![("", own)],
    })
}

/// What is missing until the DAM holds.
fn missing(stick: &KeyStick, dam: &Dam) -> Result<Vec<String>> {
    let signed = stick.dam()?;
    let sets = sets(dam)?;
    let known: Vec<PublicKey> = sets.iter().flat_map(|(_, s)| s.keys().to_vec()).collect();
    let signers: Vec<KeyId> = cose::verify(Dam::KIND, &signed.bytes, &signed.sig, &known)?;
    let lacking = |(called, roots): &(&str, RootSet)| {
        let more = usize::from(roots.threshold()).saturating_sub(roots.count(&signers));
        let called = if called.is_empty() {
            String::new()
        } else {
            format!("{called} ")
        };
        (more > 0).then(|| {
            format!(
                "{more} more of its {} {called}root keys",
                roots.keys().len()
            )
        })
    };
    let missing: Vec<String> = sets.iter().filter_map(lacking).collect();
    if missing.is_empty() {
        Dam::verify(&signed.bytes, &signed.sig, None)?;
    }
    Ok(missing)
}
