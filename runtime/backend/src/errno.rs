//! The one table from the system's errors to ours, each with retry or stop.
//!
//! formats.md, "Errors"; seed 000, section 8. The statuses follow from the kinds.

use asl_core::{Error, Kind};
use rustix::io::Errno;
use std::borrow::Cow;
use std::fmt;
use std::io;

/// Whether the same call may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The cause passes by itself, or by what the error says to do next.
    Retry,
    /// Trying again cannot help, and may hide the cause.
    Stop,
    /// The medium itself failed or is gone: what is not synced yet may be lost, too.
    Lost,
}

/// What an error of the system means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The class of our error.
    pub kind: Kind,
    /// Whether to try again.
    pub advice: Advice,
    /// Why, in plain words; empty where the system's own words are all we know.
    pub why: &'static str,
    /// What to do next.
    pub next: &'static str,
}

const fn row(kind: Kind, advice: Advice, why: &'static str, next: &'static str) -> Verdict {
    Verdict {
        kind,
        advice,
        why,
        next,
    }
}

use Advice::{Lost, Retry, Stop};

const FAILING: &str = "stop writing to this medium and look at the kernel's log (`dmesg`)";
const LAYOUT: &str = "stop: something other than this program changed the directory";

/// Every error that has a meaning of its own; all others are `Io` and stop.
const TABLE: &[(&[Errno], Verdict)] = &[
    (
        &[Errno::NOENT],
        row(Kind::NotFound, Stop, "there is no such object", ""),
    ),
    (
        &[Errno::EXIST, Errno::NOTEMPTY],
        row(Kind::Exists, Stop, "it exists already", ""),
    ),
    (
        &[Errno::AGAIN, Errno::BUSY, Errno::TXTBSY, Errno::DEADLK],
        row(
            Kind::Concurrent,
            Retry,
            "another process is using it",
            "wait until the other process is done, then try again",
        ),
    ),
    (
        &[Errno::NOTDIR, Errno::ISDIR, Errno::LOOP, Errno::XDEV],
        row(
            Kind::Damage,
            Stop,
            "a symbolic link, or a file where a directory belongs, or the other way round",
            LAYOUT,
        ),
    ),
    (
        &[Errno::NOSPC, Errno::DQUOT],
        row(
            Kind::Io,
            Retry,
            "no space is left",
            "free space on that medium, then try again",
        ),
    ),
    (
        &[Errno::ROFS],
        row(
            Kind::Io,
            Lost,
            "the file system is read-only",
            "mount it for writing; if the kernel made it read-only, it found an error on it",
        ),
    ),
    (
        &[Errno::IO, Errno::UCLEAN, Errno::ILSEQ, Errno::REMOTEIO],
        row(Kind::Io, Lost, "the medium failed", FAILING),
    ),
    (
        &[
            Errno::NODEV,
            Errno::NXIO,
            Errno::STALE,
            Errno::NOMEDIUM,
            Errno::SHUTDOWN,
            Errno::NOTCONN,
            Errno::CONNABORTED,
        ],
        row(
            Kind::Io,
            Lost,
            "the medium is gone",
            "connect it again, then open the store again",
        ),
    ),
    (
        &[Errno::ACCESS, Errno::PERM],
        row(
            Kind::Io,
            Stop,
            "permission denied",
            "run as the user who owns the directory",
        ),
    ),
    (
        &[Errno::INTR, Errno::TIMEDOUT],
        row(Kind::Io, Retry, "the call was interrupted", "try again"),
    ),
    (
        &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOLCK],
        row(
            Kind::Io,
            Retry,
            "the system is out of memory, files or locks",
            "close other programs, then try again",
        ),
    ),
    (
        &[Errno::FBIG, Errno::OVERFLOW],
        row(
            Kind::Io,
            Stop,
            "too large for the file system",
            "use a file system without that limit",
        ),
    ),
    (
        &[Errno::NAMETOOLONG],
        row(
            Kind::Io,
            Stop,
            "the name is too long for the file system",
            "use a file system with names of 255 bytes",
        ),
    ),
    (
        &[Errno::NOSYS, Errno::OPNOTSUPP],
        row(
            Kind::Io,
            Stop,
            "the file system cannot do this",
            "use a local file system such as ext4, xfs or btrfs",
        ),
    ),
    (
        &[Errno::MLINK],
        row(Kind::Io, Stop, "a directory holds too many entries", ""),
    ),
];

