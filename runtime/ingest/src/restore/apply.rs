//! Metadata onto what is in place: owner, mode, attributes, times, in the order in which none
//! undoes another.

use crate::os::{fd_path, retry, set_xattr, told, Node};
use asl_core::codec::{Entry, EntryKind};
use rustix::fd::BorrowedFd;
use rustix::fs::{
    chmodat, chownat, fchmod, fchown, futimens, utimensat, AtFlags, Gid, Mode, Timespec,
    Timestamps, Uid, CWD, UTIME_OMIT,
};
use rustix::io::Errno;
use std::collections::BTreeMap;

/// Causes kept apart at most; hostile attribute names must not fill the memory.
const CAUSES: usize = 200;

/// What the target refused, counted by its cause.
///
/// A restore by one who is not root meets the same refusal at every entry; it is told once.
#[derive(Default)]
pub(crate) struct Refusals(BTreeMap<String, (Vec<u8>, u64)>);

impl Refusals {
    /// Sets all metadata of one entry in place.
    pub(crate) fn apply(
        &mut self,
        path: &[u8],
        entry: &Entry,
        dir: BorrowedFd<'_>,
        node: Node<'_>,
    ) {
        let m = &entry.meta;
        let (name, symlink) = (&entry.name, matches!(entry.kind, EntryKind::Symlink(_)));
        // To the kernel all ones means "leave it": it is nobody's number.
        let uid = (m.uid != u32::MAX).then(|| Uid::from_raw(m.uid));
        let gid = (m.gid != u32::MAX).then(|| Gid::from_raw(m.gid));
        let owner = retry(|| match node {
            _ if uid.is_none() || gid.is_none() => Err(Errno::INVAL),
            Node::Open(fd) => fchown(fd, uid, gid),
            Node::Held(_) => chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        });
        let mut mode = m.mode;
        if let Err(e) = owner {
            // Set-id bits without their owner would lend the wrong one's rights.
            mode &= 0o1777;
            let what = "owners could not be set, and set-user and set-group bits were left off";
            self.add(path, what, e);
        }
        if !symlink {
            let mode = Mode::from_raw_mode(mode);
            let set = retry(|| match node {
                Node::Open(fd) => fchmod(fd, mode),
                Node::Held(fd) => chmodat(CWD, fd_path(fd), mode, AtFlags::empty()),
            });
            if let Err(e) = set {
                self.add(path, "modes could not be set", e);
            }
        }
        for (attribute, value) in &m.xattrs {
            if let Err(e) = set_xattr(node, attribute, value) {
                let shown: String = String::from_utf8_lossy(attribute)
                    .chars()
                    .take(80)
                    .collect();
                let what = format!("extended attribute {shown:?} could not be set");
                self.add(path, &what, e);
            }
        }
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT as _,
            },
            last_modification: Timespec {
                tv_sec: m.mtime_s,
                tv_nsec: m.mtime_ns.into(),
            },
        };
        let set = retry(|| match node {
            Node::Open(fd) => futimens(fd, &times),
            Node::Held(_) => utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW),
        });
        if let Err(e) = set {
            self.add(path, "times could not be set", e);
        }
    }

    fn add(&mut self, path: &[u8], what: &str, e: Errno) {
        self.count(format!("{what}: {}", told(e)), path.to_vec(), 1);
    }

    fn count(&mut self, mut cause: String, path: Vec<u8>, times: u64) {
        if self.0.len() >= CAUSES && !self.0.contains_key(&cause) {
            cause = "more metadata could not be set".to_string();
        }
        self.0.entry(cause).or_insert((path, 0)).1 += times;
    }

    /// Takes in what was refused of later entries.
    pub(crate) fn merge(&mut self, later: Refusals) {
        for (cause, (path, times)) in later.0 {
            self.count(cause, path, times);
        }
    }

    /// Each cause with the first path it was met at.
    pub(crate) fn told(self) -> impl Iterator<Item = (Vec<u8>, String)> {
        self.0
            .into_iter()
            .map(|(cause, (path, times))| match times {
                1 => (path, cause),
                _ => (
                    path,
                    format!("{cause}; here and at {} more entries", times - 1),
                ),
            })
    }
}
