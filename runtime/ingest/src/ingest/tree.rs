//! The walk over a source: names to entries, directories to trees.

use super::blob::BlobWriter;
use super::file::read_file;
use super::session::{Session, Tag};
use super::IngestOptions;
use crate::os::{
    is_component, open_source_dir, read_names, retry, stat_at, stat_fd, told, DirStack, FileId,
    NameList, Node, Stat, Xattrs,
};
use crate::problems::Problems;
use crate::DEEPEST;
use asl_core::codec::{blob_key, tree_key, BlobRef, Entry, EntryKind, Meta};
use asl_core::{Error, Kind, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{fadvise, openat, readlinkat, Advice, FileType, Mode, OFlags, CWD};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A directory being read.
struct Level {
    entry: Entry,
    seen: Stat,
    names: NameList,
    last: Vec<u8>,
    writer: BlobWriter,
    public: blake3::Hasher,
    /// Length of the path up to this directory.
    path: usize,
}

/// One inode with several names.
struct Linked {
    entry: Entry,
    /// Names not yet met; when none is left the memory is given back.
    left: u32,
}

/// What a name turned out to be.
enum Found {
    Entry(Entry),
    Directory(Box<Level>, OwnedFd),
    Nothing,
}

/// Walks one source.
pub(crate) struct Walker<'a> {
    options: &'a IngestOptions<'a>,
    excluded: BTreeSet<FileId>,
    pub left_out: Problems,
    dirs: DirStack,
    links: HashMap<FileId, Linked>,
    next_link: u64,
    xattrs: Xattrs,
    buffer: Vec<u8>,
    path: Vec<u8>,
    mount: u64,
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
            Found::Entry(entry) => Ok(entry),
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

    fn examine(
        &mut self,
        s: &mut Session,
        dir: BorrowedFd<'_>,
        open_name: &[u8],
        name: &[u8],
    ) -> Result<Found> {
        let stat = match stat_at(dir, open_name) {
            Ok(stat) => stat,
            Err(e) => {
                s.problem(&self.path, &format!("left out: {}", told(e)));
                return Ok(Found::Nothing);
            }
        };
        if self.excluded.contains(&stat.id) {
            self.left_out.add(&self.path, "excluded");
            return Ok(Found::Nothing);
        }
        if stat.kind == FileType::Directory {
            return Ok(self.directory(s, dir, open_name, name, stat));
        }
        let several = stat.links > 1;
        if let Some(entry) = several.then(|| self.known_link(stat.id, name)).flatten() {
            s.progress.entries += 1;
            return Ok(Found::Entry(entry));
        }
        let entry = match stat.kind {
            FileType::RegularFile => self.file(s, dir, open_name, stat)?,
            _ => self.node(s, dir, open_name, stat),
        };
        let Some(mut entry) = entry else {
            return Ok(Found::Nothing);
        };
        s.progress.entries += 1;
        if several {
            self.next_link += 1;
            entry.hard_link = Some(self.next_link);
            let linked = Linked {
                entry: entry.clone(),
                left: stat.links - 1,
            };
            self.links.insert(stat.id, linked);
        }
        entry.name = name.to_vec();
        Ok(Found::Entry(entry))
    }

    /// The entry of an inode met before, under another name.
    fn known_link(&mut self, id: FileId, name: &[u8]) -> Option<Entry> {
        let linked = self.links.get_mut(&id)?;
        linked.left = linked.left.saturating_sub(1);
        let mut entry = linked.entry.clone();
        if linked.left == 0 {
            self.links.remove(&id);
        }
        entry.name = name.to_vec();
        Some(entry)
    }

    fn directory(
        &mut self,
        s: &mut Session,
        dir: BorrowedFd<'_>,
        open_name: &[u8],
        name: &[u8],
        stat: Stat,
    ) -> Found {
        let mut entry = self.bare(EntryKind::Directory, stat);
        entry.name = name.to_vec();
        s.progress.entries += 1;
        let without_content = |entry| Found::Entry(entry);
        if self.dirs.contains(stat.id) {
            s.problem(
                &self.path,
                "its content was left out: the directory contains itself",
            );
            return without_content(entry);
        }
        if self.dirs.depth() >= DEEPEST {
            let why = format!("its content was left out: more than {DEEPEST} directories deep");
            s.problem(&self.path, &why);
            return without_content(entry);
        }
        let opened = open_source_dir(dir, open_name).and_then(|fd| match stat_fd(fd.as_fd()) {
            Ok(now) if now.id == stat.id => Ok(fd),
            Ok(_) => Err(Errno::STALE),
            Err(e) => Err(e),
        });
        let fd = match opened {
            Ok(fd) => fd,
            Err(e) => {
                s.problem(
                    &self.path,
                    &format!("its content could not be read: {}", told(e)),
                );
                return without_content(entry);
            }
        };
        self.attributes(s, &mut entry.meta, Node::Open(fd.as_fd()));
        let mut names = NameList::default();
        if self.options.one_file_system && stat.mount != self.mount {
            self.left_out
                .add(&self.path, "another file system is mounted here");
        } else {
            let (read, failed) = read_names(fd.as_fd());
            if let Some(e) = failed {
                let why = format!(
                    "only {} of its names could be read: {}",
                    read.left(),
                    told(e)
                );
                s.problem(&self.path, &why);
            }
            names = read;
        }
        let level = Level {
            entry,
            seen: stat,
            names,
            last: Vec::new(),
            writer: BlobWriter::new(s.chunking, Tag::Tree),
            public: blake3::Hasher::new(),
            path: self.path.len(),
        };
        Found::Directory(Box::new(level), fd)
    }

    fn file(
        &mut self,
        s: &mut Session,
        dir: BorrowedFd<'_>,
        name: &[u8],
        listed: Stat,
    ) -> Result<Option<Entry>> {
        let opened = open_source_file(dir, name).and_then(|fd| {
            let stat = stat_fd(fd.as_fd())?;
            // Between the look and the opening the name may have come to mean another file.
            let same = stat.id == listed.id && stat.kind == FileType::RegularFile;
            same.then_some((fd, stat)).ok_or(Errno::STALE)
        });
        let (fd, stat) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                s.problem(
                    &self.path,
                    &format!("its content could not be read: {}", told(e)),
                );
                return Ok(Some(self.bare(EntryKind::File, listed)));
            }
        };
        let mut entry = self.bare(EntryKind::File, stat);
        self.attributes(s, &mut entry.meta, Node::Open(fd.as_fd()));
        if stat.size > 1 << 20 {
            // Advice alone: where it is not taken, reading is only slower.
            let _ = fadvise(fd.as_fd(), 0, None, Advice::Sequential);
        }
        let sparse = stat.blocks.saturating_mul(512) < stat.size;
        let file = fd.as_fd();
        let content = read_file(s, &file, stat.size, sparse, &mut self.buffer)?;
        let mut short = false;
        for why in &content.troubles {
            short |= why.starts_with("changed");
            s.problem(&self.path, why);
        }
        let later = stat_fd(fd.as_fd());
        if !short && !later.is_ok_and(|later| !stat.changed(&later)) {
            s.problem(
                &self.path,
                "changed while it was read: its size or time is another now",
            );
        }
        entry.content = Some(content.blob);
        entry.key = Some(blob_key(&content.digest));
        s.progress.files += 1;
        Ok(Some(entry))
    }

    /// Symbolic links, devices, pipes and sockets: held without being opened.
    fn node(
        &mut self,
        s: &mut Session,
        dir: BorrowedFd<'_>,
        name: &[u8],
        stat: Stat,
    ) -> Option<Entry> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = retry(|| openat(dir, name, flags, Mode::empty())).and_then(|fd| {
            let now = stat_fd(fd.as_fd())?;
            let same = now.id == stat.id && now.kind == stat.kind;
            let kind = match stat.kind {
                FileType::Symlink => {
                    EntryKind::Symlink(retry(|| readlinkat(&fd, c"", Vec::new()))?.into_bytes())
                }
                FileType::CharacterDevice => EntryKind::CharDevice(stat.rdev),
                FileType::BlockDevice => EntryKind::BlockDevice(stat.rdev),
                FileType::Fifo => EntryKind::Fifo,
                FileType::Socket => EntryKind::Socket,
                _ => return Err(Errno::OPNOTSUPP),
            };
            same.then_some((fd, kind)).ok_or(Errno::STALE)
        });
        match held {
            Ok((fd, kind)) => {
                let mut entry = self.bare(kind, stat);
                self.attributes(s, &mut entry.meta, Node::Held(fd.as_fd()));
                Some(entry)
            }
            Err(e) => {
                s.problem(&self.path, &format!("left out: {}", told(e)));
                None
            }
        }
    }

    fn attributes(&mut self, s: &mut Session, meta: &mut Meta, node: Node<'_>) {
        let (xattrs, problems) = self.xattrs.read(node);
        meta.xattrs = xattrs;
        for why in problems {
            s.problem(&self.path, &why);
        }
    }

    /// An entry without name, attributes and content.
    fn bare(&self, kind: EntryKind, stat: Stat) -> Entry {
        let names = self.options.names;
        Entry {
            name: Vec::new(),
            kind,
            meta: Meta {
                mode: stat.mode,
                uid: stat.uid,
                gid: stat.gid,
                user: names.user(stat.uid).map(<[u8]>::to_vec),
                group: names.group(stat.gid).map(<[u8]>::to_vec),
                mtime_s: stat.mtime_s,
                mtime_ns: stat.mtime_ns,
                xattrs: Vec::new(),
            },
            hard_link: None,
            content: None::<BlobRef>,
            key: None,
        }
    }
}

/// Opens a file for reading: follows nothing, waits for nothing, leaves no trace where allowed.
fn open_source_file(dir: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match retry(|| openat(dir, name, flags | OFlags::NOATIME, Mode::empty())) {
        Err(Errno::PERM) => retry(|| openat(dir, name, flags, Mode::empty())),
        other => other,
    }
}
