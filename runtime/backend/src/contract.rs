//! The host contract of seed 000 as a trait: what a store needs from the place it lies in.
//!
//! Crash rule: what a call promises as durable survives power loss; what was not yet promised is
//! there whole or not at all (reliability.md, P1). A failed sync is never believed later: the
//! backend refuses every later write until it is opened again (P4).

use crate::Name;
use asl_core::{Error, Kind, Result};
use std::io::Read;
use std::ops::Range;

/// Whether what was acknowledged outlives the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The bytes lie on a medium.
    Durable,
    /// The bytes lie in memory (tmpfs, ramfs, an overlay on either) and go with the power, or
    /// nothing vouches for their syncs.
    Volatile,
}

/// The end of a log, where its next frame belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The number of frames before it. An object store names the next frame by it.
    pub commit: u64,
    /// The number of bytes before it. A file system writes the next frame there.
    pub byte: u64,
}

/// The room of a location, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All the bytes the medium can hold.
    pub total: u64,
    /// The bytes an ordinary user can still write.
    pub free: u64,
    /// The files that can still be made; none where bytes alone are counted.
    pub files: Option<u64>,
}

/// A held writer lock; dropping it lets the next writer in.
pub type WriterLock = Box<dyn Send + Sync>;

/// The host contract for one store location (seed 000; architecture.md, "The floors").
///
/// Every error names what was attempted, on which object, why, and whether to try again or to
/// stop. Besides the errors named at a call, each may answer `Io`, and each that writes answers
/// `Io` after a failed sync.
pub trait Backend: Send + Sync {
    /// The smallest piece of a log that is written as one, in bytes (seed 000, "AppendUnit").
    ///
    /// Frames may be padded to it. 1 on a POSIX file system.
    fn append_unit(&self) -> u32;

    /// Whether this location keeps its bytes when the power goes.
    fn durability(&self) -> Durability;

    /// The room of the location.
    ///
    /// # Errors
    /// `Io`.
    fn space(&self) -> Result<Space>;

    /// Puts an object that must not be there yet.
    ///
    /// After a crash it is there whole or not at all; it is durable after the next
    /// [`barrier`](Backend::barrier). Written read-only (mode 0400).
    ///
    /// # Errors
    /// `Exists` where the name is taken; the next barrier makes the object durable that is there.
    /// `NotFound` where its directory is missing.
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()>;

    /// Puts a derived object in place of the old one, whole: a reader or a crash sees the old one
    /// or the new one.
    ///
    /// Durable after the next [`barrier`](Backend::barrier). Mode 0600.
    ///
    /// # Errors
    /// `NotFound` where its directory is missing.
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()>;

    /// Reads the bytes of a range; fewer only where the object ends.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` where the range asks for more than 256 MiB of an object.
    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>>;

    /// The size of an object, in bytes.
    ///
    /// # Errors
    /// `NotFound`.
    fn size(&self, name: &Name) -> Result<u64>;

    /// The last components of the names directly below a directory, sorted.
    ///
    /// A missing directory is an empty one. Temporary names, and names that are no [`Name`], are
    /// not shown.
    ///
    /// # Errors
    /// `Io`.
    fn list(&self, dir: &Name) -> Result<Vec<String>>;

    /// Removes an object; durable after the next [`barrier`](Backend::barrier).
    ///
    /// # Errors
    /// `NotFound`.
    fn remove(&self, name: &Name) -> Result<()>;

    /// Makes the directories, with their parents, mode 0700; those that are there stay.
    ///
    /// Durable after the next [`barrier`](Backend::barrier).
    ///
    /// # Errors
    /// `Exists` where a name is taken by something else.
    fn create_dirs(&self, dirs: &[Name]) -> Result<()>;

    /// Returns once every put, remove and made directory before it is on the medium.
    ///
    /// # Errors
    /// `Io`; nothing put since the barrier before may then be believed.
    fn barrier(&self) -> Result<()>;

    /// Appends a frame to a log at the position where the caller believes its end to be.
    ///
    /// Durable on return. A frame that would make the log larger than the file system's largest file
    /// is refused whole. After a crash the frame is there whole, or not, or torn at the log's
    /// end, which the frame's own checks tell and [`cut_log`](Backend::cut_log) repairs. A log is
    /// made by its first append, at byte 0. Makes no promise for what was put before it: that is
    /// the barrier's.
    ///
    /// # Errors
    /// `Concurrent` where the log ends elsewhere, or another writer holds it.
    fn append(&self, log: &Name, at: LogPosition, frame: &[u8]) -> Result<()>;

    /// Cuts a torn tail off a log, having put the cut bytes whole and durable under `keep`.
    ///
    /// Durable on return. A cut that a crash stopped halfway can be made again with the same
    /// names. Nothing is done, and nothing kept, where the log ends there already.
    ///
    /// # Errors
    /// `NotFound`; `Concurrent` where the log is shorter, or another writer holds it; `Exists`
    /// where `keep` holds other bytes.
    fn cut_log(&self, log: &Name, at: LogPosition, keep: &Name) -> Result<()>;

    /// Reads an object from the medium, not from a cache, as far as the system allows it.
    ///
    /// # Errors
    /// `NotFound`.
    fn read_back(&self, name: &Name) -> Result<Box<dyn Read + Send>>;

    /// Takes the writer lock of a log until the answer is dropped.
    ///
    /// The log is made, empty, where it is missing. What an earlier writer left unsynced in the
    /// log is made durable, or dropped, before this returns: read the log after it.
    ///
    /// # Errors
    /// `Concurrent`, naming the holder where that is known.
    fn lock_writer(&self, log: &Name) -> Result<WriterLock>;

    /// Makes a snapshot of the location by the backend's own means (seed 000, section 5).
    ///
    /// # Errors
    /// `Refused` where this backend has none.
    fn snapshot(&self, name: &Name) -> Result<()> {
        Err(no_snapshots("make", name))
    }

    /// Opens a snapshot of the location, read-only.
    ///
    /// # Errors
    /// `Refused` where this backend has none.
    fn mount_snapshot(&self, name: &Name) -> Result<Box<dyn Backend>> {
        Err(no_snapshots("open", name))
    }
}

fn no_snapshots(doing: &'static str, name: &Name) -> Error {
    Error::new(
        Kind::Refused,
        doing,
        format!("backend snapshot {name}"),
        "this backend has no snapshots of its own",
    )
    .next("use the store's own snapshots, which need none of the backend's")
}
