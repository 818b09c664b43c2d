//! Where a session's three places are: keys, target, sources. Mounts end with the session.

use super::disks::{self, Device, Mounted};
use super::profile::Profile;
use super::ui::Ui;
use crate::out::size;
use asl_core::{Error, Kind, Result};
use asl_host::keystick;
use std::path::{Path, PathBuf};

/// The label of a file system that was prepared to be sealed to.
const TARGET_LABEL: &str = "ASL-TARGET";

/// Mount points of the appliance.
const KEYS_AT: &str = "/run/asl/keys";
const TARGET_AT: &str = "/run/asl/target";
const SOURCES_AT: &str = "/run/asl/sources";

/// Where SystemRescue, and our base, show the boot medium: only there is this an appliance.
const BOOT_MEDIUM: &str = "/run/archiso/bootmnt";

/// A place that is a directory by itself or by a mount.
pub struct Place {
    path: PathBuf,
    name: String,
    mounts: Vec<Mounted>,
}

impl Place {
    fn directory(path: &Path) -> Place {
        Place {
            path: path.to_path_buf(),
            name: path.display().to_string(),
            mounts: Vec::new(),
        }
    }

    fn mounted(device: &Device, mount: Mounted) -> Place {
        Place {
            path: mount.path().to_path_buf(),
            name: device.describe(),
            mounts: vec![mount],
        }
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

/// Finds the key stick, mounted read-only.
///
/// # Errors
/// `NotFound` where there is none and nobody can be asked to put it in.
pub fn find_keys(named: Option<&Profile>, ui: Ui) -> Result<Place> {
    if let Some(path) = named.and_then(|p| p.keys.path.as_deref()) {
        return Ok(Place::directory(path));
    }
    loop {
        let sticks: Vec<Device> = disks::list()?
            .into_iter()
            .filter(|d| d.label.as_deref() == Some(keystick::LABEL) && d.is_free())
            .collect();
        match sticks.as_slice() {
            [one] => return mount_keys(one),
            [] => {
                if !ui.may_ask() {
                    return Err(Error::new(
                        Kind::NotFound,
                        "find",
                        "the key stick",
                        "no medium is labelled ASL-KEYS",
                    )
                    .next("put it in and start again; make one with `asl-host key bundle`"));
                }
                let ways = ["Look again", "Leave"].map(String::from);
                let asked = ui.choose(
                    "No key stick (label ASL-KEYS) is there. Put it in, then",
                    &ways,
                    "keys.path",
                )?;
                if asked != Some(0) {
                    return Err(Error::new(
                        Kind::NotFound,
                        "find",
                        "the key stick",
                        "none was put in",
                    ));
                }
            }
            several => {
                let items: Vec<String> = several.iter().map(Device::describe).collect();
                let chosen = ui.choose(
                    "Several key sticks are there. Which one",
                    &items,
                    "keys.path",
                )?;
                if let Some(device) = chosen.and_then(|i| several.get(i)) {
                    return mount_keys(device);
                }
            }
        }
    }
}

fn mount_keys(device: &Device) -> Result<Place> {
    let mount = disks::mount_read_only(device, Path::new(KEYS_AT))?;
    Ok(Place::mounted(device, mount))
}

/// Finds the target and shows its folder at the root.
///
/// # Errors
/// `NotFound` where the profile's target is not there; `Usage` where nobody may be asked.
pub fn find_target(profile: &Profile, root: &Path, ui: Ui) -> Result<Place> {
    if let Some(path) = &profile.target.path {
        return Ok(Place::directory(path));
    }
    if !is_appliance() {
        return Ok(Place::directory(root));
    }
    let mut devices: Vec<Device> = disks::list()?
        .into_iter()
        .filter(Device::is_target)
        .collect();
    // The first line is the one that Enter takes: a disk that was prepared, not the broken one.
    devices.sort_by_key(|d| d.label.as_deref() != Some(TARGET_LABEL));
    if let Some(label) = &profile.target.label {
        return mount_target(by_label(&devices, label, "target")?, root);
    }
    const RAM: &str = "This machine's memory (VOLATILE: gone when the power goes)";
    let mut items: Vec<String> = devices.iter().map(Device::describe).collect();
    items.push(RAM.to_string());
    loop {
        let chosen = ui.choose(
            "Where shall the domain live (a folder asl-host/ is made on it)",
            &items,
            "target.label",
        )?;
        match chosen.map(|i| devices.get(i)) {
            Some(Some(device)) => return mount_target(device, root),
            Some(None) => {
                let question =
                    "Everything sealed into memory is lost at power-off. Type volatile to go on";
                if ui.typed(question, "volatile", "target.label")? {
                    std::fs::create_dir_all(root)
                        .map_err(|e| Error::new(Kind::Io, "make", root.display(), e))?;
                    return Ok(Place {
                        path: root.to_path_buf(),
                        name: RAM.to_string(),
                        mounts: Vec::new(),
                    });
                }
            }
            None => {
                return Err(Error::new(
                    Kind::Interrupted,
                    "choose",
                    "a target",
                    "none was chosen",
                ))
            }
        }
    }
}

fn mount_target(device: &Device, root: &Path) -> Result<Place> {
    let mount = disks::mount_for_writing(device, Path::new(TARGET_AT))?;
    let folder = mount.path().join("asl-host");
    std::fs::create_dir_all(&folder).map_err(|e| {
        Error::new(Kind::Io, "make", folder.display(), e)
            .next("the target may be full or damaged; choose another")
    })?;
    let shown = disks::bind(&folder, root)?;
    Ok(Place {
        path: root.to_path_buf(),
        name: device.describe(),
        mounts: vec![mount, shown],
    })
}

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
                Ok(Place::mounted(device, disks::mount_read_only(device, &at)?))
            }
        }
    }
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
pub fn say_fit(places: &[Place], target: &Place, ui: Ui) -> Result<()> {
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
