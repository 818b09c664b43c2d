//! `restore`, `log` and `verify`: the verbs that read.

use super::{keys, open_domain, open_handle, DAMAGE, SEALED_WITH_HOLES};
use crate::cli::{self, Log};
use crate::out::{size, Out};
use crate::progress::{bar, Screen};
use crate::system;
use asl_core::codec::Root;
use asl_core::{words, ChunkId, Error, Kind, Result, SnapshotId};
use asl_host::{Credentials, Domain, StoreHandle};
use asl_ingest::RestoreOptions;
use asl_store::{Manifest, Mode, VerifyOptions};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

pub fn restore(root: &Path, args: &cli::Restore, out: Out) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, &args.which)?;
    let credentials = open_credentials(&domain, args.identity.as_deref())?;
    let handle = open_handle(&root, &domain, Mode::Read, credentials)?;
    let wanted = args
        .snapshot
        .as_deref()
        .map(str::parse::<SnapshotId>)
        .transpose()?;
    let mut manifests = handle.manifests().into_iter();
    let found = match wanted {
        Some(id) => manifests.find(|(n, _)| *n == id),
        None => manifests.next_back(),
    };
    let (id, manifest) = found.ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            "restore from",
            domain.id(),
            "there is no such snapshot",
        )
        .next("list them with `asl-host snapshot list`")
    })?;
    let roots = newest_roots(&handle, &manifest?)?;
    let mut problems = 0;
    let mut restored = Vec::new();
    for (number, chunk) in roots.iter().enumerate() {
        // One root restores to the directory itself; several, each to a numbered one below it.
        let to = if roots.len() == 1 {
            args.to.clone()
        } else {
            args.to.join(format!("{:02}", number + 1))
        };
        if roots.len() > 1 {
            std::fs::create_dir_all(&args.to)
                .map_err(|e| Error::new(Kind::Io, "make", args.to.display(), e))?;
        }
        let screen = Screen::new(out, "restoring", |_| ());
        let done = asl_ingest::restore(&handle, chunk, &to, &RestoreOptions::default(), &screen);
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
        &json!({ "snapshot": id.to_string(), "restored": list, "problems": problems }),
    )?;
    Ok(ExitCode::from(if problems > 0 {
        SEALED_WITH_HOLES
    } else {
        0
    }))
}

/// The newest root of each source in a snapshot: a source that was sealed again is restored once.
fn newest_roots(handle: &StoreHandle, manifest: &Manifest) -> Result<Vec<ChunkId>> {
    let mut newest: BTreeMap<Vec<u8>, ChunkId> = BTreeMap::new();
    let within = |id: &&ChunkId| manifest.roots.iter().any(|(root, _)| root == *id);
    for id in handle.current().root_order.iter().filter(within) {
        newest.insert(Root::decode(&handle.get_piece(id)?)?.source, *id);
    }
    Ok(newest.into_values().collect())
}

fn open_credentials(domain: &Domain, identity: Option<&Path>) -> Result<Credentials> {
    if !domain.genesis().params.encrypted {
        return Ok(Credentials::None);
    }
    let path = identity.ok_or_else(|| {
        Error::new(
            Kind::Refused,
            "open",
            format!("domain {}", domain.id()),
            "it is sealed for its owner",
        )
        .next("bring the owner's identity file with --identity")
    })?;
    keys::read_identity(path).map(Credentials::Open)
}

pub fn log(root: &Path, Log::Verify { which }: Log, out: Out) -> Result<()> {
    let (root, domain) = open_domain(root, &which)?;
    let handle = open_handle(&root, &domain, Mode::Read, Credentials::None)?;
    if let Some(first) = handle.damage().first() {
        return Err(Error::new(Kind::Damage, "verify", &first.object, &first.why)
            .next("nothing is written to this domain until it is repaired; what lies before is readable"));
    }
    let head = handle.head();
    out.result(
        &format!(
            "The log holds: {} commits, {} records, {} stored.\n  head  {}\n  words {}",
            head.commit,
            head.logseq,
            size(head.stored_bytes),
            head.frame,
            words(head.frame.as_bytes())
        ),
        &json!({
            "commits": head.commit,
            "logseq": head.logseq.0,
            "stored_bytes": head.stored_bytes,
            "head": head.frame.to_string(),
            "words": words(head.frame.as_bytes()),
            "current": handle.current().digest().to_string(),
        }),
    )
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
