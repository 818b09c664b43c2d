//! Letting go: snapshots are forgotten, and what nothing reaches any more is collected
//! (formats.md, "gc and concurrent writers"). No key is needed.
//!
//! The log says first what is to go (GC_INTENT), then that it has gone (GC_COMMIT); only then are
//! files removed. Whatever a crash leaves is a file that no commit names: the next collection takes
//! it. With [`Store::gc`] holding the writer lock and the store for itself alone, no such file can
//! be a living writer's.

use super::commit::FRAME_BLOCKS;
use super::{content_form, reached, read_exact, read_manifest, Ack, Store};
use crate::current::Current;
use crate::log::{FrameLog, Mode};
use crate::record::Record;
use crate::{names, BlockSet, Manifest, MAX_BLOCK_SET};
use asl_backend::Name;
use asl_core::{BlockId, ChunkId, Digest, Error, Kind, Result, SnapshotId};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

/// What a collection is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcOptions {
    /// Say what would go, and change nothing.
    pub dry_run: bool,
    /// Also what was sealed since the last root: the work of an ingest that did not finish, which
    /// else is kept for when it goes on.
    pub unfinished: bool,
}

/// What a collection took away, or would take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blocks that nothing reached.
    pub blocks: u64,
    /// Their bytes.
    pub block_bytes: u64,
    /// Block files that no commit named: what crashed writers left.
    pub orphans: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Segments that list no live block any more.
    pub segments: u64,
    /// Other files that nothing names: segments, block sets, manifests of forgotten snapshots.
    pub leftovers: u64,
    /// Blocks that no root reaches yet, kept for the ingest that sealed them.
    pub unfinished: u64,
    /// Their bytes.
    pub unfinished_bytes: u64,
}

/// Everything that has to stay.
struct Kept {
    blocks: BTreeSet<BlockId>,
    segments: BTreeSet<u32>,
    sets: BTreeSet<Digest>,
}

/// A block file that CURRENT does not have.
struct Stray {
    id: BlockId,
    name: Name,
    bytes: u64,
}

impl Store {
    /// Forgets snapshots and lets roots go, in one commit; what only they reached is for
    /// [`Store::gc`].
    ///
    /// A root that is let go stays readable in the snapshots that name it, as long as these are
    /// kept; later snapshots no longer name it.
    ///
    /// # Errors
    /// `NotFound` for a snapshot or root that is none; `Refused` for the newest snapshot, or where
    /// the store was opened read-only; `Concurrent`, `Io`.
    pub fn forget(&self, snapshots: &[SnapshotId], roots: &[ChunkId]) -> Result<Ack> {
        self.writable("forget")?;
        let mut writer = self.writer();
        let current = self.current();
        let newest = current.newest_snapshot().map(|(id, _)| id);
        for id in snapshots {
            if !current.snapshots.contains_key(id) {
                let why = "there is no such snapshot";
                return Err(Error::new(Kind::NotFound, "forget", id, why)
                    .next("list them with `asl-host snapshot list`"));
            }
            if Some(*id) == newest {
                let why = "it is the newest, and the newest is always kept";
                return Err(Error::new(Kind::Refused, "forget", id, why)
                    .next("make a newer one first: `asl-host snapshot create`"));
            }
        }
        if let Some(id) = roots.iter().find(|id| !current.roots.contains_key(id)) {
            let why = "the domain has no such root";
            return Err(Error::new(
                Kind::NotFound,
                "let go",
                format!("root {id}"),
                why,
            ));
        }
        let snapshots: BTreeSet<SnapshotId> = snapshots.iter().copied().collect();
        let roots: BTreeSet<ChunkId> = roots.iter().copied().collect();
        if snapshots.is_empty() && roots.is_empty() {
            return Ok(self.ack(current.head));
        }
        drop(current);
        let record = Record::Forget {
            snapshots: snapshots.into_iter().collect(),
            roots: roots.into_iter().collect(),
        };
        let head = self.append_frame(&mut writer, &[record], Vec::new())?;
        Ok(self.ack(head))
    }

