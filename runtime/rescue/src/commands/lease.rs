//! `lease`: what each host lends, of it what is left, and whose clock says until when; and what the
//! keeper changes about it.

use super::{boot_id, context};
use crate::cli::{Lease, WhichDomain};
use crate::out::{size, time, Out};
use asl_auth::{Amendment, LeaseBounds};
use asl_core::Result;
use asl_host::admission::Keeper;
use asl_host::leases::LeaseRecord;
use asl_host::{Domain, HostRoot};
use asl_store::Current;
use serde_json::{json, Value};
use std::path::Path;

pub fn lease(root: &Path, verb: Lease, out: Out) -> Result<()> {
    let seconds = |days: u32| u64::from(days) * 86_400;
    let (change, amendment) = match verb {
        Lease::Show { which } => return show(root, &which, out),
        Lease::Grant {
            change,
            bytes,
            days,
            snapshots,
        } => {
            let seconds = seconds(days);
            let bounds = LeaseBounds {
                bytes,
                snapshots,
                seconds,
            };
            (change, Amendment::Grant(bounds))
        }
        Lease::Renew { change, days } => {
            let seconds = seconds(days);
            (change, Amendment::Renew { seconds })
        }
        Lease::Shrink { change, bytes } => (change, Amendment::Shrink { bytes }),
        Lease::Revoke { change } => (change, Amendment::End),
    };
    let root = HostRoot::open(root)?;
    let id = root.find(change.which.domain.as_deref())?;
    let keeper = Keeper::open(root, context())?;
    let (petition, signed) = keeper.amend(&id, amendment, &change.why.why)?;
    super::admission::hand_out(&petition, &signed, change.to.as_deref(), out)
}

fn show(root: &Path, which: &WhichDomain, out: Out) -> Result<()> {
    let root = HostRoot::open(root)?;
    let ids = match &which.domain {
        Some(wanted) => vec![root.find(Some(wanted))?],
        None => root.domains()?,
    };
    let (mut text, mut rows) = (String::new(), Vec::new());
    for id in ids {
        let row = match Domain::open(&root, &id) {
            Ok(domain) => json!({
                "domain_id": id.to_string(),
                "state": domain.state_at(root.id(), context().clock.wall_ns()).code(),
                "leases": leases_of(&root, &domain),
            }),
            // One damaged domain hides no other, unless it is the one that was asked for.
            Err(e) if which.domain.is_some() => return Err(e),
            Err(e) => {
                json!({ "domain_id": id.to_string(), "error": e.to_string(), "next": e.what_next() })
            }
        };
        text.push_str(&in_words(&row));
        rows.push(row);
    }
    if rows.is_empty() {
        text.push_str("No domains, and no leases.");
    }
    out.result(&text, &json!({ "leases": rows }))
}

/// A domain's leases, each with what is left of it and how its time is judged here.
pub fn leases_of(root: &HostRoot, domain: &Domain) -> Vec<Value> {
    let current = domain.current().ok();
    let shown = |lease| shown(root, lease, current.as_deref());
    domain.leases().all().map(shown).collect()
}

fn shown(root: &HostRoot, lease: &LeaseRecord, current: Option<&Current>) -> Value {
    let terms = &lease.terms;
    let stored = current.map_or(0, |c| c.head.stored_bytes);
    let wall_ns = context().clock.wall_ns();
    let own = lease.granted_by == root.id();
    // Where the kernel does not say which boot this is, none of its time is evidence.
    let boot = boot_id().unwrap_or_default();
    let floor_ns = lease.evidence_floor_ns(context().clock.since_boot(), boot);
    let judged_ns = if own {
        wall_ns.max(lease.seen_ns)
    } else {
        floor_ns
    };
    json!({
        "granted_by": lease.granted_by.to_string(),
        "granted_here": own,
        "storage_bytes": terms.storage_bytes,
        "stored_bytes": stored,
        "left_bytes": terms.storage_bytes.saturating_sub(stored),
        "snapshots": terms.snapshots,
        "snapshots_made": current.map_or(0, |c| c.snapshots.len()),
        "granted_at": time(lease.decided_at_ns),
        "expires_at": time(terms.expires_at.unix_ns),
        "expired": judged_ns > terms.expires_at.unix_ns,
        "grace_seconds": terms.grace_s,
        "grace_ends_at": time(lease.grace_ends_ns()),
        "reclaim": terms.reclaim.code(),
        "renewable": terms.renewable,
        "encryption_only": terms.encryption_only,
        "clock": {
            "judged_by": if own { "this host's clock" } else { "evidence" },
            "judged_at": time(judged_ns),
            "claimed_now": time(wall_ns),
        },
    })
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn in_words(row: &Value) -> String {
    let mut text = format!("Domain {}\n", word(&row["domain_id"]));
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:11} {value}\n"));
    if let Some(error) = row["error"].as_str() {
        line("unreadable", error.to_string());
        return text;
    }
    line("state here", word(&row["state"]));
    let leases = row["leases"].as_array().map_or(&[][..], Vec::as_slice);
    if leases.is_empty() {
        line("lease", "none".into());
    }
    for lease in leases {
        one_in_words(lease, &mut line);
    }
    text
}

fn one_in_words(lease: &Value, line: &mut impl FnMut(&str, String)) {
    let bytes = |name: &str| size(lease[name].as_u64().unwrap_or(0));
    line("granted by", word(&lease["granted_by"]));
    line("granted", word(&lease["granted_at"]));
    line(
        "bytes",
        format!(
            "{}, of which {} are stored here and {} are left",
            bytes("storage_bytes"),
            bytes("stored_bytes"),
            bytes("left_bytes")
        ),
    );
    line(
        "snapshots",
        format!(
            "{}, of which {} are made",
            lease["snapshots"], lease["snapshots_made"]
        ),
    );
    let over = if lease["expired"] == true {
        "  EXPIRED"
    } else {
        ""
    };
    line("expires", format!("{}{over}", word(&lease["expires_at"])));
    line(
        "grace",
        format!(
            "until {}, then {}",
            word(&lease["grace_ends_at"]),
            word(&lease["reclaim"])
        ),
    );
    let clock = &lease["clock"];
    line(
        "clock",
        format!(
            "judged by {}: at least {}; this machine's clock claims {}",
            word(&clock["judged_by"]),
            word(&clock["judged_at"]),
            word(&clock["claimed_now"])
        ),
    );
    let required = lease["encryption_only"] == true;
    line(
        "encrypted",
        if required { "required" } else { "not required" }.into(),
    );
}
