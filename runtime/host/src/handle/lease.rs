//! What the leases that count here let through: bytes, count, time; never more, whatever the clock.

use super::{LeaseScope, StoreHandle};
use crate::capability::{require, Grant, Place, Verb};
use crate::hostlog::{HostRecord, LEASE_OVER};
use crate::leases::{LeaseRecord, Leases};
use asl_auth::DomainState;
use asl_core::{ChunkId, Error, KeyId, Kind, Result, Timestamp};
use std::sync::atomic::Ordering;

pub(super) struct Gate {
    pub(super) state: DomainState,
    pub(super) leases: Leases,
    pub(super) scope: LeaseScope,
    pub(super) boot: [u8; 16],
    pub(super) pieces: Pieces,
    /// Pieces let through that are being put at this moment.
    under_way: Pieces,
    /// A root was begun while the lease ran: its end is a reservation, and may come later.
    pub(super) reserved: bool,
}

/// What the leases that count here allow together.
struct Bounds {
    /// Bytes at most: the fewest of any lease that runs.
    bytes: u64,
    /// Snapshots at most, likewise.
    snapshots: u32,
    /// None of them runs, or the one that gave this host's own state does not.
    over: bool,
}

/// Pieces put since everything was last committed; some of them may be stored by now.
#[derive(Clone, Copy, Default)]
pub(super) struct Pieces {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Pieces {
    fn one(bytes: &[u8]) -> Pieces {
        Pieces {
            count: 1,
            bytes: bytes.len() as u64,
        }
    }

    /// Bytes they take at most, compressed or not.
    fn most(self) -> u64 {
        self.bytes
            .saturating_add(self.count.saturating_mul(PIECE_COST))
    }

