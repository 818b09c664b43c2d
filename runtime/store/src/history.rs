//! The content log as it is told: record by record, with no key.

use crate::current::Current;
use crate::log::{FrameLog, Mode};
use crate::record::Record;
use crate::store::content_form;
use asl_backend::Backend;
use asl_core::{LogSeq, Result};
use std::sync::Arc;

/// One record of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Frames before its own.
    pub commit: u64,
    /// Records before it.
    pub logseq: LogSeq,
    /// The record.
    pub record: Record,
}

/// Gives every record of a content log in order, one frame in memory at a time.
///
/// All of the log is replayed on the way, with no checkpoint. A log that breaks is told as far as
/// it holds; whether it reaches what was acknowledged, `Store::damage` says.
///
/// # Errors
/// `Damage` where it breaks; `Invalid` for a record of a later version, or one that contradicts
/// what came before; `Io`; those of `visit`.
pub fn history(
    backend: Arc<dyn Backend>,
    visit: &mut dyn FnMut(&Past) -> Result<()>,
) -> Result<()> {
    let mut current = Current::default();
    let mut each = |frame: &crate::Frame, head: &crate::Head| {
        for (n, value) in frame.records.iter().enumerate() {
            visit(&Past {
                commit: frame.commit,
                logseq: LogSeq(frame.logseq.0.saturating_add(n as u64)),
                record: Record::from_value(value.clone())?,
            })?;
        }
        current.apply(frame, head)
    };
    let log = FrameLog::open(
        backend,
        content_form()?,
        Mode::Read,
        [0; 16],
        &[],
        &mut each,
    )?;
    match log.damage().first() {
        Some(damage) => Err(damage.clone()),
        None => Ok(()),
    }
}
