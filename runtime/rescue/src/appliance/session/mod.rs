//! Where a session's three places are: keys, target, sources. Mounts end with the session.

mod keys;
mod passphrase;
mod sources;
mod target;

pub use keys::{find_keys, mail_on_stick, MAIL};
pub use passphrase::find_passphrase;
pub use sources::{find_sources, say_fit, space, used_of, Source};
pub use target::find_target;

use super::disks::{Device, Mounted};
use asl_core::{Error, Kind, Result};
use std::path::{Path, PathBuf};

/// Where SystemRescue, and our base, show the boot medium: only there is this an appliance.
const BOOT_MEDIUM: &str = "/run/archiso/bootmnt";

/// A place that is a directory by itself or by a mount.
pub struct Place {
    path: PathBuf,
    name: String,
    mounts: Vec<Mounted>,
}

impl Place {
    /// A directory as it is.
    pub fn directory(path: &Path) -> Place {
        Place {
            path: path.to_path_buf(),
            name: path.display().to_string(),
            mounts: Vec::new(),
        }
    }

    /// A directory that a person knows by another name.
    pub fn named(path: &Path, name: &str) -> Place {
        Place {
            path: path.to_path_buf(),
            name: name.to_string(),
            mounts: Vec::new(),
        }
    }

    /// A device's file system, with the mounts that end with it.
    pub fn mounted(device: &Device, at: &Path, mounts: Vec<Mounted>) -> Place {
        Place {
            path: at.to_path_buf(),
            name: device.describe(),
            mounts,
        }
    }

    /// A directory on the same medium.
    pub fn within(mut self, folder: &str) -> Place {
        self.path.push(folder);
        self
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a person calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets the medium go.
    ///
    /// # Errors
    /// `Io` where something still uses it.
    pub fn release(mut self) -> Result<()> {
        while let Some(mount) = self.mounts.pop() {
            mount.unmount()?;
        }
        Ok(())
    }
}

/// Whether this is a booted appliance, whose disks are ours to protect and to mount.
pub fn is_appliance() -> bool {
    Path::new(BOOT_MEDIUM).is_dir()
}

/// Lets go of what a session that was killed left mounted: it could not be chosen again.
///
/// # Errors
/// `Io` where the mounts cannot be read.
pub fn let_go_of_the_last(root: &Path) -> Result<()> {
    const MOUNTS: &str = "/proc/self/mounts";
    let text =
        std::fs::read_to_string(MOUNTS).map_err(|e| Error::new(Kind::Io, "read", MOUNTS, e))?;
    let points: Vec<&Path> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(Path::new)
        .collect();
    if !points.iter().any(|p| is_ours(p)) {
        return Ok(());
    }
    for point in points.iter().rev().filter(|p| is_ours(p) || **p == root) {
        // One that is still in use somewhere goes when that ends.
        let _ = nix::mount::umount2(*point, nix::mount::MntFlags::MNT_DETACH);
    }
    Ok(())
}

/// Whether a mount point is one that only a session makes.
fn is_ours(point: &Path) -> bool {
    point.starts_with(target::TARGET_AT)
        || point.starts_with(keys::KEYS_AT)
        || point.starts_with(sources::SOURCES_AT)
}

fn by_label<'a>(devices: &'a [Device], label: &str, what: &str) -> Result<&'a Device> {
    let mut fitting = devices.iter().filter(|d| d.label.as_deref() == Some(label));
    match (fitting.next(), fitting.next()) {
        (Some(device), None) => Ok(device),
        (None, _) => Err(Error::new(
            Kind::NotFound,
            "find",
            format!("the {what} labelled {label}"),
            "it is not attached, or not of a file system that serves",
        )
        .next("attach it and try again; look at `lsblk -f` from a shell")),
        (Some(_), Some(_)) => Err(Error::new(
            Kind::Usage,
            "choose",
            format!("the {what} labelled {label}"),
            "several have that label",
        )
        .next("take the others away, or use a profile that asks")),
    }
}
