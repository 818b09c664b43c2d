//! A new file system on a disk whose name was typed: what may be erased, and doing it.

use super::protect::Lifted;
use super::{check, Device};
use asl_core::{Error, Kind, Result};
use asl_host::keystick;
use std::process::{Command, Stdio};

/// The label of a file system that was prepared to be sealed to.
pub const TARGET_LABEL: &str = "ASL-TARGET";

/// Less than this holds no domain: 64 MiB.
const SMALLEST: u64 = 64 << 20;

/// Why a disk or partition must not be erased; none where it may, once its name was typed.
///
/// `sources` are the labels of what is to be sealed.
pub fn refusal(device: &Device, all: &[Device], sources: &[String]) -> Option<String> {
    if !matches!(device.kind.as_str(), "disk" | "part" | "loop") {
        return Some(format!("a {} is no disk to be erased", device.kind));
    }
    if is_boot_medium(device, all) {
        return Some("this machine was started from it".into());
    }
    let parts = || {
        all.iter()
            .filter(|d| d.pkname.as_ref() == Some(&device.path))
    };
    for part in std::iter::once(device).chain(parts()) {
        let name = part.name();
        let label = part.label.as_deref().unwrap_or_default();
        let fstype = part.fstype.as_deref().unwrap_or_default();
        if !part.is_free() {
            return Some(format!("{name} is in use"));
        }
        if label == keystick::LABEL {
            return Some(format!("{name} is the key stick"));
        }
        if sources.iter().any(|source| source == label) {
            return Some(format!("{name} is to be sealed"));
        }
        // linux_raid_member, LVM2_member, zfs_member …
        if fstype.ends_with("_member") {
            return Some(format!("{name} is one disk of several ({fstype})"));
        }
        let mut above = all.iter().filter(|d| d.pkname.as_ref() == Some(&part.path));
        if let Some(user) = above.find(|d| d.kind != "part") {
            return Some(format!("{name} is a part of {}", user.path.display()));
        }
    }
    (device.size < SMALLEST).then(|| "it is too small".into())
}

/// Whether the running system was started from it, or from another part of the same disk. With the
/// medium copied to memory nothing is mounted from it any more; its label still tells.
pub fn is_boot_medium(device: &Device, all: &[Device]) -> bool {
    let words = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let label = words
        .split_whitespace()
        .find_map(|word| word.strip_prefix("archisolabel="));
    boot_medium_by(label, device, all)
}

fn boot_medium_by(label: Option<&str>, device: &Device, all: &[Device]) -> bool {
    let disk = device.pkname.as_ref().unwrap_or(&device.path);
    let mut family = all
        .iter()
        .filter(|d| d.path == *disk || d.pkname.as_ref() == Some(disk));
    label.is_some() && family.any(|d| d.label.as_deref() == label)
}

/// A file system that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl FileSystem {
    /// Those whose tool is there, the one to prefer first.
    pub fn available() -> Vec<FileSystem> {
        let all = [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs];
        let there = |f: &FileSystem| {
            let tool = format!("mkfs.{}", f.name());
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|dir| dir.join(&tool).exists())
        };
        all.into_iter().filter(there).collect()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    /// Makes it, labelled [`TARGET_LABEL`], on the whole of a device.
    ///
    /// # Errors
    /// `Refused` as [`refusal`] says; `Io` with the tool's last words.
    pub fn make(self, device: &Device, all: &[Device], sources: &[String]) -> Result<Device> {
        if let Some(why) = refusal(device, all, sources) {
            return Err(
                Error::new(Kind::Refused, "erase", device.path.display(), why)
                    .next("choose another disk; nothing was changed"),
            );
        }
        let force = if self == FileSystem::Ext4 { "-F" } else { "-f" };
        erase(device, self.name(), &["-q", "-L", TARGET_LABEL, force])?;
        Ok(Device {
            fstype: Some(self.name().into()),
            label: Some(TARGET_LABEL.into()),
            ..device.clone()
        })
    }
}

/// Makes a file system on the whole of a device, with words for its `mkfs`. The protection of that
/// device alone is lifted, and set again whatever comes of it.
///
/// # Errors
/// `Io` with the tool's last words.
pub fn erase(device: &Device, fstype: &str, words: &[&str]) -> Result<()> {
    let made = make(device, fstype, words);
    look_again(device);
    made
}

/// Has udev read the disk once more: what it saw between two steps it would tell for ever, and the
/// new label would not be found. Where there is no udev, `lsblk` reads the disk itself.
fn look_again(device: &Device) {
    if check::run("udevadm", &["trigger", "--action=change"], device).is_ok() {
        let settle = ["settle", "--timeout=10"];
        let _ = Command::new("udevadm")
            .args(settle)
            .stdin(Stdio::null())
            .output();
    }
}

