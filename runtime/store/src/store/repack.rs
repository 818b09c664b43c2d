//! Blocks of which little is still reached are written anew without the rest (formats.md, "gc and
//! concurrent writers").
//!
//! Block sets say which blocks a root reaches; which pieces, only its reader knows, who fills
//! [`Live`]. What is reached of a half-dead block is put as any piece is, and committed; then one
//! frame names every root again with its new block set, in the order they had. Until that frame
//! nothing has changed but that blocks were added; after it the old ones are for [`Store::gc`],
//! which keeps them for as long as a snapshot lists them.

use super::{put_named, read_exact, Store};
use crate::block::{Directory, Unpacker};
use crate::current::Current;
use crate::index::{Filter, Home};
use crate::record::{Record, Role};
use crate::{names, BlockSet, MAX_BLOCK_SET};
use asl_core::{BlockId, ChunkId, Digest, Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

/// The pieces that roots reach, as a filter of 10 bits each: one in sixty others passes for one.
pub struct Live(Filter);

impl Live {
    /// Takes a piece in.
    pub fn add(&mut self, id: &ChunkId) {
        self.0.add(id);
    }
}

/// What a repacking did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepackReport {
    /// Blocks of whose pieces' bytes at most half are reached, and which were written anew.
    pub blocks: BTreeSet<BlockId>,
    /// Their bytes.
    pub block_bytes: u64,
    /// Bytes of pieces in them that are reached, uncompressed.
    pub live_bytes: u64,
    /// Half-dead blocks left alone: held for a snapshot, or of an epoch that is not sealed to now.
    pub left: u64,
}

/// Bytes of a block's pieces.
#[derive(Clone, Copy, Default)]
struct Share {
    live: u64,
    all: u64,
}

impl Store {
    /// An empty [`Live`] with room for the pieces that are stored.
    pub fn live(&self) -> Live {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        Live(Filter::for_ids(index.entries()))
    }

