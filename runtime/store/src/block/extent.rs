//! Extents: stretches of a block's plaintext, raw or compressed, holding one or more pieces.

use super::MAX_PIECE;
use crate::wire::invalid;
use asl_core::{ChunkId, Result};
use std::io::Read;

/// Zstd's window may cover a whole extent (2^24 = 16 MiB) and no more: a hostile frame that asks
/// for gigabytes is refused by the decoder.
const WINDOW_LOG: u32 = 24;

const WHAT: &str = "extent";

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

/// Takes one piece out of an extent's stored bytes, decoding no further than its end.
///
/// # Errors
/// `Invalid` where the bytes do not decode, or end before the piece does.
pub(crate) fn extract(stored: &[u8], at: &Located) -> Result<Vec<u8>> {
    let (inner, length) = (at.inner as usize, at.length as usize);
    let end = inner
        .checked_add(length)
        .filter(|end| *end <= MAX_PIECE + (128 << 10))
        .ok_or_else(|| invalid(WHAT, "a piece lies outside of any extent"))?;
    match at.codec {
        Codec::Raw => stored
            .get(inner..end)
            .map(<[u8]>::to_vec)
            .ok_or_else(|| invalid(WHAT, "ends before the piece does")),
        Codec::Zstd => {
            let mut plain = decode(stored, end)?;
            Ok(plain.split_off(inner.min(plain.len())))
        }
    }
}

/// Decodes a whole extent, which must have exactly the length its table says.
///
/// # Errors
/// `Invalid` where it has not, or where bytes follow the compressed frame.
pub(crate) fn decode_whole(stored: &[u8], extent: &Extent) -> Result<Vec<u8>> {
    if extent.codec == Codec::Raw {
        return Ok(stored.to_vec());
    }
    // One byte more than promised shows an extent that decodes to more.
    let plain = decode(stored, extent.plain as usize)?;
    let frame = zstd::zstd_safe::find_frame_compressed_size(stored)
        .map_err(|_| invalid(WHAT, "is not one compressed frame"))?;
    let size = zstd::zstd_safe::get_frame_content_size(stored)
        .ok()
        .flatten();
    if frame != stored.len() || size != Some(u64::from(extent.plain)) {
        return Err(invalid(
            WHAT,
            "does not decode to the length its table says",
        ));
    }
    Ok(plain)
}

fn decode(stored: &[u8], want: usize) -> Result<Vec<u8>> {
    let fail = |e: std::io::Error| invalid(WHAT, &format!("does not decode: {e}"));
    let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)
        .map_err(fail)?
        .single_frame();
    decoder.window_log_max(WINDOW_LOG).map_err(fail)?;
    let mut plain = Vec::with_capacity(want);
    decoder
        .take(want as u64)
        .read_to_end(&mut plain)
        .map_err(fail)?;
    if plain.len() != want {
        return Err(invalid(WHAT, "ends before the piece does"));
    }
    Ok(plain)
}
