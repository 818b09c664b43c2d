//! What a command says: text for a person, or one JSON object.

use asl_core::{Error, Kind, Result};
use serde_json::{json, Value};
use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Where results go, and in which form.
#[derive(Clone, Copy)]
pub struct Out {
    json: bool,
}

impl Out {
    /// Text, or JSON where asked for.
    pub fn new(json: bool) -> Self {
        Out { json }
    }

    /// Whether a person reads along; bars and remarks are for them only.
    pub fn is_text(self) -> bool {
        !self.json
    }

    /// Prints a command's result: the text, or the object.
    ///
    /// # Errors
    /// `Io` where standard output is gone: a script must not take silence for success.
    pub fn result(self, text: &str, object: &Value) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let written = if self.json {
            writeln!(out, "{object}")
        } else {
            writeln!(out, "{}", text.trim_end())
        };
        written
            .and_then(|()| out.flush())
            .map_err(|e| Error::new(Kind::Io, "write", "the result", e))
    }

    /// Prints an error: what was refused and why, then what to do.
    pub fn error(self, error: &Error) {
        if self.json {
            let object = json!({ "error": {
                "message": error.to_string(),
                "next": error.what_next(),
                "status": error.status().map(asl_core::Status::code),
                "exit": error.exit_code(),
            }});
            // Where standard output is gone, the exit code alone speaks.
            let _ = writeln!(std::io::stdout().lock(), "{object}");
        } else {
            remark(&format!("asl-host: {error}"));
            if !error.what_next().is_empty() {
                remark(&format!("  next: {}", error.what_next()));
            }
        }
    }

    /// A remark beside the result.
    pub fn note(self, text: &str) {
        if self.is_text() {
            remark(text);
        }
    }
}

/// A line on standard error. A console that is gone is no reason to stop, still less to panic.
pub fn remark(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
    note_along(text);
}

/// A second place where everything is said that a person is told, for other consoles to look at.
static ALONG: Mutex<Option<File>> = Mutex::new(None);

/// From now on every remark goes to this file too.
pub fn write_along(file: File) {
    *ALONG.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
}

/// Says a line in the second place alone.
pub fn note_along(text: &str) {
    if let Some(file) = &mut *ALONG.lock().unwrap_or_else(PoisonError::into_inner) {
        // A look from elsewhere is worth less than the session itself.
        let _ = writeln!(file, "{text}");
    }
}

/// The beginning of a line on standard error, to be answered behind it.
pub fn remark_open(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// A text that no terminal obeys: what is not printable is shown as a question mark.
pub fn printable(text: &str) -> String {
    let safe = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(safe).collect()
}

/// A size as a person reads it: decimal units, one decimal.
pub fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

/// A time as a person reads it, UTC.
pub fn time(unix_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).map_or_else(
        |_| format!("{unix_ns} ns"),
        |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}
