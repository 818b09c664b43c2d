//! Making pieces exist: blocks and segments, one barrier, one frame (formats.md, "Durability
//! order").

use super::grown::Superseded;
use super::{Ack, Store, Writer};
use crate::block::Located;
use crate::index::Paged;
use crate::ledger;
use crate::log::{Frame, Head};
use crate::names;
use crate::pipeline::SealedBlock;
use crate::record::{Record, Role, SealedSegment};
use crate::sealer::Part;
use crate::segment::{self, Segment, MAX_SEGMENT};
use crate::{BlockSet, ROOT_TAG};
use asl_backend::{Backend, Name};
use asl_core::{BlockId, ChunkId, Digest, Error, Kind, Result};
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

/// Sealed blocks that make a commit due at once.
const BLOCKS_DUE: usize = 4;
/// A sealed block waits no longer than this.
const SEALED_WAIT: Duration = Duration::from_secs(5);
/// A piece in an open block waits no longer than this.
const PENDING_WAIT: Duration = Duration::from_secs(30);
/// Entries of one segment at most: the file stays below its limit, with room for block table and
/// sealing.
const SEGMENT_ENTRIES: usize = (MAX_SEGMENT as usize - (16 << 20)) / segment::ENTRY_ROW;
/// Blocks of one segment, and relied-on blocks of one frame, at most: a frame stays far below
/// 16 MiB and its reader's count of items.
pub(super) const FRAME_BLOCKS: usize = 40_000;

/// What a commit is due for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Nothing,
    Sealed,
    /// As many blocks are relied on as one frame can name.
    Reliance,
    /// The open block has waited long enough too.
    Everything,
}

/// What one frame will say.
pub(super) struct Plan {
    pub(super) records: Vec<Record>,
    pub(super) relies: Vec<BlockId>,
    pub(super) segment: Option<Paged>,
    /// The segments for which that one stands.
    pub(super) replaced: Vec<u32>,
}

impl Store {
    /// Whether it is time to commit: four blocks are sealed, or one has waited for 5 seconds; or a
    /// piece has waited for 30.
    ///
    /// # Errors
    /// That of a block which could not be sealed or written; `Refused` where the store is
    /// read-only or no key is at hand.
    pub fn commit_is_due(&self, since_boot: Duration) -> Result<bool> {
        self.what_is_due(since_boot)
            .map(|what| what != What::Nothing)
    }

    fn what_is_due(&self, since_boot: Duration) -> Result<What> {
        let pipeline = self.pipeline()?;
        if let Some(e) = pipeline.failure() {
            return Err(e);
        }
        let sealed = pipeline.sealed();
        let (pending, relied) = {
            let front = self.front();
            (!front.pending.is_empty(), front.relied.len())
        };
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |since: &mut Option<Duration>, waits: bool| {
            *since = waits.then(|| since.unwrap_or(since_boot));
            since.map_or(Duration::ZERO, |s| since_boot.saturating_sub(s))
        };
        let sealed_wait = wait(&mut due.sealed_since, sealed > 0);
        let pending_wait = wait(&mut due.pending_since, pending);
        Ok(if pending_wait >= PENDING_WAIT {
            What::Everything
        } else if relied >= FRAME_BLOCKS {
            What::Reliance
        } else if sealed >= BLOCKS_DUE || sealed_wait >= SEALED_WAIT {
            What::Sealed
        } else {
            What::Nothing
        })
    }

