//! Step 6: the snapshot, and what stands on the screen before the power goes off.

use super::super::profile::Profile;
use super::super::session::{space, Place};
use super::super::ui::Ui;
use super::super::way::Way;
use super::admission::Answer;
use super::seal::{of_target, Sealed};
use super::Step;
use crate::commands::context;
use crate::out::{size, time, Out};
use asl_backend::Durability;
use asl_core::{words, Error, SnapshotId};
use asl_host::handle::Device;
use asl_host::{Domain, StoreHandle};
use asl_store::ReadBack;

/// Takes up a late decision, makes the snapshot, and says what remains where.
///
/// # Errors
/// A `Stop`.
pub fn snapshot(
    sealed: &mut Sealed,
    device: &Device,
    profile: &Profile,
    target: &Place,
    ui: Ui,
    out: Out,
) -> Step<()> {
    if let Some(answer) = &mut sealed.answer {
        if let Some(lease) = answer.at_the_end(&mut sealed.domain, profile, ui, out)? {
            sealed.handle.attach_lease(lease);
        }
    }
    let id = loop {
        match sealed
            .handle
            .snapshot(Some(device), sealed.read_back, sealed.holes)
        {
            Ok(id) => break id,
            Err(e) => ui.way_on(of_target(e), &[Way::Again], out)?,
        };
    };
    sealed.domain.write_descriptor(&context())?;
    for line in status(sealed, id, target) {
        ui.say(&line);
    }
    if let Some(e) = &sealed.left_out {
        ui.say(&left_out(e));
    }
    Ok(())
}

/// The status screen: identity, lease, disks; what remains where, what left, what is only in RAM.
fn status(sealed: &Sealed, id: SnapshotId, target: &Place) -> Vec<String> {
    let Sealed { handle, domain, .. } = sealed;
    let head = handle.head();
    let mut lines = vec![
        format!("Snapshot {id}, signed by this session's device key."),
        format!(
            "Log head, commit {}: {}",
            head.commit,
            words(head.frame.as_bytes())
        ),
    ];
    lines.extend(leases(domain));
    if let Ok((used, free)) = space(target.path()) {
        lines.push(format!(
            "Disk     {}: {} used, {} free",
            target.name(),
            size(used),
            size(free)
        ));
    }
    lines.push(remains(sealed, target));
    if sealed.holes > 0 {
        lines.push(format!(
            "SEALED WITH HOLES: {} problems, listed in the sealed root.",
            sealed.holes
        ));
    }
    lines.push(left_this_machine(sealed).to_string());
    lines.push(in_memory(handle).to_string());
    lines
}

/// One line a lease.
fn leases(domain: &Domain) -> Vec<String> {
    let terms = domain.leases().all().map(|l| &l.terms);
    let lines = terms.map(|terms| {
        format!(
            "Lease    {} and {} snapshots until {}",
            size(terms.storage_bytes),
            terms.snapshots,
            time(terms.expires_at.unix_ns)
        )
    });
    let mut lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        lines.push("Lease    none; no host has lent anything".into());
    }
    lines
}

fn remains(sealed: &Sealed, target: &Place) -> String {
    let kept = if is_durable(&sealed.handle) {
        "durable"
    } else {
        "VOLATILE: gone when the power goes"
    };
    let checked = if sealed.read_back == ReadBack::Done {
        "every block read back and checked"
    } else {
        "not read back"
    };
    format!(
        "On {}: domain {}, {kept}, {checked}.",
        target.name(),
        sealed.domain.id()
    )
}

fn left_this_machine(sealed: &Sealed) -> &'static str {
    let asked = sealed.answer.as_ref().is_some_and(Answer::has_gone_out);
    match (asked, !sealed.domain.leases().is_empty()) {
        (true, true) => "The host lends space; no sealed block has left this machine yet.",
        (true, false) => "No lease; nothing has left this machine but the request.",
        (false, _) => "Nothing has left this machine.",
    }
}

fn in_memory(handle: &StoreHandle) -> &'static str {
    if is_durable(handle) {
        "Only in memory: this session's keys. They end with it, and nothing needs them any more."
    } else {
        "Only in memory: EVERYTHING that was sealed. Do not switch this machine off."
    }
}

fn is_durable(handle: &StoreHandle) -> bool {
    handle.durability() == Durability::Durable
}

fn left_out(e: &Error) -> String {
    format!("LEFT OUT: a source was not sealed: {e}")
}
