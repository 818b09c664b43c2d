//! Taking pieces in.

use super::{Session, Store};
use crate::block::Located;
use crate::block::{Group, MAX_PIECE};
use crate::index::Home;
use asl_core::{BlockId, ChunkId, Error, Kind, Result, TypeTag};
use std::sync::PoisonError;

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored already, or on its way; nothing was added.
    Known,
    /// It is on its way into a block.
    Added,
}

impl Store {
    /// Whether a committed piece is here: a trusted segment says so, and its block's file is in
    /// place with its size (architecture.md, "Sealing").
    ///
    /// # Errors
    /// `Refused` where no key is at hand; `Io`.
    pub fn contains(&self, id: &ChunkId) -> Result<bool> {
        self.sealer()?;
        self.home_of(id).map(|home| home.is_some())
    }

    /// Takes in a piece of at most [`MAX_PIECE`] bytes, under the id the sealer gives it.
    ///
    /// The bytes go to a worker; while too many wait, the call waits. Nothing is acknowledged
    /// before a commit.
    ///
    /// # Errors
    /// `Invalid` for a piece that is too long; `Refused` where the store is read-only, no key is at
    /// hand, or the domain does not have the sealer's epoch. `Io` where a block could not be
    /// written: everything is kept, and the next commit tries again.
    pub fn put_piece(&self, id: ChunkId, tag: &TypeTag, bytes: &[u8]) -> Result<Put> {
        let pipeline = self.pipeline()?;
        if bytes.len() > MAX_PIECE {
            let why = format!("it has {} bytes; {MAX_PIECE} are the most", bytes.len());
            return Err(Error::new(Kind::Invalid, "store", "a piece", why));
        }
        if let Some(e) = pipeline.failure() {
            return Err(e);
        }
        self.sealable()?;
        let ready = {
            let mut front = self.front();
            if front.pending.contains(&id) {
                front.touch(id);
                return Ok(Put::Known);
            }
            if let Some((home, _)) = self.home_of(&id)? {
                front.rely(home.id);
                return Ok(Put::Known);
            }
            front.pending.insert(id);
            front.touch(id);
            if Group::stands_alone(bytes.len()) {
                let mut alone = pipeline.group();
                alone.push(id, tag, bytes)?;
                Some(alone)
            } else {
                front.group.push(id, tag, bytes)?;
                front
                    .group
                    .is_full()
                    .then(|| std::mem::replace(&mut front.group, pipeline.group()))
            }
        };
        if let Some(group) = ready {
            pipeline.push(group)?;
        }
        Ok(Put::Added)
    }

    /// Begins a root: from here the store notes which blocks it reaches.
    ///
    /// An earlier root that was not finished is forgotten; what was committed of it stays.
    ///
    /// # Errors
    /// `Refused` where the store is read-only or no key is at hand.
    pub fn begin_root(&self) -> Result<()> {
        self.pipeline()?;
        self.front().session = Some(Session::default());
        Ok(())
    }

    /// No block is sealed under an epoch that the log does not know.
    pub(super) fn sealable(&self) -> Result<u32> {
        let epoch = self.sealer()?.epoch();
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let why = match epoch {
            0 if current.epochs.is_empty() => return Ok(0),
            0 => "the domain is encrypted and the sealer is plain".to_string(),
            n if current.epochs.contains_key(&n) => return Ok(n),
            n => format!("the domain has no epoch {n} yet"),
        };
        Err(Error::new(Kind::Refused, "seal to", "the domain", why)
            .next("record the epoch first, or use the key stick of this domain"))
    }

    /// Where a committed piece can be read here.
    pub(super) fn home_of(&self, id: &ChunkId) -> Result<Option<(Home, Located)>> {
        let found = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            index.find(id)?
        };
        for (home, at) in found.all {
            if self.is_here(&home.id)? {
                return Ok(Some((home, at)));
            }
        }
        Ok(None)
    }

    /// Whether CURRENT holds the block live and its file is in place with its size.
    pub(super) fn is_here(&self, id: &BlockId) -> Result<bool> {
        let size = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            // What is to go is not relied on anew: its pieces are sealed again.
            let stays = |_: &&u64| !current.doomed.contains(id);
            current.blocks.get(id).filter(stays).copied()
        };
        let Some(size) = size else {
            return Ok(false);
        };
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = present.get(id) {
            return Ok(*known);
        }
        let found = match self.backend.size(&crate::names::block(id)?) {
            Ok(n) => n == size,
            Err(e) if e.kind() == Kind::NotFound => false,
            Err(e) => return Err(e),
        };
        present.insert(*id, found);
        Ok(found)
    }

    /// Takes a block's pieces out of what is known, until it is sealed anew or the store is opened
    /// again: damaged and lost blocks are never "known".
    pub fn distrust(&self, id: &BlockId) {
        self.mark(id, false);
    }

    pub(super) fn mark(&self, id: &BlockId, present: bool) {
        self.extents().forget(id);
        self.open_blocks().forget(id);
        let mut blocks = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.insert(*id, present);
    }
}

impl super::Front {
    fn touch(&mut self, id: ChunkId) {
        if let Some(session) = &mut self.session {
            session.touched.insert(id);
        }
    }

    pub(super) fn rely(&mut self, block: BlockId) {
        let new = match &mut self.session {
            Some(session) => session.blocks.insert(block),
            None => true,
        };
        if new {
            self.relied.insert(block);
        }
    }
}
