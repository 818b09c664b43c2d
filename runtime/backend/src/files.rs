//! Single documents outside a store location, written whole and durable on return.
//!
//! For the host's own files (`host/`, `admission/`, `leases/`, a key stick). The temporary file
//! lies beside the final one, under a name that begins with `.new-`.

use crate::disk::{read_full, steady, write_all, Access, Disk, DiskFile, Entry};
use crate::errno::explain;
use crate::whole::{self, Fault, Target};
use crate::SystemDisk;
use asl_core::{Error, Kind, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Writes a document that must not be there yet; there whole or not at all, durable on return.
///
/// `mode` is the file's, less what the process's umask takes.
///
/// # Errors
/// `Exists`; `NotFound` where its directory is missing; `Io`, after which it may be there or not.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    on_disk("write", path, |disk, name| {
        write_on(disk, name, bytes, mode, false)
    })
}

/// Writes a document in place of the old one: a reader or a crash sees the one or the other.
///
/// `mode` is the file's, less what the process's umask takes. Durable on return.
///
/// # Errors
/// `NotFound` where its directory is missing; `Io`, after which the old one or the new is there.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    on_disk("replace", path, |disk, name| {
        write_on(disk, name, bytes, mode, true)
    })
}

/// Makes durable that a file or directory has its name: whoever gave it may have been killed before,
/// or was told that the medium failed.
///
/// # Errors
/// `NotFound` where its directory is missing; `Io`.
pub fn settle(path: &Path) -> Result<()> {
    on_disk("sync", path, |disk, _| {
        steady(|| disk.sync_dir(Path::new("")))
    })
}

/// A document that one writer replaces again and again.
///
/// After a sync of it failed it is replaced no more: what the medium then says of it later cannot be
/// believed (reliability.md, P4).
pub struct Document {
    path: PathBuf,
    mode: u32,
    /// Why it is replaced no more.
    latch: Mutex<Option<String>>,
}

impl Document {
    /// The document at a path, whether it is there or not.
    pub fn new(path: PathBuf, mode: u32) -> Self {
        Document {
            path,
            mode,
            latch: Mutex::default(),
        }
    }

    /// Replaces it, as [`replace`] does; of two who do so at once the one comes after the other.
    ///
    /// `bytes` is asked once nobody else replaces it.
    ///
    /// # Errors
    /// As [`replace`]; `Io` after a sync of it failed.
    pub fn replace(&self, bytes: impl FnOnce() -> Vec<u8>) -> Result<()> {
        let mut latch = self.latch.lock().unwrap_or_else(PoisonError::into_inner);
        self.refuse_latched(&latch)?;
        let bytes = bytes();
        on_disk("replace", &self.path, |disk, name| {
            let written = write_faulty(disk, name, &bytes, self.mode, true);
            if let Err(Fault::Sync(e)) = &written {
                *latch = Some(e.to_string());
            }
            written.map_err(Fault::into_io)
        })
    }

