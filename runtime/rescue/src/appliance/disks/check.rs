//! Whether a file system was left in a state in which it may be written to.
//!
//! Those with a journal mend themselves when they are mounted. NTFS was written by Windows, which
//! may have left work unfinished on purpose; FAT and exFAT keep a mark while they are in use.

use super::protect::Lifted;
use super::Device;
use asl_core::{Error, Kind, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Command, Output, Stdio};

/// Refuses an NTFS volume that Windows keeps for itself: hibernated, or to be checked.
///
/// # Errors
/// `Refused`, with what to do in Windows; `Io` where `ntfs-3g`'s tools are missing.
pub(super) fn ntfs(device: &Device) -> Result<()> {
    let probed = run("ntfs-3g.probe", &["--readwrite"], device)?;
    let why = match probed.status.code() {
        Some(0) => {
            let about = run("ntfsinfo", &["--mft"], device)?;
            if !is_marked(&String::from_utf8_lossy(&about.stdout)) {
                return Ok(());
            }
            "Windows has marked it to be checked".to_owned()
        }
        Some(14) => "Windows hibernated on it, or was not shut down fully".to_owned(),
        Some(15) => {
            "it was not unmounted cleanly, and Windows has to finish what it began".to_owned()
        }
        Some(13) => "it is damaged".to_owned(),
        _ => last_line(&probed),
    };
    let next =
        "start Windows, run `chkdsk /f` and shut it down with `shutdown /s /t 0`; or choose \
                another target";
    Err(Error::new(Kind::Refused, "write to", device.path.display(), why).next(next))
}

/// Whether `ntfsinfo` shows the volume's dirty flag.
fn is_marked(about: &str) -> bool {
    let flags = about
        .lines()
        .find_map(|line| line.trim().strip_prefix("Volume Flags: 0x"));
    let digits = flags.and_then(|flags| flags.split_whitespace().next());
    digits.is_some_and(|digits| u32::from_str_radix(digits, 16).map_or(true, |bits| bits & 1 == 1))
}

/// Whether a FAT or exFAT file system was in use when it was last seen; false for all others.
///
/// # Errors
/// `Io` where its first sector cannot be read.
pub fn is_unclean(device: &Device) -> Result<bool> {
    let fstype = device.fstype.as_deref().unwrap_or_default();
    if !matches!(fstype, "vfat" | "exfat") {
        return Ok(false);
    }
    let mut sector = [0; 512];
    File::open(&device.path)
        .and_then(|file| file.read_exact_at(&mut sector, 0))
        .map_err(|e| Error::new(Kind::Io, "read", device.path.display(), e))?;
    Ok(in_use(fstype, &sector))
}

/// The mark in a boot sector: exFAT's VolumeFlags, bit 1; FAT's state byte, bit 0, which lies
/// elsewhere in FAT32, whose 16-bit length of a table is 0.
fn in_use(fstype: &str, sector: &[u8; 512]) -> bool {
    match (fstype, sector[22], sector[23]) {
        ("exfat", ..) => sector[106] & 2 != 0,
        (_, 0, 0) => sector[65] & 1 != 0,
        _ => sector[37] & 1 != 0,
    }
}

/// Makes the repairs that its own checker calls safe.
///
/// # Errors
/// `Refused` where that is not enough; `Io` where there is no checker.
pub fn repair(device: &Device) -> Result<()> {
    let (tool, words) = match device.fstype.as_deref() {
        Some("exfat") => ("fsck.exfat", ["-p"]),
        _ => ("fsck.vfat", ["-a"]),
    };
    let _lifted = Lifted::of(device)?;
    let checked = run(tool, &words, device)?;
    if matches!(checked.status.code(), Some(0 | 1)) && !is_unclean(device)? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        "repair",
        device.path.display(),
        format!("{tool} could not: {}", last_line(&checked)),
    )
    .next("check it from a shell, or choose another target"))
}

/// Runs a tool on a device, with nobody to ask.
///
/// # Errors
/// `Io` where there is no such tool.
pub(super) fn run(tool: &str, words: &[&str], device: &Device) -> Result<Output> {
    Command::new(tool)
        .args(words)
        .arg(&device.path)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| {
            Error::new(Kind::Io, "run", tool, e).next("use an image that has it, or another target")
        })
}

/// The last thing a tool said, fit for a terminal.
pub(super) fn last_line(output: &Output) -> String {
    let said = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes));
    let line = said
        .iter()
        .flat_map(|text| text.lines().rev())
        .find(|line| !line.trim().is_empty());
    line.map_or_else(|| output.status.to_string(), super::printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_volume_in_use_is_read_where_each_format_has_it() {
        let with = |at: usize, value: u8| {
            let mut sector = [0; 512];
            sector[at] = value;
            sector
        };
        assert!(in_use("exfat", &with(106, 2)));
        assert!(!in_use("exfat", &with(106, 1)));
        assert!(in_use("vfat", &with(65, 1)));
        assert!(!in_use("vfat", &with(65, 2)));
        let mut fat16 = with(37, 1);
        assert!(!in_use("vfat", &fat16), "FAT32 has it elsewhere");
        fat16[22] = 32;
        assert!(in_use("vfat", &fat16));
    }

    #[test]
    fn the_dirty_flag_of_ntfs_is_read_and_a_strange_one_is_taken_for_it() {
        assert!(is_marked(
            "Volume Information\n\tVolume Flags: 0x0001 DIRTY\n"
        ));
        assert!(is_marked(
            "\tVolume Flags: 0x8001 DIRTY MODIFIED_BY_CHKDSK\n"
        ));
        assert!(!is_marked("\tVolume Flags: 0x0000\n"));
        assert!(is_marked("\tVolume Flags: 0xsomething\n"));
    }
}
