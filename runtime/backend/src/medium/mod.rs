//! What the medium under a directory is, as the kernel tells it; [`crate::Limits`] is what a try
//! finds out beyond that.

mod reader;

pub(crate) use reader::{drop_cache, MediumReader};

use crate::Durability;
use rustix::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

const EXT: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;
const BTRFS: u64 = 0x9123_683e;
const F2FS: u64 = 0xf2f5_2010;
const ZFS: u64 = 0x2fc1_2fc1;
const BCACHEFS: u64 = 0xca45_1a4e;
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const OVERLAY: u64 = 0x794c_7630;
const FUSE: u64 = 0x6573_5546;

/// What is known of a file system without trying it.
pub(crate) struct Nature {
    /// Its name as the mount table has it, such as `ext4`, `vfat`, `fuseblk`.
    pub name: String,
    pub durability: Durability,
    /// Whether a rename is one step even when the power goes in it.
    pub renames_whole: bool,
    /// Whether `syncfs` tells every error of it.
    pub sync_all_reports: bool,
    /// Whether this is one of the few file systems of which we know that their syncs are real.
    pub known: bool,
}

impl Nature {
    pub(crate) fn of(root: BorrowedFd<'_>) -> io::Result<Nature> {
        let magic = fs::fstatfs(root)?.f_type as u64 & 0xffff_ffff;
        let device = fs::fstat(root)?.st_dev;
        let device = (fs::major(device), fs::minor(device));
        // Of the plain ones no more is asked: every document that is read or written opens a disk.
        let mounts = match magic {
            XFS | BTRFS | F2FS | TMPFS | RAMFS => String::new(),
            _ => std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
        };
        let name = match (magic, mount(&mounts, device)) {
            (XFS, _) => "xfs",
            (BTRFS, _) => "btrfs",
            (F2FS, _) => "f2fs",
            (TMPFS, _) => "tmpfs",
            (RAMFS, _) => "ramfs",
            (_, Some(mount)) => mount.name,
            (EXT, None) => "ext4",
            (_, None) => "unknown",
        };
        let on_block_device = || Path::new(&sysfs(device)).exists();
        let known = matches!(magic, EXT | XFS | BTRFS | F2FS | ZFS | BCACHEFS);
        Ok(Nature {
            durability: durability(magic, &mounts, device, on_block_device),
            // ext2 has no journal. Of any other that is not named here the worse is believed.
            renames_whole: (known && name != "ext2") || matches!(magic, TMPFS | RAMFS | OVERLAY),
            sync_all_reports: sync_all_reports(magic),
            known,
            name: name.to_owned(),
        })
    }
}

/// Whether a file system keeps its bytes when the power goes.
///
/// An overlay is as its upper layer is. One whose upper layer cannot be seen is called volatile,
/// and so is one of user space with no block device below it, whose syncs may do nothing: the
/// other mistake would call sealed what goes with the power.
fn durability(
    magic: u64,
    mounts: &str,
    device: (u32, u32),
    on_block_device: impl Fn() -> bool,
) -> Durability {
    let volatile = match magic {
        TMPFS | RAMFS => true,
        FUSE => !on_block_device(),
        OVERLAY => {
            let upper = mount(mounts, device).and_then(|mount| mount.upper_layer());
            let upper = upper.and_then(|upper| fs::statfs(&upper).ok());
            upper.is_none_or(|upper| {
                matches!(upper.f_type as u64 & 0xffff_ffff, TMPFS | RAMFS | OVERLAY)
            })
        }
        _ => false,
    };
    if volatile {
        Durability::Volatile
    } else {
        Durability::Durable
    }
}

/// A line of `/proc/self/mountinfo`.
struct Mount<'a> {
    /// The file system's name.
    name: &'a str,
    /// Its own options, as against those of the mount.
    options: &'a str,
}

/// The mount of a device number, as `/proc/self/mountinfo` tells it.
fn mount(mounts: &str, (major, minor): (u32, u32)) -> Option<Mount<'_>> {
    let device = format!("{major}:{minor}");
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(&device))?;
    let (_, rest) = line.split_once(" - ")?;
    let mut words = rest.split(' ');
    Some(Mount {
        name: words.next()?,
        options: words.nth(1)?,
    })
}

impl Mount<'_> {
    /// Where the upper layer of an overlay lies.
    fn upper_layer(&self) -> Option<PathBuf> {
        let mut options = self.options.split(',');
        let upper = options.find_map(|o| o.strip_prefix("upperdir="))?;
        Some(Path::new(&upper.replace("\\040", " ")).to_owned())
    }
}