    /// Refuses after a sync of it failed.
    ///
    /// # Errors
    /// `Io`.
    pub fn require_sound(&self) -> Result<()> {
        self.refuse_latched(&self.latch.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn refuse_latched(&self, latch: &Option<String>) -> Result<()> {
        let Some(why) = latch else { return Ok(()) };
        let why = format!("a sync of it failed earlier: {why}");
        Err(Error::new(Kind::Io, "replace", self.path.display(), why)
            .next("look at the medium, then open the store again: it reads what is really there"))
    }
}

/// Reads a plain file of at most `limit` bytes.
///
/// # Errors
/// `NotFound`; `Invalid` where it is longer; `Damage` where it is not a plain file, or is a
/// symbolic link.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let read = |disk: &SystemDisk, name: &Path| {
        let file = disk.open(name, Access::Read)?;
        let len = file.size()?.min(limit.saturating_add(1));
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = vec![0; len];
        let read = read_full(&file, &mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    };
    let bytes = on_disk("read", path, read)?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(
            Kind::Invalid,
            "read",
            path.display(),
            format!("it is longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// What a name stands for; `None` where nothing has it.
///
/// # Errors
/// `Io`: what cannot be looked at is not taken for missing.
pub fn look(path: &Path) -> Result<Option<Entry>> {
    let entry = on_disk("look at", path, |disk, name| disk.entry(name));
    match entry {
        Err(e) if e.kind() == Kind::NotFound => Ok(None),
        entry => entry.map(Some),
    }
}

/// Makes a directory for its owner alone, durable on return; one that is there is left as it is.
///
/// # Errors
/// `NotFound` where its parent is missing; `Io`.
pub fn make_dir(path: &Path) -> Result<()> {
    let there = SystemDisk::open(path).is_ok();
    let made = on_disk("make", path, |disk, name| {
        match steady(|| disk.make_dir(name, 0o700)) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        // One that is there may be a killed writer's, whose name is not durable yet.
        steady(|| disk.sync_dir(Path::new("")))
    });
    match made {
        // What was made for us lies in a directory that we may not even list.
        Err(e) if there && matches!(e.kind(), Kind::Refused | Kind::Invalid) => Ok(()),
        made => made,
    }
}

/// The names in a directory, sorted; those that are not UTF-8 left out.
///
/// # Errors
/// `NotFound`, `Io`.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let listed = SystemDisk::open(dir).and_then(|disk| disk.list(Path::new("")));
    let mut names = listed.map_err(|e| explain("list", dir.display(), &e))?;
    names.sort_unstable();
    Ok(names)
}

/// Removes a plain file; that it is gone is durable on return.
///
/// # Errors
/// `NotFound`, `Io`.
pub fn remove(path: &Path) -> Result<()> {
    on_disk("remove", path, |disk, name| {
        disk.unlink(name)?;
        steady(|| disk.sync_dir(Path::new("")))
    })
}

/// Removes an empty directory; that it is gone is durable on return.
///
/// # Errors
/// `NotFound`, `Io`: also where something lies in it.
pub fn remove_dir(path: &Path) -> Result<()> {
    on_disk("remove", path, |disk, name| {
        disk.remove_dir(name)?;
        steady(|| disk.sync_dir(Path::new("")))
    })
}

/// Holds a directory against all who hold it too, in this process or another, until the answer is
/// dropped; waits for them.
///
/// # Errors
/// `NotFound`, `Io`.
pub fn hold(dir: &Path) -> Result<Box<dyn Send>> {
    SystemDisk::open(dir)
        .and_then(|disk| disk.lock_dir(Path::new("")))
        .map_err(|e| explain("hold", dir.display(), &e))
}

/// The same as [`write_new`] and [`replace`], on any [`Disk`].
///
/// # Errors
/// The system's.
pub fn write_on<D: Disk>(
    disk: &D,
    path: &Path,
    bytes: &[u8],
    mode: u32,
    replace: bool,
) -> io::Result<()> {
    write_faulty(disk, path, bytes, mode, replace).map_err(Fault::into_io)
}

fn write_faulty<D: Disk>(
    disk: &D,
    path: &Path,
    bytes: &[u8],
    mode: u32,
    replace: bool,
) -> std::result::Result<(), Fault> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let target = Target {
        temporary: dir,
        path,
        mode,
        replace,
    };
    let written = whole::write(disk, target, |file| write_all(file, bytes, 0));
    let there = |fault: &Fault| matches!(fault, Fault::Other(e) if e.kind() == io::ErrorKind::AlreadyExists);
    if written.is_ok() || written.as_ref().is_err_and(there) {
        // Whoever wrote the one that is there may not have made its name durable; the caller will
        // rely on it.
        steady(|| disk.sync_dir(dir)).map_err(Fault::Sync)?;
    }
    written
}

fn on_disk<T>(
    doing: &'static str,
    path: &Path,
    act: impl FnOnce(&SystemDisk, &Path) -> io::Result<T>,
) -> Result<T> {
    let Some(name) = path.file_name() else {
        return Err(Error::new(
            Kind::Invalid,
            doing,
            path.display(),
            "it names no file",
        ));
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    SystemDisk::open(parent)
        .and_then(|disk| act(&disk, Path::new(name)))
        .map_err(|e| explain(doing, path.display(), &e))
}
