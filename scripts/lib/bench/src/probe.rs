//! The probe: what a store of our shape must do at the very least, and nothing else.
//!
//! Read, cut by FastCDC (64 KiB on average), BLAKE3 of each chunk, a set of chunks seen, zstd 1,
//! ChaCha20-Poly1305, BLAKE3 of each 16 MiB block, write and sync it under that name; two threads;
//! the folder synced at the end. No metadata, index, log or snapshot: a limit, not a store. It
//! uses no code of ours, so that it cannot become faster or slower with us.

use crate::data::files_below;
use anyhow::{anyhow, Context, Result};
use fastcdc::v2020::FastCDC;
use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, CHACHA20_POLY1305};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

const THREADS: usize = 2;
const BLOCK: usize = 16 << 20;
/// What a thread takes at a time of a file; cuts fall at its ends too.
const SEGMENT: u64 = 64 << 20;
/// Files up to this are one chunk.
const SMALL: usize = 16 << 10;

/// A part of a file.
struct Part {
    file: PathBuf,
    offset: u64,
    length: u64,
}

/// What the threads share.
struct Shared<'a> {
    out: &'a Path,
    parts: Vec<Part>,
    next: AtomicUsize,
    /// Chunks seen, in shards by their first byte.
    seen: Vec<Mutex<HashSet<blake3::Hash>>>,
    chunks: AtomicU64,
    written: AtomicU64,
}

/// Reads all below `source` into blocks in `out`, a new folder, and says its stages' times.
pub fn run(source: &Path, out: &Path) -> Result<()> {
    let started = Instant::now();
    fs::create_dir_all(out)?;
    let shared = Shared {
        out,
        parts: parts_of(source)?,
        next: AtomicUsize::new(0),
        seen: (0..64).map(|_| Mutex::default()).collect(),
        chunks: AtomicU64::new(0),
        written: AtomicU64::new(0),
    };
    let shared = &shared;
    let times = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| scope.spawn(move || Worker::new(shared, number)?.run()))
            .collect();
        let mut sum = [0.0; STAGES.len()];
        for thread in threads {
            let times = thread.join().map_err(|_| anyhow!("a thread panicked"))??;
            sum.iter_mut()
                .zip(times)
                .for_each(|(sum, time)| *sum += time);
        }
        Ok::<_, anyhow::Error>(sum)
    })?;
    File::open(out)?.sync_all()?;
    print!("{:.2} s; thread seconds:", started.elapsed().as_secs_f64());
    for (stage, seconds) in STAGES.iter().zip(times) {
        print!(" {stage} {seconds:.2}");
    }
    let (chunks, written) = (shared.chunks.load(Relaxed), shared.written.load(Relaxed));
    println!("; {chunks} chunks, {written} bytes written");
    Ok(())
}

fn parts_of(source: &Path) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for (file, size) in files_below(source)? {
        for offset in (0..size).step_by(SEGMENT as usize) {
            let length = SEGMENT.min(size - offset);
            parts.push(Part {
                file: file.clone(),
                offset,
                length,
            });
        }
    }
    Ok(parts)
}

const STAGES: [&str; 8] = [
    "read",
    "cut",
    "hash",
    "look-up",
    "zstd",
    "seal",
    "block-hash",
    "write",
];
const READ: usize = 0;
const CUT: usize = 1;
const HASH: usize = 2;
const LOOK_UP: usize = 3;
const ZSTD: usize = 4;
const SEAL: usize = 5;
const BLOCK_HASH: usize = 6;
const WRITE: usize = 7;

/// One thread, its block and its clock.
struct Worker<'a> {
    shared: &'a Shared<'a>,
    number: usize,
    key: LessSafeKey,
    packer: zstd::bulk::Compressor<'static>,
    sealed: u64,
    block: Vec<u8>,
    times: [f64; STAGES.len()],
    lap: Instant,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared<'a>, number: usize) -> Result<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).map_err(|_| anyhow!("no key"))?;
        Ok(Worker {
            shared,
            number,
            key: LessSafeKey::new(key),
            packer: zstd::bulk::Compressor::new(1)?,
            sealed: 0,
            block: Vec::with_capacity(BLOCK + (1 << 20)),
            times: [0.0; STAGES.len()],
            lap: Instant::now(),
        })
    }

    /// Counts the time since the last lap to a stage.
    fn lap(&mut self, stage: usize) {
        let now = Instant::now();
        self.times[stage] += (now - self.lap).as_secs_f64();
        self.lap = now;
    }

    fn run(mut self) -> Result<[f64; STAGES.len()]> {
        let mut bytes = Vec::new();
        let mut cuts = Vec::new();
        while let Some(part) = self
            .shared
            .parts
            .get(self.shared.next.fetch_add(1, Relaxed))
        {
            let say = || format!("cannot read {}", part.file.display());
            bytes.resize(part.length as usize, 0);
            let file = File::open(&part.file).with_context(say)?;
            file.read_exact_at(&mut bytes, part.offset)
                .with_context(say)?;
            self.lap(READ);
            cuts.clear();
            if bytes.len() <= SMALL {
                cuts.push(0..bytes.len());
            } else {
                let cutter = FastCDC::new(&bytes, 16 << 10, 64 << 10, 256 << 10);
                cuts.extend(cutter.map(|c| c.offset..c.offset + c.length));
            }
            self.lap(CUT);
            for cut in &cuts {
                self.chunk(&bytes[cut.clone()])?;
            }
        }
        self.flush()?;
        Ok(self.times)
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<()> {
        let id = blake3::hash(bytes);
        self.lap(HASH);
        let shard = &self.shared.seen[usize::from(id.as_bytes()[0] % 64)];
        let new = shard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id);
        self.lap(LOOK_UP);
        if !new {
            return Ok(());
        }
        self.shared.chunks.fetch_add(1, Relaxed);
        let mut extent = self.packer.compress(bytes)?;
        if extent.len() >= bytes.len() {
            extent.clear();
            extent.extend_from_slice(bytes);
        }
        self.lap(ZSTD);
        self.sealed += 1;
        let mut nonce = [self.number as u8; 12];
        nonce[..8].copy_from_slice(&self.sealed.to_le_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut extent)
            .map_err(|_| anyhow!("cannot seal"))?;
        self.block.extend_from_slice(&extent);
        self.lap(SEAL);
        if self.block.len() >= BLOCK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let id = blake3::hash(&self.block);
        self.lap(BLOCK_HASH);
        let part = self.shared.out.join(format!("part-{}", self.number));
        let mut file = File::create(&part)?;
        file.write_all(&self.block)?;
        file.sync_data()?;
        fs::rename(&part, self.shared.out.join(id.to_hex().as_str()))?;
        self.shared
            .written
            .fetch_add(self.block.len() as u64, Relaxed);
        self.block.clear();
        self.lap(WRITE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_stores_what_is_new_once_under_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let (source, out) = (dir.path().join("source"), dir.path().join("out"));
        let bytes = crate::content::Random::new("probe").bytes(3 << 20);
        fs::create_dir(&source).unwrap();
        for name in ["one", "the same again"] {
            fs::write(source.join(name), &bytes).unwrap();
        }
        run(&source, &out).unwrap();
        let mut stored = 0;
        for (path, size) in files_below(&out).unwrap() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert_eq!(
                blake3::hash(&fs::read(&path).unwrap()).to_hex().as_str(),
                name
            );
            stored += size;
        }
        let most = bytes.len() as u64 + 16 * (bytes.len() as u64 / (16 << 10) + 1);
        assert!((bytes.len() as u64..=most).contains(&stored), "{stored}");
    }
}
