//! The content log as it is told: record by record, with no key.

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
/// Each frame's chain is checked on the way. A log that breaks is told as far as it holds; whether
/// it breaks, and whether it reaches what was acknowledged, `Store::damage` says.
///
/// # Errors
/// `Invalid` for a record of a later version; `Io`; those of `visit`.
pub fn history(
    backend: Arc<dyn Backend>,
    visit: &mut dyn FnMut(&Past) -> Result<()>,
) -> Result<()> {
    let mut each = |frame: &crate::Frame, _: &crate::Head| {
        for (n, value) in frame.records.iter().enumerate() {
            visit(&Past {
                commit: frame.commit,
                logseq: LogSeq(frame.logseq.0.saturating_add(n as u64)),
                record: Record::from_value(value.clone())?,
            })?;
        }
        Ok(())
    };
    FrameLog::open(
        backend,
        content_form()?,
        Mode::Read,
        [0; 16],
        &[],
        &mut each,
    )
    .map(drop)
}
