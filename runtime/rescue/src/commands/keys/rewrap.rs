//! `key rewrap`: the epochs are wrapped for other owner's keys; no data is touched.
//!
//! Crash rule: each file is replaced whole, and opens to the same whichever of them were; the list
//! of owners comes last. The same command again completes it while the identity that is given may
//! still open: it is an owner before, or one after.

use super::generate::epoch_file;
use super::read_identity;
use crate::out::Out;
use asl_auth::epoch::rewrap;
use asl_auth::Recipient;
use asl_core::{Error, Kind, Result};
use asl_host::keystick::{name, KeyStick};
use serde_json::json;
use std::path::Path;

pub fn run(
    keys: &Path,
    identity: &Path,
    add: &[String],
    remove: &[String],
    out: Out,
) -> Result<()> {
    let stick = KeyStick::open(keys)?;
    let owner = read_identity(identity)?;
    let text = stick.text(name::OWNER_PUB)?;
    let mut owners: Vec<Recipient> = text.lines().map(str::parse).collect::<Result<_>>()?;
    for text in remove {
        let gone: Recipient = text.parse()?;
        let before = owners.len();
        owners.retain(|o| *o != gone);
        if owners.len() == before {
            let why = "it is none of the owner's recipients";
            return Err(
                Error::new(Kind::NotFound, "remove", text, why).next("see `asl-host key show`")
            );
        }
    }
    for text in add {
        let new: Recipient = text.parse()?;
        if !owners.contains(&new) {
            owners.push(new);
        }
    }
    if owners.is_empty() {
        let why = "nobody would be left to open the data";
        return Err(Error::new(Kind::Refused, "remove", "the last owner", why)
            .next("add another recipient in the same command"));
    }
    let epochs = stick.epochs()?;
    let wrapped = epochs.iter().map(|epoch| {
        Ok((
            epoch.number,
            rewrap(epoch.number, &epoch.identity, &owner, &owners)?,
        ))
    });
    let wrapped = wrapped.collect::<Result<Vec<_>>>()?;
    for (number, bytes) in &wrapped {
        stick.write(&epoch_file(*number), bytes, true)?;
    }
    let lines: String = owners.iter().map(|r| format!("{r}\n")).collect();
    stick.write(name::OWNER_PUB, lines.as_bytes(), true)?;
    let list: Vec<String> = owners.iter().map(Recipient::to_string).collect();
    out.result(
        &format!(
            "Wrapped {} epochs for: {}.\nNext: `asl-host dam create --keys {} --next`, `dam sign`, `key check`, `key bundle`, `dam apply`.",
            wrapped.len(),
            list.join(", "),
            keys.display()
        ),
        &json!({ "keys": keys, "epochs": wrapped.len(), "owner_recipients": list }),
    )
}
