//! The sources: what is sealed, in which order, and whether it fits.

use super::super::disks::{self, Device};
use super::super::profile::Profile;
use super::super::ui::Ui;
use super::{by_label, Place};
use crate::out::size;
use asl_core::{Error, Kind, Result};
use asl_host::keystick;
use std::path::{Path, PathBuf};

const SOURCES_AT: &str = "/run/asl/sources";

/// Finds the sources, in order, as the profile or the person gives it.
///
/// # Errors
/// As [`find_target`].
pub fn find_sources(profile: &Profile, ui: Ui) -> Result<Vec<Source>> {
    if !profile.source.paths.is_empty() {
        return Ok(profile
            .source
            .paths
            .iter()
            .map(|p| Source::Directory(p.clone()))
            .collect());
    }
    let devices: Vec<Device> = disks::list()?
        .into_iter()
        .filter(|d| d.is_source() && d.label.as_deref() != Some(keystick::LABEL))
        .collect();
    if !profile.source.labels.is_empty() {
        let find =
            |label: &String| by_label(&devices, label, "source").map(|d| Source::Device(d.clone()));
        return profile.source.labels.iter().map(find).collect();
    }
    if devices.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            "find",
            "anything to seal",
            "no readable file system is left",
        )
        .next("attach the disk and try again; look at `lsblk -f` from a shell"));
    }
    let items: Vec<String> = devices.iter().map(Device::describe).collect();
    let chosen = ui.choose_many("What shall be sealed", &items, "source.labels")?;
    Ok(chosen
        .into_iter()
        .filter_map(|i| devices.get(i))
        .cloned()
        .map(Source::Device)
        .collect())
}

/// Something to seal.
// There are a handful: a box would save nothing.
#[allow(clippy::large_enum_variant)]
pub enum Source {
    /// A directory; outside the appliance.
    Directory(PathBuf),
    /// A file system.
    Device(Device),
}

impl Source {
    /// Mounts it for reading, if it needs that.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(&self, number: usize) -> Result<Place> {
        match self {
            Source::Directory(path) => Ok(Place::directory(path)),
            Source::Device(device) => {
                let at = Path::new(SOURCES_AT).join(number.to_string());
                let mount = disks::mount_read_only(device, &at)?;
                Ok(Place::mounted(device, &at, vec![mount]))
            }
        }
    }
}

/// Used and free bytes of the file system that holds a directory.
///
/// # Errors
/// `Io`.
pub fn space(path: &Path) -> Result<(u64, u64)> {
    let s = nix::sys::statvfs::statvfs(path)
        .map_err(|e| Error::new(Kind::Io, "measure", path.display(), e))?;
    let unit = s.fragment_size();
    Ok((
        (s.blocks() - s.blocks_free()).saturating_mul(unit),
        s.blocks_available().saturating_mul(unit),
    ))
}

/// Says whether the sources fit, before anything starts.
///
/// # Errors
/// `Interrupted` where the person stops here.
pub fn say_fit<'a>(places: impl Iterator<Item = &'a Place>, target: &Place, ui: Ui) -> Result<()> {
    let mut used = 0u64;
    for place in places {
        let (bytes, _) = space(place.path())?;
        ui.say(&format!("  source  {}  {} used", place.name(), size(bytes)));
        used = used.saturating_add(bytes);
    }
    let (_, free) = space(target.path())?;
    ui.say(&format!("  target  {}  {} free", target.name(), size(free)));
    if used > free {
        let warning = format!(
            "The sources use {}, {} more than is free. Compression may make it fit; what is sealed before the target is full stays. Go on",
            size(used),
            size(used - free)
        );
        if !ui.confirm(&warning, true)? {
            return Err(Error::new(
                Kind::Interrupted,
                "start",
                "sealing",
                "the target is too small",
            ));
        }
    }
    Ok(())
}
