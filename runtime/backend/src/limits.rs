//! What a medium cannot do: found by trying it, and said in words before it is used.
//!
//! A name promises little: NTFS by one driver is not NTFS by another. So each ability is tried in a
//! directory of its own, which is gone afterwards (flows.md, step 1).

use crate::disk::{Access, Disk, DiskFile, Entry, Lock};
use crate::errno::explain;
use crate::medium;
use crate::{Durability, OsDisk};
use asl_core::{Error, Kind, Result};
use serde::Serialize;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What a file system holds and what it cannot do, as a probe found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Its name as the mount table has it; a driver of user space on a disk is `fuseblk`.
    pub file_system: String,
    /// Whether its bytes go with the power.
    pub volatile: bool,
    /// Whether a sync of a directory reached the disk; true too where there is no disk to ask.
    pub syncs_last: bool,
    /// Whether an open-file lock keeps another writer out.
    pub locks: bool,
    /// Whether a rename to a name that must be free is one step.
    pub renames_new: bool,
    /// Whether a file can have a second name.
    pub links: bool,
    /// Whether a rename is one step even when the power goes in it.
    pub renames_whole: bool,
    /// Whether one call makes everything durable and reports every error of it.
    pub syncs_at_once: bool,
    /// The largest file, in bytes.
    pub largest_file: u64,
    /// Whether a file keeps the permissions it was made with.
    pub permissions: bool,
    /// Whether it tells capital letters from small ones.
    pub tells_case: bool,
    /// Whether a hole in a file takes no room.
    pub sparse: bool,
    /// All the bytes it can hold.
    pub total: u64,
    /// The bytes that are free.
    pub free: u64,
    /// The files that can still be made; none where bytes alone are counted.
    pub files: Option<u64>,
}

/// Below this a limit of size is worth a word: 1 TiB.
const LARGE: u64 = 1 << 40;
/// Below this the number of files is worth a word: a domain begins with some 300.
const MANY: u64 = 10_000;

impl Limits {
    /// Tries the file system of a directory; what it makes there is gone on return.
    ///
    /// # Errors
    /// `Io` where a plain file cannot be made and replaced there; `Refused` where the file system
    /// replaces a file it was told to keep.
    pub fn probe(dir: &Path) -> Result<Limits> {
        let told = |e: io::Error| explain("try the file system of", dir.display(), &e);
        #[cfg(feature = "stand-in")]
        if crate::stand_in::holds(dir) {
            return Limits::probe_on(&crate::SystemDisk::open(dir).map_err(told)?);
        }
        let disk = OsDisk::open(dir).map_err(told)?;
        let before = medium::writes(disk.root());
        let mut limits = Limits::probe_with(&disk, |limits, file| {
            let stat = disk.stat(file)?;
            limits.permissions = stat.st_mode & 0o777 == u32::from(MODE);
            limits.sparse = u64::try_from(stat.st_blocks).unwrap_or_default() * 512 < HOLE;
            disk.sync_dir(file.parent().unwrap_or(Path::new("")))
        })?;
        limits.file_system.clone_from(&disk.nature().name);
        if let (false, Some(before)) = (disk.nature().known, before) {
            limits.syncs_last = medium::writes(disk.root()) != Some(before);
        }
        Ok(limits)
    }

    /// The same on any [`Disk`], as far as that can tell: what only the system knows of itself is
    /// taken for the best.
    ///
    /// # Errors
    /// As [`Limits::probe`].
    pub fn probe_on<D: Disk>(disk: &D) -> Result<Limits> {
        Limits::probe_with(disk, |_, _| Ok(()))
    }

    fn probe_with<D: Disk>(
        disk: &D,
        look: impl FnOnce(&mut Limits, &Path) -> io::Result<()>,
    ) -> Result<Limits> {
        let told = |e: io::Error| explain("try", "the file system", &e);
        let at = PathBuf::from(format!(".new-probe-{}", disk.process().pid));
        // One that a killed process of the same number left is as good as new.
        remove(disk, &at);
        disk.make_dir(&at, 0o700).map_err(told)?;
        let found = tried(disk, &at, look).map_err(|e| match e.kind() {
            ErrorKind::Other => liar(),
            _ => told(e),
        });
        remove(disk, &at);
        found
    }

    /// Refuses a file system that could not keep what is acknowledged.
    ///
    /// # Errors
    /// `Refused`, with the reason.
    pub fn check(&self) -> Result<()> {
        let why = if !self.locks {
            "it has no file locks, so two writers could not be kept apart"
        } else if !self.syncs_last {
            "it said that a sync went well, and nothing was written to the disk"
        } else {
            return Ok(());
        };
        Err(refused(format!("{}: {why}", self.file_system)))
    }

