//! What the domains on a host take of what there is to give: room, and the number of strangers.
//!
//! A row is read from a domain's records once and again only when its host log has changed, so an
//! admission costs a look at each log's size and not the reading of it.

use super::records::{latest, Recorded};
use crate::capability::Place;
use crate::domain::Domain;
use crate::layout::domain as place;
use crate::root::HostRoot;
use asl_auth::{AdmissionResult, DomainState, PublicKey};
use asl_backend::disk::Entry;
use asl_backend::files;
use asl_core::{DomainId, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Files of a damaged domain that are counted at most.
const COUNTED: usize = 1_000_000;

/// What a decision depends on beside the petition and the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Bytes that may lie here under leases, whose grace is not over.
    pub(super) promised_bytes: u64,
    /// Domains without a trusted root.
    pub(super) strangers: u32,
}

/// The rows of all domains here.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    rows: BTreeMap<DomainId, Row>,
    /// Domains whose records were read, in all.
    reads: u64,
}

#[derive(Debug)]
struct Row {
    /// What the host log looked like; `None` where it must be looked at each time.
    seen: Option<Stamp>,
    /// The root keys of its DAM.
    roots: Vec<PublicKey>,
    /// It is kept for somebody else, who was not rejected.
    kept: bool,
    /// Bytes, and until when they are promised.
    promised: (u64, i64),
    /// When the lease ends, while it makes the state COURTESY.
    ends_ns: Option<i64>,
}

/// What changes with every record of a host log: its size, and the head that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    head: Vec<u8>,
}

impl Stamp {
    fn of(root: &HostRoot, id: &DomainId) -> Option<Stamp> {
        let layout = root.layout();
        let log = layout.domain(id).join(place::HOST_LOG);
        let Ok(Some(Entry::File(size))) = files::look(&log) else {
            return None;
        };
        // A log of one frame has no head yet.
        let head = files::read_limited(&layout.host_head(id), 4096).unwrap_or_default();
        Some(Stamp { size, head })
    }
}

impl Ledger {
    /// Reads the rows that are new or have changed.
    pub(super) fn refresh(&mut self, root: &HostRoot) -> Result<()> {
        let mut rows = BTreeMap::new();
        for id in root.domains()? {
            let seen = Stamp::of(root, &id);
            let row = match self.rows.remove(&id) {
                Some(row) if row.seen.is_some() && row.seen == seen => row,
                _ => {
                    self.reads += 1;
                    Row::read(root, &id, seen)
                }
            };
            rows.insert(id, row);
        }
        self.rows = rows;
        Ok(())
    }

    /// What all domains but one take together.
    pub(super) fn totals(
        &self,
        but: Option<&DomainId>,
        trusted: &[PublicKey],
        now_ns: i64,
    ) -> Totals {
        let mut totals = Totals::default();
        for (_, row) in self.rows.iter().filter(|(id, _)| Some(*id) != but) {
            let (bytes, until) = row.promised;
            let stranger = row.kept && !row.roots.iter().any(|key| trusted.contains(key));
            totals.strangers = totals.strangers.saturating_add(u32::from(stranger));
            if until > now_ns {
                totals.promised_bytes = totals.promised_bytes.saturating_add(bytes);
            }
        }
        totals
    }

    /// The domains whose lease has ended by now and is not yet recorded as ended.
    pub(super) fn lapsed(&self, now_ns: i64) -> Vec<DomainId> {
        let over = |row: &Row| row.ends_ns.is_some_and(|end| now_ns > end);
        let rows = self.rows.iter().filter(|(_, row)| over(row));
        rows.map(|(id, _)| id.clone()).collect()
    }

    /// Domains here.
    pub(super) fn domains(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Domains whose records were read since the beginning.
    pub(super) fn reads(&self) -> u64 {
        self.reads
    }
}

impl Row {
    /// A domain whose records are damaged stops nobody else: it takes no more writes, so it can
    /// hold no more than it does. What cannot be read is taken for a stranger's.
    fn read(root: &HostRoot, id: &DomainId, seen: Option<Stamp>) -> Row {
        let held = || (held_bytes(&root.layout().domain(id)), i64::MAX);
        let Ok(domain) = Domain::open(root, id) else {
            return Row {
                seen: None,
                roots: Vec::new(),
                kept: true,
                promised: held(),
                ends_ns: None,
            };
        };
        let sound = domain.require_sound().is_ok();
        let lease = domain.leases().of(&root.id());
        // Until its grace is over, what a lease let in may lie here.
        let promised = match lease {
            _ if !sound => held(),
            Some(lease) => (lease.terms.storage_bytes, lease.grace_ends_ns()),
            None => (0, 0),
        };
        let courtesy = domain.state() == DomainState::Courtesy;
        let dam = domain.dam().map(|dam| dam.dam().roots.keys().to_vec());
        Row {
            seen: seen.filter(|_| sound),
            roots: dam.unwrap_or_default(),
            kept: is_kept(&domain),
            promised,
            ends_ns: lease
                .filter(|_| sound && courtesy)
                .map(|l| l.terms.expires_at.unix_ns),
        }
    }
}

/// How many domains without a trusted root this host keeps, and how many it would at most.
///
/// # Errors
/// `Invalid` where host-policy or a trusted root is malformed; `Io`.
pub fn strangers(root: &HostRoot) -> Result<(u32, u32)> {
    let most = root.policy()?.strangers;
    let mut ledger = Ledger::default();
    ledger.refresh(root)?;
    let kept = ledger.totals(None, &root.trusted_roots()?, 0).strangers;
    Ok((kept, most))
}

/// Whether a domain is kept for somebody else, who was not rejected.
fn is_kept(domain: &Domain) -> bool {
    let rejected = |r: &Recorded| r.decision.outcome == AdmissionResult::Rejected;
    let kept = || !matches!(latest(domain), Ok(last) if last.as_ref().is_some_and(rejected));
    // At home it is this machine's own.
    domain.place() == Place::Elsewhere && kept()
}

/// Bytes of the files below a directory; what cannot be read counts nothing.
fn held_bytes(dir: &Path) -> u64 {
    let (mut sum, mut seen) = (0u64, 0usize);
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for name in files::names(&dir).unwrap_or_default() {
            seen += 1;
            match files::look(&dir.join(&name)) {
                _ if seen > COUNTED => return sum,
                Ok(Some(Entry::Dir)) => todo.push(dir.join(name)),
                Ok(Some(Entry::File(size))) => sum = sum.saturating_add(size),
                _ => {}
            }
        }
    }
    sum
}
