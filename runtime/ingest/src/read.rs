//! Blobs and directories read back, in bounded memory and bounded work.
//!
//! Nothing a store answers is believed: a piece must have the size its link states, a node the sum
//! of its links, and no link may stand for nothing. So each step of a reader is paid for by a byte
//! of the stated size, and a tree made to exhaust its reader ends at the size it states.

use asl_core::canon::Limits;
use asl_core::codec::{BlobRef, Entry, Link, ListNode};
use asl_core::{ChunkId, Error, Kind, Result};

use crate::PieceStore;

/// Encoded entries read ahead at least, in bytes: the longest entry there may be.
const AHEAD: usize = Limits::ENTRY.bytes;

/// A stretch of a blob.
#[derive(Debug)]
pub(crate) enum Part {
    /// These bytes.
    Data(Vec<u8>),
    /// That many zeros.
    Hole(u64),
    /// That many bytes which the store cannot give, and why.
    Lost(u64, Error),
}

/// Whether an error ends a whole restore, and not just what it hit.
pub(crate) fn ends_all(e: &Error) -> bool {
    matches!(
        e.kind(),
        Kind::Refused | Kind::Interrupted | Kind::Concurrent | Kind::Usage
    )
}

fn damage(why: &str) -> Error {
    Error::new(Kind::Damage, "read", "a blob", why)
        .next("run `asl-host verify`; a holder of the domain may have the undamaged blocks")
}

/// A stretch of a blob as its list nodes tell it: no piece of data is read for it.
#[derive(Debug)]
pub(crate) enum Stretch {
    /// A piece of that many bytes, to be taken from `skip` on.
    Piece { id: ChunkId, size: u64, skip: u64 },
    /// That many zeros.
    Hole(u64),
    /// That many bytes which the store cannot tell of, and why.
    Lost(u64, Error),
}

struct Node {
    links: std::vec::IntoIter<Link>,
    depth: u8,
}

/// Tells the stretches of one blob from an offset on.
pub(crate) struct Stretches<'a> {
    store: &'a dyn PieceStore,
    blob: BlobRef,
    begun: bool,
    skip: u64,
    nodes: Vec<Node>,
}

impl<'a> Stretches<'a> {
    /// The stretches from a byte on.
    pub(crate) fn at(store: &'a dyn PieceStore, blob: BlobRef, offset: u64) -> Self {
        Stretches {
            store,
            blob,
            begun: false,
            skip: offset,
            nodes: Vec::new(),
        }
    }

    /// The next stretch; their lengths add up to the blob's size.
    ///
    /// # Errors
    /// Only those that end everything, such as a key that is not at hand.
    pub(crate) fn next(&mut self) -> Result<Option<Stretch>> {
        while let Some((link, depth)) = self.next_link() {
            if link.size == 0 {
                // An empty blob has no piece; below a node there is no empty link.
                continue;
            }
            if self.skip >= link.size {
                self.skip -= link.size;
                continue;
            }
            let skip = self.skip;
            let left = link.size - skip;
            let size = link.size;
            if link.id.is_none() || depth == 0 {
                self.skip = 0;
            }
            let Some(id) = link.id else {
                return Ok(Some(Stretch::Hole(left)));
            };
            if depth == 0 {
                return Ok(Some(Stretch::Piece { id, size, skip }));
            }
            match self.store.get(&id).and_then(|piece| node(&piece, size)) {
                Ok(node) => {
                    let (links, depth) = (node.0.into_iter(), depth - 1);
                    self.nodes.push(Node { links, depth });
                }
                Err(e) if ends_all(&e) => return Err(e),
                Err(e) => {
                    self.skip = 0;
                    return Ok(Some(Stretch::Lost(left, e)));
                }
            }
        }
        Ok(None)
    }

    fn next_link(&mut self) -> Option<(Link, u8)> {
        if !self.begun {
            self.begun = true;
            let BlobRef { size, depth, top } = self.blob;
            return Some((Link { size, id: top }, depth));
        }
        loop {
            let node = self.nodes.last_mut()?;
            let depth = node.depth;
            if let Some(link) = node.links.next() {
                return Some((link, depth));
            }
            self.nodes.pop();
        }
    }
}

