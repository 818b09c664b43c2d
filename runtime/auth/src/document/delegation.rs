//! The delegation by which an operator lends a session's device key a few verbs.

use super::{bad, public_key, time, OperatorVerb, VerifiedDam};
use crate::keys::PublicKey;
use asl_core::canon::Limits;
use asl_core::{Digest, Error, Fields, Kind, MapBuilder, Result, Timestamp, Value};
use std::str::FromStr;
use std::time::Duration;

/// A delegation lasts at most 7 days of the session's monotonic time.
pub const MAX_DELEGATION: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a delegated device key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Sign heads of the content log.
    SignHead,
    /// Sign snapshot manifests.
    SignManifest,
    /// Answer a host's challenge.
    AnswerChallenge,
    /// Renew a lease.
    Renew,
    /// Withdraw a request.
    Withdraw,
}

impl Verb {
    /// All verbs, in the order they are written.
    pub const ALL: [Verb; 5] = [
        Verb::SignHead,
        Verb::SignManifest,
        Verb::AnswerChallenge,
        Verb::Renew,
        Verb::Withdraw,
    ];

    /// The verb as documents spell it.
    pub fn code(self) -> &'static str {
        match self {
            Verb::SignHead => "sign-head",
            Verb::SignManifest => "sign-manifest",
            Verb::AnswerChallenge => "answer-challenge",
            Verb::Renew => "renew",
            Verb::Withdraw => "withdraw",
        }
    }
}

impl FromStr for Verb {
    type Err = Error;
    fn from_str(text: &str) -> Result<Verb> {
        let found = Verb::ALL.into_iter().find(|v| v.code() == text);
        found.ok_or_else(|| bad("delegation", "an unknown verb"))
    }
}

/// An operator's word that a session's device key may act (architecture.md, "Identity and time").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The session's device key.
    pub device: PublicKey,
    /// The session's nonce; random.
    pub session: [u8; 16],
    /// When the session began, as its clock claims.
    pub start: Timestamp,
    /// How long, in seconds of the session's monotonic time; 1 to 604800.
    pub duration_s: u32,
    /// What the key may do: one or more verbs, in the order of [`Verb::ALL`].
    pub verbs: Vec<Verb>,
    /// The DAM whose operator signs.
    pub dam: Digest,
}

impl Delegation {
    /// The document's kind.
    pub const KIND: &'static str = "asl.delegation/1";

    /// The document's bytes.
    pub fn encode(&self) -> Vec<u8> {
        MapBuilder::document(Self::KIND)
            .put(1, self.device)
            .put(2, Value::Bytes(self.session.to_vec()))
            .put(3, self.start)
            .put(4, self.duration_s)
            .list(5, self.verbs.iter().map(|v| v.code()))
            .put(6, self.dam)
            .encode()
    }

    /// Reads the document; not yet who signed it.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no delegation of this version, or it lasts too long.
    pub fn decode(bytes: &[u8]) -> Result<Delegation> {
        let mut f = Fields::document(bytes, Self::KIND, Limits::DOCUMENT)?;
        let delegation = Delegation {
            device: public_key(&mut f, 1)?,
            session: f.fixed(2)?,
            start: time(&mut f, 3)?,
            duration_s: f.uint32(4)?,
            verbs: f
                .texts(5)?
                .iter()
                .map(|v| v.parse())
                .collect::<Result<_>>()?,
            dam: f.id(6)?,
        };
        f.finish()?;
        if !(1..=MAX_DELEGATION.as_secs()).contains(&u64::from(delegation.duration_s)) {
            return Err(bad(Self::KIND, "its duration is not 1 second to 7 days"));
        }
        let ascending = delegation.verbs.windows(2).all(|w| w[0] < w[1]);
        if delegation.verbs.is_empty() || !ascending {
            return Err(bad(Self::KIND, "no verbs, or not in order"));
        }
        Ok(delegation)
    }

    /// Verifies that an operator of this DAM delegated.
    ///
    /// # Errors
    /// `Invalid` for malformed bytes; `Refused` where it names another DAM or no operator signed.
    pub fn verify(bytes: &[u8], signature: &[u8], dam: &VerifiedDam) -> Result<Delegation> {
        let delegation = Delegation::decode(bytes)?;
        if delegation.dam != dam.digest() {
            let why = "it names another DAM";
            return Err(Error::new(Kind::Refused, "verify", "delegation", why));
        }
        dam.verify_operator(OperatorVerb::Delegate, Self::KIND, bytes, signature)?;
        Ok(delegation)
    }

    /// Whether the key may do this after so much of the session's monotonic time.
    ///
    /// # Errors
    /// `Refused` where the verb was not delegated, or the session has lasted too long.
    pub fn allows(&self, verb: Verb, elapsed: Duration) -> Result<()> {
        let refuse = |why: String| Err(Error::new(Kind::Refused, verb.code(), "session", why));
        if !self.verbs.contains(&verb) {
            return refuse("the operator did not delegate it".into());
        }
        if elapsed > Duration::from_secs(self.duration_s.into()) {
            return refuse(format!(
                "the delegation ended after {} s of this session",
                self.duration_s
            ));
        }
        Ok(())
    }
}
