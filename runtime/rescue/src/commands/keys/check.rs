//! `key check`: nobody seals a disk to a key that cannot open it (flows.md, "At home, before").

use super::bundle::require_owner;
use super::holding::Holding;
use super::read_identity;
use crate::commands::context;
use crate::out::Out;
use crate::unlock::{unlock, Order};
use asl_auth::epoch::{open_epoch, open_keys};
use asl_auth::sealing::{open_with, seal_to};
use asl_auth::Proven;
use asl_core::{Error, Kind, Result, Timestamp};
use asl_host::keystick::{name, KeyStick};
use serde_json::json;
use std::path::{Path, PathBuf};

pub fn run(keys: &Path, identity: &Path, passphrase_file: Option<PathBuf>, out: Out) -> Result<()> {
    let proven = prove(keys, identity, passphrase_file, out)?;
    out.result(
        "Proven: a probe was sealed for the domain and opened with the owner's key.",
        &json!({ "proven": true, "owner_recipients": proven.owner_recipients }),
    )
}

/// Seals a probe, opens it with the owner's real key, and has the operator sign that it did.
///
/// # Errors
/// `Refused` where the identity does not open it or the keys do not belong together; those of the
/// unlocking child.
pub fn prove(
    keys: &Path,
    identity: &Path,
    passphrase_file: Option<PathBuf>,
    out: Out,
) -> Result<Proven> {
    let stick = KeyStick::open(keys)?;
    let holding = Holding::of(keys)?;
    let verified = holding.whole()?;
    let refuse = |why| Error::new(Kind::Refused, "check", "these keys", why);
    let encryption = verified
        .dam()
        .encryption
        .as_ref()
        .ok_or_else(|| refuse("their domain is not encrypted"))?;
    require_owner(identity, &holding)?;
    let owner = read_identity(identity)?;
    let epoch = stick
        .epochs()?
        .into_iter()
        .find(|e| e.number == encryption.epoch)
        .ok_or_else(|| {
            let why = "the epoch's files are missing";
            Error::new(Kind::NotFound, "check", "these keys", why)
        })?;
    // The very road of a block: sealed to the data recipient, opened by way of the owner's key.
    let probe = b"asl probe: what is sealed can be opened";
    let sealed = seal_to(&[encryption.data_recipient.parse()?], probe)?;
    let data = open_epoch(&epoch.identity, &owner)?;
    open_keys(&epoch.keys, &data)?;
    if *open_with(&data, &sealed)? != probe[..] {
        let why = "the probe came back changed";
        return Err(Error::new(Kind::Damage, "check", "these keys", why));
    }
    let proven = Proven {
        data_recipient: encryption.data_recipient.clone(),
        owner_recipients: encryption.owner_recipients.clone(),
        time: Timestamp::claimed(context().clock.wall_ns()),
    };
    let document = proven.encode();
    let order = Order {
        stick: keys.to_path_buf(),
        passphrase_file,
        proven: Some(document.clone()),
        ..Order::default()
    };
    let unlocked = unlock(&order, out)?;
    let sig = unlocked.proven_sig.ok_or_else(|| {
        let why = "the unlocking child gave none";
        Error::new(Kind::Invalid, "sign", "the proof", why)
    })?;
    if unlocked.seal.index_identity.recipient().to_string() != encryption.index_recipient {
        return Err(refuse("the seal credential is of another epoch"));
    }
    Proven::verify(&document, &sig, verified)?;
    stick.write(name::PROVEN, &document, true)?;
    stick.write(name::PROVEN_SIG, &sig, true)?;
    Ok(proven)
}
