//! Several consoles, one session: the first to come owns it, the others wait, look or take over
//! (flows.md).

use super::ui::Ui;
use crate::{out, system};
use asl_core::{Error, Kind, Result};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const DIRECTORY: &str = "/run/asl";
const LOCK: &str = "/run/asl/rescue.lock";

/// What the session said, for the other consoles to look at.
const SAID: &str = "/run/asl/rescue.said";

/// Lines that a look shows.
const LOOK: usize = 15;

const PAUSE: Duration = Duration::from_millis(500);

/// How long a session has to end by itself after it was told to, between two pieces.
const PATIENCE: Duration = Duration::from_secs(20);

/// The right to run the session on this console; given back when dropped.
pub struct Owner {
    _file: Flock<File>,
}

/// Who has the session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    console: String,
    pid: Option<Pid>,
}

/// Takes the session, waiting where another console has it.
///
/// With a list of consoles, one that is not on it only waits: an unattended run on two consoles
/// must type on the one that somebody watches. One that may ask offers to look or to take over.
///
/// # Errors
/// `Io`; `Interrupted` on Ctrl-C while waiting.
pub fn take(ui: Ui, consoles: &[String]) -> Result<Owner> {
    std::fs::create_dir_all(DIRECTORY).map_err(failed)?;
    let here = console_name();
    let allowed = consoles.is_empty() || consoles.contains(&here);
    let mut told = None;
    loop {
        let mut file = open()?;
        if allowed {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => return own(held, &here),
                Err((back, nix::errno::Errno::EWOULDBLOCK)) => file = back,
                Err((_, e)) => return Err(failed(e.into())),
            }
        }
        let holder = Holder::read(file)?;
        if told.as_ref() != Some(&holder) {
            let on = match holder.console.as_str() {
                "" => consoles.join(", "),
                console => console.to_string(),
            };
            ui.say(&format!(
                "The rescue session runs on console {on}. This console takes over when it ends; Ctrl-C for a shell."
            ));
            told = Some(holder.clone());
        }
        if allowed && ui.may_ask() {
            ask(ui, &holder)?;
        }
        if system::stopped() {
            return Err(Error::new(
                Kind::Interrupted,
                "wait for",
                "the rescue session",
                "it was interrupted",
            )
            .next("start asl-rescue again to take over"));
        }
        std::thread::sleep(PAUSE);
    }
}

fn failed(e: std::io::Error) -> Error {
    Error::new(Kind::Io, "take", "the rescue session", e)
        .next("look at /run/asl from a shell; it must be a folder that can be written")
}

fn open() -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(LOCK)
        .map_err(failed)
}

fn own(mut held: Flock<File>, here: &str) -> Result<Owner> {
    held.set_len(0)
        .and_then(|()| held.rewind())
        .and_then(|()| writeln!(held, "{here}\n{}", std::process::id()))
        .map_err(failed)?;
    // Whoever looks sees this session, not the one before it.
    let said = File::create(SAID).map_err(failed)?;
    out::write_along(said);
    Ok(Owner { _file: held })
}

impl Holder {
    fn read(file: File) -> Result<Holder> {
        let mut text = String::new();
        file.take(128).read_to_string(&mut text).map_err(failed)?;
        let mut lines = text.lines();
        let console = lines.next().unwrap_or_default();
        Ok(Holder {
            console: console.chars().filter(|c| !c.is_control()).collect(),
            // 0 and 1 would be everybody and the system.
            pid: lines
                .next()
                .and_then(|n| n.parse().ok())
                .filter(|n| *n > 1)
                .map(Pid::from_raw),
        })
    }
}

/// Asks what to do about the session on the other console, once.
fn ask(ui: Ui, holder: &Holder) -> Result<()> {
    let ways = [
        "Wait for its end",
        "Look at what it says",
        "Take over here: the session there ends, what was acknowledged stays",
    ]
    .map(String::from);
    match ui.choose("The session is on another console", &ways, "consoles")? {
        Some(1) => look(ui),
        Some(2) => take_over(ui, holder),
        _ => wait_for_end(ui),
    }
}

fn look(ui: Ui) -> Result<()> {
    let said = std::fs::read(SAID).map_err(failed)?;
    let text = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = text.lines().collect();
    ui.say("--- it said last:");
    for line in lines.iter().skip(lines.len().saturating_sub(LOOK)) {
        ui.say(line);
    }
    ui.say("---");
    Ok(())
}

fn wait_for_end(ui: Ui) -> Result<()> {
    ui.say("Waiting; Ctrl-C for a shell.");
    while !system::stopped() && !is_free()? {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Ends the session on the other console: as on Ctrl-C, and where it does not hear, by force. What
/// was acknowledged is on the target either way.
fn take_over(ui: Ui, holder: &Holder) -> Result<()> {
    let Some(pid) = holder.pid else {
        ui.say("It does not say which process it is; end it there with Ctrl-C.");
        return Ok(());
    };
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // The lock was held a moment ago, so the process is the session, or is gone.
        if kill(pid, signal).is_err() {
            return Ok(());
        }
        ui.say("The session there is ending ...");
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if system::stopped() || is_free()? {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Whether nobody has the session at this moment.
fn is_free() -> Result<bool> {
    match Flock::lock(open()?, FlockArg::LockExclusiveNonblock) {
        Ok(_) => Ok(true),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(false),
        Err((_, e)) => Err(failed(e.into())),
    }
}

/// This console's name, such as `tty1` or `ttyS0`.
fn console_name() -> String {
    nix::unistd::ttyname(std::io::stdin())
        .ok()
        .and_then(|p| {
            p.strip_prefix(Path::new("/dev"))
                .map(|n| n.display().to_string())
                .ok()
        })
        .unwrap_or_default()
}
