//! Disks as an appliance sees them: found by `lsblk`, read-only at the block layer until chosen.

mod check;
mod domains;
mod erase;
mod mount;
mod protect;

pub use check::{is_unclean, repair};
pub use domains::{found as domains_on, FOLDER};
pub use erase::{erase, is_boot_medium, refusal, FileSystem, TARGET_LABEL};
pub use mount::{bind, mount_for_writing, mount_read_only, Mounted};
pub use protect::protect_all;

use asl_core::{Error, Kind, Result};
use serde::Deserialize;
use std::path::PathBuf;
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

/// File systems on which a domain can live. What each cannot do, a probe finds out.
const TARGETS: [&str; 8] = [
    "ext4", "xfs", "btrfs", "ext3", "ext2", "ntfs", "exfat", "vfat",
];

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

    fn is_memory(&self) -> bool {
        let name = self.name();
        name.starts_with("ram") || name.starts_with("zram")
    }

    /// Its name without the directory, as a person types it: `sdb1`.
    pub fn name(&self) -> &str {
        self.path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
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
    crate::out::printable(text.trim())
}

/// Lists block devices, partitions included; RAM devices left out.
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
        .filter(|d| !d.is_memory())
        .collect())
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
