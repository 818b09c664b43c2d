//! The walk over a source: names to entries, directories to trees.

use super::blob::BlobWriter;
use super::entry::{open_source_file, Found, Linked};
use super::session::Session;
use super::IngestOptions;
use crate::os::{
    is_component, open_source_dir, retry, stat_at, stat_fd, told, DirStack, FileId, NameList, Stat,
    Xattrs,
};
use crate::problems::Problems;
use asl_core::codec::{tree_key, Entry};
use asl_core::{Error, Kind, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{openat, FileType, Mode, OFlags, CWD};
use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A directory being read.
pub(crate) struct Level {
    pub entry: Entry,
    pub seen: Stat,
    pub names: NameList,
    pub last: Vec<u8>,
    pub writer: BlobWriter,
    pub public: blake3::Hasher,
    /// Length of the path up to this directory.
    pub path: usize,
}

/// Walks one source.
pub(crate) struct Walker<'a> {
    pub options: &'a IngestOptions<'a>,
    pub excluded: BTreeSet<FileId>,
    pub left_out: Problems,
    pub dirs: DirStack,
    pub links: HashMap<FileId, Linked>,
    pub next_link: u64,
    pub xattrs: Xattrs,
    pub buffer: Vec<u8>,
    pub path: Vec<u8>,
    pub mount: u64,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(options: &'a IngestOptions<'a>, excluded: BTreeSet<FileId>) -> Self {
        Walker {
            options,
            excluded,
            left_out: Problems::default(),
            dirs: DirStack::new(open_source_dir),
            links: HashMap::new(),
            next_link: 0,
            xattrs: Xattrs::new(),
            buffer: Vec::new(),
            path: Vec::new(),
            mount: 0,
        }
    }

    /// Ingests the source itself, whose path is absolute and without links.
    pub(crate) fn top(&mut self, s: &mut Session, real: &Path) -> Result<Entry> {
        let bad = |why: &dyn std::fmt::Display| {
            Error::new(Kind::Io, "ingest", real.display(), why)
                .next("check that it is there and that you may read it")
        };
        // The root directory has no name; as an entry it needs one.
        let (parent, open_name, name) = match (real.parent(), real.file_name()) {
            (Some(parent), Some(name)) => (parent, name.as_bytes(), name.as_bytes()),
            _ => (real, &b"."[..], &b"root"[..]),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent =
            retry(|| openat(CWD, parent, flags, Mode::empty())).map_err(|e| bad(&told(e)))?;
        let stat = stat_at(parent.as_fd(), open_name).map_err(|e| bad(&told(e)))?;
        self.mount = stat.mount;
        let usage = |why: &str, next: &str| {
            Error::new(Kind::Usage, "ingest", real.display(), why).next(next)
        };
        if self.excluded.contains(&stat.id) {
            return Err(usage("it is excluded itself", "name another source"));
        }
        if !matches!(stat.kind, FileType::Directory | FileType::RegularFile) {
            return Err(usage(
                "it is neither a directory nor a file",
                "name a directory or a file; mount a block device read-only first",
            ));
        }
        let probe = match stat.kind {
            FileType::Directory => open_source_dir(parent.as_fd(), open_name),
            _ => open_source_file(parent.as_fd(), open_name),
        };
        drop(probe.map_err(|e| bad(&told(e)))?);
        let found = self.examine(s, parent.as_fd(), open_name, name)?;
        match found {
            Found::Entry(entry) => Ok(*entry),
            Found::Directory(level, fd) => self.walk(s, *level, fd),
            Found::Nothing => Err(bad(&"it vanished while it was looked at")),
        }
    }

    fn walk(&mut self, s: &mut Session, top: Level, fd: OwnedFd) -> Result<Entry> {
        self.dirs.push(Vec::new(), fd, top.seen.id);
        let mut stack = vec![top];
        loop {
            let Some(level) = stack.last_mut() else {
                return Err(Error::new(
                    Kind::Io,
                    "walk",
                    "the source",
                    "no directory is open",
                ));
            };
            self.path.truncate(level.path);
            let Some(name) = level.names.take() else {
                let Some(level) = stack.pop() else { continue };
                let entry = self.close(s, level)?;
                self.dirs.pop();
                match stack.last_mut() {
                    Some(parent) => self.add(s, parent, &entry)?,
                    None => return Ok(entry),
                }
                continue;
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            if !is_component(&name) || name == level.last {
                s.problem(
                    &self.path,
                    "left out: the file system gives it no proper name of its own",
                );
                continue;
            }
            level.last.clone_from(&name);
            let dir = match self.dirs.current() {
                Ok(dir) => dir,
                Err(e) => {
                    let more = level.names.left();
                    let why = format!("left out with {more} more names of its directory, which cannot be opened again: {}", told(e));
                    s.problem(&self.path, &why);
                    level.names = NameList::default();
                    continue;
                }
            };
            match self.examine(s, dir.as_fd(), &name, &name)? {
                Found::Entry(entry) => self.add(s, level, &entry)?,
                Found::Directory(below, fd) => {
                    self.dirs.push(name, fd, below.seen.id);
                    stack.push(*below);
                }
                Found::Nothing => {}
            }
        }
    }

    /// Adds an entry to its directory, as it is stored and as its key sees it.
    fn add(&mut self, s: &mut Session, level: &mut Level, entry: &Entry) -> Result<()> {
        level.public.update(&entry.encode_public());
        level.writer.sequence(s, &entry.encode())?;
        s.pulse()
    }

    fn close(&mut self, s: &mut Session, level: Level) -> Result<Entry> {
        let later = self.dirs.current().and_then(|fd| stat_fd(fd.as_fd()));
        if later.is_ok_and(|later| level.seen.changed(&later)) {
            s.problem(&self.path, "changed while it was read: names came or went");
        }
        let (blob, _) = level.writer.finish(s)?;
        Ok(Entry {
            content: Some(blob),
            key: Some(tree_key(&level.public.finalize().into())),
            ..level.entry
        })
    }
}
