//! From groups of pieces to sealed blocks, beside the caller's own work.
//!
//! Workers compress groups, lay them into the one open block, and seal, hash and write it when it
//! is full. Memory is bounded: groups that wait hold at most [`QUEUE_BYTES`] (or one group); the
//! open block holds its target and one extent more; each worker holds at most one group in two
//! forms, or one block in two forms. With a target of 16 MiB and two workers: about 8 + 32 + 2 x
//! 48 MiB at the very worst, about 60 MiB on usual data.
//!
//! The open block lives in memory only; `store/blocks/open/` stays empty (invariant 8).

use crate::block::{BlockBuilder, Group, Located, Packer, MAX_SEALED_BLOCK};
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

/// A block that lies under its name and is named by no commit yet.
#[derive(Clone, Debug)]
pub(crate) struct SealedBlock {
    pub(crate) id: BlockId,
    pub(crate) size: u64,
    pub(crate) pieces: Vec<Located>,
}

struct Filled {
    plain: Vec<u8>,
    pieces: Vec<Located>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Group>,
    queued: usize,
    busy: usize,
    open: BlockBuilder,
    /// Blocks that could not be written yet; their pieces are not lost while the store is open.
    unwritten: Vec<Filled>,
    sealed: Vec<SealedBlock>,
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
}

struct Shared {
    backend: Arc<dyn Backend>,
    sealer: Arc<dyn Sealer>,
    target: usize,
    state: Mutex<State>,
    changed: Condvar,
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
            changed: Condvar::new(),
        });
        let mut pipeline = Pipeline {
            shared,
            threads: Vec::new(),
            own: None,
        };
        if workers == 0 {
            pipeline.own = Some(Mutex::new(Packer::new()?));
        }
        for n in 0..workers {
            let shared = Arc::clone(&pipeline.shared);
            let mut packer = Packer::new()?;
            let thread = std::thread::Builder::new()
                .name(format!("seal-{n}"))
                .spawn(move || shared.work_guarded(&mut packer))
                .map_err(|e| Error::new(Kind::Io, "start", "a sealing thread", e))?;
            pipeline.threads.push(thread);
        }
        Ok(pipeline)
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
            state = self.shared.wait(state);
        }
        state.queued += group.len();
        state.queue.push_back(group);
        self.shared.changed.notify_all();
        if let Some(own) = &self.own {
            let mut packer = own.lock().unwrap_or_else(PoisonError::into_inner);
            state = self.shared.run(state, &mut packer);
        }
        state.outcome()
    }

    /// Seals what waits and what is open, and gives every block that is sealed and not yet taken.
    ///
    /// # Errors
    /// As [`Pipeline::push`]; nothing is lost, and the next call tries again.
    pub(crate) fn drain(&self) -> Result<()> {
        let mut state = self.retry(self.shared.lock())?;
        if let Some(own) = &self.own {
            let mut packer = own.lock().unwrap_or_else(PoisonError::into_inner);
            state = self.shared.run(state, &mut packer);
        }
        // Also after a failure: what another worker still tries must not be told to a later call.
        while state.busy > 0 || (!state.queue.is_empty() && state.failed.is_none()) {
            state = self.shared.wait(state);
        }
        if state.failed.is_none() && !state.open.is_empty() {
            let builder = std::mem::take(&mut state.open);
            state = self.shared.fill(state, builder);
        }
        state.outcome()
    }

    /// Writes what could not be written, once more.
    fn retry<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>> {
        if state.dead {
            state.outcome()?;
        }
        state.failed = None;
        while let Some(filled) = state.unwritten.pop() {
            state = self.shared.write(state, filled);
            state.outcome()?;
        }
        self.shared.changed.notify_all();
        Ok(state)
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
        let unwritten: usize = state.unwritten.iter().map(|f| f.plain.len()).sum();
        let sealed: u64 = state.sealed.iter().map(|b| b.size).sum();
        (state.queued + open + unwritten) as u64 + sealed
    }

    /// The failure that stopped the pipeline, until the next drain tries again.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.shared.lock().failed.clone()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
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

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic in a worker ends the store's writing, not the caller's waiting.
    fn work_guarded(&self, packer: &mut Packer) {
        let work = std::panic::AssertUnwindSafe(|| self.work(packer));
        if std::panic::catch_unwind(work).is_err() {
            let mut state = self.lock();
            state.die(Error::new(
                Kind::Io,
                "seal",
                "a block",
                "a sealing thread panicked",
            ));
            state.busy = 0;
            self.changed.notify_all();
        }
    }

    fn work(&self, packer: &mut Packer) {
        let mut state = self.lock();
        loop {
            state = self.run(state, packer);
            if state.stop {
                return;
            }
            state = self.wait(state);
        }
    }

    /// Works until nothing waits, or something failed.
    fn run<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        packer: &mut Packer,
    ) -> MutexGuard<'a, State> {
        while state.failed.is_none() && !state.stop {
            let Some(group) = state.queue.pop_front() else {
                break;
            };
            let length = group.len();
            state.busy += 1;
            drop(state);
            let packed = packer.pack(group);
            state = self.lock();
            // The bytes count as waiting until they lie in the open block.
            state.queued = state.queued.saturating_sub(length);
            match packed.and_then(|p| state.open.push(p)) {
                Err(e) => state.die(e),
                Ok(()) if state.open.size() >= self.target => {
                    let builder = std::mem::take(&mut state.open);
                    state = self.fill(state, builder);
                }
                Ok(()) => {}
            }
            state.busy = state.busy.saturating_sub(1);
            self.changed.notify_all();
        }
        state
    }

    fn fill<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        builder: BlockBuilder,
    ) -> MutexGuard<'a, State> {
        match builder.finish() {
            Ok((plain, pieces)) => self.write(state, Filled { plain, pieces }),
            Err(e) => {
                state.die(e);
                state
            }
        }
    }

    /// Seals, names and writes a block without holding the lock.
    fn write<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        filled: Filled,
    ) -> MutexGuard<'a, State> {
        state.busy += 1;
        drop(state);
        let written = self.seal(&filled.plain);
        let mut state = self.lock();
        state.busy = state.busy.saturating_sub(1);
        match written {
            Ok((id, size)) => state.sealed.push(SealedBlock {
                id,
                size,
                pieces: filled.pieces,
            }),
            Err(e) => {
                state.unwritten.push(filled);
                state.failed = Some(e);
            }
        }
        self.changed.notify_all();
        state
    }

    fn seal(&self, plain: &[u8]) -> Result<(BlockId, u64)> {
        let sealed = self.sealer.seal(Part::Block, plain)?;
        let size = sealed.len() as u64;
        if size > MAX_SEALED_BLOCK {
            let why = "it would be longer than 64 MiB";
            return Err(Error::new(Kind::Invalid, "seal", "a block", why));
        }
        let id = BlockId::from(blake3::hash(&sealed));
        let name = names::block(&id)?;
        // A plain block is named by what is in it, so it may be there already: an orphan of a crash.
        put_named(&*self.backend, &name, &sealed)?;
        Ok((id, size))
    }
}
