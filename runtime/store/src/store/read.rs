//! Giving pieces back.

use super::Store;
use crate::block::{cut, Codec, Located, Unpacker};
use crate::index::Home;
use crate::names;
use asl_core::{BlockId, ChunkId, Error, Kind, Result};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, MutexGuard, PoisonError};

impl Store {
    /// Reads a committed piece, and checks that its bytes have its id.
    ///
    /// Only the extent it lies in is opened. Where one block that holds it is missing or damaged,
    /// another is tried.
    ///
    /// # Errors
    /// `NotFound` where no trusted segment names it, or its block is not here; `Refused` where the
    /// key is not at hand; `Damage` where what is stored is not the piece; `Io`.
    pub fn get_piece(&self, id: &ChunkId) -> Result<Vec<u8>> {
        self.sealer()?;
        let found = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            index.find(id)?
        };
        let mut error = found.damage.unwrap_or_else(|| {
            let piece = format!("piece {id}");
            Error::new(Kind::NotFound, "read", piece, "no commit here names it")
        });
        let mut first = true;
        for (home, at) in found.all {
            match self.read_from(&home, &at) {
                Ok(bytes) => return Ok(bytes),
                Err(e) if std::mem::take(&mut first) => error = e,
                Err(_) => {}
            }
        }
        Err(error)
    }

    fn read_from(&self, home: &Home, at: &Located) -> Result<Vec<u8>> {
        let sealer = self.sealer()?;
        let name = names::block(&home.id)?;
        let damaged = |e: Error| match e.kind() {
            Kind::Invalid => Error::new(Kind::Damage, "read", &name, e.why()),
            _ => e,
        };
        let piece = self
            .extent(home, at)
            .and_then(|plain| cut(&plain, at).map(<[u8]>::to_vec))
            .map_err(damaged);
        let right = match &piece {
            Ok(bytes) => sealer.chunk_id(home.epoch, bytes)? == at.id,
            Err(e) if e.kind() == Kind::Damage => false,
            Err(_) => return piece,
        };
        if right {
            return piece;
        }
        self.distrust(&home.id);
        let why = "what is stored is not what was written";
        piece.and(Err(Error::new(Kind::Damage, "read", &name, why).next(
            "run `asl-host verify`, and repair the block from a holder",
        )))
    }

    /// A decoded extent: neighbours in a tree lie in one extent, so the last ones are kept.
    fn extent(&self, home: &Home, at: &Located) -> Result<Arc<Vec<u8>>> {
        let key = (home.id, at.offset);
        if let Some(plain) = self.extents().get(&key) {
            return Ok(plain);
        }
        let start = u64::from(at.offset);
        let range = start..start + u64::from(at.stored);
        let stored = self.read_block(home, |block| block.read_range(range))?;
        let plain = match at.codec {
            Codec::Raw => stored,
            Codec::Zstd => Unpacker::new()?.unpack(&stored, at.codec)?.to_vec(),
        };
        let plain = Arc::new(plain);
        self.extents().keep(key, Arc::clone(&plain));
        Ok(plain)
    }

    pub(super) fn extents(&self) -> MutexGuard<'_, Extents> {
        self.extents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The extents read last: up to [`Extents::MOST`] bytes of them, or one; the oldest goes first.
#[derive(Default)]
pub(super) struct Extents {
    held: HashMap<(BlockId, u32), Arc<Vec<u8>>>,
    order: VecDeque<(BlockId, u32)>,
    bytes: usize,
}

impl Extents {
    /// 8 MiB: some sixty directories' worth.
    const MOST: usize = 8 << 20;

    fn get(&self, key: &(BlockId, u32)) -> Option<Arc<Vec<u8>>> {
        self.held.get(key).map(Arc::clone)
    }

    /// Drops what was read of a block whose file is about to be another, or cannot be trusted.
    pub(super) fn forget(&mut self, block: &BlockId) {
        let of_it = |key: &(BlockId, u32)| key.0 == *block;
        self.order.retain(|key| !of_it(key));
        let mut freed = 0;
        self.held.retain(|key, plain| {
            freed += if of_it(key) { plain.len() } else { 0 };
            !of_it(key)
        });
        self.bytes = self.bytes.saturating_sub(freed);
    }

    fn keep(&mut self, key: (BlockId, u32), plain: Arc<Vec<u8>>) {
        self.bytes += plain.len();
        if let Some(before) = self.held.insert(key, plain) {
            self.bytes -= before.len();
        } else {
            self.order.push_back(key);
        }
        while self.bytes > Self::MOST && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            self.bytes -= self.held.remove(&oldest).map_or(0, |e| e.len());
        }
    }
}
