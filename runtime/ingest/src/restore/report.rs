//! What is told of a part of the restore, to be merged in the order of the tree.

use super::apply::Refusals;
use crate::os::told;
use crate::walk::shown;
use asl_core::{Error, Kind, Result};
use rustix::io::Errno;

/// Problems of some neighbouring entries, from whichever thread met them.
#[derive(Default)]
pub(super) struct Report {
    /// By the place of their entry among all entries.
    problems: Vec<(u64, Vec<u8>, String)>,
    pub(super) damaged: u64,
    pub(super) refusals: Refusals,
}

impl Report {
    pub(super) fn problem(&mut self, place: u64, path: &[u8], why: String) {
        self.problems.push((place, path.to_vec(), why));
    }

    pub(super) fn damage(&mut self, place: u64, path: &[u8], error: &Error) {
        self.damaged += 1;
        self.problem(place, path, format!("damaged: {}", error.why()));
    }

    /// How many problems it has.
    pub(super) fn len(&self) -> usize {
        self.problems.len()
    }

    /// Its problems in the order of the tree.
    pub(super) fn take_problems(&mut self) -> impl Iterator<Item = (Vec<u8>, String)> {
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(|(place, ..)| *place);
        problems.into_iter().map(|(_, path, why)| (path, why))
    }
}

pub(super) fn damaged(path: &[u8], why: &str) -> Error {
    Error::new(Kind::Damage, "restore", shown(path), why)
        .next("run `asl-host verify`; a holder of the domain may have the undamaged blocks")
}

/// What the target said no to, as a problem of one entry.
///
/// # Errors
/// `Io` where it will say no to the rest too: the end of the restore.
pub(super) fn refused(path: &[u8], what: &str, e: Errno) -> Result<String> {
    let fatal = matches!(
        e,
        Errno::NOSPC
            | Errno::DQUOT
            | Errno::ROFS
            | Errno::IO
            | Errno::NODEV
            | Errno::NOMEM
            | Errno::MFILE
            | Errno::NFILE
            | Errno::NOSYS
    );
    if !fatal {
        return Ok(format!("{what}: {}", told(e)));
    }
    let next = match e {
        Errno::NOSPC | Errno::DQUOT => "restore into a larger file system",
        Errno::NOSYS => "a kernel from 5.6 on is needed to restore safely",
        _ => "check the target's medium, and restore into another",
    };
    Err(Error::new(Kind::Io, "restore", shown(path), told(e)).next(next))
}

pub(super) fn interrupted() -> Error {
    Error::new(
        Kind::Interrupted,
        "restore",
        "the root",
        "it was interrupted",
    )
    .next("what is in place is not complete; restore again into a new directory")
}
