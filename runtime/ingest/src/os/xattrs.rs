//! Extended attributes: ACLs, file capabilities and whatever else a file system lists.

use super::{fd_path, retry, told};
use rustix::fd::BorrowedFd;
use rustix::fs::{fgetxattr, flistxattr, fsetxattr, getxattr, listxattr, setxattr, XattrFlags};
use rustix::io::Errno;

/// The kernel's own limit on a list of names and on one value, in bytes.
const MOST: usize = 64 << 10;
/// Bytes of one entry's attributes at most, so that an entry stays within its limit of 1 MiB.
const ENTRY_BYTES: usize = 900 << 10;
/// Attributes of one entry at most, for the same reason.
const ENTRY_COUNT: usize = 3000;

/// Attributes by name.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Where the attributes hang.
#[derive(Clone, Copy)]
pub(crate) enum Node<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// Anything else, held by a path-only descriptor.
    Held(BorrowedFd<'a>),
}

/// Reads attributes, with buffers that are kept between files.
pub(crate) struct Xattrs {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl Xattrs {
    /// A reader.
    pub(crate) fn new() -> Self {
        Xattrs {
            names: vec![0; MOST],
            value: vec![0; MOST],
        }
    }

    /// Reads all attributes, sorted by name; what could not be read is told in words.
    pub(crate) fn read(&mut self, node: Node<'_>) -> (Pairs, Vec<String>) {
        let listed = retry(|| match node {
            Node::Open(fd) => flistxattr(fd, &mut self.names[..]),
            Node::Held(fd) => listxattr(fd_path(fd), &mut self.names[..]),
        });
        let length = match listed {
            Ok(n) => n,
            Err(Errno::NOTSUP) => 0,
            Err(e) => {
                let why = format!("its extended attributes could not be listed: {}", told(e));
                return (Vec::new(), vec![why]);
            }
        };
        let (mut found, mut problems, mut bytes) = (Vec::new(), Vec::new(), 0usize);
        let names = self.names.get(..length).unwrap_or_default();
        for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
            let shown = String::from_utf8_lossy(name).into_owned();
            let got = retry(|| match node {
                Node::Open(fd) => fgetxattr(fd, name, &mut self.value[..]),
                Node::Held(fd) => getxattr(fd_path(fd), name, &mut self.value[..]),
            });
            let value = match got {
                Ok(n) => self.value.get(..n).unwrap_or_default(),
                Err(e) => {
                    problems.push(format!("extended attribute {shown:?}: {}", told(e)));
                    continue;
                }
            };
            bytes += name.len() + value.len();
            if bytes > ENTRY_BYTES || found.len() >= ENTRY_COUNT {
                problems.push(format!(
                    "extended attribute {shown:?} and those after it were left out: too many or too large"
                ));
                break;
            }
            found.push((name.to_vec(), value.to_vec()));
        }
        found.sort();
        (found, problems)
    }
}

/// Sets one attribute.
pub(crate) fn set_xattr(node: Node<'_>, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    retry(|| match node {
        Node::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
        Node::Held(fd) => setxattr(fd_path(fd), name, value, XattrFlags::empty()),
    })
}
