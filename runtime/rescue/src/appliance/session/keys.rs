//! The key stick: found by its label, mounted read-only.

use super::super::disks::{self, Device};
use super::super::profile::Profile;
use super::super::ui::Ui;
use super::Place;
use asl_core::{Error, Kind, Result};
use asl_host::keystick;
use std::path::Path;

const KEYS_AT: &str = "/run/asl/keys";

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
    let at = mount.path().to_path_buf();
    Ok(Place::mounted(device, &at, vec![mount]))
}
