//! Extents: stretches of a block's plaintext, raw or compressed, holding one or more pieces.

use super::MAX_PIECE;
use crate::wire::invalid;
use asl_core::{ChunkId, Error, Kind, Result};
use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

const WHAT: &str = "extent";

/// Bytes that an extent decodes to at most: a group's fill and the largest piece after it.
/// A hostile frame that asks for more is refused before it is decoded.
const MOST: usize = MAX_PIECE + (128 << 10);

/// How an extent's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Raw = 0,
    Zstd = 1,
}

impl Codec {
    pub(crate) fn from_byte(byte: u8) -> Option<Codec> {
        match byte {
            0 => Some(Codec::Raw),
            1 => Some(Codec::Zstd),
            _ => None,
        }
    }
}

/// One row of the extent table, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where the stored bytes begin in the block's plaintext.
    pub(crate) offset: u32,
    /// Bytes stored.
    pub(crate) stored: u32,
    /// Bytes after decoding.
    pub(crate) plain: u32,
    pub(crate) codec: Codec,
}

/// Where a piece lies in its block: what an index entry says besides the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) id: ChunkId,
    /// Where the extent's stored bytes begin.
    pub(crate) offset: u32,
    /// Bytes the extent stores.
    pub(crate) stored: u32,
    pub(crate) codec: Codec,
    /// Where the piece begins in the decoded extent.
    pub(crate) inner: u32,
    /// Bytes of the piece.
    pub(crate) length: u32,
}

/// Takes one piece out of a decoded extent.
///
/// # Errors
/// `Invalid` where the extent ends before the piece does.
pub(crate) fn cut<'p>(plain: &'p [u8], at: &Located) -> Result<&'p [u8]> {
    let (inner, length) = (at.inner as usize, at.length as usize);
    inner
        .checked_add(length)
        .and_then(|end| plain.get(inner..end))
        .ok_or_else(|| invalid(WHAT, "ends before the piece does"))
}

/// Decodes extents; one for each thread, since it keeps zstd's context and its room.
pub(crate) struct Unpacker {
    zstd: zstd::bulk::Decompressor<'static>,
    room: Vec<u8>,
}

impl Unpacker {
    pub(crate) fn new() -> Result<Self> {
        let zstd = zstd::bulk::Decompressor::new()
            .map_err(|e| Error::new(Kind::Io, "set up", "the decompressor", e))?;
        let room = Vec::new();
        Ok(Unpacker { zstd, room })
    }

    /// Decodes an extent, as far as one may reach.
    ///
    /// # Errors
    /// `Invalid` where the bytes are not one compressed frame that states its length, or do not
    /// decode to it, or it is more than an extent holds.
    pub(crate) fn unpack<'u>(&'u mut self, stored: &'u [u8], codec: Codec) -> Result<&'u [u8]> {
        if codec == Codec::Raw {
            return Ok(stored);
        }
        let frame = find_frame_compressed_size(stored);
        if frame.ok() != Some(stored.len()) {
            return Err(invalid(WHAT, "is not one compressed frame"));
        }
        let size = get_frame_content_size(stored).ok().flatten();
        let size = size.and_then(|n| usize::try_from(n).ok());
        let size = size.ok_or_else(|| invalid(WHAT, "does not state its length"))?;
        if size > MOST {
            return Err(invalid(WHAT, "decodes to more than an extent holds"));
        }
        self.room.clear();
        self.room.reserve(size);
        let fail = |e: std::io::Error| invalid(WHAT, &format!("does not decode: {e}"));
        let n = self
            .zstd
            .decompress_to_buffer(stored, &mut self.room)
            .map_err(fail)?;
        if n != size {
            return Err(invalid(WHAT, "does not decode to the length it states"));
        }
        Ok(&self.room)
    }

    /// Decodes a whole extent, which must have exactly the length its table says.
    ///
    /// # Errors
    /// As [`Unpacker::unpack`], and `Invalid` where it has another length.
    pub(crate) fn unpack_exact<'u>(
        &'u mut self,
        stored: &'u [u8],
        extent: &Extent,
    ) -> Result<&'u [u8]> {
        let plain = self.unpack(stored, extent.codec)?;
        if plain.len() != extent.plain as usize {
            return Err(invalid(
                WHAT,
                "does not decode to the length its table says",
            ));
        }
        Ok(plain)
    }
}
