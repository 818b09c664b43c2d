//! What the medium under a directory is, and reading it past the cache.

use crate::Durability;
use rustix::fs::{self, Advice, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const OVERLAY: u64 = 0x794c_7630;
const EXT4: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;
const BTRFS: u64 = 0x9123_683e;
const F2FS: u64 = 0xf2f5_2010;

/// Whether a file system keeps its bytes when the power goes.
///
/// An overlay is as its upper layer is. One whose upper layer cannot be seen is called volatile:
/// the other mistake would call sealed what goes with the power.
pub(crate) fn durability(root: BorrowedFd<'_>, magic: u64) -> io::Result<Durability> {
    let volatile = match magic & 0xffff_ffff {
        TMPFS | RAMFS => true,
        OVERLAY => {
            let device = fs::fstat(root)?.st_dev;
            let device = (rustix::fs::major(device), rustix::fs::minor(device));
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            let upper = upper_layer(&mounts, device).and_then(|upper| fs::statfs(&upper).ok());
            upper.is_none_or(|upper| {
                matches!(upper.f_type as u64 & 0xffff_ffff, TMPFS | RAMFS | OVERLAY)
            })
        }
        _ => false,
    };
    Ok(if volatile {
        Durability::Volatile
    } else {
        Durability::Durable
    })
}

/// The upper layer of the overlay with a device number, as `/proc/self/mountinfo` tells it.
fn upper_layer(mounts: &str, (major, minor): (u32, u32)) -> Option<PathBuf> {
    let device = format!("{major}:{minor}");
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(&device))?;
    let (_, rest) = line.split_once(" - ")?;
    let options = rest.split(' ').nth(2)?;
    let upper = options
        .split(',')
        .find_map(|o| o.strip_prefix("upperdir="))?;
    Some(Path::new(&upper.replace("\\040", " ")).to_owned())
}

/// Whether `syncfs` tells every error on this file system and kernel.
///
/// Linux tells failed data since 5.8 and failed metadata since 5.17; user-space and network file
/// systems may sync nothing and say it went well.
pub(crate) fn sync_all_reports(magic: u64) -> bool {
    let release = rustix::system::uname();
    matches!(magic & 0xffff_ffff, EXT4 | XFS | BTRFS | F2FS)
        && release
            .release()
            .to_str()
            .is_ok_and(|text| version(text) >= Some((5, 17)))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Asks the kernel to forget the synced pages of a file.
pub(crate) fn drop_cache(file: &File) {
    // Advice: where it goes unheard, the bytes read are still the file's.
    let _ = fs::fadvise(file, 0, None, Advice::DontNeed);
}

/// What is read at a time.
const CHUNK: usize = 1 << 20;
/// What direct reads are aligned to: no medium has larger sectors.
const ALIGN: usize = 4096;

/// Reads a file from its start, directly from the medium while the system allows that.
pub(crate) struct MediumReader {
    file: File,
    direct: bool,
    buffer: Vec<u8>,
    /// Where in the buffer aligned memory begins.
    base: usize,
    /// The bytes of the buffer that are still to be handed out.
    ready: Range<usize>,
    offset: u64,
}

impl MediumReader {
    pub(crate) fn new(file: File, direct: bool) -> Self {
        let buffer = vec![0; CHUNK + ALIGN];
        let base = buffer.as_ptr().align_offset(ALIGN).min(ALIGN);
        MediumReader {
            file,
            direct,
            buffer,
            base,
            ready: 0..0,
            offset: 0,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if !self.offset.is_multiple_of(ALIGN as u64) {
            self.through_cache()?;
        }
        let window = self.base..self.base + CHUNK;
        let n = loop {
            let Some(chunk) = self.buffer.get_mut(window.clone()) else {
                return Err(io::ErrorKind::OutOfMemory.into());
            };
            match self.file.read_at(chunk, self.offset) {
                Ok(n) => break n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Sectors larger than our alignment, or a file system that changed its mind.
                Err(e) if self.direct && e.kind() == io::ErrorKind::InvalidInput => {
                    self.through_cache()?;
                }
                Err(e) => return Err(e),
            }
        };
        self.offset = self.offset.saturating_add(n as u64);
        self.ready = self.base..self.base + n;
        Ok(())
    }

    /// Goes on without direct reads; the pages were dropped before the first.
    fn through_cache(&mut self) -> io::Result<()> {
        if self.direct {
            let flags = fs::fcntl_getfl(&self.file)?;
            fs::fcntl_setfl(&self.file, flags.difference(OFlags::DIRECT))?;
            self.direct = false;
        }
        Ok(())
    }
}

impl Read for MediumReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            self.fill()?;
        }
        let n = to.len().min(self.ready.len());
        let from = self.ready.start..self.ready.start + n;
        if let (Some(to), Some(from)) = (to.get_mut(..n), self.buffer.get(from)) {
            to.copy_from_slice(from);
        }
        self.ready.start += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 0:21 / / rw,relatime - overlay overlay rw,lowerdir=/run/live/rootfs,upperdir=/run/live/the\\040overlay/rw,workdir=/run/live/overlay/work\n\
23 22 0:5 / /proc rw - proc proc rw\n\
24 22 0:30 / /ro ro - overlay none ro,lowerdir=/a:/b\n";

    #[test]
    fn the_upper_layer_of_an_overlay_is_found_by_its_device() {
        assert_eq!(
            upper_layer(MOUNTS, (0, 21)).unwrap(),
            Path::new("/run/live/the overlay/rw")
        );
        assert_eq!(upper_layer(MOUNTS, (0, 30)), None);
        assert_eq!(upper_layer(MOUNTS, (8, 1)), None);
        assert_eq!(upper_layer("garbage\n\n22 1 0:21", (0, 21)), None);
    }

    #[test]
    fn kernel_releases_are_read_with_their_suffixes() {
        assert_eq!(version("6.1.0-31-amd64"), Some((6, 1)));
        assert_eq!(version("5.8"), Some((5, 8)));
        assert_eq!(version("nonsense"), None);
        assert_eq!(version(""), None);
    }

    #[test]
    fn memory_is_volatile_and_a_disk_is_not() {
        let here = fs::open("/", OFlags::RDONLY, fs::Mode::empty()).unwrap();
        use std::os::fd::AsFd;
        let of = |magic| durability(here.as_fd(), magic).unwrap();
        assert_eq!(of(TMPFS), Durability::Volatile);
        assert_eq!(of(RAMFS), Durability::Volatile);
        assert_eq!(of(RAMFS | 0xffff_ffff_0000_0000), Durability::Volatile);
        assert_eq!(of(EXT4), Durability::Durable);
    }

    #[test]
    fn syncfs_is_not_believed_on_file_systems_that_may_swallow_errors() {
        const FUSE: u64 = 0x6573_5546;
        const NFS: u64 = 0x6969;
        for magic in [FUSE, NFS, TMPFS, OVERLAY, 0] {
            assert!(!sync_all_reports(magic), "{magic:x}");
        }
    }
}