    fn plus(self, other: Pieces) -> Pieces {
        Pieces {
            count: self.count.saturating_add(other.count),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// Bytes a piece takes beside its own: its rows in the block's directory and in the segment.
const PIECE_COST: u64 = 160;

/// Bytes a block takes beside its pieces: age header and footer, its rows in segment, log,
/// ledger and snapshot.
const BLOCK_COST: u64 = 1024;

/// Bytes kept free for the headers of one more segment and two frames.
const RESERVE: u64 = 8 << 10;

impl StoreHandle {
    /// Attaches a lease that arrived while the handle is open, in the place of that host's last.
    pub fn attach_lease(&self, lease: LeaseRecord) {
        self.gate().leases.take(lease);
    }

    /// Bytes that may still be sealed here under the leases that count here; `None` without one.
    pub fn lease_left(&self) -> Option<u64> {
        let bounds = self.bounds(&self.gate())?;
        let used = self.held().saturating_add(self.store.pending_bytes());
        Some(bounds.bytes.saturating_sub(used))
    }

    /// Lets a piece through (verb seal_block). Under a lease it answers what [`Gate::settle`] is to
    /// be given once the piece is put.
    ///
    /// Its bytes count from here on, so that of two pieces which fit alone but not together one is
    /// refused; the gate is not held while they are put.
    pub(super) fn reserve(&self, id: &ChunkId, bytes: &[u8]) -> Result<Option<Pieces>> {
        let mut gate = self.gate();
        if gate.counting(self.host).next().is_none() {
            return self
                .allow_within(&mut gate, Verb::SealBlock, 0)
                .map(|()| None);
        }
        let piece = match self.store.contains(id)? {
            true => Pieces::default(),
            false => Pieces::one(bytes),
        };
        self.allow_within(&mut gate, Verb::SealBlock, piece.most())?;
        gate.under_way = gate.under_way.plus(piece);
        Ok(Some(piece))
    }

    /// Asks the state table and the leases. Of all that count here, the stricter row holds.
    pub(super) fn allow(&self, verb: Verb, bytes: u64) -> Result<()> {
        self.allow_within(&mut self.gate(), verb, bytes)
    }

    pub(super) fn allow_within(&self, gate: &mut Gate, verb: Verb, bytes: u64) -> Result<()> {
        let here = require(&self.id, gate.state, self.place, verb)?;
        if verb != Verb::Read {
            self.head_file.require_sound()?;
        }
        let refuse = |why: String, next: &str| {
            let object = format!("in domain {}", self.id);
            Err(Error::new(Kind::Refused, verb.as_str(), object, why).next(next))
        };
        let Some(bounds) = self.bounds(gate) else {
            return match here {
                Grant::WithinLease | Grant::WithinCount => refuse(
                    format!("its state here is {}, and it holds no lease", gate.state),
                    "ask for one: `asl-host admission request`",
                ),
                _ => Ok(()),
            };
        };
        let granted = require(&self.id, DomainState::Courtesy, Place::Elsewhere, verb)?;
        let limited = matches!(granted, Grant::WithinLease | Grant::WithinCount);
        let begun_before = gate.reserved && verb == Verb::AppendLog;
        if limited && !begun_before {
            self.keep_ends(gate);
        }
        if limited && !begun_before && bounds.over {
            return refuse(
                "its lease has expired, which makes its state SUSPENDED".into(),
                "what is sealed stays, and can be read; ask for a new lease: `asl-host admission request`",
            );
        }
        if granted == Grant::WithinCount
            && self.current().snapshots.len() as u64 >= u64::from(bounds.snapshots)
        {
            return refuse(
                format!("its lease allows {} snapshots", bounds.snapshots),
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
        let under_way = gate.under_way;
        let exceeds = |pieces: &Pieces| {
            self.used(&pieces.plus(under_way))
                .saturating_add(bytes)
                .saturating_add(free)
                .saturating_add(self.snapshot_cost())
                > bounds.bytes
        };
        if limited && gate.pieces.count > 0 && exceeds(&gate.pieces) {
            // What is on its way counts in full until it is stored and its true size is known.
            self.store.commit()?;
            gate.pieces = Pieces::default();
            self.remember_head()?;
        }
        if limited && exceeds(&gate.pieces) {
            let used = self.held();
            return refuse(
                format!(
                    "its lease of {} bytes is used up ({used} are stored)",
                    bounds.bytes
                ),
                "ask for a larger lease (`asl-host admission request`), or seal under a profile with lease.applies = \"remote\"",
            );
        }
        Ok(())
    }

    /// What the leases that count here allow; `None` where none does. One that has ended gives
    /// nothing any more, and bounds what was begun under it only where no other runs.
    fn bounds(&self, gate: &Gate) -> Option<Bounds> {
        let (over, running): (Vec<_>, Vec<_>) = gate
            .counting(self.host)
            .partition(|l| self.floor_ns(gate, l) > l.terms.expires_at.unix_ns);
        let own = |l: &&LeaseRecord| l.granted_by == self.host;
        let suspended = gate.state == DomainState::Courtesy && over.iter().any(own);
        let bounding = if running.is_empty() { &over } else { &running };
        Some(Bounds {
            bytes: bounding.iter().map(|l| l.terms.storage_bytes).min()?,
            snapshots: bounding.iter().map(|l| l.terms.snapshots).min()?,
            over: running.is_empty() || suspended,
        })
    }

    /// The time that a lease is judged by: the granting host goes by its own clock, any other by
    /// evidence alone.
    fn floor_ns(&self, gate: &Gate, lease: &LeaseRecord) -> i64 {
        let floor_ns = lease.evidence_floor_ns(self.context.clock.since_boot(), gate.boot);
        if lease.granted_by == self.host {
            floor_ns.max(self.context.clock.wall_ns())
        } else {
            floor_ns
        }
    }

    /// Keeps over a boot what was seen once: that a lease has ended.
    fn keep_ends(&self, gate: &mut Gate) {
        let counting: Vec<LeaseRecord> = gate
            .counting(self.host)
            .filter(|l| l.seen_ns <= l.terms.expires_at.unix_ns)
            .filter(|l| self.floor_ns(gate, l) > l.terms.expires_at.unix_ns)
            .cloned()
            .collect();
        for lease in counting {
            let floor_ns = self.floor_ns(gate, &lease);
            let mut records = vec![HostRecord::Evidence {
                decision: lease.decision,
                floor_ns,
            }];
            if lease.granted_by == self.host && gate.state == DomainState::Courtesy {
                records.push(HostRecord::State {
                    state: DomainState::Suspended,
                    why: LEASE_OVER.into(),
                    time: Timestamp::claimed(self.context.clock.wall_ns()),
                });
            }
            let kept = self
                .context
                .nonce()
                .and_then(|nonce| self.host_log.append(nonce, &records));
            // The refusal stands either way; where it could not be kept, the next one tries again.
            if kept.is_ok() {
                gate.leases.see(&lease.decision, floor_ns);
            }
        }
    }

    /// Bytes that count: what the domain has stored or is about to seal again, and what crashed
    /// writers left beside it.
    fn held(&self) -> u64 {
        let orphans = self.orphans.load(Ordering::Relaxed);
        let stored = self.store.stored_bytes().saturating_add(orphans);
        stored.saturating_add(self.store.again_bytes())
    }

    /// Stored bytes, with what may still be on its way and what will be written about it, at most.
    fn used(&self, pieces: &Pieces) -> u64 {
        // age adds 16 bytes to each 64 KiB.
        let sealing = pieces.bytes / 4096;
        let blocks = pieces.bytes / u64::from(self.params.block_target.max(1));
        self.held()
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
    pub(super) fn new(
        state: DomainState,
        leases: Leases,
        scope: LeaseScope,
        boot: [u8; 16],
    ) -> Gate {
        Gate {
            state,
            leases,
            scope,
            boot,
            pieces: Pieces::default(),
            under_way: Pieces::default(),
            reserved: false,
        }
    }

    /// A piece that was let through is put, or could not be; it costs only where it was `added`.
    pub(super) fn settle(&mut self, reserved: Pieces, bytes: &[u8], added: bool) {
        let way = &mut self.under_way;
        way.count = way.count.saturating_sub(reserved.count);
        way.bytes = way.bytes.saturating_sub(reserved.bytes);
        if added {
            self.pieces = self.pieces.plus(Pieces::one(bytes));
        }
    }

    /// The leases that bound what is done here: under COURTESY this host's own, and every one where
    /// the scope says so.
    pub(super) fn counting(&self, host: KeyId) -> impl Iterator<Item = &LeaseRecord> {
        let own = self.state == DomainState::Courtesy;
        let both = self.scope == LeaseScope::Both;
        let leases = self.leases.all();
        leases.filter(move |l| both || (own && l.granted_by == host))
    }
}
