//! The audit log: who asked what of this host, when, and why it was decided so.
//!
//! One JSON object a line, appended and synced before what it tells takes effect. Each line names
//! the digest of the line before, so a line that was changed or taken out shows. Bounded: a full
//! file is put aside, and the oldest of those goes.

use crate::root::Context;
use crate::time_text;
use asl_backend::Lines;
use asl_core::{Digest, Result};
use serde_json::{json, Value};
use std::path::PathBuf;

/// Bytes after which a file is put aside.
const FULL: u64 = 4 << 20;
/// Bytes of a line at most.
const LINE: usize = 8 << 10;

/// The audit log of one host.
#[derive(Clone, Debug)]
pub struct Audit(Lines);

/// A line that does not follow the one before it, or is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

/// What an audit log holds.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The lines that can be read, oldest first.
    pub lines: Vec<Value>,
    /// Where the chain is broken.
    pub broken: Vec<Broken>,
}

impl Audit {
    /// The audit log in this directory, which comes to be with its first line.
    pub fn at(dir: PathBuf) -> Audit {
        Audit::of_size(dir, FULL)
    }

    /// The same with another bound than 4 MiB for each of its five files.
    pub fn of_size(dir: PathBuf, full: u64) -> Audit {
        Audit(Lines::new(dir, "audit", full, LINE))
    }

    /// Appends a line: what was told, with its time and the digest of the line before.
    ///
    /// # Errors
    /// `Io`; the line is then not there, or there in part and told as broken.
    pub fn note(&self, context: &Context, event: &str, told: Value) -> Result<()> {
        let time = time_text(context.clock.wall_ns());
        self.0.append(|last| {
            let mut line = json!({
                "time": time,
                "event": event,
                "after": Digest::of(last).to_string(),
            });
            for (key, value) in told.as_object().into_iter().flatten() {
                line[key] = value.clone();
            }
            let text = line.to_string();
            if text.len() <= LINE {
                return text.into_bytes();
            }
            let short = json!({ "time": time, "event": event, "after": line["after"],
                "by": line["by"], "why": "too long to be told" });
            short.to_string().into_bytes()
        })
    }

    /// Everything that is kept, checked line by line.
    ///
    /// # Errors
    /// `Io`. What is broken is in the history.
    pub fn history(&self) -> Result<History> {
        let mut history = History::default();
        // The oldest line that is kept may follow one that is not.
        let mut before: Option<Digest> = None;
        for (file, bytes) in self.0.read()? {
            for (n, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
                if line.is_empty() {
                    continue;
                }
                let bad = |why: &str| Broken {
                    file: file.clone(),
                    line: n,
                    why: why.into(),
                };
                match serde_json::from_slice::<Value>(line) {
                    Ok(value) if value.is_object() => {
                        let after = value["after"].as_str();
                        if before.is_some_and(|b| after != Some(b.to_string().as_str())) {
                            let why = "it does not follow the line before it";
                            history.broken.push(bad(why));
                        }
                        history.lines.push(value);
                    }
                    _ => history.broken.push(bad("it is no JSON object")),
                }
                before = Some(Digest::of(line));
            }
        }
        Ok(history)
    }
}