fn sysfs((major, minor): (u32, u32)) -> String {
    format!("/sys/dev/block/{major}:{minor}")
}

/// The sectors written to the device below a directory and the flushes it has done, both counted
/// since it came up; none where no block device lies below it.
pub(crate) fn writes(dir: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let device = fs::fstat(dir).ok()?.st_dev;
    let at = sysfs((fs::major(device), fs::minor(device)));
    let stat = std::fs::read_to_string(Path::new(&at).join("stat")).ok()?;
    counted(&stat)
}

/// Linux, Documentation/block/stat.rst: the seventh word is sectors written, the sixteenth flushes.
fn counted(stat: &str) -> Option<(u64, u64)> {
    let mut words = stat.split_whitespace().map(str::parse);
    let sectors = words.nth(6)?.ok()?;
    Some((sectors, words.nth(8)?.ok()?))
}

/// Whether `syncfs` tells every error on this file system and kernel.
///
/// Linux tells failed data since 5.8 and failed metadata since 5.17; user-space and network file
/// systems may sync nothing and say it went well.
fn sync_all_reports(magic: u64) -> bool {
    let release = rustix::system::uname();
    matches!(magic, EXT | XFS | BTRFS | F2FS)
        && release
            .release()
            .to_str()
            .is_ok_and(|text| version(text) >= Some((5, 17)))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 0:21 / / rw,relatime - overlay overlay rw,lowerdir=/run/live/rootfs,upperdir=/run/live/the\\040overlay/rw,workdir=/run/live/overlay/work\n\
23 22 0:5 / /proc rw - proc proc rw\n\
24 22 0:30 / /ro ro - overlay none ro,lowerdir=/a:/b\n\
25 22 7:0 / /windows rw,relatime shared:3 - fuseblk /dev/loop0 rw,user_id=0\n";

    #[test]
    fn a_mount_is_found_by_its_device() {
        let upper = |device| mount(MOUNTS, device).unwrap().upper_layer();
        assert_eq!(
            upper((0, 21)).unwrap(),
            Path::new("/run/live/the overlay/rw")
        );
        assert_eq!(upper((0, 30)), None);
        assert_eq!(mount(MOUNTS, (7, 0)).unwrap().name, "fuseblk");
        assert!(mount(MOUNTS, (8, 1)).is_none());
        assert!(mount("garbage\n\n22 1 0:21", (0, 21)).is_none());
    }

    #[test]
    fn kernel_releases_are_read_with_their_suffixes() {
        assert_eq!(version("6.1.0-31-amd64"), Some((6, 1)));
        assert_eq!(version("5.8"), Some((5, 8)));
        assert_eq!(version("nonsense"), None);
        assert_eq!(version(""), None);
    }

    #[test]
    fn a_device_tells_its_writes_and_flushes_and_an_old_kernel_tells_nothing() {
        let stat = "  184 0 9876 33 502 1 200794 8 0 7 6 5 4 3 2 251 9\n";
        assert_eq!(counted(stat), Some((200_794, 251)));
        assert_eq!(counted("184 0 9876 33 502 1 200794 8 0 7 6"), None);
        assert_eq!(counted("184 0 9876 33 502 1 many 8 0 7 6 5 4 3 2 1"), None);
        assert_eq!(counted(""), None);
    }

    #[test]
    fn memory_is_volatile_and_a_disk_is_not() {
        let of = |magic, block: bool| durability(magic, MOUNTS, (0, 30), || block);
        assert_eq!(of(TMPFS, false), Durability::Volatile);
        assert_eq!(of(RAMFS, false), Durability::Volatile);
        assert_eq!(of(OVERLAY, false), Durability::Volatile, "no upper layer");
        assert_eq!(of(EXT, true), Durability::Durable);
    }

    #[test]
    fn a_program_that_plays_a_file_system_is_believed_only_above_a_disk() {
        let of = |block: bool| durability(FUSE, MOUNTS, (7, 0), || block);
        assert_eq!(of(false), Durability::Volatile);
        assert_eq!(of(true), Durability::Durable);
    }

    #[test]
    fn syncfs_is_not_believed_on_file_systems_that_may_swallow_errors() {
        const NFS: u64 = 0x6969;
        for magic in [FUSE, NFS, TMPFS, OVERLAY, 0] {
            assert!(!sync_all_reports(magic), "{magic:x}");
        }
    }
}
