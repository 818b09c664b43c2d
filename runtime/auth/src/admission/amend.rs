//! What the keeper changes about a lease without being asked: granted, renewed, shrunk, ended.
//!
//! It is one more decision on the request that the lease goes back to, so the asking side gets it
//! as it got the first.

use super::weigh::{after, decision, lease_of, no};
use crate::document::{AdmissionResult, Decision, LeaseTerms};
use crate::keys::PublicKey;
use crate::policy::{HostPolicy, LeaseBounds};
use asl_core::{Digest, Result, Timestamp};

/// A change to a lease, by the keeper's own hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amendment {
    /// A lease on these terms, whatever was lent before.
    Grant(LeaseBounds),
    /// The same lease, until so many seconds from now.
    Renew {
        /// Seconds from now.
        seconds: u64,
    },
    /// Fewer bytes; what is stored already stays.
    Shrink {
        /// Bytes at most from now on.
        bytes: u64,
    },
    /// It ends now; its grace begins.
    End,
}

/// All that an amendment depends on.
#[derive(Clone, Copy, Debug)]
pub struct AmendInput<'a> {
    /// The request that the lease answers.
    pub request: Digest,
    /// This host's key.
    pub host: &'a PublicKey,
    /// This host's clock.
    pub now: Timestamp,
    /// What the keeper grants.
    pub policy: &'a HostPolicy,
    /// What is lent until now.
    pub lease: Option<&'a LeaseTerms>,
    /// Bytes promised to the other domains.
    pub promised_bytes: u64,
}

/// Changes a lease. The bounds of one lease are the keeper's to exceed; those of all together
/// stand.
///
/// # Errors
/// `Refused` where there is no lease to change, the change is none of its kind, or there is no room.
pub fn amend(input: &AmendInput<'_>, amendment: Amendment) -> Result<Decision> {
    let held = || {
        let next = "grant one: `asl-host lease grant`";
        input
            .lease
            .ok_or_else(|| no("it has no lease here").next(next))
    };
    let (terms, done) = match amendment {
        Amendment::Grant(bounds) => {
            if bounds.bytes == 0 || bounds.seconds == 0 {
                return Err(no("a lease of nothing is none").next("see `asl-host lease revoke`"));
            }
            let AmendInput {
                host, now, policy, ..
            } = *input;
            (
                lease_of(input.request, host, now, policy, bounds)?,
                "granted it",
            )
        }
        Amendment::Renew { seconds } => {
            let mut terms = held()?.clone();
            let end = after(input.now, seconds)?;
            if end.unix_ns <= terms.expires_at.unix_ns {
                let why = "it lasts longer already";
                return Err(no(why).next("give more --days, or end it: `asl-host lease revoke`"));
            }
            terms.expires_at = end;
            (terms, "renewed it")
        }
        Amendment::Shrink { bytes } => {
            let mut terms = held()?.clone();
            if bytes == 0 || bytes >= terms.storage_bytes {
                let why = format!("not fewer bytes than the {} lent", terms.storage_bytes);
                return Err(no(&why).next("give fewer --bytes, or see `asl-host lease grant`"));
            }
            terms.storage_bytes = bytes;
            (terms, "shrank it")
        }
        Amendment::End => {
            let mut terms = held()?.clone();
            let end = input.now.unix_ns.saturating_sub(1);
            terms.expires_at.unix_ns = terms.expires_at.unix_ns.min(end);
            (terms, "took it back")
        }
    };
    let adds = matches!(amendment, Amendment::Grant(_) | Amendment::Renew { .. });
    let room = input
        .policy
        .total_bytes
        .saturating_sub(input.promised_bytes);
    if adds && terms.storage_bytes > room {
        let why = format!("only {room} bytes are left of all that policy allows");
        return Err(
            no(&why).next("end or shrink another lease, or raise total_bytes in host-policy")
        );
    }
    let (outcome, reason) = (
        AdmissionResult::AcceptedLimited,
        format!("the keeper of this host {done}"),
    );
    Ok(decision(
        input.request,
        input.host,
        input.now,
        outcome,
        &reason,
        Some(terms),
    ))
}
