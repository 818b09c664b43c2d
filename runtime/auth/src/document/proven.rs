//! The proof that an owner's real key opened what a bundle's recipients seal.

use super::{bad, time, OperatorVerb, VerifiedDam, MAX_KEYS};
use asl_core::canon::Limits;
use asl_core::{Error, Fields, Kind, MapBuilder, Result, Timestamp};

/// An operator's word, after a probe was sealed and opened, that these recipients can be opened
/// (flows.md, "At home, before"): nobody seals a disk to a key that cannot open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The epoch's data recipient.
    pub data_recipient: String,
    /// The owner's recipients, in the DAM's order.
    pub owner_recipients: Vec<String>,
    /// When the probe was made.
    pub time: Timestamp,
}

impl Proven {
    /// The document's kind.
    pub const KIND: &'static str = "asl.proven/1";

    /// The document's bytes.
    pub fn encode(&self) -> Vec<u8> {
        MapBuilder::document(Self::KIND)
            .put(1, self.data_recipient.as_str())
            .list(2, self.owner_recipients.iter().map(String::as_str))
            .put(3, self.time)
            .encode()
    }

    /// Reads the document; not yet who signed it.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no such document.
    pub fn decode(bytes: &[u8]) -> Result<Proven> {
        let mut f = Fields::document(bytes, Self::KIND, Limits::DOCUMENT)?;
        let proven = Proven {
            data_recipient: f.text(1)?,
            owner_recipients: f.texts(2)?,
            time: time(&mut f, 3)?,
        };
        f.finish()?;
        if proven.owner_recipients.is_empty() || proven.owner_recipients.len() > MAX_KEYS {
            return Err(bad(Self::KIND, "not 1 to 16 owner recipients"));
        }
        Ok(proven)
    }

    /// Verifies that an operator of this DAM proved the very recipients the DAM names.
    ///
    /// # Errors
    /// `Invalid` for malformed bytes; `Refused` where it speaks of other recipients, the DAM is of
    /// a plain domain, or no operator signed.
    pub fn verify(bytes: &[u8], signature: &[u8], dam: &VerifiedDam) -> Result<Proven> {
        let proven = Proven::decode(bytes)?;
        let same = dam.dam().encryption.as_ref().is_some_and(|e| {
            e.data_recipient == proven.data_recipient
                && e.owner_recipients == proven.owner_recipients
        });
        if !same {
            let why = "it proves other recipients than the DAM names";
            return Err(
                Error::new(Kind::Refused, "verify", "proof of the keys", why)
                    .next("run `asl-host key check` with the owner's key"),
            );
        }
        dam.verify_operator(OperatorVerb::Prove, Self::KIND, bytes, signature)?;
        Ok(proven)
    }
}
