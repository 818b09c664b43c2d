//! A host's decision on a request, and the terms of the lease it grants.

use super::{bad, time};
use asl_core::canon::Limits;
use asl_core::{Digest, Error, Fields, KeyId, MapBuilder, Result, Timestamp};
use std::fmt;
use std::str::FromStr;

/// The outcome of an admission (seed 001, section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmissionResult {
    /// Publishing, indexing and federation are enabled: the domain becomes FULL.
    Accepted,
    /// Storage under a courtesy lease: the domain becomes COURTESY.
    AcceptedLimited,
    /// The decision is kept, writes are refused.
    Deferred,
    /// The domain stays isolated.
    Rejected,
}

impl AdmissionResult {
    /// The outcome as seed 001 spells it.
    pub fn code(self) -> &'static str {
        match self {
            AdmissionResult::Accepted => "ACCEPTED",
            AdmissionResult::AcceptedLimited => "ACCEPTED_LIMITED",
            AdmissionResult::Deferred => "DEFERRED",
            AdmissionResult::Rejected => "REJECTED",
        }
    }
}

impl fmt::Display for AdmissionResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for AdmissionResult {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        use AdmissionResult::{Accepted, AcceptedLimited, Deferred, Rejected};
        let all = [Accepted, AcceptedLimited, Deferred, Rejected];
        let found = all.into_iter().find(|o| o.code() == text);
        found.ok_or_else(|| {
            bad(
                "admission outcome",
                "not ACCEPTED, ACCEPTED_LIMITED, DEFERRED or REJECTED",
            )
        })
    }
}

/// What may happen to leased data after its grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// The host may take the space back.
    AfterGrace,
    /// Only the host's keeper takes it back, by hand.
    ByKeeper,
}

impl Reclaim {
    /// The rule as documents and host-policy spell it.
    pub fn code(self) -> &'static str {
        match self {
            Reclaim::AfterGrace => "after-grace",
            Reclaim::ByKeeper => "by-keeper",
        }
    }
}

impl FromStr for Reclaim {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let found = [Reclaim::AfterGrace, Reclaim::ByKeeper]
            .into_iter()
            .find(|r| r.code() == text);
        found.ok_or_else(|| bad("reclaim rule", "not after-grace or by-keeper"))
    }
}

/// What a courtesy lease allows (seed 002, section 12; architecture.md, "State").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The lease's name: derived from request and host, so that one request has one lease.
    pub lease_id: Digest,
    /// Bytes on the granting host at most.
    pub storage_bytes: u64,
    /// Snapshots at most.
    pub snapshots: u32,
    /// No writes from then on, by the granting host's clock.
    pub expires_at: Timestamp,
    /// Seconds after expiry before anything is unpinned or reclaimed.
    pub grace_s: u64,
    /// What happens after them.
    pub reclaim: Reclaim,
    /// Only age files are taken.
    pub encryption_only: bool,
    /// Whether the host will look at a renewal.
    pub renewable: bool,
}

impl LeaseTerms {
    /// The terms as a map, as they stand in a decision and in a host log.
    pub fn to_map(&self) -> MapBuilder {
        MapBuilder::new()
            .put(1, self.lease_id)
            .put(2, self.storage_bytes)
            .put(3, self.snapshots)
            .put(4, self.expires_at)
            .put(5, self.grace_s)
            .put(6, self.reclaim.code())
            .put(7, self.encryption_only)
            .put(8, self.renewable)
    }

    /// Reads the terms from their map.
    ///
    /// # Errors
    /// `Invalid` where a field is missing or of another type.
    pub fn from_fields(mut f: Fields) -> Result<LeaseTerms> {
        let terms = LeaseTerms {
            lease_id: f.id(1)?,
            storage_bytes: f.uint(2)?,
            snapshots: f.uint32(3)?,
            expires_at: time(&mut f, 4)?,
            grace_s: f.uint(5)?,
            reclaim: f.text(6)?.parse()?,
            encryption_only: f.flag(7)?,
            renewable: f.flag(8)?,
        };
        f.finish()?;
        Ok(terms)
    }
}

/// A host's signed answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The digest of the request's bytes.
    pub request: Digest,
    /// The host that decides.
    pub host: KeyId,
    /// What it decided.
    pub outcome: AdmissionResult,
    /// Why, in printable ASCII of at most 300 bytes.
    pub reason: String,
    /// The lease; there exactly when the outcome is ACCEPTED_LIMITED.
    pub lease: Option<LeaseTerms>,
    /// When, by the host's clock.
    pub time: Timestamp,
}

impl Decision {
    /// The document's kind.
    pub const KIND: &'static str = "asl.admission-decision/1";
    /// Bytes of the reason at most.
    pub const MAX_REASON: usize = 300;

    /// The document's bytes.
    pub fn encode(&self) -> Vec<u8> {
        MapBuilder::document(Self::KIND)
            .put(1, self.request)
            .put(2, self.host)
            .put(3, self.outcome.code())
            .put(4, self.reason.as_str())
            .opt(5, self.lease.as_ref().map(LeaseTerms::to_map))
            .put(6, self.time)
            .encode()
    }

    /// Reads the document; not yet who signed it nor what it answers: see
    /// [`crate::check_decision`].
    ///
    /// # Errors
    /// `Invalid` where the bytes are no decision of this version, or outcome and lease disagree.
    pub fn decode(bytes: &[u8]) -> Result<Decision> {
        let mut f = Fields::document(bytes, Self::KIND, Limits::DOCUMENT)?;
        let decision = Decision {
            request: f.id(1)?,
            host: f.id(2)?,
            outcome: f.text(3)?.parse()?,
            reason: f.text(4)?,
            lease: f
                .opt(5, Fields::fields)?
                .map(LeaseTerms::from_fields)
                .transpose()?,
            time: time(&mut f, 6)?,
        };
        f.finish()?;
        if decision.lease.is_some() != (decision.outcome == AdmissionResult::AcceptedLimited) {
            return Err(bad(Self::KIND, "outcome and lease disagree"));
        }
        // The reason is shown on a terminal; a host must not be able to drive that.
        if decision.reason.len() > Self::MAX_REASON || !decision.reason.bytes().all(printable) {
            return Err(bad(
                Self::KIND,
                "the reason is too long or not printable ASCII",
            ));
        }
        Ok(decision)
    }

    /// Cuts a text to what a reason may hold.
    pub fn reason_from(text: &str) -> String {
        text.bytes()
            .take(Self::MAX_REASON)
            .map(|b| if printable(b) { char::from(b) } else { '?' })
            .collect()
    }
}

/// Whether a byte may be shown on any terminal.
pub(super) fn printable(b: u8) -> bool {
    (b' '..=b'~').contains(&b)
}
