//! Several consoles, one session: the first to come owns it, the others wait (flows.md).

use super::ui::Ui;
use crate::system;
use asl_core::{Error, Kind, Result};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

const DIRECTORY: &str = "/run/asl";
const LOCK: &str = "/run/asl/rescue.lock";

/// The right to run the session on this console; given back when dropped.
pub struct Owner {
    _file: Flock<File>,
}

/// Takes the session, waiting where another console has it.
///
/// With a list of consoles, one that is not on it only waits: an unattended run on two consoles
/// must type on the one that somebody watches.
///
/// # Errors
/// `Io`; `Interrupted` on Ctrl-C while waiting.
pub fn take(ui: Ui, consoles: &[String]) -> Result<Owner> {
    let failed = |e: std::io::Error| Error::new(Kind::Io, "take", "the rescue session", e);
    std::fs::create_dir_all(DIRECTORY).map_err(failed)?;
    let here = console_name();
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(LOCK)
            .map_err(failed)
    };
    let mut told = String::new();
    loop {
        let mut file = open()?;
        let allowed = consoles.is_empty() || consoles.contains(&here);
        if allowed {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(mut held) => {
                    held.set_len(0)
                        .and_then(|()| held.rewind())
                        .map_err(failed)?;
                    writeln!(held, "{here}").map_err(failed)?;
                    return Ok(Owner { _file: held });
                }
                Err((back, nix::errno::Errno::EWOULDBLOCK)) => file = back,
                Err((_, e)) => return Err(failed(e.into())),
            }
        }
        let mut owner = String::new();
        file.take(64).read_to_string(&mut owner).map_err(failed)?;
        let owner = owner
            .trim()
            .chars()
            .filter(|c| !c.is_control())
            .collect::<String>();
        if owner != told {
            ui.say(&format!(
                "The rescue session runs on console {}. This console takes over when it ends; Ctrl-C for a shell.",
                if owner.is_empty() { consoles.join(", ") } else { owner.clone() }
            ));
            told = owner;
        }
        if system::stopped() {
            return Err(Error::new(
                Kind::Interrupted,
                "wait for",
                "the rescue session",
                "it was interrupted",
            ));
        }
        std::thread::sleep(Duration::from_millis(500));
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
