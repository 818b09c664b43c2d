//! The request for admission, small enough for one QR code.

use super::{bad, time, OperatorVerb, VerifiedDam};
use asl_core::canon::Limits;
use asl_core::{Digest, Error, Fields, KeyId, Kind, MapBuilder, Result, Timestamp, Value};

/// A domain's wish to be taken in by one host (seed 001, section 4).
///
/// At most [`AdmissionRequest::MAX_BYTES`] unsigned and [`AdmissionRequest::MAX_SIGNED`] with one
/// signature (formats.md, "Decisions of detail").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionRequest {
    /// The DAM under which it is made.
    pub dam: Digest,
    /// The host that is asked.
    pub host: KeyId,
    /// Storage wanted, in bytes.
    pub storage_bytes: u64,
    /// Time wanted, in seconds.
    pub seconds: u64,
    /// Snapshots wanted.
    pub snapshots: u32,
    /// What makes two requests differ; random.
    pub nonce: [u8; 16],
    /// When it was made, as the maker's clock claims; judged by nobody.
    pub time: Timestamp,
}

impl AdmissionRequest {
    /// The document's kind.
    pub const KIND: &'static str = "asl.admission-request/1";
    /// Bytes of the document at most.
    pub const MAX_BYTES: usize = 300;
    /// Bytes of the document and its one signature at most.
    pub const MAX_SIGNED: usize = 400;

    const LIMITS: Limits = Limits {
        bytes: Self::MAX_BYTES,
        depth: 3,
        items: 32,
    };

    /// The document's bytes.
    pub fn encode(&self) -> Vec<u8> {
        MapBuilder::document(Self::KIND)
            .put(1, self.dam)
            .put(2, self.host)
            .put(3, self.storage_bytes)
            .put(4, self.seconds)
            .put(5, self.snapshots)
            .put(6, Value::Bytes(self.nonce.to_vec()))
            .put(7, self.time)
            .encode()
    }

    /// Reads the document; not yet who signed it.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no request of this version, or more than 300.
    pub fn decode(bytes: &[u8]) -> Result<AdmissionRequest> {
        let mut f = Fields::document(bytes, Self::KIND, Self::LIMITS)?;
        let request = AdmissionRequest {
            dam: f.id(1)?,
            host: f.id(2)?,
            storage_bytes: f.uint(3)?,
            seconds: f.uint(4)?,
            snapshots: f.uint32(5)?,
            nonce: f.fixed(6)?,
            time: time(&mut f, 7)?,
        };
        f.finish()?;
        if request.storage_bytes == 0 || request.seconds == 0 {
            return Err(bad(Self::KIND, "it asks for nothing"));
        }
        Ok(request)
    }

    /// Verifies that an operator of this DAM asks this host.
    ///
    /// # Errors
    /// `Invalid` for malformed or too many bytes; `Refused` where it names another DAM or another
    /// host, or no operator signed.
    pub fn verify(
        bytes: &[u8],
        signature: &[u8],
        dam: &VerifiedDam,
        host: KeyId,
    ) -> Result<AdmissionRequest> {
        let refuse = |why| {
            Err(Error::new(
                Kind::Refused,
                "verify",
                "admission request",
                why,
            ))
        };
        let request = AdmissionRequest::decode(bytes)?;
        if request.dam != dam.digest() {
            return refuse("it names another DAM");
        }
        if request.host != host {
            return refuse("it asks another host");
        }
        dam.verify_operator(OperatorVerb::AdmitRequest, Self::KIND, bytes, signature)?;
        Ok(request)
    }
}
