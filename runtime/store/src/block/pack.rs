//! Grouping pieces and compressing the groups: what becomes one extent of a block.

use super::extent::Codec;
use crate::wire::len32;
use asl_core::{ChunkId, Error, Kind, Result, TypeTag};

/// Small pieces share an extent of about this many bytes, so that they compress together and a
/// read still decodes little: 128 KiB.
pub(super) const GROUP_BYTES: usize = 128 << 10;
/// Pieces of one group at most: a directory stays small beside its extents.
const GROUP_PIECES: usize = 4096;
/// A piece from this size is looked at before compressing it; below, looking is as dear as doing.
const LOOKED_AT_FROM: usize = 16 << 10;
/// What is counted of such a piece, in three places: 1 KiB each.
const COUNTED: usize = 1 << 10;
/// What is then tried of it, in two places: 4 KiB each.
const TRIED: usize = 4 << 10;
const LEVEL: i32 = 1;
const WHAT: &str = "block";

/// Pieces that will share one extent.
#[derive(Debug, Default)]
pub(crate) struct Group {
    plain: Vec<u8>,
    pieces: Vec<(ChunkId, TypeTag, u32)>,
}

impl Group {
    /// A group in a buffer that was used before.
    pub(crate) fn within(mut plain: Vec<u8>) -> Self {
        plain.clear();
        Group {
            plain,
            pieces: Vec::new(),
        }
    }

    /// Adds a piece, which the caller has found to be at most `MAX_PIECE` long.
    pub(crate) fn push(&mut self, id: ChunkId, tag: &TypeTag, bytes: &[u8]) -> Result<()> {
        let length = len32(WHAT, bytes.len())?;
        if self.plain.is_empty() {
            // Room at once: a growing buffer is copied again and again.
            self.plain.reserve_exact(bytes.len().max(ROOM));
        }
        self.plain.extend_from_slice(bytes);
        self.pieces.push((id, tag.clone(), length));
        Ok(())
    }

    /// Whether the group is ready to be compressed.
    pub(crate) fn is_full(&self) -> bool {
        self.plain.len() >= GROUP_BYTES || self.pieces.len() >= GROUP_PIECES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes of its pieces.
    pub(crate) fn len(&self) -> usize {
        self.plain.len()
    }

    /// The group as an extent of these bytes; raw, its own are given for them.
    fn packed(self, compressed: Option<Vec<u8>>) -> Result<(Packed, Vec<u8>)> {
        let plain = len32(WHAT, self.plain.len())?;
        let (bytes, codec, free) = match compressed {
            Some(z) => (z, Codec::Zstd, self.plain),
            None => (self.plain, Codec::Raw, Vec::new()),
        };
        let pieces = self.pieces;
        let packed = Packed {
            bytes,
            plain,
            codec,
            pieces,
        };
        Ok((packed, free))
    }

    /// A group of its own for a piece too large to share one.
    pub(crate) fn stands_alone(length: usize) -> bool {
        length >= GROUP_BYTES
    }
}

/// A group after compression: one extent.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Bytes of the group.
    pub(super) plain: u32,
    pub(super) codec: Codec,
    pub(super) pieces: Vec<(ChunkId, TypeTag, u32)>,
}

/// Buffers that a packer keeps for what it makes next.
const KEPT: usize = 2;
/// Capacity of every buffer but that of a rare long piece: a full group compressed that did not
/// shrink. All have the same, for an allocator keeps room apart for each size.
const ROOM: usize = 2 * GROUP_BYTES + (4 << 10);

/// Whether a buffer is kept for another group.
pub(crate) fn is_kept(kept: &[Vec<u8>], one: &Vec<u8>, most: usize) -> bool {
    kept.len() < most && (1..=2 * ROOM).contains(&one.capacity())
}

/// Compresses groups; one for each thread, since it keeps zstd's context.
pub(crate) struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    kept: Vec<Vec<u8>>,
}

impl Packer {
    pub(crate) fn new() -> Result<Self> {
        let zstd = zstd::bulk::Compressor::new(LEVEL)
            .map_err(|e| Error::new(Kind::Io, "set up", "the compressor", e))?;
        let kept = Vec::new();
        Ok(Packer { zstd, kept })
    }

    /// Stores the group raw or as one zstd frame, whichever is smaller; pieces that would gain
    /// nothing go raw into an extent of their own, untried.
    pub(crate) fn pack(&mut self, group: Group) -> Result<Vec<Packed>> {
        let (dense, other) = self.part(group)?;
        let mut packed = Vec::with_capacity(2);
        if !other.is_empty() {
            packed.push(self.smaller(other)?);
        }
        if !dense.is_empty() {
            packed.push(dense.packed(None)?.0);
        }
        Ok(packed)
    }

