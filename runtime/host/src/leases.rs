//! What other hosts, or this one, lend to a domain: of each host its newest lease.

use asl_auth::{Decision, LeaseTerms};
use asl_core::{Digest, KeyId};
use std::collections::BTreeMap;
use std::time::Duration;

/// The leases of a domain, by the host that granted each: one host's word never touches another's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leases(BTreeMap<KeyId, LeaseRecord>);

impl Leases {
    /// Every lease, in the order of the hosts' keys.
    pub fn all(&self) -> impl Iterator<Item = &LeaseRecord> {
        self.0.values()
    }

    /// The lease that this host granted.
    pub fn of(&self, host: &KeyId) -> Option<&LeaseRecord> {
        self.0.get(host)
    }

    /// Whether nobody lends anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latest time that any host's word supports; `None` without a lease.
    pub fn evidence_floor_ns(&self, now: Duration, boot: [u8; 16]) -> Option<i64> {
        let floors = self.all().map(|l| l.evidence_floor_ns(now, boot));
        floors.max()
    }

    /// Takes a lease up, in the place of that host's earlier one.
    pub(crate) fn take(&mut self, lease: LeaseRecord) {
        self.0.insert(lease.granted_by, lease);
    }

    /// Forgets what a host lent: it takes the domain in full.
    pub(crate) fn drop_of(&mut self, host: &KeyId) {
        self.0.remove(host);
    }

    /// Keeps that a time has passed, by the clock of the host that decided so.
    pub(crate) fn see(&mut self, decision: &Digest, floor_ns: i64) {
        for lease in self.0.values_mut().filter(|l| l.decision == *decision) {
            lease.seen_ns = lease.seen_ns.max(floor_ns);
        }
    }
}

/// A lease as this host holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseRecord {
    /// The terms of the decision.
    pub terms: LeaseTerms,
    /// Who granted it.
    pub granted_by: KeyId,
    /// The decision that states it.
    pub decision: Digest,
    /// The granting host's signed time: evidence for the expiry floor.
    pub decided_at_ns: i64,
    /// This boot's monotonic time when the decision came in.
    pub received: Duration,
    /// Which boot that was.
    pub boot: [u8; 16],
    /// The latest time that evidence of any boot supports; from [`HostRecord::Evidence`](crate::hostlog::HostRecord::Evidence).
    pub seen_ns: i64,
}

impl LeaseRecord {
    /// The record of a decision's lease; `None` where the decision grants none.
    pub fn of(
        decision: &Decision,
        digest: Digest,
        received: Duration,
        boot: [u8; 16],
    ) -> Option<Self> {
        let terms = decision.lease.clone()?;
        Some(LeaseRecord {
            terms,
            granted_by: decision.host,
            decision: digest,
            decided_at_ns: decision.time.unix_ns,
            received,
            boot,
            seen_ns: decision.time.unix_ns,
        })
    }

    /// When the grace after the end is over, by the granting host's clock.
    pub fn grace_ends_ns(&self) -> i64 {
        let grace = i64::try_from(self.terms.grace_s).unwrap_or(i64::MAX);
        let grace = grace.saturating_mul(1_000_000_000);
        self.terms.expires_at.unix_ns.saturating_add(grace)
    }

    /// The time that evidence supports: the granting host's signed time, and what has passed in
    /// the same boot since. A clock in 2106 cannot raise it, one in 1970 cannot lower it.
    pub fn evidence_floor_ns(&self, now: Duration, boot: [u8; 16]) -> i64 {
        if boot != self.boot {
            return self.seen_ns;
        }
        let passed = now.saturating_sub(self.received).as_nanos();
        self.decided_at_ns
            .saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
            .max(self.seen_ns)
    }
}
