//! How often a test tries: `scripts/torture` says it, else the test's own, bounded count.

/// What `scripts/torture` sets.
const COUNT: &str = "ASL_TORTURE_COUNT";

/// How many times a test shall try.
///
/// # Panics
/// Where `ASL_TORTURE_COUNT` is set to something else than a number.
pub fn torture_count(usual: u64) -> u64 {
    asked().unwrap_or(usual)
}

/// Whether this is the long form, in which a matrix is tried whole.
///
/// # Panics
/// As [`torture_count`].
pub fn is_torture() -> bool {
    asked().is_some()
}

fn asked() -> Option<u64> {
    let text = std::env::var(COUNT).ok()?;
    let count = text.parse();
    Some(count.unwrap_or_else(|_| panic!("{COUNT} is no number: {text}")))
}
