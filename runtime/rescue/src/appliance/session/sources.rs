//! The sources: what is sealed, in which order, and whether it fits.

use super::super::disks::{self, Device};
use super::super::profile::Profile;
use super::super::ui::Ui;
use super::{by_label, Place};
use crate::out::size;
use asl_core::{Error, Kind, Result};
use asl_host::keystick;
use std::path::{Path, PathBuf};

pub(super) const SOURCES_AT: &str = "/run/asl/sources";

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
    in_order(devices, ui)
}

/// Asks for one source after the other: what matters most is safe first.
fn in_order(mut left: Vec<Device>, ui: Ui) -> Result<Vec<Source>> {
    let mut chosen = Vec::new();
    while !left.is_empty() {
        let question = if chosen.is_empty() {
            "What shall be sealed first"
        } else {
            "What shall be sealed next"
        };
        let mut items: Vec<String> = left.iter().map(Device::describe).collect();
        items.push("Nothing more".to_string());
        match ui.choose(question, &items, "source.labels")? {
            Some(n) if n < left.len() => chosen.push(Source::Device(left.remove(n))),
            _ => break,
        }
    }
    Ok(chosen)
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
    /// `Io`; `NotFound` where a directory cannot be looked at.
    pub fn open(&self, number: usize) -> Result<Place> {
        match self {
            Source::Directory(path) => match std::fs::read_dir(path) {
                Ok(_) => Ok(Place::directory(path)),
                Err(e) => Err(Error::new(Kind::NotFound, "seal", path.display(), e)
                    .next("attach and mount the disk that holds it, then try it again")),
            },
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

/// Bytes used in a source; `None` where it is a folder among others.
///
/// # Errors
/// `Io`.
pub fn used_of(path: &Path) -> Result<Option<u64>> {
    is_whole(path)
        .then(|| space(path).map(|(used, _)| used))
        .transpose()
}

/// Whether a directory is a whole file system, so that what is used there is what it holds.
fn is_whole(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |p: &Path| std::fs::metadata(p).map(|m| m.dev()).ok();
    path.parent()
        .is_none_or(|above| device(above) != device(path))
}

/// Bytes a second that a time is reckoned with: what a USB 2 disk gives, or an old one.
const RATE: u64 = 30_000_000;

/// Says what is used and free, how long it may take and whether it fits, before anything starts.
///
/// # Errors
/// `Interrupted` where the person stops here.
pub fn say_fit<'a>(places: impl Iterator<Item = &'a Place>, target: &Place, ui: Ui) -> Result<()> {
    let mut used = 0u64;
    for place in places {
        let said = match used_of(place.path())? {
            Some(bytes) => {
                used = used.saturating_add(bytes);
                let minutes = bytes / RATE / 60 + 1;
                format!("{} used, about {minutes} min at 30 MB/s", size(bytes))
            }
            None => "a folder, not measured".to_string(),
        };
        ui.say(&format!("  source  {}  {said}", place.name()));
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
