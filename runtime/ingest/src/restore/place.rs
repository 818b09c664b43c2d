//! Puts entries in their places, one name at a time below the current directory.

use super::apply::Refusals;
use super::content::File;
use super::crew::{Crew, Shared};
use super::report::{damaged, interrupted, refused};
use crate::os::{open_beneath, retry, stat_at, stat_fd, DirStack, FileId, Node};
use crate::problems::Problems;
use crate::read::Stretches;
use crate::walk::Visitor;
use crate::{Progress, Watch};
use asl_core::codec::{Entry, EntryKind};
use asl_core::{Digest, Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{linkat, mkdirat, mknodat, symlinkat, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::Arc;

/// The first name of a file with several.
struct Linked {
    path: Vec<u8>,
    id: FileId,
    /// All of its entry but the name; the other names must tell the same.
    entry: Digest,
}

/// What a finished restore has made and met.
pub(crate) struct Placed {
    pub dirs: DirStack,
    pub progress: Progress,
    pub problems: Problems,
    pub damaged: u64,
}

/// The visitor that makes everything in the order of the tree; the crew fills the files.
pub(crate) struct Placer<'a> {
    shared: &'a Shared<'a>,
    watch: &'a dyn Watch,
    crew: Crew,
    dirs: DirStack,
    progress: Progress,
    problems: Problems,
    damaged: u64,
    refusals: Refusals,
    links: HashMap<u64, Linked>,
    /// Bytes the root still allows.
    left: u64,
    /// Entries met, by which problems are told in order.
    met: u64,
    top_is_open: bool,
}

impl<'a> Placer<'a> {
    pub(crate) fn new(
        shared: &'a Shared<'a>,
        watch: &'a dyn Watch,
        crew: Crew,
        dirs: DirStack,
        bytes: u64,
    ) -> Self {
        Placer {
            shared,
            watch,
            crew,
            dirs,
            progress: Progress::default(),
            problems: Problems::default(),
            damaged: 0,
            refusals: Refusals::default(),
            links: HashMap::new(),
            left: bytes,
            met: 0,
            top_is_open: false,
        }
    }

    /// Waits until all that was laid down is in place, and tells what was refused more than once.
    ///
    /// # Errors
    /// That of the walk, before the crew's.
    pub(crate) fn finish(&mut self, walked: Result<()>) -> Result<()> {
        if walked.is_err() && self.shared.ended.load(Ordering::SeqCst) {
            return walked;
        }
        // Where the walk alone has ended, what it met before is in place too.
        let done = self.drain();
        walked.and(done)?;
        let refusals = std::mem::take(&mut self.refusals);
        for (path, why) in refusals.told() {
            self.tell(&path, &why);
        }
        Ok(())
    }

    /// What is in place; the crew is let go.
    pub(crate) fn placed(self) -> Placed {
        Placed {
            dirs: self.dirs,
            progress: self.progress,
            problems: self.problems,
            damaged: self.damaged,
        }
    }

    fn drain(&mut self) -> Result<()> {
        self.crew.send();
        while !self.crew.is_idle() {
            self.merge()?;
        }
        Ok(())
    }

    fn tell(&mut self, path: &[u8], why: &str) {
        self.problems.add(path, why);
        self.progress.problems = self.problems.count();
        self.watch.problem(path, why);
    }

    fn problem(&mut self, path: &[u8], why: String) {
        let place = self.met;
        self.crew.report().problem(place, path, why);
    }

    fn pulse(&mut self) -> Result<()> {
        self.progress.bytes = self.shared.bytes.load(Ordering::Relaxed);
        self.watch.progress(&self.progress);
        if self.watch.stop() {
            self.shared.ended.store(true, Ordering::SeqCst);
            return Err(interrupted());
        }
        Ok(())
    }

    /// Takes in what the crew has done, or waits a little for it.
    fn merge(&mut self) -> Result<()> {
        if let Some(mut report) = self.crew.wait()? {
            for (path, why) in report.take_problems() {
                self.tell(&path, &why);
            }
            self.damaged += report.damaged;
            self.refusals.merge(report.refusals);
        }
        self.pulse()
    }

    /// Hands a full window to the crew.
    fn send_full(&mut self) -> Result<()> {
        if !self.crew.is_full() {
            return Ok(());
        }
        while self.crew.is_busy() {
            self.merge()?;
        }
        self.crew.send();
        Ok(())
    }

    /// Answers what the target said no to: a problem of one entry, or the end of the restore.
    fn failed(&mut self, path: &[u8], what: &str, e: Errno) -> Result<()> {
        let why = refused(path, what, e)?;
        self.problem(path, why);
        self.send_full()
    }

    fn place(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        let dir = match self.dirs.current() {
            Ok(dir) => dir,
            Err(e) => return self.failed(path, "its directory cannot be opened again", e),
        };
        let shape = entry.hard_link.map(|n| (n, shape(entry)));
        if let Some((number, shape)) = shape {
            if let Some(first) = self.links.get(&number) {
                if first.entry == shape {
                    return self.link(path, number, &dir, &entry.name);
                }
                let why = "it is said to be the same file as another but differs";
                return self.damage(path, damaged(path, why));
            }
        }
        let placed = match &entry.kind {
            EntryKind::File => self.file(path, entry, &dir)?,
            _ => self.node(path, entry, &dir)?,
        };
        let Some(id) = placed else { return Ok(()) };
        self.progress.entries += 1;
        if let Some((number, entry)) = shape {
            let path = path.to_vec();
            self.links.insert(number, Linked { path, id, entry });
        }
        self.pulse()
    }

    /// Gives a file already in place another name.
    fn link(&mut self, path: &[u8], number: u64, dir: &Rc<OwnedFd>, name: &[u8]) -> Result<()> {
        let Some(first) = self.links.get(&number) else {
            return Ok(());
        };
        let linked = self.parent_of(&first.path).and_then(|(parent, old)| {
            // It must still be the file this restore has written.
            if stat_at(parent.as_fd(), old)?.id != first.id {
                return Err(Errno::STALE);
            }
            retry(|| linkat(parent.as_fd(), old, dir.as_fd(), name, AtFlags::empty()))
        });
        match linked {
            Ok(()) => {
                self.progress.entries += 1;
                self.pulse()
            }
            Err(e) => self.failed(path, "could not be made a hard link", e),
        }
    }

    /// Opens the directory of a path this restore has written, name by name from the target.
    fn parent_of<'p>(&self, path: &'p [u8]) -> std::result::Result<(Rc<OwnedFd>, &'p [u8]), Errno> {
        let mut at = self.dirs.root()?;
        let mut names = path.split(|b| *b == b'/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return Ok((at, name));
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            at = Rc::new(open_beneath(at.as_fd(), name, flags, Mode::empty())?);
        }
        Err(Errno::INVAL)
    }

    fn file(&mut self, path: &[u8], entry: &Entry, dir: &OwnedFd) -> Result<Option<FileId>> {
        let size = entry.content.map_or(0, |c| c.size);
        let Some(left) = self.left.checked_sub(size) else {
            return Err(damaged(
                path,
                "the tree has more bytes than its root states",
            ));
        };
        self.left = left;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        let mode = Mode::RUSR | Mode::WUSR;
        let opened = open_beneath(dir.as_fd(), &entry.name, flags, mode)
            .and_then(|fd| Ok((stat_fd(fd.as_fd())?.id, fd)));
        let (id, fd) = match opened {
            Ok(opened) => opened,
            Err(e) => return self.failed(path, "could not be made", e).map(|()| None),
        };
        let file = Arc::new(File::new(fd, path, entry, self.met));
        self.crew.file(&file, size);
        if let Some(blob) = entry.content {
            let mut stretches = Stretches::at(self.shared.store, blob, 0);
            let mut at = 0;
            while let Some(stretch) = stretches.next()? {
                at += self.crew.stretch(&file, at, stretch);
                self.send_full()?;
            }
            self.progress.files += 1;
        } else {
            let why = "empty here: its content could not be read when it was stored";
            self.problem(path, why.to_string());
        }
        self.send_full()?;
        Ok(Some(id))
    }

    /// Symbolic links, devices, pipes and sockets.
    fn node(&mut self, path: &[u8], entry: &Entry, dir: &OwnedFd) -> Result<Option<FileId>> {
        let (name, mode) = (&entry.name, Mode::RUSR | Mode::WUSR);
        let make = |kind, number: u64| {
            // The kernel's number has 32 bits; a longer one would be cut to another device.
            let number = u32::try_from(number).map_err(|_| Errno::INVAL)?;
            retry(|| mknodat(dir, name, kind, mode, number.into()))
        };
        let made = match &entry.kind {
            EntryKind::Symlink(target) => retry(|| symlinkat(target, dir, name)),
            EntryKind::CharDevice(n) => make(FileType::CharacterDevice, *n),
            EntryKind::BlockDevice(n) => make(FileType::BlockDevice, *n),
            EntryKind::Fifo => make(FileType::Fifo, 0),
            EntryKind::Socket => make(FileType::Socket, 0),
            EntryKind::File | EntryKind::Directory => Err(Errno::INVAL),
        };
        let held = made.and_then(|()| {
            let fd = open_beneath(dir.as_fd(), name, OFlags::PATH, Mode::empty())?;
            Ok((stat_fd(fd.as_fd())?.id, fd))
        });
        match held {
            Ok((id, fd)) => {
                let refusals = &mut self.crew.report().refusals;
                refusals.apply(path, entry, dir.as_fd(), Node::Held(fd.as_fd()));
                Ok(Some(id))
            }
            Err(e) => self.failed(path, "could not be made", e).map(|()| None),
        }
    }
}

