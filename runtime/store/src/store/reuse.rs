//! Content that is stored already and was not put again: what the files cache stands on.
//!
//! A block may be relied upon under the rule by which a piece is found known: CURRENT holds it
//! live, a trusted segment lists it, its file is in place with its size, and nothing found it
//! damaged since. So nothing that gc took or that is lost is ever reused.

use super::Store;
use asl_core::{BlockId, ChunkId, Result};
use std::sync::PoisonError;

impl Store {
    /// The committed block in which a piece is found; `None` while no commit names it.
    ///
    /// # Errors
    /// As [`Store::contains`].
    pub fn block_of(&self, id: &ChunkId) -> Result<Option<BlockId>> {
        self.sealer()?;
        Ok(self.home_of(id)?.map(|(home, _)| home.id))
    }

    /// Counts a block among those that the root under way reaches, and among those that the next
    /// frame relies on; false, and nothing is done, where its pieces are not known here.
    ///
    /// # Errors
    /// `Refused` where the store is read-only or no key is at hand; `Io`.
    pub fn rely_on(&self, block: &BlockId) -> Result<bool> {
        self.pipeline()?;
        // As in a put: who holds the front may ask CURRENT, never the other way round.
        let mut front = self.front();
        let listed = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            index.lists(block)
        };
        let known = listed && self.is_here(block)?;
        if known {
            front.rely(*block);
        }
        Ok(known)
    }
}
