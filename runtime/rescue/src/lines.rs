//! Long results, line by line as they are found: nothing is gathered first.

use crate::out::Out;
use crate::system;
use asl_core::{Error, Kind, Result};
use serde_json::Value;
use std::io::{BufWriter, ErrorKind, StdoutLock, Write};

/// Standard output for many lines. A reader that has seen enough, as `head` does, ends the
/// command quietly.
pub struct Lines {
    out: BufWriter<StdoutLock<'static>>,
    json: bool,
    reader_left: bool,
}

impl Lines {
    /// Lines for a person, or one JSON object a line.
    pub fn new(out: Out) -> Self {
        Lines {
            out: BufWriter::with_capacity(64 << 10, std::io::stdout().lock()),
            json: !out.is_text(),
            reader_left: false,
        }
    }

    /// Whether each line is a JSON object.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line of text.
    ///
    /// # Errors
    /// `Interrupted` where the person or the reader has seen enough; `Io`.
    pub fn text(&mut self, line: &str) -> Result<()> {
        self.raw(line.as_bytes())?;
        self.raw(b"\n")
    }

    /// Prints a JSON object as a line.
    ///
    /// # Errors
    /// As [`Lines::text`].
    pub fn object(&mut self, object: &Value) -> Result<()> {
        self.text(&object.to_string())
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// As [`Lines::text`].
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        if system::stopped() {
            return Err(stop("it was interrupted"));
        }
        let written = self.out.write_all(bytes);
        self.told(written)
    }

    fn told(&mut self, written: std::io::Result<()>) -> Result<()> {
        written.map_err(|e| {
            self.reader_left |= e.kind() == ErrorKind::BrokenPipe;
            match self.reader_left {
                true => stop("the reader has left"),
                false => Error::new(Kind::Io, "write", "the result", e),
            }
        })
    }

    /// Ends the lines, with what came of the work; `None` where the reader has left.
    ///
    /// # Errors
    /// Those of the work, and `Io` where the last lines could not be written.
    pub fn end<T>(mut self, done: Result<T>) -> Result<Option<T>> {
        let flushed = self.out.flush();
        let flushed = self.told(flushed);
        if self.reader_left {
            // What is still held has nowhere to go.
            drop(self.out.into_parts());
            return Ok(None);
        }
        let done = done?;
        flushed.map(|()| Some(done))
    }
}

fn stop(why: &str) -> Error {
    Error::new(Kind::Interrupted, "print", "the result", why)
        .next("run it again; nothing was changed")
}
