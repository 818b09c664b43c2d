//! ASL-HOST: the layer where storage becomes a domain and a domain a participant.
//!
//! Layout, domain lifecycle, host log, admission, lease accounting, the capability-gated
//! [`StoreHandle`], the age [`Sealer`](asl_store::Sealer) and the key stick. It does not know how
//! artifacts are made, nor wires (architecture.md, "The floors").

pub mod admission;
pub mod audit;
pub mod capability;
pub mod domain;
pub mod handle;
mod heads;
pub mod hostlog;
pub mod keystick;
pub mod layout;
pub mod leases;
pub mod pins;
pub mod quarantine;
pub mod reserve;
pub mod root;
pub mod sealer;
pub mod standing;
pub mod verify;

pub use domain::{Domain, Founding};
pub use handle::{Credentials, LeaseScope, Opening, Purpose, StoreHandle};
pub use root::{Context, HostRoot, KeptKey};

pub use asl_backend::Durability;
pub use asl_store::{Ack, Put, TakePiece};

use asl_core::{Error, Kind, Result};
use serde::Serialize;

/// A wall time in text, RFC 3339 in UTC.
pub fn time_text(unix_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).map_or_else(
        |_| format!("{unix_ns} ns"),
        |t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// A derived view as the bytes of a JSON file.
fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::new(Kind::Invalid, "write", "a JSON view", e))?;
    bytes.push(b'\n');
    Ok(bytes)
}
