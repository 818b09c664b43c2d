//! Disks as an appliance sees them: found by `lsblk`, read-only at the block layer until chosen.

use asl_core::{Error, Kind, Result};
use nix::mount::{MntFlags, MsFlags};
use serde::Deserialize;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A block device with what is on it.
#[derive(Clone, Debug, Deserialize)]
pub struct Device {
    /// `/dev/sda1`.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// `disk`, `part`, `lvm`, `raid1`, `crypt`, `rom`, `loop` …
    #[serde(rename = "type")]
    pub kind: String,
    /// File system, where one is recognised.
    pub fstype: Option<String>,
    /// The file system's label.
    pub label: Option<String>,
    /// The disk's model.
    pub model: Option<String>,
    /// The disk's serial number.
    pub serial: Option<String>,
    /// How it is attached.
    pub tran: Option<String>,
    /// Whether the block layer refuses writes.
    pub ro: bool,
    /// Where it is mounted.
    #[serde(default)]
    pub mountpoints: Vec<Option<String>>,
    /// The disk it is a part of.
    pub pkname: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Listing {
    blockdevices: Vec<Device>,
}

/// File systems on which a domain can live: they keep names, renames and syncs.
const TARGETS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// File systems that a tree can be sealed from.
const SOURCES: [&str; 10] = [
    "ext4", "ext3", "ext2", "xfs", "btrfs", "ntfs", "vfat", "exfat", "iso9660", "squashfs",
];

impl Device {
    /// Whether a domain can live on it.
    pub fn is_target(&self) -> bool {
        self.holds(&TARGETS) && self.is_free()
    }

    /// Whether a tree can be sealed from it.
    pub fn is_source(&self) -> bool {
        self.holds(&SOURCES) && self.is_free()
    }

    fn holds(&self, list: &[&str]) -> bool {
        self.fstype.as_deref().is_some_and(|f| list.contains(&f))
    }

    /// Whether nothing of the running system uses it.
    pub fn is_free(&self) -> bool {
        self.mountpoints.iter().all(Option::is_none)
    }

