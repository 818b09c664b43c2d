//! The contract over a directory of a POSIX file system.
//!
//! Crash rule: bytes are synced before they get their name (`whole`), names at the barrier, a log
//! frame by the sync its append ends with. Nothing is promised from memory alone, and after a sync
//! that failed, or a medium that was pulled, nothing is promised at all until the location is opened
//! again.

mod log;

use crate::contract::{Backend, Durability, LogPosition, Space, WriterLock};
use crate::disk::{read_full, steady, write_all, Access, Disk, DiskFile, Entry};
use crate::errno::{self, explain, Advice};
use crate::lock::Locks;
use crate::name::{is_component, Name};
use crate::whole::{self, Fault, Target};
use crate::SystemDisk;
use asl_core::{Error, Kind, Result};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most bytes one `get` answers.
const MAX_GET: u64 = 256 << 20;
/// Where temporary files lie.
const TEMPORARY: &str = "tmp";
/// Where the temporary files of blocks lie, and which names are theirs.
const OPEN_BLOCKS: (&str, &str) = ("store/blocks/open", "store/blocks/");

/// A store location that is a directory.
pub struct PosixBackend<D: Disk = SystemDisk> {
    disk: Arc<D>,
    locks: Arc<Locks<D::File>>,
    /// Directories whose names were changed since the last barrier.
    unsynced: Mutex<BTreeSet<PathBuf>>,
    /// Why nothing is written any more.
    latch: Mutex<Option<String>>,
}

impl PosixBackend<SystemDisk> {
    /// Opens the location that is the directory `root`.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Damage` where it is no directory.
    pub fn open(root: &Path) -> Result<Self> {
        SystemDisk::open(root)
            .map(PosixBackend::with_disk)
            .map_err(|e| explain("open", format!("directory {}", root.display()), &e))
    }
}

impl<D: Disk> PosixBackend<D> {
    /// Opens the location that is the root of a disk.
    pub fn with_disk(disk: D) -> Self {
        PosixBackend {
            disk: Arc::new(disk),
            locks: Arc::default(),
            unsynced: Mutex::default(),
            latch: Mutex::default(),
        }
    }

    /// Refuses to write after the medium failed.
    fn writable(&self, doing: &'static str, name: &str) -> Result<()> {
        match &*held(&self.latch) {
            None => Ok(()),
            Some(why) => Err(Error::new(
                Kind::Io,
                doing,
                name,
                format!("{why}; so nothing written since can be trusted"),
            )
            .next("look at the medium, then open the store again: it reads what is really there")),
        }
    }

    /// Tells a sync that failed, and refuses to write from now on.
    fn latched(&self, doing: &'static str, name: &str, error: &io::Error) -> Error {
        self.latch("a sync failed earlier", explain(doing, name, error))
    }

    /// Tells a write that failed; where the medium itself did, nothing more is written.
    fn failed(&self, doing: &'static str, name: impl fmt::Display, error: &io::Error) -> Error {
        let told = explain(doing, name, error);
        if errno::verdict(error).advice == Advice::Lost {
            return self.latch("the medium failed earlier", told);
        }
        let no_names = || matches!(self.disk.space(), Ok(space) if space.files == Some(0));
        if errno::is_full(error) && no_names() {
            return Error::new(
                told.kind(),
                doing,
                told.object(),
                "there is room for bytes, but no more files can be made on it",
            )
            .next("remove files that are not needed from that medium, or use another");
        }
        told
    }

    fn latch(&self, what: &str, error: Error) -> Error {
        held(&self.latch).get_or_insert_with(|| format!("{what}: {error}"));
        error
    }

    fn changed(&self, path: &Path) {
        held(&self.unsynced).insert(path.parent().unwrap_or(Path::new("")).to_owned());
    }

    fn write_whole(
        &self,
        doing: &'static str,
        name: &Name,
        replace: bool,
        fill: impl Fn(&D::File) -> io::Result<()>,
    ) -> Result<()> {
        self.writable(doing, name.as_str())?;
        let (open, blocks) = OPEN_BLOCKS;
        let temporary = if name.as_str().starts_with(blocks) {
            open
        } else {
            TEMPORARY
        };
        let target = Target {
            temporary: Path::new(temporary),
            path: name.as_path(),
            mode: if replace { 0o600 } else { 0o400 },
            replace,
        };
        match whole::write(&*self.disk, target, fill) {
            Ok(()) => {
                self.changed(name.as_path());
                Ok(())
            }
            Err(Fault::Sync(e)) => Err(self.latched(doing, name.as_str(), &e)),
            Err(Fault::Name(e) | Fault::Other(e)) => {
                if e.kind() == io::ErrorKind::AlreadyExists {
                    // Whoever put it may have died before the barrier. The caller will rely on it.
                    self.changed(name.as_path());
                }
                Err(self.failed(doing, name, &e))
            }
        }
    }

