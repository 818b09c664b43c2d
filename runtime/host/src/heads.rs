//! `host/heads/`: the highest heads of logs that were ever acknowledged on this host.
//!
//! They lie outside the domain, so that a log which was shortened is known as damage. A head may
//! make this host refuse to write, never more (architecture.md, invariant 11).

use asl_backend::files::{self, Document};
use asl_core::canon::Limits;
use asl_core::{Digest, Error, Fields, Kind, LogSeq, MapBuilder, Result};
use asl_store::Head;
use std::path::{Path, PathBuf};

/// A head as `host/heads/` keeps it.
const KIND: &str = "asl.known-head/1";

/// For this host alone.
const MODE: u32 = 0o600;

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
    let check: Option<Digest> = f.opt(5, Fields::id)?;
    f.finish()?;
    if check.is_some_and(|check| check != Digest::of(&said(&head).encode())) {
        let why = "it is not what was written";
        return Err(Error::new(Kind::Damage, "read", path.display(), why)
            .next("`asl-host repair` sets it aside; the log's other witnesses stay"));
    }
    Ok(Some(head))
}

/// Keeps a head, in place of the one before.
pub(crate) fn write(path: &Path, head: &Head) -> Result<()> {
    files::replace(path, &encode(head), MODE)
}

fn encode(head: &Head) -> Vec<u8> {
    let check = Digest::of(&said(head).encode());
    said(head).put(5, check).encode()
}

fn said(head: &Head) -> MapBuilder {
    MapBuilder::document(KIND)
        .put(1, head.commit)
        .put(2, head.logseq.0)
        .put(3, head.frame)
        .put(4, head.stored_bytes)
}

/// The place of one log's head, which never goes back while it is open.
pub(crate) struct HeadFile(Document);

impl HeadFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        HeadFile(Document::new(path, MODE))
    }

    /// Refuses after a sync of it failed: what could not be kept is not to be acknowledged.
    pub(crate) fn require_sound(&self) -> Result<()> {
        self.0.require_sound()
    }

    /// Keeps the head that `now` tells; of two that do so at once, the later head stays. After a sync
    /// that failed nothing is kept any more, and so nothing acknowledged.
    pub(crate) fn keep(&self, now: impl FnOnce() -> Head) -> Result<()> {
        self.0.replace(|| encode(&now()))
    }
}
