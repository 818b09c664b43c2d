//! `asl-host rescue`: the six steps from power-on to snapshot and wait (seed 001, section 11).
//!
//! The interactive and the unattended run are the same code: the profile answers what it can, the
//! person is asked for the rest. Sealing starts at once; admission runs beside it.

mod compare;
mod console_lock;
mod disks;
mod host_role;
mod keyboard;
mod prepare;
pub mod profile;
mod session;
mod setup;
mod steps;
mod ui;
mod way;

use crate::cli;
use crate::out::Out;
use asl_core::{Error, Kind, Result};
use asl_host::keystick::KeyStick;
use profile::{EndAction, Origin, Role};
use std::path::Path;
use std::process::ExitCode;
use ui::Ui;
use way::{Stop, Way};

/// The exit code that tells the console's wrapper to offer a shell.
const TO_SHELL: u8 = 0;

/// Runs a session on this console.
///
/// # Errors
/// Those of the steps, when the session may not ask what to do about them.
pub fn run(root: &Path, args: &cli::Rescue, out: Out) -> Result<ExitCode> {
    let command_line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let named = profile::named(args.profile.as_deref(), &command_line)?;
    let ui = Ui::new(named.as_ref().is_none_or(|p| p.interactive));
    require_terminal()?;
    ui::give_size_to_terminal();
    if args.prepare {
        return prepare::run(ui, out).map(|()| ExitCode::from(TO_SHELL));
    }
    // A profile says what is to be done; so does a booted appliance by being one.
    if named.is_none() && !session::is_appliance() {
        let ways = [
            "Rescue this machine",
            "Prepare at home: keys, key stick and card",
            "Look after what is prepared",
            "Leave",
        ]
        .map(String::from);
        let chosen = ui.choose("What shall be done", &ways, "interactive")?;
        if chosen != Some(0) {
            return match chosen {
                Some(1) => prepare::run(ui, out),
                Some(2) => prepare::look_after(ui, out),
                _ => Ok(()),
            }
            .map(|()| ExitCode::from(TO_SHELL));
        }
    }
    let consoles = named
        .as_ref()
        .map(|p| p.consoles.clone())
        .unwrap_or_default();
    let _owner = console_lock::take(ui, &consoles)?;
    ui.say(BANNER);
    loop {
        crate::system::reset_stop();
        let ended = match &named {
            Some(profile) if profile.role == Role::Host => {
                setup::apply(profile, ui);
                host_role::run(profile, root, ui, out).map_err(Stop::Mishap)
            }
            _ => steps::all(root, named.as_ref(), ui, out),
        };
        let stop = match ended {
            Ok(action) => return end(action, ui),
            Err(Stop::Mishap(e)) => ui.way_on(e, &[Way::Again], out).map(drop),
            Err(stop) => Err(stop),
        };
        match stop {
            Ok(()) | Err(Stop::FromTheFirst) => {}
            Err(Stop::Leave(action)) => return end(action, ui),
            Err(Stop::Ended(e) | Stop::Mishap(e)) => return Err(e),
        }
    }
}

const BANNER: &str = "\
ASL rescue appliance
Every disk is read-only until you choose it as the target. Ctrl-C is safe at any time.";

/// Without a terminal nobody can type the passphrase.
fn require_terminal() -> Result<()> {
    use std::io::IsTerminal;
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Usage,
        "start",
        "a rescue session",
        "there is no terminal",
    )
    .next("run it on a console, over ssh -t, or use `asl-host ingest` from a script"))
}

fn end(action: EndAction, ui: Ui) -> Result<ExitCode> {
    match action {
        EndAction::Poweroff => {
            ui.say("Powering off.");
            nix::unistd::sync();
            let ended = std::process::Command::new("poweroff").status();
            ended.map_err(|e| {
                Error::new(Kind::Io, "power off", "this machine", e).next("switch it off by hand")
            })?;
        }
        EndAction::Shell => ui.say("Type asl-rescue to come back."),
        EndAction::Wait => {
            ui.say("Waiting. Nothing needs a key any more; the machine may be switched off.");
            if ui.may_ask() {
                let ways = ["Go to a shell", "Power off"].map(String::from);
                if ui.choose("When you are ready", &ways, "end.action")? == Some(1) {
                    return end(EndAction::Poweroff, ui);
                }
            }
        }
    }
    Ok(ExitCode::from(TO_SHELL))
}

/// Refuses a profile that a stick could not use.
///
/// # Errors
/// `Invalid` with the line.
pub fn check_profile(text: &[u8], path: &Path) -> Result<()> {
    profile::parse(
        &String::from_utf8_lossy(text),
        &path.display().to_string(),
        Origin::Stick,
    )
    .map(drop)
}

/// The root key of `keys-example/`: everybody has its secret.
const EXAMPLE_ROOT: &str = include_str!("../../../../keys-example/root.pub");

/// Refuses the published example keys, unless the image's own profile says demo.
///
/// # Errors
/// `Refused`.
pub fn refuse_example_keys(stick: &KeyStick, demo: bool) -> Result<()> {
    let dam = asl_auth::Dam::decode(&stick.dam()?.bytes)?;
    let example = asl_auth::PublicKey::parse_file(EXAMPLE_ROOT)?;
    if !demo && dam.roots.keys().iter().any(|k| example.contains(k)) {
        return Err(Error::new(
            Kind::Refused,
            "use",
            stick.path().display(),
            "these are the published example keys: anybody can open what they seal",
        )
        .next(
            "make your own with `asl-host key generate`; only the demo profile takes the example",
        ));
    }
    Ok(())
}
