//! The index: which piece lies in which block (formats.md, "Index segments").
//!
//! Segments stay on the medium and are read by pages of 64 KiB. Memory: a filter of 10 bits a
//! piece, 32 bytes a page, and a cache of 8 MiB of pages; see [`Paged`] for what a segment holds
//! besides.

mod cache;
mod derived;
mod filter;
mod merge;
mod paged;
#[cfg(test)]
mod tests;

pub(crate) use filter::Filter;
pub(crate) use merge::Blocks;
pub(crate) use paged::Paged;

use crate::block::Located;
use crate::current::Current;
use asl_core::{BlockId, ChunkId, Error, Kind, Result};
use cache::PageCache;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// A block of the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    pub(crate) id: BlockId,
    pub(crate) epoch: u32,
}

/// Where a piece lies.
pub(crate) struct Places {
    /// Every place, the block with the smallest id first.
    pub(crate) all: Vec<(Home, Located)>,
    /// Why a segment could not be asked: it is damaged there.
    pub(crate) damage: Option<Error>,
}

/// Segments that are to become one.
pub(crate) struct Merge {
    /// Their numbers, ascending.
    pub(crate) replaced: Vec<u32>,
    /// The body of the one.
    pub(crate) body: Vec<u8>,
    /// What it lists.
    pub(crate) blocks: Blocks,
}

/// Where pieces lie, as far as trusted segments say.
#[derive(Default)]
pub(crate) struct Index {
    segments: Vec<Paged>,
    cache: Mutex<PageCache>,
}

impl Index {
    /// Takes in a segment.
    pub(crate) fn add(&mut self, segment: Paged) {
        self.segments.push(segment);
    }

    /// Takes in a merged segment for those it replaces.
    pub(crate) fn replace(&mut self, replaced: &[u32], segment: Paged) {
        self.segments.retain(|s| !replaced.contains(&s.number));
        self.segments.push(segment);
    }

    /// Segments of this epoch that are to become one now, and the body of that one.
    ///
    /// # Errors
    /// `Damage` where a segment is not what was sealed; `Io`.
    pub(crate) fn merge(&self, epoch: u32, current: &Current) -> Result<Option<Merge>> {
        let own = |s: &&Paged| s.epoch == epoch && current.segments.contains_key(&s.number);
        let own: Vec<&Paged> = self.segments.iter().filter(own).collect();
        let replaced = merge::due(&own);
        let of_it = |s: &&Paged| replaced.contains(&s.number);
        let segments: Vec<&Paged> = own.into_iter().filter(of_it).collect();
        let live = |id: &BlockId| current.blocks.contains_key(id);
        let (body, blocks) = merge::body(epoch, &segments, &live)?;
        let merge = Merge {
            replaced,
            body,
            blocks,
        };
        // Where no block is left the segments are for gc.
        Ok(Some(merge).filter(|m| !m.blocks.is_empty()))
    }

    /// Whether a trusted segment lists the block.
    pub(crate) fn lists(&self, block: &BlockId) -> bool {
        let listed = |s: &Paged| {
            let blocks = &s.sealed().blocks;
            blocks.binary_search_by_key(block, |(id, _)| *id).is_ok()
        };
        self.segments.iter().any(listed)
    }

    /// Entries of all segments.
    pub(crate) fn entries(&self) -> u64 {
        self.segments.iter().map(Paged::entries).sum()
    }

    /// Tells every entry of every segment, and whether its block was told of by another segment.
    ///
    /// # Errors
    /// `Damage` where a segment is not what was sealed; `Io`.
    pub(crate) fn each(&self, tell: &mut dyn FnMut(Home, &Located, bool)) -> Result<()> {
        let mut told = BTreeSet::new();
        for segment in &self.segments {
            let listed = segment.sealed().blocks.iter();
            let blocks: Vec<(BlockId, bool)> =
                listed.map(|(id, _)| (*id, !told.insert(*id))).collect();
            let mut walk = segment.walk();
            while let Some(entry) = walk.next()? {
                if let Some((id, again)) = blocks.get(entry.block as usize) {
                    let epoch = segment.epoch;
                    tell(Home { id: *id, epoch }, &entry.at, *again);
                }
            }
        }
        Ok(())
    }

    /// Looks a piece up. A page that is not what was sealed is not believed, and told.
    ///
    /// # Errors
    /// `Io`, `Interrupted` where a segment could not be read.
    pub(crate) fn find(&self, id: &ChunkId) -> Result<Places> {
        let (mut all, mut damage) = (Vec::new(), None);
        for segment in &self.segments {
            match segment.find(&self.cache, id) {
                Ok(found) => all.extend(found.into_iter().map(|(id, at)| {
                    let epoch = segment.epoch;
                    (Home { id, epoch }, at)
                })),
                Err(e) if matches!(e.kind(), Kind::Io | Kind::Interrupted) => return Err(e),
                Err(e) => damage = Some(e),
            }
        }
        all.sort_by_key(|(home, _)| home.id);
        Ok(Places { all, damage })
    }
}
