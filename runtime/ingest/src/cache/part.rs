//! One part of the cache: groups of rows by directory, with the blocks their contents lie in.

use super::placing::Places;
use super::record::Draft;
use super::row::{array, PathHash, Row, ROW};
use asl_core::{BlockId, Error, Kind, Result};
use std::collections::HashMap;
use std::ops::Range;

const MAGIC: &[u8; 8] = b"ASLFILES";
const VERSION: u16 = 1;
const HEADER: usize = 64;
/// Bytes of a group's head: a row and two numbers.
const HEAD: usize = ROW + 8;
const WHOLE: u32 = 1 << 31;

/// A group of rows.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// The directory by its hash and its content; of a group that is not whole the hash alone.
    pub dir: Row,
    /// Whether these are all of the directory's names.
    pub whole: bool,
    pub first: u32,
    pub count: u32,
}

/// A part being written.
pub(crate) struct PartBuilder {
    names: [u8; 32],
    heads: Vec<u8>,
    rows: Vec<u8>,
    lists: Vec<u32>,
    list_at: HashMap<Vec<u32>, u32>,
    blocks: Vec<u32>,
    block_at: HashMap<u32, u32>,
}

impl PartBuilder {
    /// An empty part of a run that knows owners by these names.
    pub(crate) fn new(names: [u8; 32]) -> PartBuilder {
        PartBuilder {
            names,
            heads: Vec::new(),
            rows: Vec::new(),
            lists: Vec::new(),
            list_at: HashMap::new(),
            blocks: Vec::new(),
            block_at: HashMap::new(),
        }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        HEADER + self.heads.len() + self.rows.len() + 4 * self.lists.len() + 32 * self.blocks.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Adds a group of rows that are settled; others are passed over, and it is then not whole.
    pub(crate) fn group<'a>(
        &mut self,
        dir: PathHash,
        whole: Option<&Draft>,
        rows: impl Iterator<Item = &'a Draft>,
    ) {
        let first = (self.rows.len() / ROW) as u32;
        let mut all = true;
        for draft in rows {
            all &= self.row(draft).map(|r| r.encode(&mut self.rows)).is_some();
        }
        let count = (self.rows.len() / ROW) as u32 - first;
        let head = whole.filter(|_| all).and_then(|draft| self.row(draft));
        let bits = if head.is_some() { count | WHOLE } else { count };
        head.unwrap_or_else(|| Row::bare(dir))
            .encode(&mut self.heads);
        self.heads.extend_from_slice(&first.to_le_bytes());
        self.heads.extend_from_slice(&bits.to_le_bytes());
    }

    fn row(&mut self, draft: &Draft) -> Option<Row> {
        let blocks = draft.placing.settled()?;
        let list = match self.list_at.get(blocks) {
            Some(at) => *at,
            None => {
                let at = self.lists.len() as u32;
                self.lists.push(blocks.len() as u32);
                for block in blocks {
                    let next = self.blocks.len() as u32;
                    let row = *self.block_at.entry(*block).or_insert(next);
                    if row == next {
                        self.blocks.push(*block);
                    }
                    self.lists.push(row);
                }
                self.list_at.insert(blocks.to_vec(), at);
                at
            }
        };
        Some(Row { list, ..draft.row })
    }

