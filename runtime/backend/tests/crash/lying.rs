//! A disk whose syncs do nothing, or whose renames are not what it says, to prove that the matrix
//! would find it out.

use asl_backend::disk::{Access, Disk, DiskFile, Entry, Lock, Process};
use asl_backend::{Durability, Space};
use asl_testkit::{SimDisk, SimFile};
use std::io::{self, Read};
use std::path::Path;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    Nothing,
    FileSync,
    DirSync,
    SyncAll,
    /// It says that its renames are one step.
    Journal,
}

#[derive(Clone)]
pub struct Lying(pub SimDisk, pub Lie);

pub struct LyingFile(SimFile, Lie);

impl Disk for Lying {
    type File = LyingFile;
    fn create(&self, path: &Path, mode: u32) -> io::Result<LyingFile> {
        self.0.create(path, mode).map(|f| LyingFile(f, self.1))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<LyingFile> {
        self.0.open(path, access).map(|f| LyingFile(f, self.1))
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
        self.1 == Lie::Journal || self.0.renames_whole()
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.0.unlink(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match self.1 {
            Lie::DirSync => Ok(()),
            _ => self.0.sync_dir(path),
        }
    }
    fn sync_all(&self) -> io::Result<bool> {
        match self.1 {
            Lie::SyncAll => Ok(true),
            _ => self.0.sync_all(),
        }
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

impl DiskFile for LyingFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        match self.1 {
            Lie::FileSync => Ok(()),
            _ => self.0.sync(),
        }
    }
    fn drop_cache(&self) {
        self.0.drop_cache();
    }
    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.0.try_lock(lock)
    }
    fn fits(&self, len: u64) -> io::Result<bool> {
        self.0.fits(len)
    }
    fn has_name(&self) -> io::Result<bool> {
        self.0.has_name()
    }
}
