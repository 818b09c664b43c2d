//! A file of the operating system. The lock is nix's, which alone has open-file locks.

use crate::disk::{DiskFile, Lock};
use crate::medium;
use nix::fcntl::{fcntl, FcntlArg};
use nix::libc;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// An open plain file.
pub struct OsFile(File);

impl OsFile {
    pub(crate) fn new(file: File) -> Self {
        OsFile(file)
    }
}

impl DiskFile for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
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
        self.0.sync_data()
    }

    fn drop_cache(&self) {
        medium::drop_cache(&self.0);
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        let kind = match lock {
            Lock::Shared => libc::F_RDLCK,
            Lock::Exclusive => libc::F_WRLCK,
        };
        // From byte 0 to the end, wherever that will be. An open-file lock wants pid 0.
        let range = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        match fcntl(&self.0, FcntlArg::F_OFD_SETLK(&range)) {
            Ok(_) => Ok(true),
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    fn fits(&self, len: u64) -> io::Result<bool> {
        // A place beyond the file system's largest file cannot even be sought.
        match rustix::fs::seek(&self.0, SeekFrom::Start(len)) {
            Err(Errno::INVAL | Errno::OVERFLOW | Errno::FBIG) => Ok(false),
            other => other.map(|_| true).map_err(Into::into),
        }
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() > 0)
    }
}
