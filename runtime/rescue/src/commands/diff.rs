//! `snapshot diff`: roots and blocks with no key, the paths with the owner's.

use super::sealed::{find_snapshot, newest_roots};
use super::DAMAGE;
use crate::lines::Lines;
use crate::names::{self, shown};
use crate::out::{remark, size, Out};
use asl_core::codec::Root;
use asl_core::{BlockId, ChunkId, Result, SnapshotId};
use asl_host::StoreHandle;
use asl_ingest::{compare, open_at, Change, Listed};
use asl_store::Manifest;
use serde_json::{json, Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

/// How two snapshots differ; the paths only where they can be read.
pub fn diff(
    handle: &StoreHandle,
    old: SnapshotId,
    new: SnapshotId,
    paths: bool,
    out: Out,
) -> Result<ExitCode> {
    let (_, a) = find_snapshot(handle, Some(old))?;
    let (_, b) = find_snapshot(handle, Some(new))?;
    let mut lines = Lines::new(out);
    let told = numbers(handle, &a, &b, &mut lines).and_then(|()| match paths {
        true => sources(handle, &a, &b, &mut lines),
        false => Ok(0),
    });
    let Some(damage) = lines.end(told)? else {
        return Ok(ExitCode::SUCCESS);
    };
    if !paths {
        out.note("Paths are compared with --identity.");
    }
    Ok(ExitCode::from(if damage > 0 { DAMAGE } else { 0 }))
}

/// Roots, blocks and bytes: what can be said with no key.
fn numbers(handle: &StoreHandle, a: &Manifest, b: &Manifest, lines: &mut Lines) -> Result<()> {
    let roots = |m: &Manifest| {
        m.roots
            .iter()
            .map(|(id, _)| *id)
            .collect::<BTreeSet<ChunkId>>()
    };
    let (old_roots, new_roots) = (roots(a), roots(b));
    let (old, new) = (handle.snapshot_blocks(a)?.0, handle.snapshot_blocks(b)?.0);
    let current = handle.current();
    let bytes = |blocks: &mut dyn Iterator<Item = &BlockId>| {
        blocks.fold((0u64, 0u64), |(n, sum), id| {
            let size = current.blocks.get(id).copied().unwrap_or(0);
            (n + 1, sum.saturating_add(size))
        })
    };
    let added = bytes(&mut new.difference(&old));
    let removed = bytes(&mut old.difference(&new));
    let both = bytes(&mut old.intersection(&new));
    if lines.is_json() {
        let list =
            |ids: Vec<&ChunkId>| ids.into_iter().map(ToString::to_string).collect::<Vec<_>>();
        let blocks = |(n, bytes): (u64, u64)| json!({ "blocks": n, "bytes": bytes });
        return lines.object(&json!({
            "old": a.id.to_string(),
            "new": b.id.to_string(),
            "roots_added": list(new_roots.difference(&old_roots).collect()),
            "roots_removed": list(old_roots.difference(&new_roots).collect()),
            "added": blocks(added),
            "removed": blocks(removed),
            "in_both": blocks(both),
        }));
    }
    let blocks = |(n, bytes): (u64, u64)| format!("{n} blocks, {}", size(bytes));
    lines.text(&format!("From {} to {}", a.id, b.id))?;
    lines.text(&format!("  added    {}", blocks(added)))?;
    lines.text(&format!("  removed  {}", blocks(removed)))?;
    lines.text(&format!("  in both  {}", blocks(both)))?;
    for root in new_roots.difference(&old_roots) {
        lines.text(&format!("  + root {root}"))?;
    }
    for root in old_roots.difference(&new_roots) {
        lines.text(&format!("  - root {root}"))?;
    }
    Ok(())
}

/// Compares the newest root of each source; gives how many directories could not be compared.
fn sources(handle: &StoreHandle, a: &Manifest, b: &Manifest, lines: &mut Lines) -> Result<u64> {
    let by_name = |m: &Manifest| -> Result<BTreeMap<Vec<u8>, ChunkId>> {
        let roots = newest_roots(handle, m)?;
        Ok(roots.into_iter().map(|s| (s.name, s.root)).collect())
    };
    let (old, new) = (by_name(a)?, by_name(b)?);
    let names: BTreeSet<&Vec<u8>> = old.keys().chain(new.keys()).collect();
    let open = |id: Option<&ChunkId>| -> Result<Option<Root>> {
        id.map(|id| open_at(handle, id, b"")).transpose()
    };
    let mut damage = 0;
    for source in names {
        let (before, after) = (old.get(source), new.get(source));
        if before == after {
            continue;
        }
        if !lines.is_json() {
            lines.text(&format!("source {}", shown(source)))?;
        }
        let (before, after) = (open(before)?, open(after)?);
        let done = compare(
            handle,
            before.as_ref(),
            after.as_ref(),
            &mut |path, change| difference(lines, source, path, &change),
        )?;
        damage += done.problem_count;
        tell(&done);
    }
    Ok(damage)
}

fn tell(done: &Listed) {
    for p in &done.problems {
        remark(&format!("DAMAGE: {}: {}", shown(&p.path), p.why));
    }
}

fn difference(lines: &mut Lines, source: &[u8], path: &[u8], change: &Change<'_>) -> Result<()> {
    let (sign, word) = match change {
        Change::Added(_) => ('+', "added"),
        Change::Removed(_) => ('-', "removed"),
        Change::Changed { content: true, .. } => ('M', "content"),
        Change::Changed { content: false, .. } => ('m', "metadata"),
    };
    if !lines.is_json() {
        let path = if path.is_empty() { b"." } else { path };
        return lines.text(&format!("  {sign} {}", shown(path)));
    }
    let mut object = Map::new();
    object.insert("change".into(), json!(word));
    names::put(&mut object, "source", source);
    names::put(&mut object, "path", path);
    lines.object(&Value::Object(object))
}
