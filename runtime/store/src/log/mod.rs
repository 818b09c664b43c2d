//! Commit-frame logs: the content log and the host log have the same form (formats.md, "Two logs").

mod frame;
mod frame_log;
mod scan;

#[cfg(test)]
pub(crate) use frame::{read as read_frame, Found};
pub use frame::{Frame, MAX_FRAME};
pub use frame_log::{Evidence, FrameLog};
pub(crate) use scan::{find, first, Start};

use asl_backend::Name;
use asl_core::{words, FrameHash, LogSeq, Value};

/// Whether a log or store is opened to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is changed; damage is told and what lies before it is served.
    Read,
    /// The writer lock is taken and a torn tail cut; damage refuses.
    Write,
}

/// What tells one log from another.
#[derive(Clone, Debug)]
pub struct LogForm {
    /// The log's name below its domain.
    pub name: Name,
    /// The first 8 bytes of each frame; the first byte is not zero.
    pub magic: [u8; 8],
    /// The kind of a frame's body, such as `asl.commit/1`.
    pub kind: &'static str,
    /// The directory that keeps the torn tails cut off it.
    pub keep: Name,
}

/// The end of a log: its frames, its records, its last frame's hash (formats.md, "Decisions of
/// detail").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Frames in the log.
    pub commit: u64,
    /// Records in the log.
    pub logseq: LogSeq,
    /// The last frame's hash; zero for an empty log.
    pub frame: FrameHash,
    /// Bytes of blocks, segments, frames and manifests up to here, since the log began.
    pub stored_bytes: u64,
}

impl Head {
    /// The head of a log with nothing in it.
    pub fn empty() -> Self {
        Head {
            commit: 0,
            logseq: LogSeq(0),
            frame: FrameHash::from([0; 32]),
            stored_bytes: 0,
        }
    }

    /// The head as 12 words, to be read over the phone.
    pub fn words(&self) -> String {
        words(self.frame.as_bytes())
    }

    /// The form `[commit, logseq, frame hash]`, as manifests hold it.
    pub fn to_value(&self) -> Value {
        Value::Array(vec![
            self.commit.into(),
            self.logseq.0.into(),
            self.frame.into(),
        ])
    }
}