    /// One line for a person: name, size, model, file system, label.
    pub fn describe(&self) -> String {
        let or_dash = |t: &Option<String>| t.as_deref().map_or_else(|| "-".to_string(), printable);
        format!(
            "{}  {}  {} {} {}  {}  {}",
            self.path.display(),
            crate::out::size(self.size),
            or_dash(&self.tran),
            or_dash(&self.model),
            or_dash(&self.serial),
            or_dash(&self.fstype),
            or_dash(&self.label),
        )
    }
}

/// A label or model may hold anything; a terminal gets only what prints.
fn printable(text: &str) -> String {
    text.trim()
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Lists block devices, partitions included; loop and RAM devices left out.
///
/// # Errors
/// `Io` where `lsblk` cannot be run or read.
pub fn list() -> Result<Vec<Device>> {
    let output = Command::new("lsblk")
        .args(["--json", "--bytes", "--list", "--paths", "--output"])
        .arg("PATH,SIZE,TYPE,FSTYPE,LABEL,MODEL,SERIAL,TRAN,RO,MOUNTPOINTS,PKNAME")
        .output()
        .map_err(|e| Error::new(Kind::Io, "run", "lsblk", e).next("install util-linux"))?;
    let listing: Listing = serde_json::from_slice(&output.stdout)
        .map_err(|e| Error::new(Kind::Io, "read the output of", "lsblk", e))?;
    Ok(listing
        .blockdevices
        .into_iter()
        .filter(|d| {
            d.kind != "loop" && !d.path.starts_with("/dev/ram") && !d.path.starts_with("/dev/zram")
        })
        .collect())
}

nix::ioctl_write_ptr_bad!(
    /// BLKROSET of linux/fs.h: takes a pointer to an int.
    blkroset,
    nix::request_code_none!(0x12, 93),
    nix::libc::c_int
);

/// Makes the block layer refuse, or allow again, every write to a device.
///
/// # Errors
/// `Io`, naming the device.
pub fn set_read_only(device: &Path, read_only: bool) -> Result<()> {
    use std::os::fd::AsRawFd;
    let failed = |e: std::io::Error| {
        Error::new(Kind::Io, "set the write protection of", device.display(), e)
    };
    let file = File::open(device).map_err(failed)?;
    let value = nix::libc::c_int::from(read_only);
    // SAFETY: BLKROSET reads one int through the pointer, and `value` lives across the call.
    unsafe { blkroset(file.as_raw_fd(), &value) }.map_err(|e| failed(e.into()))?;
    Ok(())
}

/// Protects every device that nothing uses yet. The image's udev rule has done so already; this is
/// the second lock, for sessions on other systems' images.
///
/// # Errors
/// `Io`: a session that cannot protect a disk must not go on.
pub fn protect_all() -> Result<()> {
    for device in list()? {
        if device.kind != "rom" && device.is_free() && !device.ro {
            set_read_only(&device.path, true)?;
        }
    }
    Ok(())
}

/// A mount that ends with its owner.
pub struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Ends the mount and says whether that worked.
    ///
    /// # Errors
    /// `Io` where something still uses it.
    pub fn unmount(self) -> Result<()> {
        let at = self.at.clone();
        std::mem::forget(self);
        nix::mount::umount(&at).map_err(|e| {
            Error::new(Kind::Io, "unmount", at.display(), e).next("close what still uses it")
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // On an error path the mount is let go lazily: nothing of ours writes to it any more.
        let _ = nix::mount::umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

/// Mounts a file system for reading, so that not even its journal is replayed.
///
/// # Errors
/// `Io`, naming device and file system.
pub fn mount_read_only(device: &Device, at: &Path) -> Result<Mounted> {
    // None of them may replay a journal.
    let (fstype, options) = match device.fstype.as_deref() {
        Some("ntfs") => return mount_ntfs(device, at),
        Some(f @ ("ext4" | "ext3")) => (f, Some("noload")),
        Some("xfs") => ("xfs", Some("norecovery,nouuid")),
        Some("btrfs") => ("btrfs", Some("rescue=nologreplay")),
        Some(f) => (f, None),
        None => ("auto", None),
    };
    mount(device, at, fstype, options, FOR_READING)
}

/// How a source is mounted.
const FOR_READING: MsFlags = MsFlags::MS_RDONLY
    .union(MsFlags::MS_NOEXEC)
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NODEV);

/// The kernel's driver where there is one, else `ntfs-3g`: Debian's kernel has none.
fn mount_ntfs(device: &Device, at: &Path) -> Result<Mounted> {
    let by_kernel = mount(device, at, "ntfs3", None, FOR_READING);
    if by_kernel.is_ok() {
        return by_kernel;
    }
    let by_tool = Command::new("ntfs-3g")
        .args(["-o", "ro,norecover"])
        .arg(&device.path)
        .arg(at)
        .status();
    match by_tool {
        Ok(status) if status.success() => Ok(Mounted {
            at: at.to_path_buf(),
        }),
        _ => by_kernel,
    }
}

/// Mounts a file system for writing, after lifting the protection of its device alone.
///
/// # Errors
/// `Io`, naming device and file system.
pub fn mount_for_writing(device: &Device, at: &Path) -> Result<Mounted> {
    if let Some(disk) = &device.pkname {
        set_read_only(disk, false)?;
    }
    set_read_only(&device.path, false)?;
    let fstype = device.fstype.as_deref().unwrap_or("auto");
    mount(
        device,
        at,
        fstype,
        None,
        MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
    )
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
    .map_err(|e| {
        Error::new(
            Kind::Io,
            "mount",
            format!("{} ({fstype})", device.path.display()),
            e,
        )
        .next("check the file system from a shell, or choose another")
    })?;
    Ok(Mounted {
        at: at.to_path_buf(),
    })
}

/// Shows a directory at a second place, as `<target>/asl-host` on `/asl-host`.
///
/// # Errors
/// `Io`.
pub fn bind(from: &Path, at: &Path) -> Result<Mounted> {
    std::fs::create_dir_all(at).map_err(|e| Error::new(Kind::Io, "make", at.display(), e))?;
    nix::mount::mount(Some(from), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|e| Error::new(Kind::Io, "show the domain's disk at", at.display(), e))?;
    Ok(Mounted {
        at: at.to_path_buf(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(fstype: Option<&str>, mounted: bool) -> Device {
        Device {
            path: "/dev/sdz1".into(),
            size: 1_000_000_000,
            kind: "part".into(),
            fstype: fstype.map(Into::into),
            label: Some("a\x1b[2Jb".into()),
            model: None,
            serial: None,
            tran: None,
            ro: true,
            mountpoints: vec![mounted.then(|| "/".to_string())],
            pkname: None,
        }
    }

    #[test]
    fn what_the_running_system_uses_is_never_offered() {
        assert!(device(Some("ext4"), false).is_target());
        assert!(!device(Some("ext4"), true).is_target());
        assert!(!device(Some("ext4"), true).is_source());
        assert!(!device(None, false).is_source());
        assert!(!device(Some("crypto_LUKS"), false).is_target());
    }

    #[test]
    fn a_hostile_label_cannot_write_to_the_terminal() {
        assert!(!device(Some("ext4"), false).describe().contains('\x1b'));
    }
}
