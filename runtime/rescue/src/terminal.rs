//! The terminal while something is asked: each key comes at once, and none is shown by the kernel.

use nix::sys::termios::{
    tcgetattr, tcsetattr, LocalFlags, SetArg, SpecialCharacterIndices, Termios,
};
use std::os::fd::BorrowedFd;

/// Keys come one by one and unseen, until this is dropped.
pub struct Keys<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Keys<'a> {
    /// Begins anew: what was typed before is forgotten, and Ctrl-C is a signal.
    ///
    /// # Errors
    /// Of the system, where this is no terminal.
    pub fn anew(terminal: BorrowedFd<'a>) -> nix::Result<Self> {
        Keys::begin(terminal, LocalFlags::ISIG, SetArg::TCSAFLUSH)
    }

    /// Goes on with what was typed, and Ctrl-C is a key like others.
    ///
    /// A library that switches the terminal for each key would miss a signal between two of them,
    /// and wait on.
    ///
    /// # Errors
    /// Of the system, where this is no terminal.
    pub fn all(terminal: BorrowedFd<'a>) -> nix::Result<Self> {
        Keys::begin(terminal, LocalFlags::empty(), SetArg::TCSADRAIN)
    }

    fn begin(terminal: BorrowedFd<'a>, signals: LocalFlags, how: SetArg) -> nix::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut mode = before.clone();
        mode.local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ICANON | LocalFlags::ISIG);
        mode.local_flags.insert(signals);
        for (index, value) in [
            (SpecialCharacterIndices::VMIN, 1),
            (SpecialCharacterIndices::VTIME, 0),
        ] {
            if let Some(c) = mode.control_chars.get_mut(index as usize) {
                *c = value;
            }
        }
        tcsetattr(terminal, how, &mode)?;
        Ok(Keys { terminal, before })
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}