    fn reader(&self, doing: &'static str, name: &Name) -> Result<(D::File, u64)> {
        let file = self.disk.open(name.as_path(), Access::Read);
        file.and_then(|file| file.size().map(|len| (file, len)))
            .map_err(|e| explain(doing, name, &e))
    }

    /// Makes a name and every directory on its way durable.
    fn sync_way(&self, name: &Name) -> io::Result<()> {
        name.as_path()
            .ancestors()
            .skip(1)
            .try_for_each(|dir| steady(|| self.disk.sync_dir(dir)))
    }

    fn sync_names(&self, dirs: &BTreeSet<PathBuf>) -> io::Result<()> {
        if dirs.is_empty() {
            return Ok(());
        }
        let mut synced = false;
        steady(|| self.disk.sync_all().map(|done| synced = done))?;
        if synced {
            return Ok(());
        }
        dirs.iter()
            .try_for_each(|dir| steady(|| self.disk.sync_dir(dir)))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        match self.disk.make_dir(path, 0o700) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if self.disk.entry(path)? == Entry::Dir {
                    Ok(())
                } else {
                    Err(e)
                }
            }
            other => other,
        }
    }
}

impl<D: Disk> Backend for PosixBackend<D> {
    fn append_unit(&self) -> u32 {
        1
    }

    fn durability(&self) -> Durability {
        self.disk.durability()
    }

    fn space(&self) -> Result<Space> {
        self.disk
            .space()
            .map_err(|e| explain("measure the room of", "the store's directory", &e))
    }

    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.write_whole("put", name, false, |file| write_all(file, bytes, 0))
    }

    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.write_whole("replace", name, true, |file| write_all(file, bytes, 0))
    }

    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>> {
        let (file, len) = self.reader("read", name)?;
        let wanted = range.end.min(len).saturating_sub(range.start);
        if wanted > MAX_GET {
            return Err(Error::new(
                Kind::Invalid,
                "read",
                name,
                format!("{wanted} bytes at once is more than {MAX_GET}"),
            ));
        }
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or_default()];
        let read =
            read_full(&file, &mut bytes, range.start).map_err(|e| explain("read", name, &e))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn size(&self, name: &Name) -> Result<u64> {
        match self.disk.entry(name.as_path()) {
            Ok(Entry::File(len)) => Ok(len),
            Ok(_) => Err(explain("measure", name, &io::ErrorKind::InvalidData.into())),
            Err(e) => Err(explain("measure", name, &e)),
        }
    }

    fn list(&self, dir: &Name) -> Result<Vec<String>> {
        let mut names = match self.disk.list(dir.as_path()) {
            Ok(names) => names,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(explain("list", dir, &e)),
        };
        names.retain(|name| is_component(name));
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &Name) -> Result<()> {
        self.writable("remove", name.as_str())?;
        self.disk
            .unlink(name.as_path())
            .map_err(|e| self.failed("remove", name, &e))?;
        self.changed(name.as_path());
        Ok(())
    }

    fn create_dirs(&self, dirs: &[Name]) -> Result<()> {
        for dir in dirs {
            self.writable("make directory", dir.as_str())?;
            let mut way: Vec<&Path> = dir.as_path().ancestors().collect();
            way.pop();
            for path in way.into_iter().rev() {
                self.make_dir(path)
                    .map_err(|e| self.failed("make directory", path.display(), &e))?;
                self.changed(path);
            }
        }
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        self.writable("sync", "the store's directory")?;
        let dirs = std::mem::take(&mut *held(&self.unsynced));
        self.sync_names(&dirs)
            .map_err(|e| self.latched("sync", "the store's directory", &e))
    }

    fn append(&self, log: &Name, at: LogPosition, frame: &[u8]) -> Result<()> {
        self.append_frame(log, at, frame)
    }

    fn cut_log(&self, log: &Name, at: LogPosition, keep: &Name) -> Result<()> {
        self.cut_tail(log, at, keep)
    }

    fn lock_writer(&self, log: &Name) -> Result<WriterLock> {
        self.lock(log)
    }

    fn read_back(&self, name: &Name) -> Result<Box<dyn Read + Send>> {
        self.disk
            .open_medium(name.as_path())
            .map_err(|e| explain("read back", name, &e))
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is whole after every statement, so a thread that panicked harmed nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