    /// Writes half-dead blocks anew; `live` has to hold every piece that a root of CURRENT reaches.
    ///
    /// Blocks in `held` are left alone. `progress` is told blocks done and to do; `stop` is asked
    /// between blocks, and what was done by then is found known when it is called again.
    ///
    /// # Errors
    /// `Refused` where the store was opened read-only, or the open identity is not at hand;
    /// `Damage` where a block set or a block is not what was written; `Usage` where pieces wait for
    /// a commit; `Interrupted`, `Concurrent`, `Io`.
    pub fn repack(
        &mut self,
        live: &Live,
        held: &BTreeSet<BlockId>,
        dry_run: bool,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<RepackReport> {
        self.writable("repack")?;
        self.idle("repack")?;
        let epoch = self.sealable()?;
        let current = self.current();
        let sets = self.root_sets(&current)?;
        let mut report = RepackReport::default();
        for (id, (share, of)) in self.shares(live)? {
            let reached = sets.iter().any(|(_, set)| set.0.contains(&id));
            let stays = !reached || current.doomed.contains(&id);
            if stays || share.live > share.all / 2 {
                continue;
            }
            if held.contains(&id) || of != epoch {
                report.left += 1;
                continue;
            }
            report.block_bytes += current.blocks.get(&id).copied().unwrap_or(0);
            report.live_bytes += share.live;
            report.blocks.insert(id);
        }
        drop(current);
        if dry_run || report.blocks.is_empty() {
            return Ok(report);
        }
        report.blocks.iter().for_each(|id| self.mark(id, false));
        let done = self
            .put_again(&report.blocks, epoch, live, progress, stop)
            .and_then(|()| self.name_again(&sets, &report.blocks));
        self.front().session = None;
        if let Err(e) = done {
            let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
            present.retain(|id, _| !report.blocks.contains(id));
            return Err(e);
        }
        Ok(report)
    }

    fn root_sets(&self, current: &Current) -> Result<Vec<(ChunkId, BlockSet)>> {
        let read = |id: &ChunkId| {
            let digest = current.roots.get(id).copied();
            let digest = digest.unwrap_or_else(|| Digest::of(b""));
            let name = names::block_set(&digest)?;
            let bytes = read_exact(&*self.backend, &name, &digest, MAX_BLOCK_SET)?;
            Ok((*id, BlockSet::decode(&bytes)?))
        };
        current.root_order.iter().map(read).collect()
    }

    /// How much of each block is reached, and its epoch.
    fn shares(&self, live: &Live) -> Result<BTreeMap<BlockId, (Share, u32)>> {
        let mut shares: BTreeMap<BlockId, (Share, u32)> = BTreeMap::new();
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.each(&mut |home, at, again| {
            let (share, _) = shares
                .entry(home.id)
                .or_insert((Share::default(), home.epoch));
            // A block that two segments list counts once.
            if !again {
                share.all += u64::from(at.length);
                share.live += u64::from(at.length) * u64::from(live.0.may_hold(&at.id));
            }
        })?;
        Ok(shares)
    }

    /// Puts what is reached of the blocks, and commits it.
    fn put_again(
        &self,
        blocks: &BTreeSet<BlockId>,
        epoch: u32,
        live: &Live,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        self.begin_root()?;
        for (done, id) in (0u64..).zip(blocks) {
            progress(done, blocks.len() as u64);
            if stop() {
                let why = "it was stopped";
                return Err(Error::new(Kind::Interrupted, "repack", "blocks", why)
                    .next("nothing is lost; `asl-host gc --repack` goes on with it"));
            }
            let home = Home { id: *id, epoch };
            self.put_from(&home, live)?;
            self.commit_due(Duration::ZERO)?;
        }
        progress(blocks.len() as u64, blocks.len() as u64);
        self.commit_all()
    }

    fn put_from(&self, home: &Home, live: &Live) -> Result<()> {
        let (name, sealer) = (names::block(&home.id)?, self.sealer()?);
        let damaged = |e: Error| match e.kind() {
            Kind::Invalid => Error::new(Kind::Damage, "repack", &name, e.why()),
            _ => e,
        };
        let directory = self
            .read_block(home, |b| Directory::of(b))
            .map_err(damaged)?;
        let mut unpacker = Unpacker::new()?;
        for (row, extent) in directory.extents.iter().enumerate() {
            let of_it = directory
                .entries
                .iter()
                .filter(|e| e.extent as usize == row);
            let wanted: Vec<_> = of_it.filter(|e| live.0.may_hold(&e.id)).collect();
            if wanted.is_empty() {
                continue;
            }
            let start = u64::from(extent.offset);
            let range = start..start + u64::from(extent.stored);
            let stored = self
                .read_block(home, |b| b.read_range(range))
                .map_err(damaged)?;
            let plain = unpacker.unpack_exact(&stored, extent).map_err(damaged)?;
            for e in wanted {
                let from = e.inner as usize;
                let piece = plain
                    .get(from..from + e.length as usize)
                    .unwrap_or_default();
                if sealer.chunk_id(home.epoch, piece)? != e.id {
                    let why = format!("piece {} is not what was put", e.id);
                    return Err(Error::new(Kind::Damage, "repack", &name, why)
                        .next("run `asl-host verify`; nothing of it was changed"));
                }
                let tag = directory.tags.get(e.tag as usize);
                let tag = tag.ok_or_else(|| crate::wire::invalid("block", "a tag is none"))?;
                self.put_piece(e.id, tag, piece)?;
            }
        }
        Ok(())
    }

    /// Names the roots again from the first on that reached one of the blocks: in one frame, so that
    /// which is newer than which stays as it was.
    fn name_again(&self, sets: &[(ChunkId, BlockSet)], gone: &BTreeSet<BlockId>) -> Result<()> {
        let mut writer = self.writer();
        let new = {
            let front = self.front();
            let session = front.session.as_ref();
            session.map(|s| s.blocks.clone()).unwrap_or_default()
        };
        let is_hit = |(_, set): &&(ChunkId, BlockSet)| !set.0.is_disjoint(gone);
        let mut records = Vec::new();
        for (id, set) in sets.iter().skip_while(|root| !is_hit(root)) {
            let mut blocks = set.0.clone();
            if !blocks.is_disjoint(gone) {
                blocks.retain(|id| !gone.contains(id));
                blocks.extend(&new);
            }
            let bytes = BlockSet(blocks).encode()?;
            let set = Digest::of(&bytes);
            put_named(&*self.backend, &names::block_set(&set)?, &bytes)?;
            records.push(Record::AddIndexEntry {
                role: Role::Root,
                id: *id,
                set,
            });
        }
        self.backend.barrier()?;
        self.append_frame(&mut writer, &records, Vec::new())
            .map(drop)
    }
}
