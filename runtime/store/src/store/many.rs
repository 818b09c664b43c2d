//! Giving many pieces back at once, in the order in which they lie in their blocks.

use super::Store;
use crate::block::{cut, Codec, Located, Unpacker};
use crate::index::Home;
use asl_core::{BlockId, ChunkId, Result};
use std::collections::HashMap;
use std::sync::PoisonError;

/// Bytes of a block that are opened at once, where many of its pieces are wanted.
const RUN: u64 = 1 << 20;
/// A gap between two extents that is read sooner than passed over: a chunk of the stream.
const GAP: u64 = 64 << 10;

/// What is told of each piece asked for: its place in the question, and its bytes or why there are
/// none. Its error ends the reading.
pub type TakePiece<'t> = &'t mut dyn FnMut(usize, Result<&[u8]>) -> Result<()>;

struct Wanted {
    home: Home,
    /// When its block was first wanted: blocks are read in the order of the question.
    block: usize,
    at: Located,
    place: usize,
}

impl Wanted {
    fn end(&self) -> u64 {
        u64::from(self.at.offset) + u64::from(self.at.stored)
    }

    fn extent(&self) -> (BlockId, u32, u32, Codec) {
        (self.home.id, self.at.offset, self.at.stored, self.at.codec)
    }
}

impl Store {
    /// Reads committed pieces, each extent they lie in once, and checks that each has its id.
    ///
    /// `take` is told of every piece exactly once, in the order in which they lie in the blocks;
    /// its error ends the call. A piece that cannot be read is told last, as by
    /// [`Store::get_piece`]. Memory: an extent, and 1 MiB of a block.
    ///
    /// # Errors
    /// `Refused` where no key is at hand, and those of `take`.
    pub fn get_pieces(&self, ids: &[ChunkId], take: TakePiece<'_>) -> Result<()> {
        self.sealer()?;
        let mut missed = Vec::new();
        let mut wanted = self.locate(ids, &mut missed);
        wanted.sort_unstable_by_key(|w| (w.block, w.at.offset, w.at.inner, w.place));
        let mut unpacker = Unpacker::new()?;
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let (run, after) = rest.split_at(run_length(rest));
            self.read_run(run, &mut unpacker, &mut missed, take)?;
            rest = after;
        }
        // What is not right at its first place gets the whole search, and its own words.
        for place in missed {
            if let Some(id) = ids.get(place) {
                match self.get_piece(id) {
                    Ok(piece) => take(place, Ok(&piece))?,
                    Err(e) => take(place, Err(e))?,
                }
            }
        }
        Ok(())
    }

    fn locate(&self, ids: &[ChunkId], missed: &mut Vec<usize>) -> Vec<Wanted> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut blocks: HashMap<BlockId, usize> = HashMap::new();
        let mut wanted = Vec::with_capacity(ids.len());
        for (place, id) in ids.iter().enumerate() {
            let found = index.find(id).ok();
            let Some((home, at)) = found.and_then(|f| f.all.into_iter().next()) else {
                missed.push(place);
                continue;
            };
            let next = blocks.len();
            let block = *blocks.entry(home.id).or_insert(next);
            wanted.push(Wanted {
                home,
                block,
                at,
                place,
            });
        }
        wanted
    }

    fn read_run(
        &self,
        run: &[Wanted],
        unpacker: &mut Unpacker,
        missed: &mut Vec<usize>,
        take: TakePiece<'_>,
    ) -> Result<()> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return Ok(());
        };
        let start = u64::from(first.at.offset);
        let Ok(plain) = self.read_block(&first.home, |b| b.read_range(start..last.end())) else {
            missed.extend(run.iter().map(|w| w.place));
            return Ok(());
        };
        let sealer = self.sealer()?;
        for extent in run.chunk_by(|a, b| a.extent() == b.extent()) {
            let Some(head) = extent.first() else { continue };
            let from = head.at.offset.saturating_sub(first.at.offset) as usize;
            let stored = plain.get(from..from.saturating_add(head.at.stored as usize));
            let bytes = unpacker.unpack(stored.unwrap_or_default(), head.at.codec);
            for w in extent {
                let piece = bytes.as_ref().ok().and_then(|b| cut(b, &w.at).ok());
                match piece {
                    Some(piece) if sealer.chunk_id(w.home.epoch, piece)? == w.at.id => {
                        take(w.place, Ok(piece))?;
                    }
                    _ => missed.push(w.place),
                }
            }
        }
        Ok(())
    }
}

/// How many of these, which are sorted, are read at once: those that lie near to each other.
fn run_length(wanted: &[Wanted]) -> usize {
    let Some(first) = wanted.first() else {
        return 0;
    };
    let most = u64::from(first.at.offset) + RUN;
    let mut end = first.end();
    let near = |w: &&Wanted| {
        let fits = w.block == first.block
            && u64::from(w.at.offset) <= end.saturating_add(GAP)
            && (w.end() <= end || w.end() <= most);
        end = end.max(w.end());
        fits
    };
    1 + wanted.iter().skip(1).take_while(near).count()
}
