//! `restore` and `verify`: the verbs that read everything.

use super::sealed::{open_credentials, open_sealed};
use super::{open_domain, open_handle, DAMAGE, SEALED_WITH_HOLES};
use crate::cli;
use crate::out::{size, Out};
use crate::progress::{bar, Screen};
use crate::system;
use asl_core::{Error, Kind, Result};
use asl_host::Credentials;
use asl_ingest::RestoreOptions;
use asl_store::{Mode, VerifyOptions};
use serde_json::{json, Value};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

pub fn restore(root: &Path, args: &cli::Restore, out: Out) -> Result<ExitCode> {
    let opened = open_sealed(root, &args.sealed)?;
    let places = opened.places(args.path.as_bytes())?;
    let mut problems = 0;
    let mut restored = Vec::new();
    for place in &places {
        // One root restores to the directory itself; several, each to a numbered one below it.
        let to = if places.len() == 1 {
            args.to.clone()
        } else {
            std::fs::create_dir_all(&args.to)
                .map_err(|e| Error::new(Kind::Io, "make", args.to.display(), e))?;
            args.to.join(&place.number)
        };
        let options = RestoreOptions {
            path: place.path.clone(),
            ..RestoreOptions::default()
        };
        let screen = Screen::new(out, "restoring", |_| ());
        let done = asl_ingest::restore(&opened.handle, &place.root, &to, &options, &screen);
        screen.finish();
        let done = done?;
        problems += done.problem_count;
        restored.push((to, done));
    }
    let mut text = String::new();
    for (to, done) in &restored {
        text.push_str(&format!(
            "Restored {} entries, {} to {} ({} problems).\n",
            done.entries,
            size(done.bytes),
            to.display(),
            done.problem_count
        ));
    }
    let list: Vec<Value> = restored
        .iter()
        .map(|(to, d)| json!({ "to": to, "entries": d.entries, "bytes": d.bytes, "problems": d.problem_count, "damaged": d.damaged }))
        .collect();
    out.result(
        &text,
        &json!({ "snapshot": opened.snapshot.to_string(), "restored": list, "problems": problems }),
    )?;
    Ok(ExitCode::from(if problems > 0 {
        SEALED_WITH_HOLES
    } else {
        0
    }))
}

pub fn verify(root: &Path, args: &cli::Verify, out: Out) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, &args.which)?;
    let credentials = match &args.identity {
        Some(_) => open_credentials(&domain, args.identity.as_deref())?,
        None => Credentials::None,
    };
    let data = args.identity.is_some() || !domain.genesis().params.encrypted;
    let handle = open_handle(&root, &domain, Mode::Read, credentials)?;
    let bar = bar(out, "verifying");
    let report = handle.verify(
        VerifyOptions { data },
        &|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        },
        &system::stopped,
    );
    bar.finish_and_clear();
    let report = report?;
    let damage: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
    let depth = if data {
        "every piece opened"
    } else {
        "structure only; add --identity to open every piece"
    };
    let mut text = format!(
        "Checked {} blocks, {} segments, {} snapshots ({depth}).\n",
        report.blocks, report.segments, report.snapshots
    );
    for line in &damage {
        text.push_str(&format!("DAMAGE: {line}\n"));
    }
    for line in &report.not_checked {
        text.push_str(&format!("NOT CHECKED: {line}\n"));
    }
    for line in &report.notes {
        text.push_str(&format!("note: {line}\n"));
    }
    if damage.is_empty() {
        text.push_str(if report.not_checked.is_empty() {
            "No damage.\n"
        } else {
            "No damage in what was checked.\n"
        });
    }
    out.result(
        &text,
        &json!({ "blocks": report.blocks, "segments": report.segments, "snapshots": report.snapshots, "pieces_opened": data, "damage": damage, "not_checked": report.not_checked, "notes": report.notes }),
    )?;
    Ok(ExitCode::from(if damage.is_empty() { 0 } else { DAMAGE }))
}
