//! Which paths of a stored tree have lost pieces.

use crate::walk::{read_root, walk, Visitor};
use crate::PieceStore;
use asl_core::codec::{BlobRef, Entry, ListNode};
use asl_core::{ChunkId, Error, Kind, Result};

/// Tells the path of every file or directory of a root whose content is not all here.
///
/// `holds` says whether a piece is here; directories and lists are read, the bytes of files are
/// not. A root that cannot be read itself is told as the empty path.
///
/// # Errors
/// Those of `holds` and of the store that are not about one piece.
pub fn lost_paths(
    store: &dyn PieceStore,
    root: &ChunkId,
    holds: &dyn Fn(&ChunkId) -> Result<bool>,
    tell: &mut dyn FnMut(&[u8]),
) -> Result<()> {
    let root = match read_root(store, root) {
        Err(e) if about_a_piece(&e) => {
            tell(b"");
            return Ok(());
        }
        read => read?,
    };
    walk(store, &root, &mut Missing { store, holds, tell })
}

struct Missing<'a> {
    store: &'a dyn PieceStore,
    holds: &'a dyn Fn(&ChunkId) -> Result<bool>,
    tell: &'a mut dyn FnMut(&[u8]),
}

impl Missing<'_> {
    /// Whether all pieces of a blob are here. Depth and links are bounded by their codec.
    fn whole(&self, top: Option<ChunkId>, depth: u8) -> Result<bool> {
        let Some(top) = top else {
            return Ok(true);
        };
        if depth == 0 {
            return (self.holds)(&top);
        }
        let node = match self
            .store
            .get(&top)
            .and_then(|bytes| ListNode::decode(&bytes))
        {
            Err(e) if about_a_piece(&e) => return Ok(false),
            read => read?,
        };
        for link in node.0 {
            if !self.whole(link.id, depth - 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Visitor for Missing<'_> {
    fn enter(&mut self, _: &[u8], _: &Entry) -> Result<bool> {
        Ok(true)
    }

    fn leave(&mut self, _: &[u8], _: &Entry) -> Result<()> {
        Ok(())
    }

    fn leaf(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        if let Some(BlobRef { top, depth, .. }) = entry.content {
            if !self.whole(top, depth)? {
                (self.tell)(path);
            }
        }
        Ok(())
    }

    fn damage(&mut self, path: &[u8], _: Error) -> Result<()> {
        (self.tell)(path);
        Ok(())
    }
}

fn about_a_piece(e: &Error) -> bool {
    matches!(e.kind(), Kind::Damage | Kind::NotFound | Kind::Invalid)
}