impl Visitor for Placer<'_> {
    fn enter(&mut self, path: &[u8], entry: &Entry) -> Result<bool> {
        self.met += 1;
        if !self.top_is_open {
            // The target itself stands for the top directory.
            self.top_is_open = true;
            return Ok(true);
        }
        let opened = self.dirs.current().and_then(|dir| {
            retry(|| mkdirat(&dir, &entry.name, Mode::RWXU))?;
            let fd = super::open_dir(dir.as_fd(), &entry.name)?;
            Ok((stat_fd(fd.as_fd())?.id, fd))
        });
        match opened {
            Ok((id, fd)) => {
                self.dirs.push(entry.name.clone(), fd, id);
                self.pulse().map(|()| true)
            }
            Err(e) => {
                let what = "could not be made, nor what is in it";
                self.failed(path, what, e).map(|()| false)
            }
        }
    }

    fn leave(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        match self.dirs.current() {
            Ok(dir) => {
                let fd = dir.as_fd();
                let refusals = &mut self.crew.report().refusals;
                refusals.apply(path, entry, fd, Node::Open(fd));
            }
            Err(e) => self.failed(path, "its metadata could not be set", e)?,
        }
        if self.dirs.depth() > 1 {
            self.dirs.pop();
        }
        self.progress.entries += 1;
        Ok(())
    }

    fn leaf(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        // A file that is the top itself lies in the target under its own name.
        let path = if path.is_empty() { &entry.name } else { path };
        self.met += 1;
        self.top_is_open = true;
        self.place(path, entry)
    }

    fn damage(&mut self, path: &[u8], error: Error) -> Result<()> {
        let place = self.met;
        self.crew.report().damage(place, path, &error);
        self.send_full()
    }
}

/// The digest of an entry without its name.
fn shape(entry: &Entry) -> Digest {
    let mut entry = entry.clone();
    entry.name = b"-".to_vec();
    Digest::of(&entry.encode())
}
