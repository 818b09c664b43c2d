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

/// Bytes of names that lie together: a long list grows without being copied.
const PART: usize = 256 << 10;

/// The names of one directory, sorted; six bytes each beside its own.
#[derive(Debug, Default)]
pub(crate) struct NameList {
    /// Each name after its length, two bytes.
    parts: Vec<Vec<u8>>,
    /// Where each name lies, were every part [`PART`] bytes long.
    places: Vec<u32>,
}

impl NameList {
    /// The name of a number, from 0.
    pub(crate) fn get(&self, n: usize) -> Option<&[u8]> {
        name_at(&self.parts, *self.places.get(n)?)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Takes a name in; none where 4 GiB are full.
    fn push(&mut self, name: &[u8]) -> Option<()> {
        let length = u16::try_from(name.len()).ok()?.to_le_bytes();
        let needs = length.len() + name.len();
        let fits = |part: &&mut Vec<u8>| part.len() + needs <= PART;
        if self.parts.last_mut().filter(fits).is_none() {
            // The first one grows: most directories are small.
            let room = if self.parts.is_empty() { 0 } else { PART };
            self.parts.push(Vec::with_capacity(room));
        }
        let begin = (self.parts.len() - 1).checked_mul(PART)?;
        let part = self.parts.last_mut()?;
        self.places.push(u32::try_from(begin + part.len()).ok()?);
        part.extend_from_slice(&length);
        part.extend_from_slice(name);
        Some(())
    }

    fn sort(&mut self) {
        let parts = &self.parts;
        self.places.sort_unstable_by_key(|at| name_at(parts, *at));
    }
}

fn name_at(parts: &[Vec<u8>], at: u32) -> Option<&[u8]> {
    let part = parts.get(at as usize / PART)?;
    let (length, rest) = part.get(at as usize % PART..)?.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_le_bytes(*length)))
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
                if name != b"." && name != b".." && names.push(name).is_none() {
                    failed = Some(Errno::OVERFLOW);
                    break;
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

    #[test]
    fn a_long_list_gives_every_name_back_in_order() {
        let mut names = NameList::default();
        let name = |n: u32| {
            format!(
                "{:08x}-{}",
                n.wrapping_mul(0x9e37_79b1),
                "x".repeat(n as usize % 300)
            )
        };
        (0..20_000).for_each(|n| names.push(name(n).as_bytes()).unwrap());
        names.sort();
        let mut expected: Vec<String> = (0..20_000).map(name).collect();
        expected.sort();
        assert_eq!(names.len(), expected.len());
        for (n, name) in expected.iter().enumerate() {
            assert_eq!(names.get(n), Some(name.as_bytes()));
        }
        assert_eq!(names.get(expected.len()), None);
        assert!(names.parts.len() > 10);
    }

    #[test]
    fn names_of_no_bytes_and_of_a_parts_end_are_kept_apart() {
        let mut names = NameList::default();
        let long = vec![b'y'; 60_000];
        for name in [&b""[..], &long, b"a", &long, &long, &long, &long, b"z"] {
            names.push(name).unwrap();
        }
        assert!(
            names.push(&vec![0; 1 << 16]).is_none(),
            "longer than any name"
        );
        let held: Vec<usize> = (0..names.len())
            .map(|n| names.get(n).unwrap().len())
            .collect();
        assert_eq!(held, [0, 60_000, 1, 60_000, 60_000, 60_000, 60_000, 1]);
    }
}
