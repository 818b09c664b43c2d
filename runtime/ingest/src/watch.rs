//! What a caller sees while a run goes on, and how it stops one.

use crate::Acknowledged;

/// How far a run is. Rates are left to the one who shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries done: every name, whatever it is.
    pub entries: u64,
    /// Regular files done, of hard links the first.
    pub files: u64,
    /// Logical bytes of files done, holes included.
    pub bytes: u64,
    /// Those of them that were known from an earlier run, and not read.
    pub recalled: u64,
    /// Bytes of pieces that were new to the store, before compression; 0 in a restore.
    pub new_bytes: u64,
    /// Problems met.
    pub problems: u64,
}

/// The caller's eyes on a run. Called from the run's own thread; quick answers keep it fast.
pub trait Watch: Sync {
    /// Told often: after each file and each chunk.
    fn progress(&self, progress: &Progress);
    /// Told when the store committed.
    fn acknowledged(&self, acknowledged: &Acknowledged);
    /// Told once for each problem; `path` is below the root of the run, as bytes.
    fn problem(&self, path: &[u8], why: &str);
    /// Told what explains a run's pace and is no problem of the source.
    fn note(&self, _what: &str) {}
    /// Asked between chunks; true ends the run with `Interrupted`.
    fn stop(&self) -> bool;
}