    /// Commits what [`Store::commit_is_due`] says is due: the sealed blocks, after 30 seconds the
    /// open one too. `None` where nothing is.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_due(&self, since_boot: Duration) -> Result<Option<Ack>> {
        let what = self.what_is_due(since_boot)?;
        let ack = match what {
            What::Nothing => return Ok(None),
            What::Everything => self.commit()?,
            What::Reliance => self.commit_with(&mut self.writer(), None, true)?,
            What::Sealed => self.commit_with(&mut self.writer(), None, false)?,
        };
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.sealed_since = None;
        if what == What::Everything {
            due.pending_since = None;
        }
        Ok(Some(ack))
    }

    /// Seals everything that was put before the call and makes it durable.
    ///
    /// With nothing to commit it acknowledges the head there is.
    ///
    /// # Errors
    /// `Io` where a block or segment could not be written: nothing acknowledged is lost, what was
    /// put is kept in memory, and the next commit tries again. Where the frame itself could not be
    /// written, the store is to be opened again. `Refused`, `Concurrent`.
    pub fn commit(&self) -> Result<Ack> {
        let mut writer = self.writer();
        self.seal_open()?;
        self.commit_with(&mut writer, None, false)
    }

    /// Puts the root piece, seals everything, and names the root in the same commit.
    ///
    /// `store/objects/<digest>.set` then holds the blocks of every piece put or found known since
    /// [`Store::begin_root`]. Every put of this root must have returned before.
    ///
    /// # Errors
    /// `Usage` where no root was begun, or where a put is still under way; else as
    /// [`Store::put_piece`] and [`Store::commit`]. The root can be finished again after an error.
    pub fn finish_root(&self, root_piece: &[u8]) -> Result<(ChunkId, Ack)> {
        let sealer = self.sealer()?;
        if self.front().session.is_none() {
            return Err(Error::new(
                Kind::Usage,
                "finish",
                "a root",
                "none was begun",
            ));
        }
        let id = sealer.chunk_id(sealer.epoch(), root_piece)?;
        self.put_piece(id, &ROOT_TAG.parse()?, root_piece)?;
        let mut writer = self.writer();
        self.seal_open()?;
        let ack = self.commit_with(&mut writer, Some(id), true)?;
        self.front().session = None;
        Ok((id, ack))
    }

    /// Appends records that need no file of the store's own: EPOCH.
    ///
    /// A barrier comes first, so that the files an epoch names are durable before it is.
    ///
    /// # Errors
    /// `Usage` for another kind of record; `Invalid` where it cannot follow; `Refused`,
    /// `Concurrent`, `Io`.
    pub fn append(&self, records: Vec<Record>) -> Result<Ack> {
        if let Some(other) = records.iter().find(|r| !matches!(r, Record::Epoch(_))) {
            let why = format!("{:?} records are made by the store alone", other.kind());
            return Err(Error::new(Kind::Usage, "append to", "the content log", why));
        }
        let mut writer = self.writer();
        self.current().check(&records)?;
        self.backend.barrier()?;
        let head = self.append_frame(&mut writer, &records, Vec::new())?;
        Ok(self.ack(head))
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Store::commit`], and what is newly relied on with it.
    pub(super) fn commit_all(&self) -> Result<()> {
        let mut writer = self.writer();
        self.seal_open()?;
        self.commit_with(&mut writer, None, true).map(drop)
    }

    fn seal_open(&self) -> Result<()> {
        let pipeline = self.pipeline()?;
        let group = std::mem::take(&mut self.front().group);
        if !group.is_empty() {
            // A failure keeps the group; the drain below tries again.
            drop(pipeline.push(group));
        }
        pipeline.drain()
    }

    /// Commits what is sealed. `always` writes a frame even where it names no new block.
    fn commit_with(&self, writer: &mut Writer, root: Option<ChunkId>, always: bool) -> Result<Ack> {
        let pipeline = self.pipeline()?;
        let blocks = pipeline.take();
        if blocks.is_empty() && !always {
            return Ok(self.ack(writer.log.head()));
        }
        let current = self.current();
        let pinned = root.is_some() || blocks.iter().any(|b| current.blocks.contains_key(&b.id));
        drop(current);
        let done = self.commit_blocks(writer, &blocks, root);
        match done {
            Ok(_) => pipeline.committed(blocks, (!pinned).then_some(writer.small.roots)),
            Err(_) => pipeline.give_back(blocks),
        }
        done.map(|head| self.ack(head))
    }

    fn commit_blocks(
        &self,
        writer: &mut Writer,
        blocks: &[SealedBlock],
        root: Option<ChunkId>,
    ) -> Result<Head> {
        // First, as its number is the lower one.
        let mut plans: Vec<Plan> = self.plan_merge(writer)?.into_iter().collect();
        plans.extend(self.plan_segments(writer, blocks)?);
        let superseded = self.superseded(writer, blocks);
        if let Some(id) = root {
            let record = self.put_set(id, blocks, &superseded)?;
            match plans.last_mut() {
                Some(last) => last.records.push(record),
                None => plans.push(Plan::of(vec![record])),
            }
        }
        self.plan_superseded(&superseded, &mut plans);
        self.plan_reliance(&mut plans);
        self.backend.barrier()?;
        let mut head = writer.log.head();
        for plan in plans {
            head = self.append_frame(writer, &plan.records, plan.relies)?;
            if let Some(segment) = plan.segment {
                let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
                index.replace(&plan.replaced, segment);
                self.forget_derived(&plan.replaced);
            }
        }
        self.committed(blocks);
        self.let_go(writer, &superseded, root.is_some());
        Ok(head)
    }

    /// Writes the segments of the blocks, one frame each where they do not fit one.
    fn plan_segments(&self, writer: &mut Writer, blocks: &[SealedBlock]) -> Result<Vec<Plan>> {
        let epoch = self.sealable()?;
        let mut plans = Vec::new();
        let mut rest = blocks;
        while !rest.is_empty() {
            let mut entries = 0usize;
            let fits = |b: &&SealedBlock| {
                entries += b.pieces.len();
                entries <= SEGMENT_ENTRIES
            };
            let n = rest
                .iter()
                .take(FRAME_BLOCKS)
                .take_while(fits)
                .count()
                .max(1);
            let (part, more) = rest.split_at(n.min(rest.len()));
            rest = more;
            let of = part.iter().map(|b| (b.id, b.pieces.as_slice()));
            let segment = Segment::of(epoch, of)?;
            let mut sizes: Vec<(BlockId, u64)> = part.iter().map(|b| (b.id, b.size)).collect();
            sizes.sort_unstable();
            sizes.dedup();
            let paged = self.put_segment(writer, epoch, segment.encode()?, sizes)?;
            let record = Record::SealSegment(paged.sealed().clone());
            plans.push(Plan {
                segment: Some(paged),
                ..Plan::of(vec![record])
            });
        }
        Ok(plans)
    }

    /// Writes a segment with this body, and reads back of it what the index needs.
    pub(crate) fn put_segment(
        &self,
        writer: &mut Writer,
        epoch: u32,
        plain: Vec<u8>,
        blocks: Vec<(BlockId, u64)>,
    ) -> Result<Paged> {
        let sealer = self.sealer()?;
        let trust = sealer.mac(epoch, &plain)?;
        let sealed = sealer.seal(Part::Segment, &plain)?;
        drop(plain);
        let file = segment::file(epoch, &sealed);
        drop(sealed);
        let number = loop {
            let number = writer.next_segment;
            self.backend.create_dirs(&[names::segment_dir(number)?])?;
            let taken = match self.backend.put_new(&names::segment(number)?, &file) {
                Ok(()) => false,
                Err(e) if e.kind() == Kind::Exists => true,
                Err(e) => return Err(e),
            };
            writer.next_segment = number.checked_add(1).ok_or_else(|| {
                Error::new(
                    Kind::Invalid,
                    "number",
                    "a segment",
                    "the numbers are used up",
                )
            })?;
            if !taken {
                break number;
            }
        };
        let sealed = SealedSegment {
            number,
            epoch,
            trust,
            file: Digest::of(&file),
            bytes: file.len() as u64,
            blocks,
        };
        drop(file);
        Paged::open(&self.backend, sealer, &sealed, true)
    }

    /// Writes the block set of a root that is being finished.
    fn put_set(
        &self,
        id: ChunkId,
        blocks: &[SealedBlock],
        superseded: &Superseded,
    ) -> Result<Record> {
        let mut set = BTreeSet::new();
        {
            let front = self.front();
            if let Some(session) = &front.session {
                let mut left: HashSet<&ChunkId> = session.touched.iter().collect();
                set.extend(session.blocks.iter().copied());
                for block in blocks {
                    let before = left.len();
                    for piece in &block.pieces {
                        left.remove(&piece.id);
                    }
                    if left.len() < before {
                        set.insert(block.id);
                    }
                }
                if !left.is_empty() {
                    let why = "pieces of it are still being put";
                    return Err(Error::new(Kind::Usage, "finish", "a root", why));
                }
            }
        }
        superseded.rename(&mut set);
        let bytes = BlockSet(set).encode()?;
        let digest = Digest::of(&bytes);
        put_named(&*self.backend, &names::block_set(&digest)?, &bytes)?;
        Ok(Record::AddIndexEntry {
            role: Role::Root,
            id,
            set: digest,
        })
    }

    /// Spreads the blocks newly relied on over the frames, and adds frames where they do not fit.
    fn plan_reliance(&self, plans: &mut Vec<Plan>) {
        let relied: Vec<BlockId> = self.front().relied.iter().copied().collect();
        let parts: Vec<&[BlockId]> = relied.chunks(FRAME_BLOCKS).collect();
        let Some((last, before)) = parts.split_last() else {
            return;
        };
        for (n, part) in before.iter().enumerate() {
            let only = Plan {
                relies: part.to_vec(),
                ..Plan::of(Vec::new())
            };
            plans.insert(n, only);
        }
        match plans.get_mut(before.len()) {
            Some(plan) => plan.relies = last.to_vec(),
            None => plans.push(Plan {
                relies: last.to_vec(),
                ..Plan::of(Vec::new())
            }),
        }
    }

    pub(crate) fn append_frame(
        &self,
        writer: &mut Writer,
        records: &[Record],
        relies: Vec<BlockId>,
    ) -> Result<Head> {
        let named = self.current().named_bytes(records);
        let values = records.iter().map(Record::to_value).collect();
        let (frame, head) = writer.log.append(values, named, relies)?;
        self.advance(&frame, &head)?;
        // The ledger is evidence beside the commit, which stands: a line that cannot be written
        // now goes with the next commit, or is added at the next opening.
        drop(ledger::lines(&frame, &head).and_then(|lines| writer.ledger.add(lines, head.commit)));
        self.checkpoint(writer, false);
        Ok(head)
    }

    fn advance(&self, frame: &Frame, head: &Head) -> Result<()> {
        {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            Arc::make_mut(&mut current).apply(frame, head)?;
        }
        // A put holds the front while it asks CURRENT: never the other way round.
        let mut front = self.front();
        for block in &frame.relies {
            front.relied.remove(block);
        }
        Ok(())
    }

    /// The pieces of these blocks are no longer pending: the index knows them.
    fn committed(&self, blocks: &[SealedBlock]) {
        for block in blocks {
            self.mark(&block.id, true);
        }
        let mut front = self.front();
        for block in blocks {
            let mut reached = false;
            for Located { id, .. } in &block.pieces {
                front.pending.remove(id);
                if let Some(session) = &mut front.session {
                    reached |= session.touched.remove(id);
                }
            }
            if let Some(session) = front.session.as_mut().filter(|_| reached) {
                session.blocks.insert(block.id);
            }
        }
    }
}

impl Plan {
    pub(super) fn of(records: Vec<Record>) -> Plan {
        Plan {
            records,
            relies: Vec::new(),
            segment: None,
            replaced: Vec::new(),
        }
    }
}

/// Puts bytes under a name made of their digest.
///
/// Bytes that lie there already and are others were damaged there, and make room.
///
/// # Errors
/// `Io`.
pub(crate) fn put_named(backend: &dyn Backend, name: &Name, bytes: &[u8]) -> Result<()> {
    match backend.put_new(name, bytes) {
        Err(e) if e.kind() == Kind::Exists => {
            if backend.get(name, 0..bytes.len() as u64 + 1)? == bytes {
                return Ok(());
            }
            backend.remove(name)?;
            backend.put_new(name, bytes)
        }
        other => other,
    }
}
