//! A directory held against what an earlier run found: where every name is as it was, nothing of it
//! is read.

use super::entry::Done;
use super::session::Session;
use super::tree::{Level, Walker};
use crate::cache::Row;
use crate::os::stat_at;
use asl_core::codec::Entry;
use asl_core::Result;
use rustix::fd::BorrowedFd;
use rustix::fs::FileType;

/// Directories below one directory that may be gone through before it is known whether it is to be
/// read; each is kept in memory. One with more is read.
const DIRS: usize = 8192;

/// A directory whose files are all as they were; its directories are still to be gone through.
pub(crate) struct Comparing {
    /// Their numbers among the names.
    dirs: Vec<usize>,
    next: usize,
    entries: u64,
    files: u64,
    bytes: u64,
}

impl Comparing {
    /// The next directory below.
    pub(crate) fn next_dir(&mut self) -> Option<usize> {
        let number = self.dirs.get(self.next).copied();
        self.next += 1;
        number
    }

    /// Whether what the directory came to is still stored. Asked at the end alone, for then it
    /// counts for the root.
    pub(crate) fn is_stored(s: &mut Session, level: &Level) -> Result<bool> {
        let Some(whole) = level.known.whole else {
            return Ok(false);
        };
        let list = whole.head.dir.list;
        s.cache.old.usable(s.store, whole.part, list)
    }

    /// All was as it was.
    pub(crate) fn done(&self, s: &mut Session, level: &Level, sound: bool) -> Done {
        s.progress.entries += self.entries;
        s.progress.files += self.files;
        s.progress.recalled += self.files;
        s.progress.bytes += self.bytes;
        let whole = level.known.whole;
        let rows = whole.map_or(0, |w| w.head.count);
        s.cache.record.leave_as_it_was(rows);
        let content = whole.and_then(|w| w.head.dir.content);
        let entry = Entry {
            content: content.map(|c| c.blob),
            key: content.map(|c| c.key),
            ..level.entry.clone()
        };
        let row = Row {
            list: whole.map_or(0, |w| w.head.dir.list),
            content,
            attributes: !entry.meta.xattrs.is_empty(),
            stamp: s.cache.stamp(&level.seen),
            ..Row::bare(level.hash)
        };
        let part = whole.filter(|_| sound).map(|w| w.part);
        let draft = part.and_then(|part| s.cache.again(s.store, part, row));
        Done { entry, draft }
    }
}

impl Walker<'_> {
    /// Looks at every name of a directory that an earlier run kept as a whole; `None` where one is
    /// not as it was, where names came or went, or where the directory has to be read anyway.
    pub(crate) fn compare(
        &mut self,
        s: &mut Session,
        level: &Level,
        dir: BorrowedFd<'_>,
    ) -> Result<Option<Comparing>> {
        let Some(whole) = level.known.whole else {
            return Ok(None);
        };
        let names = &level.names;
        if whole.head.count as usize != names.len() || whole.head.dir.content.is_none() {
            return Ok(None);
        }
        let mut same = Comparing {
            dirs: Vec::new(),
            next: 0,
            entries: 0,
            files: 0,
            bytes: 0,
        };
        let mut before: &[u8] = b"";
        for number in 0..names.len() {
            if number % 1024 == 1023 {
                s.pulse()?;
            }
            let name = names.get(number).unwrap_or_default();
            let seen = stat_at(dir, name);
            let Some(stat) = seen.ok().filter(|_| name != before) else {
                return Ok(None);
            };
            before = name;
            let read_anyway = self.excluded.contains(&stat.id)
                || (stat.links > 1 && stat.kind != FileType::Directory);
            if read_anyway || same.dirs.len() > DIRS {
                return Ok(None);
            }
            if stat.kind == FileType::Directory {
                same.dirs.push(number);
                continue;
            }
            let hash = s.cache.paths.below(&level.hash, name);
            let stamp = s.cache.stamp(&stat);
            let row = s.cache.old.whole_row(s.store, &level.known, &hash);
            let Some(row) = row.filter(|row| row.stamp == stamp) else {
                return Ok(None);
            };
            if !s.cache.old.usable(s.store, whole.part, row.list)? {
                return Ok(None);
            }
            same.entries += 1;
            if stat.kind == FileType::RegularFile {
                same.files += 1;
                same.bytes += stat.size;
            }
        }
        Ok(Some(same))
    }
}
