//! The one error shape: what was attempted, on which object, why it failed, what to do next.

use std::borrow::Cow;
use std::fmt;

/// The result of every fallible operation of the runtime.
pub type Result<T> = std::result::Result<T, Error>;

/// The class of an error, which fixes its exit code and its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The operating system or a medium failed.
    Io,
    /// The named object does not exist.
    NotFound,
    /// The named object exists already.
    Exists,
    /// Outside data is malformed or of an unknown version.
    Invalid,
    /// The command was used wrongly, or needs a terminal it does not have.
    Usage,
    /// Authority or a lease does not allow it.
    Refused,
    /// Stored data is not what was written.
    Damage,
    /// Another writer holds the object or was faster.
    Concurrent,
    /// The person interrupted.
    Interrupted,
}

/// The status codes of the host contract (seed 000, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The operation was carried out.
    Ok,
    /// The store or object exists already.
    Exists,
    /// The store or object does not exist.
    NotFound,
    /// The medium failed or holds damaged data.
    IoError,
    /// Another writer changed the store.
    ConcurrentModification,
}

impl Status {
    /// The code as seed 000 spells it.
    pub fn code(self) -> &'static str {
        match self {
            Status::Ok => "STORE_OK",
            Status::Exists => "STORE_EXISTS",
            Status::NotFound => "STORE_NOT_FOUND",
            Status::IoError => "STORE_IO_ERROR",
            Status::ConcurrentModification => "STORE_CONCURRENT_MODIFICATION",
        }
    }
}

/// What was attempted, on which object, why it failed, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    doing: Cow<'static, str>,
    object: String,
    why: String,
    next: String,
}

impl Error {
    /// Makes an error: `doing` is a verb in its base form ("open"), `object` what it was done to.
    pub fn new(
        kind: Kind,
        doing: impl Into<Cow<'static, str>>,
        object: impl fmt::Display,
        why: impl fmt::Display,
    ) -> Self {
        Error {
            kind,
            doing: doing.into(),
            object: object.to_string(),
            why: why.to_string(),
            next: String::new(),
        }
    }

    /// Says what the person can do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// The class of the error.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do next; empty where nothing useful can be said.
    pub fn what_next(&self) -> &str {
        &self.next
    }

    /// Why it failed.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// The object it was done to.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The status of seed 000, where the error is one of the store's.
    pub fn status(&self) -> Option<Status> {
        match self.kind {
            Kind::Io | Kind::Damage => Some(Status::IoError),
            Kind::NotFound => Some(Status::NotFound),
            Kind::Exists => Some(Status::Exists),
            Kind::Concurrent => Some(Status::ConcurrentModification),
            Kind::Invalid | Kind::Usage | Kind::Refused | Kind::Interrupted => None,
        }
    }

    /// The exit code of a command that ends with this error (formats.md, "Decisions of detail").
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Io | Kind::NotFound | Kind::Exists | Kind::Invalid => 1,
            Kind::Usage => 2,
            Kind::Refused => 3,
            Kind::Damage => 4,
            Kind::Concurrent => 6,
            Kind::Interrupted => 130,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.object.is_empty() {
            write!(f, "cannot {}: {}", self.doing, self.why)
        } else {
            write!(f, "cannot {} {}: {}", self.doing, self.object, self.why)
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_attempted_on_what_and_why() {
        let e = Error::new(
            Kind::NotFound,
            "open",
            "domain alice~0123",
            "no such domain",
        )
        .next("list the domains with `asl-host status`");
        assert_eq!(
            e.to_string(),
            "cannot open domain alice~0123: no such domain"
        );
        assert_eq!(e.what_next(), "list the domains with `asl-host status`");
        assert_eq!(e.status().map(Status::code), Some("STORE_NOT_FOUND"));
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let code = |k| Error::new(k, "x", "", "").exit_code();
        assert_eq!(code(Kind::Io), 1);
        assert_eq!(code(Kind::Usage), 2);
        assert_eq!(code(Kind::Refused), 3);
        assert_eq!(code(Kind::Damage), 4);
        assert_eq!(code(Kind::Concurrent), 6);
        assert_eq!(code(Kind::Interrupted), 130);
    }
}
