//! Trees: a directory as a sequence of entries, POSIX metadata complete.
//!
//! A directory's logical bytes are a CBOR sequence of entries, sorted by name, stored as a blob so
//! that a directory of a million entries is read in pieces. Each entry has two spellings: the
//! stored one carries the [`BlobRef`] of its content, the public one does not, so that a tree's
//! [`ArtifactKey`](crate::ArtifactKey) is over its children's public keys and is the same in every
//! domain.

use super::{element, BlobRef};
use crate::canon::{self, Limits};
use crate::{ArtifactKey, ChunkId, Error, Fields, Kind, MapBuilder, Result, Value};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file; its content is a blob.
    File,
    /// A directory; its content is a tree.
    Directory,
    /// A symbolic link and its target, as bytes.
    Symlink(Vec<u8>),
    /// A character device and its number.
    CharDevice(u64),
    /// A block device and its number.
    BlockDevice(u64),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl EntryKind {
    fn code(&self) -> u64 {
        match self {
            EntryKind::File => 0,
            EntryKind::Directory => 1,
            EntryKind::Symlink(_) => 2,
            EntryKind::CharDevice(_) => 3,
            EntryKind::BlockDevice(_) => 4,
            EntryKind::Fifo => 5,
            EntryKind::Socket => 6,
        }
    }
}

/// An entry's metadata beside its name and type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, set-id and sticky bits: the low 12 bits of the mode.
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// Owner's name on the source, where known; bytes.
    pub user: Option<Vec<u8>>,
    /// Group's name on the source, where known; bytes.
    pub group: Option<Vec<u8>>,
    /// Modification time: seconds since 1970, negative before.
    pub mtime_s: i64,
    /// Modification time: nanoseconds, below 10^9.
    pub mtime_ns: u32,
    /// Extended attributes by name, ACLs and file capabilities among them; sorted.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name: bytes, not empty, without `/` and NUL, not `.` or `..`.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Its metadata.
    pub meta: Meta,
    /// Entries of one tree with the same number are one file (hard links).
    pub hard_link: Option<u64>,
    /// Where the content is: of a file its bytes, of a directory its entries.
    pub content: Option<BlobRef>,
    /// The public identity of the content.
    pub key: Option<ArtifactKey>,
}

impl Entry {
    /// Encodes the stored form, with the reference to the content.
    pub fn encode(&self) -> Vec<u8> {
        element(self.public().opt(20, self.content))
    }

    /// Encodes the public form, over which a tree's key is made.
    pub fn encode_public(&self) -> Vec<u8> {
        element(self.public())
    }

    /// The pieces the entry refers to.
    pub fn links(&self) -> Option<ChunkId> {
        self.content.and_then(|c| c.links())
    }

    fn public(&self) -> MapBuilder {
        let m = &self.meta;
        let map = MapBuilder::new()
            .put(0, Value::Bytes(self.name.clone()))
            .put(1, self.kind.code())
            .put(2, m.mode)
            .put(3, m.uid)
            .put(4, m.gid)
            .opt(5, m.user.clone())
            .opt(6, m.group.clone())
            .put(7, m.mtime_s)
            .put(8, m.mtime_ns)
            .opt(9, self.hard_link)
            .opt(12, self.key);
        let map = match &self.kind {
            EntryKind::Symlink(target) => map.put(10, Value::Bytes(target.clone())),
            EntryKind::CharDevice(n) | EntryKind::BlockDevice(n) => map.put(11, *n),
            _ => map,
        };
        if m.xattrs.is_empty() {
            return map;
        }
        let pair = |(k, v): &(Vec<u8>, Vec<u8>)| (Value::Bytes(k.clone()), Value::Bytes(v.clone()));
        map.put(13, Value::Map(m.xattrs.iter().map(pair).collect()))
    }

