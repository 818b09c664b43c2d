//! Admission as a state machine without I/O: documents, policy and time in, a decision out.
//!
//! `asl_host_admit(DAM, signature, request)` of seed 001, section 4.1, and its other end, where
//! the asking side believes a decision only from the host it asked, about what it asked.

mod amend;
mod weigh;

pub use amend::{amend, AmendInput, Amendment};
pub use weigh::{admit, weigh, AdmitInput, Said, Step, Verdict};

use crate::cose;
use crate::document::{AdmissionResult, Decision};
use crate::keys::PublicKey;
use asl_core::{Digest, Error, Kind, Result};
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