/// Looks an error up in the table.
pub fn verdict(error: &io::Error) -> Verdict {
    if let Some(errno) = Errno::from_io_error(error) {
        return TABLE
            .iter()
            .find(|(errnos, _)| errnos.contains(&errno))
            .map_or(row(Kind::Io, Stop, "", FAILING), |(_, verdict)| *verdict);
    }
    match error.kind() {
        io::ErrorKind::NotFound => row(Kind::NotFound, Stop, "there is no such object", ""),
        io::ErrorKind::AlreadyExists => row(Kind::Exists, Stop, "it exists already", ""),
        io::ErrorKind::InvalidData => row(Kind::Damage, Stop, "it is not a plain file", LAYOUT),
        io::ErrorKind::WriteZero => row(Kind::Io, Stop, "the system wrote nothing", FAILING),
        _ => row(Kind::Io, Stop, "", FAILING),
    }
}

/// Whether it is the room that is missing.
pub(crate) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull || error.kind() == io::ErrorKind::QuotaExceeded
}

/// Makes our error of the system's: `doing` is a verb in its base form, `object` what it was done
/// to.
pub fn explain(
    doing: impl Into<Cow<'static, str>>,
    object: impl fmt::Display,
    error: &io::Error,
) -> Error {
    let verdict = verdict(error);
    let why = match (verdict.why, Errno::from_io_error(error)) {
        ("", _) => error.to_string(),
        (why, Some(errno)) => format!("{why} (os error {})", errno.raw_os_error()),
        (why, None) => why.to_owned(),
    };
    Error::new(verdict.kind, doing, object, why).next(verdict.next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use asl_core::Status;

    #[test]
    fn no_error_stands_in_two_rows() {
        let all: Vec<_> = TABLE.iter().flat_map(|(errnos, _)| errnos.iter()).collect();
        for (i, errno) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(errno), "{errno:?} stands twice");
        }
    }

    #[test]
    fn every_error_number_has_a_status_and_the_same_one_each_time() {
        for code in 1..134 {
            let error = io::Error::from_raw_os_error(code);
            let ours = explain("write", "block x", &error);
            assert!(ours.status().is_some(), "errno {code} has no status");
            assert_eq!(ours, explain("write", "block x", &error));
            assert!(!ours.why().is_empty(), "errno {code} says nothing");
        }
    }

    #[test]
    fn the_statuses_of_seed_000_are_reached() {
        let status = |errno: Errno| explain("x", "y", &errno.into()).status().unwrap();
        assert_eq!(status(Errno::EXIST), Status::Exists);
        assert_eq!(status(Errno::NOENT), Status::NotFound);
        assert_eq!(status(Errno::IO), Status::IoError);
        assert_eq!(status(Errno::LOOP), Status::IoError);
        assert_eq!(status(Errno::AGAIN), Status::ConcurrentModification);
    }

    #[test]
    fn a_full_disk_may_be_tried_again_and_a_failed_one_may_not() {
        assert_eq!(verdict(&Errno::NOSPC.into()).advice, Advice::Retry);
        assert_eq!(verdict(&Errno::DQUOT.into()).advice, Advice::Retry);
        assert_eq!(verdict(&Errno::IO.into()).advice, Advice::Lost);
        assert_eq!(verdict(&Errno::ROFS.into()).advice, Advice::Lost);
        assert_eq!(
            verdict(&io::Error::from_raw_os_error(4095)).advice,
            Advice::Stop
        );
        assert_eq!(verdict(&Errno::FBIG.into()).advice, Advice::Stop);
        assert_eq!(verdict(&Errno::NODEV.into()).advice, Advice::Lost);
    }
}
