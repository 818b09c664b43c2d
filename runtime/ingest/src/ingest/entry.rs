//! One name of a source: what it is, its metadata, and where it is a file its bytes.

use super::blob::BlobWriter;
use super::file::read_file;
use super::session::{Session, Tag};
use super::tree::{Level, Walker};
use crate::cache::{Draft, Kept, Known, PathHash, Placing};
use crate::os::{
    open_source_dir, read_names, retry, stat_at, stat_fd, told, FileId, NameList, Node, Stat,
};
use crate::DEEPEST;
use asl_core::codec::{blob_key, BlobRef, Entry, EntryKind, Meta};
use asl_core::Result;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{fadvise, openat, readlinkat, Advice, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::VecDeque;

/// One inode with several names.
pub(crate) struct Linked {
    entry: Entry,
    /// Names not yet met; when none is left the memory is given back.
    left: u32,
}

/// A name that is done.
pub(crate) struct Done {
    pub entry: Entry,
    /// What the files cache is to keep of it; `None` where it cannot be recognised later.
    pub draft: Option<Draft>,
}

/// Where a name stands, for the files cache.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub hash: PathHash,
    /// What is known of its directory.
    pub known: &'a Known,
}

/// What a name turned out to be.
pub(crate) enum Found {
    /// Done.
    Done(Box<Done>),
    /// A directory, whose names are still to be gone through.
    Directory(Box<Level>, OwnedFd),
    /// Left out, and told.
    Nothing,
}

