//! What the kernel says about one name, in the terms of an entry.

use super::retry;
use rustix::fd::BorrowedFd;
use rustix::fs::{fstatfs, makedev, statx, AtFlags, FileType, Statx, StatxFlags};
use rustix::io::Errno;

/// Which inode it is: device and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId {
    pub dev: u64,
    pub ino: u64,
}

/// One name's metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub kind: FileType,
    /// The low 12 bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    pub size: u64,
    /// Allocated, in 512 bytes.
    pub blocks: u64,
    pub mtime_s: i64,
    pub mtime_ns: u32,
    /// When content or metadata changed last; no call sets it to another time.
    pub ctime_s: i64,
    pub ctime_ns: u32,
    pub id: FileId,
    /// The mount it is on. A btrfs subvolume has a device of its own but not a mount.
    pub mount: u64,
    /// The number of a device node.
    pub rdev: u64,
}

impl From<Statx> for Stat {
    fn from(s: Statx) -> Stat {
        let dev = makedev(s.stx_dev_major, s.stx_dev_minor);
        let has_mount = s.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Stat {
            kind: FileType::from_raw_mode(s.stx_mode.into()),
            mode: u32::from(s.stx_mode) & 0o7777,
            uid: s.stx_uid,
            gid: s.stx_gid,
            links: s.stx_nlink,
            size: s.stx_size,
            blocks: s.stx_blocks,
            mtime_s: s.stx_mtime.tv_sec,
            mtime_ns: s.stx_mtime.tv_nsec.min(999_999_999),
            ctime_s: s.stx_ctime.tv_sec,
            ctime_ns: s.stx_ctime.tv_nsec.min(999_999_999),
            id: FileId {
                dev,
                ino: s.stx_ino,
            },
            mount: if has_mount { s.stx_mnt_id } else { dev },
            rdev: makedev(s.stx_rdev_major, s.stx_rdev_minor),
        }
    }
}

impl Stat {
    /// Whether content or size changed between two looks at one file.
    pub(crate) fn changed(&self, later: &Stat) -> bool {
        (self.size, self.mtime_s, self.mtime_ns) != (later.size, later.mtime_s, later.mtime_ns)
    }
}

/// Whether a file system changes an inode's change time whenever the inode changes, and numbers its
/// inodes for good. FAT and whatever is behind FUSE or a network are not known to.
pub(crate) fn keeps_change_times(fd: BorrowedFd<'_>) -> bool {
    // ext2 to ext4, XFS, btrfs, F2FS, tmpfs, ZFS, bcachefs, JFS, NILFS, NTFS3
    const KNOWN: [u32; 10] = [
        0xEF53,
        0x5846_5342,
        0x9123_683E,
        0xF2F5_2010,
        0x0102_1994,
        0x2FC1_2FC1,
        0xCA45_1A4E,
        0x3153_464A,
        0x3434,
        0x7366_746E,
    ];
    retry(|| fstatfs(fd)).is_ok_and(|s| KNOWN.contains(&(s.f_type as u32)))
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::MNT_ID
}

/// Looks at a name in a directory; follows no link and triggers no automount.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    retry(|| statx(dir, name, flags, wanted())).map(Stat::from)
}

/// Looks at what is open.
pub(crate) fn stat_fd(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    retry(|| statx(fd, c"", AtFlags::EMPTY_PATH, wanted())).map(Stat::from)
}
