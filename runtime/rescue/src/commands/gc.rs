//! `gc`: what nothing reaches is freed.

use super::sealed::open_credentials;
use super::{context, open_domain, open_handle};
use crate::cli;
use crate::out::{size, Out};
use crate::progress::bar;
use crate::system;
use asl_core::{Error, Kind, Result};
use asl_host::{Credentials, Purpose, StoreHandle};
use asl_ingest::reached_pieces;
use asl_store::{GcOptions, GcReport, RepackReport};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;

pub fn gc(root: &Path, args: &cli::Gc, out: Out) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, &args.which)?;
    let credentials = match args.repack {
        true => open_credentials(&domain, args.identity.as_deref())?,
        false => Credentials::None,
    };
    let mut handle = open_handle(&root, &domain, Purpose::Upkeep, credentials)?;
    let repacked = match args.repack {
        true => Some(repack(&mut handle, args.dry_run, out)?),
        false => None,
    };
    let options = GcOptions {
        dry_run: args.dry_run,
        unfinished: args.unfinished,
    };
    let report = handle.gc(options, &system::stopped)?;
    if !args.dry_run {
        domain.write_descriptor(&context())?;
    }
    let waiting = repacked.as_ref().map(|r| waiting(&handle, r)).transpose()?;
    let mut object = json!({
        "dry_run": args.dry_run,
        "blocks": report.blocks,
        "block_bytes": report.block_bytes,
        "orphans": report.orphans,
        "orphan_bytes": report.orphan_bytes,
        "segments": report.segments,
        "leftovers": report.leftovers,
        "unfinished_blocks": report.unfinished,
        "unfinished_bytes": report.unfinished_bytes,
    });
    let mut text = String::new();
    if let (Some(repacked), Some(waiting)) = (&repacked, &waiting) {
        object["repacked_blocks"] = json!(repacked.blocks.len());
        object["repacked_bytes"] = json!(repacked.block_bytes);
        object["repacked_live_bytes"] = json!(repacked.live_bytes);
        object["left_blocks"] = json!(repacked.left);
        object["listed_by"] = json!(waiting);
        text = said_of_repack(repacked, waiting, args.dry_run);
    }
    text.push_str(&said(&report, args.dry_run));
    out.result(&text, &object)?;
    Ok(ExitCode::SUCCESS)
}

/// Looks which pieces the roots reach, and writes half-dead blocks anew.
fn repack(handle: &mut StoreHandle, dry_run: bool, out: Out) -> Result<RepackReport> {
    let looking = bar(out, "looking what is reached");
    let (mut live, mut passed) = (handle.live(), HashSet::new());
    let roots = handle.current().root_order.clone();
    looking.set_length(roots.len() as u64);
    for root in &roots {
        if system::stopped() {
            let why = "it was stopped";
            return Err(Error::new(Kind::Interrupted, "repack", "blocks", why)
                .next("nothing was changed; start it again"));
        }
        let handle: &StoreHandle = handle;
        reached_pieces(handle, root, &mut passed, &mut |id| live.add(id))?;
        looking.inc(1);
    }
    looking.finish_and_clear();
    let writing = bar(out, "writing blocks anew");
    let done = handle.repack(
        &live,
        dry_run,
        &|done, total| {
            writing.set_length(total);
            writing.set_position(done);
        },
        &system::stopped,
    );
    writing.finish_and_clear();
    done
}

/// The snapshots that still list blocks which were written anew.
fn waiting(handle: &StoreHandle, repacked: &RepackReport) -> Result<Vec<String>> {
    let mut listing = Vec::new();
    for (id, manifest) in handle.manifests() {
        let list = handle.snapshot_blocks(&manifest?)?;
        if !list.0.is_disjoint(&repacked.blocks) {
            listing.push(id.to_string());
        }
    }
    Ok(listing)
}

fn said_of_repack(r: &RepackReport, waiting: &[String], dry_run: bool) -> String {
    let verb = if dry_run { "Would write" } else { "Wrote" };
    let mut text = format!(
        "{verb} {} half-dead blocks anew, {}, of which {} are reached.\n",
        r.blocks.len(),
        size(r.block_bytes),
        size(r.live_bytes)
    );
    if r.left > 0 {
        text.push_str(&format!(
            "{} half-dead blocks stay: a pinned snapshot lists them, or they are of an earlier epoch.\n",
            r.left
        ));
    }
    if !waiting.is_empty() {
        text.push_str(&format!(
            "The old blocks go once these are forgotten: {}. Make a new one first: `asl-host snapshot create`.\n",
            waiting.join(" ")
        ));
    }
    text
}

fn said(r: &GcReport, dry_run: bool) -> String {
    let freed = size(r.block_bytes.saturating_add(r.orphan_bytes));
    let (blocks, orphans, segments, files) = (r.blocks, r.orphans, r.segments, r.leftovers);
    let verb = if dry_run { "Would free" } else { "Freed" };
    let mut text = format!(
        "{verb} {freed}: {blocks} blocks that nothing reaches, {orphans} that crashed writers left; {segments} segments and {files} other files.\n"
    );
    if r.unfinished > 0 {
        text.push_str(&format!(
            "Kept {} blocks, {}, of an ingest that did not finish; it goes on with them. --unfinished frees them too.\n",
            r.unfinished,
            size(r.unfinished_bytes)
        ));
    }
    text
}
