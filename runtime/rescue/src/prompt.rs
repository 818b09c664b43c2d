//! Asks for a secret: the echo goes off before the question is said.
//!
//! A prompt said first invites typing that would be shown, and then lost when the terminal is
//! switched: on a slow serial line a part of the passphrase stood in the recording. Tab shows what
//! was typed, and hides it again: on a foreign keyboard nobody knows what the keys say.

use crate::terminal::Keys;
use crate::{out, system};
use asl_core::{Error, Kind, Result};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a secret at most.
const LONGEST: usize = 1024;

/// How often a wait for the next key looks whether the person pressed Ctrl-C, in milliseconds.
const LOOK: u16 = 100;

/// Characters under which a new passphrase is refused, and under which its risk is told.
const SHORTEST: usize = 8;
const SHORT: usize = 16;

/// Asks on the terminal that is standard input.
///
/// # Errors
/// `Usage` without a terminal, `Interrupted` on Ctrl-C, `Invalid` for what is no text or too long.
pub fn secret(question: &str) -> Result<Zeroizing<String>> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(failed(Kind::Usage, "not a terminal")
            .next("run it from a terminal, or give --passphrase-file"));
    }
    let terminal = stdin.as_fd();
    // What was typed before the question was no answer to it.
    let quiet = Keys::anew(terminal).map_err(|e| failed(Kind::Io, e))?;
    let mut line = Line::new(format!("{question} (Tab shows it): "));
    out::remark_open(&line.prompt);
    let read = line.read(terminal);
    line.hide();
    drop(quiet);
    out::remark("");
    read?;
    std::str::from_utf8(&line.typed)
        .map(|text| Zeroizing::new(text.to_string()))
        .map_err(|_| failed(Kind::Invalid, "it is not text"))
}

/// A new passphrase, typed twice, or from a file.
///
/// # Errors
/// `Usage` without a terminal, `Invalid` for none, or one that is no protection at all.
pub fn new_passphrase(file: Option<&Path>) -> Result<Zeroizing<String>> {
    if let Some(file) = file {
        let passphrase = first_line(file)?;
        refuse_weak(&passphrase)?;
        return Ok(passphrase);
    }
    loop {
        let first = secret("New passphrase for the key stick")?;
        if let Err(e) = refuse_weak(&first) {
            out::remark(&format!("{}; {}.", e.why(), e.what_next()));
            continue;
        }
        if *first == *secret("The same again")? {
            return Ok(first);
        }
        out::remark("The two differ.");
    }
}

