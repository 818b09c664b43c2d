//! Blocks against their names, their shape, and the segments that list them.

use super::course::Course;
use super::in_order::in_order;
use super::segments::Said;
use super::{ReadBackReport, VerifyOptions, VerifyReport};
use crate::block::{Directory, Located, Unpacker, MAX_SEALED_BLOCK};
use crate::current::{Current, SnapshotEntry};
use crate::manifest::ReadBack;
use crate::record::SealedSegment;
use crate::sealer::{OpenParts, Part, Sealer};
use crate::store::{read_manifest, read_whole, Damage, Store};
use crate::{names, wire, BlockSet};
use asl_core::{BlockId, Error, Kind, Result, SnapshotId};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::sync::Arc;

/// Bytes of a block that are opened at once.
const RUN: u64 = 1 << 20;

/// One block to be looked at, for one of the segments that name it.
struct Look<'c> {
    segment: &'c SealedSegment,
    id: BlockId,
    size: u64,
    /// Whether no segment before names it.
    first: bool,
}

impl Store {
    /// Reads the live blocks from the medium and checks each against its name; needs no key. Those
    /// that the newest snapshot with its blocks read back names were read then, and are not again:
    /// a session costs what it wrote, not what the domain holds.
    ///
    /// `progress` is told bytes done and to do; `stop` is asked between blocks. Blocks that are
    /// not what was written are no longer taken for known.
    ///
    /// # Errors
    /// `Interrupted` where `stop` says so. A block that cannot be read is damage, not an error.
    pub fn read_back(
        &self,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<ReadBackReport> {
        self.read_back_but(&self.read_back_before(), progress, stop)
    }

    /// As [`Store::read_back`], with all live blocks but these.
    pub(crate) fn read_back_but(
        &self,
        before: &BlockSet,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<ReadBackReport> {
        let current = self.current();
        let is_new = |(id, _): &(&BlockId, &u64)| !before.0.contains(*id);
        let blocks: Vec<(&BlockId, &u64)> = current.blocks.iter().filter(is_new).collect();
        let total = sum(blocks.iter().map(|(_, size)| **size));
        let mut report = ReadBackReport {
            before: (current.blocks.len() - blocks.len()) as u64,
            ..ReadBackReport::default()
        };
        let look = |(id, size): &(&BlockId, &u64)| self.read_block_back(id, **size);
        in_order(&blocks, look, stop, |(id, size), read| {
            if let Err(e) = read {
                self.distrust(id);
                report.damage.push(Damage {
                    object: names::block(id)?.to_string(),
                    why: e.why().to_string(),
                    block: Some(**id),
                });
            }
            report.blocks += 1;
            report.bytes = report.bytes.saturating_add(**size);
            progress(report.bytes, total);
            Ok(())
        })?;
        progress(total, total);
        Ok(report)
    }

    /// The blocks that an earlier session read back: as the newest snapshot says that was made then.
    /// None where there is no such snapshot, or it cannot be read.
    fn read_back_before(&self) -> BlockSet {
        let current = self.current();
        let read = |(id, entry): (&SnapshotId, &SnapshotEntry)| {
            let (manifest, _) = read_manifest(&*self.backend, *id, &entry.manifest).ok()?;
            (manifest.read_back == ReadBack::Done).then_some(manifest)
        };
        let newest = current.snapshots.iter().rev().find_map(read);
        newest
            .and_then(|manifest| self.snapshot_blocks(&manifest).ok())
            .unwrap_or_default()
    }

    fn read_block_back(&self, id: &BlockId, size: u64) -> Result<()> {
        let name = names::block(id)?;
        let mut bytes = self.backend.read_back(&name)?.take(size.saturating_add(1));
        let mut hash = blake3::Hasher::new();
        let mut part = vec![0; 256 << 10];
        loop {
            let n = bytes
                .read(&mut part)
                .map_err(|e| Error::new(Kind::Io, "read back", &name, e))?;
            if n == 0 {
                break;
            }
            hash.update(part.get(..n).unwrap_or_default());
        }
        named(id, &hash.finalize())
    }

    /// Checks segments and blocks: blocks on several threads, told in the order of the segments.
    pub(super) fn check_blocks(
        &self,
        options: VerifyOptions,
        report: &mut VerifyReport,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        let current = self.current();
        let total = total(&current);
        let mut seen: BTreeSet<BlockId> = BTreeSet::new();
        let mut course = Course::begin(Arc::clone(&self.backend), options)?;
        let mut looks = Vec::new();
        for segment in current.segments.values() {
            let live = |(id, _): &&(BlockId, u64)| current.blocks.contains_key(id);
            for (id, size) in segment.blocks.iter().filter(live) {
                let (id, size, first) = (*id, *size, seen.insert(*id));
                if (first || options.data) && course.takes(&id) {
                    looks.push(Look {
                        segment,
                        id,
                        size,
                        first,
                    });
                }
            }
        }
        drop(seen);
        let mut segments = current.segments.values().peekable();
        let mut opened: BTreeMap<BlockId, Said> = BTreeMap::new();
        let look = |l: &Look<'_>| {
            let pieces = self.open_block(options, &l.id, l.size, l.segment.epoch)?;
            Ok::<_, Error>(pieces.map(Said::of))
        };
        let done = in_order(&looks, look, stop, |l, looked| {
            while let Some(before) = segments.next_if(|s| s.number != l.segment.number) {
                self.check_segment(before, std::mem::take(&mut opened), report)?;
            }
            match looked {
                Ok(pieces) => {
                    report.pieces += pieces.as_ref().map_or(0, |said| said.pieces);
                    opened.extend(pieces.map(|said| (l.id, said)));
                    course.good(l.id, l.size);
                }
                Err(e) if e.kind() == Kind::Refused => {
                    report.judge(names::block(&l.id)?, e)?;
                    course.good(l.id, l.size);
                }
                Err(e) => {
                    self.distrust(&l.id);
                    report.damage.push(Damage {
                        object: names::block(&l.id)?.to_string(),
                        why: e.why().to_string(),
                        block: Some(l.id),
                    });
                }
            }
            if l.first {
                report.blocks += 1;
                report.block_bytes = report.block_bytes.saturating_add(l.size);
            }
            progress(report.block_bytes, total);
            Ok(())
        });
        if let Err(e) = done {
            if e.kind() == Kind::Interrupted {
                course.keep();
            }
            return Err(e);
        }
        segments.try_for_each(|s| self.check_segment(s, std::mem::take(&mut opened), report))?;
        course.end();
        report.earlier = course.earlier;
        if course.left_out > 0 {
            let (n, all) = (course.left_out, current.blocks.len());
            let note = format!("{n} of {all} blocks: only a sample was asked for");
            report.not_checked.push(note);
        }
        Ok(())
    }

    /// The pieces of a block, each checked against its id; needs the open identity.
    ///
    /// # Errors
    /// `Refused` where it is not at hand; `Damage`, `Invalid`, `NotFound` where the block is not
    /// what was written; `Io`.
    pub(crate) fn pieces_of(&self, id: &BlockId, size: u64, epoch: u32) -> Result<Vec<Located>> {
        let data = VerifyOptions {
            data: true,
            ..VerifyOptions::default()
        };
        let pieces = self.open_block(data, id, size, epoch)?;
        pieces.ok_or_else(|| Error::new(Kind::Refused, "open", id, "no key is at hand"))
    }

    /// Reads a block and checks its name and shape; with data, opens it, and its pieces come back.
    fn open_block(
        &self,
        options: VerifyOptions,
        id: &BlockId,
        size: u64,
        epoch: u32,
    ) -> Result<Option<Vec<Located>>> {
        let name = names::block(id)?;
        let sealed = read_whole(&*self.backend, &name, size.min(MAX_SEALED_BLOCK))?;
        named(id, &blake3::hash(&sealed))?;
        let Some(sealer) = &self.sealer else {
            return Ok(None);
        };
        if !sealer.has_shape(Part::Block, epoch, &sealed) {
            return Err(wire::invalid("block", "it has not the shape of its epoch"));
        }
        if !options.data {
            return Ok(None);
        }
        let sealed = Box::new(Cursor::new(sealed));
        let mut block = sealer.open_parts(Part::Block, epoch, sealed)?;
        check_pieces(&**sealer, epoch, &mut *block).map(Some)
    }
}

/// Decodes every extent and checks every piece against its id.
fn check_pieces(
    sealer: &dyn Sealer,
    epoch: u32,
    block: &mut dyn OpenParts,
) -> Result<Vec<Located>> {
    let directory = Directory::of(block)?;
    let mut unpacker = Unpacker::new()?;
    let mut pieces = directory.entries.iter().peekable();
    let (mut stored, mut held) = (Vec::new(), 0..0);
    for (row, extent) in directory.extents.iter().enumerate() {
        let start = u64::from(extent.offset);
        let end = start + u64::from(extent.stored);
        if end > held.end {
            let last = directory.extents.last().unwrap_or(extent);
            let most = u64::from(last.offset) + u64::from(last.stored);
            held = start..most.min(end.max(start + RUN));
            stored = block.read_range(held.clone())?;
        }
        let from = (start - held.start) as usize;
        let bytes = stored.get(from..from + extent.stored as usize);
        let bytes = unpacker.unpack_exact(bytes.unwrap_or_default(), extent)?;
        while let Some(e) = pieces.next_if(|e| e.extent as usize == row) {
            let from = e.inner as usize;
            let piece = bytes.get(from..from + e.length as usize);
            if sealer.chunk_id(epoch, piece.unwrap_or_default())? != e.id {
                let why = format!("piece {} is not what was put", e.id);
                return Err(wire::invalid("block", &why));
            }
        }
    }
    Ok(directory.located().collect())
}

fn named(id: &BlockId, hash: &blake3::Hash) -> Result<()> {
    if hash.as_bytes() == id.as_bytes() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Damage,
        "check",
        id,
        "its bytes do not hash to its name",
    ))
}

fn total(current: &Current) -> u64 {
    sum(current.blocks.values().copied())
}

fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0u64, u64::saturating_add)
}
