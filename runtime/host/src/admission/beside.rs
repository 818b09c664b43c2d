//! What the other domains on a host leave to one that asks: room, and the number of strangers.

use super::records::{latest, Recorded};
use crate::capability::Place;
use crate::domain::Domain;
use crate::root::HostRoot;
use asl_auth::{AdmissionResult, PublicKey};
use asl_core::{DomainId, KeyId, Result};
use std::path::Path;

/// Files of a damaged domain that are counted at most.
const COUNTED: usize = 1_000_000;

/// What a decision depends on beside the petition and the policy.
pub(super) struct Beside {
    pub(super) promised_bytes: u64,
    pub(super) strangers: u32,
}

/// What the other domains here have been promised, and how many of them are strangers'.
///
/// A domain whose records are damaged stops nobody else: it takes no more writes, so it can
/// hold no more than it does.
pub(super) fn beside(
    root: &HostRoot,
    but: Option<&DomainId>,
    trusted: &[PublicKey],
    now_ns: i64,
) -> Result<Beside> {
    let mut beside = Beside {
        promised_bytes: 0,
        strangers: 0,
    };
    for id in root.domains()?.iter().filter(|id| Some(*id) != but) {
        let domain = Domain::open(root, id);
        let counts = domain.as_ref().map_or(true, |d| is_stranger(d, trusted));
        beside.strangers = beside.strangers.saturating_add(u32::from(counts));
        let bytes = match domain.as_ref().map(|d| (d, d.require_sound())) {
            Ok((domain, Ok(()))) => promised_to(domain, root.id(), now_ns),
            _ => held_bytes(&root.layout().domain(id)),
        };
        beside.promised_bytes = beside.promised_bytes.saturating_add(bytes);
    }
    Ok(beside)
}

/// Until its grace is over, what a lease let in may lie here.
fn promised_to(domain: &Domain, host: KeyId, now_ns: i64) -> u64 {
    domain.leases().of(&host).map_or(0, |lease| {
        let running = lease.grace_ends_ns() > now_ns;
        if running {
            lease.terms.storage_bytes
        } else {
            0
        }
    })
}

/// How many domains without a trusted root this host keeps, and how many it would at most.
///
/// # Errors
/// `Invalid` where host-policy or a trusted root is malformed; `Io`.
pub fn strangers(root: &HostRoot) -> Result<(u32, u32)> {
    let most = root.policy()?.strangers;
    let trusted = root.trusted_roots()?;
    let mut kept = 0u32;
    for id in root.domains()? {
        let counts = Domain::open(root, &id).map_or(true, |d| is_stranger(&d, &trusted));
        kept = kept.saturating_add(u32::from(counts));
    }
    Ok((kept, most))
}

/// Whether this host keeps a domain of which it trusts no root, and has not rejected it. What
/// cannot be read is taken for one.
fn is_stranger(domain: &Domain, trusted: &[PublicKey]) -> bool {
    let known = domain.dam().is_some_and(|dam| {
        let mut roots = dam.dam().roots.keys().iter();
        roots.any(|key| trusted.contains(key))
    });
    let rejected = |r: &Recorded| r.decision.outcome == AdmissionResult::Rejected;
    let kept = || !matches!(latest(domain), Ok(last) if last.as_ref().is_some_and(rejected));
    // At home it is this machine's own.
    !known && domain.place() == Place::Elsewhere && kept()
}

/// Bytes of the files below a directory; what cannot be read counts nothing.
fn held_bytes(dir: &Path) -> u64 {
    let (mut sum, mut seen) = (0u64, 0usize);
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            seen += 1;
            match entry.metadata() {
                _ if seen > COUNTED => return sum,
                Ok(meta) if meta.is_dir() => todo.push(entry.path()),
                Ok(meta) => sum = sum.saturating_add(meta.len()),
                Err(_) => {}
            }
        }
    }
    sum
}
