//! The way on after a mishap: the error in words, then the choices that fit it.
//!
//! Every mishap a session knows stands with its words and its ways in `MISHAPS.md`, which the tests
//! read: a way that is not written there fails them.

use super::profile::EndAction;
use super::ui::Ui;
use crate::out::Out;
use crate::system;
use asl_core::{Error, Kind};
use std::process::Command;

/// What a person may choose about a mishap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The same once more.
    Again,
    /// The key stick, or another one, was put in.
    Stick,
    /// There is no key stick yet: keys and stick are made here.
    Prepare,
    /// Another target.
    Target,
    /// Room was made on the target.
    Room,
    /// Go on without what failed.
    Without,
    /// Leave this source out.
    Skip,
    /// Seal no more; snapshot what is sealed.
    Enough,
}

/// What every menu ends with.
const ALWAYS: [&str; 3] = [
    "Start again from the first step (another stick, another target)",
    "A shell; `exit` comes back here",
    "Power off",
];

impl Way {
    fn words(self) -> &'static str {
        match self {
            Way::Again => "It is put right: try it again",
            Way::Stick => "A key stick is in: look again",
            Way::Prepare => "There is none yet: prepare keys and a key stick here",
            Way::Target => "Choose another target",
            Way::Room => "There is room now: go on",
            Way::Without => "Go on without it",
            Way::Skip => "Leave this source out, go on with the next",
            Way::Enough => "Seal no more: snapshot what is sealed",
        }
    }
}

/// Why a session's steps were not taken to the end.
#[derive(Debug)]
pub enum Stop {
    /// A mishap that nobody was asked about yet.
    Mishap(Error),
    /// The person starts again from the first step.
    FromTheFirst,
    /// The person leaves.
    Leave(EndAction),
    /// The session ends with this error: nobody may, or can, be asked.
    Ended(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Stop {
        Stop::Mishap(e)
    }
}

impl Ui {
    /// Says an error and asks how to go on; a session that may not ask ends with it.
    ///
    /// # Errors
    /// What the person chose, where it leaves the step; `Ended` where nobody can be asked.
    pub fn way_on(self, e: Error, ways: &[Way], out: Out) -> std::result::Result<Way, Stop> {
        if !self.may_ask() || system::told_to_end() {
            return Err(Stop::Ended(e));
        }
        system::reset_stop();
        out.error(&e);
        self.say("Nothing that was acknowledged is lost.");
        let items: Vec<String> = ways
            .iter()
            .map(|w| w.words())
            .chain(ALWAYS)
            .map(Into::into)
            .collect();
        loop {
            let chosen = self
                .choose("What now?", &items, "interactive")
                .map_err(Stop::Ended)?;
            let Some(chosen) = chosen else { continue };
            if let Some(way) = ways.get(chosen) {
                return Ok(*way);
            }
            match chosen - ways.len() {
                0 => return Err(Stop::FromTheFirst),
                1 => self.shell(),
                _ => return Err(Stop::Leave(EndAction::Poweroff)),
            }
        }
    }

    /// A shell in the middle of a session, which waits for its end.
    pub fn shell(self) {
        self.say("A shell as root; `exit` comes back to the rescue session.");
        let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        if let Err(e) = Command::new(&shell).status() {
            let e = Error::new(Kind::Io, "start", shell.display(), e).next("set SHELL");
            self.say(&format!("{e}\n  next: {}", e.what_next()));
        }
        // What was interrupted in the shell was the shell's.
        system::reset_stop();
    }
}
