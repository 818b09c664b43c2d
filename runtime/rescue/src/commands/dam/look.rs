//! `dam show`, `dam verify`, `dam diff`: what a DAM says, whether it holds, what changed.

use crate::commands::context;
use crate::commands::keys::{key_json, recipient_json, recipient_words};
use crate::out::{time, Out};
use asl_auth::{Dam, Genesis, VerifiedDam};
use asl_backend::files;
use asl_core::{words, Digest, Error, Kind, Result, Timestamp};
use asl_host::keystick::{name, KeyStick};
use serde_json::{json, Value};
use std::path::Path;

/// Bytes of a DAM, and of its signatures, at most.
const LONGEST: u64 = 256 << 10;

/// A DAM as it lies somewhere, with its signatures where there are any.
struct Found {
    bytes: Vec<u8>,
    sig: Option<Vec<u8>>,
    dam: Dam,
    genesis: Genesis,
}

impl Found {
    /// Reads a DAM's file, or the one in a key directory, on a stick, or in an admission's folder.
    fn at(at: &Path) -> Result<Found> {
        let path = if at.is_dir() {
            let places = [KeyStick::folder(at), at.to_path_buf()].map(|d| d.join(name::DAM));
            let [_, last] = places.clone();
            places.into_iter().find(|p| p.is_file()).unwrap_or(last)
        } else {
            at.to_path_buf()
        };
        let bytes = files::read_limited(&path, LONGEST).map_err(|e| {
            if e.kind() == Kind::NotFound {
                return e.next("name a key directory, a mounted stick or a dam.cbor");
            }
            e
        })?;
        let sig = match files::read_limited(&path.with_extension("sig"), LONGEST) {
            Ok(sig) => Some(sig),
            Err(e) if e.kind() == Kind::NotFound => None,
            Err(e) => return Err(e),
        };
        let dam = Dam::decode(&bytes)?;
        let genesis = dam.check()?;
        Ok(Found {
            bytes,
            sig,
            dam,
            genesis,
        })
    }

