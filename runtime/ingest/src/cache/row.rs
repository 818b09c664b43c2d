//! One name's row: what it looked like, and what its content came to.

use crate::os::Stat;
use asl_core::codec::BlobRef;
use asl_core::{ArtifactKey, ChunkId};

/// Bytes of a row.
pub(crate) const ROW: usize = 160;

const HAS_CONTENT: u8 = 1;
const HAS_TOP: u8 = 2;
const HAS_ATTRIBUTES: u8 = 4;

/// A path below the source, hashed under a key of the domain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PathHash(pub [u8; 16]);

impl PathHash {
    /// The first half, to sort by.
    pub(crate) fn short(&self) -> u64 {
        u64::from_le_bytes(array(&self.0, 0))
    }
}

/// Hashes paths, one name after the other.
pub(crate) struct Paths {
    key: [u8; 32],
}

impl Paths {
    pub(crate) fn new(key: [u8; 32]) -> Paths {
        Paths { key }
    }

    /// Where the source itself stands.
    pub(crate) fn above(&self) -> PathHash {
        PathHash([0; 16])
    }

    /// A name in a directory.
    pub(crate) fn below(&self, dir: &PathHash, name: &[u8]) -> PathHash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&dir.0).update(name);
        PathHash(array(hasher.finalize().as_bytes(), 0))
    }
}

/// What the kernel says of an inode that changes whenever it is changed.
///
/// The device is left out where it is the source's own: its number is another after each boot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(pub [u8; 64]);

impl Stamp {
    pub(crate) fn of(stat: &Stat, own_device: u64) -> Stamp {
        let device = match stat.id.dev {
            dev if dev == own_device => 0,
            dev => dev,
        };
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&stat.size.to_le_bytes());
        out.extend_from_slice(&stat.mtime_s.to_le_bytes());
        out.extend_from_slice(&stat.ctime_s.to_le_bytes());
        out.extend_from_slice(&stat.mtime_ns.to_le_bytes());
        out.extend_from_slice(&stat.ctime_ns.to_le_bytes());
        out.extend_from_slice(&stat.id.ino.to_le_bytes());
        out.extend_from_slice(&device.to_le_bytes());
        out.extend_from_slice(&(stat.kind.as_raw_mode() | stat.mode).to_le_bytes());
        out.extend_from_slice(&stat.uid.to_le_bytes());
        out.extend_from_slice(&stat.gid.to_le_bytes());
        out.resize(64, 0);
        Stamp(array(&out, 0))
    }
}

/// A content that is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub blob: BlobRef,
    pub key: ArtifactKey,
}

/// One name as it was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub hash: PathHash,
    pub stamp: Stamp,
    /// Of files and directories; other kinds have none.
    pub content: Option<Kept>,
    /// Whether it has extended attributes, which are not kept here.
    pub attributes: bool,
    /// Where its blocks are listed in its part.
    pub list: u32,
}

impl Row {
    /// A row that says nothing but the hash.
    pub(crate) fn bare(hash: PathHash) -> Row {
        Row {
            hash,
            stamp: Stamp([0; 64]),
            content: None,
            attributes: false,
            list: 0,
        }
    }

    /// Whether both say the same of the same name, wherever its blocks are listed.
    pub(crate) fn says_as(&self, other: &Row) -> bool {
        *self
            == Row {
                list: self.list,
                ..*other
            }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.0);
        out.extend_from_slice(&self.stamp.0);
        let blob = self.content.map(|c| c.blob);
        let top = blob.and_then(|b| b.top);
        let mut flags = if self.attributes { HAS_ATTRIBUTES } else { 0 };
        flags |= if blob.is_some() { HAS_CONTENT } else { 0 };
        flags |= if top.is_some() { HAS_TOP } else { 0 };
        out.extend_from_slice(&top.map_or([0; 32], |id| *id.as_bytes()));
        let key = self.content.as_ref().map(|c| c.key.as_bytes());
        out.extend_from_slice(key.unwrap_or(&[0; 32]));
        out.extend_from_slice(&blob.map_or(0, |b| b.size).to_le_bytes());
        out.extend_from_slice(&[blob.map_or(0, |b| b.depth), flags, 0, 0]);
        out.extend_from_slice(&self.list.to_le_bytes());
    }

    /// Reads a row of a part that is proven; bytes it does not have are zeros.
    pub(crate) fn decode(bytes: &[u8]) -> Row {
        let [depth, flags, ..] = array::<4>(bytes, 152);
        let top = (flags & HAS_TOP != 0).then(|| ChunkId::from(array(bytes, 80)));
        let content = Kept {
            blob: BlobRef {
                size: u64::from_le_bytes(array(bytes, 144)),
                depth,
                top,
            },
            key: array::<32>(bytes, 112).into(),
        };
        Row {
            hash: PathHash(array(bytes, 0)),
            stamp: Stamp(array(bytes, 16)),
            content: (flags & HAS_CONTENT != 0).then_some(content),
            attributes: flags & HAS_ATTRIBUTES != 0,
            list: u32::from_le_bytes(array(bytes, 156)),
        }
    }
}

/// `N` bytes from an offset; zeros where there are fewer.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(part) = bytes.get(at..at.saturating_add(N)) {
        out.copy_from_slice(part);
    }
    out
}
