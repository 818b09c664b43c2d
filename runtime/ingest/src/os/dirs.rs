//! Directories: opening one below another, their names, and a stack of them of any depth.

use super::{retry, stat_fd, FileId};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{openat, openat2, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use std::rc::Rc;

/// Open directories kept at most; the others are opened again by name when needed.
const WINDOW: usize = 64;

/// Whether the name is one component that stays in its directory.
pub(crate) fn is_component(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|b| matches!(b, b'/' | 0))
}

/// Opens a directory of a source for reading, without leaving a trace where that is allowed.
pub(crate) fn open_source_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // O_NOATIME is for the owner and for root alone.
    match retry(|| openat(dir, name, flags | OFlags::NOATIME, Mode::empty())) {
        Err(Errno::PERM) => retry(|| openat(dir, name, flags, Mode::empty())),
        other => other,
    }
}

/// Opens one name below a directory that a restore writes to.
///
/// The kernel itself refuses symbolic links, other mounts and whatever leads outside.
pub(crate) fn open_beneath(
    dir: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    if !is_component(name) {
        return Err(Errno::INVAL);
    }
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // EAGAIN: a rename elsewhere raced with the check of "beneath"; the kernel asks to try again.
    for _ in 0..100 {
        match retry(|| openat2(dir, name, flags, mode, resolve)) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// The names of one directory, sorted, in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct NameList {
    bytes: Vec<u8>,
    spans: Vec<(usize, usize)>,
}

impl NameList {
    /// The name of a number, from 0.
    pub(crate) fn get(&self, n: usize) -> Option<&[u8]> {
        let (from, to) = *self.spans.get(n)?;
        self.bytes.get(from..to)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    fn push(&mut self, name: &[u8]) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.spans.push((from, self.bytes.len()));
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.spans
            .sort_unstable_by_key(|(from, to)| bytes.get(*from..*to));
    }
}

/// Reads the names of an open directory; where that fails, what was read and the error.
pub(crate) fn read_names(fd: BorrowedFd<'_>) -> (NameList, Option<Errno>) {
    let mut names = NameList::default();
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut dir = RawDir::new(fd, buffer.spare_capacity_mut());
    let mut failed = None;
    while let Some(entry) = dir.next() {
        match entry {
            Ok(e) => {
                let name = e.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.push(name);
                }
            }
            Err(Errno::INTR) => {}
            Err(e) => {
                failed = Some(e);
                break;
            }
        }
    }
    names.sort();
    (names, failed)
}

