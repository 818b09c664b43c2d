//! A bounded log of lines: appended and synced one by one, full files put aside, the oldest gone.
//!
//! Crash rule: a line that a crash cut short stays as it is, and the next begins on a line of its
//! own.

use crate::disk::{read_full, steady, write_all, Access, Disk, DiskFile};
use crate::errno::explain;
use crate::{files, SystemDisk};
use asl_core::{Kind, Result};
use std::io;
use std::path::{Path, PathBuf};

/// Files put aside at most.
const KEPT: usize = 4;

/// A log of lines in a directory of its own: `NAME.log`, and `NAME-1.log` to `NAME-4.log`, the
/// oldest last.
#[derive(Clone, Debug)]
pub struct Lines {
    dir: PathBuf,
    name: &'static str,
    full: u64,
    longest: usize,
}

impl Lines {
    /// A log whose file is put aside once it holds `full` bytes; a line is at most `longest`.
    pub fn new(dir: PathBuf, name: &'static str, full: u64, longest: usize) -> Lines {
        Lines {
            dir,
            name,
            full,
            longest,
        }
    }

    /// Appends the line that is made of the one before it; durable on return.
    ///
    /// # Errors
    /// `Io`; the line is then not there, or there in part.
    pub fn append(&self, make: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<()> {
        files::make_dir(&self.dir)?;
        self.append_on(make)
            .map_err(|e| explain("append to", self.dir.display(), &e))
    }

    fn append_on(&self, make: impl FnOnce(&[u8]) -> Vec<u8>) -> io::Result<()> {
        let disk = SystemDisk::open(&self.dir)?;
        // Another process may append too.
        let _held = disk.lock_dir(Path::new(""))?;
        let now = self.file(0);
        let mut file = match disk.open(Path::new(&now), Access::Write) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create(Path::new(&now), 0o600)?,
            opened => opened?,
        };
        let (last, mut torn) = self.last(&file)?;
        if file.size()? >= self.full {
            self.put_aside(&disk)?;
            file = disk.create(Path::new(&now), 0o600)?;
            torn = false;
        }
        let mut line = make(&last);
        line.truncate(self.longest);
        line.push(b'\n');
        if torn {
            line.insert(0, b'\n');
        }
        let end = file.size()?;
        write_all(&file, &line, end)?;
        file.sync()?;
        steady(|| disk.sync_dir(Path::new("")))
    }

    fn put_aside(&self, disk: &SystemDisk) -> io::Result<()> {
        for n in (0..KEPT).rev() {
            match disk.rename(Path::new(&self.file(n)), Path::new(&self.file(n + 1))) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// The last line, without its end, and whether that end is missing.
    fn last(&self, file: &impl DiskFile) -> io::Result<(Vec<u8>, bool)> {
        let size = file.size()?;
        let length = size.min(2 * self.longest as u64 + 2);
        let mut tail = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = read_full(file, &mut tail, size - length)?;
        tail.truncate(read);
        let torn = tail.last().is_some_and(|b| *b != b'\n');
        let whole = tail.strip_suffix(b"\n").unwrap_or(&tail);
        let last = whole.rsplit(|b| *b == b'\n').next().unwrap_or_default();
        Ok((last.to_vec(), torn))
    }

    /// The files that there are, the oldest first, by name and bytes.
    ///
    /// # Errors
    /// `Io`.
    pub fn read(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let most = self.full.saturating_add(2 * self.longest as u64);
        let mut found = Vec::new();
        for name in (0..=KEPT).rev().map(|n| self.file(n)) {
            match files::read_limited(&self.dir.join(&name), most) {
                Err(e) if e.kind() == Kind::NotFound => {}
                bytes => found.push((name, bytes?)),
            }
        }
        Ok(found)
    }

    fn file(&self, n: usize) -> String {
        match n {
            0 => format!("{}.log", self.name),
            n => format!("{}-{n}.log", self.name),
        }
    }
}
