//! What lies between the pipeline's stages, and who takes what next.

use crate::block::{is_kept, BlockBuilder, Group, Located, Packed};
use asl_core::{BlockId, Error, Result};
use std::collections::VecDeque;

/// Bytes of groups that may wait for a worker: 4 MiB.
pub(super) const QUEUE_BYTES: usize = 4 << 20;
/// Buffers of groups that are kept: memory that goes from thread to thread comes back late.
const ROOMS: usize = 32;
/// Full blocks on their way to the medium while packing goes on.
const IN_HAND: usize = 2;
/// Buffers of a block that are kept, those in use counted in: the kernel gives fresh memory slowly,
/// page by page.
const BUFFERS: usize = 1 + IN_HAND;

/// What part of the target a block has at most that is sealed again, grown: a sixty-fourth. So no
/// commit writes more than that anew, and no more than 64 blocks stand for one.
const SMALL_PART: usize = 64;

/// A block that lies under its name and is named by no commit yet.
#[derive(Clone, Debug)]
pub(crate) struct SealedBlock {
    pub(crate) id: BlockId,
    pub(crate) size: u64,
    pub(crate) pieces: Vec<Located>,
    /// The smaller block whose pieces it holds too, and which it may replace.
    pub(crate) grown_from: Option<Small>,
    /// It as it was before it was sealed, where the next one may hold its pieces too.
    pub(super) grows: Option<BlockBuilder>,
}

/// A committed block that is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Small {
    pub(crate) id: BlockId,
    /// Roots that were named before it.
    pub(crate) roots: u64,
    /// Bytes that are sealed once more with it.
    pub(super) bytes: u64,
}

/// A full block that is not sealed yet.
pub(super) struct Filled {
    pub(super) bytes: Vec<u8>,
    pub(super) about: About,
}

/// What is known of a full block beside its bytes.
pub(super) struct About {
    pub(super) pieces: Vec<Located>,
    pub(super) grown_from: Option<Small>,
    pub(super) grows: Option<BlockBuilder>,
}

/// A sealed block that is not written yet.
pub(super) struct Ready {
    pub(super) bytes: Vec<u8>,
    pub(super) id: BlockId,
    pub(super) about: About,
}

/// What a thread takes in hand.
pub(super) enum Job {
    Pack(Group),
    Seal(Filled),
    Write(Ready),
}

/// Who does which job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Worker,
    Writer,
    /// Both, on the caller's thread.
    Alone,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) queue: VecDeque<Group>,
    pub(super) queued: usize,
    pub(super) open: BlockBuilder,
    /// What the open block began with.
    pub(super) grown_from: Option<Small>,
    /// Bytes of committed blocks that blocks no commit names yet hold too.
    pub(super) again: u64,
    /// The last committed block, where the next one is to begin with its pieces.
    pub(super) small: Option<(Small, BlockBuilder)>,
    pub(super) filled: VecDeque<Filled>,
    pub(super) ready: VecDeque<Ready>,
    /// Jobs in hand, and the full blocks among them.
    pub(super) busy: usize,
    pub(super) busy_blocks: usize,
    pub(super) sealed: Vec<SealedBlock>,
    /// Buffers that blocks were in.
    pub(super) spare: Vec<Vec<u8>>,
    /// Buffers that groups were in.
    pub(super) rooms: Vec<Vec<u8>>,
    pub(super) failed: Option<Error>,
    /// Set where pieces were lost from memory: nothing more is believed until the store is opened
    /// again.
    pub(super) dead: bool,
    pub(super) stop: bool,
}

impl State {
    pub(super) fn die(&mut self, e: Error) {
        self.failed = Some(e.next("open the domain again; what was acknowledged is there"));
        self.dead = true;
    }

    pub(super) fn outcome(&self) -> Result<()> {
        match &self.failed {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }

    /// The next job for this role, what is nearest to the medium first.
    pub(super) fn next_job(&mut self, role: Role) -> Option<Job> {
        if self.failed.is_some() || self.stop {
            return None;
        }
        if role != Role::Worker {
            if let Some(ready) = self.ready.pop_front() {
                return Some(Job::Write(ready));
            }
        }
        if role == Role::Writer {
            return None;
        }
        if let Some(filled) = self.filled.pop_front() {
            return Some(Job::Seal(filled));
        }
        let in_hand = self.busy_blocks + self.ready.len();
        (in_hand < IN_HAND)
            .then(|| self.queue.pop_front().map(Job::Pack))
            .flatten()
    }

    /// Whether anything is under way or waits to be.
    pub(super) fn works(&self) -> bool {
        let waits = !(self.queue.is_empty() && self.filled.is_empty() && self.ready.is_empty());
        self.busy > 0 || (waits && self.failed.is_none())
    }

    /// Lays extents into the open block; a full one waits to be sealed.
    pub(super) fn lay(&mut self, packed: Vec<Packed>, target: usize) -> Result<()> {
        if self.open.is_empty() {
            let buffer = self.spare.pop().unwrap_or_default();
            self.open = match self.small.take() {
                Some((small, block)) => {
                    self.grown_from = Some(small);
                    self.again += small.bytes;
                    BlockBuilder::grown(&block, buffer, target)
                }
                None => BlockBuilder::within(buffer, target),
            };
        }
        for room in self.open.push(packed)? {
            if is_kept(&self.rooms, &room, ROOMS) {
                self.rooms.push(room);
            }
        }
        if self.open.size() >= target {
            self.fill(target)?;
        }
        Ok(())
    }

    /// Takes back the buffer of a block that was written, which still counts as in hand.
    pub(super) fn keep(&mut self, mut buffer: Vec<u8>) {
        let others = (self.filled.len() + self.ready.len() + self.busy_blocks).saturating_sub(1);
        if 1 + others + self.spare.len() < BUFFERS {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    pub(super) fn fill(&mut self, target: usize) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        let is_small = open.size() <= target / SMALL_PART;
        let grows = is_small.then(|| open.clone());
        let (bytes, pieces) = open.finish()?;
        let about = About {
            pieces,
            grown_from: self.grown_from.take(),
            grows,
        };
        self.filled.push_back(Filled { bytes, about });
        Ok(())
    }
}
