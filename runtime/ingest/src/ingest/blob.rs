//! Bytes into chunks, chunks into lists: one blob, streamed.
//!
//! Where chunks begin and end depends on the bytes and the domain's chunk sizes alone, so equal
//! bytes give equal pieces however they were read. A run of zero pages of at least
//! [`HOLE`](crate::HOLE) bytes is a hole; each run of data between holes is cut by FastCDC v2020,
//! or is one chunk where it is no longer than the average.

use super::cutter::Cutter;
use super::file::READ;
use super::session::{Session, Tag};
use crate::cache::Placing;
use crate::{Chunking, HOLE, PAGE};
use asl_core::codec::{BlobRef, Link, ListNode, FAN_OUT};
use asl_core::{Digest, Result};

/// Whether bytes are all zeros.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // In parts that the compiler compares wide: a C library's comparison may go byte by byte.
    let mut parts = bytes.chunks(256);
    parts.all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Writes one blob, piece by piece, in memory of a few chunks.
pub(crate) struct BlobWriter {
    cutter: Cutter,
    tag: Tag,
    /// Data of the current run that is not yet put.
    buffer: Vec<u8>,
    /// Whether the current run has been cut before.
    cut: bool,
    /// Zeros after the buffer, not yet known to be data or a hole.
    zeros: u64,
    levels: Vec<Vec<Link>>,
    hasher: blake3::Hasher,
    size: u64,
    placing: Placing,
}

/// A blob that was written.
pub(crate) struct Written {
    pub blob: BlobRef,
    /// Of its logical bytes.
    pub digest: Digest,
    /// Where its pieces are.
    pub placing: Placing,
}

impl BlobWriter {
    /// A writer of a file's bytes, or of a directory's sequence.
    pub(crate) fn new(chunking: Chunking, tag: Tag) -> Self {
        BlobWriter {
            cutter: Cutter::new(chunking),
            tag,
            buffer: Vec::new(),
            cut: false,
            zeros: 0,
            levels: vec![Vec::new()],
            hasher: blake3::Hasher::new(),
            size: 0,
            placing: Placing::default(),
        }
    }

    /// Adds bytes of a sequence, in which nothing is looked upon as a hole.
    pub(crate) fn sequence(&mut self, s: &mut Session, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.data(s, bytes)
    }

