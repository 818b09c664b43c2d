//! Admission as a state machine without I/O: documents, policy and time in, a decision out.
//!
//! `asl_host_admit(DAM, signature, request)` of seed 001, section 4.1, and its other end, where
//! the asking side believes a decision only from the host it asked, about what it asked.

use crate::cose;
use crate::document::{AdmissionRequest, AdmissionResult, Dam, Decision, LeaseTerms, VerifiedDam};
use crate::keys::PublicKey;
use crate::policy::HostPolicy;
use asl_core::{Digest, Error, Kind, Result, Timestamp};
use std::fmt;
use std::str::FromStr;

/// What a host holds a domain to be (seed 001, section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DomainState {
    /// Made or sent, recognised by nobody.
    #[default]
    Unrecognized,
    /// Admitted under a courtesy lease.
    Courtesy,
    /// Admitted in full.
    Full,
    /// No new writes, until an appeal or the keeper lifts it.
    Suspended,
    /// For good.
    Revoked,
}

impl DomainState {
    /// The state as `domain.json` spells it.
    pub fn code(self) -> &'static str {
        match self {
            DomainState::Unrecognized => "UNRECOGNIZED",
            DomainState::Courtesy => "COURTESY",
            DomainState::Full => "FULL",
            DomainState::Suspended => "SUSPENDED",
            DomainState::Revoked => "REVOKED",
        }
    }

    /// The state after an admission ended so (architecture.md, "State is per domain and host").
    ///
    /// A refusal or a deferral takes nothing away that was granted before, and a revoked domain
    /// stays revoked.
    #[must_use]
    pub fn after(self, outcome: AdmissionResult) -> DomainState {
        match (self, outcome) {
            (DomainState::Revoked, _) => DomainState::Revoked,
            (_, AdmissionResult::Accepted) => DomainState::Full,
            (_, AdmissionResult::AcceptedLimited) => DomainState::Courtesy,
            (state, AdmissionResult::Deferred | AdmissionResult::Rejected) => state,
        }
    }
}

impl fmt::Display for DomainState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for DomainState {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        use DomainState::{Courtesy, Full, Revoked, Suspended, Unrecognized};
        let all = [Unrecognized, Courtesy, Full, Suspended, Revoked];
        let found = all.into_iter().find(|s| s.code() == text);
        found
            .ok_or_else(|| Error::new(Kind::Invalid, "read", "domain state", "not one of the five"))
    }
}

/// All that an admission depends on. The same input gives the same decision.
#[derive(Clone, Copy, Debug)]
pub struct AdmitInput<'a> {
    /// The DAM's bytes, as received.
    pub dam: &'a [u8],
    /// Its signatures.
    pub dam_sig: &'a [u8],
    /// The request's bytes, as received.
    pub request: &'a [u8],
    /// Its signature.
    pub request_sig: &'a [u8],
    /// The root keys that this host's keeper trusts.
    pub trusted_roots: &'a [PublicKey],
    /// What the keeper grants.
    pub policy: &'a HostPolicy,
    /// This host's clock.
    pub now: Timestamp,
    /// This host's key.
    pub host: &'a PublicKey,
    /// The DAM in force here for that domain, where there is one.
    pub previous: Option<&'a VerifiedDam>,
    /// What this host holds the domain to be.
    pub state: DomainState,
    /// Bytes promised by the leases in force here, this domain's own apart.
    pub promised_bytes: u64,
    /// Other domains here of which no root is trusted.
    pub strangers: u32,
    /// What the keeper has decided for this one request, in place of the policy's outcome. It lifts
    /// no other rule but the number of strangers.
    pub ruling: Option<AdmissionResult>,
}

/// Decides on a request for admission: schema, signatures, threshold, chain, validity, policy.
///
/// Bad input from outside is no error: it is REJECTED, with the reason. A host must answer a
/// request it has already decided with the decision it recorded, not with a new one: else an old
/// request, sent again, would stretch a lease.
pub fn admit(input: &AdmitInput<'_>) -> Decision {
    let (outcome, reason, lease) = match consider(input) {
        Ok((outcome, reason, lease)) => (outcome, reason, lease),
        Err(e) => (AdmissionResult::Rejected, e.to_string(), None),
    };
    Decision {
        request: Digest::of(input.request),
        host: input.host.id(),
        outcome,
        reason: Decision::reason_from(&reason),
        lease,
        time: input.now,
    }
}

type Considered = (AdmissionResult, String, Option<LeaseTerms>);

