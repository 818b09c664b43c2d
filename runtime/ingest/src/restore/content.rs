//! A file's bytes, written with their holes as they come, and hashed in their order.

use super::report::{damaged, refused, Report};
use crate::ingest::{hash_zeros, is_zero};
use crate::os::{retry, Node};
use crate::PAGE;
use asl_core::codec::{blob_key, Entry};
use asl_core::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::ftruncate;
use rustix::io::{pwrite, Errno};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Lost ranges of one file told with their offsets; further ones are counted.
const RANGES: usize = 100;

/// A file that was made, to be filled by whoever has its bytes.
///
/// Stretches may come in any order and from several threads. What comes early is written at once
/// and kept until what is before it was hashed; whoever brings the last one finishes the file.
pub(super) struct File {
    fd: OwnedFd,
    path: Vec<u8>,
    entry: Entry,
    /// Its place among all entries, by which its problems are told in order.
    place: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hasher: blake3::Hasher,
    /// Bytes done: hashed, or passed over as lost.
    done: u64,
    /// Where the last written byte ends.
    end: u64,
    /// What was given before its turn, by its offset.
    early: BTreeMap<u64, Early>,
    lost: Vec<String>,
    lost_more: u64,
    first: String,
    /// Whether the target refused a part of it: the rest is not written.
    refused: bool,
}

/// What is given of a file.
pub(super) enum Given<'b> {
    Data(&'b [u8]),
    Hole(u64),
    Lost(u64, Error),
}

enum Early {
    Data(Vec<u8>),
    Hole(u64),
    Lost(u64, Error),
}

impl File {
    pub(super) fn new(fd: OwnedFd, path: &[u8], entry: &Entry, place: u64) -> Self {
        File {
            fd,
            path: path.to_vec(),
            entry: entry.clone(),
            place,
            state: Mutex::default(),
        }
    }

    /// Takes a stretch of it; `step` is told of the bytes done, and may end it.
    ///
    /// # Errors
    /// Those of `step`, and where the target cannot take more of anything.
    pub(super) fn give(
        &self,
        offset: u64,
        given: Given<'_>,
        report: &mut Report,
        step: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let mut written = Ok(None);
        if let Given::Data(bytes) = &given {
            // Without the lock: only the hash needs an order.
            if !self.state().refused {
                written = write_data(self.fd.as_fd(), bytes, offset);
            }
        }
        let mut state = self.state();
        match written {
            Ok(end) => state.end = state.end.max(end.unwrap_or(0)),
            Err(e) => self.refuse(&mut state, e, report)?,
        }
        if state.done < offset {
            let early = match given {
                Given::Data(bytes) => Early::Data(bytes.to_vec()),
                Given::Hole(n) => Early::Hole(n),
                Given::Lost(n, e) => Early::Lost(n, e),
            };
            state.early.insert(offset, early);
            return Ok(());
        }
        state.next(given, step)?;
        loop {
            let at = state.done;
            match state.early.remove(&at) {
                Some(Early::Data(bytes)) => state.next(Given::Data(&bytes), step)?,
                Some(Early::Hole(n)) => state.next(Given::Hole(n), step)?,
                Some(Early::Lost(n, e)) => state.next(Given::Lost(n, e), step)?,
                None => break,
            }
        }
        if state.done >= self.size() {
            self.end(&mut state, report)?;
        }
        Ok(())
    }

    /// Ends a file that has no bytes.
    ///
    /// # Errors
    /// As [`File::give`].
    pub(super) fn finish(&self, report: &mut Report) -> Result<()> {
        self.end(&mut self.state(), report)
    }

    fn end(&self, state: &mut State, report: &mut Report) -> Result<()> {
        if state.end < self.size() && !state.refused {
            if let Err(e) = retry(|| ftruncate(&self.fd, self.size())) {
                self.refuse(state, e, report)?;
            }
        }
        let lost = state.told();
        if state.refused || self.entry.content.is_none() {
            // It was told already.
        } else if !lost.is_empty() {
            report.damage(self.place, &self.path, &damaged(&self.path, &lost));
        } else if self.entry.key != Some(blob_key(&state.hasher.finalize().into())) {
            let why = "its bytes do not have the key they were stored under";
            report.damage(self.place, &self.path, &damaged(&self.path, why));
        }
        let fd = self.fd.as_fd();
        let all = &mut report.refusals;
        all.apply(&self.path, &self.entry, fd, Node::Open(fd));
        Ok(())
    }

    fn refuse(&self, state: &mut State, e: Errno, report: &mut Report) -> Result<()> {
        if !std::mem::replace(&mut state.refused, true) {
            let why = refused(&self.path, "could not be written whole", e)?;
            report.problem(self.place, &self.path, why);
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.entry.content.map_or(0, |c| c.size)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes what is next in the file's order.
    fn next(&mut self, given: Given<'_>, step: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let length = match given {
            Given::Data(bytes) => {
                self.hasher.update(bytes);
                bytes.len() as u64
            }
            Given::Hole(n) => {
                hash_zeros(&mut self.hasher, n, &mut || step(0))?;
                n
            }
            Given::Lost(n, e) => {
                if self.lost.is_empty() {
                    self.first = e.to_string();
                }
                if self.lost.len() < RANGES {
                    let last = self.done.saturating_add(n) - 1;
                    self.lost.push(format!("{}-{last}", self.done));
                } else {
                    self.lost_more += 1;
                }
                n
            }
        };
        self.done = self.done.saturating_add(length);
        step(length)
    }

    /// The ranges the store could not give, in words; they are holes. Empty where none.
    fn told(&self) -> String {
        if self.lost.is_empty() {
            return String::new();
        }
        let mut text = format!("left as zeros: bytes {}", self.lost.join(", "));
        if self.lost_more > 0 {
            text.push_str(&format!(" and {} more ranges", self.lost_more));
        }
        text.push_str(&format!(" ({})", self.first));
        text
    }
}

/// Writes all but the zero pages; answers where the last written byte ends.
fn write_data(
    file: BorrowedFd<'_>,
    bytes: &[u8],
    offset: u64,
) -> std::result::Result<Option<u64>, Errno> {
    let mut end = None;
    let mut run = (0, 0);
    // Pages lie on the file's grid, which a chunk need not begin on.
    let lead = (PAGE as u64 - offset % PAGE as u64) as usize % PAGE;
    let (head, pages) = bytes.split_at(lead.min(bytes.len()));
    for page in std::iter::once(head).chain(pages.chunks(PAGE)) {
        let next = run.1 + page.len();
        if is_zero(page) {
            end = write_run(file, bytes, run, offset)?.or(end);
            run = (next, next);
        } else {
            run.1 = next;
        }
    }
    Ok(write_run(file, bytes, run, offset)?.or(end))
}

fn write_run(
    file: BorrowedFd<'_>,
    bytes: &[u8],
    (from, to): (usize, usize),
    offset: u64,
) -> std::result::Result<Option<u64>, Errno> {
    let mut at = from;
    while at < to {
        let rest = bytes.get(at..to).unwrap_or_default();
        match retry(|| pwrite(file, rest, offset + at as u64))? {
            0 => return Err(Errno::IO),
            n => at += n,
        }
    }
    Ok((to > from).then_some(offset + to as u64))
}
