//! Prepare at home: from nothing to keys, a key stick and a card (flows.md, "At home, before").
//!
//! There is no state but the key directory itself: each step looks whether it is done, and does
//! what the plain command of its name does. So it may be left at any question and taken up again.

mod home;
mod make;
mod medium;
mod stick;

use super::ui::Ui;
use crate::commands::keys::holding::Holding;
use crate::commands::keys::show;
use crate::out::Out;
use crate::system;
use asl_core::{Error, Kind, Result};

const BANNER: &str = "\
Prepare at home
Leave with Ctrl-C at any question: what is done stays. `asl-host rescue --prepare` goes on.";

/// The steps, in order.
const STEPS: [&str; 7] = [
    "A place for the keys",
    "The keys",
    "The domain and who speaks for it",
    "The host that will be asked",
    "Proof that the owner's key opens what is sealed",
    "The key stick",
    "The card",
];

/// Takes the whole road, or what is left of it.
///
/// # Errors
/// Of the step that could not be taken, once the person leaves; `Interrupted` on Ctrl-C.
pub fn run(ui: Ui, out: Out) -> Result<()> {
    ui.say(BANNER);
    let place = home::choose(ui, Begin::Step(1))?;
    let keys = place.path();
    let step = |number: usize, work: &dyn Fn() -> Result<()>| {
        begin(number, ui);
        until_done(ui, out, work)
    };
    step(2, &|| make::keys(keys, ui))?;
    step(3, &|| make::dam(keys, ui))?;
    step(4, &|| make::hosts(keys, ui))?;
    step(5, &|| make::proof(keys, ui, out))?;
    step(6, &|| stick::write(keys, ui))?;
    step(7, &|| make::card(keys, ui))?;
    ui.say(&format!(
        "\nPrepared.\nTake owner.txt and root.key out of {} to where no thief and no fire finds both copies:\nwithout owner.txt nobody ever opens the data.",
        keys.display()
    ));
    place.release()
}

/// Looks at keys, a stick or both, and does again what a person wants done again.
///
/// # Errors
/// As [`run`].
pub fn look_after(ui: Ui, out: Out) -> Result<()> {
    let place = home::choose(ui, Begin::Existing)?;
    let keys = place.path();
    loop {
        ui.say(&show::in_words(&Holding::of(keys)?));
        let ways = [
            "Prove them with the owner's key",
            "Pin or remove a host",
            "Write a key stick",
            "Print the card",
            "Leave",
        ]
        .map(String::from);
        let chosen = ui.choose("What shall be done", &ways, "interactive")?;
        if !matches!(chosen, Some(0..=3)) {
            return place.release();
        }
        until_done(ui, out, &|| match chosen {
            Some(0) => make::prove_again(keys, ui, out),
            Some(1) => make::hosts(keys, ui),
            Some(2) => stick::write(keys, ui),
            _ => make::card(keys, ui),
        })?;
    }
}

/// Whether keys are to be begun, or must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    Step(usize),
    Existing,
}

fn begin(number: usize, ui: Ui) {
    let title = STEPS.get(number - 1).unwrap_or(&"");
    ui.say(&format!("\n[{number}/{}] {title}", STEPS.len()));
}

/// Does it until it is done or the person leaves; what failed is told.
fn until_done(ui: Ui, out: Out, work: &dyn Fn() -> Result<()>) -> Result<()> {
    loop {
        match work() {
            Err(e) if e.kind() != Kind::Interrupted => {
                out.error(&e);
                let ways = ["Try again", "Leave; what is done stays"].map(String::from);
                if ui.choose("What now?", &ways, "interactive")? != Some(0) {
                    let why = "it was left before its end";
                    return Err(Error::new(Kind::Interrupted, "prepare", "at home", why)
                        .next("`asl-host rescue --prepare` goes on where it stopped"));
                }
            }
            ended => return ended,
        }
        system::reset_stop();
    }
}
