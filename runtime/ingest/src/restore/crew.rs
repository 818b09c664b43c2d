//! Windows of the tree, filled on several threads.
//!
//! The walk makes files and lays down what belongs into them; a window of that is handed to a
//! thread, which asks the store for all of its pieces at once, so that the store reads them in the
//! order of its blocks. Memory: a window of [`BYTES`] for each thread and two more, whatever the
//! tree.

use super::content::{File, Given};
use super::report::{interrupted, Report};
use crate::read::{ends_all, sized, Stretch};
use crate::PieceStore;
use asl_core::{ChunkId, Error, Kind, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

/// Logical bytes of pieces in a window.
const BYTES: u64 = 4 << 20;
/// Stretches and problems in a window.
const STRETCHES: usize = 4096;
/// Threads at most.
const THREADS: usize = 4;
/// Files that were made and are not done at most: their descriptors are held, of the 1024 that a
/// process may have where nobody said otherwise.
const FILES: u64 = 800;
/// How often the caller is asked whether to stop, while nothing else happens.
const ASK: Duration = Duration::from_millis(100);

/// What all threads of a restore share.
pub(super) struct Shared<'s> {
    pub(super) store: &'s dyn PieceStore,
    /// Set where the restore ends before its end.
    pub(super) ended: AtomicBool,
    /// Logical bytes in place.
    pub(super) bytes: AtomicU64,
}

impl<'s> Shared<'s> {
    pub(super) fn new(store: &'s dyn PieceStore) -> Self {
        Shared {
            store,
            ended: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
        }
    }

    fn step(&self, bytes: u64) -> Result<()> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.ended.load(Ordering::Relaxed) {
            true => Err(interrupted()),
            false => Ok(()),
        }
    }
}

/// A part of the tree: files that were made, and what belongs into them.
#[derive(Default)]
struct Window {
    number: u64,
    /// Files without a byte.
    empty: Vec<Arc<File>>,
    /// Where the pieces go: file, offset, length. `ids` names them.
    pieces: Vec<(Arc<File>, u64, u64)>,
    ids: Vec<ChunkId>,
    others: Vec<(Arc<File>, u64, Given<'static>)>,
    files: u64,
    bytes: u64,
    report: Report,
}

impl Window {
    fn fill(&mut self, shared: &Shared<'_>) -> Result<Report> {
        let mut report = std::mem::take(&mut self.report);
        let step = &mut |n| shared.step(n);
        for file in self.empty.drain(..) {
            step(0)?;
            file.finish(&mut report)?;
        }
        for (file, offset, given) in self.others.drain(..) {
            file.give(offset, given, &mut report, step)?;
        }
        let (ids, pieces) = (&self.ids, &self.pieces);
        let mut told = 0;
        shared.store.get_many(ids, &mut |place, piece| {
            let Some((file, offset, size)) = pieces.get(place) else {
                return Ok(());
            };
            told += 1;
            let given = match piece.and_then(|p| sized(p, *size).map(|()| p)) {
                Ok(bytes) => Given::Data(bytes),
                Err(e) if ends_all(&e) => return Err(e),
                Err(e) => Given::Lost(*size, e),
            };
            file.give(*offset, given, &mut report, step)
        })?;
        if told != ids.len() {
            // A file would stay unfinished and nobody would say so.
            let why = format!("it told of {told} where {} were asked for", ids.len());
            return Err(Error::new(Kind::Io, "read", "the store's pieces", why));
        }
        Ok(report)
    }
}

/// The threads, seen from the one that walks.
pub(super) struct Crew {
    queue: Sender<Window>,
    done: Receiver<(u64, Result<Report>)>,
    window: Window,
    /// Windows that are not done at most, the one being laid down apart.
    ahead: u64,
    merged: u64,
    early: BTreeMap<u64, Result<Report>>,
}

impl Crew {
    /// Starts the threads; they end when this is dropped.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        shared: &'scope Shared<'_>,
    ) -> Self {
        let (queue, windows) = channel::<Window>();
        let (told, done) = channel();
        let windows = Arc::new(Mutex::new(windows));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(THREADS);
        for _ in 0..threads {
            let (windows, told) = (Arc::clone(&windows), told.clone());
            scope.spawn(move || loop {
                let next = windows
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .recv();
                let Ok(mut window) = next else { return };
                let filled = window.fill(shared);
                let failed = filled.is_err();
                let heard = told.send((window.number, filled)).is_ok();
                // Only then, so that the cause is heard before what it stopped.
                if failed || !heard {
                    shared.ended.store(true, Ordering::SeqCst);
                }
            });
        }
        Crew {
            queue,
            done,
            window: Window::default(),
            ahead: threads as u64 + 1,
            merged: 0,
            early: BTreeMap::new(),
        }
    }

    /// What is told of the entries being laid down.
    pub(super) fn report(&mut self) -> &mut Report {
        &mut self.window.report
    }

    /// Takes a file that was made; what belongs into it follows at once.
    pub(super) fn file(&mut self, file: &Arc<File>, size: u64) {
        self.window.files += 1;
        if size == 0 {
            self.window.empty.push(Arc::clone(file));
        }
    }

    /// Takes a stretch of a file; answers its length.
    pub(super) fn stretch(&mut self, file: &Arc<File>, offset: u64, stretch: Stretch) -> u64 {
        let (file, window) = (Arc::clone(file), &mut self.window);
        let (length, given) = match stretch {
            Stretch::Piece { id, size, .. } => {
                window.bytes += size;
                window.ids.push(id);
                window.pieces.push((file, offset, size));
                return size;
            }
            Stretch::Hole(n) => (n, Given::Hole(n)),
            Stretch::Lost(n, e) => (n, Given::Lost(n, e)),
        };
        window.others.push((file, offset, given));
        length
    }

    /// Whether the window is to be handed over before more is laid down.
    pub(super) fn is_full(&self) -> bool {
        let w = &self.window;
        let stretches = w.pieces.len() + w.others.len() + w.report.len();
        w.bytes >= BYTES || w.files >= FILES / (self.ahead + 1) || stretches >= STRETCHES
    }

    /// Whether so many windows are not done that no further one may be handed over.
    pub(super) fn is_busy(&self) -> bool {
        self.window.number - self.merged >= self.ahead
    }

    /// Whether everything that was handed over is done.
    pub(super) fn is_idle(&self) -> bool {
        self.window.number == self.merged
    }

    /// Hands the window over.
    pub(super) fn send(&mut self) {
        let number = self.window.number + 1;
        let next = Window {
            number,
            ..Window::default()
        };
        // The threads end after this is dropped, so somebody takes it.
        let _ = self.queue.send(std::mem::replace(&mut self.window, next));
    }

    /// The report of the next window in the order of the tree, or none for now.
    ///
    /// # Errors
    /// What ended a window, and with it the restore.
    pub(super) fn wait(&mut self) -> Result<Option<Report>> {
        if !self.early.contains_key(&self.merged) {
            match self.done.recv_timeout(ASK) {
                Ok((number, report)) => self.early.insert(number, report),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(interrupted()),
            };
        }
        // What ended a thread is told even where windows before it go on.
        if let Some(number) = self.failed() {
            return self.early.remove(&number).transpose();
        }
        let next = self.early.remove(&self.merged).transpose()?;
        self.merged += u64::from(next.is_some());
        Ok(next)
    }

    fn failed(&self) -> Option<u64> {
        let mut failed = self.early.iter().filter(|(_, r)| r.is_err());
        failed.next().map(|(number, _)| *number)
    }
}