    /// Decodes the first entry of a sequence and says how many bytes it took.
    ///
    /// # Errors
    /// `Invalid` where it is malformed, or its name could leave its directory.
    pub fn decode_first(bytes: &[u8]) -> Result<(Entry, usize)> {
        let (value, used) = canon::decode_first(bytes, "tree entry", Limits::ENTRY)?;
        let mut f = Fields::of(value, "tree entry")?;
        let bad = |why: &str| Error::new(Kind::Invalid, "read", "tree entry", why);
        let name = f.bytes(0)?;
        let hostile = name.is_empty()
            || name.len() > 4096
            || name == b"."
            || name == b".."
            || name.iter().any(|b| *b == b'/' || *b == 0);
        if hostile {
            return Err(bad("its name could leave its directory"));
        }
        let kind = match f.uint(1)? {
            0 => EntryKind::File,
            1 => EntryKind::Directory,
            2 => EntryKind::Symlink(f.bytes(10)?),
            3 => EntryKind::CharDevice(f.uint(11)?),
            4 => EntryKind::BlockDevice(f.uint(11)?),
            5 => EntryKind::Fifo,
            6 => EntryKind::Socket,
            _ => return Err(bad("unknown type of entry")),
        };
        let mut meta = Meta {
            mode: f.uint32(2)?,
            uid: f.uint32(3)?,
            gid: f.uint32(4)?,
            user: f.opt(5, Fields::bytes)?,
            group: f.opt(6, Fields::bytes)?,
            mtime_s: f.int(7)?,
            mtime_ns: f.uint32(8)?,
            xattrs: Vec::new(),
        };
        if meta.mode > 0o7777 || meta.mtime_ns >= 1_000_000_000 {
            return Err(bad("mode or time out of range"));
        }
        if f.has(13) {
            let pairs = f
                .value(13)?
                .into_map()
                .map_err(|_| bad("attributes are not a map"))?;
            for (k, v) in pairs {
                let (Value::Bytes(k), Value::Bytes(v)) = (k, v) else {
                    return Err(bad("an attribute is not bytes"));
                };
                meta.xattrs.push((k, v));
            }
        }
        let hard_link = f.opt(9, Fields::uint)?;
        let key = f.opt(12, Fields::id)?;
        let content = match f.opt(20, Fields::fields)? {
            Some(c) => Some(BlobRef::from_fields(c)?),
            None => None,
        };
        f.finish()?;
        Ok((
            Entry {
                name,
                kind,
                meta,
                hard_link,
                content,
                key,
            },
            used,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn entry(name: &[u8]) -> Entry {
        Entry {
            name: name.to_vec(),
            kind: EntryKind::File,
            meta: Meta {
                mode: 0o4755,
                uid: 1000,
                gid: 100,
                user: Some(b"ann\xff".to_vec()),
                group: None,
                mtime_s: -1,
                mtime_ns: 999_999_999,
                xattrs: vec![(b"user.a".to_vec(), b"\0\xff".to_vec())],
            },
            hard_link: Some(7),
            content: Some(BlobRef {
                size: 3,
                depth: 0,
                top: Some(ChunkId::from([4; 32])),
            }),
            key: Some(super::super::blob_key(&Digest::of(b"abc"))),
        }
    }

    #[test]
    fn every_kind_of_entry_is_read_back() {
        for kind in [
            EntryKind::File,
            EntryKind::Directory,
            EntryKind::Symlink(b"../\xff".to_vec()),
            EntryKind::CharDevice(259),
            EntryKind::BlockDevice(u64::MAX),
            EntryKind::Fifo,
            EntryKind::Socket,
        ] {
            let e = Entry {
                kind,
                ..entry(b"caf\xe9")
            };
            let mut sequence = e.encode();
            let length = sequence.len();
            sequence.extend(entry(b"next").encode());
            assert_eq!(Entry::decode_first(&sequence).unwrap(), (e, length));
        }
    }

    #[test]
    fn the_public_form_does_not_tell_where_the_bytes_are() {
        let a = entry(b"x");
        let b = Entry {
            content: None,
            ..a.clone()
        };
        assert_eq!(a.encode_public(), b.encode_public());
        assert_ne!(a.encode(), b.encode());
    }

    #[test]
    fn a_name_that_could_leave_its_directory_is_refused() {
        for name in [
            &b""[..],
            b".",
            b"..",
            b"a/b",
            b"/etc",
            b"a\0b",
            &[b'x'; 4097],
        ] {
            assert!(
                Entry::decode_first(&entry(name).encode()).is_err(),
                "{name:?}"
            );
        }
    }

    #[test]
    fn metadata_out_of_range_is_refused() {
        let with = |f: fn(&mut Meta)| {
            let mut e = entry(b"x");
            f(&mut e.meta);
            Entry::decode_first(&e.encode())
        };
        assert!(with(|_| ()).is_ok());
        assert!(with(|m| m.mode = 0o10000).is_err());
        assert!(with(|m| m.mtime_ns = 1_000_000_000).is_err());
    }
}
