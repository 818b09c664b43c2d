//! `gc`: what nothing reaches is freed.

use super::{context, open_domain, open_handle};
use crate::cli;
use crate::out::{size, Out};
use crate::system;
use asl_core::Result;
use asl_host::{Credentials, Purpose};
use asl_store::{GcOptions, GcReport};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

pub fn gc(root: &Path, args: &cli::Gc, out: Out) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, &args.which)?;
    let mut handle = open_handle(&root, &domain, Purpose::Upkeep, Credentials::None)?;
    let options = GcOptions {
        dry_run: args.dry_run,
        unfinished: args.unfinished,
    };
    let report = handle.gc(options, &system::stopped)?;
    if !args.dry_run {
        domain.write_descriptor(&context())?;
    }
    let object = json!({
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
    out.result(&said(&report, args.dry_run), &object)?;
    Ok(ExitCode::SUCCESS)
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
