//! What a lease that counts here lets through: bytes, count, time; never more, whatever the clock.

use super::{LeaseScope, StoreHandle};
use crate::capability::{require, Grant, Place, Verb};
use crate::hostlog::{HostRecord, LeaseRecord, LEASE_OVER};
use asl_auth::DomainState;
use asl_core::{Error, Kind, Result, Timestamp};

pub(super) struct Gate {
    pub(super) state: DomainState,
    pub(super) lease: Option<LeaseRecord>,
    pub(super) scope: LeaseScope,
    pub(super) boot: [u8; 16],
    pub(super) pieces: Pieces,
    /// A root was begun while the lease ran: its end is a reservation, and may come later.
    pub(super) reserved: bool,
}

/// Pieces put since everything was last committed; some of them may be stored by now.
#[derive(Default)]
pub(super) struct Pieces {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

/// Bytes a piece takes beside its own: its rows in the block's directory and in the segment.
pub(super) const PIECE_COST: u64 = 160;

/// Bytes a block takes beside its pieces: age header and footer, its rows in segment, log,
/// ledger and snapshot.
const BLOCK_COST: u64 = 1024;

/// Bytes kept free for the headers of one more segment and two frames.
const RESERVE: u64 = 8 << 10;

impl StoreHandle {
    /// Attaches a lease that arrived while the handle is open.
    pub fn attach_lease(&self, lease: LeaseRecord) {
        self.gate().lease = Some(lease);
    }

    /// Bytes that may still be sealed here under a lease that counts here; `None` without one.
    pub fn lease_left(&self) -> Option<u64> {
        let gate = self.gate();
        let lease = gate.counting_lease()?;
        let used = self
            .store
            .stored_bytes()
            .saturating_add(self.store.pending_bytes());
        Some(lease.terms.storage_bytes.saturating_sub(used))
    }

    /// Asks the state table and the lease. With a lease that counts here, the stricter row holds.
    pub(super) fn allow(&self, verb: Verb, bytes: u64) -> Result<()> {
        self.allow_within(&mut self.gate(), verb, bytes)
    }

    pub(super) fn allow_within(&self, gate: &mut Gate, verb: Verb, bytes: u64) -> Result<()> {
        let here = require(&self.id, gate.state, self.place, verb)?;
        let refuse = |why: String, next: &str| {
            let object = format!("in domain {}", self.id);
            Err(Error::new(Kind::Refused, verb.as_str(), object, why).next(next))
        };
        let Some(lease) = gate.counting_lease().cloned() else {
            return match here {
                Grant::WithinLease | Grant::WithinCount => refuse(
                    format!("its state here is {}, and it holds no lease", gate.state),
                    "ask for one: `asl-host admission request`",
                ),
                _ => Ok(()),
            };
        };
        let terms = &lease.terms;
        let granted = require(&self.id, DomainState::Courtesy, Place::Elsewhere, verb)?;
        let limited = matches!(granted, Grant::WithinLease | Grant::WithinCount);
        let begun_before = gate.reserved && verb == Verb::AppendLog;
        if limited && !begun_before && self.has_expired(gate, &lease) {
            return refuse(
                "its lease has expired, which makes its state SUSPENDED".into(),
                "what is sealed stays, and can be read; ask for a new lease: `asl-host admission request`",
            );
        }
        if granted == Grant::WithinCount
            && self.current().snapshots.len() as u64 >= u64::from(terms.snapshots)
        {
            return refuse(
                format!("its lease allows {} snapshots", terms.snapshots),
                "ask for a larger lease: `asl-host admission request`",
            );
        }
        // What is asked for now leaves room for what has to follow it: pieces for the commit, the
        // commit for the snapshot.
        let free = match verb {
            Verb::AllocateBlock | Verb::SealBlock => 2 * RESERVE,
            Verb::AppendLog => RESERVE,
            _ => 0,
        };
        let exceeds = |pieces: &Pieces| {
            self.used(pieces)
                .saturating_add(bytes)
                .saturating_add(free)
                .saturating_add(self.snapshot_cost())
                > terms.storage_bytes
        };
        if limited && gate.pieces.count > 0 && exceeds(&gate.pieces) {
            // What is on its way counts in full until it is stored and its true size is known.
            self.store.commit()?;
            gate.pieces = Pieces::default();
            self.remember_head()?;
        }
        if limited && exceeds(&gate.pieces) {
            let used = self.store.stored_bytes();
            return refuse(
                format!(
                    "its lease of {} bytes is used up ({used} are stored)",
                    terms.storage_bytes
                ),
                "ask for a larger lease (`asl-host admission request`), or seal under a profile with lease.applies = \"remote\"",
            );
        }
        Ok(())
    }

    /// Whether the lease has ended; what was seen once is kept over a boot.
    ///
    /// The granting host goes by its own clock, any other by evidence alone.
    fn has_expired(&self, gate: &mut Gate, lease: &LeaseRecord) -> bool {
        let ends = lease.terms.expires_at.unix_ns;
        let wall_ns = self.context.clock.wall_ns();
        let own = lease.granted_by == self.host;
        let floor_ns = lease.evidence_floor_ns(self.context.clock.since_boot(), gate.boot);
        let floor_ns = if own { floor_ns.max(wall_ns) } else { floor_ns };
        if floor_ns <= ends {
            return false;
        }
        if lease.seen_ns <= ends {
            let mut records = vec![HostRecord::Evidence {
                decision: lease.decision,
                floor_ns,
            }];
            records.extend((own && gate.state == DomainState::Courtesy).then(|| {
                HostRecord::State {
                    state: DomainState::Suspended,
                    why: LEASE_OVER.into(),
                    time: Timestamp::claimed(wall_ns),
                }
            }));
            let kept = self
                .context
                .nonce()
                .and_then(|nonce| self.host_log.append(nonce, &records));
            // The refusal stands either way; where it could not be kept, the next one tries again.
            if let (Ok(()), Some(held)) = (kept, gate.lease.as_mut()) {
                held.seen_ns = floor_ns;
            }
        }
        true
    }

    /// Stored bytes, with what may still be on its way and what will be written about it, at most.
    fn used(&self, pieces: &Pieces) -> u64 {
        // age adds 16 bytes to each 64 KiB.
        let sealing = pieces.bytes / 4096;
        let blocks = pieces.bytes / u64::from(self.params.block_target.max(1));
        self.store
            .stored_bytes()
            .saturating_add(pieces.bytes)
            .saturating_add(sealing)
            .saturating_add(pieces.count.saturating_mul(PIECE_COST))
            .saturating_add(blocks.saturating_mul(BLOCK_COST))
    }

    /// Bytes that a snapshot of what there is would take at most.
    fn snapshot_cost(&self) -> u64 {
        let current = self.current();
        let rows = current.segments.len() + current.roots.len() + 2;
        let blocks = current.blocks.len() + 2;
        2048 + 160 * rows as u64 + 40 * blocks as u64
    }
}

impl Gate {
    /// The lease that bounds what is done here: under COURTESY any, else where the scope says so.
    pub(super) fn counting_lease(&self) -> Option<&LeaseRecord> {
        let counts = self.scope == LeaseScope::Both || self.state == DomainState::Courtesy;
        self.lease.as_ref().filter(|_| counts)
    }
}
