//! The target: the file system that the person chose for the domain, or memory.

use super::super::disks::{self, Device};
use super::super::profile::Profile;
use super::super::ui::Ui;
use super::{by_label, is_appliance, Place};
use asl_core::{Error, Kind, Result};
use std::path::Path;

/// The label of a file system that was prepared to be sealed to.
const TARGET_LABEL: &str = "ASL-TARGET";

const TARGET_AT: &str = "/run/asl/target";

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
    if profile.target.memory {
        items.push(RAM.to_string());
    }
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
                    return Ok(Place::named(root, RAM));
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
    Ok(Place::mounted(device, root, vec![mount, shown]))
}
