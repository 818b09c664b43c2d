//! `dam apply`: the domain here takes up the DAM that follows, its epochs, and what is revoked.

use crate::commands::context;
use crate::out::Out;
use asl_auth::{Dam, VerifiedDam};
use asl_core::{Kind, Result};
use asl_host::keystick::KeyStick;
use asl_host::{Domain, HostRoot};
use serde_json::json;
use std::path::Path;

/// What a stick brought that was not known here.
#[derive(Default)]
pub struct Applied {
    /// The numbers of the DAMs taken up.
    pub dams: Vec<u64>,
    /// What was revoked, each in words.
    pub revoked: Vec<String>,
}

impl Applied {
    /// What changed, for a person; nothing where nothing did.
    pub fn in_words(&self) -> Option<String> {
        let mut lines: Vec<String> = self
            .dams
            .iter()
            .map(|n| format!("DAM number {n} is in force here now."))
            .collect();
        lines.extend(self.revoked.iter().map(|r| format!("Revoked: {r}.")));
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

pub fn apply(root: &Path, keys: &Path, out: Out) -> Result<()> {
    let stick = KeyStick::documents(keys)?;
    let host = HostRoot::open(root)?;
    let id = Dam::decode(&stick.read(asl_host::keystick::name::DAM)?)?
        .check()?
        .domain_id();
    let mut domain = Domain::open(&host, &id)?;
    let applied = from(&host, &mut domain, &stick)?;
    let dam = domain.require_dam()?;
    out.result(
        &applied.in_words().unwrap_or_else(|| {
            format!(
                "Nothing changed: DAM number {} of {id} is in force here.",
                dam.dam().sequence
            )
        }),
        &json!({
            "domain_id": id.to_string(),
            "sequence": dam.dam().sequence,
            "dams": applied.dams,
            "revoked": applied.revoked,
        }),
    )
}

/// Takes up what a stick, a key directory or a directory of documents holds for a domain here.
///
/// The DAMs that lie between are taken up first, where they are there. A stick that is older than
/// the domain is refused.
///
/// # Errors
/// Those of [`Domain::follow`] and [`Domain::take_revocation`].
pub fn from(host: &HostRoot, domain: &mut Domain, stick: &KeyStick) -> Result<Applied> {
    let context = context();
    let mut applied = Applied::default();
    let epochs = stick.epochs()?;
    let newest = stick.dam()?;
    for dam in stick.earlier_dams()? {
        let have = domain.dam().map_or(0, |d| d.dam().sequence);
        let number = Dam::decode(&dam.bytes)?.sequence;
        // One that names other epoch files than there are now is passed over with its number.
        let follows = number > have
            && domain
                .follow(&context, &dam, &epochs)
                .or_else(passed_over)?;
        applied.dams.extend(follows.then_some(number));
    }
    if domain.follow(&context, &newest, &epochs)? {
        let number = domain.dam().map(VerifiedDam::dam).map(|d| d.sequence);
        applied.dams.extend(number);
    }
    for (_, revocation) in stick.revocations()? {
        if domain.take_revocation(&context, host.id(), &revocation)? {
            let read = asl_auth::Revocation::decode(&revocation.bytes)?;
            applied
                .revoked
                .push(format!("{}, {}", read.target, read.reason));
        }
    }
    Ok(applied)
}

/// A DAM between that cannot be taken up alone is no failure: the newest one is what counts.
fn passed_over(e: asl_core::Error) -> Result<bool> {
    match e.kind() {
        Kind::Refused => Ok(false),
        _ => Err(e),
    }
}
