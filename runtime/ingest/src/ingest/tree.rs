//! The walk over a source: names to entries, directories to trees.

use super::blob::BlobWriter;
use super::compare::Comparing;
use super::entry::{open_source_file, Done, Found, Linked, Spot};
use super::session::Session;
use super::IngestOptions;
use crate::cache::{Begin, Draft, Kept, Known, PathHash, Row};
use crate::os::{
    is_component, keeps_change_times, open_source_dir, retry, stat_at, stat_fd, told, DirStack,
    FileId, NameList, Stat, Xattrs,
};
use crate::problems::Problems;
use asl_core::codec::{tree_key, Entry};
use asl_core::{Error, Kind, Result, Timestamp};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{openat, FileType, Mode, OFlags, CWD};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A directory being gone through.
pub(crate) struct Level {
    pub entry: Entry,
    pub seen: Stat,
    pub names: NameList,
    /// Where it stands, and what is known of it.
    pub hash: PathHash,
    pub known: Known,
    /// Whether nothing had to be told of it that the next run must tell again.
    pub sound: bool,
    pub writer: BlobWriter,
    pub public: blake3::Hasher,
    /// Length of the path up to this directory.
    pub path: usize,
    /// Its number among its directory's names.
    pub number: usize,
    /// The name that is next to be read.
    pub next: usize,
    /// While every name is as it was: only the directories below are gone through.
    pub comparing: Option<Comparing>,
    /// What these came to, by number, should the directory be read after all.
    pub done: VecDeque<(usize, Option<Done>)>,
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
    pub(crate) fn top(&mut self, s: &mut Session, real: &Path, began: Timestamp) -> Result<Entry> {
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
        let probe = probe.map_err(|e| bad(&told(e)))?;
        if keeps_change_times(probe.as_fd()) {
            let source = self.options.name.as_deref();
            let begin = Begin {
                source: source.unwrap_or(real.as_os_str().as_bytes()),
                stat: &stat,
                names: self.options.names.digest(),
                began_ns: began.unix_ns,
                anew: self.options.read_all,
            };
            s.begin_cache(&begin);
        }
        drop(probe);
        let above = s.cache.paths.above();
        let known = s.cache.known(s.store, &above);
        let spot = Spot {
            hash: s.cache.paths.below(&above, b""),
            known: &known,
        };
        match self.examine(s, parent.as_fd(), open_name, name, spot)? {
            Found::Done(done) => {
                s.cache.record.enter(above);
                s.keep(done.draft)?;
                s.leave(None);
                Ok(done.entry)
            }
            Found::Directory(level, fd) => self.walk(s, *level, fd),
            Found::Nothing => Err(bad(&"it vanished while it was looked at")),
        }
    }

