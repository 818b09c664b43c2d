//! The one way through a stored tree, for restoring and for listing.

use crate::os::is_component;
use crate::read::{ends_all, TreeReader};
use crate::{PieceStore, DEEPEST};
use asl_core::codec::{tree_key, Entry, EntryKind, Root};
use asl_core::{ChunkId, Error, Kind, Result};

/// Bytes of directories held open at most, one below the other.
pub(crate) const HELD: usize = 32 << 20;

/// What is done on the way. An error ends the walk.
pub(crate) trait Visitor {
    /// A directory, before what is in it; false passes over what is in it.
    fn enter(&mut self, path: &[u8], entry: &Entry) -> Result<bool>;
    /// The directory again, after what is in it.
    fn leave(&mut self, path: &[u8], entry: &Entry) -> Result<()>;
    /// Anything else.
    fn leaf(&mut self, path: &[u8], entry: &Entry) -> Result<()>;
    /// Something that is not as it was stored.
    fn damage(&mut self, path: &[u8], error: Error) -> Result<()>;
}

struct Level<'a> {
    entry: Entry,
    reader: TreeReader<'a>,
    public: blake3::Hasher,
    last: Vec<u8>,
    path: usize,
    held: usize,
    whole: bool,
}

/// Reads a root piece.
pub(crate) fn read_root(store: &dyn PieceStore, root: &ChunkId) -> Result<Root> {
    Root::decode(&store.get(root)?)
}

/// Walks the tree of a root in the order of its names.
///
/// Every directory is checked against its key. A directory that cannot be read on is told as
/// damage, and the walk goes on after it.
///
/// # Errors
/// `Damage` where there are more entries than the root states, and the visitor's own.
pub(crate) fn walk(store: &dyn PieceStore, root: &Root, visitor: &mut dyn Visitor) -> Result<()> {
    let mut walk = Walk {
        store,
        visitor,
        left: root.entries,
        path: Vec::new(),
        held: 0,
    };
    let mut stack = Vec::new();
    stack.extend(walk.meet(root.top.clone(), 0)?);
    while let Some(level) = stack.last_mut() {
        walk.path.truncate(level.path);
        match walk.next(level)? {
            Some(entry) => {
                if !walk.path.is_empty() {
                    walk.path.push(b'/');
                }
                walk.path.extend_from_slice(&entry.name);
                if let Some(below) = walk.meet(entry, stack.len())? {
                    if let Some(above) = stack.last_mut() {
                        walk.hold(above);
                    }
                    stack.push(below);
                }
            }
            None => {
                if let Some(level) = stack.pop() {
                    walk.held -= level.held;
                    walk.visitor.leave(&walk.path, &level.entry)?;
                }
            }
        }
    }
    Ok(())
}

struct Walk<'a, 'v> {
    store: &'a dyn PieceStore,
    visitor: &'v mut dyn Visitor,
    left: u64,
    path: Vec<u8>,
    held: usize,
}

impl<'a> Walk<'a, '_> {
    /// The next entry of a directory; at its end, or where it breaks, none.
    fn next(&mut self, level: &mut Level<'a>) -> Result<Option<Entry>> {
        if !level.whole {
            return Ok(None);
        }
        let broken = match level.reader.next() {
            Ok(Some(entry)) if level.last < entry.name => {
                level.public.update(&entry.encode_public());
                level.last.clone_from(&entry.name);
                return Ok(Some(entry));
            }
            Ok(Some(_)) => damaged(&self.path, "its names are out of order or stand twice"),
            Ok(None) => {
                let key = tree_key(&level.public.clone().finalize().into());
                if level.entry.key == Some(key) {
                    return Ok(None);
                }
                damaged(
                    &self.path,
                    "its entries do not have the key they were stored under",
                )
            }
            Err(e) if ends_all(&e) => return Err(e),
            Err(e) => e,
        };
        level.whole = false;
        self.visitor.damage(&self.path, broken)?;
        Ok(None)
    }

    /// Hands an entry to the visitor; a directory to go into comes back.
    fn meet(&mut self, entry: Entry, depth: usize) -> Result<Option<Level<'a>>> {
        if self.left == 0 {
            return Err(damaged(
                &self.path,
                "the tree has more entries than its root states",
            ));
        }
        self.left -= 1;
        if let Some(why) = misshapen(&entry) {
            self.visitor.damage(&self.path, damaged(&self.path, why))?;
            return Ok(None);
        }
        if entry.kind != EntryKind::Directory {
            self.visitor.leaf(&self.path, &entry)?;
            return Ok(None);
        }
        if depth >= DEEPEST {
            let why = "it lies deeper than any tree that is stored";
            self.visitor.damage(&self.path, damaged(&self.path, why))?;
            return Ok(None);
        }
        if !self.visitor.enter(&self.path, &entry)? {
            return Ok(None);
        }
        let Some(blob) = entry.content else {
            self.visitor.leave(&self.path, &entry)?;
            return Ok(None);
        };
        Ok(Some(Level {
            reader: TreeReader::new(self.store, blob),
            public: blake3::Hasher::new(),
            last: Vec::new(),
            path: self.path.len(),
            held: 0,
            whole: true,
            entry,
        }))
    }

    /// Keeps what a directory has read ahead while the walk is below it, or gives it back.
    fn hold(&mut self, level: &mut Level<'a>) {
        self.held -= level.held;
        level.held = level.reader.held();
        if self.held + level.held > HELD {
            level.reader.park();
            level.held = 0;
        }
        self.held += level.held;
    }
}

/// What makes an entry one that no ingest writes.
fn misshapen(entry: &Entry) -> Option<&'static str> {
    let has_content = matches!(entry.kind, EntryKind::File | EntryKind::Directory);
    if !is_component(&entry.name) {
        Some("its name could leave its directory")
    } else if entry.kind == EntryKind::Directory && entry.hard_link.is_some() {
        Some("a directory cannot be a hard link")
    } else if !has_content && (entry.content.is_some() || entry.key.is_some()) {
        Some("only files and directories have content")
    } else if entry.content.is_some() != entry.key.is_some() {
        Some("content and key belong together")
    } else {
        None
    }
}

fn damaged(path: &[u8], why: &str) -> Error {
    Error::new(Kind::Damage, "read", shown(path), why)
        .next("run `asl-host verify`; a holder of the domain may have the undamaged blocks")
}

/// A path for people: quoted, with what could steer a terminal escaped.
pub(crate) fn shown(path: &[u8]) -> String {
    let path = if path.is_empty() { b"." } else { path };
    format!("{:?}", String::from_utf8_lossy(path))
}
