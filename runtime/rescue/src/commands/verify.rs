//! `verify`: damage is found before it is served.

use super::sealed::open_credentials;
use super::{context, open_domain, open_handle, DAMAGE};
use crate::cli;
use crate::out::Out;
use crate::progress::bar;
use crate::system;
use asl_core::Result;
use asl_host::verify::check_records;
use asl_host::{Credentials, Purpose, StoreHandle};
use asl_store::{Sample, VerifyOptions, VerifyReport};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// How often a domain that is written to meanwhile is checked again.
const AGAIN: u32 = 3;

pub fn verify(root: &Path, args: &cli::Verify, out: Out) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, &args.which)?;
    let data = args.data || args.identity.is_some();
    let open = || {
        let credentials = match data {
            true => open_credentials(&domain, args.identity.as_deref())?,
            false => Credentials::None,
        };
        open_handle(&root, &domain, Purpose::Read, credentials)
    };
    if !domain.holds_content()? {
        let mut report = VerifyReport::default();
        check_records(&root, &domain, None, &mut report)?;
        return tell(
            &report,
            "this host's records only; it holds none of the content",
            false,
            out,
        );
    }
    let mut handle = open()?;
    let sample = match args.sample {
        Some(per_million) => {
            let mut seed = [0; 32];
            context().entropy.fill(&mut seed)?;
            Some(Sample { per_million, seed })
        }
        None => None,
    };
    let options = VerifyOptions {
        data,
        sample,
        remember: sample.is_none(),
        resume: args.resume,
    };
    let check = |handle: &StoreHandle| {
        let bar = bar(out, "verifying");
        let progress = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let report = handle.verify(options, &progress, &system::stopped);
        bar.finish_and_clear();
        report
    };
    let mut report = check(&handle)?;
    for _ in 0..AGAIN {
        // What another process let go of meanwhile, as `gc` does, is no damage.
        let now = match report.damage.is_empty() {
            true => break,
            false => open()?,
        };
        if now.head() == handle.head() {
            break;
        }
        out.note("  the domain was written to meanwhile: it is checked as it is now");
        handle = now;
        report = check(&handle)?;
    }
    check_records(&root, &domain, Some(handle.head()), &mut report)?;
    let depth = if data {
        "every piece opened"
    } else {
        "structure only; --data opens every piece"
    };
    tell(&report, depth, data, out)
}

fn tell(report: &VerifyReport, depth: &str, data: bool, out: Out) -> Result<ExitCode> {
    let damage: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "Checked {} blocks, {} segments, {} snapshots ({depth}).\n",
        report.blocks, report.segments, report.snapshots
    );
    if report.earlier > 0 {
        text.push_str(&format!(
            "{} blocks were found good before the interruption.\n",
            report.earlier
        ));
    }
    for line in &damage {
        text.push_str(&format!("DAMAGE: {line}\n"));
    }
    for line in &report.not_checked {
        text.push_str(&format!("NOT CHECKED: {line}\n"));
    }
    for line in &report.notes {
        text.push_str(&format!("note: {line}\n"));
    }
    match (damage.is_empty(), report.not_checked.is_empty()) {
        (false, _) => text.push_str("`asl-host repair` makes good what it can.\n"),
        (true, true) => text.push_str("No damage.\n"),
        (true, false) => text.push_str("No damage in what was checked.\n"),
    }
    let object = json!({
        "blocks": report.blocks,
        "blocks_checked_earlier": report.earlier,
        "segments": report.segments,
        "snapshots": report.snapshots,
        "pieces_opened": data,
        "damage": damage,
        "not_checked": report.not_checked,
        "notes": report.notes,
    });
    out.result(&text, &object)?;
    Ok(ExitCode::from(if damage.is_empty() { 0 } else { DAMAGE }))
}