    fn verify(&self, before: Option<&VerifiedDam>) -> Result<VerifiedDam> {
        let unsigned = || {
            Error::new(Kind::Refused, "verify", "DAM", "it is not signed")
                .next("sign it with `asl-host dam sign`")
        };
        Dam::verify(
            &self.bytes,
            self.sig.as_deref().ok_or_else(unsigned)?,
            before,
        )
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

pub fn show(at: &Path, out: Out) -> Result<()> {
    let found = Found::at(at)?;
    let standing = found
        .verify(None)
        .and_then(|v| v.check_time(Timestamp::claimed(context().clock.wall_ns())));
    let said = match &standing {
        Ok(()) => "Signed by its roots, and valid by this machine's clock.".to_string(),
        Err(e) => format!("NOT TO BE BELIEVED HERE: {e}"),
    };
    let mut object = for_script(&found);
    object["valid"] = json!(standing.is_ok());
    object["why_not"] = json!(standing.err().map(|e| e.to_string()));
    out.result(
        &format!(
            "DAM of {}\n{}{said}",
            found.genesis.domain_id(),
            in_words(&found)
        ),
        &object,
    )
}

pub fn verify(keys: &Path, out: Out) -> Result<()> {
    KeyStick::open(keys)?;
    let found = Found::at(keys)?;
    let verified = found.verify(None)?;
    verified.check_time(Timestamp::claimed(context().clock.wall_ns()))?;
    out.result(
        &format!(
            "The DAM of {} holds.\n{}",
            found.genesis.domain_id(),
            in_words(&found)
        ),
        &for_script(&found),
    )
}

fn in_words(found: &Found) -> String {
    facts(found)
        .into_iter()
        .map(|(name, value)| format!("  {name:10} {value}\n"))
        .collect()
}

/// What a DAM says, fact by fact: what `show` prints and `diff` compares.
fn facts(found: &Found) -> Vec<(&'static str, String)> {
    let dam = &found.dam;
    let mut facts = vec![
        ("domain", dam.domain.to_string()),
        ("number", dam.sequence.to_string()),
        (
            "follows",
            dam.previous
                .map_or("none: it is the first".into(), |d| words(d.as_bytes())),
        ),
        (
            "roots",
            format!(
                "{} of {} sign the next DAM",
                dam.roots.threshold(),
                dam.roots.keys().len()
            ),
        ),
    ];
    facts.extend(dam.roots.keys().iter().map(|k| ("root", k.words())));
    facts.extend(dam.operators.iter().map(|k| ("operator", k.words())));
    if let Some(encryption) = &dam.encryption {
        let said = |r: &String| format!("{r}\n             words {}", recipient_words(r));
        facts.extend(
            encryption
                .owner_recipients
                .iter()
                .map(|r| ("owner", said(r))),
        );
        facts.push(("epoch", encryption.epoch.to_string()));
        facts.push(("data", said(&encryption.data_recipient)));
        facts.push(("index", said(&encryption.index_recipient)));
    }
    let accepts: Vec<&str> = dam.policy.outcomes.iter().map(|o| o.code()).collect();
    let end = |t: Option<Timestamp>, none: &str| t.map_or(none.into(), |t| time(t.unix_ns));
    facts.extend([
        (
            "sealed",
            if dam.policy.encrypted {
                "yes: a host is given age files alone"
            } else {
                "no: blocks are in clear"
            }
            .into(),
        ),
        ("accepts", accepts.join(", ")),
        ("begins", end(dam.not_before, "at once")),
        ("ends", end(dam.not_after, "never")),
    ]);
    facts
}

fn for_script(found: &Found) -> Value {
    let dam = &found.dam;
    let encryption = dam.encryption.as_ref();
    let owners = encryption.map(|e| e.owner_recipients.clone());
    json!({
        "domain_id": found.genesis.domain_id().to_string(),
        "domain_hash": dam.domain.to_string(),
        "sequence": dam.sequence,
        "digest": found.digest().to_string(),
        "previous": dam.previous.map(|d| d.to_string()),
        "signed": found.sig.is_some(),
        "threshold": dam.roots.threshold(),
        "roots": dam.roots.keys().iter().map(key_json).collect::<Vec<_>>(),
        "operators": dam.operators.iter().map(key_json).collect::<Vec<_>>(),
        "owner_recipients": owners,
        "epoch": encryption.map(|e| e.epoch),
        "data": encryption.map(|e| recipient_json(&e.data_recipient)),
        "outcomes": dam.policy.outcomes.iter().map(|o| o.code()).collect::<Vec<_>>(),
        "not_before": dam.not_before.map(|t| time(t.unix_ns)),
        "not_after": dam.not_after.map(|t| time(t.unix_ns)),
    })
}

pub fn diff(old: &Path, new: &Path, out: Out) -> Result<()> {
    let (before, after) = (Found::at(old)?, Found::at(new)?);
    let gone = without(&facts(&before), &facts(&after));
    let come = without(&facts(&after), &facts(&before));
    let chain = before
        .verify(None)
        .map_err(|e| {
            Error::new(e.kind(), "judge the chain from", old.display(), e)
                .next("give the two in their order, old first")
        })
        .and_then(|verified| after.verify(Some(&verified)));
    let mut text = String::new();
    for (sign, facts) in [("-", &gone), ("+", &come)] {
        for (name, value) in facts {
            text.push_str(&format!("{sign} {name:10} {value}\n"));
        }
    }
    if text.is_empty() {
        text.push_str("Nothing changed.\n");
    }
    text.push_str(&match &chain {
        Ok(_) if before.digest() == after.digest() => "They are the same DAM.".to_string(),
        Ok(_) => format!(
            "Number {} follows number {}: the old one's roots signed it.",
            after.dam.sequence, before.dam.sequence
        ),
        Err(e) => format!("THE NEW ONE DOES NOT FOLLOW THE OLD ONE: {e}"),
    });
    let facts = |facts: Vec<(&str, String)>| -> Vec<Value> {
        facts
            .into_iter()
            .map(|(name, value)| json!({ "what": name, "value": value.lines().next() }))
            .collect()
    };
    out.result(
        &text,
        &json!({
            "gone": facts(gone),
            "new": facts(come),
            "follows": chain.is_ok(),
            "why_not": chain.err().map(|e| e.to_string()),
        }),
    )
}

fn without(
    facts: &[(&'static str, String)],
    others: &[(&'static str, String)],
) -> Vec<(&'static str, String)> {
    facts
        .iter()
        .filter(|f| !others.contains(f))
        .cloned()
        .collect()
}
