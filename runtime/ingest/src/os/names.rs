//! Names of owners, as the source's own tables spell them.

use super::retry;
use asl_core::{Error, Kind, Result};
use rustix::fs::{openat, openat2, Mode, OFlags, ResolveFlags, CWD};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Bytes of a table at most.
const TABLE: u64 = 16 << 20;
/// Bytes of one name at most; a longer one is not a name.
const NAME: usize = 256;

/// Users and groups by number, from files of the form of `/etc/passwd` and `/etc/group`.
///
/// The table of the *source* is the right one: the machine that reads a disk knows other people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameTable {
    users: BTreeMap<u32, Vec<u8>>,
    groups: BTreeMap<u32, Vec<u8>>,
}

impl NameTable {
    /// Reads the texts of both files; lines of another form are passed over.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        NameTable {
            users: table(passwd),
            groups: table(group),
        }
    }

    /// Reads `etc/passwd` and `etc/group` below a source, as one who lives there would see them.
    ///
    /// Links are resolved within the source. A source without them has an empty table.
    ///
    /// # Errors
    /// `Io` where the source cannot be opened, or a table is there but cannot be read.
    pub fn of_source(source: &Path) -> Result<Self> {
        let bad = |what: &str, e: &dyn std::fmt::Display| {
            let object = format!("{} of {}", what, source.display());
            Error::new(Kind::Io, "read", object, e)
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = retry(|| openat(CWD, source, flags, Mode::empty()))
            .map_err(|e| bad("the directory", &e))?;
        let read = |name: &str| -> Result<Vec<u8>> {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let fd = match retry(|| openat2(&root, name, flags, Mode::empty(), resolve)) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
                Err(e) => return Err(bad(name, &e)),
            };
            let mut text = Vec::new();
            let file = std::fs::File::from(fd);
            if file.metadata().is_ok_and(|m| m.is_file()) {
                let mut limited = file.take(TABLE);
                limited.read_to_end(&mut text).map_err(|e| bad(name, &e))?;
            }
            Ok(text)
        };
        Ok(NameTable::parse(&read("etc/passwd")?, &read("etc/group")?))
    }

    /// A hash of all the names: two tables with the same hash name every owner alike.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for table in [&self.users, &self.groups] {
            hasher.update(&(table.len() as u64).to_le_bytes());
            for (number, name) in table {
                hasher.update(&number.to_le_bytes());
                hasher.update(&(name.len() as u64).to_le_bytes());
                hasher.update(name);
            }
        }
        *hasher.finalize().as_bytes()
    }

    /// The user's name.
    pub fn user(&self, uid: u32) -> Option<&[u8]> {
        self.users.get(&uid).map(Vec::as_slice)
    }

    /// The group's name.
    pub fn group(&self, gid: u32) -> Option<&[u8]> {
        self.groups.get(&gid).map(Vec::as_slice)
    }
}

fn table(text: &[u8]) -> BTreeMap<u32, Vec<u8>> {
    let mut names = BTreeMap::new();
    for line in text.split(|b| *b == b'\n') {
        let mut fields = line.split(|b| *b == b':');
        let (name, number) = (fields.next(), fields.nth(1));
        let number = number
            .and_then(|n| std::str::from_utf8(n).ok())
            .and_then(|n| n.parse().ok());
        if let (Some(name), Some(number)) = (name, number) {
            if !name.is_empty() && name.len() <= NAME {
                // The first line of a number is the one the system uses.
                names.entry(number).or_insert_with(|| name.to_vec());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_first_line_with_a_number() {
        let t = NameTable::parse(
            b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nann\xff:x:1000:100::/:\nbad\n:x:5:5\nx:y:z\n+\n",
            b"root:x:0:\nusers:x:100:ann\n",
        );
        assert_eq!(t.user(0), Some(&b"root"[..]));
        assert_eq!(t.user(1000), Some(&b"ann\xff"[..]));
        assert_eq!(t.group(100), Some(&b"users"[..]));
        assert_eq!((t.user(5), t.user(7), t.group(1)), (None, None, None));
    }

    #[test]
    fn the_tables_of_a_source_are_found_within_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            NameTable::of_source(dir.path()).unwrap(),
            NameTable::default()
        );
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::create_dir_all(dir.path().join("usr")).unwrap();
        std::fs::write(dir.path().join("usr/passwd"), b"inside:x:7:7::/:\n").unwrap();
        // An absolute link means the source's own root, and cannot reach ours.
        std::os::unix::fs::symlink("/usr/passwd", dir.path().join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("../../../../../../etc/group", dir.path().join("etc/group"))
            .unwrap();
        let t = NameTable::of_source(dir.path());
        // The second link leads to itself within the source: told, not passed over.
        assert!(t.is_err(), "{t:?}");
        std::fs::remove_file(dir.path().join("etc/group")).unwrap();
        let t = NameTable::of_source(dir.path()).unwrap();
        assert_eq!((t.user(7), t.group(0)), (Some(&b"inside"[..]), None));
        assert!(NameTable::of_source(&dir.path().join("missing")).is_err());
    }
}
