//! `profile`: read by the same code as the appliance reads it.

use crate::appliance::profile::{chosen, fields, Chosen, Role};
use crate::cli::Profile;
use crate::out::Out;
use asl_core::{Error, Kind, Result};
use asl_host::keystick::KeyStick;
use serde_json::json;
use std::path::Path;

pub fn profile(verb: Profile, out: Out) -> Result<()> {
    match verb {
        Profile::Check { profile } => check(&profile, out),
        Profile::Explain { profile, stick } => {
            let stick = stick.map(|at| KeyStick::open(&at)).transpose()?;
            let command_line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
            explain(
                &chosen(profile.as_deref(), &command_line, stick.as_ref())?,
                out,
            )
        }
    }
}

fn check(wanted: &Path, out: Out) -> Result<()> {
    let found = chosen(Some(wanted), "", None)?;
    let missing = missing(&found);
    if !missing.is_empty() {
        let why = format!(
            "it may not ask, and does not say {}",
            missing.join(", nor ")
        );
        return Err(
            Error::new(Kind::Invalid, "follow profile", &found.name, why)
                .next("set what is missing, or interactive = true"),
        );
    }
    let says = fields(&found.profile, &found.text)
        .iter()
        .filter(|f| f.set)
        .count();
    out.result(
        &format!(
            "Profile {} can be followed: it sets {says} fields. `asl-host profile explain` says what each does.",
            found.name
        ),
        &json!({ "profile": found.name, "fields_set": says }),
    )
}

/// What an appliance would have to ask where it may not.
fn missing(found: &Chosen) -> Vec<&'static str> {
    let p = &found.profile;
    let mut missing = Vec::new();
    if p.interactive {
        return missing;
    }
    if p.target.label.is_none() && p.target.path.is_none() {
        missing.push("target.label");
    }
    if p.role == Role::Rescue && p.source.labels.is_empty() && p.source.paths.is_empty() {
        missing.push("source.labels");
    }
    missing
}

fn explain(found: &Chosen, out: Out) -> Result<()> {
    let all = fields(&found.profile, &found.text);
    let mut text = format!("Profile {}: {}.\n", found.name, found.why);
    for f in &all {
        let from = if f.set { "set" } else { "default" };
        text.push_str(&format!(
            "  {} = {} ({from})\n      {}\n",
            f.name, f.value, f.means
        ));
    }
    let rows: Vec<_> = all
        .iter()
        .map(|f| json!({ "field": f.name, "value": f.value, "set": f.set, "means": f.means }))
        .collect();
    out.result(
        &text,
        &json!({ "profile": found.name, "why": found.why, "fields": rows }),
    )
}