    fn walk(&mut self, s: &mut Session, top: Level, fd: OwnedFd) -> Result<Entry> {
        let mut stack = vec![self.enter(s, Vec::new(), top, fd)?];
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
            let Some(number) = level.next_number() else {
                if level.comparing.is_some() && !Comparing::is_stored(s, level)? {
                    level.comparing = None;
                    continue;
                }
                let Some(level) = stack.pop() else { continue };
                let number = level.number;
                let done = self.close(s, level)?;
                self.dirs.pop();
                match stack.last_mut() {
                    Some(parent) => take(s, parent, number, Some(done))?,
                    None => return Ok(done.entry),
                }
                continue;
            };
            if let Some(done) = level.done_before(number) {
                take(s, level, number, done)?;
                continue;
            }
            let name = level.names.get(number).unwrap_or_default().to_vec();
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            let before = number.checked_sub(1).and_then(|n| level.names.get(n));
            if !is_component(&name) || before == Some(&name[..]) {
                s.problem(
                    &self.path,
                    "left out: the file system gives it no proper name of its own",
                );
                take(s, level, number, None)?;
                continue;
            }
            let dir = match self.dirs.current() {
                Ok(dir) => dir,
                Err(e) => {
                    let more = level.names.len() - number - 1;
                    let why = format!("left out with {more} more names of its directory, which cannot be opened again: {}", told(e));
                    s.problem(&self.path, &why);
                    level.names = NameList::default();
                    take(s, level, number, None)?;
                    continue;
                }
            };
            let spot = Spot {
                hash: s.cache.paths.below(&level.hash, &name),
                known: &level.known,
            };
            match self.examine(s, dir.as_fd(), &name, &name, spot)? {
                Found::Done(done) => take(s, level, number, Some(*done))?,
                Found::Nothing => take(s, level, number, None)?,
                Found::Directory(below, fd) => {
                    let below = Level { number, ..*below };
                    stack.push(self.enter(s, name, below, fd)?);
                }
            }
        }
    }

    /// Goes down into a directory.
    fn enter(
        &mut self,
        s: &mut Session,
        name: Vec<u8>,
        level: Level,
        fd: OwnedFd,
    ) -> Result<Level> {
        let comparing = self.compare(s, &level, fd.as_fd())?;
        s.cache.record.enter(level.hash);
        self.dirs.push(name, fd, level.seen.id);
        Ok(Level { comparing, ..level })
    }

    /// Goes up: what the directory came to.
    fn close(&mut self, s: &mut Session, level: Level) -> Result<Done> {
        let later = self.dirs.current().and_then(|fd| stat_fd(fd.as_fd()));
        let changed = later.is_ok_and(|later| level.seen.changed(&later));
        if changed {
            s.problem(&self.path, "changed while it was read: names came or went");
        }
        let sound = level.sound && !changed;
        if let Some(same) = &level.comparing {
            return Ok(same.done(s, &level, sound));
        }
        let written = level.writer.finish(s)?;
        let kept = Kept {
            blob: written.blob,
            key: tree_key(&level.public.finalize().into()),
        };
        let row = Row {
            content: Some(kept),
            ..Row::bare(level.hash)
        };
        s.leave(sound.then(|| Draft::new(row, written.placing.clone())));
        let attributes = !level.entry.meta.xattrs.is_empty();
        let draft = s
            .cache
            .draft(
                level.hash,
                &level.seen,
                Some(kept),
                attributes,
                written.placing,
            )
            .filter(|_| sound);
        let entry = Entry {
            content: Some(kept.blob),
            key: Some(kept.key),
            ..level.entry
        };
        Ok(Done { entry, draft })
    }
}

impl Level {
    /// The number of the name to go on with.
    fn next_number(&mut self) -> Option<usize> {
        if let Some(same) = &mut self.comparing {
            return same.next_dir();
        }
        let number = self.next;
        self.next += 1;
        (number < self.names.len()).then_some(number)
    }

    /// What a name came to while the directory was only compared.
    fn done_before(&mut self, number: usize) -> Option<Option<Done>> {
        let is_it = |(n, _): &&(usize, Option<Done>)| *n == number;
        self.done.front().filter(is_it)?;
        self.done.pop_front().map(|(_, done)| done)
    }
}

/// Takes up what a name came to: as it was, or into the directory as it is stored and as its key
/// sees it.
fn take(s: &mut Session, level: &mut Level, number: usize, done: Option<Done>) -> Result<()> {
    if level.comparing.is_some() {
        let draft = done.as_ref().and_then(|d| d.draft.as_ref());
        let same = draft.is_some_and(|d| {
            let row = s.cache.old.whole_row(s.store, &level.known, &d.row.hash);
            row.is_some_and(|row| row.says_as(&d.row))
        });
        level.done.push_back((number, done));
        if !same {
            level.comparing = None;
        }
        return Ok(());
    }
    let Some(Done { entry, draft }) = done else {
        return s.keep(None);
    };
    level.public.update(&entry.encode_public());
    level.writer.sequence(s, &entry.encode())?;
    s.keep(draft)?;
    if entry.hard_link.is_some() {
        // Its number is another wherever such inodes come or go: the directory is always read.
        s.keep(None)?;
    }
    s.pulse()
}
