//! `key`: what an owner makes at home, looks at, checks and gives away. Of the commands here
//! `generate`, `check` and `new-epoch` need a passphrase.

pub mod bundle;
pub mod card;
pub mod check;
pub mod generate;
pub mod holding;
pub mod hosts;
mod new_epoch;
mod program;
mod rewrap;
mod root;
pub mod show;
pub mod split;

use crate::cli::Key;
use crate::out::Out;
use asl_auth::{OpenIdentity, PublicKey};
use asl_backend::files;
use asl_core::{words, Digest, Error, Kind, Result};
use serde_json::{json, Value};
use std::path::Path;

pub fn key(verb: Key, out: Out) -> Result<()> {
    match verb {
        Key::Generate(args) => generate::run(&args, out),
        Key::Show { keys } => show::run(&keys, out),
        Key::Host(verb) => hosts::run(verb, out),
        Key::Check {
            keys,
            identity,
            passphrase_file,
        } => check::run(&keys, &identity, passphrase_file, out),
        Key::Bundle(args) => bundle::run(&args, out),
        Key::Root { to } => root::run(&to, out),
        Key::NewEpoch {
            keys,
            operator_key,
            passphrase_file,
        } => new_epoch::run(
            &keys,
            operator_key.as_deref(),
            passphrase_file.as_deref(),
            out,
        ),
        Key::Rewrap {
            keys,
            identity,
            add,
            remove,
        } => rewrap::run(&keys, &identity, &add, &remove, out),
        Key::Card(args) => card::run(&args, out),
    }
}

/// A recipient as words, the same on card, stick, screen and host; a key's are
/// [`PublicKey::words`].
pub fn recipient_words(recipient: &str) -> String {
    words(Digest::of(recipient.as_bytes()).as_bytes())
}

/// A recipient for a script.
pub fn recipient_json(recipient: &str) -> Value {
    json!({ "recipient": recipient, "words": recipient_words(recipient) })
}

/// A public key for a script.
pub fn key_json(key: &PublicKey) -> Value {
    json!({ "key": key.to_openssh(""), "words": key.words() })
}

/// Reads the owner's age identity file.
///
/// # Errors
/// `NotFound`, `Invalid`, and `Refused` for a kind that only the age tool opens.
pub fn read_identity(path: &Path) -> Result<OpenIdentity> {
    let bytes = files::read_limited(path, 64 << 10).map_err(|e| {
        if e.kind() == Kind::NotFound {
            return e.next("give the owner's identity file: `key generate` made it as owner.txt");
        }
        e
    });
    let bytes = zeroize::Zeroizing::new(bytes?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::new(Kind::Invalid, "read", path.display(), "it is not text"))?;
    OpenIdentity::parse(text)
}
