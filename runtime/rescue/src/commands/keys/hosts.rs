//! `key host`: the hosts that will be asked, each pinned by its key (flows.md, "pin the host").

use crate::cli::KeyHost;
use crate::out::Out;
use asl_core::Result;
use asl_host::keystick::{HostPin, KeyStick};
use serde_json::{json, Value};
use std::path::Path;

pub fn run(verb: KeyHost, out: Out) -> Result<()> {
    match verb {
        KeyHost::Add { host, keys } => {
            let pin = HostPin::parse(&host)?;
            add(&keys, &pin)?;
            let text = format!(
                "Pinned.\n{}\nCompare the words with those that `asl-host status` says on the host itself, by telephone.",
                in_words(&pin)
            );
            out.result(&text, &for_script(&pin))
        }
        KeyHost::List { keys } => {
            let hosts = KeyStick::open(&keys)?.hosts()?;
            let lines: Vec<String> = hosts.iter().map(in_words).collect();
            let text = if lines.is_empty() {
                "No host is pinned.".to_string()
            } else {
                lines.join("\n")
            };
            let all: Vec<Value> = hosts.iter().map(for_script).collect();
            out.result(&text, &json!({ "hosts": all }))
        }
        KeyHost::Remove { name, keys } => {
            let pin = remove(&keys, &name)?;
            out.result(
                &format!("Removed the pin of {}.", pin.name),
                &json!({ "removed": for_script(&pin) }),
            )
        }
    }
}

/// Pins a host in a key directory or on a mounted stick.
///
/// # Errors
/// `Exists` where another has its name; `NotFound`, `Invalid` and `Io` of the list.
pub fn add(keys: &Path, pin: &HostPin) -> Result<()> {
    let stick = KeyStick::open(keys)?;
    let mut hosts = stick.hosts()?;
    hosts.push(pin.clone());
    stick.set_hosts(&hosts)
}

/// Takes a pin away.
///
/// # Errors
/// `NotFound` with the names there are; `Invalid` and `Io` of the list.
pub fn remove(keys: &Path, name: &str) -> Result<HostPin> {
    let stick = KeyStick::open(keys)?;
    let pin = stick.host(name)?;
    let mut hosts = stick.hosts()?;
    hosts.retain(|h| h.name != name);
    stick.set_hosts(&hosts)?;
    Ok(pin)
}

/// A host with its words.
pub fn in_words(pin: &HostPin) -> String {
    format!(
        "  {} at {}\n    key   {}\n    words {}",
        pin.name,
        pin.address,
        pin.key,
        words_of(pin).unwrap_or_else(|e| e.to_string())
    )
}

fn words_of(pin: &HostPin) -> Result<String> {
    pin.public_key().map(|k| k.words())
}

/// A host for a script.
pub fn for_script(pin: &HostPin) -> Value {
    json!({
        "name": pin.name,
        "address": pin.address,
        "key": pin.key,
        "words": words_of(pin).ok(),
    })
}