/// Reads one blob from an offset on, piece after piece.
pub(crate) struct BlobReader<'a>(Stretches<'a>);

impl<'a> BlobReader<'a> {
    /// A reader from the first byte on.
    pub(crate) fn new(store: &'a dyn PieceStore, blob: BlobRef) -> Self {
        BlobReader::at(store, blob, 0)
    }

    /// A reader from a byte on.
    pub(crate) fn at(store: &'a dyn PieceStore, blob: BlobRef, offset: u64) -> Self {
        BlobReader(Stretches::at(store, blob, offset))
    }

    /// The next stretch; their lengths add up to the blob's size.
    ///
    /// # Errors
    /// Only those that end everything, such as a key that is not at hand.
    pub(crate) fn next(&mut self) -> Result<Option<Part>> {
        let (id, size, skip) = match self.0.next()? {
            None => return Ok(None),
            Some(Stretch::Hole(n)) => return Ok(Some(Part::Hole(n))),
            Some(Stretch::Lost(n, e)) => return Ok(Some(Part::Lost(n, e))),
            Some(Stretch::Piece { id, size, skip }) => (id, size, skip),
        };
        let read = self.0.store.get(&id).and_then(|mut piece| {
            sized(&piece, size)?;
            piece.drain(..skip as usize);
            Ok(piece)
        });
        match read {
            Ok(bytes) => Ok(Some(Part::Data(bytes))),
            Err(e) if ends_all(&e) => Err(e),
            Err(e) => Ok(Some(Part::Lost(size - skip, e))),
        }
    }
}

/// Checks that a piece is as long as its link states.
pub(crate) fn sized(piece: &[u8], size: u64) -> Result<()> {
    if piece.len() as u64 == size {
        return Ok(());
    }
    Err(damage("a piece has another size than its link states"))
}

fn node(piece: &[u8], size: u64) -> Result<ListNode> {
    let node = ListNode::decode(piece)?;
    let mut sum = 0u64;
    for link in &node.0 {
        sum = match sum.checked_add(link.size) {
            Some(sum) if link.size > 0 => sum,
            _ => return Err(damage("a list node has a link that stands for nothing")),
        };
    }
    if sum != size {
        return Err(damage("a list node's links do not add up to its size"));
    }
    Ok(node)
}

/// Reads the entries of one directory.
pub(crate) struct TreeReader<'a> {
    store: &'a dyn PieceStore,
    blob: BlobRef,
    reader: BlobReader<'a>,
    ended: bool,
    buffer: Vec<u8>,
    start: usize,
    /// Bytes of entries given out.
    used: u64,
}

impl<'a> TreeReader<'a> {
    /// A reader of the directory's entries.
    pub(crate) fn new(store: &'a dyn PieceStore, blob: BlobRef) -> Self {
        TreeReader {
            store,
            blob,
            reader: BlobReader::new(store, blob),
            ended: false,
            buffer: Vec::new(),
            start: 0,
            used: 0,
        }
    }

    /// The next entry.
    ///
    /// # Errors
    /// `Damage` or `Invalid` where the directory cannot be read on, and those that end everything.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        self.fill()?;
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let (entry, length) = Entry::decode_first(rest)?;
        self.start += length;
        self.used += length as u64;
        Ok(Some(entry))
    }

    /// Bytes of memory it holds.
    pub(crate) fn held(&self) -> usize {
        self.buffer.capacity() + self.reader.0.nodes.len() * (48 << 10)
    }

    /// Gives its memory back; the next entry is read anew.
    pub(crate) fn park(&mut self) {
        self.buffer = Vec::new();
        self.start = 0;
        self.ended = false;
        self.reader = BlobReader::at(self.store, self.blob, self.used);
    }

    fn fill(&mut self) -> Result<()> {
        if self.ended || self.buffer.len() - self.start >= AHEAD {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        while self.buffer.len() < 2 * AHEAD {
            match self.reader.next()? {
                Some(Part::Data(bytes)) if self.buffer.is_empty() => self.buffer = bytes,
                Some(Part::Data(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Part::Hole(_)) => return Err(damage("a directory has a hole")),
                Some(Part::Lost(_, e)) => return Err(e),
                None => {
                    self.ended = true;
                    break;
                }
            }
        }
        Ok(())
    }
}
