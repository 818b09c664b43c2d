//! `host/heads/`: the highest heads of logs that were ever acknowledged on this host.
//!
//! They lie outside the domain, so that a log which was shortened is known as damage. A head may
//! make this host refuse to write, never more (architecture.md, invariant 11).

use asl_backend::files;
use asl_core::canon::Limits;
use asl_core::{Fields, Kind, LogSeq, MapBuilder, Result};
use asl_store::Head;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A head as `host/heads/` keeps it.
const KIND: &str = "asl.known-head/1";

/// Reads a head; `None` where none was ever kept.
pub(crate) fn read(path: &Path) -> Result<Option<Head>> {
    let bytes = match files::read_limited(path, 4096) {
        Err(e) if e.kind() == Kind::NotFound => return Ok(None),
        read => read?,
    };
    let mut f = Fields::document(&bytes, KIND, Limits::DOCUMENT)?;
    let head = Head {
        commit: f.uint(1)?,
        logseq: LogSeq(f.uint(2)?),
        frame: f.id(3)?,
        stored_bytes: f.uint(4)?,
    };
    f.finish()?;
    Ok(Some(head))
}

/// Keeps a head, in place of the one before.
pub(crate) fn write(path: &Path, head: &Head) -> Result<()> {
    let bytes = MapBuilder::document(KIND)
        .put(1, head.commit)
        .put(2, head.logseq.0)
        .put(3, head.frame)
        .put(4, head.stored_bytes)
        .encode();
    files::replace(path, &bytes, 0o600)
}

/// The place of one log's head, which never goes back while it is open.
pub(crate) struct HeadFile(Mutex<PathBuf>);

impl HeadFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        HeadFile(Mutex::new(path))
    }

    /// Keeps the head that `now` tells; of two that do so at once, the later head stays.
    pub(crate) fn keep(&self, now: impl FnOnce() -> Head) -> Result<()> {
        let path = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write(&path, &now())
    }
}
