//! `repair`: what is here is made good, what is not is named.

use super::sealed::open_credentials;
use super::{context, open_domain, open_handle, DAMAGE};
use crate::cli;
use crate::names::shown;
use crate::out::Out;
use crate::progress::bar;
use crate::system;
use asl_core::Result;
use asl_host::verify::{mend_records, records_that_remain};
use asl_host::{Credentials, Domain, Purpose, StoreHandle};
use asl_ingest::lost_paths;
use asl_store::RepairReport;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Paths named at most; their number is told whole.
const NAMED: usize = 1000;

/// What a root has lost.
struct Lost {
    root: String,
    count: u64,
    paths: Vec<String>,
}

pub fn repair(root: &Path, args: &cli::Repair, out: Out) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, &args.which)?;
    let opens = args.identity.is_some() || !domain.genesis().params.encrypted;
    // First: a record of a head that is spoiled would keep the store from opening.
    let mut mended = RepairReport::default();
    mend_records(&root, &domain, &mut mended)?;
    let domain = match mended.repaired.is_empty() {
        true => domain,
        false => Domain::open(&root, domain.id())?,
    };
    let credentials = |opens: bool| match opens {
        true => open_credentials(&domain, args.identity.as_deref()),
        false => Ok(Credentials::None),
    };
    let mut handle = open_handle(&root, &domain, Purpose::Upkeep, credentials(opens)?)?;
    let bar = bar(out, "reading every block");
    let report = handle.repair(
        &|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        },
        &system::stopped,
    );
    bar.finish_and_clear();
    let mut report = report?;
    report.repaired.splice(0..0, mended.repaired);
    report.quarantined.splice(0..0, mended.quarantined);
    report
        .remains
        .extend(records_that_remain(&root, &domain, None)?);
    drop(handle);
    // Opening for writing once more writes the ledger anew where it was set aside.
    let handle = open_handle(&root, &domain, Purpose::Upkeep, credentials(opens)?)?;
    domain.write_descriptor(&context())?;
    let lost = match opens {
        true => paths(&handle, &report)?,
        false => Vec::new(),
    };
    let (text, clean) = (said(&report, &lost, opens), sound(&report));
    let texts = |list: &[asl_store::Damage]| -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    };
    let object = json!({
        "repaired": report.repaired,
        "quarantined": report.quarantined,
        "lost_blocks": texts(&report.lost),
        "roots_that_lost": report.roots.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "snapshots_that_lost": report.snapshots.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "lost_paths": lost.iter().map(|l| json!({ "root": l.root, "count": l.count, "paths": l.paths })).collect::<Vec<_>>(),
        "paths_looked_for": opens,
        "remains": texts(&report.remains),
    });
    out.result(&text, &object)?;
    Ok(ExitCode::from(if clean { 0 } else { DAMAGE }))
}

fn sound(report: &RepairReport) -> bool {
    report.lost.is_empty() && report.remains.is_empty()
}

fn paths(handle: &StoreHandle, report: &RepairReport) -> Result<Vec<Lost>> {
    let mut all = Vec::new();
    for root in &report.roots {
        let mut lost = Lost {
            root: root.to_string(),
            count: 0,
            paths: Vec::new(),
        };
        lost_paths(handle, root, &|id| handle.holds(id), &mut |path| {
            lost.count += 1;
            if lost.paths.len() < NAMED {
                lost.paths.push(shown(path));
            }
        })?;
        all.push(lost);
    }
    Ok(all)
}

fn said(report: &RepairReport, lost: &[Lost], opens: bool) -> String {
    let mut text = String::new();
    let mut line = |l: String| {
        text.push_str(&l);
        text.push('\n');
    };
    for name in &report.repaired {
        line(format!("repaired: {name}"));
    }
    for name in &report.quarantined {
        line(format!("kept as it was found: {name}"));
    }
    for damage in &report.lost {
        line(format!("LOST: {damage}"));
    }
    for id in &report.snapshots {
        line(format!("{id} lists lost blocks"));
    }
    for l in lost {
        line(format!("root {}: {} paths have lost data", l.root, l.count));
        for path in &l.paths {
            line(format!("  {path}"));
        }
    }
    if !opens && !report.roots.is_empty() {
        let roots: Vec<String> = report.roots.iter().map(ToString::to_string).collect();
        line(format!("roots that have lost data: {}", roots.join(" ")));
        line("Which paths is sealed: give --identity to name them.".into());
    }
    for damage in &report.remains {
        line(format!("NOT REPAIRED: {damage}"));
    }
    line(match (sound(report), report.repaired.is_empty()) {
        (true, true) => "Nothing to repair.".into(),
        (true, false) => "Repaired; nothing is lost.".into(),
        (false, _) => "Everything else is whole. What is lost is sealed again by the next ingest of the same data; a holder of the domain may have the undamaged files.".to_string(),
    });
    text
}
