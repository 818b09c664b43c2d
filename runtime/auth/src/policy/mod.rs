//! The host-policy: what a host's keeper grants to domains that ask.
//!
//! Three kinds of statement, each kept apart: bounds, which nothing lifts; rules, of which the first
//! that fits gives the outcome; and the terms of a lease.

mod read;
mod rule;

pub use rule::{Asked, Conduct, Roots, Rule};

use crate::document::{AdmissionResult, Reclaim};
use asl_core::Label;

/// The policy a new host gets: strangers are refused, known roots get a courtesy lease.
pub const DEFAULT_POLICY: &str = r#"# host-policy: what this host grants to domains that ask for admission.
# A serving host takes a changed file up at once; one with a mistake in it is told and changes nothing.
layout = 1

[admission]
# ACCEPTED, ACCEPTED_LIMITED, DEFERRED or REJECTED.
# A root is known when its key lies in host/trusted-roots/.
known_roots = "ACCEPTED_LIMITED"
unknown_roots = "REJECTED"
# Labels of the domains that are taken in: whole labels, or a beginning and "*".
labels = ["*"]
# The most domains without a known root that are kept here at once, whatever their outcome was;
# a rejected one does not count.
strangers = 64
# Take only domains whose every block is an age file.
encryption_only = true

[lease]
# The most that one lease may hold, and all leases together.
max_bytes = "64 GiB"
total_bytes = "256 GiB"
snapshots = 64
max_time = "30 days"
# Time after the end of a lease before anything is unpinned or reclaimed.
grace = "7 days"
# after-grace, or by-keeper.
reclaim = "after-grace"
renewable = true

[rate]
# New requests that are decided within that time: of one domain, and of all together.
per_domain = 24
total = 1000
within = "24 hours"

# Rules of your own. The first of which every condition fits gives the outcome, in the place of
# known_roots and unknown_roots; its max_bytes, max_time and snapshots take the place of those of
# [lease]. No rule lifts labels, strangers, encryption_only or total_bytes. Conditions:
#   roots = "known", "unknown", or the key's ssh-ed25519 line; labels; encrypted = true or false;
#   bytes_over and time_over: what is asked for; lapses_over and suspensions_over: how often a
#   lease of the domain ran out here, and how often it was suspended by hand.
#
# [[rule]]
# name = "family"
# labels = ["alice.*", "bob"]
# roots = "known"
# outcome = "ACCEPTED"
#
# [[rule]]
# name = "large"
# bytes_over = "32 GiB"
# outcome = "DEFERRED"
"#;

/// What a host's keeper grants (seed 002, section 3; architecture.md, "State").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPolicy {
    /// The outcome where a root key of the DAM is trusted here and no rule fits.
    pub known_roots: AdmissionResult,
    /// The outcome where none is.
    pub unknown_roots: AdmissionResult,
    /// The labels that are taken in; a pattern ends in `*` or is a whole label.
    pub labels: Vec<String>,
    /// Domains without a trusted root that are kept here at most.
    pub strangers: u32,
    /// Only encrypted domains are taken in.
    pub encryption_only: bool,
    /// What a lease is at most.
    pub lease: LeaseBounds,
    /// Bytes of all leases together at most.
    pub total_bytes: u64,
    /// Seconds of grace after the end.
    pub grace_s: u64,
    /// What happens after the grace.
    pub reclaim: Reclaim,
    /// Whether leases can be renewed.
    pub renewable: bool,
    /// How many new requests are decided within a time.
    pub rate: Rate,
    /// The keeper's own rules, in their order.
    pub rules: Vec<Rule>,
}

/// The most that one lease gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseBounds {
    /// Bytes at most.
    pub bytes: u64,
    /// Snapshots at most.
    pub snapshots: u32,
    /// Seconds at most.
    pub seconds: u64,
}

/// How many new requests are decided within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Of one domain at most.
    pub per_domain: u32,
    /// Of all domains together at most.
    pub total: u32,
    /// The time, in seconds.
    pub seconds: u64,
}

impl HostPolicy {
    /// Whether a domain of this label is taken in.
    pub fn takes_label(&self, label: &Label) -> bool {
        rule::fits_any(&self.labels, label)
    }
}
