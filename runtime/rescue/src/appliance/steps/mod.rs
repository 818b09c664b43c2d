//! The six steps, in order; each is what a plain command does too.
//!
//! A mishap is met where it happens: the person is offered the ways on that fit it, and one source
//! that fails costs no other. Only what leaves the step comes up here, as a [`Stop`].

mod admission;
mod domain;
mod end;
mod keys;
mod mail;
mod seal;

use super::profile::{EndAction, Profile};
use super::ui::Ui;
use super::way::Stop;
use super::{disks, session};
use crate::out::Out;
use std::path::Path;

/// A step's result, or why the session does not go on after it.
type Step<T> = std::result::Result<T, Stop>;

/// Takes all six steps.
///
/// # Errors
/// A [`Stop`]; what was acknowledged before it stays.
pub fn all(root: &Path, named: Option<&Profile>, ui: Ui, out: Out) -> Step<EndAction> {
    if session::is_appliance() {
        session::let_go_of_the_last(root)?;
        disks::protect_all()?;
    }
    ui.step(1, "Create a local domain");
    let place = domain::find(root, named, ui, out)?;
    let ui = Ui::new(place.profile.interactive);

    ui.step(2, "Load DAM and keys");
    let keys = keys::load(&place, ui, out)?;
    let brought = mail::brought(place.keys_at.path(), &place.stick, &place.domain, ui);
    let domain::Place {
        keys_at,
        profile,
        target,
        host,
        mut domain,
        ..
    } = place;
    keys_at.release()?;
    ui.say("The keys are loaded. The key stick may be taken out.");

    ui.step(3, "Submit the admission request");
    let mut answer = admission::submit(keys.petition, &profile, ui, out)?;

    ui.step(4, "Receive the decision");
    mail::take_up(brought, &mut domain, ui)?;
    if let Some(answer) = &mut answer {
        answer.wait(admission::SHORT_WAIT, &mut domain, ui)?;
    }

    ui.step(5, "Sealed ingestion");
    let opener = seal::Opener::new(&host, keys.seal, &profile)?;
    let mut sealed = seal::all(opener, domain, answer, &profile, &target, ui, out)?;

    ui.step(6, "Snapshot and wait");
    end::snapshot(&mut sealed, &keys.device, &profile, &target, ui, out)?;
    let left_out = sealed.left_out.take();
    drop(sealed);
    target.release()?;
    left_out.map_or(Ok(profile.end.action), |e| Err(Stop::Ended(e)))
}