fn consider(input: &AdmitInput<'_>) -> Result<Considered> {
    let dam = Dam::verify(input.dam, input.dam_sig, input.previous)?;
    dam.check_time(input.now)?;
    let host = input.host.id();
    let request = AdmissionRequest::verify(input.request, input.request_sig, &dam, host)?;
    if input.state == DomainState::Revoked {
        return Err(no("the domain is revoked here"));
    }

    let policy = input.policy;
    let roots = dam.dam().roots.keys();
    let known = roots.iter().any(|k| input.trusted_roots.contains(k));
    let (outcome, who) = match input.ruling {
        Some(ruling) => (ruling, "the keeper of this host decided so"),
        None if known => (policy.known_roots, "its root is trusted here"),
        None => (policy.unknown_roots, "none of its roots is trusted here"),
    };
    if !policy.takes_label(&dam.genesis().label) {
        return Err(no("policy takes no domain of this label"));
    }
    if policy.encryption_only && !dam.dam().policy.encrypted {
        return Err(no("policy takes only encrypted domains"));
    }
    match outcome {
        AdmissionResult::Rejected if input.ruling.is_some() => return Err(no(who)),
        AdmissionResult::Rejected => return Err(no(&format!("policy rejects it: {who}"))),
        _ if !known && input.ruling.is_none() && input.strangers >= policy.strangers => {
            let most = policy.strangers;
            return Err(no(&format!(
                "this host keeps {most} domains without a trusted root and takes no more"
            )));
        }
        AdmissionResult::Deferred => {
            let reason = match input.ruling {
                Some(_) => who.to_string(),
                None => format!("the keeper of this host decides later: {who}"),
            };
            return Ok((outcome, reason, None));
        }
        AdmissionResult::Accepted | AdmissionResult::AcceptedLimited => {}
    }
    if !dam.dam().policy.outcomes.contains(&outcome) {
        let why = format!("this host offers {outcome}, which the domain does not accept");
        return Err(no(&why));
    }
    if outcome == AdmissionResult::Accepted {
        return Ok((outcome, who.into(), None));
    }
    let lease = terms(input, &request)?;
    Ok((outcome, who.into(), Some(lease)))
}

fn terms(input: &AdmitInput<'_>, request: &AdmissionRequest) -> Result<LeaseTerms> {
    let policy = input.policy;
    let room = policy.total_bytes.saturating_sub(input.promised_bytes);
    let storage_bytes = request.storage_bytes.min(policy.max_bytes).min(room);
    if storage_bytes == 0 {
        return Err(no("no room left: all that policy allows is promised"));
    }
    let seconds = request.seconds.min(policy.max_seconds);
    let lasts = i64::try_from(seconds)
        .ok()
        .and_then(|s| s.checked_mul(1_000_000_000));
    let end = lasts.and_then(|ns| input.now.unix_ns.checked_add(ns));
    let end = end.ok_or_else(|| no("this host's clock is too far off to grant a lease"))?;
    let mut id = blake3::Hasher::new_derive_key("asl lease id v1");
    id.update(input.host.id().as_bytes());
    id.update(Digest::of(input.request).as_bytes());
    Ok(LeaseTerms {
        lease_id: id.finalize().into(),
        storage_bytes,
        snapshots: request.snapshots.min(policy.snapshots),
        expires_at: Timestamp {
            unix_ns: end,
            evidenced: input.now.evidenced,
        },
        grace_s: policy.grace_s,
        reclaim: policy.reclaim,
        encryption_only: policy.encryption_only,
        renewable: policy.renewable,
    })
}

fn no(why: &str) -> Error {
    Error::new(Kind::Refused, "admit", "the domain", why)
}

/// Believes a decision only from the pinned host, and only about this request.
///
/// # Errors
/// `Invalid` for malformed bytes; `Refused` where another host decided, another request is
/// answered, or the signature is not the pinned host's.
pub fn check_decision(
    decision: &[u8],
    signature: &[u8],
    pinned: &PublicKey,
    request: &[u8],
) -> Result<Decision> {
    let refuse =
        |why, next| Err(Error::new(Kind::Refused, "believe", "admission decision", why).next(next));
    let again = "nothing of it was recorded; ask the host's keeper for the decision once more";
    let read = Decision::decode(decision).map_err(|e| e.next(again))?;
    if read.host != pinned.id() {
        return refuse(
            "another host decided",
            "take the decision of the host that was asked; or pin the other host and ask it",
        );
    }
    if read.request != Digest::of(request) {
        return refuse(
            "it answers another request",
            "take the decision that belongs to this request, or ask again",
        );
    }
    cose::verify(Decision::KIND, decision, signature, &[*pinned]).map_err(|e| e.next(again))?;
    Ok(read)
}
