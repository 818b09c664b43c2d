//! From groups of pieces to sealed blocks, beside the caller's own work.
//!
//! Workers compress groups, lay them into the one open block, and seal and name it when it is
//! full; writers put sealed blocks in place, so that no worker waits for the medium. What a stage
//! could not do stays where it waited, and is tried again.
//!
//! Memory is bounded: groups that wait hold at most [`QUEUE_BYTES`] (or one group); the open block
//! holds its target and one extent more; at most [`IN_HAND`] full blocks are sealed or written
//! before packing stops, one more where two workers fill one at once; a block being sealed is there
//! in two forms; [`BUFFERS`] buffers are kept where fewer are in use. With a target of 16 MiB and
//! two workers that is 8 + 16 + 3 x 16 + 2 x 16 MiB and small change at the very worst. That is what
//! is in use; the process holds more (184 MB seen when sealing an encrypted domain).
//!
//! The open block lives in memory only; `store/blocks/open/` stays empty (invariant 8).

use crate::block::{BlockBuilder, Group, Located, Packed, Packer, MAX_SEALED_BLOCK};
use crate::names;
use crate::sealer::{Part, Sealer};
use crate::store::put_named;
use asl_backend::Backend;
use asl_core::{BlockId, Error, Kind, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Bytes of groups that may wait for a worker: 8 MiB.
const QUEUE_BYTES: usize = 8 << 20;
/// Full blocks on their way to the medium while packing goes on.
const IN_HAND: usize = 2;
/// Buffers of a block that are kept, those in use counted in: the kernel gives fresh memory slowly,
/// page by page.
const BUFFERS: usize = 4;
/// Threads that write: one block's bytes go to the kernel while another's are synced.
const WRITERS: usize = 2;

/// A block that lies under its name and is named by no commit yet.
#[derive(Clone, Debug)]
pub(crate) struct SealedBlock {
    pub(crate) id: BlockId,
    pub(crate) size: u64,
    pub(crate) pieces: Vec<Located>,
}

/// A full block that is not sealed yet.
struct Filled {
    plain: Vec<u8>,
    pieces: Vec<Located>,
}

/// A sealed block that is not written yet.
struct Ready {
    sealed: Vec<u8>,
    id: BlockId,
    pieces: Vec<Located>,
}

/// What a thread takes in hand.
enum Job {
    Pack(Group),
    Seal(Filled),
    Write(Ready),
}

/// Who does which job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Worker,
    Writer,
    /// Both, on the caller's thread.
    Alone,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Group>,
    queued: usize,
    open: BlockBuilder,
    filled: VecDeque<Filled>,
    ready: VecDeque<Ready>,
    /// Jobs in hand, and the full blocks among them.
    busy: usize,
    busy_blocks: usize,
    sealed: Vec<SealedBlock>,
    /// Buffers that blocks were in.
    spare: Vec<Vec<u8>>,
    failed: Option<Error>,
    /// Set where pieces were lost from memory: nothing more is believed until the store is opened
    /// again.
    dead: bool,
    stop: bool,
}

impl State {
    fn die(&mut self, e: Error) {
        self.failed = Some(e.next("open the domain again; what was acknowledged is there"));
        self.dead = true;
    }

    fn outcome(&self) -> Result<()> {
        match &self.failed {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }

    /// The next job for this role, what is nearest to the medium first.
    fn next_job(&mut self, role: Role) -> Option<Job> {
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
    fn works(&self) -> bool {
        let waits = !(self.queue.is_empty() && self.filled.is_empty() && self.ready.is_empty());
        self.busy > 0 || (waits && self.failed.is_none())
    }

    /// Lays extents into the open block; a full one waits to be sealed.
    fn lay(&mut self, packed: Vec<Packed>, target: usize) -> Result<()> {
        if self.open.is_empty() {
            self.open = BlockBuilder::within(self.spare.pop().unwrap_or_default(), target);
        }
        self.open.push(packed)?;
        if self.open.size() >= target {
            self.fill()?;
        }
        Ok(())
    }

    fn keep(&mut self, mut buffer: Vec<u8>) {
        let in_use = 1 + self.filled.len() + self.ready.len() + self.busy_blocks;
        if in_use + self.spare.len() < BUFFERS {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    fn fill(&mut self) -> Result<()> {
        let (plain, pieces) = std::mem::take(&mut self.open).finish()?;
        self.filled.push_back(Filled { plain, pieces });
        Ok(())
    }
}

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
            if let Err(e) = state.fill() {
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
        let filled: usize = state.filled.iter().map(|f| f.plain.len()).sum();
        let ready: usize = state.ready.iter().map(|r| r.sealed.len()).sum();
        let sealed: u64 = state.sealed.iter().map(|b| b.size).sum();
        (state.queued + open + filled + ready) as u64 + sealed
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

    fn seal<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        filled: Filled,
    ) -> MutexGuard<'a, State> {
        let mut sealed = state.spare.pop().unwrap_or_default();
        drop(state);
        let named = self.seal_and_name(&filled.plain, &mut sealed);
        let mut state = self.lock();
        match named {
            Ok(id) => {
                let Filled { plain, pieces } = filled;
                state.keep(plain);
                state.ready.push_back(Ready { sealed, id, pieces });
                self.to_write.notify_one();
            }
            Err(e) => {
                state.filled.push_front(filled);
                state.failed = Some(e);
            }
        }
        state
    }

    fn seal_and_name(&self, plain: &[u8], sealed: &mut Vec<u8>) -> Result<BlockId> {
        self.sealer.seal_into(Part::Block, plain, sealed)?;
        if sealed.len() as u64 > MAX_SEALED_BLOCK {
            let why = "it would be longer than 64 MiB";
            return Err(Error::new(Kind::Invalid, "seal", "a block", why));
        }
        Ok(BlockId::from(blake3::hash(sealed)))
    }

    fn write<'a>(&'a self, state: MutexGuard<'a, State>, ready: Ready) -> MutexGuard<'a, State> {
        drop(state);
        // A plain block is named by what is in it, so it may be there already: an orphan of a crash.
        let written = names::block(&ready.id)
            .and_then(|name| put_named(&*self.backend, &name, &ready.sealed));
        let mut state = self.lock();
        self.to_pack.notify_all();
        match written {
            Ok(()) => {
                let Ready { sealed, id, pieces } = ready;
                let size = sealed.len() as u64;
                state.keep(sealed);
                state.sealed.push(SealedBlock { id, size, pieces });
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
