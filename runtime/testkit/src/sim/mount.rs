//! A simulated disk at a path, for what names its files by paths.

use super::{Call, SimDisk, SimFile};
use asl_backend::disk::{Access, Disk, Entry, Process};
use asl_backend::stand_in::{self, AnyFile};
use asl_backend::{Durability, Space};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Where a [`SimDisk`] is reached by paths; dropped, it is gone.
pub struct Mount(PathBuf);

impl Mount {
    /// The path of the disk's root, which no other mount ever has.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        stand_in::remove(&self.0);
    }
}

impl SimDisk {
    /// Puts the disk at a path of its own. Opening a directory there is a call like any other.
    #[must_use]
    pub fn mount(&self) -> Mount {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let at = PathBuf::from(format!("/simulated/{number}"));
        let disk = self.clone();
        stand_in::put(&at, move |dir| {
            drop(disk.call(Call::Read)?);
            Ok(Box::new(Mounted(disk.below(dir)?)))
        });
        Mount(at)
    }
}

/// The disk behind a mount: the same, with files of any kind.
struct Mounted(SimDisk);

fn any(file: SimFile) -> AnyFile {
    Box::new(file)
}

impl Disk for Mounted {
    type File = AnyFile;

    fn create(&self, path: &Path, mode: u32) -> io::Result<AnyFile> {
        self.0.create(path, mode).map(any)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<AnyFile> {
        self.0.open(path, access).map(any)
    }
    fn open_medium(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.0.open_medium(path)
    }
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        self.0.entry(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.0.make_dir(path, mode)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename_new(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.link(from, to)
    }
    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        self.0.lock_dir(path)
    }
    fn renames_whole(&self) -> bool {
        self.0.renames_whole()
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.0.unlink(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }
    fn sync_all(&self) -> io::Result<bool> {
        self.0.sync_all()
    }
    fn durability(&self) -> Durability {
        self.0.durability()
    }
    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }
    fn process(&self) -> Process {
        self.0.process()
    }
}
