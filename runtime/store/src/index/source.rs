//! The sealed body of a segment as a stream that can seek.

use crate::segment::HEADER;
use asl_backend::{Backend, Name};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

/// Small reads, as of an age header, are served from so many bytes.
const AHEAD: usize = 4096;

/// What follows a segment's clear header.
pub(super) struct Body {
    backend: Arc<dyn Backend>,
    name: Name,
    /// Bytes of it.
    length: u64,
    at: u64,
    held_at: u64,
    held: Vec<u8>,
}

impl Body {
    /// The body of a file of so many bytes.
    pub(super) fn of(backend: Arc<dyn Backend>, name: Name, file: u64) -> Body {
        Body {
            backend,
            name,
            length: file.saturating_sub(HEADER as u64),
            at: 0,
            held_at: 0,
            held: Vec::new(),
        }
    }
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.at);
        if left == 0 || out.is_empty() {
            return Ok(0);
        }
        let end = self.held_at + self.held.len() as u64;
        if self.at < self.held_at || self.at >= end {
            let ahead = left.min(out.len().max(AHEAD) as u64);
            let from = self.at + HEADER as u64;
            self.held = self
                .backend
                .get(&self.name, from..from + ahead)
                .map_err(io::Error::other)?;
            self.held_at = self.at;
        }
        let from = (self.at - self.held_at) as usize;
        let mut part = self.held.get(from..).unwrap_or_default();
        let n = part.read(out)?;
        self.at += n as u64;
        if self.held.len() > AHEAD {
            // A page is read once; it is not to be held here as well.
            self.held = self.held.split_off(from + n);
            self.held_at = self.at;
        }
        Ok(n)
    }
}

impl Seek for Body {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
            SeekFrom::End(n) => self.length.checked_add_signed(n),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
