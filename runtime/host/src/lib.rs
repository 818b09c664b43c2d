//! ASL-HOST: the layer where storage becomes a domain and a domain a participant.
//!
//! Layout, domain lifecycle, host log, admission, lease accounting, the capability-gated
//! [`StoreHandle`], the age [`Sealer`](asl_store::Sealer) and the key stick. It does not know how
//! artifacts are made, nor wires (architecture.md, "The floors").

pub mod admission;
pub mod capability;
pub mod domain;
pub mod handle;
mod heads;
pub mod hostlog;
pub mod keystick;
pub mod layout;
pub mod leases;
pub mod pins;
pub mod root;
pub mod sealer;
pub mod standing;

pub use domain::{Domain, Founding};
pub use handle::{Credentials, LeaseScope, Opening, Purpose, StoreHandle};
pub use root::{Context, HostRoot, KeptKey};

pub use asl_backend::Durability;
pub use asl_store::{Ack, Put, TakePiece};

use asl_core::{Error, Kind, Result};
use serde::Serialize;
use std::path::Path;

/// A wall time in text, RFC 3339 in UTC.
pub fn time_text(unix_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).map_or_else(
        |_| format!("{unix_ns} ns"),
        |t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// Makes a directory for its owner alone, durably; one that is there is left as it is.
fn make_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |e| Error::new(Kind::Io, "make", path.display(), e);
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(failed)?,
    }
    let parent = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::File::open(parent)
        .and_then(|dir| dir.sync_all())
        .map_err(failed)
}

/// A derived view as the bytes of a JSON file.
fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::new(Kind::Invalid, "write", "a JSON view", e))?;
    bytes.push(b'\n');
    Ok(bytes)
}