    /// Adds bytes of a file. All calls but the last give whole pages.
    pub(crate) fn pages(&mut self, s: &mut Session, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            let zero = count(rest, is_zero);
            self.zeros += zero as u64;
            rest = rest.get(zero..).unwrap_or_default();
            let data = count(rest, |page| !is_zero(page));
            if data > 0 {
                self.settle_zeros(s)?;
                self.data(s, rest.get(..data).unwrap_or_default())?;
                rest = rest.get(data..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Adds zeros that nobody had to read. All calls but the last give whole pages.
    pub(crate) fn hole(&mut self, s: &mut Session, bytes: u64) -> Result<()> {
        hash_zeros(&mut self.hasher, bytes, &mut || s.pulse())?;
        self.zeros += bytes;
        self.size += bytes;
        Ok(())
    }

    /// Puts what is left and answers where the blob is and the digest of its logical bytes.
    pub(crate) fn finish(mut self, s: &mut Session) -> Result<Written> {
        self.settle_zeros(s)?;
        self.end_run(s)?;
        if self.tag == Tag::Blob && self.buffer.capacity() > 0 {
            self.buffer.clear();
            s.room = std::mem::take(&mut self.buffer);
        }
        let digest = Digest::from(self.hasher.finalize());
        let (mut depth, size) = (0u8, self.size);
        let mut below = std::mem::take(&mut self.levels).into_iter().peekable();
        let mut level = below.next().unwrap_or_default();
        loop {
            let above = below.next();
            if above.is_none() && level.len() <= 1 {
                let top = level.first().and_then(|l| l.id);
                return Ok(Written {
                    blob: BlobRef { size, depth, top },
                    digest,
                    placing: self.placing,
                });
            }
            let mut up = above.unwrap_or_default();
            if !level.is_empty() {
                up.push(put_node(s, level, &mut self.placing)?);
            }
            level = up;
            depth += 1;
        }
    }

    /// Bytes counted so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn settle_zeros(&mut self, s: &mut Session) -> Result<()> {
        let zeros = std::mem::take(&mut self.zeros);
        if zeros >= HOLE {
            self.end_run(s)?;
            self.link(
                s,
                Link {
                    size: zeros,
                    id: None,
                },
            )
        } else {
            // Shorter than HOLE, so it fits any address space.
            let length = self.buffer.len() + zeros as usize;
            self.make_room(s);
            self.buffer.resize(length, 0);
            self.cut_full(s)
        }
    }

    fn data(&mut self, s: &mut Session, bytes: &[u8]) -> Result<()> {
        self.make_room(s);
        self.buffer.extend_from_slice(bytes);
        self.cut_full(s)
    }

    /// Cuts as long as the cut cannot depend on bytes that are still to come.
    fn cut_full(&mut self, s: &mut Session) -> Result<()> {
        let mut from = 0;
        while self.buffer.len() - from >= self.cutter.max {
            from = self.put_chunk(s, from)?;
        }
        self.buffer.drain(..from);
        Ok(())
    }

    /// A file takes a buffer with its first bytes: for a chunk, what is read at once, and zeros between.
    fn make_room(&mut self, s: &mut Session) {
        if self.tag == Tag::Blob && self.buffer.capacity() == 0 {
            self.buffer = std::mem::take(&mut s.room);
            let most = self.cutter.max + READ + HOLE as usize;
            self.buffer.reserve_exact(most);
        }
    }

    fn end_run(&mut self, s: &mut Session) -> Result<()> {
        if !self.cut && self.buffer.len() <= self.cutter.avg {
            if !self.buffer.is_empty() {
                let buffer = std::mem::take(&mut self.buffer);
                let put = self.put_piece(s, &buffer);
                self.buffer = buffer;
                self.buffer.clear();
                return put;
            }
            return Ok(());
        }
        let mut from = 0;
        while from < self.buffer.len() {
            from = self.put_chunk(s, from)?;
        }
        self.buffer.clear();
        self.cut = false;
        Ok(())
    }

    fn put_chunk(&mut self, s: &mut Session, from: usize) -> Result<usize> {
        let buffer = std::mem::take(&mut self.buffer);
        let rest = buffer.get(from..).unwrap_or_default();
        let length = self.cutter.first(rest);
        let put = self.put_piece(s, rest.get(..length).unwrap_or_default());
        self.buffer = buffer;
        self.cut = true;
        put.map(|()| from + length)
    }

    fn put_piece(&mut self, s: &mut Session, bytes: &[u8]) -> Result<()> {
        let id = Some(s.put(self.tag, bytes, &mut self.placing)?);
        let size = bytes.len() as u64;
        self.link(s, Link { size, id })
    }

    fn link(&mut self, s: &mut Session, link: Link) -> Result<()> {
        let mut link = link;
        for level in &mut self.levels {
            level.push(link);
            if level.len() < FAN_OUT {
                return Ok(());
            }
            link = put_node(s, std::mem::take(level), &mut self.placing)?;
        }
        self.levels.push(vec![link]);
        Ok(())
    }
}

fn put_node(s: &mut Session, links: Vec<Link>, placing: &mut Placing) -> Result<Link> {
    let node = ListNode(links);
    let size = node.size();
    let id = Some(s.put(Tag::List, &node.encode(), placing)?);
    Ok(Link { size, id })
}

/// Bytes at the start, in pages, of which this is true.
fn count(bytes: &[u8], like: impl Fn(&[u8]) -> bool) -> usize {
    let pages = bytes.chunks(PAGE).take_while(|p| like(p));
    pages.map(<[u8]>::len).sum()
}

/// Feeds zeros to a hash, with a look at the caller now and then.
pub(crate) fn hash_zeros(
    hasher: &mut blake3::Hasher,
    bytes: u64,
    pulse: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    static MANY: [u8; 64 << 10] = [0; 64 << 10];
    let (mut left, mut since) = (bytes, 0u64);
    while left > 0 {
        let n = left.min(MANY.len() as u64);
        hasher.update(MANY.get(..n as usize).unwrap_or_default());
        left -= n;
        since += n;
        if since >= 64 << 20 {
            since = 0;
            pulse()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{BlobReader, Part};
    use crate::testing::{noise, Pieces, Quiet};

    fn write(store: &Pieces, bytes: &[u8], step: usize) -> (BlobRef, Digest) {
        let mut s = Session::new(store, &Quiet).unwrap();
        let mut w = BlobWriter::new(s.chunking, Tag::Blob);
        for part in bytes.chunks(step) {
            w.pages(&mut s, part).unwrap();
        }
        finish(w, &mut s)
    }

    fn finish(w: BlobWriter, s: &mut Session) -> (BlobRef, Digest) {
        let written = w.finish(s).unwrap();
        (written.blob, written.digest)
    }

    fn read(store: &Pieces, blob: BlobRef) -> Vec<u8> {
        let mut reader = BlobReader::new(store, blob);
        let mut all = Vec::new();
        while let Some(part) = reader.next().unwrap() {
            match part {
                Part::Data(d) => all.extend(d),
                Part::Hole(n) => all.resize(all.len() + n as usize, 0),
                Part::Lost(n, e) => panic!("{n} {e}"),
            }
        }
        all
    }

    fn sparse() -> Vec<u8> {
        let mut bytes = noise(1, 300_000);
        bytes.resize(1 << 20, 0);
        bytes.extend(noise(2, 5000));
        bytes.resize(bytes.len() + 30_000, 0);
        bytes.extend(noise(3, 900_001));
        bytes
    }

    #[test]
    fn equal_bytes_are_equal_pieces_however_they_were_read() {
        let bytes = sparse();
        let store = Pieces::new();
        let first = write(&store, &bytes, PAGE);
        let pieces = store.len();
        for step in [3 * PAGE, 64 << 10, 1 << 20, 4 << 20] {
            assert_eq!(write(&store, &bytes, step), first);
        }
        assert_eq!(store.len(), pieces);
        assert_eq!(first.1, Digest::of(&bytes));
        assert!(read(&store, first.0) == bytes);
    }

    #[test]
    fn a_hole_told_by_the_file_system_is_the_same_as_zeros_read() {
        let store = Pieces::new();
        let (data, zeros) = (noise(9, 2 * PAGE), vec![0u8; 40 * PAGE]);
        let whole = write(&store, &[&data[..], &zeros, &data].concat(), 64 << 10);
        let mut s = Session::new(&store, &Quiet).unwrap();
        let mut w = BlobWriter::new(s.chunking, Tag::Blob);
        w.pages(&mut s, &data).unwrap();
        w.hole(&mut s, zeros.len() as u64).unwrap();
        w.pages(&mut s, &data).unwrap();
        assert_eq!(finish(w, &mut s), whole);
    }

    #[test]
    fn a_small_file_is_one_chunk_and_an_empty_one_is_none() {
        let store = Pieces::new();
        for size in [1, 100, 16 << 10, 64 << 10] {
            let (blob, _) = write(&store, &noise(4, size), 1 << 20);
            assert_eq!((blob.size, blob.depth), (size as u64, 0));
            assert!(store.len_of(&blob.top.unwrap()) == size);
        }
        let (blob, digest) = write(&store, &[], 1);
        assert_eq!((blob.size, blob.depth, blob.top), (0, 0, None));
        assert_eq!(digest, Digest::of(b""));
        for size in [200 << 10, (256 << 10) + 1] {
            assert!(write(&store, &noise(4, size), 1 << 20).0.depth > 0);
        }
    }

    #[test]
    fn zero_runs_are_holes_from_the_stated_length_on() {
        let store = Pieces::new();
        let with = |zeros: u64| {
            let bytes = [noise(5, PAGE), vec![0; zeros as usize], noise(6, PAGE)].concat();
            let (blob, _) = write(&store, &bytes, 1 << 20);
            assert!(read(&store, blob) == bytes);
            blob.depth
        };
        assert_eq!(with(HOLE - 3 * PAGE as u64), 0);
        assert_eq!(with(HOLE), 1);
        let (blob, _) = write(&store, &vec![0; HOLE as usize], PAGE);
        assert_eq!((blob.size, blob.top), (HOLE, None));
    }

    #[test]
    fn a_blob_of_more_chunks_than_one_node_holds_is_read_back_whole() {
        let store = Pieces::with_chunking(64, 256, 1024);
        for pages in [70usize, 200, 900] {
            let bytes = noise(pages as u64, pages * PAGE + 1);
            let (blob, _) = write(&store, &bytes, 16 * PAGE);
            assert!(read(&store, blob) == bytes, "{pages}");
            assert!(blob.depth >= 1 && blob.depth <= 3, "{}", blob.depth);
        }
    }

    #[test]
    fn exactly_full_nodes_do_not_lose_or_repeat_a_link() {
        let store = Pieces::new();
        let mut s = Session::new(&store, &Quiet).unwrap();
        for links in [
            1,
            2,
            FAN_OUT - 1,
            FAN_OUT,
            FAN_OUT + 1,
            2 * FAN_OUT,
            FAN_OUT * FAN_OUT + 1,
        ] {
            let mut w = BlobWriter::new(s.chunking, Tag::Blob);
            for _ in 0..links {
                let id = Some(s.put(Tag::Blob, b"x", &mut w.placing).unwrap());
                w.link(&mut s, Link { size: 1, id }).unwrap();
                w.size += 1;
            }
            let (blob, _) = finish(w, &mut s);
            assert!(read(&store, blob) == vec![b'x'; links], "{links}");
        }
    }

    #[test]
    fn one_changed_byte_changes_few_chunks() {
        let store = Pieces::new();
        let mut bytes = noise(7, 4 << 20);
        write(&store, &bytes, 1 << 20);
        let before = store.len();
        bytes.insert(2 << 20, b'!');
        write(&store, &bytes, 1 << 20);
        assert!(store.len() - before <= 4, "{} new", store.len() - before);
    }
}
