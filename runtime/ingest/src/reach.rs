//! Which pieces a root reaches: what repacking keeps of a block.

use crate::walk::{read_root, walk, Visitor};
use crate::PieceStore;
use asl_core::codec::{BlobRef, Entry, ListNode};
use asl_core::{ChunkId, Error, Result};
use std::collections::HashSet;

/// Tells every piece that a root reaches, some of them more than once.
///
/// Directories in `passed` were told of by an earlier root and are passed over. Memory: 32 bytes a
/// directory.
///
/// # Errors
/// Those of the store. Where anything is missing or damaged it ends: what is not told would be
/// taken for dead.
pub fn reached_pieces(
    store: &dyn PieceStore,
    root: &ChunkId,
    passed: &mut HashSet<ChunkId>,
    tell: &mut dyn FnMut(&ChunkId),
) -> Result<()> {
    tell(root);
    let root = read_root(store, root)?;
    walk(
        store,
        &root,
        &mut Reach {
            store,
            passed,
            tell,
        },
    )
}

struct Reach<'a> {
    store: &'a dyn PieceStore,
    passed: &'a mut HashSet<ChunkId>,
    tell: &'a mut dyn FnMut(&ChunkId),
}

impl Reach<'_> {
    /// Tells the pieces of a blob. Depth and links are bounded by their codec.
    fn blob(&mut self, top: &ChunkId, depth: u8) -> Result<()> {
        (self.tell)(top);
        if depth == 0 {
            return Ok(());
        }
        let node = ListNode::decode(&self.store.get(top)?)?;
        let links = node.0.iter().filter_map(|link| link.id);
        links
            .into_iter()
            .try_for_each(|id| self.blob(&id, depth - 1))
    }
}

impl Visitor for Reach<'_> {
    fn enter(&mut self, path: &[u8], entry: &Entry) -> Result<bool> {
        let new = match &entry.content {
            Some(BlobRef { top: Some(top), .. }) => self.passed.insert(*top),
            _ => true,
        };
        if new {
            self.leaf(path, entry)?;
        }
        Ok(new)
    }

    fn leave(&mut self, _: &[u8], _: &Entry) -> Result<()> {
        Ok(())
    }

    fn leaf(&mut self, _: &[u8], entry: &Entry) -> Result<()> {
        match entry.content {
            Some(BlobRef {
                top: Some(top),
                depth,
                ..
            }) => self.blob(&top, depth),
            _ => Ok(()),
        }
    }

    fn damage(&mut self, _: &[u8], error: Error) -> Result<()> {
        Err(error)
    }
}
