//! What this run learns: rows gathered by directory, and written once their pieces are committed.

use super::part::PartBuilder;
use super::placing::{Places, Placing};
use super::row::{PathHash, Row};
use super::{Files, MOST, PART, WAITING};
use crate::PieceStore;
use asl_core::Result;
use std::collections::HashSet;

/// A row, and where its content comes to lie.
#[derive(Clone)]
pub(crate) struct Draft {
    pub row: Row,
    pub placing: Placing,
    /// Whether the journal has it.
    sent: bool,
}

impl Draft {
    pub(crate) fn new(row: Row, placing: Placing) -> Draft {
        Draft {
            row,
            placing,
            sent: false,
        }
    }
}

/// A directory's rows.
struct Gathered {
    dir: PathHash,
    rows: Vec<Draft>,
    /// Whether every name so far has a row.
    all: bool,
    /// The directory's own content, once it is done and all of it could be kept.
    content: Option<Draft>,
}

/// Gathers rows and writes parts. Memory: [`WAITING`] rows and one part.
pub(crate) struct Recorder {
    files: Option<Files>,
    /// The directories under way, from the source down.
    open: Vec<Gathered>,
    /// Those done, with pieces that are still to be committed.
    waiting: Vec<Gathered>,
    /// Rows in both.
    held: usize,
    out: PartBuilder,
    /// The number of the next part.
    next: u32,
    /// Rows this run stands for: written, or found to hold in an old whole group.
    pub live: u64,
    /// Rows written, those written twice included.
    pub written: u64,
    /// Parts written.
    pub parts: u64,
    /// Every directory gone through.
    pub seen: HashSet<PathHash>,
    /// Why nothing more is kept.
    pub failed: Option<String>,
}

impl Recorder {
    /// A recorder that keeps nothing.
    pub(crate) fn off() -> Recorder {
        Recorder {
            files: None,
            open: Vec::new(),
            waiting: Vec::new(),
            held: 0,
            out: PartBuilder::new([0; 32]),
            next: 0,
            live: 0,
            written: 0,
            parts: 0,
            seen: HashSet::new(),
            failed: None,
        }
    }

    /// A recorder that writes parts from this number on.
    pub(crate) fn new(files: Files, names: [u8; 32], next: u32) -> Recorder {
        Recorder {
            files: Some(files),
            out: PartBuilder::new(names),
            next,
            ..Recorder::off()
        }
    }

    /// Its files, where anything is kept.
    pub(crate) fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    /// Whether anything is kept.
    pub(crate) fn is_on(&self) -> bool {
        self.files.is_some()
    }

    /// Gives up: what was written stays, nothing is added.
    pub(crate) fn stop(&mut self, why: String) {
        *self = Recorder {
            seen: std::mem::take(&mut self.seen),
            failed: Some(why),
            ..Recorder::off()
        };
    }

    /// Goes down into a directory.
    pub(crate) fn enter(&mut self, dir: PathHash) {
        if self.is_on() {
            self.seen.insert(dir);
            self.open.push(Gathered {
                all: true,
                ..Gathered::new(dir, Vec::new())
            });
        }
    }

    /// Adds a name of the directory under way; `None` for one that cannot be kept.
    ///
    /// # Errors
    /// Those of the store when it is asked where pieces lie.
    pub(crate) fn add(
        &mut self,
        draft: Option<Draft>,
        store: &dyn PieceStore,
        places: &mut Places,
    ) -> Result<()> {
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        match draft {
            Some(draft) => open.rows.push(draft),
            None => {
                open.all = false;
                return Ok(());
            }
        }
        self.held += 1;
        if self.held > WAITING {
            self.relieve(store, places)?;
        }
        Ok(())
    }

    /// Too many rows wait: those under way are written name by name, their directories are not
    /// known as wholes, and what cannot be written yet is forgotten, the oldest first.
    fn relieve(&mut self, store: &dyn PieceStore, places: &mut Places) -> Result<()> {
        for open in &mut self.open {
            if !open.rows.is_empty() {
                open.all = false;
                self.live += open.rows.len() as u64;
                let rows = std::mem::take(&mut open.rows);
                self.waiting.push(Gathered::new(open.dir, rows));
            }
        }
        self.settle(store, places)?;
        let mut over = self.held.saturating_sub(WAITING / 2);
        let forget = |group: &Gathered| {
            let old = over > 0;
            over = over.saturating_sub(group.rows.len());
            old
        };
        let forgotten = self.waiting.iter().map(forget).filter(|old| *old).count();
        for group in self.waiting.drain(..forgotten) {
            self.held = self.held.saturating_sub(group.rows.len());
        }
        Ok(())
    }

