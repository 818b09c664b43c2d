//! In which blocks a content's pieces come to lie.

use crate::PieceStore;
use asl_core::{BlockId, ChunkId, Result};
use std::collections::HashMap;

/// Pieces of one content that wait before the store is asked again.
const ASK: usize = 4096;

/// The blocks met in a run, each with a short number.
#[derive(Default)]
pub(crate) struct Places {
    blocks: Vec<BlockId>,
    numbers: HashMap<BlockId, u32>,
}

impl Places {
    /// The number of a block.
    pub(crate) fn number(&mut self, block: BlockId) -> u32 {
        let next = self.blocks.len() as u32;
        let number = *self.numbers.entry(block).or_insert(next);
        if number == next {
            self.blocks.push(block);
        }
        number
    }

    /// The block of a number.
    pub(crate) fn block(&self, number: u32) -> Option<BlockId> {
        self.blocks.get(number as usize).copied()
    }
}

/// Where one content lies, as far as it is known by now.
#[derive(Clone, Default)]
pub(crate) struct Placing {
    /// Ascending, none twice.
    blocks: Vec<u32>,
    /// Pieces that no commit names yet.
    left: Vec<ChunkId>,
    ask_at: usize,
}

impl Placing {
    /// Of a content whose blocks are known.
    pub(crate) fn of(blocks: impl Iterator<Item = u32>) -> Placing {
        let mut placing = Placing::default();
        blocks.for_each(|b| placing.add(b));
        placing
    }

    /// Adds a piece; one that was known before is placed at once.
    pub(crate) fn piece(
        &mut self,
        id: ChunkId,
        new: bool,
        store: &dyn PieceStore,
        places: &mut Places,
    ) -> Result<()> {
        let block = if new { None } else { store.block_of(&id)? };
        match block {
            Some(block) => self.add(places.number(block)),
            None => self.left.push(id),
        }
        if self.left.len() >= self.ask_at.max(ASK) {
            self.settle(store, places)?;
            self.ask_at = 2 * self.left.len();
        }
        Ok(())
    }

    /// Asks for what is committed by now; true where all is.
    pub(crate) fn settle(&mut self, store: &dyn PieceStore, places: &mut Places) -> Result<bool> {
        for id in std::mem::take(&mut self.left) {
            match store.block_of(&id)? {
                Some(block) => self.add(places.number(block)),
                None => self.left.push(id),
            }
        }
        Ok(self.left.is_empty())
    }

    /// The blocks, once all is settled.
    pub(crate) fn settled(&self) -> Option<&[u32]> {
        self.left.is_empty().then_some(&self.blocks[..])
    }

    fn add(&mut self, block: u32) {
        if self.blocks.last() == Some(&block) {
            return;
        }
        if let Err(at) = self.blocks.binary_search(&block) {
            self.blocks.insert(at, block);
        }
    }
}
