//! The block layer's write protection, and lifting it for the one disk that was chosen.

use super::Device;
use asl_core::{Error, Kind, Result};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

nix::ioctl_write_ptr_bad!(
    /// BLKROSET of linux/fs.h: takes a pointer to an int.
    blkroset,
    nix::request_code_none!(0x12, 93),
    nix::libc::c_int
);

/// Makes the block layer refuse, or allow again, every write to a device.
fn set_read_only(device: &Path, read_only: bool) -> Result<()> {
    let failed = |e: std::io::Error| {
        Error::new(Kind::Io, "set the write protection of", device.display(), e)
    };
    let file = File::open(device).map_err(failed)?;
    let value = nix::libc::c_int::from(read_only);
    // SAFETY: BLKROSET reads one int through the pointer, and `value` lives across the call.
    unsafe { blkroset(file.as_raw_fd(), &value) }.map_err(|e| failed(e.into()))?;
    Ok(())
}

fn is_read_only(device: &Path) -> bool {
    let name = device.file_name().unwrap_or_default();
    let ro = Path::new("/sys/class/block").join(name).join("ro");
    std::fs::read_to_string(ro).is_ok_and(|text| text.trim() == "1")
}

/// Protects every device that nothing uses yet. The image's udev rule has done so already; this is
/// the second lock, for sessions on other systems' images. Files shown as disks (`losetup`) are
/// somebody's own doing, and left alone.
///
/// # Errors
/// `Io`: a session that cannot protect a disk must not go on.
pub fn protect_all() -> Result<()> {
    for device in super::list()? {
        let left_alone = matches!(device.kind.as_str(), "rom" | "loop");
        if !left_alone && device.is_free() && !device.ro {
            set_read_only(&device.path, true)?;
        }
    }
    Ok(())
}

/// A protection that was lifted, of one device and the disk it is a part of; set again when this
/// is dropped.
pub struct Lifted(Vec<PathBuf>);

impl Lifted {
    /// Lifts the protection, where there is one.
    ///
    /// # Errors
    /// `Io`; the protection is as it was.
    pub fn of(device: &Device) -> Result<Lifted> {
        let mut lifted = Lifted(Vec::new());
        for path in device.pkname.iter().chain([&device.path]) {
            if is_read_only(path) {
                set_read_only(path, false)?;
                lifted.0.push(path.clone());
            }
        }
        Ok(lifted)
    }
}

impl Drop for Lifted {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // A disk that was pulled needs none.
            let _ = set_read_only(path, true);
        }
    }
}