    /// Goes up, the directory having come to this content; `None` where it cannot be kept as a
    /// whole.
    pub(crate) fn leave(
        &mut self,
        content: Option<Draft>,
        store: &dyn PieceStore,
        places: &Places,
    ) {
        let Some(mut done) = self.open.pop() else {
            return;
        };
        done.content = content.filter(|_| done.all);
        self.live += done.rows.len() as u64;
        if done.is_settled() {
            self.emit(&done);
            self.write(store, places, PART);
        } else {
            self.waiting.push(done);
        }
    }

    /// Goes up, the directory being as its old whole group of so many rows says.
    pub(crate) fn leave_as_it_was(&mut self, rows: u32) {
        self.open.pop();
        self.live += u64::from(rows);
    }

    /// After a commit: writes what it made certain, also of the directories under way.
    ///
    /// # Errors
    /// Those of the store when it is asked where pieces lie. A part that cannot be written is no
    /// error: the cache ends there.
    pub(crate) fn journal(&mut self, store: &dyn PieceStore, places: &mut Places) -> Result<()> {
        self.settle(store, places)?;
        let (mut waiting, mut open) = (
            std::mem::take(&mut self.waiting),
            std::mem::take(&mut self.open),
        );
        for group in &mut open {
            group.settle(store, places)?;
        }
        for group in waiting.iter_mut().chain(&mut open) {
            self.emit_ready(group);
        }
        self.waiting = waiting;
        self.open = open;
        self.write(store, places, 0);
        Ok(())
    }

    /// Takes up where the pieces of the waiting directories came to lie.
    fn settle(&mut self, store: &dyn PieceStore, places: &mut Places) -> Result<()> {
        let mut still = Vec::new();
        for mut group in std::mem::take(&mut self.waiting) {
            if group.settle(store, places)? {
                self.emit(&group);
                self.write(store, places, PART);
            } else {
                still.push(group);
            }
        }
        self.waiting = still;
        Ok(())
    }

    /// Writes a directory that is done and settled: whole, or what the journal does not have.
    fn emit(&mut self, group: &Gathered) {
        self.held = self.held.saturating_sub(group.rows.len());
        let whole = group.content.as_ref();
        let wanted = |d: &&Draft| whole.is_some() || (!d.sent && d.row.content.is_some());
        if whole.is_some() || group.rows.iter().any(|d| wanted(&d)) {
            let before = self.out.len();
            self.out
                .group(group.dir, whole, group.rows.iter().filter(wanted));
            self.count(before);
        }
    }

    /// Writes those rows of a directory whose content can be reused, and that are not written yet.
    fn emit_ready(&mut self, group: &mut Gathered) {
        let ready =
            |d: &&Draft| !d.sent && d.row.content.is_some() && d.placing.settled().is_some();
        if group.rows.iter().any(|d| ready(&d)) {
            let before = self.out.len();
            self.out
                .group(group.dir, None, group.rows.iter().filter(ready));
            self.count(before);
            for draft in &mut group.rows {
                draft.sent |= draft.placing.settled().is_some();
            }
        }
    }

    fn count(&mut self, before: usize) {
        self.written += ((self.out.len() - before) / super::row::ROW) as u64;
    }

    fn write(&mut self, store: &dyn PieceStore, places: &Places, from: usize) {
        if self.out.is_empty() || self.out.len() < from {
            return;
        }
        let Some(files) = &self.files else { return };
        let name = files.name(self.next);
        self.next = self.next.saturating_add(1);
        let part = self.out.take(places);
        self.parts += 1;
        if let Err(e) = store.write_working(&name, &part) {
            self.stop(e.to_string());
        } else if self.written > MOST {
            self.stop(format!("it holds {MOST} rows at most"));
        }
    }
}

impl Gathered {
    fn new(dir: PathHash, rows: Vec<Draft>) -> Gathered {
        Gathered {
            dir,
            rows,
            all: false,
            content: None,
        }
    }

    fn is_settled(&self) -> bool {
        let mut drafts = self.rows.iter().chain(&self.content);
        drafts.all(|d| d.placing.settled().is_some())
    }

    /// Whether all of it is committed.
    fn settle(&mut self, store: &dyn PieceStore, places: &mut Places) -> Result<bool> {
        let mut all = true;
        for draft in self.rows.iter_mut().chain(&mut self.content) {
            if draft.placing.settled().is_none() {
                all &= draft.placing.settle(store, places)?;
            }
        }
        Ok(all)
    }
}
