//! From groups of pieces to sealed blocks, beside the caller's own work.
//!
//! Workers compress groups, lay them into the one open block, and seal and name it when it is
//! full; writers put sealed blocks in place, so that no worker waits for the medium. What a stage
//! could not do stays where it waited, and is tried again.
//!
//! Memory is bounded: groups that wait hold at most 4 MiB (or one group); the open block holds its
//! target and one extent more; at most two full blocks are sealed or written before packing stops,
//! one more where two workers fill one at once. A block is sealed where it lies, and three buffers
//! are kept where fewer are in use. With a target of 16 MiB and two workers that is 4 + 16 + 3 x 16
//! MiB at the very worst, and some MiB for the buffers of groups, of which 32 are kept.
//!
//! The open block lives in memory only; `store/blocks/open/` stays empty (invariant 8).

mod state;

pub(crate) use state::{SealedBlock, Small};

use crate::block::{Group, Packer, MAX_SEALED_BLOCK};
use crate::names;
use crate::sealer::{Part, Sealer};
use crate::store::put_named;
use asl_backend::Backend;
use asl_core::{BlockId, Error, Kind, Result};
use state::{Filled, Job, Ready, Role, State, QUEUE_BYTES};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Threads that write: one block's bytes go to the kernel while another's are synced.
const WRITERS: usize = 2;

struct Shared {
    backend: Arc<dyn Backend>,
    sealer: Arc<dyn Sealer>,
    target: usize,
    state: Mutex<State>,
    /// Something waits for a worker, or it may go on.
    to_pack: Condvar,
    /// Something waits for a writer.
    to_write: Condvar,
    /// A job is done, for callers that wait.
    done: Condvar,
}

/// The sealing pipeline of an open store.
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Where there are no workers, the caller's thread does their work.
    own: Option<Mutex<Packer>>,
}

impl Pipeline {
    pub(crate) fn start(
        backend: Arc<dyn Backend>,
        sealer: Arc<dyn Sealer>,
        target: usize,
        workers: usize,
    ) -> Result<Pipeline> {
        let shared = Arc::new(Shared {
            backend,
            sealer,
            target,
            state: Mutex::default(),
            to_pack: Condvar::new(),
            to_write: Condvar::new(),
            done: Condvar::new(),
        });
        let mut pipeline = Pipeline {
            shared,
            threads: Vec::new(),
            own: None,
        };
        if workers == 0 {
            pipeline.own = Some(Mutex::new(Packer::new()?));
            return Ok(pipeline);
        }
        for n in 0..workers {
            let packer = Packer::new()?;
            pipeline.spawn(format!("seal-{n}"), Role::Worker, packer)?;
        }
        for n in 0..WRITERS {
            let packer = Packer::new()?;
            pipeline.spawn(format!("write-{n}"), Role::Writer, packer)?;
        }
        Ok(pipeline)
    }

