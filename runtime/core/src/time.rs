//! Clocks and entropy as the floors see them: passed in, never taken.

use crate::{Error, Kind, Result, Value};
use std::time::Duration;

/// A wall time as somebody claims it, in unix nanoseconds, and whether evidence stands behind it.
///
/// architecture.md, "Identity and time": wall times are claims with a quality flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Nanoseconds since 1970-01-01T00:00:00Z; negative before.
    pub unix_ns: i64,
    /// True where signed evidence supports the time, false where a local clock claims it.
    pub evidenced: bool,
}

impl Timestamp {
    /// A time that only a local clock claims.
    pub fn claimed(unix_ns: i64) -> Self {
        Timestamp {
            unix_ns,
            evidenced: false,
        }
    }

    /// Reads the form `[unix_ns, quality]`, quality 0 for claimed and 1 for evidenced.
    ///
    /// # Errors
    /// `Invalid` where the value has another form.
    pub fn from_value(value: &Value) -> Result<Self> {
        let bad = || Error::new(Kind::Invalid, "read", "time", "not [nanoseconds, quality]");
        let items = value.as_array().ok_or_else(bad)?;
        let [ns, quality] = items.as_slice() else {
            return Err(bad());
        };
        let ns = ns
            .as_integer()
            .and_then(|i| i64::try_from(i).ok())
            .ok_or_else(bad)?;
        let quality = quality
            .as_integer()
            .and_then(|i| u8::try_from(i).ok())
            .ok_or_else(bad)?;
        if quality > 1 {
            return Err(bad());
        }
        Ok(Timestamp {
            unix_ns: ns,
            evidenced: quality == 1,
        })
    }
}

impl From<Timestamp> for Value {
    fn from(t: Timestamp) -> Value {
        Value::Array(vec![
            Value::from(t.unix_ns),
            Value::from(u8::from(t.evidenced)),
        ])
    }
}

/// The clock a host provides (seed 000, section 7).
pub trait HostClock: Send + Sync {
    /// The wall clock's claim, in unix nanoseconds.
    fn wall_ns(&self) -> i64;
    /// Time since boot, suspended time included; never goes back within a boot.
    fn since_boot(&self) -> Duration;
}

/// Randomness, passed in so that tests can seed it.
pub trait Entropy: Send + Sync {
    /// Fills the buffer with random bytes fit for keys.
    ///
    /// # Errors
    /// `Io` where the system has none to give.
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}
