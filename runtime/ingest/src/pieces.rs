//! The one door to the store: pieces in and out, commits, roots.
//!
//! Only what both directions need may be here. The implementation over a domain's store lies
//! outside; the tests of this crate use memory.

use asl_core::{BlockId, ChunkId, Error, FrameHash, Kind, LogSeq, Result, TypeTag};
use asl_host::TakePiece;
use fastcdc::v2020::{
    AVERAGE_MAX, AVERAGE_MIN, MAXIMUM_MAX, MAXIMUM_MIN, MINIMUM_MAX, MINIMUM_MIN,
};

/// Chunk sizes of a domain in bytes, fixed at its creation (formats.md, "Chunks").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// No chunk but the last of a run of data is shorter.
    pub min: u32,
    /// The size aimed at; a run of data of at most this size is one chunk.
    pub avg: u32,
    /// No chunk is longer.
    pub max: u32,
}

impl Chunking {
    /// Checks that FastCDC v2020 can cut with these sizes.
    ///
    /// # Errors
    /// `Invalid` where a size is odd, out of the algorithm's range, or out of order.
    pub fn check(&self) -> Result<()> {
        let within = |n: u32, least: usize, most: usize| {
            n.is_multiple_of(2) && (least..=most).contains(&(n as usize))
        };
        let good = within(self.min, MINIMUM_MIN, MINIMUM_MAX)
            && within(self.avg, AVERAGE_MIN, AVERAGE_MAX)
            && within(self.max, MAXIMUM_MIN, MAXIMUM_MAX)
            && self.min <= self.avg
            && self.avg <= self.max;
        if good {
            return Ok(());
        }
        Err(Error::new(
            Kind::Invalid,
            "use",
            "chunk sizes",
            format!(
                "{}, {} and {} bytes are not sizes FastCDC cuts with",
                self.min, self.avg, self.max
            ),
        )
        .next("create the domain with even sizes in order, such as 16384, 65536 and 262144"))
    }
}

/// What the store acknowledged: everything put before is committed at this head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The log position: records before it.
    pub logseq: LogSeq,
    /// The frame hash of the head, which is read aloud as words.
    pub frame: FrameHash,
    /// True where it lies on durable media, false where the store is volatile.
    pub durable: bool,
    /// Stored bytes of the domain so far: blocks, segments, frames and manifests.
    pub stored_bytes: u64,
}

/// What ingest and restore see of a store.
///
/// All calls may block. `put` may return before the bytes are durable; `commit_due` and
/// `finish_root` say when they are.
pub trait PieceStore: Send + Sync {
    /// The chunk sizes of the domain.
    fn chunking(&self) -> Chunking;
    /// The name these bytes have in the domain (keyed where it is encrypted).
    ///
    /// # Errors
    /// `Refused` where the domain's key is not at hand.
    fn chunk_id(&self, bytes: &[u8]) -> Result<ChunkId>;
    /// Stores a piece under its name; false where it was stored already.
    ///
    /// # Errors
    /// Whatever the store answers; ingest stops at it.
    fn put(&self, id: ChunkId, tag: &TypeTag, bytes: &[u8]) -> Result<bool>;
    /// Commits where a commit is due, by amount or by time. Called often.
    ///
    /// # Errors
    /// Whatever the store answers; ingest stops at it.
    fn commit_due(&self) -> Result<Option<Acknowledged>>;
    /// Begins a root: what is put from here to [`PieceStore::finish_root`] belongs to it.
    ///
    /// # Errors
    /// Whatever the store answers.
    fn begin_root(&self) -> Result<()>;
    /// Stores the root piece, commits everything and files the root.
    ///
    /// # Errors
    /// Whatever the store answers.
    fn finish_root(&self, root: &[u8]) -> Result<(ChunkId, Acknowledged)>;
    /// Reads a piece and checks that it has that name.
    ///
    /// # Errors
    /// `NotFound`, `Damage`, or `Refused` where the open identity is not at hand.
    fn get(&self, id: &ChunkId) -> Result<Vec<u8>>;
    /// Reads many pieces, each checked as by `get`, in the order that suits the store.
    ///
    /// `take` is told of every one once: its place in `ids`, and its bytes or why there are none.
    ///
    /// # Errors
    /// Those of `take`, which end the call, and the store's where they concern all pieces.
    fn get_many(&self, ids: &[ChunkId], take: TakePiece<'_>) -> Result<()> {
        for (place, id) in ids.iter().enumerate() {
            match self.get(id) {
                Ok(piece) => take(place, Ok(&piece))?,
                Err(e) => take(place, Err(e))?,
            }
        }
        Ok(())
    }

    /// The committed block in which a piece lies; `None` while it is on its way.
    ///
    /// # Errors
    /// Whatever the store answers.
    fn block_of(&self, id: &ChunkId) -> Result<Option<BlockId>>;
    /// Takes a block into the root under way, without putting its pieces again; false where they
    /// are not known any more.
    ///
    /// # Errors
    /// Whatever the store answers.
    fn rely_on(&self, block: &BlockId) -> Result<bool>;
    /// A key of the domain for one use by working files.
    ///
    /// # Errors
    /// `Refused` where the domain's keys are not at hand.
    fn working_key(&self, about: &[u8]) -> Result<[u8; 32]>;
    /// The names of the domain's working files, sorted.
    ///
    /// # Errors
    /// Whatever the store answers.
    fn working_files(&self) -> Result<Vec<String>>;
    /// Reads a working file, proven to be this domain's own under this name.
    ///
    /// # Errors
    /// Whatever the store answers; then it is not to be believed.
    fn read_working(&self, name: &str) -> Result<Vec<u8>>;
    /// Writes a working file in place of the one of that name.
    ///
    /// # Errors
    /// Whatever the store answers.
    fn write_working(&self, name: &str, content: &[u8]) -> Result<()>;
    /// Removes a working file.
    ///
    /// # Errors
    /// Whatever the store answers.
    fn remove_working(&self, name: &str) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_that_cannot_be_cut_with_are_refused() {
        let check = |min, avg, max| Chunking { min, avg, max }.check();
        assert!(check(16 << 10, 64 << 10, 256 << 10).is_ok());
        assert!(check(512 << 10, 2 << 20, 8 << 20).is_ok());
        for (min, avg, max) in [
            (0, 64 << 10, 256 << 10),
            (16 << 10, 0, 256 << 10),
            (16 << 10, 64 << 10, 0),
            (16385, 64 << 10, 256 << 10),
            (64 << 10, 16 << 10, 256 << 10),
            (16 << 10, 64 << 10, 32 << 10),
            (u32::MAX - 1, u32::MAX - 1, u32::MAX - 1),
        ] {
            let e = check(min, avg, max).unwrap_err();
            assert!(!e.what_next().is_empty(), "{e}");
        }
    }
}
