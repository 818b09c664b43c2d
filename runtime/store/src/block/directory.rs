//! The directory at a block's end: which extents, which tags, which pieces.
//!
//! The reader accepts one spelling only: extents back to back, pieces back to back within their
//! extents and in order, every tag used for the first time in order. What a block says is thus
//! one function of its pieces and their grouping.

use super::extent::{Codec, Extent, Located};
use crate::sealer::OpenParts;
use crate::wire::{invalid, len32, Reader};
use asl_core::{ChunkId, Result, TypeTag};

const WHAT: &str = "block";
const MAGIC: &[u8; 8] = b"ASLBLOCK";
const VERSION: u16 = 1;
/// Bytes of the footer.
pub(super) const FOOTER: usize = 36;
/// Bytes of an extent's row.
pub(super) const EXTENT_ROW: usize = 16;
/// Bytes of a piece's row.
pub(super) const ENTRY_ROW: usize = 48;

/// One row of the entry table: a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: ChunkId,
    /// Its row in the tag table.
    pub(crate) tag: u32,
    /// Its extent's row in the extent table.
    pub(crate) extent: u32,
    /// Where it begins in the decoded extent.
    pub(crate) inner: u32,
    /// Its bytes.
    pub(crate) length: u32,
}

/// A block's three tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) extents: Vec<Extent>,
    pub(crate) tags: Vec<TypeTag>,
    pub(crate) entries: Vec<Entry>,
}

impl Directory {
    /// Appends tables and footer to the extents already in `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        for e in &self.extents {
            for n in [e.offset, e.stored, e.plain] {
                out.extend_from_slice(&n.to_le_bytes());
            }
            out.extend_from_slice(&[e.codec as u8, 0, 0, 0]);
        }
        let tags_at = out.len();
        for tag in &self.tags {
            let text = tag.as_str().as_bytes();
            // A tag is at most 64 bytes (its type says so).
            out.push(text.len() as u8);
            out.extend_from_slice(text);
        }
        let tags_len = out.len() - tags_at;
        for e in &self.entries {
            out.extend_from_slice(e.id.as_bytes());
            for n in [e.tag, e.extent, e.inner, e.length] {
                out.extend_from_slice(&n.to_le_bytes());
            }
        }
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        for n in [start, self.extents.len(), self.tags.len(), tags_len] {
            out.extend_from_slice(&len32(WHAT, n)?.to_le_bytes());
        }
        out.extend_from_slice(&len32(WHAT, self.entries.len())?.to_le_bytes());
        let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&crc.to_le_bytes());
        Ok(())
    }

    /// Reads and checks the tables of a block's whole plaintext.
    ///
    /// # Errors
    /// `Invalid`, naming the rule that broke.
    #[cfg(test)]
    pub(crate) fn read(mut plain: &[u8]) -> Result<Directory> {
        Directory::of(&mut plain)
    }

    /// Reads and checks the tables of an open block, and no more of it than these.
    ///
    /// # Errors
    /// `Invalid`, naming the rule that broke; `Damage` and `Io` as the block's own.
    pub(crate) fn of(block: &mut dyn OpenParts) -> Result<Directory> {
        let length = block.plain_len();
        let foot_at = length
            .checked_sub(FOOTER as u64)
            .ok_or_else(|| invalid(WHAT, "too short for a footer"))?;
        let footer = block.read_range(foot_at..length)?;
        let mut foot = Reader::new(WHAT, &footer);
        foot.magic(MAGIC)?;
        foot.version(VERSION)?;
        foot.zero(2)?;
        let (start, extents, tags) = (foot.u32()?, foot.u32()?, foot.u32()?);
        let (tags_len, entries) = (foot.u32()? as usize, foot.u32()?);
        let crc = foot.u32()?;
        foot.end()?;
        if u64::from(start) > foot_at {
            return Err(invalid(WHAT, "its directory lies outside of it"));
        }
        let directory = block.read_range(u64::from(start)..length)?;
        let checked = directory.len().saturating_sub(4);
        if crc32c::crc32c(directory.get(..checked).unwrap_or_default()) != crc {
            return Err(invalid(WHAT, "its directory's checksum does not fit"));
        }
        let tables = directory.get(..directory.len().saturating_sub(FOOTER));
        let mut tables = Reader::new(WHAT, tables.unwrap_or_default());
        let directory = Directory {
            extents: read_extents(&mut tables, extents, start as usize)?,
            tags: read_tags(&mut tables, tags, tags_len)?,
            entries: read_entries(&mut tables, entries)?,
        };
        tables.end()?;
        directory.check()?;
        Ok(directory)
    }

    /// Checks that pieces and extents cover each other exactly.
    fn check(&self) -> Result<()> {
        let bad = |why| Err(invalid(WHAT, why));
        let (mut tags_used, mut extents_used, mut filled) = (0u32, 0u32, 0u64);
        let mut ids: Vec<&ChunkId> = Vec::with_capacity(self.entries.len());
        for e in &self.entries {
            if e.tag > tags_used || e.tag as usize >= self.tags.len() {
                return bad("its tags are not in the order of first use");
            }
            tags_used = tags_used.max(e.tag + 1);
            if extents_used == 0 || e.extent != extents_used - 1 {
                if e.extent != extents_used || !self.is_full(extents_used, filled) {
                    return bad("its pieces do not cover its extents in order");
                }
                extents_used += 1;
                filled = 0;
            }
            if u64::from(e.inner) != filled {
                return bad("its pieces do not lie back to back");
            }
            filled += u64::from(e.length);
            ids.push(&e.id);
        }
        if extents_used as usize != self.extents.len() || !self.is_full(extents_used, filled) {
            return bad("its pieces do not cover its extents");
        }
        if tags_used as usize != self.tags.len() || self.entries.is_empty() {
            return bad("it has tags or extents but no pieces for them");
        }
        ids.sort_unstable();
        if ids.windows(2).any(|w| matches!(w, [a, b] if a == b)) {
            return bad("it holds a piece twice");
        }
        Ok(())
    }

    /// Whether the last of the extents used so far is filled to its end.
    fn is_full(&self, used: u32, filled: u64) -> bool {
        match (used as usize).checked_sub(1) {
            None => true,
            Some(last) => self
                .extents
                .get(last)
                .is_some_and(|e| u64::from(e.plain) == filled),
        }
    }

    /// Where every piece lies, in the order of the table.
    pub(crate) fn located(&self) -> impl Iterator<Item = Located> + '_ {
        self.entries.iter().filter_map(|e| {
            let extent = self.extents.get(e.extent as usize)?;
            Some(Located {
                id: e.id,
                offset: extent.offset,
                stored: extent.stored,
                codec: extent.codec,
                inner: e.inner,
                length: e.length,
            })
        })
    }
}

