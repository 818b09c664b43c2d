//! What travels: one CBOR map each way.

use asl_core::{canon, Error, Fields, Kind, MapBuilder, Result, Value};

/// Where a request for admission is sent, with POST.
pub const ADMISSION_PATH: &str = "/asl/1/admission";
/// What answers as long as the host serves, to GET.
pub const HEALTH_PATH: &str = "/asl/1/health";
/// Bytes of a body at most, either way: 256 KiB.
pub const MAX_BODY: usize = 256 << 10;

const LIMITS: canon::Limits = canon::Limits {
    bytes: MAX_BODY,
    depth: 2,
    items: 16,
};

/// A request for admission with all that it rests on; each part is the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionEnvelope {
    /// `dam.cbor`.
    pub dam: Vec<u8>,
    /// `dam.sig`.
    pub dam_sig: Vec<u8>,
    /// `admission-request.cbor`.
    pub request: Vec<u8>,
    /// `admission-request.sig`.
    pub request_sig: Vec<u8>,
}

impl AdmissionEnvelope {
    /// The map's kind.
    pub const KIND: &'static str = "asl.admission-envelope/1";

    /// The bytes of the body.
    pub fn encode(&self) -> Vec<u8> {
        MapBuilder::document(Self::KIND)
            .put(1, Value::Bytes(self.dam.clone()))
            .put(2, Value::Bytes(self.dam_sig.clone()))
            .put(3, Value::Bytes(self.request.clone()))
            .put(4, Value::Bytes(self.request_sig.clone()))
            .encode()
    }

    /// Reads a body.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no such map.
    pub fn decode(bytes: &[u8]) -> Result<AdmissionEnvelope> {
        let mut f = Fields::document(bytes, Self::KIND, LIMITS)?;
        let envelope = AdmissionEnvelope {
            dam: f.bytes(1)?,
            dam_sig: f.bytes(2)?,
            request: f.bytes(3)?,
            request_sig: f.bytes(4)?,
        };
        f.finish()?;
        Ok(envelope)
    }
}

/// A host's answer; each part is the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionEnvelope {
    /// `admission-decision.cbor`.
    pub decision: Vec<u8>,
    /// `admission-decision.sig`.
    pub sig: Vec<u8>,
}

impl DecisionEnvelope {
    /// The map's kind.
    pub const KIND: &'static str = "asl.decision-envelope/1";

    /// The bytes of the body.
    pub fn encode(&self) -> Vec<u8> {
        MapBuilder::document(Self::KIND)
            .put(1, Value::Bytes(self.decision.clone()))
            .put(2, Value::Bytes(self.sig.clone()))
            .encode()
    }

    /// Reads a body.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no such map.
    pub fn decode(bytes: &[u8]) -> Result<DecisionEnvelope> {
        let mut f = Fields::document(bytes, Self::KIND, LIMITS)?;
        let envelope = DecisionEnvelope {
            decision: f.bytes(1)?,
            sig: f.bytes(2)?,
        };
        f.finish()?;
        Ok(envelope)
    }
}

/// Checks a body before it is sent.
pub(crate) fn fits(body: &[u8]) -> Result<()> {
    if body.len() <= MAX_BODY {
        return Ok(());
    }
    let why = format!("{} bytes, at most {MAX_BODY} are taken", body.len());
    Err(Error::new(Kind::Invalid, "send", "admission request", why))
}