    /// Collects what neither a root nor a snapshot reaches, and what crashed writers left.
    ///
    /// `stop` is asked between its steps; what was begun is finished by the next collection.
    ///
    /// # Errors
    /// `Damage` where a block set or manifest cannot be read: then it is not known what is reached,
    /// and nothing goes. `Usage` where pieces wait for a commit; `Refused` where the store was
    /// opened read-only; `Interrupted`, `Concurrent`, `Io`.
    pub fn gc(&mut self, options: GcOptions, stop: &dyn Fn() -> bool) -> Result<GcReport> {
        self.writable("collect from")?;
        self.idle("collect from")?;
        let current = self.current();
        let kept = self.kept(&current)?;
        let mut report = GcReport::default();
        let dead = |id: &&BlockId| !kept.blocks.contains(id);
        let mut going: BTreeSet<BlockId> = current.blocks.keys().filter(dead).copied().collect();
        // The whole log is read, whatever is asked: nothing goes by one that is broken.
        for id in self.unfinished()? {
            if !options.unfinished && going.remove(&id) {
                report.unfinished += 1;
                report.unfinished_bytes += size_of(&current, &id);
            }
        }
        report.blocks = going.len() as u64;
        report.block_bytes = going.iter().map(|id| size_of(&current, id)).sum();
        let stays = |id: &BlockId| current.blocks.contains_key(id) && !going.contains(id);
        let empty: Vec<u32> = current
            .segments
            .values()
            .filter(|s| !s.blocks.iter().any(|(id, _)| stays(id)))
            .map(|s| s.number)
            .collect();
        report.segments = empty.len() as u64;
        if !options.dry_run {
            let intended = going.difference(&current.doomed).copied().collect();
            drop(current);
            self.commit_going(intended, going, empty, stop)?;
        }
        self.sweep(&kept, options.dry_run, stop, &mut report)?;
        Ok(report)
    }

    /// Bytes of block files that CURRENT does not have, which a lease counts too.
    ///
    /// Ask before anything is put: blocks on their way to a commit are not told from them.
    ///
    /// # Errors
    /// `Io`.
    pub fn orphan_bytes(&self) -> Result<u64> {
        let strays = self.strays(&self.current())?;
        Ok(strays.iter().fold(0, |sum, s| s.bytes.saturating_add(sum)))
    }

    pub(crate) fn writable(&self, doing: &'static str) -> Result<()> {
        match self.mode {
            Mode::Write => Ok(()),
            Mode::Read => Err(Error::new(
                Kind::Refused,
                doing,
                "the store",
                "it was opened read-only",
            )),
        }
    }

    /// Refuses while pieces wait for a commit.
    pub(crate) fn idle(&self, doing: &'static str) -> Result<()> {
        let front = self.front();
        if front.pending.is_empty() && front.session.is_none() {
            return Ok(());
        }
        let why = "pieces wait for their commit";
        Err(Error::new(Kind::Usage, doing, "the store", why).next("commit them first"))
    }

    /// What roots and snapshots reach.
    fn kept(&self, current: &Current) -> Result<Kept> {
        let unknown = |e: Error| match e.kind() {
            Kind::Damage | Kind::Invalid => {
                let why = format!("{}: so it is not known what is still needed", e.why());
                Error::new(Kind::Damage, "collect by", e.object(), why)
                    .next("nothing was removed; `asl-host repair`, or forget that snapshot")
            }
            _ => e,
        };
        let mut kept = Kept {
            blocks: reached(&*self.backend, current).map_err(unknown)?.0,
            segments: current.segments.keys().copied().collect(),
            sets: current.roots.values().copied().collect(),
        };
        for (id, entry) in &current.snapshots {
            let read = read_manifest(&*self.backend, *id, &entry.manifest);
            let (manifest, _) = read.map_err(unknown)?;
            let list = self.list_of(&manifest).map_err(unknown)?;
            kept.blocks.extend(list.0);
            kept.segments
                .extend(manifest.segments.iter().map(|s| s.number));
            kept.sets.extend(manifest.roots.iter().map(|(_, set)| set));
        }
        Ok(kept)
    }

    fn list_of(&self, manifest: &Manifest) -> Result<BlockSet> {
        let name = names::snapshot_blocks(manifest.id)?;
        let bytes = read_exact(&*self.backend, &name, &manifest.blocks, MAX_BLOCK_SET)?;
        BlockSet::decode(&bytes)
    }

    /// The blocks sealed, or newly relied on, since the last root was named.
    fn unfinished(&self) -> Result<BTreeSet<BlockId>> {
        let mut since = BTreeSet::new();
        let backend = Arc::clone(&self.backend);
        let form = content_form()?;
        let mut each = |frame: &crate::Frame, _: &crate::Head| {
            since.extend(frame.relies.iter().copied());
            for value in &frame.records {
                match Record::from_value(value.clone())? {
                    Record::SealSegment(s) => since.extend(s.blocks.iter().map(|(id, _)| *id)),
                    Record::AddIndexEntry { .. } => since.clear(),
                    _ => {}
                }
            }
            Ok(())
        };
        let log = FrameLog::open(backend, form, Mode::Read, [0; 16], &[], &mut each)?;
        match log.damage().first() {
            Some(damage) => Err(damage.clone()),
            None => Ok(since),
        }
    }