    /// What it cannot do and what follows from that, a sentence each; none for an ordinary one.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |holds: bool, text: String| {
            if holds {
                words.push(format!("This file system {text}."));
            }
        };
        say(
            self.volatile,
            "keeps nothing when the power goes, so all that is sealed to it is VOLATILE".into(),
        );
        say(
            !self.permissions,
            "keeps no permissions, so anyone who has the disk can read what is in clear there: \
             labels, the DAM, sizes and times; never the sealed data"
                .into(),
        );
        say(
            !self.renames_whole && !self.volatile,
            "cannot change a name in one step when the power goes, so after a power cut it must be \
             checked before it is used again; what was acknowledged is on the disk"
                .into(),
        );
        say(
            !self.renames_new && !self.links,
            "cannot give a name only if it is free, so names are given under a lock: use it from \
             one machine at a time"
                .into(),
        );
        say(
            self.largest_file < LARGE,
            format!(
                "holds no file larger than {} bytes, so a domain's log ends there, with a word \
                 before",
                self.largest_file
            ),
        );
        say(
            !self.syncs_at_once && !self.volatile,
            "cannot sync everything in one call, so each file is synced by itself, which takes \
             longer"
                .into(),
        );
        if let Some(files) = self.files.filter(|files| *files < MANY) {
            say(
                true,
                format!("has room for only {files} more files, whatever their size"),
            );
        }
        words
    }
}

/// Read-only, as most of what a store writes.
const MODE: u16 = 0o400;
/// How large a file with nothing in it is made, to see what it takes.
const HOLE: u64 = 1 << 20;

/// Tries each ability on files `a` to `d` in a directory of their own.
fn tried<D: Disk>(
    disk: &D,
    at: &Path,
    look: impl FnOnce(&mut Limits, &Path) -> io::Result<()>,
) -> io::Result<Limits> {
    let (a, b, c, d) = (at.join("a"), at.join("b"), at.join("c"), at.join("d"));
    let file = disk.create(&a, 0o600)?;
    let other = disk.open(&a, Access::Write)?;
    let space = disk.space()?;
    let mut limits = Limits {
        file_system: String::new(),
        volatile: disk.durability() == Durability::Volatile,
        syncs_last: true,
        locks: matches!(file.try_lock(Lock::Exclusive), Ok(true))
            && matches!(other.try_lock(Lock::Exclusive), Ok(false)),
        renames_new: false,
        links: false,
        renames_whole: disk.renames_whole(),
        syncs_at_once: disk.sync_all()?,
        largest_file: largest(&file)?,
        permissions: true,
        tells_case: false,
        sparse: true,
        total: space.total,
        free: space.free,
        files: space.files,
    };
    drop((file, other));

    let read_only = disk.create(&d, u32::from(MODE))?;
    read_only.set_len(HOLE)?;
    read_only.sync()?;
    look(&mut limits, &d)?;

    disk.create(&b, 0o600)?;
    // That a taken name is spared may be the kernel's doing, so a free one is tried too.
    limits.renames_new = spares(disk.rename_new(&a, &b))? && can(disk.rename_new(&a, &c))?;
    if limits.renames_new {
        disk.rename(&c, &a)?;
    }
    limits.links = spares(disk.link(&a, &b))? && can(disk.link(&a, &c))?;
    disk.rename(&a, &b)?;
    limits.tells_case =
        matches!(disk.entry(&at.join("B")), Err(e) if e.kind() == ErrorKind::NotFound);
    Ok(limits)
}

/// Whether a step that must spare a taken name is there; one that does not spare it is an error.
fn spares(outcome: io::Result<()>) -> io::Result<bool> {
    match outcome {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(true),
        Err(e) if e.kind() == ErrorKind::Unsupported => Ok(false),
        Err(e) => Err(e),
        Ok(()) => Err(ErrorKind::Other.into()),
    }
}

/// Whether a step is there.
fn can(outcome: io::Result<()>) -> io::Result<bool> {
    match outcome {
        Err(e) if e.kind() == ErrorKind::Unsupported => Ok(false),
        other => other.map(|()| true),
    }
}

/// The largest file, found by halving.
fn largest<F: DiskFile>(file: &F) -> io::Result<u64> {
    let (mut fits, mut fails) = (0, i64::MAX as u64);
    if file.fits(fails)? {
        return Ok(fails);
    }
    while fails - fits > 1 {
        let middle = fits + (fails - fits) / 2;
        if file.fits(middle)? {
            fits = middle;
        } else {
            fails = middle;
        }
    }
    Ok(fits)
}

fn remove<D: Disk>(disk: &D, at: &Path) {
    // Nothing depends on it: a name that begins so counts nowhere.
    for name in disk.list(at).unwrap_or_default() {
        let path = at.join(name);
        if matches!(disk.entry(&path), Ok(Entry::File(_))) {
            let _ = disk.unlink(&path);
        }
    }
    let _ = disk.remove_dir(at);
}

fn liar() -> Error {
    refused("it replaces a file that it was told to keep".to_owned())
}

fn refused(why: String) -> Error {
    Error::new(Kind::Refused, "seal to", "this file system", why)
        .next("use another disk, or one with ext4, xfs or btrfs")
}
