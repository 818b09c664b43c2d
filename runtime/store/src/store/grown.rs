//! A slow source makes no dust (formats.md, "Blocks"): a small last block is sealed again with what
//! came after it, and the small one goes.
//!
//! It goes as gc lets blocks go. The frame that names the grown block says with GC_INTENT that the
//! small one is to go, so that nobody relies on it anew; the next frame takes it out with GC_COMMIT,
//! unless something relied on it just before; then its file is removed. What a root reaches is
//! pinned: once a root was named, no block sealed before it is replaced.

use super::commit::Plan;
use super::{Store, Writer};
use crate::names;
use crate::pipeline::SealedBlock;
use crate::record::Record;
use asl_core::BlockId;
use std::collections::BTreeSet;

/// What is known of blocks that others replace.
#[derive(Default)]
pub(super) struct Superseding {
    /// Roots that this writer has named.
    pub(super) roots: u64,
    /// Blocks that are to go with the next frame.
    going: Vec<BlockId>,
}

/// What one commit does of it.
#[derive(Default)]
pub(super) struct Superseded {
    /// Replaced now, with what holds their pieces.
    pub(super) by: Vec<(BlockId, BlockId)>,
    /// Taken out of CURRENT now.
    gone: Vec<BlockId>,
}

impl Superseded {
    /// Puts the new blocks for those they replace.
    pub(super) fn rename(&self, blocks: &mut BTreeSet<BlockId>) {
        for (old, new) in &self.by {
            if blocks.remove(old) {
                blocks.insert(*new);
            }
        }
    }
}

impl Store {
    /// Which blocks these replace, and which of those replaced before can go now.
    pub(super) fn superseded(&self, writer: &Writer, blocks: &[SealedBlock]) -> Superseded {
        let current = self.current();
        let stays = |id: &BlockId| current.blocks.contains_key(id) && !current.doomed.contains(id);
        let by = blocks.iter().filter_map(|block| {
            let small = block.grown_from?;
            let free = small.roots == writer.small.roots && stays(&small.id);
            (free && small.id != block.id).then_some((small.id, block.id))
        });
        let mut by: Vec<_> = by.collect();
        by.sort_unstable();
        // Nobody relies on them anew, so what is not relied on by now never is.
        let front = self.front();
        let going = writer.small.going.iter().copied();
        let gone = going.filter(|id| current.doomed.contains(id) && !front.relied.contains(id));
        let mut gone: Vec<_> = gone.collect();
        gone.sort_unstable();
        Superseded { by, gone }
    }

    /// Says it in the last of the frames, which follows those that name the new blocks.
    pub(super) fn plan_superseded(&self, superseded: &Superseded, plans: &mut Vec<Plan>) {
        let mut records = Vec::new();
        if !superseded.by.is_empty() {
            let blocks = superseded.by.iter().map(|(old, _)| *old).collect();
            records.push(Record::GcIntent { blocks });
        }
        if !superseded.gone.is_empty() {
            records.push(Record::GcCommit {
                blocks: superseded.gone.clone(),
                segments: Vec::new(),
            });
        }
        match plans.last_mut() {
            Some(last) => last.records.extend(records),
            None if !records.is_empty() => plans.push(Plan::of(records)),
            None => {}
        }
    }

    /// After the frames: files of what has gone are removed, and the next commit knows what is to go.
    pub(super) fn let_go(&self, writer: &mut Writer, superseded: &Superseded, named_root: bool) {
        writer.small.roots += u64::from(named_root);
        writer.small.going = superseded.by.iter().map(|(old, _)| *old).collect();
        for id in &superseded.gone {
            self.mark(id, false);
            // A file that stays is one that no commit names: gc takes it.
            drop(names::block(id).and_then(|name| self.backend.remove(&name)));
        }
        if let Some(session) = &mut self.front().session {
            superseded.rename(&mut session.blocks);
        }
    }
}
