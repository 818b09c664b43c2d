//! Little-endian reading and writing for the binary tables of blocks, segments and frames.
//!
//! Every length is checked before it is used: outside data can make a reader refuse, never panic.

use asl_core::{Error, Kind, Result};

/// Reads a table front to back; `what` names it in errors.
pub(crate) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Reader { what, rest: bytes }
    }

    pub(crate) fn bad(&self, why: &str) -> Error {
        invalid(self.what, why)
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or_else(|| invalid(self.what, "ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let what = self.what;
        let bytes = self.take(N)?;
        <[u8; N]>::try_from(bytes).map_err(|_| invalid(what, "ends too early"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads a number that must be zero, so that a later version can give it a meaning.
    pub(crate) fn zero(&mut self, n: usize) -> Result<()> {
        let what = self.what;
        if self.take(n)?.iter().any(|b| *b != 0) {
            return Err(invalid(what, "a reserved byte is not zero"));
        }
        Ok(())
    }

    pub(crate) fn magic(&mut self, magic: &[u8; 8]) -> Result<()> {
        if self.take(8)? != magic {
            return Err(invalid(self.what, "wrong magic: this is something else"));
        }
        Ok(())
    }

    pub(crate) fn version(&mut self, known: u16) -> Result<()> {
        let found = self.u16()?;
        if found != known {
            return Err(newer(self.what, &format!("version {found}")));
        }
        Ok(())
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn end(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(invalid(self.what, "trailing bytes"))
        }
    }
}

/// Outside bytes that break a format's rule.
pub(crate) fn invalid(what: &str, why: &str) -> Error {
    Error::new(Kind::Invalid, "read", what, why)
}

/// Outside bytes that a later version wrote, which this one must not guess at.
pub(crate) fn newer(what: &str, found: &str) -> Error {
    Error::new(
        Kind::Invalid,
        "read",
        what,
        format!("{found} is not known here: written by a newer asl-host"),
    )
    .next("read it with the version of asl-host that wrote it, or a later one")
}

/// A length that a caller has bounded already, as the tables store it.
///
/// # Errors
/// `Invalid` where it exceeds 32 bits, which the caps of this crate exclude.
pub(crate) fn len32(what: &'static str, n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| invalid(what, "longer than 32 bits can say"))
}
