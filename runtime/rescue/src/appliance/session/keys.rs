//! The key stick: found by its label, mounted read-only.

use super::super::disks::{self, Device};
use super::super::profile::Profile;
use super::super::ui::Ui;
use super::Place;
use asl_core::{Error, Kind, Result};
use asl_host::keystick;
use std::path::Path;

pub(super) const KEYS_AT: &str = "/run/asl/keys";

/// Where requests and decisions lie on a stick, one folder a host.
pub const MAIL: &str = "mail";

/// Finds the key stick, mounted read-only.
///
/// # Errors
/// `NotFound` where there is none; `Usage` where there are several and nobody may be asked.
pub fn find_keys(named: Option<&Profile>, ui: Ui) -> Result<Place> {
    if let Some(path) = named.and_then(|p| p.keys.path.as_deref()) {
        return Ok(Place::directory(path));
    }
    mount_keys(&find_stick(ui)?)
}

fn find_stick(ui: Ui) -> Result<Device> {
    loop {
        let sticks: Vec<Device> = disks::list()?
            .into_iter()
            .filter(|d| d.label.as_deref() == Some(keystick::LABEL) && d.is_free())
            .collect();
        match sticks.as_slice() {
            [one] => return Ok(one.clone()),
            [] => {
                return Err(Error::new(
                    Kind::NotFound,
                    "find",
                    "the key stick",
                    "no medium is labelled ASL-KEYS",
                )
                .next("put it in and look again; make one at home with `asl-host key bundle`"));
            }
            several => {
                let items: Vec<String> = several.iter().map(Device::describe).collect();
                let chosen = ui.choose(
                    "Several key sticks are there. Which one",
                    &items,
                    "keys.path",
                )?;
                if let Some(device) = chosen.and_then(|i| several.get(i)) {
                    return Ok(device.clone());
                }
            }
        }
    }
}

fn mount_keys(device: &Device) -> Result<Place> {
    let mount = disks::mount_read_only(device, Path::new(KEYS_AT))?;
    let at = mount.path().to_path_buf();
    Ok(Place::mounted(device, &at, vec![mount]))
}

/// Runs `work` on the mounted key stick, which may write below its `mail/` and nowhere else.
///
/// # Errors
/// As [`find_keys`], and those of `work`.
pub fn mail_on_stick(
    profile: &Profile,
    ui: Ui,
    work: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if let Some(path) = &profile.keys.path {
        return work(&path.join(MAIL));
    }
    let device = find_stick(ui)?;
    let mount = disks::mount_for_writing(&device, Path::new(KEYS_AT))?;
    let worked = work(&mount.path().join(MAIL));
    // The stick is protected again with that.
    let unmounted = mount.unmount();
    worked.and(unmounted)
}
