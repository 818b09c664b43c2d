//! Index segments: which piece lies where (formats.md, "Index segments").
//!
//! The file is a clear header and a sealed body. The body is a pure function of the blocks it
//! lists, so a rebuilt segment proves itself by its trust value.

use crate::block::{Codec, Located};
use crate::wire::{len32, Reader};
use asl_core::{BlockId, ChunkId, Result};

const WHAT: &str = "index segment";
const MAGIC: &[u8; 8] = b"ASLSEGMT";
const VERSION: u16 = 1;
/// Bytes of the clear header, and of the body's.
pub(crate) const HEADER: usize = 16;
/// Bytes of an entry in the body.
pub(crate) const ENTRY_ROW: usize = 56;

/// Bytes of a segment's file at most: 128 MiB.
pub const MAX_SEGMENT: u64 = 128 << 20;

/// One entry: a piece, and which of the segment's blocks holds it where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Row of the segment's block table.
    pub(crate) block: u32,
    pub(crate) at: Located,
}

/// A segment's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) epoch: u32,
    /// The blocks it lists, sorted.
    pub(crate) blocks: Vec<BlockId>,
    /// Sorted by piece, then block.
    pub(crate) entries: Vec<Entry>,
}

impl Segment {
    /// The segment of these blocks. A block listed twice counts once.
    pub(crate) fn of<'a>(
        epoch: u32,
        blocks: impl IntoIterator<Item = (BlockId, &'a [Located])>,
    ) -> Result<Segment> {
        let mut sorted: Vec<(BlockId, &[Located])> = blocks.into_iter().collect();
        sorted.sort_by_key(|(id, _)| *id);
        sorted.dedup_by_key(|(id, _)| *id);
        let mut entries = Vec::new();
        for (row, (_, located)) in sorted.iter().enumerate() {
            let block = len32(WHAT, row)?;
            entries.extend(located.iter().map(|at| Entry { block, at: *at }));
        }
        entries.sort_unstable_by_key(|e| (e.at.id, e.block));
        Ok(Segment {
            epoch,
            blocks: sorted.into_iter().map(|(id, _)| id).collect(),
            entries,
        })
    }

    /// The body's plaintext.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut out = begin(self.epoch, self.blocks.iter())?;
        out.reserve_exact(self.entries.len() * ENTRY_ROW);
        self.entries.iter().for_each(|e| push(&mut out, e));
        end(&mut out, len32(WHAT, self.entries.len())?);
        Ok(out)
    }

    /// Reads a body's plaintext whole.
    ///
    /// # Errors
    /// `Invalid`, naming the rule that broke: there is one spelling only.
    #[cfg(test)]
    pub(crate) fn decode(plain: &[u8]) -> Result<Segment> {
        let mut r = Reader::new(WHAT, plain);
        let (epoch, blocks, entries) = (r.u32()?, r.u32()?, r.u32()?);
        r.zero(4)?;
        let table = r.take((blocks as usize).saturating_mul(32))?;
        let blocks: Vec<BlockId> = table
            .chunks_exact(32)
            .filter_map(|c| <[u8; 32]>::try_from(c).ok())
            .map(BlockId::from)
            .collect();
        if blocks.is_empty() || !ascending(&blocks) {
            return Err(r.bad("its blocks are not in order"));
        }
        let rows = r.take((entries as usize).saturating_mul(ENTRY_ROW))?;
        r.end()?;
        let entries = rows
            .chunks_exact(ENTRY_ROW)
            .map(|row| read_entry(row, blocks.len()))
            .collect::<Result<Vec<Entry>>>()?;
        if !entries
            .windows(2)
            .all(|w| matches!(w, [a, b] if (a.at.id, a.block) < (b.at.id, b.block)))
        {
            return Err(crate::wire::invalid(WHAT, "its entries are not in order"));
        }
        Ok(Segment {
            epoch,
            blocks,
            entries,
        })
    }
}

/// Begins a body: its head and the table of blocks, which are in order.
///
/// # Errors
/// `Invalid` past 2^32 blocks.
pub(crate) fn begin<'a>(
    epoch: u32,
    blocks: impl ExactSizeIterator<Item = &'a BlockId>,
) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(HEADER + blocks.len() * 32);
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(&len32(WHAT, blocks.len())?.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    blocks.for_each(|id| out.extend_from_slice(id.as_bytes()));
    Ok(out)
}

/// Adds an entry, which follows those before it.
pub(crate) fn push(out: &mut Vec<u8>, Entry { block, at }: &Entry) {
    out.extend_from_slice(at.id.as_bytes());
    for n in [*block, at.offset, at.stored, at.inner, at.length] {
        out.extend_from_slice(&n.to_le_bytes());
    }
    out.extend_from_slice(&[at.codec as u8, 0, 0, 0]);
}

