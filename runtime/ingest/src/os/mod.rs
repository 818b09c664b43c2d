//! The operating system's calls on directories and files, through rustix only.
//!
//! Everything here works relative to an open directory and on one name at a time, and follows no
//! symbolic link, so that a race on a source or a hostile tree cannot lead outside.

mod dirs;
mod names;
mod stat;
mod xattrs;

pub(crate) use dirs::{
    is_component, open_beneath, open_source_dir, read_names, DirStack, NameList,
};
pub use names::NameTable;
pub(crate) use stat::{keeps_change_times, stat_at, stat_fd, FileId, Stat};
pub(crate) use xattrs::{set_xattr, Node, Xattrs};

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// An error number in words, with its name for those who search for it.
pub(crate) fn told(e: Errno) -> String {
    std::io::Error::from_raw_os_error(e.raw_os_error()).to_string()
}

/// The path of an open descriptor itself, for calls that offer no descriptor form.
///
/// The link in /proc leads to the very inode the descriptor holds, so nothing can be swapped.
pub(crate) fn fd_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Calls again while a signal interrupts.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
