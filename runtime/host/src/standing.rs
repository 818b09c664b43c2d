//! Where a snapshot's signature stands: whose word it is, and how far that was checked.

use crate::domain::Domain;
use asl_auth::{cose, Delegation, RevocationTarget, Verb, VerifiedDam};
use asl_backend::files;
use asl_core::{Digest, Error, KeyId, Kind, Result};
use asl_store::Manifest;
use std::fmt;
use std::time::Duration;

/// Bytes of a signature or a delegation at most.
const LONGEST: u64 = 64 << 10;

/// Where a snapshot's signature stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Nobody signed it.
    Unsigned,
    /// A device key signed it, which an operator of a DAM of this domain delegated.
    Signed {
        /// The device key.
        device: KeyId,
        /// The number of that DAM.
        dam: u64,
    },
    /// It was signed, and revoked since: it, or the device key.
    Revoked {
        /// What was revoked.
        target: RevocationTarget,
        /// Why.
        reason: String,
    },
    /// A device key signed it, under a DAM that is not known here.
    OfUnknownDam {
        /// The device key.
        device: KeyId,
        /// The DAM.
        dam: Digest,
    },
    /// What lies beside it does not hold.
    Refused(Error),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Unsigned => write!(f, "unsigned, awaiting countersignature"),
            Standing::Signed { device, dam } => write!(
                f,
                "signed by device key {device}, delegated by an operator of DAM number {dam}"
            ),
            Standing::Revoked { target, reason } => {
                write!(f, "REVOKED with {}: {reason}", target.kind())
            }
            Standing::OfUnknownDam { device, dam } => write!(
                f,
                "signed by device key {device} under DAM {dam}, which is not known here; \
                 its delegation is not checked"
            ),
            Standing::Refused(e) => write!(f, "DOES NOT HOLD: {}", e.why()),
        }
    }
}

/// Checks a snapshot's signature, its delegation, and who delegated.
///
/// # Errors
/// `Io`. What does not hold is no error but a standing.
pub fn standing(domain: &Domain, manifest: &Manifest) -> Result<Standing> {
    if let Some(revoked) = revoked(domain.dam(), RevocationTarget::Snapshot(manifest.digest())) {
        return Ok(revoked);
    }
    let name = format!("snapshots/{}/manifest.sig", manifest.id);
    let sig = match files::read_limited(&domain.dir().join(name), LONGEST) {
        Err(e) if e.kind() == Kind::NotFound => return Ok(Standing::Unsigned),
        read => read?,
    };
    match check(domain, manifest, &sig) {
        Err(e) if e.kind() == Kind::Io => Err(e),
        Err(e) => Ok(Standing::Refused(e)),
        checked => checked,
    }
}

fn check(domain: &Domain, manifest: &Manifest, sig: &[u8]) -> Result<Standing> {
    let no = |why: &str| Error::new(Kind::Refused, "trust", manifest.id, why);
    let wanted = manifest
        .delegation
        .ok_or_else(|| no("it is signed and names no delegation"))?;
    let (bytes, delegation_sig) = delegation(domain, &wanted)?
        .ok_or_else(|| no("the delegation that it names is not in auth/delegations"))?;
    let delegation = Delegation::decode(&bytes)?;
    delegation.allows(Verb::SignManifest, Duration::ZERO)?;
    cose::verify(
        Manifest::KIND,
        &manifest.encode(),
        sig,
        &[delegation.device],
    )?;
    let device = delegation.device.id();
    let Some(dam) = domain.dam_named(&delegation.dam) else {
        return Ok(Standing::OfUnknownDam {
            device,
            dam: delegation.dam,
        });
    };
    Delegation::verify(&bytes, &delegation_sig, &dam)?;
    let signed = Standing::Signed {
        device,
        dam: dam.dam().sequence,
    };
    Ok(revoked(Some(&dam), RevocationTarget::Device(device)).unwrap_or(signed))
}

fn revoked(dam: Option<&VerifiedDam>, target: RevocationTarget) -> Option<Standing> {
    let revocation = dam?.revoked().of(&target)?;
    Some(Standing::Revoked {
        target,
        reason: revocation.reason.clone(),
    })
}

/// The delegation with this digest, and its signature.
fn delegation(domain: &Domain, wanted: &Digest) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let dir = domain.dir().join("auth/delegations");
    for name in files::names(&dir)? {
        let path = dir.join(name);
        if path.extension().is_none_or(|e| e != "cbor") {
            continue;
        }
        let bytes = files::read_limited(&path, LONGEST)?;
        if Digest::of(&bytes) == *wanted {
            let sig = files::read_limited(&path.with_extension("sig"), LONGEST)?;
            return Ok(Some((bytes, sig)));
        }
    }
    Ok(None)
}
