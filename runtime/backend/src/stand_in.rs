//! A disk of a test's own in the place of the system's, at a path that no system has.
//!
//! Only with the feature `stand-in`, which asl-testkit asks for and no product is built with. So the
//! floors above, which name their files by paths, live on a simulated disk as they are: the power
//! can go, and a call fail, anywhere in a domain's life (reliability.md, P1, P3, P4 and P12).

use crate::disk::{Access, Disk, DiskFile, Entry, Lock, Process};
use crate::{Durability, OsDisk, Space};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// An open file of any disk.
pub type AnyFile = Box<dyn DiskFile>;

/// A disk that stands in for the system's.
pub type Other = Box<dyn Disk<File = AnyFile>>;

/// Opens one of a disk's directories, the empty path for its root.
type Door = Box<dyn Fn(&Path) -> io::Result<Other> + Send + Sync>;

static DOORS: RwLock<BTreeMap<PathBuf, Door>> = RwLock::new(BTreeMap::new());

/// Puts a disk at a path until [`remove`] is called with it.
pub fn put(at: &Path, open: impl Fn(&Path) -> io::Result<Other> + Send + Sync + 'static) {
    let mut doors = DOORS.write().unwrap_or_else(PoisonError::into_inner);
    doors.insert(at.to_path_buf(), Box::new(open));
}

/// Takes the disk at a path away; what is open stays open.
pub fn remove(at: &Path) {
    let mut doors = DOORS.write().unwrap_or_else(PoisonError::into_inner);
    doors.remove(at);
}

/// Whether a path leads to a disk that stands in.
pub(crate) fn holds(path: &Path) -> bool {
    let doors = DOORS.read().unwrap_or_else(PoisonError::into_inner);
    path.ancestors().any(|at| doors.contains_key(at))
}

/// The system's disk, or one in its place.
pub enum AnyDisk {
    /// The system's.
    System(OsDisk),
    /// The one in its place.
    StandIn(Other),
}

impl AnyDisk {
    /// Opens the tree below a directory.
    ///
    /// # Errors
    /// The system's; those of the disk that stands in.
    pub fn open(root: &Path) -> io::Result<Self> {
        let doors = DOORS.read().unwrap_or_else(PoisonError::into_inner);
        for at in root.ancestors() {
            if let (Some(open), Ok(rest)) = (doors.get(at), root.strip_prefix(at)) {
                return open(rest).map(AnyDisk::StandIn);
            }
        }
        OsDisk::open(root).map(AnyDisk::System)
    }
}

/// Does the same on whichever disk it is.
macro_rules! on {
    ($disk:expr, $one:ident => $act:expr) => {
        match $disk {
            AnyDisk::System($one) => $act,
            AnyDisk::StandIn($one) => $act,
        }
    };
}

impl Disk for AnyDisk {
    type File = AnyFile;

    fn create(&self, path: &Path, mode: u32) -> io::Result<AnyFile> {
        match self {
            AnyDisk::System(disk) => Ok(Box::new(disk.create(path, mode)?)),
            AnyDisk::StandIn(disk) => disk.create(path, mode),
        }
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<AnyFile> {
        match self {
            AnyDisk::System(disk) => Ok(Box::new(Disk::open(disk, path, access)?)),
            AnyDisk::StandIn(disk) => disk.open(path, access),
        }
    }
    fn open_medium(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        on!(self, disk => disk.open_medium(path))
    }
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        on!(self, disk => disk.entry(path))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        on!(self, disk => disk.list(path))
    }
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        on!(self, disk => disk.make_dir(path, mode))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        on!(self, disk => disk.rename(from, to))
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        on!(self, disk => disk.rename_new(from, to))
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        on!(self, disk => disk.link(from, to))
    }
    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        on!(self, disk => disk.lock_dir(path))
    }
    fn renames_whole(&self) -> bool {
        on!(self, disk => disk.renames_whole())
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        on!(self, disk => disk.unlink(path))
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        on!(self, disk => disk.remove_dir(path))
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        on!(self, disk => disk.sync_dir(path))
    }
    fn sync_all(&self) -> io::Result<bool> {
        on!(self, disk => disk.sync_all())
    }
    fn durability(&self) -> Durability {
        on!(self, disk => disk.durability())
    }
    fn space(&self) -> io::Result<Space> {
        on!(self, disk => disk.space())
    }
    fn process(&self) -> Process {
        on!(self, disk => disk.process())
    }
    fn lives(&self, pid: u32) -> bool {
        on!(self, disk => disk.lives(pid))
    }
}

impl DiskFile for AnyFile {
    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        (**self).write_at(bytes, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        (**self).set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }
    fn drop_cache(&self) {
        (**self).drop_cache();
    }
    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        (**self).try_lock(lock)
    }
    fn fits(&self, len: u64) -> io::Result<bool> {
        (**self).fits(len)
    }
    fn has_name(&self) -> io::Result<bool> {
        (**self).has_name()
    }
}
