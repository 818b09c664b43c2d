//! Letting go of what is no longer wanted (verb gc of the state table).

use super::StoreHandle;
use crate::capability::Verb;
use crate::hostlog::HostRecord;
use crate::pins::pinned;
use asl_core::{BlockId, ChunkId, Error, Kind, Result, SnapshotId, Timestamp};
use asl_store::{Ack, GcOptions, GcReport, Live, RepackReport, RepairReport, Store};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::Arc;

impl StoreHandle {
    /// Forgets snapshots and lets roots go; what only they reached is for [`StoreHandle::gc`].
    ///
    /// # Errors
    /// `Refused` by state, for a snapshot that is pinned, and for the newest; `NotFound`;
    /// `Damage` where the host log is broken: pins are never guessed; `Concurrent`, `Io`.
    pub fn forget(&self, snapshots: &[SnapshotId], roots: &[ChunkId]) -> Result<Ack> {
        self.allow(Verb::Gc, 0)?;
        let pins = pinned(&self.host_log)?;
        if let Some((id, pin)) = snapshots.iter().find_map(|id| Some((id, pins.get(id)?))) {
            let why = match pin.why.as_str() {
                "" => "it is pinned".to_string(),
                why => format!("it is pinned: {why}"),
            };
            return Err(Error::new(Kind::Refused, "forget", id, why)
                .next(format!("unpin it first: `asl-host snapshot unpin {id}`")));
        }
        let ack = self.store.forget(snapshots, roots)?;
        self.remember_head()?;
        Ok(ack)
    }

    /// Collects what neither a root nor a snapshot reaches, and what crashed writers left; needs
    /// no key.
    ///
    /// # Errors
    /// `Refused` by state; `Damage` where it is not known what is reached: nothing goes then;
    /// `Interrupted`, `Concurrent`, `Io`.
    pub fn gc(&mut self, options: GcOptions, stop: &dyn Fn() -> bool) -> Result<GcReport> {
        self.allow(Verb::Gc, 0)?;
        let done = self.alone()?.gc(options, stop);
        self.remember_head()?;
        let report = done?;
        if !options.dry_run {
            self.orphans.store(0, Ordering::Relaxed);
        }
        Ok(report)
    }

    /// An empty list of pieces that roots reach, for [`StoreHandle::repack`].
    pub fn live(&self) -> Live {
        self.store.live()
    }

    /// Writes half-dead blocks anew, of whose pieces `live` holds those that are reached; the old
    /// ones are for [`StoreHandle::gc`]. Blocks that a pinned snapshot lists are left alone.
    ///
    /// # Errors
    /// `Refused` by state, and without the open identity; else as [`Store::repack`].
    pub fn repack(
        &mut self,
        live: &Live,
        dry_run: bool,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<RepackReport> {
        self.allow(Verb::Gc, 0)?;
        self.allow(Verb::SealBlock, 0)?;
        let pins = pinned(&self.host_log)?;
        let mut held = BTreeSet::new();
        for (id, manifest) in self.store.manifests() {
            if pins.contains_key(&id) {
                held.extend(self.store.snapshot_blocks(&manifest?)?.0);
            }
        }
        let done = self.alone()?.repack(live, &held, dry_run, progress, stop);
        self.remember_head()?;
        done
    }

    /// Whether a committed piece is here, as far as a trusted segment and its block's file say.
    ///
    /// # Errors
    /// `Refused` without a key; `Io`.
    pub fn holds(&self, id: &ChunkId) -> Result<bool> {
        self.store.contains(id)
    }

    /// Repairs what can be repaired from what is here, and records the blocks that are lost on
    /// this host (DAMAGED in the host log), each once.
    ///
    /// # Errors
    /// `Refused` by state; `Interrupted`, `Concurrent`, `Io`. What stays damaged is in the report.
    pub fn repair(
        &mut self,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<RepairReport> {
        self.allow(Verb::Gc, 0)?;
        let done = self.alone()?.repair(progress, stop);
        self.remember_head()?;
        let report = done?;
        let mut new: BTreeSet<BlockId> = report.lost.iter().filter_map(|d| d.block).collect();
        for record in self.host_log.replay()? {
            if let HostRecord::Damaged { blocks, .. } = record {
                new.retain(|id| !blocks.contains(id));
            }
        }
        if !new.is_empty() {
            let damaged = HostRecord::Damaged {
                blocks: new.into_iter().collect(),
                time: Timestamp::claimed(self.context.clock.wall_ns()),
            };
            self.host_log.append(self.context.nonce()?, &[damaged])?;
        }
        Ok(report)
    }

    /// The store, for one caller alone: as an opening for upkeep gives it.
    fn alone(&mut self) -> Result<&mut Store> {
        Arc::get_mut(&mut self.store).ok_or_else(|| {
            let why = "it was opened to seal";
            Error::new(Kind::Usage, "collect from", "the store", why).next("open it for upkeep")
        })
    }
}
