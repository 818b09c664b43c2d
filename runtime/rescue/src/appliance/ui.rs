//! Questions: what the profile answers is said, what it does not answer is asked.
//!
//! dialoguer prompts work on a serial line and for a screen reader; a session that may not ask
//! ends with an error that names the line missing in the profile.

use crate::terminal::Keys;
use asl_core::{Error, Kind, Result};
use dialoguer::theme::SimpleTheme;
use dialoguer::{Confirm, Input, Select};
use std::os::fd::AsFd;

/// The person, or the profile alone.
#[derive(Clone, Copy)]
pub struct Ui {
    interactive: bool,
}

impl Ui {
    /// A session that may ask, or may not.
    pub fn new(interactive: bool) -> Self {
        Ui { interactive }
    }

    /// Whether questions may be asked.
    pub fn may_ask(self) -> bool {
        self.interactive
    }

    /// Says a line.
    pub fn say(self, text: &str) {
        crate::out::remark(text);
    }

    /// Begins a step, with its number of six.
    pub fn step(self, number: u8, title: &str) {
        self.say(&format!("\n[{number}/6] {title}"));
    }

    fn must_ask(self, question: &str, profile_line: &str) -> Result<()> {
        if self.interactive {
            return Ok(());
        }
        Err(Error::new(
            Kind::Usage,
            "answer",
            format!("{question:?}"),
            "the profile does not, and may not ask",
        )
        .next(format!(
            "set {profile_line} in the profile, or interactive = true"
        )))
    }

    /// Asks for one of several; `None` where the person goes back.
    ///
    /// # Errors
    /// `Usage` where questions may not be asked, `Interrupted` on Ctrl-C.
    pub fn choose(
        self,
        question: &str,
        items: &[String],
        profile_line: &str,
    ) -> Result<Option<usize>> {
        self.must_ask(question, profile_line)?;
        ask(question, || {
            Select::with_theme(&SimpleTheme)
                .with_prompt(question)
                .items(items)
                .default(0)
                .interact_opt()
        })
    }

    /// Asks yes or no; a session that may not ask takes `unattended`.
    ///
    /// # Errors
    /// `Interrupted` on Ctrl-C.
    pub fn confirm(self, question: &str, unattended: bool) -> Result<bool> {
        if !self.interactive {
            return Ok(unattended);
        }
        ask(question, || {
            Confirm::with_theme(&SimpleTheme)
                .with_prompt(question)
                .default(unattended)
                .interact()
        })
    }

    /// Asks for a line, which may be empty; without the blanks around it.
    ///
    /// # Errors
    /// As [`Ui::choose`].
    pub fn line(self, question: &str, profile_line: &str) -> Result<String> {
        self.must_ask(question, profile_line)?;
        let typed: String = ask(question, || {
            Input::with_theme(&SimpleTheme)
                .with_prompt(question)
                .allow_empty(true)
                .interact_text()
        })?;
        Ok(typed.trim().to_string())
    }

    /// Asks for a word to be typed as it is, before something that cannot be undone.
    ///
    /// # Errors
    /// As [`Ui::choose`].
    pub fn typed(self, question: &str, word: &str, profile_line: &str) -> Result<bool> {
        let typed = self.line(question, profile_line)?;
        Ok(typed == word)
    }
}

/// Asks, with every key kept for the answer from before the question is seen.
fn ask<T>(question: &str, interact: impl FnOnce() -> dialoguer::Result<T>) -> Result<T> {
    let stdin = std::io::stdin();
    // Where this is no terminal the prompt itself says so.
    let _keys = Keys::all(stdin.as_fd()).ok();
    // Pressed before its key was kept: the prompt would not know.
    let answer = if crate::system::stopped() {
        Err(std::io::Error::from(std::io::ErrorKind::Interrupted))
    } else {
        interact().map_err(|dialoguer::Error::IO(e)| e)
    };
    answer.map_err(|e| {
        // A menu hides the cursor, and leaves it hidden where it was interrupted. A terminal that
        // is gone has none.
        let _ = console::Term::stderr().show_cursor();
        asked(question, e)
    })
}

fn asked(question: &str, e: std::io::Error) -> Error {
    let object = format!("{question:?}");
    match e.kind() {
        std::io::ErrorKind::Interrupted => {
            Error::new(Kind::Interrupted, "ask", object, "it was interrupted")
                .next("nothing is lost: choose how to go on, or start asl-rescue again")
        }
        std::io::ErrorKind::NotConnected => {
            Error::new(Kind::Usage, "ask", object, e).next("run it from a terminal")
        }
        _ => Error::new(Kind::Io, "ask", object, e).next("run it from a terminal"),
    }
}

nix::ioctl_write_ptr_bad!(
    /// TIOCSWINSZ of termios: takes a pointer to a struct winsize.
    set_window_size,
    nix::libc::TIOCSWINSZ,
    nix::pty::Winsize
);

/// A serial line reports 0x0: prompts and bars then take it for 80x24.
pub fn give_size_to_terminal() {
    use std::os::fd::AsRawFd;
    if console::Term::stderr()
        .size_checked()
        .is_some_and(|(rows, columns)| rows > 0 && columns > 0)
    {
        return;
    }
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads one winsize through the pointer, and `size` lives across the call.
    // A terminal that refuses it keeps its size; nothing else depends on it.
    let _ = unsafe { set_window_size(std::io::stderr().as_raw_fd(), &size) };
}
