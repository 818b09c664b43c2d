//! Asks for a secret: the echo goes off before the question is said.
//!
//! A prompt said first invites typing that would be shown, and then lost when the terminal is
//! switched: on a slow serial line a part of the passphrase stood in the recording.

use crate::{out, system};
use asl_core::{Error, Kind, Result};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::termios::{tcgetattr, tcsetattr, LocalFlags, SetArg, Termios};
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};
use zeroize::Zeroizing;

/// Bytes of a secret at most.
const LONGEST: usize = 1024;

/// How often a wait for the next key looks whether the person pressed Ctrl-C, in milliseconds.
const LOOK: u16 = 100;

/// Asks on the terminal that is standard input.
///
/// # Errors
/// `Usage` without a terminal, `Interrupted` on Ctrl-C, `Invalid` for what is no text or too long.
pub fn secret(question: &str) -> Result<Zeroizing<String>> {
    let stdin = std::io::stdin();
    let failed =
        |kind, why: &dyn std::fmt::Display| Error::new(kind, "ask for", "the passphrase", why);
    if !stdin.is_terminal() {
        return Err(failed(Kind::Usage, &"not a terminal")
            .next("run it from a terminal, or give --passphrase-file"));
    }
    let terminal = stdin.as_fd();
    let quiet = Quiet::begin(terminal).map_err(|e| failed(Kind::Io, &e))?;
    out::remark_open(&format!("{question}: "));
    let line = read_line(terminal);
    drop(quiet);
    out::remark("");
    let line = line?;
    std::str::from_utf8(&line)
        .map(|text| Zeroizing::new(text.to_string()))
        .map_err(|_| failed(Kind::Invalid, &"it is not text"))
}

/// The echo is off until this is dropped.
struct Quiet<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn begin(terminal: BorrowedFd<'a>) -> nix::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut mode = before.clone();
        mode.local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        mode.local_flags
            .insert(LocalFlags::ICANON | LocalFlags::ISIG);
        // What was typed before the question was no answer to it.
        tcsetattr(terminal, SetArg::TCSAFLUSH, &mode)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

fn read_line(terminal: BorrowedFd<'_>) -> Result<Zeroizing<Vec<u8>>> {
    let failed =
        |kind, why: &dyn std::fmt::Display| Error::new(kind, "ask for", "the passphrase", why);
    // Room for all of it at once: a growing buffer would leave copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut key = Zeroizing::new([0u8; 1]);
    loop {
        let mut wait = [PollFd::new(terminal, PollFlags::POLLIN)];
        // A signal ends poll, so Ctrl-C is seen at once; the time is for one that came before it.
        let ready = poll(&mut wait, PollTimeout::from(LOOK));
        if system::stopped() {
            return Err(failed(Kind::Interrupted, &"it was interrupted"));
        }
        if !matches!(ready, Ok(n) if n > 0) {
            continue;
        }
        match nix::unistd::read(terminal, &mut *key) {
            Ok(0) => return Err(failed(Kind::Usage, &"the terminal is gone")),
            Ok(_) if *key == *b"\n" => return Ok(line),
            Ok(_) if line.len() == LONGEST => {
                return Err(failed(Kind::Invalid, &"it is longer than 1024 bytes"))
            }
            Ok(_) => line.extend_from_slice(&*key),
            Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(failed(Kind::Usage, &format!("the terminal is gone: {e}"))),
        }
    }
}
