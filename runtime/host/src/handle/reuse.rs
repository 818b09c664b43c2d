//! What the files cache needs of a domain: its working files, and blocks relied on anew.

use super::StoreHandle;
use crate::capability::Verb;
use asl_core::{BlockId, ChunkId, Result};

impl StoreHandle {
    /// The committed block in which a piece is found; `None` while no commit names it.
    ///
    /// # Errors
    /// `Refused` without a key; `Io`.
    pub fn block_of(&self, id: &ChunkId) -> Result<Option<BlockId>> {
        self.store.block_of(id)
    }

    /// Counts a block among those the root under way reaches; false where its pieces are not
    /// known here. Allowed where a piece that is known could be put.
    ///
    /// # Errors
    /// As [`StoreHandle::put_piece`].
    pub fn rely_on(&self, block: &BlockId) -> Result<bool> {
        self.allow(Verb::SealBlock, 0)?;
        self.store.rely_on(block)
    }

    /// A key for one use by working files, of the current epoch.
    ///
    /// # Errors
    /// `Refused` without a key.
    pub fn working_key(&self, about: &[u8]) -> Result<[u8; 32]> {
        self.store.working_key(about)
    }

    /// The names of all working files, sorted.
    ///
    /// # Errors
    /// `Io`.
    pub fn working_files(&self) -> Result<Vec<String>> {
        self.store.working_files()
    }

    /// Reads a working file that this domain's keys made under this name.
    ///
    /// # Errors
    /// `NotFound`, `Damage`, `Invalid`, `Refused`, `Io`: none of them is to be believed.
    pub fn read_working(&self, name: &str) -> Result<Vec<u8>> {
        self.store.read_working(name)
    }

    /// Writes a working file in place of the one of that name.
    ///
    /// # Errors
    /// `Refused` by state or without a key; `Invalid`, `Io`.
    pub fn write_working(&self, name: &str, content: &[u8]) -> Result<()> {
        self.store.write_working(name, content)
    }

    /// Removes a working file.
    ///
    /// # Errors
    /// `Refused`, `NotFound`, `Io`.
    pub fn remove_working(&self, name: &str) -> Result<()> {
        self.store.remove_working(name)
    }
}
