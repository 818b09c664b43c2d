//! Where an unattended session's passphrase comes from: never the image, never the key stick.

use super::super::disks::{self, Device};
use super::super::profile::Profile;
use super::{by_label, is_appliance, Place};
use asl_core::{Error, Kind, Result};
use asl_host::keystick;
use std::path::{Path, PathBuf};

const MEDIUM_AT: &str = "/run/asl/passphrase";

/// The file on a second medium.
const FILE: &str = "passphrase";

/// Places beneath `/run` that show the image, or a medium.
const NOT_MEMORY: [&str; 6] = [
    "/run/archiso",
    "/run/asl/keys",
    "/run/asl/sources",
    "/run/asl/target",
    "/run/media",
    "/run/mount",
];

/// A file with the passphrase, and the medium that is let go after it was read.
pub struct Passphrase {
    file: PathBuf,
    medium: Option<Place>,
}

impl Passphrase {
    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Lets the medium go.
    ///
    /// # Errors
    /// `Io` where something still uses it.
    pub fn release(self) -> Result<()> {
        self.medium.map_or(Ok(()), Place::release)
    }
}

/// Where the profile says that the passphrase is; `None` where it is typed.
///
/// # Errors
/// `NotFound` where the medium is not attached; `Refused` for a place that the profile may not
/// name; `Io`.
pub fn find_passphrase(profile: &Profile) -> Result<Option<Passphrase>> {
    if let Some(label) = &profile.keys.passphrase_medium {
        let devices: Vec<Device> = disks::list()?
            .into_iter()
            .filter(|d| d.is_free() && d.label.as_deref() != Some(keystick::LABEL))
            .collect();
        let device = by_label(&devices, label, "medium with the passphrase")?;
        let mount = disks::mount_read_only(device, Path::new(MEDIUM_AT))?;
        let file = mount.path().join(FILE);
        let at = mount.path().to_path_buf();
        let medium = Some(Place::mounted(device, &at, vec![mount]));
        return Ok(Some(Passphrase { file, medium }));
    }
    let Some(file) = &profile.keys.passphrase_file else {
        return Ok(None);
    };
    if is_appliance() {
        refuse_kept(file)?;
    }
    Ok(Some(Passphrase {
        file: file.clone(),
        medium: None,
    }))
}

/// Refuses a file that does not lie in memory alone.
fn refuse_kept(file: &Path) -> Result<()> {
    let refuse = |kind, why: &dyn std::fmt::Display| {
        Error::new(kind, "take the passphrase from", file.display(), why).next(
            "name a file beneath /run, or a second medium with keys.passphrase_medium, or type it",
        )
    };
    let real = file
        .canonicalize()
        .map_err(|e| refuse(Kind::NotFound, &e))?;
    let kept = NOT_MEMORY.iter().any(|place| real.starts_with(place));
    if real.starts_with("/run") && !kept {
        return Ok(());
    }
    Err(refuse(
        Kind::Refused,
        &"it is kept where others may find it: only /run is memory alone",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_that_is_kept_on_a_disk_or_behind_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("passphrase");
        std::fs::write(&kept, "x").unwrap();
        assert_eq!(refuse_kept(&kept).unwrap_err().kind(), Kind::Refused);
        let in_run = Path::new("/run/asl");
        std::fs::create_dir_all(in_run).unwrap();
        let run = tempfile::tempdir_in(in_run).unwrap();
        let link = run.path().join("link");
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        assert_eq!(refuse_kept(&link).unwrap_err().kind(), Kind::Refused);
        let held = run.path().join("passphrase");
        std::fs::write(&held, "x").unwrap();
        refuse_kept(&held).unwrap();
        let missing = refuse_kept(&run.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        assert!(missing.what_next().contains("keys.passphrase_medium"));
    }
}
