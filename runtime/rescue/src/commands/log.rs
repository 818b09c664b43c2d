//! `log`: what the content log says, and whether it holds. No key is needed.

use super::{open_domain, open_handle};
use crate::cli::Log;
use crate::lines::Lines;
use crate::out::{size, Out};
use asl_core::{words, Error, Kind, Result};
use asl_host::{Credentials, Purpose, StoreHandle};
use asl_store::{history, Past, Record};
use serde_json::{json, Value};
use std::path::Path;

pub fn log(root: &Path, verb: Log, out: Out) -> Result<()> {
    match verb {
        Log::Show { which, from } => {
            let (root, domain) = open_domain(root, &which)?;
            let handle = open_handle(&root, &domain, Purpose::Read, Credentials::None)?;
            let mut lines = Lines::new(out);
            let shown = history(domain.backend(), &mut |past| match past.logseq.0 >= from {
                true if lines.is_json() => lines.object(&object(past)),
                true => lines.text(&line(past)),
                false => Ok(()),
            });
            lines.end(shown)?;
            // What lies before the damage was shown, and is what the log holds.
            refuse_damage(&handle)
        }
        Log::Verify { which } => {
            let (root, domain) = open_domain(root, &which)?;
            let handle = open_handle(&root, &domain, Purpose::Read, Credentials::None)?;
            refuse_damage(&handle)?;
            // Opening begins at a checkpoint; this is the whole of it.
            history(domain.backend(), &mut |_| Ok(()))?;
            verify(&handle, out)
        }
    }
}

fn refuse_damage(handle: &StoreHandle) -> Result<()> {
    match handle.damage().first() {
        Some(first) => Err(Error::new(Kind::Damage, "verify", &first.object, &first.why)
            .next("nothing is written to this domain until it is repaired; what lies before is readable")),
        None => Ok(()),
    }
}

fn verify(handle: &StoreHandle, out: Out) -> Result<()> {
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

/// A record's name in the documents, what it says, and its fields.
fn said(record: &Record) -> (&'static str, String, Value) {
    match record {
        Record::Genesis { bytes } => {
            let hash = asl_auth::Genesis::hash_of(bytes);
            let label =
                asl_auth::Genesis::decode(bytes).map_or("?".into(), |g| g.label.to_string());
            let text = format!("the domain {label} begins; its hash is {hash}");
            (
                "GENESIS",
                text,
                json!({ "label": label, "domain": hash.to_string() }),
            )
        }
        Record::Epoch(e) => {
            let files: Vec<&str> = e.files.iter().map(|(name, _)| name.as_str()).collect();
            let text = format!("epoch {}: new data is sealed for {}", e.number, e.recipient);
            (
                "EPOCH",
                text,
                json!({ "epoch": e.number, "recipient": e.recipient, "files": files }),
            )
        }
        Record::AddIndexEntry { id, set, .. } => {
            let text = format!("root {id}; its blocks are the set {set}");
            (
                "ADD_INDEX_ENTRY",
                text,
                json!({ "root": id.to_string(), "blocks": set.to_string() }),
            )
        }
        Record::Merge { segment, replaced } => {
            let text = format!(
                "segment {} stands for {} others, with {} blocks",
                segment.number,
                replaced.len(),
                segment.blocks.len()
            );
            let fields = json!({
                "segment": segment.number,
                "epoch": segment.epoch,
                "trust": segment.trust.to_string(),
                "file": segment.file.to_string(),
                "bytes": segment.bytes,
                "replaces": replaced,
            });
            ("MERGE", text, fields)
        }
        Record::SealSegment(s) => {
            let bytes = s
                .blocks
                .iter()
                .fold(0u64, |sum, (_, n)| sum.saturating_add(*n));
            let text = format!(
                "segment {} of epoch {}: {} blocks, {}",
                s.number,
                s.epoch,
                s.blocks.len(),
                size(bytes)
            );
            let blocks: Vec<Value> = s
                .blocks
                .iter()
                .map(|(id, n)| json!([id.to_string(), n]))
                .collect();
            let fields = json!({
                "segment": s.number,
                "epoch": s.epoch,
                "trust": s.trust.to_string(),
                "file": s.file.to_string(),
                "bytes": s.bytes,
                "blocks": blocks,
            });
            ("SEAL_SEGMENT", text, fields)
        }
        Record::Snapshot {
            id,
            manifest,
            bytes,
        } => {
            let text = format!("{id} was made; its manifest is {manifest}");
            let fields = json!({ "snapshot": id.to_string(), "manifest": manifest.to_string(), "bytes": bytes });
            ("SNAPSHOT", text, fields)
        }
        Record::GcIntent { blocks } => {
            let text = format!("{} blocks that nothing reaches are to go", blocks.len());
            ("GC_INTENT", text, json!({ "blocks": texts(blocks) }))
        }
        Record::GcCommit { blocks, segments } => {
            let (n, m) = (blocks.len(), segments.len());
            let text = format!("{n} blocks and {m} segments are gone");
            let fields = json!({ "blocks": texts(blocks), "segments": segments });
            ("GC_COMMIT", text, fields)
        }
        Record::Forget { snapshots, roots } => {
            let n = roots.len();
            let text = format!(
                "forgotten: {}; {n} roots let go",
                texts(snapshots).join(" ")
            );
            let fields = json!({ "snapshots": texts(snapshots), "roots": texts(roots) });
            ("FORGET", text, fields)
        }
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}

fn line(past: &Past) -> String {
    let (kind, text, _) = said(&past.record);
    format!(
        "{:>6}  commit {:<5} {kind:16} {text}",
        past.logseq.0, past.commit
    )
}

fn object(past: &Past) -> Value {
    let (kind, _, fields) = said(&past.record);
    let mut object = json!({ "logseq": past.logseq.0, "commit": past.commit, "kind": kind });
    if let (Some(all), Value::Object(fields)) = (object.as_object_mut(), fields) {
        all.extend(fields);
    }
    object
}