    fn smaller(&mut self, group: Group) -> Result<Packed> {
        let mut z = self.kept.pop().unwrap_or_default();
        self.compress(&group.plain, &mut z, ROOM)?;
        let (packed, free) = if z.len() < group.plain.len() {
            group.packed(Some(z))?
        } else {
            (group.packed(None)?.0, z)
        };
        self.keep(free);
        Ok(packed)
    }

    fn keep(&mut self, buffer: Vec<u8>) {
        if is_kept(&self.kept, &buffer, KEPT) {
            self.kept.push(buffer);
        }
    }

    /// Parts the pieces that cannot be compressed from the others.
    fn part(&mut self, group: Group) -> Result<(Group, Group)> {
        let (mut dense, mut at) = (Vec::with_capacity(group.pieces.len()), 0);
        for (_, _, length) in &group.pieces {
            let end = at + *length as usize;
            dense.push(self.is_dense(group.plain.get(at..end).unwrap_or_default())?);
            at = end;
        }
        if !dense.contains(&true) {
            return Ok((Group::default(), group));
        }
        if !dense.contains(&false) {
            return Ok((group, Group::default()));
        }
        let mut part = || Group::within(self.kept.pop().unwrap_or_default());
        let (mut parts, mut rest) = ((part(), part()), &group.plain[..]);
        for ((id, tag, length), dense) in group.pieces.into_iter().zip(dense) {
            let (bytes, after) = rest.split_at_checked(length as usize).unwrap_or_default();
            rest = after;
            let to = if dense { &mut parts.0 } else { &mut parts.1 };
            to.plain.extend_from_slice(bytes);
            to.pieces.push((id, tag, length));
        }
        self.keep(group.plain);
        Ok(parts)
    }

    /// Whether compressing a piece would gain nothing: its bytes are spread as evenly as noise,
    /// and parts of it do not shrink by a twentieth when tried.
    fn is_dense(&mut self, piece: &[u8]) -> Result<bool> {
        if piece.len() < LOOKED_AT_FROM {
            return Ok(false);
        }
        let last = piece.len() - COUNTED;
        let places = [0, last / 2, last].map(|at| piece.get(at..at + COUNTED).unwrap_or_default());
        if !is_even(&places) {
            return Ok(false);
        }
        let mut sample = Vec::with_capacity(2 * TRIED);
        for at in [piece.len() / 4, piece.len() / 4 * 3] {
            let part = piece.get(at..).unwrap_or_default();
            sample.extend_from_slice(part.get(..TRIED).unwrap_or(part));
        }
        let mut shrunk = Vec::new();
        self.compress(&sample, &mut shrunk, 0)?;
        Ok(shrunk.len() >= sample.len() - sample.len() / 20)
    }

    /// Compresses into a buffer, in place of what it held; it gets room for `least` bytes.
    fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>, least: usize) -> Result<()> {
        out.clear();
        out.reserve_exact(zstd::zstd_safe::compress_bound(plain.len()).max(least));
        self.zstd
            .compress_to_buffer(plain, out)
            .map(drop)
            .map_err(|e| Error::new(Kind::Io, "compress", WHAT, e))
    }
}

/// Whether bytes are spread evenly: the sum of the squares of their counts is within a fifth of
/// what it is for noise, where zip, jpeg, zstd and age lie, and machine code or text never.
fn is_even(places: &[&[u8]]) -> bool {
    let mut counts = [0u32; 256];
    let mut n = 0u32;
    for byte in places.iter().copied().flatten() {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
        n += 1;
    }
    let squares: u32 = counts.iter().map(|c| c * c).sum();
    let of_noise = n + n * (n.max(1) - 1) / 256;
    squares < of_noise + of_noise / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<u8> {
        let mut out = vec![0; n];
        blake3::Hasher::new()
            .update(&seed.to_le_bytes())
            .finalize_xof()
            .fill(&mut out);
        out
    }

    #[test]
    fn only_noise_is_even() {
        let even = |bytes: &[u8]| is_even(&[bytes]);
        assert!((0..200).all(|seed| even(&noise(3 * COUNTED, seed))));
        let text = b"In the beginning was the word, and the word was told. ".repeat(60);
        assert!(!even(&text[..3 * COUNTED]));
        let code: Vec<u8> = noise(3 * COUNTED, 1).iter().map(|b| b & 0x7f).collect();
        assert!(!even(&code));
        assert!(!even(&[]));
    }
}
