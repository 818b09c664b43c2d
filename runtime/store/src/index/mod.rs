//! The index: which piece lies in which block (formats.md, "Index segments").
//!
//! Segments stay on the medium and are read by pages of 64 KiB. Memory: a filter of 10 bits a
//! piece, 32 bytes a page, and a cache of 8 MiB of pages; see [`Paged`] for what a segment holds
//! besides.

mod cache;
mod derived;
mod filter;
mod paged;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use paged::Paged;

use crate::block::Located;
use asl_core::{BlockId, ChunkId, Error, Kind, Result};
use cache::PageCache;
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
