//! ASL-STORE and INDEX: one domain's pieces in sealed blocks, found by segments, made to exist by
//! commits of one log.
//!
//! What may be here: the byte formats of blocks, segments, logs, manifests and block sets
//! (`runtime/FORMATS.md`), replay, and the calls of an open [`Store`]. What may not: authority,
//! leases, admission, keys. Keys are behind [`Sealer`], the place behind
//! [`asl_backend::Backend`]; clocks and randomness are passed in.
//!
//! ```text
//! put_piece -> group -> extent -> open block -> seal -> publish block -+
//!                                          index segment - commit frame -+-> visible -> snapshot
//! ```

mod block;
mod blockset;
mod checkpoint;
mod current;
mod history;
#[cfg(test)]
mod hostile;
mod index;
mod ledger;
mod log;
mod manifest;
mod names;
mod pipeline;
mod record;
mod repair;
mod sealer;
mod segment;
mod source;
mod store;
mod trust;
mod verify;
mod wire;

pub use block::{MAX_PIECE, MAX_SEALED_BLOCK};
pub use blockset::BlockSet;
pub use current::{Current, SnapshotEntry};
pub use history::{history, Past};
pub use log::{Evidence, Frame, FrameLog, Head, LogForm, Mode, MAX_FRAME};
pub use manifest::{Manifest, ManifestSegment, ReadBack, SnapshotTerms};
pub use record::{Epoch, Record, RecordKind, Role, SealedSegment};
pub use repair::RepairReport;
pub use sealer::{OpenParts, Part, PlainSealer, ReadSeek, Sealer};
pub use segment::MAX_SEGMENT;
pub use store::{
    Ack, Damage, GcOptions, GcReport, Live, Put, RepackReport, Store, StoreOptions, TakePiece,
    MAX_WORKING,
};
pub use trust::{PageValue, TrustKey, PAGE};
pub use verify::{ReadBackReport, Sample, VerifyOptions, VerifyReport};

/// The type tag of a root piece.
const ROOT_TAG: &str = "asl.root";

/// Bytes of a manifest at most: 16 MiB.
const MAX_MANIFEST: u64 = 16 << 20;

/// Bytes of a block set at most: 128 MiB, the blocks of 64 TiB.
const MAX_BLOCK_SET: u64 = 128 << 20;
