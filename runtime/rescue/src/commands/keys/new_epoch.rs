//! `key new-epoch`: after a stick was stolen, everything that lay on it is made anew.
//!
//! Crash rule: epoch files first, then the operator's, the seal credential last. Nothing of it
//! counts before a DAM names it, and the same command again begins the same epoch anew.

use super::generate::{epoch_file, epoch_keys, epoch_pub, lock, operator_key};
use super::holding::Holding;
use super::recipient_words;
use crate::commands::context;
use crate::out::Out;
use crate::prompt::new_passphrase;
use asl_auth::{NewEpoch, PublicKey, MAX_EPOCHS};
use asl_core::{Error, Kind, Result};
use asl_host::keystick::{name, KeyStick};
use serde_json::json;
use std::path::Path;

pub fn run(
    keys: &Path,
    operator: Option<&Path>,
    passphrase_file: Option<&Path>,
    out: Out,
) -> Result<()> {
    let stick = KeyStick::open(keys)?;
    let holding = Holding::of(keys)?;
    if holding.is_stick {
        let why = "it is a key stick; the owner's keys at home are needed";
        return Err(Error::new(Kind::Refused, "renew", keys.display(), why)
            .next("name the directory that `asl-host key generate` filled"));
    }
    let dam = holding.dam.as_ref().map_err(Clone::clone)?.dam();
    let encryption = dam.encryption.as_ref().ok_or_else(|| {
        let why = "its domain is not encrypted";
        Error::new(Kind::Refused, "renew", keys.display(), why)
    })?;
    let number = encryption.epoch.saturating_add(1);
    if number > MAX_EPOCHS {
        let why = "it has as many epochs as it may";
        return Err(
            Error::new(Kind::Refused, "begin another epoch in", keys.display(), why)
                .next("make new keys and a new domain; the old data stays readable"),
        );
    }
    let entropy = context().entropy;
    let operator = operator_key(operator, &*entropy)?;
    let passphrase = new_passphrase(passphrase_file)?;
    let epoch = NewEpoch::create(number, &encryption.owners()?, &*entropy)?;
    let credential = epoch.credential();
    // What takes long, and can be interrupted, before anything is written.
    let operator_age = lock(&operator.encode(), &passphrase)?;
    let seal_age = lock(&credential.encode(), &passphrase)?;

    stick.write(&epoch_keys(number), &epoch.epoch_keys_age, true)?;
    stick.write(&epoch_pub(number), epoch_lines(&epoch).as_bytes(), true)?;
    stick.write(&epoch_file(number), &epoch.epoch_age, true)?;
    let before = format!("operator-before-{number}.pub");
    if stick.read_optional(&before)?.is_none() {
        // Begun anew, the epoch has an operator that nobody knew; the one before it is revoked.
        stick.write(&before, &stick.read(name::OPERATOR_PUB)?, false)?;
    }
    let line = operator.public().to_openssh("operator") + "\n";
    stick.write(name::OPERATOR_PUB, line.as_bytes(), true)?;
    stick.write(name::OPERATOR, &operator_age, true)?;
    stick.write(name::SEAL, &seal_age, true)?;
    say(keys, number, &epoch, &operator.public(), out)
}

/// The lines of `epoch-N.pub`.
pub fn epoch_lines(epoch: &NewEpoch) -> String {
    format!(
        "{}\n{}\n",
        epoch.data_recipient,
        epoch.index_identity.recipient()
    )
}

fn say(keys: &Path, number: u32, epoch: &NewEpoch, operator: &PublicKey, out: Out) -> Result<()> {
    let data = epoch.data_recipient.to_string();
    let at = keys.display();
    out.result(
        &format!(
            "Made epoch {number} in {at}, with a new operator key and the new passphrase.\n  \
             data     {}\n  operator {}\n\
             Next: `asl-host dam create --keys {at} --next`, `dam sign`, `key check`, `key bundle`;\n\
             then `asl-host dam apply` where the domain is at home: until then the old stick seals.\n\
             And tell hosts: `asl-host revocation create operator {at}/operator-before-{number}.pub`.",
            recipient_words(&data),
            operator.words(),
        ),
        &json!({
            "keys": keys,
            "epoch": number,
            "data": super::recipient_json(&data),
            "operator": super::key_json(operator),
        }),
    )
}
