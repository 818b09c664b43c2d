//! The key stick: a medium is chosen, written and read back.

use super::medium::{self, Purpose};
use crate::appliance::ui::Ui;
use crate::commands::keys::bundle::{self, Extras};
use asl_core::Result;
use std::path::Path;

const STICK_AT: &str = "/run/asl/key-stick";

/// `key bundle`, onto a medium that the person chooses.
pub fn write(keys: &Path, ui: Ui) -> Result<()> {
    let Some(place) = medium::choose(Purpose::Stick, Path::new(STICK_AT), ui)? else {
        ui.say("No key stick was written. Later: `asl-host key bundle`, or come back here.");
        return Ok(());
    };
    let bundled = bundle::write(keys, place.path(), &Extras::default())?;
    ui.say(&bundle::in_words(&bundled, place.path()));
    place.release()?;
    ui.say("It may be taken out.");
    Ok(())
}
