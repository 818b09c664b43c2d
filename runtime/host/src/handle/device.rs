//! The session's device key and the operator's word for it.

use crate::domain::Domain;
use crate::keystick::Signed;
use crate::layout::domain as place;
use asl_auth::{Delegation, PublicKey, SigningKey};
use asl_backend::files;
use asl_core::{Error, Kind, Result};

/// A device's public key as `auth/device.pub` holds it.
pub(crate) fn device_line(key: &PublicKey) -> String {
    key.to_openssh("device") + "\n"
}

/// A session's key and the operator's delegation to it.
pub struct Device {
    /// The session's key, made for it and gone with it.
    pub key: SigningKey,
    /// The delegation document and its signature.
    pub delegation: Signed,
}

impl Device {
    /// Checks a delegation against the domain's DAM and records it in the domain.
    ///
    /// # Errors
    /// `Refused` where it names another key or DAM, or no operator signed it; `Io`.
    pub fn new(key: SigningKey, delegation: Signed, domain: &Domain) -> Result<Device> {
        let in_force = domain.require_dam()?;
        check_dam(&delegation, domain)?;
        let checked = Delegation::verify(&delegation.bytes, &delegation.sig, in_force)?;
        if checked.device != key.public() {
            return Err(Error::new(
                Kind::Refused,
                "use",
                "the delegation",
                "it names another device key",
            ));
        }
        let id = key.id();
        domain.write_once(&place::delegation(&id, "cbor"), &delegation.bytes)?;
        domain.write_once(&place::delegation(&id, "sig"), &delegation.sig)?;
        let line = device_line(&key.public());
        files::replace(
            &domain.dir().join("auth/device.pub"),
            line.as_bytes(),
            0o600,
        )?;
        Ok(Device { key, delegation })
    }
}

/// A key stick of another DAM than the one in force has its own words, and its own way on.
fn check_dam(delegation: &Signed, domain: &Domain) -> Result<()> {
    let named = Delegation::decode(&delegation.bytes)?.dam;
    let in_force = domain.require_dam()?;
    if named == in_force.digest() {
        return Ok(());
    }
    let refuse = |why: String| Error::new(Kind::Refused, "use", "the key stick", why);
    let now = in_force.dam().sequence;
    Err(match domain.dam_named(&named) {
        Some(old) => refuse(format!(
            "it is of DAM number {}; number {now} is in force here",
            old.dam().sequence
        ))
        .next("use the key stick that was bundled last; this one seals nothing more"),
        None => refuse(format!(
            "its DAM is not known here, where number {now} is in force"
        ))
        .next("take it up first: `asl-host dam apply --keys STICK`"),
    })
}