    fn spawn(&mut self, name: String, role: Role, mut packer: Packer) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || shared.work_guarded(role, &mut packer))
            .map_err(|e| Error::new(Kind::Io, "start", "a sealing thread", e))?;
        self.threads.push(thread);
        Ok(())
    }

    /// A new group, in a buffer that was used before where there is one.
    pub(crate) fn group(&self) -> Group {
        let room = self.shared.lock().rooms.pop();
        Group::within(room.unwrap_or_default())
    }

    /// Hands over a group, waiting while too much waits already.
    ///
    /// # Errors
    /// That of a block which could not be sealed or written; the group is kept for a later try.
    pub(crate) fn push(&self, group: Group) -> Result<()> {
        let mut state = self.shared.lock();
        while state.queued > 0
            && state.queued + group.len() > QUEUE_BYTES
            && state.failed.is_none()
            && self.own.is_none()
        {
            state = wait(&self.shared.done, state);
        }
        state.queued += group.len();
        state.queue.push_back(group);
        self.shared.to_pack.notify_one();
        self.work_alone(state).outcome()
    }

    /// Seals what waits and what is open, and writes it all.
    ///
    /// # Errors
    /// As [`Pipeline::push`]; nothing is lost, and the next call tries again.
    pub(crate) fn drain(&self) -> Result<()> {
        let mut state = self.shared.lock();
        if state.dead {
            state.outcome()?;
        }
        state.failed = None;
        let mut open = true;
        loop {
            self.shared.wake_all();
            state = self.work_alone(state);
            // Also after a failure: what another thread still tries must not be told to a later
            // call.
            while state.works() {
                state = wait(&self.shared.done, state);
            }
            let fills = open && state.failed.is_none() && !state.open.is_empty();
            if !fills {
                return state.outcome();
            }
            open = false;
            if let Err(e) = state.fill(self.shared.target) {
                state.die(e);
            }
        }
    }

    fn work_alone<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        match &self.own {
            Some(own) => {
                let mut packer = own.lock().unwrap_or_else(PoisonError::into_inner);
                self.shared.run(state, Role::Alone, &mut packer)
            }
            None => state,
        }
    }

    /// Takes the sealed blocks.
    pub(crate) fn take(&self) -> Vec<SealedBlock> {
        std::mem::take(&mut self.shared.lock().sealed)
    }

    /// Gives blocks back that could not be committed.
    pub(crate) fn give_back(&self, blocks: Vec<SealedBlock>) {
        self.shared.lock().sealed.extend(blocks);
    }

    /// Tells that these were committed, after so many roots: the next block begins with the pieces
    /// of the last of them where that is small. Without `roots` it does not: something pins them.
    pub(crate) fn committed(&self, blocks: Vec<SealedBlock>, roots: Option<u64>) {
        let again: u64 = blocks
            .iter()
            .filter_map(|b| Some(b.grown_from?.bytes))
            .sum();
        let small = |block: SealedBlock| {
            let (id, roots, grows) = (block.id, roots?, block.grows?);
            let bytes = grows.size() as u64;
            Some((Small { id, roots, bytes }, grows))
        };
        let small = blocks.into_iter().rev().find_map(small);
        let mut state = self.shared.lock();
        state.again = state.again.saturating_sub(again);
        state.small = small;
    }

    /// Bytes that are committed already and are sealed once more with what comes next.
    pub(crate) fn again_bytes(&self) -> u64 {
        let state = self.shared.lock();
        state.small.as_ref().map_or(0, |(small, _)| small.bytes) + state.again
    }

    /// How many sealed blocks wait for a commit.
    pub(crate) fn sealed(&self) -> usize {
        self.shared.lock().sealed.len()
    }

    /// Bytes that no commit names yet: waiting, open and sealed.
    pub(crate) fn pending_bytes(&self) -> u64 {
        let state = self.shared.lock();
        let open = if state.open.is_empty() {
            0
        } else {
            state.open.size()
        };
        let filled: usize = state.filled.iter().map(|f| f.bytes.len()).sum();
        let ready: usize = state.ready.iter().map(|r| r.bytes.len()).sum();
        let sealed: u64 = state.sealed.iter().map(|b| b.size).sum();
        let all = (state.queued + open + filled + ready) as u64 + sealed;
        all.saturating_sub(state.again)
    }

    /// The failure that stopped the pipeline, until the next drain tries again.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.shared.lock().failed.clone()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake_all();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so; there is nobody left to tell here.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_all(&self) {
        self.to_pack.notify_all();
        self.to_write.notify_all();
        self.done.notify_all();
    }

    /// A panic in a thread ends the store's writing, not the caller's waiting.
    fn work_guarded(&self, role: Role, packer: &mut Packer) {
        let work = std::panic::AssertUnwindSafe(|| self.work(role, packer));
        if std::panic::catch_unwind(work).is_err() {
            let mut state = self.lock();
            state.die(Error::new(
                Kind::Io,
                "seal",
                "a block",
                "a sealing thread panicked",
            ));
            state.busy = 0;
            self.done.notify_all();
        }
    }

    fn work(&self, role: Role, packer: &mut Packer) {
        let mut state = self.lock();
        loop {
            state = self.run(state, role, packer);
            if state.stop {
                return;
            }
            let call = match role {
                Role::Writer => &self.to_write,
                Role::Worker | Role::Alone => &self.to_pack,
            };
            state = wait(call, state);
        }
    }

    /// Works until nothing waits for this role, or something failed.
    fn run<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        role: Role,
        packer: &mut Packer,
    ) -> MutexGuard<'a, State> {
        while let Some(job) = state.next_job(role) {
            let block = usize::from(!matches!(job, Job::Pack(_)));
            state.busy += 1;
            state.busy_blocks += block;
            state = match job {
                Job::Pack(group) => self.pack(state, group, packer),
                Job::Seal(filled) => self.seal(state, filled),
                Job::Write(ready) => self.write(state, ready),
            };
            state.busy = state.busy.saturating_sub(1);
            state.busy_blocks = state.busy_blocks.saturating_sub(block);
            self.done.notify_all();
        }
        state
    }

    fn pack<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        group: Group,
        packer: &mut Packer,
    ) -> MutexGuard<'a, State> {
        drop(state);
        let length = group.len();
        let packed = packer.pack(group);
        let mut state = self.lock();
        // The bytes count as waiting until they lie in the open block.
        state.queued = state.queued.saturating_sub(length);
        if let Err(e) = packed.and_then(|p| state.lay(p, self.target)) {
            state.die(e);
        }
        state
    }

    fn seal<'a>(&'a self, state: MutexGuard<'a, State>, filled: Filled) -> MutexGuard<'a, State> {
        drop(state);
        let Filled { mut bytes, about } = filled;
        let named = self.seal_and_name(&mut bytes);
        let mut state = self.lock();
        match named {
            Ok(id) => {
                state.ready.push_back(Ready { bytes, id, about });
                self.to_write.notify_one();
            }
            Err(e) if bytes.is_empty() => state.die(e),
            Err(e) => {
                state.filled.push_front(Filled { bytes, about });
                state.failed = Some(e);
            }
        }
        state
    }

    /// Seals a block where it lies; where that fails and can be tried again, it is as it was.
    fn seal_and_name(&self, bytes: &mut Vec<u8>) -> Result<BlockId> {
        self.sealer.seal_in_place(Part::Block, bytes)?;
        if bytes.len() as u64 > MAX_SEALED_BLOCK {
            bytes.clear();
            let why = "it would be longer than 64 MiB";
            return Err(Error::new(Kind::Invalid, "seal", "a block", why));
        }
        Ok(BlockId::from(blake3::hash(bytes)))
    }

    fn write<'a>(&'a self, state: MutexGuard<'a, State>, ready: Ready) -> MutexGuard<'a, State> {
        drop(state);
        // A plain block is named by what is in it, so it may be there already: an orphan of a crash.
        let written =
            names::block(&ready.id).and_then(|name| put_named(&*self.backend, &name, &ready.bytes));
        let mut state = self.lock();
        self.to_pack.notify_all();
        match written {
            Ok(()) => {
                let Ready { bytes, id, about } = ready;
                let size = bytes.len() as u64;
                state.keep(bytes);
                state.sealed.push(SealedBlock {
                    id,
                    size,
                    pieces: about.pieces,
                    grown_from: about.grown_from,
                    grows: about.grows,
                });
            }
            Err(e) => {
                state.ready.push_front(ready);
                state.failed = Some(e);
            }
        }
        state
    }
}

fn wait<'a>(call: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    call.wait(state).unwrap_or_else(PoisonError::into_inner)
}