    /// The part's bytes; what comes next begins a new part.
    pub(crate) fn take(&mut self, places: &Places) -> Vec<u8> {
        let done = std::mem::replace(self, PartBuilder::new(self.names));
        let mut out = Vec::with_capacity(done.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        let counts = [
            done.heads.len() / HEAD,
            done.rows.len() / ROW,
            done.lists.len(),
            done.blocks.len(),
        ];
        for n in counts {
            out.extend_from_slice(&(n as u32).to_le_bytes());
        }
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&done.names);
        out.extend_from_slice(&done.heads);
        out.extend_from_slice(&done.rows);
        for n in &done.lists {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for n in &done.blocks {
            let block = places.block(*n).map_or([0; 32], |b| *b.as_bytes());
            out.extend_from_slice(&block);
        }
        out
    }
}

/// A part that was read. It is proven to be our own; still nothing in it can make a reader panic.
pub(crate) struct Part {
    bytes: Vec<u8>,
    heads: Range<usize>,
    rows: Range<usize>,
    lists: Range<usize>,
    blocks: Range<usize>,
}

impl Part {
    /// Takes a part apart.
    ///
    /// # Errors
    /// `Invalid` where it is of another version or form.
    pub(crate) fn decode(bytes: Vec<u8>) -> Result<Part> {
        let bad = |why: &str| Error::new(Kind::Invalid, "read", "files cache", why);
        if bytes.get(..8) != Some(MAGIC) {
            return Err(bad("wrong magic: this is something else"));
        }
        if u16::from_le_bytes(array(&bytes, 8)) != VERSION {
            return Err(bad(
                "its version is not known here: another asl-host wrote it",
            ));
        }
        let mut end = HEADER;
        let mut table = |at: usize, size: usize| {
            let count = u32::from_le_bytes(array(&bytes, at)) as usize;
            let from = end;
            end = end.saturating_add(count.saturating_mul(size));
            from..end
        };
        let (heads, rows) = (table(12, HEAD), table(16, ROW));
        let (lists, blocks) = (table(20, 4), table(24, 32));
        if end != bytes.len() {
            return Err(bad("its length is not that of its tables"));
        }
        let part = Part {
            bytes,
            heads,
            rows,
            lists,
            blocks,
        };
        let rows = (part.rows.len() / ROW) as u64;
        let within = |h: Head| u64::from(h.first) + u64::from(h.count) <= rows;
        let mut heads = (0..part.head_count()).filter_map(|n| part.head(n));
        if !heads.all(within) {
            return Err(bad("a group has rows beyond its end"));
        }
        Ok(part)
    }

    /// Bytes in memory.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What the run that wrote it knew owners by.
    pub(crate) fn names(&self) -> [u8; 32] {
        array(&self.bytes, 32)
    }

    pub(crate) fn head_count(&self) -> u32 {
        (self.heads.len() / HEAD) as u32
    }

    pub(crate) fn head(&self, n: u32) -> Option<Head> {
        let at = self.item(&self.heads, n, HEAD)?;
        let bits = u32::from_le_bytes(array(at, ROW + 4));
        Some(Head {
            dir: Row::decode(at),
            whole: bits & WHOLE != 0,
            first: u32::from_le_bytes(array(at, ROW)),
            count: bits & !WHOLE,
        })
    }

    pub(crate) fn row(&self, n: u32) -> Option<Row> {
        self.item(&self.rows, n, ROW).map(Row::decode)
    }

    /// The hash of a row alone.
    pub(crate) fn hash(&self, n: u32) -> Option<PathHash> {
        let row = self.item(&self.rows, n, ROW)?;
        Some(PathHash(array(row, 0)))
    }

    /// The blocks of a list; `None` where it is none.
    pub(crate) fn blocks(&self, list: u32) -> Option<Vec<BlockId>> {
        let word = |n: u32| {
            let at = self.item(&self.lists, n, 4)?;
            Some(u32::from_le_bytes(array(at, 0)))
        };
        let block = |n: u32| {
            let at = self.item(&self.blocks, n, 32)?;
            Some(BlockId::from(array(at, 0)))
        };
        let count = word(list)?;
        let last = list.checked_add(count)?;
        (list + 1..=last).map(|n| block(word(n)?)).collect()
    }

    fn item(&self, table: &Range<usize>, n: u32, size: usize) -> Option<&[u8]> {
        let from = (n as usize).checked_mul(size)?.checked_add(table.start)?;
        let to = from.checked_add(size)?;
        (to <= table.end)
            .then(|| self.bytes.get(from..to))
            .flatten()
    }
}
