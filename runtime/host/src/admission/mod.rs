//! Admission on both sides: the keeper decides and records, the asking side checks and records
//! (seed 001, section 4; seed 002, section 6).
//!
//! The rules are in `asl_auth::admission`, without I/O; here are the records. They are immutable:
//! the names of seed 002 in `admission/` for the first, `admission/NNNN/` for later ones.

mod applicant;
mod code;
mod hand;
mod keeper;
mod ledger;
mod rate;
mod records;
mod rules;

pub use applicant::apply;
pub use hand::Act;
pub use keeper::{Keeper, Standing};
pub use ledger::strangers;
pub(crate) use records::{beside, checked};
pub use records::{recorded, rejected, Recorded};
pub use rules::News;

use crate::domain::Domain;
use crate::hostlog::HostRecord;
use crate::keystick::Signed;
use crate::leases::LeaseRecord;
use asl_auth::{AdmissionResult, Decision};
use asl_backend::files;
use asl_core::{Digest, Result};
use std::path::Path;

/// What a domain hands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Petition {
    /// The DAM.
    pub dam: Signed,
    /// The request, signed by an operator.
    pub request: Signed,
}

/// File names of a petition and its decision, wherever they lie.
pub mod name {
    /// The DAM.
    pub const DAM: &str = "dam.cbor";
    /// Its signatures.
    pub const DAM_SIG: &str = "dam.sig";
    /// The request.
    pub const REQUEST: &str = "admission-request.cbor";
    /// Its signature.
    pub const REQUEST_SIG: &str = "admission-request.sig";
    /// The decision.
    pub const DECISION: &str = "admission-decision.cbor";
    /// Its signature.
    pub const DECISION_SIG: &str = "admission-decision.sig";
}

/// No document of an admission is longer.
const LONGEST: u64 = 64 << 10;

impl Petition {
    /// Reads the four files from a directory.
    ///
    /// # Errors
    /// `NotFound` naming the file; `Io`.
    pub fn read(dir: &Path) -> Result<Petition> {
        let read = |name: &str| files::read_limited(&dir.join(name), LONGEST);
        Ok(Petition {
            dam: Signed {
                bytes: read(name::DAM)?,
                sig: read(name::DAM_SIG)?,
            },
            request: Signed {
                bytes: read(name::REQUEST)?,
                sig: read(name::REQUEST_SIG)?,
            },
        })
    }

    /// Writes the four files into a new directory.
    ///
    /// # Errors
    /// `Exists` where one is there; `Io`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        self.files()
            .into_iter()
            .try_for_each(|(name, bytes)| files::write_new(&dir.join(name), bytes, 0o644))
    }

    fn files(&self) -> [(&'static str, &[u8]); 4] {
        [
            (name::DAM, &self.dam.bytes),
            (name::DAM_SIG, &self.dam.sig),
            (name::REQUEST, &self.request.bytes),
            (name::REQUEST_SIG, &self.request.sig),
        ]
    }
}

/// Reads a decision from a directory.
///
/// # Errors
/// `NotFound`, `Io`.
pub fn read_decision(dir: &Path) -> Result<Signed> {
    let read = |name: &str| files::read_limited(&dir.join(name), LONGEST);
    Ok(Signed {
        bytes: read(name::DECISION)?,
        sig: read(name::DECISION_SIG)?,
    })
}

/// Writes a decision into a directory that is carried about; a later decision on the same request
/// takes the place of an earlier one.
///
/// # Errors
/// `Io`.
pub fn write_decision(dir: &Path, decision: &Signed) -> Result<()> {
    if read_decision(dir).is_ok_and(|there| there == *decision) {
        return Ok(());
    }
    files::replace(&dir.join(name::DECISION), &decision.bytes, 0o644)?;
    files::replace(&dir.join(name::DECISION_SIG), &decision.sig, 0o644)
}

/// What a decision changes about what its host lends, as a record; nothing where it lends as before.
fn lent(domain: &Domain, decision: &Decision, lease: Option<LeaseRecord>) -> Option<HostRecord> {
    let lends = domain.leases().of(&decision.host).is_some();
    match (lease, decision.outcome) {
        (Some(lease), _) => Some(HostRecord::Lease(lease)),
        (None, AdmissionResult::Accepted) if lends => Some(HostRecord::InFull {
            host: decision.host,
            decision: Digest::of(&decision.encode()),
        }),
        (None, _) => None,
    }
}