fn read_extents(tables: &mut Reader<'_>, count: u32, start: usize) -> Result<Vec<Extent>> {
    let rows = tables.take((count as usize).saturating_mul(EXTENT_ROW))?;
    let mut extents = Vec::with_capacity(count as usize);
    let mut next = 0u64;
    for row in rows.chunks_exact(EXTENT_ROW) {
        let mut row = Reader::new(WHAT, row);
        let (offset, stored, plain) = (row.u32()?, row.u32()?, row.u32()?);
        let codec = Codec::from_byte(row.u8()?).ok_or_else(|| row.bad("unknown codec"))?;
        row.zero(3)?;
        let shrinks = match codec {
            Codec::Raw => stored == plain,
            Codec::Zstd => stored < plain,
        };
        if u64::from(offset) != next || !shrinks {
            return Err(row.bad("its extents do not lie back to back"));
        }
        next += u64::from(stored);
        extents.push(Extent {
            offset,
            stored,
            plain,
            codec,
        });
    }
    if next != start as u64 {
        return Err(tables.bad("its extents do not end where its directory begins"));
    }
    Ok(extents)
}

fn read_tags(tables: &mut Reader<'_>, count: u32, length: usize) -> Result<Vec<TypeTag>> {
    let mut text = Reader::new(WHAT, tables.take(length)?);
    let mut tags: Vec<TypeTag> = Vec::new();
    for _ in 0..count {
        let n = usize::from(text.u8()?);
        let tag = std::str::from_utf8(text.take(n)?).map_err(|_| text.bad("a tag is not text"))?;
        tags.push(tag.parse()?);
    }
    text.end()?;
    let mut sorted: Vec<&TypeTag> = tags.iter().collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|w| matches!(w, [a, b] if a == b)) {
        return Err(tables.bad("it names a tag twice"));
    }
    Ok(tags)
}

fn read_entries(tables: &mut Reader<'_>, count: u32) -> Result<Vec<Entry>> {
    let rows = tables.take((count as usize).saturating_mul(ENTRY_ROW))?;
    let row = |row: &[u8]| {
        let mut row = Reader::new(WHAT, row);
        Ok(Entry {
            id: ChunkId::from(row.array::<32>()?),
            tag: row.u32()?,
            extent: row.u32()?,
            inner: row.u32()?,
            length: row.u32()?,
        })
    };
    rows.chunks_exact(ENTRY_ROW).map(row).collect()
}
