//! Reading a log from its first frame to its end, and telling a torn tail from damage.

use super::frame::{self, Found, Frame, HEADER, MAX_FRAME};
use super::{Head, LogForm};
use asl_backend::Backend;
use asl_core::{Kind, Result};

/// Zero bytes between two frames at most, so that a sparse log costs no endless walk: 1 MiB, the
/// largest AppendUnit a backend may have.
pub(super) const MAX_PADDING: u64 = 1 << 20;

/// Places in a broken tail at which a whole frame is looked for at most.
const TRIES: usize = 64;

const READ_AHEAD: u64 = 1 << 20;

/// A place in a log from which it can be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// The head there.
    pub(crate) head: Head,
    /// Where the head's frame begins.
    pub(crate) begin: u64,
    /// Where it ends.
    pub(crate) end: u64,
}

/// Looks whether the log holds this head's frame at this byte; only that frame is read.
///
/// # Errors
/// `Io`.
pub(crate) fn find(
    backend: &dyn Backend,
    form: &LogForm,
    begin: u64,
    head: &Head,
) -> Result<Option<Start>> {
    let mut window = Window::new(backend, form)?;
    if begin >= window.size {
        return Ok(None);
    }
    let (frame, hash, length) = match window.frame(begin) {
        Ok(Found::Frame(frame, hash, length)) => (frame, hash, length),
        Ok(Found::Torn) => return Ok(None),
        Err(e) if e.kind() == Kind::Invalid => return Ok(None),
        Err(e) => return Err(e),
    };
    let is_it = frame.head(hash, length) == *head;
    let end = begin.saturating_add(length as u64);
    Ok(is_it.then_some(Start {
        head: *head,
        begin,
        end,
    }))
}

/// The first frame of a log, where it begins with a whole one.
///
/// # Errors
/// `Io`.
pub(crate) fn first(backend: &dyn Backend, form: &LogForm) -> Result<Option<Frame>> {
    let mut window = Window::new(backend, form)?;
    let begin = window.skip_zeros(0)?;
    match window.frame(begin) {
        Ok(Found::Frame(frame, ..)) => Ok(Some(*frame)),
        Ok(Found::Torn) => Ok(None),
        Err(e) if e.kind() == Kind::Invalid => Ok(None),
        Err(e) => Err(e),
    }
}

/// A window on a log that reads ahead.
pub(super) struct Window<'a> {
    backend: &'a dyn Backend,
    form: &'a LogForm,
    /// Bytes in the log; 0 where there is none.
    pub(super) size: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) fn new(backend: &'a dyn Backend, form: &'a LogForm) -> Result<Self> {
        let size = match backend.size(&form.name) {
            Err(e) if e.kind() == Kind::NotFound => 0,
            other => other?,
        };
        Ok(Window {
            backend,
            form,
            size,
            start: 0,
            bytes: Vec::new(),
        })
    }

    /// The `n` bytes from `at`; fewer only where the log ends.
    pub(super) fn at(&mut self, at: u64, n: usize) -> Result<&[u8]> {
        let end = at.saturating_add(n as u64).min(self.size);
        let held = self.start..self.start + self.bytes.len() as u64;
        if at < held.start || end > held.end {
            let ahead = end.max(at.saturating_add(READ_AHEAD)).min(self.size);
            self.bytes = self.backend.get(&self.form.name, at..ahead.max(at))?;
            self.start = at;
        }
        let from = (at - self.start) as usize;
        let to = from + (end.saturating_sub(at)) as usize;
        let held = self.bytes.len();
        Ok(self
            .bytes
            .get(from.min(held)..to.min(held))
            .unwrap_or_default())
    }

    /// Where the first byte that is not zero lies, from `at`; the log's end where there is none.
    /// Walks [`MAX_PADDING`] bytes at most.
    pub(super) fn skip_zeros(&mut self, at: u64) -> Result<u64> {
        let stop = self.size.min(at.saturating_add(MAX_PADDING));
        let mut at = at;
        while at < stop {
            let left = usize::try_from(stop - at).unwrap_or(4096).min(4096);
            let part = self.at(at, left)?;
            if part.is_empty() {
                break;
            }
            match part.iter().position(|b| *b != 0) {
                Some(n) => return Ok(at + n as u64),
                None => at += part.len() as u64,
            }
        }
        Ok(at)
    }

    /// The frame that begins at `at`.
    pub(super) fn frame(&mut self, at: u64) -> Result<Found> {
        let form = self.form;
        let Some(length) = frame::length(form, self.at(at, HEADER)?)? else {
            return Ok(Found::Torn);
        };
        let bytes = self.at(at, length)?;
        if bytes.len() < length {
            return Ok(Found::Torn);
        }
        frame::read(form, bytes)
    }

    /// Whether what lies from `at` to the end can be the torn remains of one append: no longer
    /// than a frame can be, and with no whole frame in it.
    ///
    /// The search is bounded; what would need more is not believed to be a torn tail.
    pub(super) fn is_torn_tail(&mut self, at: u64, unit: u64) -> Result<bool> {
        if self.size - at > MAX_FRAME as u64 + MAX_PADDING + 2 * unit {
            return Ok(false);
        }
        let tail = self.at(at, (self.size - at) as usize)?.to_vec();
        let mut tries = 0;
        for (n, eight) in tail.windows(8).enumerate() {
            if eight != self.form.magic {
                continue;
            }
            let rest = tail.get(n..).unwrap_or_default();
            // A header of another version is whole too: it is not for this reader to cut.
            let length = match frame::length(self.form, rest.get(..HEADER).unwrap_or_default()) {
                Ok(None) => continue,
                Ok(Some(length)) => length,
                Err(_) => return Ok(false),
            };
            tries += 1;
            let Some(bytes) = rest.get(..length) else {
                continue;
            };
            let whole = !matches!(frame::read(self.form, bytes), Ok(Found::Torn));
            if tries > TRIES || whole {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
