//! Part of an object as a stream that can seek, of which little is held at a time.

use asl_backend::{Backend, Name};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

/// How much is read at once where less was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// At a new place.
    pub(crate) first: u64,
    /// At most, where reading goes on and on: it doubles up to here. No more than this is held on.
    pub(crate) most: u64,
}

/// A range of an object's bytes.
pub(crate) struct Source {
    backend: Arc<dyn Backend>,
    name: Name,
    range: Range<u64>,
    ahead: Ahead,
    /// All places below are within the range.
    at: u64,
    held_at: u64,
    held: Vec<u8>,
    part: u64,
}

impl Source {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        name: Name,
        range: Range<u64>,
        ahead: Ahead,
    ) -> Source {
        Source {
            backend,
            name,
            range,
            ahead,
            at: 0,
            held_at: 0,
            held: Vec::new(),
            part: 0,
        }
    }

    fn length(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    fn held_end(&self) -> u64 {
        self.held_at + self.held.len() as u64
    }

    fn fetch(&mut self, wanted: u64) -> io::Result<()> {
        let goes_on = self.held_end() == self.at;
        let part = if goes_on {
            2 * self.part
        } else {
            self.ahead.first
        };
        self.part = part.clamp(self.ahead.first, self.ahead.most);
        let length = self.part.max(wanted).min(self.length() - self.at);
        let from = self.range.start + self.at;
        let read = self.backend.get(&self.name, from..from + length);
        self.held = read.map_err(io::Error::other)?;
        self.held_at = self.at;
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.length() || out.is_empty() {
            return Ok(0);
        }
        if !(self.held_at..self.held_end()).contains(&self.at) {
            self.fetch(out.len() as u64)?;
        }
        let from = (self.at - self.held_at) as usize;
        let mut part = self.held.get(from..).unwrap_or_default();
        let n = part.read(out)?;
        self.at += n as u64;
        if self.held.len() as u64 > self.ahead.most {
            // What was asked for is read once; it is not to be held here as well.
            self.held = self.held.split_off(from + n);
            self.held_at = self.at;
        }
        Ok(n)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
            SeekFrom::End(n) => self.length().checked_add_signed(n),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
