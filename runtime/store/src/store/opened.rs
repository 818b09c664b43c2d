//! Blocks opened for reading parts of them, and how their bytes come from the backend.

use super::Store;
use crate::index::Home;
use crate::names;
use crate::sealer::{OpenParts, Part};
use asl_backend::{Backend, Name};
use asl_core::{BlockId, Error, Kind, Result};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, MutexGuard, PoisonError};

/// Open blocks kept at most. Each may hold [`MOST`] read ahead and a stream chunk or two.
const KEPT: usize = 6;
/// What is read of a block at least: one chunk of an age stream with its tag.
const FIRST: u64 = (64 << 10) + 16;
/// What is read at most, where reading goes on and on.
const MOST: u64 = 8 * FIRST;

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
        let reader = BlockReader::new(Arc::clone(&self.backend), name, size);
        self.sealer()?
            .open_parts(Part::Block, home.epoch, Box::new(reader))
    }
}

/// A sealed block as a stream that can seek; reads more at once the longer it is read on.
pub(crate) struct BlockReader {
    backend: Arc<dyn Backend>,
    name: Name,
    size: u64,
    at: u64,
    held: Range<u64>,
    bytes: Vec<u8>,
    part: u64,
}

impl BlockReader {
    pub(crate) fn new(backend: Arc<dyn Backend>, name: Name, size: u64) -> Self {
        BlockReader {
            backend,
            name,
            size,
            at: 0,
            held: 0..0,
            bytes: Vec::new(),
            part: 0,
        }
    }

    fn fetch(&mut self) -> io::Result<()> {
        let goes_on = self.held.end == self.at;
        self.part = if goes_on { 2 * self.part } else { FIRST };
        self.part = self.part.clamp(FIRST, MOST);
        let range = self.at..self.size.min(self.at.saturating_add(self.part));
        self.bytes = self
            .backend
            .get(&self.name, range)
            .map_err(io::Error::other)?;
        self.held = self.at..self.at + self.bytes.len() as u64;
        Ok(())
    }
}

impl Read for BlockReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size || out.is_empty() {
            return Ok(0);
        }
        if !self.held.contains(&self.at) {
            self.fetch()?;
        }
        let from = self.at.saturating_sub(self.held.start) as usize;
        let mut part = self.bytes.get(from..).unwrap_or_default();
        let n = part.read(out)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for BlockReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
            SeekFrom::End(n) => self.size.checked_add_signed(n),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