fn make(device: &Device, fstype: &str, words: &[&str]) -> Result<()> {
    let _lifted = Lifted::of(device)?;
    // Marks of what was there before, at the disk's end too, would contradict the new one.
    step("wipefs", &["--all", "--quiet"], device)?;
    step(&format!("mkfs.{fstype}"), words, device)?;
    if device.kind == "disk" {
        // The old partitions' names go; that they are gone already is no mishap.
        let _ = check::run("blockdev", &["--rereadpt"], device);
    }
    Ok(())
}

fn step(tool: &str, words: &[&str], device: &Device) -> Result<()> {
    let done = check::run(tool, words, device)?;
    if done.status.success() {
        return Ok(());
    }
    let why = format!("{tool}: {}", check::last_line(&done));
    Err(Error::new(
        Kind::Io,
        "make a file system on",
        device.path.display(),
        why,
    )
    .next("the disk may be failing or write-protected; choose another"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(path: &str, kind: &str, parent: Option<&str>) -> Device {
        Device {
            path: path.into(),
            size: 1_000_000_000,
            kind: kind.into(),
            fstype: None,
            label: None,
            model: None,
            serial: None,
            tran: None,
            ro: true,
            mountpoints: vec![],
            pkname: parent.map(Into::into),
        }
    }

    /// A disk with two parts, the first one changed.
    fn disk(change: impl Fn(&mut Device)) -> Vec<Device> {
        let mut part = device("/dev/sdz1", "part", Some("/dev/sdz"));
        change(&mut part);
        vec![
            device("/dev/sdz", "disk", None),
            part,
            device("/dev/sdz2", "part", Some("/dev/sdz")),
        ]
    }

    #[track_caller]
    fn refused(all: &[Device], which: usize, why: &str) {
        let said = refusal(&all[which], all, &["VICTIM".into()]);
        assert!(said.as_ref().is_some_and(|s| s.contains(why)), "{said:?}");
        let e = FileSystem::Ext4.make(&all[which], all, &["VICTIM".into()]);
        assert_eq!(e.unwrap_err().kind(), Kind::Refused);
    }

    #[test]
    fn what_is_used_needed_or_one_of_several_is_not_erased_nor_the_disk_it_is_on() {
        for which in [0, 1] {
            let mounted = disk(|d| d.mountpoints = vec![Some("/".into())]);
            refused(&mounted, which, "sdz1 is in use");
            let stick = disk(|d| d.label = Some("ASL-KEYS".into()));
            refused(&stick, which, "sdz1 is the key stick");
            let source = disk(|d| d.label = Some("VICTIM".into()));
            refused(&source, which, "sdz1 is to be sealed");
            for member in ["linux_raid_member", "LVM2_member", "zfs_member"] {
                let raid = disk(|d| d.fstype = Some(member.into()));
                refused(&raid, which, "one disk of several");
            }
            let mut opened = disk(|d| d.fstype = Some("crypto_LUKS".into()));
            opened.push(device("/dev/mapper/home", "crypt", Some("/dev/sdz1")));
            refused(&opened, which, "sdz1 is a part of /dev/mapper/home");
        }
    }

    #[test]
    fn what_is_no_disk_or_too_small_is_not_erased() {
        for kind in ["rom", "crypt", "lvm", "raid1"] {
            refused(&[device("/dev/x", kind, None)], 0, kind);
        }
        refused(&disk(|d| d.size = SMALLEST - 1), 1, "too small");
    }

    #[test]
    fn the_other_part_of_a_disk_may_be_erased_and_so_may_an_old_locked_one() {
        let mounted = disk(|d| d.mountpoints = vec![Some("/".into())]);
        assert_eq!(refusal(&mounted[2], &mounted, &[]), None);
        let locked = disk(|d| d.fstype = Some("crypto_LUKS".into()));
        assert_eq!(refusal(&locked[0], &locked, &[]), None);
        assert_eq!(refusal(&locked[1], &locked, &[]), None);
    }

    #[test]
    fn every_part_of_the_boot_medium_is_known_by_its_label() {
        let all = disk(|d| d.label = Some("ASL_RESCUE".into()));
        for part in &all {
            assert!(boot_medium_by(Some("ASL_RESCUE"), part, &all));
            assert!(!boot_medium_by(Some("OTHER"), part, &all));
            assert!(!boot_medium_by(None, part, &all));
        }
    }
}
