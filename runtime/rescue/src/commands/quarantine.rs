//! `quarantine`: what was refused or put aside is looked at, handed out, or let go.

use super::context;
use crate::cli::Quarantine;
use crate::names;
use crate::out::{size, Out};
use asl_backend::files;
use asl_core::{Error, Kind, Result};
use asl_host::quarantine::{all, find, Held};
use asl_host::HostRoot;
use serde_json::{json, Value};
use std::path::Path;

pub fn quarantine(root: &Path, verb: Quarantine, out: Out) -> Result<()> {
    let root = HostRoot::open(root)?;
    match verb {
        Quarantine::List => list(&root, out),
        Quarantine::Show { name } => show(&find(&root, &name)?, out),
        Quarantine::Release { name, to } => release(&root, &find(&root, &name)?, &to, out),
        Quarantine::Purge {
            names,
            all: true,
            dry_run,
        } if names.is_empty() => purge(&root, &all(&root)?, dry_run, out),
        Quarantine::Purge { names, dry_run, .. } => {
            let named = names.iter().map(|name| find(&root, name));
            purge(&root, &named.collect::<Result<Vec<_>>>()?, dry_run, out)
        }
    }
}

fn list(root: &HostRoot, out: Out) -> Result<()> {
    let all = all(root)?;
    let mut text: String = all.iter().map(|held| line(held) + "\n").collect();
    if all.is_empty() {
        text.push_str("Nothing is in quarantine.");
    }
    let rows: Vec<Value> = all.iter().map(row).collect();
    out.result(&text, &json!({ "quarantine": rows }))
}

fn show(held: &Held, out: Out) -> Result<()> {
    let mut text = line(held) + "\n";
    let mut rows = Vec::new();
    for (path, digest) in held.digests()? {
        let path = path.display().to_string();
        text.push_str(&format!("  {digest}  {}\n", names::shown(path.as_bytes())));
        rows.push(json!({ "path": path, "digest": digest.to_string() }));
    }
    let mut object = row(held);
    if let Some(map) = object.as_object_mut() {
        map.insert("files".into(), Value::Array(rows));
    }
    out.result(&text, &object)
}

/// Copies, compares, and only then takes it out of the quarantine.
fn release(root: &HostRoot, held: &Held, to: &Path, out: Out) -> Result<()> {
    if files::look(to)?.is_some() {
        return Err(Error::new(
            Kind::Exists,
            "release to",
            to.display(),
            "it is there already",
        )
        .next("name a directory that is not there yet"));
    }
    files::make_dir(to)
        .map_err(|e| e.next("make the directory it shall lie in first, or name another"))?;
    for (path, digest) in held.digests()? {
        let failed = |why: String| Error::new(Kind::Io, "release", path.display(), why);
        let name = path.file_name().unwrap_or_default();
        let bytes = files::read_limited(&path, u64::MAX)?;
        let copy = to.join(name);
        files::write_new(&copy, &bytes, 0o400)?;
        let back = asl_core::Digest::of(&files::read_limited(&copy, bytes.len() as u64)?);
        if back != digest {
            return Err(
                failed("its copy is not the same; nothing was removed".into())
                    .next("release it to another disk"),
            );
        }
    }
    held.remove(root, &context(), "quarantine-release")?;
    let text = format!("Released {} to {}", held.name, to.display());
    let mut object = row(held);
    if let Some(map) = object.as_object_mut() {
        map.insert("released_to".into(), to.display().to_string().into());
    }
    out.result(&text, &object)
}

fn purge(root: &HostRoot, chosen: &[Held], dry_run: bool, out: Out) -> Result<()> {
    if !dry_run {
        for held in chosen {
            held.remove(root, &context(), "quarantine-purge")?;
        }
    }
    let bytes: u64 = chosen.iter().map(Held::bytes).sum();
    let mut text: String = chosen.iter().map(|held| line(held) + "\n").collect();
    text.push_str(&match (chosen.len(), dry_run) {
        (0, _) => "Nothing is in quarantine.".to_string(),
        (n, true) => format!("Would remove {n}, {}.", size(bytes)),
        (n, false) => format!("Removed {n}, {}.", size(bytes)),
    });
    let rows: Vec<Value> = chosen.iter().map(row).collect();
    out.result(
        &text,
        &json!({ "purged": rows, "bytes": bytes, "dry_run": dry_run }),
    )
}

fn line(held: &Held) -> String {
    format!(
        "{}  {}  {}",
        names::shown(held.name.as_bytes()),
        size(held.bytes()),
        names::shown(held.reason.words().as_bytes())
    )
}

fn row(held: &Held) -> Value {
    json!({
        "name": held.name,
        "domain_id": held.domain.as_ref().map(ToString::to_string),
        "reason": held.reason.code(),
        "why": held.reason.words(),
        "bytes": held.bytes(),
        "path": held.path.display().to_string(),
    })
}
