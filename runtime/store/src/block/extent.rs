//! Extents: stretches of a block's plaintext, raw or compressed, holding one or more pieces.

use super::MAX_PIECE;
use crate::wire::invalid;
use asl_core::{ChunkId, Result};
use std::io::Read;

/// Zstd's window may cover a whole extent (2^24 = 16 MiB) and no more: a hostile frame that asks
/// for gigabytes is refused by the decoder.
const WINDOW_LOG: u32 = 24;

const WHAT: &str = "extent";

/// Bytes that an extent decodes to at most: a group's fill and the largest piece after it.
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

/// Decodes an extent whose length nobody has stated, as far as a piece may reach.
///
/// # Errors
/// `Invalid` where the bytes do not decode, or to more than an extent holds.
pub(crate) fn unpack(stored: Vec<u8>, codec: Codec) -> Result<Vec<u8>> {
    if codec == Codec::Raw {
        return Ok(stored);
    }
    let plain = decode(&stored, MOST + 1)?;
    if plain.len() > MOST {
        return Err(invalid(WHAT, "decodes to more than an extent holds"));
    }
    Ok(plain)
}

/// Takes one piece out of a decoded extent.
///
/// # Errors
/// `Invalid` where the extent ends before the piece does.
pub(crate) fn cut(plain: &[u8], at: &Located) -> Result<Vec<u8>> {
    let (inner, length) = (at.inner as usize, at.length as usize);
    inner
        .checked_add(length)
        .and_then(|end| plain.get(inner..end))
        .map(<[u8]>::to_vec)
        .ok_or_else(|| invalid(WHAT, "ends before the piece does"))
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
    if plain.len() != extent.plain as usize {
        return Err(invalid(WHAT, "ends before the piece does"));
    }
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

/// Decodes at most this many bytes.
fn decode(stored: &[u8], most: usize) -> Result<Vec<u8>> {
    let fail = |e: std::io::Error| invalid(WHAT, &format!("does not decode: {e}"));
    let mut decoder = zstd::stream::read::Decoder::with_buffer(stored)
        .map_err(fail)?
        .single_frame();
    decoder.window_log_max(WINDOW_LOG).map_err(fail)?;
    let mut plain = Vec::new();
    decoder
        .take(most as u64)
        .read_to_end(&mut plain)
        .map_err(fail)?;
    Ok(plain)
}