    /// Intent, then commit. Whoever holds the lock knows that nobody wrote in between; what an
    /// earlier intent named and somebody saved since is not among these.
    fn commit_going(
        &mut self,
        intended: Vec<BlockId>,
        going: BTreeSet<BlockId>,
        segments: Vec<u32>,
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        let asked = |stop: &dyn Fn() -> bool| match stop() {
            true => Err(stopped()),
            false => Ok(()),
        };
        let mut writer = self.writer();
        for part in intended.chunks(FRAME_BLOCKS) {
            asked(stop)?;
            let blocks = part.to_vec();
            self.append_frame(&mut writer, &[Record::GcIntent { blocks }], Vec::new())?;
        }
        asked(stop)?;
        let going: Vec<BlockId> = going.into_iter().collect();
        let mut commits: Vec<Record> = going
            .chunks(FRAME_BLOCKS)
            .map(|part| Record::GcCommit {
                blocks: part.to_vec(),
                segments: Vec::new(),
            })
            .collect();
        commits.extend(segments.chunks(FRAME_BLOCKS).map(|part| Record::GcCommit {
            blocks: Vec::new(),
            segments: part.to_vec(),
        }));
        for record in commits {
            self.append_frame(&mut writer, &[record], Vec::new())?;
        }
        drop(writer);
        for id in &going {
            self.extents().forget(id);
            let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
            present.remove(id);
        }
        Ok(())
    }

    /// Removes the files that nothing names.
    fn sweep(
        &self,
        kept: &Kept,
        dry_run: bool,
        stop: &dyn Fn() -> bool,
        report: &mut GcReport,
    ) -> Result<()> {
        let current = self.current();
        let strays = self.strays(&current)?;
        let gone_now = if dry_run { 0 } else { report.blocks };
        let mut removed = 0;
        for stray in &strays {
            if stop() {
                return Err(stopped());
            }
            report.orphan_bytes = report.orphan_bytes.saturating_add(stray.bytes);
            removed += 1;
            self.mark(&stray.id, false);
            if !dry_run {
                self.backend.remove(&stray.name)?;
            }
        }
        // What this collection itself let go of is among them, and counted already.
        report.orphans = u64::saturating_sub(removed, gone_now);
        if !dry_run {
            report.orphan_bytes = report.orphan_bytes.saturating_sub(report.block_bytes);
        }
        for name in self.leftovers(&current, kept)? {
            report.leftovers += 1;
            if !dry_run {
                self.backend.remove(&name)?;
            }
        }
        match dry_run {
            true => Ok(()),
            false => self.backend.barrier(),
        }
    }

    fn strays(&self, current: &Current) -> Result<Vec<Stray>> {
        let mut strays = Vec::new();
        for first in 0..=u8::MAX {
            let dir = names::sealed_dir(first)?;
            for file in self.backend.list(&dir)? {
                let Some(Ok(id)) = file.strip_suffix(".blk").map(str::parse::<BlockId>) else {
                    continue;
                };
                if !current.blocks.contains_key(&id) {
                    let name = dir.join(&file)?;
                    let bytes = self.backend.size(&name)?;
                    strays.push(Stray { id, name, bytes });
                }
            }
        }
        Ok(strays)
    }

    /// Files of segments, sets and snapshots that are no longer needed.
    fn leftovers(&self, current: &Current, kept: &Kept) -> Result<Vec<Name>> {
        let mut found = Vec::new();
        let mut all_in = |dir: Name| -> Result<()> {
            for file in self.backend.list(&dir)? {
                found.push(dir.join(&file)?);
            }
            Ok(())
        };
        let segments = names::segments()?;
        for dir in self.backend.list(&segments)? {
            let number = dir.strip_prefix("seg-").and_then(|n| n.parse::<u32>().ok());
            let needed = |n: &u32| current.segments.contains_key(n) || kept.segments.contains(n);
            if number.is_some_and(|n| !needed(&n)) {
                all_in(segments.join(&dir)?)?;
            }
        }
        let snapshots = names::snapshots()?;
        for dir in self.backend.list(&snapshots)? {
            let id = dir.parse::<SnapshotId>();
            if id.is_ok_and(|id| !current.snapshots.contains_key(&id)) {
                all_in(snapshots.join(&dir)?)?;
            }
        }
        let sets = names::sets()?;
        for file in self.backend.list(&sets)? {
            let digest = file.strip_suffix(".set").map(str::parse::<Digest>);
            if matches!(digest, Some(Ok(digest)) if !kept.sets.contains(&digest)) {
                found.push(sets.join(&file)?);
            }
        }
        Ok(found)
    }
}

fn size_of(current: &Current, id: &BlockId) -> u64 {
    current.blocks.get(id).copied().unwrap_or(0)
}

fn stopped() -> Error {
    Error::new(Kind::Interrupted, "collect", "blocks", "it was stopped")
        .next("what was begun is finished by the next `asl-host gc`")
}
