//! How many small pieces a second become durable: many to a commit, and one by one.

use anyhow::{ensure, Result};
use asl_backend::PosixBackend;
use asl_store::{Mode, PlainSealer, Put, Store, StoreOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of a piece.
const PIECE: usize = 4 << 10;

/// Puts `count` new pieces into a new plain store in `dir`, an empty folder, with a commit after
/// every `group` of them; says how many a second that were, and what the slowest commit took.
pub fn run(dir: &Path, group: u64, count: u64) -> Result<()> {
    ensure!(group > 0 && count > 0, "groups and pieces are 1 or more");
    let backend = Arc::new(PosixBackend::open(dir)?);
    Store::create(backend.clone(), b"commits", [1; 16])?;
    let options = StoreOptions {
        sealer: Some(Arc::new(PlainSealer)),
        ..StoreOptions::new([2; 16])
    };
    let store = Store::open(backend, Mode::Write, options)?;
    let tag = "asl.blob".parse()?;
    let mut bytes = [0; PIECE];
    let (begun, mut slowest) = (Instant::now(), 0f64);
    for n in 1..=count {
        blake3::Hasher::new()
            .update(&n.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        let put = store.put_piece(blake3::hash(&bytes).into(), &tag, &bytes)?;
        ensure!(put == Put::Added, "piece {n} was there already");
        if n % group == 0 || n == count {
            let asked = Instant::now();
            store.commit()?;
            slowest = slowest.max(asked.elapsed().as_secs_f64());
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{count} pieces of {PIECE} bytes, {group} to a commit: {:.0} a second, slowest commit {:.2} ms",
        count as f64 / took,
        slowest * 1e3
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_there_when_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), 3, 10).unwrap();
        let options = StoreOptions {
            sealer: Some(Arc::new(PlainSealer)),
            ..StoreOptions::new([3; 16])
        };
        let backend = Arc::new(PosixBackend::open(dir.path()).unwrap());
        let store = Store::open(backend, Mode::Read, options).unwrap();
        let mut bytes = [0; PIECE];
        for n in 1..=10u64 {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&n.to_le_bytes());
            hasher.finalize_xof().fill(&mut bytes);
            assert!(store.contains(&blake3::hash(&bytes).into()).unwrap(), "{n}");
        }
    }

    #[test]
    fn nothing_to_do_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(run(dir.path(), 0, 10).is_err());
        assert!(run(dir.path(), 10, 0).is_err());
    }
}
