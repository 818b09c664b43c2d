//! An open store: one domain's blocks, index and content log at one location.

mod commit;
mod gc;
mod grown;
mod many;
mod merge;
mod open;
mod opened;
mod put;
mod read;
mod repack;
mod reuse;
mod snapshot;
mod working;

pub(crate) use commit::put_named;
pub use gc::{GcOptions, GcReport};
pub use many::TakePiece;
pub use open::StoreOptions;
pub(crate) use open::{content_form, manifest_heads, read_whole};
pub use put::Put;
pub use repack::{Live, RepackReport};
pub(crate) use snapshot::{reached, read_exact, read_manifest};
pub use working::MAX_WORKING;

use crate::block::Group;
use crate::checkpoint::{Checkpoint, Schedule};
use crate::current::Current;
use crate::index::Index;
use crate::ledger::Ledger;
use crate::log::{FrameLog, Head, Mode};
use crate::pipeline::Pipeline;
use crate::sealer::Sealer;
use asl_backend::{Backend, Durability};
use asl_core::{BlockId, ChunkId, Error, Kind, Result};
use grown::Superseding;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// What a caller is told once its commit is on the medium (architecture.md, invariant 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The log's head with the commit in it.
    pub head: Head,
    /// Whether the medium keeps it without power.
    pub durability: Durability,
}

/// Something stored that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The object's name below the domain.
    pub object: String,
    /// What is wrong with it.
    pub why: String,
    /// The block, where it is one.
    pub block: Option<BlockId>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.object, self.why)
    }
}

/// An open store.
///
/// One writer at a time, by the content log's lock; all calls take `&self` and may come from
/// several threads. Dropping it drops what was not committed: nothing of that was acknowledged.
pub struct Store {
    pub(crate) backend: Arc<dyn Backend>,
    mode: Mode,
    pub(crate) sealer: Option<Arc<dyn Sealer>>,
    pipeline: Option<Pipeline>,
    writer: Mutex<Writer>,
    current: RwLock<Arc<Current>>,
    pub(crate) index: RwLock<Index>,
    /// Whether a block's file was found in place with its size; asked once.
    present: Mutex<HashMap<BlockId, bool>>,
    extents: Mutex<read::Extents>,
    opened: Mutex<opened::OpenBlocks>,
    front: Mutex<Front>,
    due: Mutex<Due>,
    damage: Vec<Damage>,
    checkpoint_due: u64,
}

/// What only the committing thread touches.
pub(crate) struct Writer {
    log: FrameLog,
    ledger: Ledger,
    next_segment: u32,
    checkpoints: Schedule,
    small: Superseding,
}

/// What a put touches.
#[derive(Default)]
struct Front {
    group: Group,
    /// Pieces that no commit names yet.
    pending: HashSet<ChunkId>,
    /// Committed blocks newly relied on since the last frame.
    relied: BTreeSet<BlockId>,
    session: Option<Session>,
}

/// The blocks a root will reach.
#[derive(Default)]
struct Session {
    blocks: BTreeSet<BlockId>,
    /// Pieces put or found known whose block is not committed yet.
    touched: HashSet<ChunkId>,
}

#[derive(Default)]
struct Due {
    sealed_since: Option<Duration>,
    pending_since: Option<Duration>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({:?}, {:?})", self.mode, self.head())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.mode == Mode::Write && !std::thread::panicking() {
            self.checkpoint(&mut self.writer(), true);
        }
    }
}

impl Store {
    /// The content log's head.
    pub fn head(&self) -> Head {
        self.current().head
    }

    /// CURRENT, as of the last commit.
    pub fn current(&self) -> Arc<Current> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Bytes of blocks, segments, frames and manifests that the domain has; what left CURRENT
    /// counts no longer.
    pub fn stored_bytes(&self) -> u64 {
        let current = self.current();
        current.head.stored_bytes.saturating_sub(current.freed)
    }

    /// Bytes taken in that no commit names yet; what waits to be compressed counts uncompressed.
    pub fn pending_bytes(&self) -> u64 {
        let waiting = self.front().group.len() as u64;
        waiting + self.pipeline.as_ref().map_or(0, Pipeline::pending_bytes)
    }

    /// Bytes of a small block that is committed and will be sealed once more, grown; for a while both
    /// are stored.
    pub fn again_bytes(&self) -> u64 {
        self.pipeline.as_ref().map_or(0, Pipeline::again_bytes)
    }

    /// What was found damaged at opening: the log, in [`Mode::Read`]; segments, in both modes.
    ///
    /// [`Store::verify`](crate::Store::verify) looks at everything.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Writes a checkpoint where one is due. It is derived: where it cannot be written, opening
    /// takes longer.
    fn checkpoint(&self, writer: &mut Writer, closing: bool) {
        let (frame_at, log) = writer.log.place();
        let Some(ledger) = writer.ledger.complete() else {
            return;
        };
        if !writer.checkpoints.is_due(log, closing, self.checkpoint_due) {
            return;
        }
        let checkpoint = Checkpoint {
            current: Current::clone(&self.current()),
            frame_at,
            ledger,
        };
        if checkpoint.current.head == writer.log.head() {
            drop(writer.checkpoints.write(&*self.backend, &checkpoint, log));
        }
    }

    fn front(&self) -> MutexGuard<'_, Front> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ack(&self, head: Head) -> Ack {
        Ack {
            head,
            durability: self.backend.durability(),
        }
    }

    fn sealer(&self) -> Result<&Arc<dyn Sealer>> {
        self.sealer.as_ref().ok_or_else(|| {
            Error::new(
                Kind::Refused,
                "use",
                "the index",
                "it is sealed and no key is at hand",
            )
            .next("unlock the seal credential, or bring the open identity")
        })
    }

    fn pipeline(&self) -> Result<&Pipeline> {
        self.sealer()?;
        self.pipeline.as_ref().ok_or_else(|| {
            Error::new(
                Kind::Refused,
                "write to",
                "the store",
                "it was opened read-only",
            )
        })
    }
}
