//! The disk of the operating system, below one directory.
//!
//! Every path is walked one component at a time and no symbolic link is ever followed below the
//! root: a hostile disk must not send a read or a write elsewhere (architecture.md, invariants 9
//! and 11).

use crate::disk::{steady, Access, Disk, Entry, Process};
use crate::medium::{self, MediumReader, Nature};
use crate::os_file::OsFile;
use crate::{Durability, Space};
use rustix::fs::{
    self, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, StatVfsMountFlags,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

/// A directory tree of the operating system.
pub struct OsDisk {
    root: OwnedFd,
    nature: Nature,
}

/// The directory a name lies in.
enum Parent<'a> {
    Root(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Parent::Root(fd) => *fd,
            Parent::Below(fd) => fd.as_fd(),
        }
    }
}

const STEP: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl OsDisk {
    /// Opens the tree below a directory. The path to it may lead through symbolic links.
    ///
    /// # Errors
    /// The system's; `NotADirectory` where it is none.
    pub fn open(root: &Path) -> io::Result<Self> {
        let root = fs::open(
            root,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let nature = Nature::of(root.as_fd())?;
        Ok(OsDisk { root, nature })
    }

    /// Walks to the directory a path lies in; answers it and the last component.
    fn walk<'a, 'p>(&'a self, path: &'p Path) -> io::Result<(Parent<'a>, &'p OsStr)> {
        let mut at = Parent::Root(self.root.as_fd());
        let mut last: Option<&OsStr> = None;
        for component in path.components() {
            let Component::Normal(name) = component else {
                return Err(Errno::INVAL.into());
            };
            if let Some(dir) = last.replace(name) {
                at = Parent::Below(fs::openat(&at, dir, STEP, Mode::empty())?);
            }
        }
        Ok((at, last.unwrap_or(OsStr::new("."))))
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(crate) fn stat(&self, path: &Path) -> io::Result<fs::Stat> {
        let (parent, name) = self.walk(path)?;
        Ok(fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(crate) fn nature(&self) -> &Nature {
        &self.nature
    }

    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let (parent, name) = self.walk(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(parent, name, flags, Mode::empty())?)
    }

    fn open_file(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let (parent, name) = self.walk(path)?;
        // Without NONBLOCK, opening a pipe that somebody put there would wait for ever.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(fs::openat(parent, name, flags, Mode::empty())?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

impl Disk for OsDisk {
    type File = OsFile;

    fn create(&self, path: &Path, mode: u32) -> io::Result<OsFile> {
        let (parent, name) = self.walk(path)?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(parent, name, flags, Mode::from_raw_mode(mode))?;
        Ok(OsFile::new(File::from(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<OsFile> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
        };
        self.open_file(path, flags).map(OsFile::new)
    }

    fn open_medium(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let file = self.open_file(path, OFlags::RDONLY)?;
        // Only synced pages can be dropped.
        file.sync_data()?;
        medium::drop_cache(&file);
        let (file, direct) = match self.open_file(path, OFlags::RDONLY | OFlags::DIRECT) {
            Ok(direct) => (direct, true),
            Err(_) => (file, false),
        };
        Ok(Box::new(MediumReader::new(file, direct)))
    }

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let stat = self.stat(path)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Entry::File(u64::try_from(stat.st_size).unwrap_or_default()),
            FileType::Directory => Entry::Dir,
            _ => Entry::Other,
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.open_dir(path)?)? {
            match entry?.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        let (parent, name) = self.walk(path)?;
        Ok(fs::mkdirat(parent, name, Mode::from_raw_mode(mode))?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from) = self.walk(from)?;
        let (to_dir, to) = self.walk(to)?;
        Ok(fs::renameat(from_dir, from, to_dir, to)?)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from) = self.walk(from)?;
        let (to_dir, to) = self.walk(to)?;
        match fs::renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(unsupported()),
            other => Ok(other?),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from) = self.walk(from)?;
        let (to_dir, to) = self.walk(to)?;
        match fs::linkat(from_dir, from, to_dir, to, AtFlags::empty()) {
            // FAT answers "not permitted", and so does exFAT.
            Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => Err(unsupported()),
            other => Ok(other?),
        }
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let dir = self.open_dir(path)?;
        // A directory cannot be opened for writing, which an open-file lock of a writer wants.
        steady(|| Ok(fs::flock(&dir, FlockOperation::LockExclusive)?))?;
        Ok(Box::new(dir))
    }

    fn renames_whole(&self) -> bool {
        self.nature.renames_whole
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.walk(path)?;
        Ok(fs::unlinkat(parent, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.walk(path)?;
        Ok(fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let dir = self.open_dir(path)?;
        match fs::fsync(&dir) {
            // Some network and user-space file systems sync no directory alone.
            Err(Errno::INVAL) => Ok(fs::syncfs(&dir)?),
            other => Ok(other?),
        }
    }

    fn sync_all(&self) -> io::Result<bool> {
        if self.nature.sync_all_reports {
            // On the descriptor held since the location was opened: the kernel reports each
            // failed write-back once to every descriptor that was open when it happened.
            fs::syncfs(&self.root)?;
            // A file system that the kernel made read-only after an error has nothing to sync, and
            // says that this went well.
            if fs::fstatvfs(&self.root)?
                .f_flag
                .contains(StatVfsMountFlags::RDONLY)
            {
                return Err(Errno::ROFS.into());
            }
        }
        Ok(self.nature.sync_all_reports)
    }

    fn durability(&self) -> Durability {
        self.nature.durability
    }

    fn space(&self) -> io::Result<Space> {
        let stat = fs::fstatvfs(&self.root)?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            // A file system that makes room for names as it goes says that it has none at all.
            files: (stat.f_files > 0).then_some(stat.f_favail),
        })
    }

    fn process(&self) -> Process {
        let word = |path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.trim().to_owned()
        };
        Process {
            pid: std::process::id(),
            boot_id: word("/proc/sys/kernel/random/boot_id"),
            command: word("/proc/self/comm"),
        }
    }

    fn lives(&self, pid: u32) -> bool {
        Path::new("/proc").join(pid.to_string()).exists()
    }
}

fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}
