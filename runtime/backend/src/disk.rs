//! The narrow world below the POSIX backend: files, names and their syncs, apart.
//!
//! What the operating system promises and no more. A simulator and a fault injector stand in for
//! it in tests. Paths are relative to the disk's own root and are never empty; the empty path
//! names the root itself where a directory is asked for. Errors are the system's; the table that
//! turns them into ours is [`crate::errno`].

use crate::{Durability, Space};
use std::io::{self, Read};
use std::path::Path;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A plain file of a size in bytes.
    File(u64),
    /// A directory.
    Dir,
    /// Anything else; nothing of ours is.
    Other,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading.
    Read,
    /// For reading and writing.
    Write,
}

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Against writers.
    Shared,
    /// Against all.
    Exclusive,
}

/// Who runs this program, as an advisory word to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process number.
    pub pid: u32,
    /// The kernel's id of this boot; empty where it has none to give.
    pub boot_id: String,
    /// The program's name alone: arguments may hold names that are private.
    pub command: String,
}

/// An open plain file.
pub trait DiskFile: Send + Sync + 'static {
    /// Its size in bytes.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> io::Result<u64>;

    /// Reads at an offset, maybe less than asked; 0 at the end.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at an offset, maybe less than asked.
    ///
    /// # Errors
    /// The system's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts or extends it.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes its bytes and its size durable; not its name.
    ///
    /// # Errors
    /// The system's. The bytes written since the last sync may then be lost, and no later sync
    /// says so.
    fn sync(&self) -> io::Result<()>;

    /// Asks that later reads come from the medium. Advice, which may go unheard.
    fn drop_cache(&self);

    /// Locks it until it is closed; false where another open file has a lock that forbids it.
    ///
    /// # Errors
    /// The system's.
    fn try_lock(&self, lock: Lock) -> io::Result<bool>;

    /// Whether the file system holds files of that many bytes at all.
    ///
    /// # Errors
    /// The system's.
    fn fits(&self, len: u64) -> io::Result<bool>;

    /// Whether it still has a name.
    ///
    /// # Errors
    /// The system's.
    fn has_name(&self) -> io::Result<bool>;
}

/// A directory tree on some medium.
pub trait Disk: Send + Sync + 'static {
    /// Its open files.
    type File: DiskFile;

    /// Makes a file that must not be there, open for reading and writing.
    ///
    /// # Errors
    /// The system's; `AlreadyExists` where the name is taken.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Self::File>;

    /// Opens a plain file, never through a symbolic link.
    ///
    /// # Errors
    /// The system's; `InvalidData` where the name is not a plain file's.
    fn open(&self, path: &Path, access: Access) -> io::Result<Self::File>;

    /// Opens a plain file for reading from the medium, past the cache where that can be done.
    ///
    /// # Errors
    /// As [`open`](Disk::open).
    fn open_medium(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// What a name stands for.
    ///
    /// # Errors
    /// The system's.
    fn entry(&self, path: &Path) -> io::Result<Entry>;

    /// The names directly in a directory, unsorted; those that are not UTF-8 left out.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory.
    ///
    /// # Errors
    /// The system's.
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Renames, replacing what is there.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames to a name that must not be taken, in one step.
    ///
    /// # Errors
    /// The system's; `Unsupported` where it has no such step.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must not be taken.
    ///
    /// # Errors
    /// The system's; `Unsupported` where files have one name each.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Holds a directory against all who hold it too, in this process or another, until the answer
    /// is dropped; waits for them.
    ///
    /// # Errors
    /// The system's.
    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Send>>;

    /// Whether a rename reaches the medium as one step.
    ///
    /// Where it does not, as on FAT, a power cut may leave a file under both its names, and taking
    /// the one away frees the bytes of the other.
    fn renames_whole(&self) -> bool;

    /// Takes a name from a file.
    ///
    /// # Errors
    /// The system's.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The system's.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable; not the bytes of its files.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes all names and bytes durable in one call; false, and nothing done, where this disk's
    /// system would not report every error of it.
    ///
    /// # Errors
    /// The system's.
    fn sync_all(&self) -> io::Result<bool>;

    /// Whether the disk keeps its bytes when the power goes.
    fn durability(&self) -> Durability;

    /// Its room.
    ///
    /// # Errors
    /// The system's.
    fn space(&self) -> io::Result<Space>;

    /// Who runs this program.
    fn process(&self) -> Process;

    /// Whether a process of this boot still runs; true where that cannot be seen.
    fn lives(&self, _pid: u32) -> bool {
        true
    }
}

/// How often a signal may come between before it is an error: none comes for ever.
const INTERRUPTIONS: u32 = 100;

/// Makes a call again where a signal came between.
pub(crate) fn steady<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..INTERRUPTIONS {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
    call()
}

/// Writes all the bytes at an offset.
pub(crate) fn write_all<F: DiskFile>(file: &F, mut bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut at = offset;
    while !bytes.is_empty() {
        let n = steady(|| file.write_at(bytes, at))?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(n..).unwrap_or_default();
        at = at.saturating_add(n as u64);
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends; answers the bytes read.
pub(crate) fn read_full<F: DiskFile>(
    file: &F,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let n = steady(|| file.read_at(rest, offset.saturating_add(done as u64)))?;
        if n == 0 {
            break;
        }
        done += n;
    }
    Ok(done)
}