/// Refuses what anybody guesses, and says what a short one risks.
fn refuse_weak(passphrase: &str) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::new(Kind::Invalid, "use", "this passphrase", why)
            .next("choose a longer one; five or more random words are good"))
    };
    match passphrase.chars().count() {
        0 => refuse("it is empty"),
        n if n < SHORTEST => refuse("it has fewer than 8 characters"),
        n if n < SHORT => {
            out::remark(&format!(
                "It has only {n} characters. A thief of the stick has all the time there is to guess it, and\nthen seals and asks for admission in your name. Five or more random words are good."
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The first line of a file that holds a passphrase.
///
/// # Errors
/// Those of reading it; `Invalid` where it is not text.
pub fn first_line(file: &Path) -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(asl_backend::files::read_limited(file, 4096)?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::new(Kind::Invalid, "read", file.display(), "it is not text"))?;
    Ok(Zeroizing::new(
        text.lines().next().unwrap_or_default().to_string(),
    ))
}

fn failed(kind: Kind, why: impl std::fmt::Display) -> Error {
    Error::new(kind, "ask for", "the passphrase", why)
}

/// Where a key stands that several bytes make, such as an arrow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    No,
    Begun,
    Inside,
}

/// The line that is being typed.
struct Line {
    prompt: String,
    typed: Zeroizing<Vec<u8>>,
    /// Columns that are shown behind the prompt; none while it is hidden.
    shown: Option<usize>,
    escape: Escape,
}

impl Line {
    fn new(prompt: String) -> Self {
        Line {
            prompt,
            // Room for all of it at once: a growing buffer would leave copies behind.
            typed: Zeroizing::new(Vec::with_capacity(LONGEST)),
            shown: None,
            escape: Escape::No,
        }
    }

    fn read(&mut self, terminal: BorrowedFd<'_>) -> Result<()> {
        let mut key = Zeroizing::new([0u8; 1]);
        loop {
            let mut wait = [PollFd::new(terminal, PollFlags::POLLIN)];
            // A signal ends poll, so Ctrl-C is seen at once; the time is for one before it.
            let ready = poll(&mut wait, PollTimeout::from(LOOK));
            if system::stopped() {
                return Err(failed(Kind::Interrupted, "it was interrupted"));
            }
            if !matches!(ready, Ok(n) if n > 0) {
                continue;
            }
            match nix::unistd::read(terminal, &mut *key) {
                Ok(0) => return Err(failed(Kind::Usage, "the terminal is gone")),
                Ok(_) => {
                    let [byte] = *key;
                    if self.take(byte)? {
                        return Ok(());
                    }
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(e) => {
                    let why = format!("the terminal is gone: {e}");
                    return Err(failed(Kind::Usage, why));
                }
            }
        }
    }

    /// Takes a byte from the keyboard; true where the line is done.
    fn take(&mut self, byte: u8) -> Result<bool> {
        if self.swallows(byte) {
            return Ok(false);
        }
        match byte {
            b'\n' | b'\r' => return Ok(true),
            b'\t' if self.shown.is_some() => self.hide(),
            b'\t' => self.shown = Some(0),
            // Backspace, as the one terminal or the other sends it: a whole character goes.
            0x08 | 0x7f => while matches!(self.typed.pop(), Some(0x80..=0xbf)) {},
            // Ctrl-U begins anew.
            0x15 => self.typed.clear(),
            // Ctrl-D on an empty line: nobody will type here.
            0x04 if self.typed.is_empty() => {
                return Err(failed(Kind::Usage, "the terminal is gone"))
            }
            0..=0x1f => {}
            _ if self.typed.len() == LONGEST => {
                return Err(failed(Kind::Invalid, "it is longer than 1024 bytes"))
            }
            byte => self.typed.push(byte),
        }
        self.show();
        Ok(false)
    }

    /// Whether the byte belongs to an arrow or a function key, which is no part of a secret.
    fn swallows(&mut self, byte: u8) -> bool {
        let (now, swallowed) = match (self.escape, byte) {
            (_, 0x1b) => (Escape::Begun, true),
            (Escape::Begun, b'[' | b'O') => (Escape::Inside, true),
            (Escape::Inside, 0x40..=0x7e) => (Escape::No, true),
            (Escape::Inside, 0x20..=0x3f) => (Escape::Inside, true),
            _ => (Escape::No, false),
        };
        self.escape = now;
        swallowed
    }

    /// Writes what is typed behind the prompt, if it may be seen: its end, where it is long.
    fn show(&mut self) {
        let Some(before) = self.shown else { return };
        let (_, columns) = console::Term::stderr().size();
        let room = usize::from(columns).saturating_sub(self.prompt.len() + 1);
        let text = Zeroizing::new(String::from_utf8_lossy(&self.typed).into_owned());
        let skipped = text.chars().count().saturating_sub(room);
        let tail: Zeroizing<String> = Zeroizing::new(text.chars().skip(skipped).collect());
        let columns = tail.chars().count();
        self.write(&tail, before.saturating_sub(columns));
        self.shown = Some(columns);
    }

    /// Takes what was shown off the screen.
    fn hide(&mut self) {
        if let Some(before) = self.shown.take() {
            self.write("", before);
        }
    }

    /// The prompt, a text, and blanks over what stood there: no terminal is too dumb for it.
    fn write(&self, text: &str, blanks: usize) {
        let blanks = " ".repeat(blanks);
        let mut out = std::io::stderr().lock();
        for part in ["\r", &self.prompt, text, &blanks, "\r", &self.prompt, text] {
            let _ = out.write_all(part.as_bytes());
        }
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Vec<u8> {
        let mut line = Line::new(String::new());
        for key in keys {
            assert!(!line.take(*key).unwrap());
        }
        line.typed.to_vec()
    }

    #[test]
    fn keys_that_are_no_letters_are_no_part_of_a_secret() {
        assert_eq!(typed(b"a\x1b[Ab\x1bOPc\x1b[15~d\x1b\x1b[De"), b"abcde");
        assert_eq!(typed(b"a\x01b\x00c"), b"abc");
        assert_eq!(typed(b"wrong\x15right"), b"right");
        assert_eq!(typed(b"\x7f\x08ab\x7fc"), b"ac");
        // A whole character goes, however many bytes it is.
        assert_eq!(typed("a\u{e9}\u{20ac}\x7f\x7fb".as_bytes()), b"ab");
    }

    #[test]
    fn enter_ends_the_line_and_a_line_without_end_is_refused() {
        let mut line = Line::new(String::new());
        for _ in 0..LONGEST {
            assert!(!line.take(b'x').unwrap());
        }
        assert_eq!(line.take(b'x').unwrap_err().kind(), Kind::Invalid);
        for enter in [b'\n', b'\r'] {
            assert!(Line::new(String::new()).take(enter).unwrap());
        }
        assert!(Line::new(String::new()).take(4).is_err());
    }

    #[test]
    fn what_anybody_guesses_is_refused() {
        for (weak, why) in [("", "empty"), ("seven77", "fewer")] {
            assert!(refuse_weak(weak).unwrap_err().why().contains(why));
        }
        for fair in ["eight888", "four words are enough"] {
            refuse_weak(fair).unwrap();
        }
    }
}
