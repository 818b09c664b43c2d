//! The plaintext of a block: extents, a directory, a footer (formats.md, "Blocks").
//!
//! A block describes itself: the index can be rebuilt from the blocks a log names.

mod build;
mod directory;
mod extent;
mod pack;

pub(crate) use build::BlockBuilder;
pub(crate) use directory::Directory;
pub(crate) use extent::{cut, Codec, Located, Unpacker};
pub(crate) use pack::{is_kept, Group, Packed, Packer};

/// Bytes of one piece at most: 16 MiB less 64 KiB, so that a sealed piece's extent stays below
/// 16 MiB whatever its codec.
pub const MAX_PIECE: usize = (16 << 20) - (64 << 10);

/// Bytes of a sealed block at most (formats.md, "Decisions of detail").
pub const MAX_SEALED_BLOCK: u64 = 64 << 20;
