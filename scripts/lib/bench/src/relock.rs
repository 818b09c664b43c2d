//! Keys whose passphrase costs no time.
//!
//! The peers are measured with a key at hand where they can be (bupstash's key is a file). Ours
//! lies under a passphrase that is meant to take half a second and 128 MiB to try; here it is
//! locked again with the least work, so that figures are of the engine. `scripts/bench` says so,
//! and measures what the passphrase takes as a step of its own.

use anyhow::{Context, Result};
use asl_auth::secrets::{passphrase_lock, passphrase_unlock, MAX_WORK_FACTOR};
use std::fs;
use std::path::Path;

/// Locks the two secrets of a key directory again, with the least work there is.
pub fn run(keys: &Path, words: &Path) -> Result<()> {
    let words = fs::read_to_string(words).context("cannot read the passphrase")?;
    let words = words.lines().next().unwrap_or_default();
    for name in ["seal.age", "operator.age"] {
        let path = keys.join(name);
        let locked = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let secret = passphrase_unlock(&locked, words, MAX_WORK_FACTOR)?;
        // A new file: the old one may be read-only.
        fs::remove_file(&path)?;
        fs::write(&path, passphrase_lock(&secret, words, 1)?)?;
    }
    Ok(())
}
