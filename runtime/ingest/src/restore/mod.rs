//! Restore of a stored tree into a new or empty directory.
//!
//! The tree is taken for hostile: every call is confined beneath the target by the kernel, on one
//! name at a time, follows no link, and replaces nothing. What is written is verified against the
//! keys it was stored under.
//!
//! ```text
//! walk -> place: directories, links, empty files -+-> windows -> crew: pieces in the order of
//!                 one thread, in the tree's order                blocks -> bytes, metadata
//! ```

mod apply;
mod content;
mod crew;
mod place;
mod report;

use crate::look::open_at;
use crate::os::{open_beneath, read_names, retry, stat_fd, told, DirStack};
use crate::walk::walk;
use crate::{PieceStore, Watch};
use asl_core::codec::{Problem, Root};
use asl_core::{ChunkId, Error, Kind, Result};
use crew::{Crew, Shared};
use place::Placer;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{fremovexattr, openat, syncfs, Mode, OFlags, CWD};
use rustix::io::Errno;
use std::path::Path;
use std::thread;

/// What is restored, and what that may cost at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// The path below the root of what is restored, as bytes; empty for all of it.
    pub path: Vec<u8>,
    /// Logical bytes of all files, holes included. Default 16 TiB.
    pub max_bytes: u64,
    /// Entries. Default 2^30.
    pub max_entries: u64,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        RestoreOptions {
            path: Vec::new(),
            max_bytes: 16 << 40,
            max_entries: 1 << 30,
        }
    }
}

/// What a restore made.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The root that was restored, or the part at the path of the options; its own problems tell
    /// what the source did not give.
    pub root: Root,
    /// Entries in place.
    pub entries: u64,
    /// Logical bytes of files in place, hard links once.
    pub bytes: u64,
    /// Problems of this restore, at most [`Root::PROBLEMS`], damage among them.
    pub problems: Vec<Problem>,
    /// Problems in all.
    pub problem_count: u64,
    /// How many of the problems are damage: stored data is not what was stored.
    pub damaged: u64,
}

impl Restored {
    /// Whether all of it is as it was stored.
    ///
    /// # Errors
    /// `Damage` (exit code 4) where stored data was damaged; what was readable is in place.
    pub fn verdict(&self) -> Result<()> {
        let Some(first) = self.problems.iter().find(|_| self.damaged > 0) else {
            return Ok(());
        };
        let why = format!(
            "{} of its parts are damaged; the first problem is {}: {}",
            self.damaged,
            crate::walk::shown(&first.path),
            first.why
        );
        Err(
            Error::new(Kind::Damage, "restore", "the whole root", why).next(
                "what could be read is in place; fetch the damaged blocks from another holder \
                 of the domain and restore again into a new directory",
            ),
        )
    }
}

/// Restores a root into a directory that is new or empty.
///
/// A directory's content goes right into it, with the directory's own metadata; a single file goes
/// into it under its name; so does what lies at the path that the options name. All of it is on the medium when the call returns.
///
/// # Errors
/// `NotFound` where there is no such path, `Exists` where the target holds something (nothing is
/// written in both cases), `Refused` where the root
/// states more than the options allow, `Invalid` where the root itself cannot be read, `Damage`
/// where the tree has more than it states, `Io` where the target cannot take more, `Interrupted`, and the
/// store's. Damage of single files is told by [`Restored::verdict`].
pub fn restore(
    store: &dyn PieceStore,
    root: &ChunkId,
    to: &Path,
    options: &RestoreOptions,
    watch: &dyn Watch,
) -> Result<Restored> {
    let root = open_at(store, root, &options.path)?;
    let over = |what: &str, has: u64, most: u64| {
        let why = format!("it states {has} {what}, more than the {most} allowed");
        Error::new(Kind::Refused, "restore", "the root", why)
            .next("if you trust where it comes from, allow more")
    };
    if root.bytes > options.max_bytes {
        return Err(over("bytes", root.bytes, options.max_bytes));
    }
    if root.entries > options.max_entries {
        return Err(over("entries", root.entries, options.max_entries));
    }
    let target = open_target(to)?;
    let id = stat_fd(target.as_fd()).map_err(|e| refuse(to, Kind::Io, &told(e)))?;
    let mut dirs = DirStack::new(open_dir);
    dirs.push(Vec::new(), target, id.id);
    let shared = Shared::new(store);
    let placed = thread::scope(|scope| {
        let crew = Crew::start(scope, &shared);
        let mut placer = Placer::new(&shared, watch, crew, dirs, root.bytes);
        let walked = walk(store, &root, &mut placer);
        placer.finish(walked).map(|()| placer.placed())
    })?;
    let dir = placed.dirs.root();
    let synced = dir.and_then(|d| retry(|| syncfs(d.as_fd())));
    synced.map_err(|e| {
        refuse(to, Kind::Io, &told(e)).next(
            "not everything may have reached the medium: check it and restore again elsewhere",
        )
    })?;
    watch.progress(&placed.progress);
    Ok(Restored {
        root,
        entries: placed.progress.entries,
        bytes: placed.progress.bytes,
        problem_count: placed.problems.count(),
        damaged: placed.damaged,
        problems: placed.problems.into_kept(),
    })
}

/// Opens a directory this restore has made.
fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    open_beneath(dir, name, flags, Mode::empty())
}

fn refuse(to: &Path, kind: Kind, why: &dyn std::fmt::Display) -> Error {
    Error::new(kind, "restore into", to.display(), why)
}

fn open_target(to: &Path) -> Result<OwnedFd> {
    let advice = "name a new directory, or an empty one; nothing was written";
    let made = retry(|| rustix::fs::mkdir(to, Mode::RWXU));
    match made {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e @ Errno::NOENT) => {
            return Err(refuse(to, Kind::NotFound, &told(e)).next("make its parent directory first"))
        }
        Err(e) => return Err(refuse(to, Kind::Io, &told(e)).next(advice)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = retry(|| openat(CWD, to, flags, Mode::empty())).map_err(|e| match e {
        Errno::NOTDIR | Errno::LOOP => {
            refuse(to, Kind::Exists, &"it is there and is no directory").next(advice)
        }
        e => refuse(to, Kind::Io, &told(e)).next(advice),
    })?;
    let (names, failed) = read_names(fd.as_fd());
    if let Some(e) = failed {
        return Err(refuse(to, Kind::Io, &told(e)).next(advice));
    }
    if names.len() > 0 {
        return Err(refuse(to, Kind::Exists, &"it is not empty").next(advice));
    }
    // A default ACL of the target, maybe inherited from its parent, would creep into everything
    // below it. Where there is none, or none can be, removing it fails and nothing is lost.
    for name in [c"system.posix_acl_default", c"system.posix_acl_access"] {
        let _ = fremovexattr(fd.as_fd(), name);
    }
    Ok(fd)
}