type Open = fn(BorrowedFd<'_>, &[u8]) -> Result<OwnedFd, Errno>;

struct Level {
    name: Vec<u8>,
    fd: Option<Rc<OwnedFd>>,
    id: FileId,
}

/// The directories from the root of a run down to the current one.
///
/// Only the root and the last [`WINDOW`] stay open. One that was closed is opened again name by
/// name from the root, and counts only where it is the same inode.
pub(crate) struct DirStack {
    levels: Vec<Level>,
    open: Open,
}

impl DirStack {
    /// An empty stack that opens directories with this call.
    pub(crate) fn new(open: Open) -> Self {
        DirStack {
            levels: Vec::new(),
            open,
        }
    }

    /// Directories on the stack.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Whether this directory is on the stack: then it would contain itself.
    pub(crate) fn contains(&self, id: FileId) -> bool {
        self.levels.iter().any(|l| l.id == id)
    }

    /// Goes down.
    pub(crate) fn push(&mut self, name: Vec<u8>, fd: OwnedFd, id: FileId) {
        self.levels.push(Level {
            name,
            fd: Some(Rc::new(fd)),
            id,
        });
        let old = self.levels.len().saturating_sub(WINDOW + 1);
        if let Some(level) = self.levels.get_mut(old).filter(|_| old > 0) {
            level.fd = None;
        }
    }

    /// Goes up.
    pub(crate) fn pop(&mut self) {
        self.levels.pop();
    }

    /// The root of the run.
    pub(crate) fn root(&self) -> Result<Rc<OwnedFd>, Errno> {
        let root = self.levels.first().and_then(|l| l.fd.clone());
        root.ok_or(Errno::BADF)
    }

    /// The current directory, opened again where it had to be closed.
    ///
    /// # Errors
    /// `ESTALE` where its name now leads to another directory.
    pub(crate) fn current(&mut self) -> Result<Rc<OwnedFd>, Errno> {
        if self.levels.last().is_some_and(|l| l.fd.is_none()) {
            self.reopen()?;
        }
        let last = self.levels.last().and_then(|l| l.fd.clone());
        last.ok_or(Errno::BADF)
    }

    fn reopen(&mut self) -> Result<(), Errno> {
        let keep = self.levels.len().saturating_sub(WINDOW);
        let mut at = self.root()?;
        for (i, level) in self.levels.iter_mut().enumerate().skip(1) {
            let fd = Rc::new((self.open)(at.as_fd(), &level.name)?);
            if i >= keep {
                if stat_fd(fd.as_fd())?.id != level.id {
                    return Err(Errno::STALE);
                }
                level.fd = Some(Rc::clone(&fd));
            }
            at = fd;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{mkdirat, CWD};
    use std::os::unix::ffi::OsStrExt;

    fn open(path: &std::path::Path) -> OwnedFd {
        openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    fn deep_stack(depth: usize) -> (tempfile::TempDir, DirStack) {
        let dir = tempfile::tempdir().unwrap();
        let mut stack = DirStack::new(open_source_dir);
        let fd = open(dir.path());
        let id = stat_fd(fd.as_fd()).unwrap().id;
        stack.push(Vec::new(), fd, id);
        for i in 0..depth {
            let name = format!("d{i}").into_bytes();
            let at = stack.current().unwrap();
            mkdirat(&at, &name, Mode::RWXU).unwrap();
            let fd = open_source_dir(at.as_fd(), &name).unwrap();
            let id = stat_fd(fd.as_fd()).unwrap().id;
            stack.push(name, fd, id);
        }
        (dir, stack)
    }

    #[test]
    fn a_deep_stack_keeps_few_descriptors_and_finds_its_way_up() {
        let (_dir, mut stack) = deep_stack(300);
        let ids: Vec<FileId> = stack.levels.iter().map(|l| l.id).collect();
        for id in ids.iter().rev() {
            let open = stack.levels.iter().filter(|l| l.fd.is_some()).count();
            assert!(open <= WINDOW + 1, "{open} descriptors");
            assert_eq!(stat_fd(stack.current().unwrap().as_fd()).unwrap().id, *id);
            stack.pop();
        }
    }

    #[test]
    fn a_directory_swapped_meanwhile_is_not_taken_for_the_old_one() {
        let (dir, mut stack) = deep_stack(200);
        while stack.depth() > 101 {
            stack.pop();
        }
        let path = (0..100).fold(dir.path().to_path_buf(), |p, i| p.join(format!("d{i}")));
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        std::fs::create_dir(&path).unwrap();
        stack.levels.last_mut().unwrap().fd = None;
        assert_eq!(stack.current().map(drop), Err(Errno::STALE));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_not_opened_beneath() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        for (link, to) in [("l1", "in"), ("l2", "/etc"), ("l3", "..")] {
            std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
        }
        let fd = open(dir.path());
        let try_open = |name: &[u8]| {
            open_beneath(
                fd.as_fd(),
                name,
                OFlags::RDONLY | OFlags::DIRECTORY,
                Mode::empty(),
            )
        };
        assert!(try_open(b"in").is_ok());
        for link in [b"l1", b"l2", b"l3"] {
            assert!(open_source_dir(fd.as_fd(), link).is_err(), "{link:?}");
        }
        for name in [
            &b"l1"[..],
            b"l2",
            b"l3",
            b"..",
            ".".as_bytes(),
            b"/etc",
            b"in/..",
            b"",
            b"in/",
            b"a\0b",
        ] {
            assert!(try_open(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_come_sorted_by_their_bytes_and_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in [&b"b"[..], b"a", b"a\xff", b"a b", b"\x01"] {
            std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), b"").unwrap();
        }
        let (names, failed) = read_names(open(dir.path()).as_fd());
        assert_eq!((names.len(), failed), (5, None));
        let all: Vec<&[u8]> = (0..5).filter_map(|n| names.get(n)).collect();
        assert_eq!(all, [&b"\x01"[..], b"a", b"a b", b"a\xff", b"b"]);
    }
}
