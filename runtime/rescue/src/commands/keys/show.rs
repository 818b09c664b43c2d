//! `key show`: what a stick or a key directory holds, in words.

use super::holding::Holding;
use super::{key_json, recipient_json, recipient_words};
use crate::out::{time, Out};
use asl_auth::PublicKey;
use asl_core::Result;
use serde_json::{json, Value};
use std::fmt::Write;
use std::path::Path;

pub fn run(keys: &Path, out: Out) -> Result<()> {
    let holding = Holding::of(keys)?;
    out.result(&in_words(&holding), &for_script(&holding))
}

/// What is held, as a person reads it.
pub fn in_words(h: &Holding) -> String {
    let what = if h.is_stick {
        "Key stick"
    } else {
        "Keys at home"
    };
    let domain = h.domain().unwrap_or_else(|| "no domain yet".into());
    let mut text = format!("{what} of {domain}\n  in        {}\n", h.dir.display());
    // Writing to a string cannot fail.
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:9} {value}");
    };
    for recipient in &h.owners {
        line("owner", recipient);
        line("  words", &recipient_words(recipient));
    }
    for (name, keys) in [("root", &h.roots), ("operator", &h.operators)] {
        for key in keys {
            line(name, &key.words());
        }
    }
    if let Some(recipient) = &h.data_recipient {
        line("data", &recipient_words(recipient));
    }
    match &h.dam {
        Ok(dam) => {
            let ends = dam.dam().not_after.map(|t| time(t.unix_ns));
            let ends = ends.map_or("it does not end".into(), |t| format!("it ends {t}"));
            line(
                "DAM",
                &format!("number {}, signed; {ends}", dam.dam().sequence),
            );
        }
        Err(e) => line("DAM", &format!("NO: {}", e.why())),
    }
    match &h.proof {
        Ok(p) => line(
            "proven",
            &format!(
                "yes, {}: the owner's key opened a probe",
                time(p.time.unix_ns)
            ),
        ),
        Err(e) => line("proven", &format!("NO: {}", e.why())),
    }
    match h.hosts.as_deref() {
        Ok([]) => line("hosts", "none to ask"),
        Ok(hosts) => {
            for host in hosts {
                line("host", &format!("{} at {}", host.name, host.address));
                line(
                    "  words",
                    &host
                        .public_key()
                        .map_or_else(|e| e.to_string(), |k| k.words()),
                );
            }
        }
        Err(_) => line("hosts", "the list cannot be read"),
    }
    if h.secrets.is_empty() {
        line("secrets", "none but those under the passphrase");
    }
    for (file, opens) in &h.secrets {
        line("secret", &format!("{file}, in clear: {opens}"));
    }
    for e in h.wrong().chain(h.proof.as_ref().err()) {
        line("AMISS", &format!("{e}"));
        line("  next", e.what_next());
    }
    text
}

fn for_script(h: &Holding) -> Value {
    let keys = |keys: &[PublicKey]| keys.iter().map(key_json).collect::<Vec<_>>();
    let hosts: Vec<Value> = h
        .hosts
        .iter()
        .flatten()
        .map(super::hosts::for_script)
        .collect();
    let dam = h.dam.as_ref().ok();
    let amiss: Vec<String> = h.wrong().map(ToString::to_string).collect();
    json!({
        "keys": h.dir,
        "stick": h.is_stick,
        "domain_id": h.domain(),
        "owner": h.owners.iter().map(|r| recipient_json(r)).collect::<Vec<_>>(),
        "roots": keys(&h.roots),
        "operators": keys(&h.operators),
        "data": h.data_recipient.as_deref().map(recipient_json),
        "dam": dam.map(|d| json!({
            "sequence": d.dam().sequence,
            "digest": d.digest().to_string(),
            "not_after": d.dam().not_after.map(|t| time(t.unix_ns)),
        })),
        "proven": h.proof.as_ref().ok().map(|p| time(p.time.unix_ns)),
        "hosts": hosts,
        "secrets": h.secrets.iter().map(|(file, _)| file).collect::<Vec<_>>(),
        "amiss": amiss,
    })
}
