//! Files written whole: a temporary name, a sync, then the name itself.
//!
//! Crash rule: a name never stands for bytes that are not all on the medium, because the bytes are
//! synced before the file gets the name. The temporary file is locked while it is written, so that
//! a sweep of leftovers tells a dead writer's from a live one's. On a disk whose renames are two
//! steps (FAT) a leftover may be the second name of a file that counts, so none is ever removed.

use crate::disk::{steady, Access, Disk, DiskFile, Entry, Lock};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What every temporary name begins with.
pub(crate) const TEMPORARY: &str = ".new-";

/// How often a name is tried before a directory full of other writers' files is an error.
const ATTEMPTS: u32 = 1000;

/// Distinguishes the temporary files of one process; another's hold another process number.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Where a file goes.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The directory of the temporary name, on the same file system; made where it is missing.
    pub temporary: &'a Path,
    /// The final name.
    pub path: &'a Path,
    /// Its mode, less what the process's umask takes.
    pub mode: u32,
    /// Whether it replaces what is there.
    pub replace: bool,
}

/// What went wrong while writing whole.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The bytes could not be made durable: nothing may be believed of this disk any more.
    Sync(io::Error),
    /// The file could not be given its name, and nobody knows which of the two it has now.
    Name(io::Error),
    /// Anything else: nothing happened to the final name.
    Other(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Other(error)
    }
}

impl Fault {
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Fault::Sync(e) | Fault::Name(e) | Fault::Other(e) => e,
        }
    }
}

/// Writes a file under a temporary name with `fill`, syncs it, and gives it its name.
///
/// The name itself is durable once its directory is synced, which is the caller's.
pub(crate) fn write<D: Disk>(
    disk: &D,
    target: Target<'_>,
    fill: impl Fn(&D::File) -> io::Result<()>,
) -> Result<(), Fault> {
    // A temporary directory may be deleted at any moment (architecture.md, invariant 8), the file
    // being written with it: then the work is done again, but not for ever.
    for _ in 0..3 {
        let (file, path) = create_temporary(disk, target)?;
        let outcome = fill_and_name(disk, target, &file, &path, &fill);
        if outcome.is_ok() {
            return Ok(());
        }
        let missing = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
        let vanished = matches!(&outcome, Err(Fault::Name(e) | Fault::Other(e)) if missing(e))
            && matches!(file.has_name(), Ok(false));
        if !vanished {
            if disk.renames_whole() || !matches!(&outcome, Err(Fault::Name(_))) {
                // The first error is the one to tell; a leftover is swept at the next lock.
                let _ = disk.unlink(&path);
            }
            return outcome;
        }
    }
    Err(io::Error::from(io::ErrorKind::NotFound).into())
}

fn fill_and_name<D: Disk>(
    disk: &D,
    target: Target<'_>,
    file: &D::File,
    temporary: &Path,
    fill: &impl Fn(&D::File) -> io::Result<()>,
) -> Result<(), Fault> {
    fill(file)?;
    steady(|| file.sync()).map_err(Fault::Sync)?;
    let named = if target.replace {
        disk.rename(temporary, target.path)
    } else {
        name_new(disk, temporary, target.path)
    };
    named.map_err(|e| match e.kind() {
        // Nothing was tried.
        io::ErrorKind::AlreadyExists => Fault::Other(e),
        _ => Fault::Name(e),
    })
}

/// Gives a file a name that must be free, by the best means this disk has.
fn name_new<D: Disk>(disk: &D, temporary: &Path, path: &Path) -> io::Result<()> {
    match disk.rename_new(temporary, path) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
        other => return other,
    }
    match disk.link(temporary, path) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
        linked => {
            linked?;
            // The file has its name; a second, temporary one is swept at the next lock.
            let _ = disk.unlink(temporary);
            return Ok(());
        }
    }
    // All who put here find the same two means missing, and meet at the same lock.
    let _held = disk.lock_dir(path.parent().unwrap_or(Path::new("")))?;
    match disk.entry(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => disk.rename(temporary, path),
        Err(e) => Err(e),
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

fn create_temporary<D: Disk>(disk: &D, target: Target<'_>) -> io::Result<(D::File, PathBuf)> {
    let pid = disk.process().pid;
    let mut made = false;
    for _ in 0..ATTEMPTS {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = target
            .temporary
            .join(format!("{TEMPORARY}{pid}-{number:x}"));
        let file = match disk.create(&path, target.mode) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !made => {
                made = true;
                match disk.make_dir(target.temporary, 0o700) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                    _ => continue,
                }
            }
            Err(e) => return Err(e),
        };
        // Where a lock cannot be had at all, the sweep cannot have one either and leaves it alone.
        let swept = matches!(file.try_lock(Lock::Exclusive), Ok(false)) || !file.has_name()?;
        if !swept {
            return Ok((file, path));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes the temporary files that dead writers left in a directory; a missing one has none.
///
/// Nothing depends on it but room, so an error ends it and is not told.
pub(crate) fn sweep<D: Disk>(disk: &D, dir: &Path) {
    if !disk.renames_whole() {
        return;
    }
    let Ok(names) = disk.list(dir) else { return };
    for name in names.iter().filter(|name| name.starts_with(TEMPORARY)) {
        let path = dir.join(name);
        if !matches!(disk.entry(&path), Ok(Entry::File(_))) {
            continue;
        }
        let Ok(file) = disk.open(&path, Access::Read) else {
            continue;
        };
        if matches!(file.try_lock(Lock::Shared), Ok(true)) {
            let _ = disk.unlink(&path);
        }
    }
}