/// Ends a body that has so many entries.
pub(crate) fn end(out: &mut [u8], entries: u32) {
    if let Some(count) = out.get_mut(8..12) {
        count.copy_from_slice(&entries.to_le_bytes());
    }
}

/// Reads an entry of a segment that lists so many blocks.
///
/// # Errors
/// `Invalid` where it is in another spelling, or names none of them.
pub(crate) fn read_entry(row: &[u8], blocks: usize) -> Result<Entry> {
    let mut r = Reader::new(WHAT, row);
    let id = ChunkId::from(r.array::<32>()?);
    let block = r.u32()?;
    let (offset, stored, inner, length) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
    let codec = Codec::from_byte(r.u8()?).ok_or_else(|| r.bad("unknown codec"))?;
    r.zero(3)?;
    if block as usize >= blocks {
        return Err(r.bad("an entry names no block"));
    }
    Ok(Entry {
        block,
        at: Located {
            id,
            offset,
            stored,
            codec,
            inner,
            length,
        },
    })
}

#[cfg(test)]
fn ascending(ids: &[BlockId]) -> bool {
    ids.windows(2).all(|w| matches!(w, [a, b] if a < b))
}

/// The file: clear header and sealed body.
pub(crate) fn file(epoch: u32, sealed: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + sealed.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(sealed);
    out
}

/// Takes a file apart: its epoch and its sealed body.
///
/// # Errors
/// `Invalid` where it is no segment of a known version.
pub(crate) fn open_file(file: &[u8]) -> Result<(u32, &[u8])> {
    let mut r = Reader::new(WHAT, file);
    r.magic(MAGIC)?;
    r.version(VERSION)?;
    r.zero(2)?;
    let epoch = r.u32()?;
    Ok((epoch, r.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u8) -> Located {
        Located {
            id: ChunkId::from([n; 32]),
            offset: 1,
            stored: 2,
            codec: Codec::Zstd,
            inner: 3,
            length: 4,
        }
    }

    fn sample() -> Segment {
        let (a, b) = ([at(9), at(1)], [at(5), at(1)]);
        let of = [
            (BlockId::from([2; 32]), &a[..]),
            (BlockId::from([1; 32]), &b[..]),
        ];
        Segment::of(3, of).unwrap()
    }

    #[test]
    fn a_segment_is_sorted_and_read_back_whatever_the_order_of_its_blocks() {
        let s = sample();
        assert_eq!(s.blocks, [[1; 32].into(), [2; 32].into()]);
        let ids: Vec<u8> = s.entries.iter().map(|e| e.at.id.as_bytes()[0]).collect();
        assert_eq!(ids, [1, 1, 5, 9]);
        assert_eq!(s.entries[0].block, 0);
        assert_eq!(Segment::decode(&s.encode().unwrap()).unwrap(), s);
        let file = file(3, b"body");
        assert_eq!(open_file(&file).unwrap(), (3, &b"body"[..]));
    }

    #[test]
    fn a_second_spelling_of_a_segment_is_refused() {
        let refused = |change: &dyn Fn(&mut Segment)| {
            let mut s = sample();
            change(&mut s);
            assert!(Segment::decode(&s.encode().unwrap()).is_err());
        };
        refused(&|s| s.blocks.swap(0, 1));
        refused(&|s| s.blocks[1] = s.blocks[0]);
        refused(&|s| s.blocks.clear());
        refused(&|s| s.entries.swap(0, 2));
        refused(&|s| s.entries[1] = s.entries[0]);
        refused(&|s| s.entries[3].block = 2);
        let good = sample().encode().unwrap();
        for n in 0..good.len() {
            assert!(Segment::decode(&good[..n]).is_err(), "cut to {n}");
        }
        let mut long = good.clone();
        long.push(0);
        assert!(Segment::decode(&long).is_err());
        for reserved in [12, good.len() - 1, good.len() - 4] {
            let mut bad = good.clone();
            bad[reserved] ^= 0x80;
            assert!(Segment::decode(&bad).is_err(), "byte {reserved}");
        }
    }

    #[test]
    fn a_count_that_claims_too_much_is_refused_without_allocating_it() {
        let mut bad = sample().encode().unwrap();
        for at in [4, 8] {
            bad[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert!(Segment::decode(&bad).is_err());
        }
    }

    #[test]
    fn a_file_of_another_version_is_refused_with_advice() {
        let mut file = file(0, b"");
        file[8] = 2;
        let e = open_file(&file).unwrap_err();
        assert!(e.why().contains("newer asl-host"), "{e}");
        file[0] = b'x';
        assert!(open_file(&file).unwrap_err().why().contains("magic"));
        assert!(open_file(b"ASLSEGMT").is_err());
    }
}
