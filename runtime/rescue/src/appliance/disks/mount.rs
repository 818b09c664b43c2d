//! Mounts that end with their owner: sources and sticks for reading, the target for writing.

use super::protect::Lifted;
use super::{check, Device};
use asl_core::{Error, Kind, Result};
use nix::mount::{MntFlags, MsFlags};
use nix::sys::statvfs::{statvfs, FsFlags};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mount that ends with its owner.
pub struct Mounted {
    at: PathBuf,
    /// Protects the target again after it was unmounted.
    lifted: Option<Lifted>,
}

impl Mounted {
    fn new(at: &Path) -> Mounted {
        Mounted {
            at: at.to_path_buf(),
            lifted: None,
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Ends the mount and says whether that worked.
    ///
    /// # Errors
    /// `Io` where something still uses it; it then stays.
    pub fn unmount(mut self) -> Result<()> {
        let ended = nix::mount::umount(&self.at);
        let (at, lifted) = (std::mem::take(&mut self.at), self.lifted.take());
        std::mem::forget(self);
        ended.map_err(|e| {
            std::mem::forget(lifted);
            Error::new(Kind::Io, "unmount", at.display(), e).next("close what still uses it")
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if nix::mount::umount(&self.at).is_err() {
            // On an error path the mount is let go lazily: nothing of ours writes to it any more.
            // Its file system may still have to, so the disk is not protected under its feet.
            let _ = nix::mount::umount2(&self.at, MntFlags::MNT_DETACH);
            std::mem::forget(self.lifted.take());
        }
    }
}

/// No program of a foreign disk is ever run, and none of its device files opened.
const FOREIGN: MsFlags = MsFlags::MS_NOEXEC
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NODEV);

/// Mounts a file system for reading, so that not even its journal is replayed.
///
/// # Errors
/// `Io`, naming device and file system.
pub fn mount_read_only(device: &Device, at: &Path) -> Result<Mounted> {
    let flags = FOREIGN.union(MsFlags::MS_RDONLY);
    // None of them may replay a journal.
    let (fstype, options) = match device.fstype.as_deref() {
        Some("ntfs") => return mount_ntfs(device, at, flags, "ro,norecover"),
        Some(f @ ("ext4" | "ext3")) => (f, Some("noload")),
        Some("xfs") => ("xfs", Some("norecovery,nouuid")),
        Some("btrfs") => ("btrfs", Some("rescue=nologreplay")),
        Some(f) => (f, None),
        None => ("auto", None),
    };
    mount(device, at, fstype, options, flags)
}

/// Mounts a file system for writing, after lifting the protection of its device alone; the
/// protection is set again when the mount ends, or fails.
///
/// # Errors
/// `Refused` where Windows left it unfinished; `Io`, naming device and file system.
pub fn mount_for_writing(device: &Device, at: &Path) -> Result<Mounted> {
    let lifted = Lifted::of(device)?;
    // Where there are no permissions, the whole is its owner's. FAT and exFAT have no journal:
    // each change of a name is on the disk before the next one begins.
    let alone = Some("umask=0077");
    let mut mounted = match device.fstype.as_deref() {
        Some("ntfs") => {
            check::ntfs(device)?;
            mount_ntfs(device, at, FOREIGN, "norecover,umask=0077")?
        }
        Some(f @ ("vfat" | "exfat")) => {
            mount(device, at, f, alone, FOREIGN.union(MsFlags::MS_DIRSYNC))?
        }
        f => mount(device, at, f.unwrap_or("auto"), None, FOREIGN)?,
    };
    mounted.lifted = Some(lifted);
    // A driver that does not trust what it sees mounts read-only, and calls that a success.
    let flags = statvfs(at)
        .map_err(|e| Error::new(Kind::Io, "look at", at.display(), e))?
        .flags();
    if flags.contains(FsFlags::ST_RDONLY) {
        return Err(Error::new(
            Kind::Refused,
            "write to",
            device.path.display(),
            "its driver mounted it read-only: it found something wrong on it",
        )
        .next("check the file system from a shell, or choose another target"));
    }
    Ok(mounted)
}

/// The kernel's driver where there is one, else `ntfs-3g`: Debian's kernel has none.
fn mount_ntfs(device: &Device, at: &Path, flags: MsFlags, options: &str) -> Result<Mounted> {
    let alone = (!flags.contains(MsFlags::MS_RDONLY)).then_some("umask=0077");
    let by_kernel = mount(device, at, "ntfs3", alone, flags);
    if by_kernel.is_ok() {
        return by_kernel;
    }
    let by_tool = Command::new("ntfs-3g")
        .args(["-o", &format!("{options},noexec,nosuid,nodev")])
        .arg(&device.path)
        .arg(at)
        .output();
    match by_tool {
        Ok(output) if output.status.success() => Ok(Mounted::new(at)),
        Ok(output) => Err(not_mounted(device, "ntfs", check::last_line(&output))),
        Err(_) => by_kernel,
    }
}

fn mount(
    device: &Device,
    at: &Path,
    fstype: &str,
    options: Option<&str>,
    flags: MsFlags,
) -> Result<Mounted> {
    std::fs::create_dir_all(at).map_err(|e| Error::new(Kind::Io, "make", at.display(), e))?;
    nix::mount::mount(
        Some(device.path.as_path()),
        at,
        Some(fstype),
        flags,
        options,
    )
    .map_err(|e| not_mounted(device, fstype, e.to_string()))?;
    Ok(Mounted::new(at))
}

fn not_mounted(device: &Device, fstype: &str, why: String) -> Error {
    let object = format!("{} ({fstype})", device.path.display());
    Error::new(Kind::Io, "mount", object, why)
        .next("check the file system from a shell, or choose another")
}

/// Shows a directory at a second place, as `<target>/asl-host` on `/asl-host`.
///
/// # Errors
/// `Io`.
pub fn bind(from: &Path, at: &Path) -> Result<Mounted> {
    std::fs::create_dir_all(at).map_err(|e| Error::new(Kind::Io, "make", at.display(), e))?;
    nix::mount::mount(Some(from), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|e| Error::new(Kind::Io, "show the domain's disk at", at.display(), e))?;
    Ok(Mounted::new(at))
}
