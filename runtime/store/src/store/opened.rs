//! Blocks opened for reading parts of them.

use super::Store;
use crate::index::Home;
use crate::names;
use crate::sealer::{OpenParts, Part};
use crate::source::{Ahead, Source};
use asl_core::{BlockId, Error, Kind, Result};
use std::sync::{Arc, MutexGuard, PoisonError};

/// Open blocks kept at most. Each may hold what is read ahead and a stream chunk or two.
const KEPT: usize = 6;
/// One chunk of an age stream with its tag, and eight where reading goes on and on.
const AHEAD: Ahead = Ahead {
    first: (64 << 10) + 16,
    most: 8 * ((64 << 10) + 16),
};

/// The blocks read from last: to open one costs an unwrapped header and its last stream chunk.
#[derive(Default)]
pub(super) struct OpenBlocks {
    kept: Vec<(BlockId, Box<dyn OpenParts>)>,
    /// How often blocks were forgotten: what was opened before is not kept after.
    forgotten: u64,
}

impl OpenBlocks {
    /// Drops what is open of a block whose file is about to be another, or cannot be trusted.
    pub(super) fn forget(&mut self, block: &BlockId) {
        self.forgotten += 1;
        self.kept.retain(|(id, _)| id != block);
    }
}

impl Store {
    pub(super) fn open_blocks(&self) -> MutexGuard<'_, OpenBlocks> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from a block's plaintext; it stays open for the next one where that went well.
    pub(super) fn read_block<T>(
        &self,
        home: &Home,
        read: impl FnOnce(&mut dyn OpenParts) -> Result<T>,
    ) -> Result<T> {
        let (found, forgotten) = {
            let mut open = self.open_blocks();
            let at = open.kept.iter().position(|(id, _)| *id == home.id);
            (at.map(|at| open.kept.remove(at).1), open.forgotten)
        };
        let mut parts = match found {
            Some(parts) => parts,
            None => self.open_block_at(home)?,
        };
        let answer = read(&mut *parts)?;
        let mut open = self.open_blocks();
        if open.forgotten == forgotten {
            open.kept.insert(0, (home.id, parts));
            open.kept.truncate(KEPT);
        }
        Ok(answer)
    }

    fn open_block_at(&self, home: &Home) -> Result<Box<dyn OpenParts>> {
        let name = names::block(&home.id)?;
        let size = self.backend.size(&name).map_err(|e| match e.kind() {
            Kind::NotFound => Error::new(Kind::NotFound, "read", &name, "the block is not here")
                .next("fetch it from a holder of this domain"),
            _ => e,
        })?;
        let reader = Source::new(Arc::clone(&self.backend), name, 0..size, AHEAD);
        self.sealer()?
            .open_parts(Part::Block, home.epoch, Box::new(reader))
    }
}
