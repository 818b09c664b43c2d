//! Where the keys live: a directory, or a disk of their own.

use super::medium::{self, Purpose};
use super::{begin, Begin};
use crate::appliance::session::Place;
use crate::appliance::ui::Ui;
use asl_core::{Error, Kind, Result};
use asl_host::keystick::KeyStick;
use std::path::{Path, PathBuf};

/// The directory that Enter alone means.
const USUAL: &str = "my-keys";

/// The folder on a disk that is chosen for the keys.
const ON_DISK: &str = "asl-home";

const DISK_AT: &str = "/run/asl/home";

/// Asks where the keys live until there is a place that serves.
pub fn choose(ui: Ui, begin_with: Begin) -> Result<Place> {
    if let Begin::Step(number) = begin_with {
        begin(number, ui);
        ui.say(
            "Secrets are made there, readable by you alone. Not on the stick that you give away.",
        );
    }
    loop {
        let place = ask(ui)?;
        let keys = place.path();
        if KeyStick::open(keys).is_ok() {
            ui.say(&format!("Found keys in {}.", keys.display()));
            return Ok(place);
        }
        if begin_with == Begin::Existing {
            ui.say(&format!("There are no keys in {}.", keys.display()));
        } else if keys.symlink_metadata().is_ok() {
            ui.say(&format!(
                "{} is there, and holds no keys. Name a new directory.",
                keys.display()
            ));
        } else if medium::is_on_key_stick(keys) {
            ui.say("That is a key stick, which is given away: secrets stay off it. Name another.");
        } else if !lasts(keys) {
            ui.say("That lies in this machine's memory: the keys are gone when the power goes.");
            if ui.typed(
                "Type gone to make them there all the same",
                "gone",
                "interactive",
            )? {
                return Ok(place);
            }
        } else {
            return Ok(place);
        }
        place.release()?;
    }
}

fn ask(ui: Ui) -> Result<Place> {
    let question =
        format!("Which directory (Enter alone: {USUAL}; disk: a disk or stick of their own)");
    let typed = ui.line(&question, "interactive")?;
    match typed.as_str() {
        "" => Ok(Place::directory(Path::new(USUAL))),
        "disk" => {
            let chosen = medium::choose(Purpose::Home, Path::new(DISK_AT), ui)?;
            let place = chosen.ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    "choose",
                    "a disk for the keys",
                    "none was chosen",
                )
                .next("name a directory instead")
            })?;
            Ok(place.within(ON_DISK))
        }
        path => Ok(Place::directory(&home_of(path))),
    }
}

/// `~/keys` means what it means in a shell.
fn home_of(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// Whether what is written there outlives the power.
fn lasts(new: &Path) -> bool {
    use nix::sys::statfs::{statfs, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC};
    let there = new.ancestors().skip(1).find(|p| p.is_dir());
    let there = there
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let volatile = |kind| kind == TMPFS_MAGIC || (is_live() && kind == OVERLAYFS_SUPER_MAGIC);
    !statfs(there).is_ok_and(|s| volatile(s.filesystem_type()))
}

/// A live system's root is an overlay whose upper half lies in memory.
fn is_live() -> bool {
    crate::appliance::session::is_appliance()
}