impl Walker<'_> {
    /// Looks at a name and makes its entry; a directory comes back open, its content still to be read.
    pub(crate) fn examine(
        &mut self,
        s: &mut Session,
        dir: BorrowedFd<'_>,
        open_name: &[u8],
        name: &[u8],
        spot: Spot<'_>,
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
            return Ok(self.directory(s, dir, open_name, name, stat, spot.hash));
        }
        let several = stat.links > 1;
        if let Some(entry) = several.then(|| self.known_link(stat.id, name)).flatten() {
            s.progress.entries += 1;
            let draft = None;
            return Ok(Found::Done(Box::new(Done { entry, draft })));
        }
        let done = match stat.kind {
            FileType::RegularFile => match self.recalled(s, dir, open_name, &stat, spot)? {
                Some(done) => Some(done),
                None => self.file(s, dir, open_name, stat, spot.hash)?,
            },
            _ => self.node(s, dir, open_name, stat, spot.hash),
        };
        let Some(Done { mut entry, draft }) = done else {
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
        Ok(Found::Done(Box::new(Done { entry, draft })))
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
        hash: PathHash,
    ) -> Found {
        let mut entry = self.bare(EntryKind::Directory, stat);
        entry.name = name.to_vec();
        s.progress.entries += 1;
        let without_content = |entry| Found::Done(Box::new(Done { entry, draft: None }));
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
        let mut sound = self.attributes(s, &mut entry.meta, Node::Open(fd.as_fd()));
        let mut names = NameList::default();
        if self.options.one_file_system && stat.mount != self.mount {
            self.left_out
                .add(&self.path, "another file system is mounted here");
        } else {
            let (read, failed) = read_names(fd.as_fd());
            if let Some(e) = failed {
                let why = format!(
                    "only {} of its names could be read: {}",
                    read.len(),
                    told(e)
                );
                s.problem(&self.path, &why);
                sound = false;
            }
            names = read;
        }
        let known = s.cache.known(s.store, &hash);
        let level = Level {
            entry,
            seen: stat,
            names,
            hash,
            known,
            sound,
            writer: BlobWriter::new(s.chunking, Tag::Tree),
            public: blake3::Hasher::new(),
            path: self.path.len(),
            number: 0,
            next: 0,
            comparing: None,
            done: VecDeque::new(),
        };
        Found::Directory(Box::new(level), fd)
    }

    fn file(
        &mut self,
        s: &mut Session,
        dir: BorrowedFd<'_>,
        name: &[u8],
        listed: Stat,
        hash: PathHash,
    ) -> Result<Option<Done>> {
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
                let entry = self.bare(EntryKind::File, listed);
                return Ok(Some(Done { entry, draft: None }));
            }
        };
        let mut entry = self.bare(EntryKind::File, stat);
        let mut sound = self.attributes(s, &mut entry.meta, Node::Open(fd.as_fd()));
        if stat.size > 1 << 20 {
            // Advice alone: where it is not taken, reading is only slower.
            let _ = fadvise(fd.as_fd(), 0, None, Advice::Sequential);
        }
        let sparse = stat.blocks.saturating_mul(512) < stat.size;
        let file = fd.as_fd();
        let content = read_file(s, &file, stat.size, sparse, &mut self.buffer)?;
        sound &= content.troubles.is_empty();
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
        sound &= later.is_ok_and(|later| s.cache.stamp(&later) == s.cache.stamp(&stat));
        let written = content.written;
        let kept = Kept {
            blob: written.blob,
            key: blob_key(&written.digest),
        };
        entry.content = Some(kept.blob);
        entry.key = Some(kept.key);
        s.progress.files += 1;
        let attributes = !entry.meta.xattrs.is_empty();
        let draft = s
            .cache
            .draft(hash, &stat, Some(kept), attributes, written.placing)
            .filter(|_| sound);
        Ok(Some(Done { entry, draft }))
    }

    /// A file that looks as it did when its content was stored: nothing of it is read, but
    /// attributes where it has some.
    fn recalled(
        &mut self,
        s: &mut Session,
        dir: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
        spot: Spot<'_>,
    ) -> Result<Option<Done>> {
        let stamp = s.cache.stamp(stat);
        let found = s
            .cache
            .old
            .recall(s.store, spot.known, &spot.hash, &stamp)?;
        let Some((part, row)) = found else {
            return Ok(None);
        };
        let Some(kept) = row.content.filter(|c| c.blob.size == stat.size) else {
            return Ok(None);
        };
        let mut entry = self.bare(EntryKind::File, *stat);
        let mut sound = true;
        if row.attributes {
            let Ok(fd) = open_source_file(dir, name) else {
                return Ok(None);
            };
            if !stat_fd(fd.as_fd()).is_ok_and(|now| s.cache.stamp(&now) == stamp) {
                return Ok(None);
            }
            sound = self.attributes(s, &mut entry.meta, Node::Open(fd.as_fd()));
        }
        entry.content = Some(kept.blob);
        entry.key = Some(kept.key);
        s.progress.files += 1;
        s.progress.recalled += 1;
        s.progress.bytes += kept.blob.size;
        let draft = s.cache.again(s.store, part, row).filter(|_| sound);
        Ok(Some(Done { entry, draft }))
    }

    /// Symbolic links, devices, pipes and sockets: held without being opened.
    fn node(
        &mut self,
        s: &mut Session,
        dir: BorrowedFd<'_>,
        name: &[u8],
        stat: Stat,
        hash: PathHash,
    ) -> Option<Done> {
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
                let sound = self.attributes(s, &mut entry.meta, Node::Held(fd.as_fd()));
                let attributes = !entry.meta.xattrs.is_empty();
                let draft = s
                    .cache
                    .draft(hash, &stat, None, attributes, Placing::default())
                    .filter(|_| sound);
                Some(Done { entry, draft })
            }
            Err(e) => {
                s.problem(&self.path, &format!("left out: {}", told(e)));
                None
            }
        }
    }

    /// Takes up extended attributes; false where some could not be had, which is told.
    fn attributes(&mut self, s: &mut Session, meta: &mut Meta, node: Node<'_>) -> bool {
        let (xattrs, problems) = self.xattrs.read(node);
        meta.xattrs = xattrs;
        for why in &problems {
            s.problem(&self.path, why);
        }
        problems.is_empty()
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
pub(crate) fn open_source_file(
    dir: BorrowedFd<'_>,
    name: &[u8],
) -> std::result::Result<OwnedFd, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match retry(|| openat(dir, name, flags | OFlags::NOATIME, Mode::empty())) {
        Err(Errno::PERM) => retry(|| openat(dir, name, flags, Mode::empty())),
        other => other,
    }
}
