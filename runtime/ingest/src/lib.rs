//! Ingest of directory trees and their restore (architecture.md, "How data flows").
//!
//! A source is walked, read, cut into chunks and put piece by piece behind [`PieceStore`]; a
//! restore takes the same way back and verifies what it writes. This crate sees pieces and their
//! ids, and of blocks the ids alone: never a key, a block's bytes, a lease or a log.

mod cache;
mod compare;
mod handle;
mod ingest;
mod look;
mod missing;
mod os;
mod pieces;
mod problems;
mod reach;
mod read;
mod restore;
#[cfg(test)]
mod testing;
mod walk;
mod watch;

pub use asl_host::TakePiece;
pub use compare::{compare, Change};
pub use ingest::{ingest_tree, IngestOptions, Ingested};
pub use look::{list, open_at, read_file, Listed};
pub use missing::lost_paths;
pub use os::NameTable;
pub use pieces::{Acknowledged, Chunking, PieceStore};
pub use reach::reached_pieces;
pub use restore::{restore, RestoreOptions, Restored};
pub use watch::{Progress, Watch};

/// Directories below each other at most, in what is ingested and what is restored.
///
/// It bounds memory against trees made to exhaust it; a deeper directory of a source is a problem
/// told in the root.
pub const DEEPEST: usize = 4096;

/// The grain of holes and of unreadable ranges, in bytes.
pub const PAGE: usize = 4096;

/// The shortest run of zero pages that is stored as a hole, in bytes.
///
/// Part of the format in the same way as the chunk sizes: it decides where chunks begin.
pub const HOLE: u64 = 64 << 10;
