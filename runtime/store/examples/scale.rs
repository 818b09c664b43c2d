//! What a store of many small pieces costs: time and peak memory of each step.
//!
//! `cargo run --release -p asl-store --example scale -- [--dir DIR] [COUNT...]`
//!
//! Makes a plain store of COUNT pieces of 64 bytes (100000, 1000000 and 10000000 where none is
//! given) in real blocks and segments on a real file system, a commit for every 50000, and then
//! runs each step in a process of its own, so that its peak memory is its own.

use asl_backend::PosixBackend;
use asl_core::{ChunkId, SnapshotId, Timestamp};
use asl_store::{
    GcOptions, Mode, PlainSealer, ReadBack, SnapshotTerms, Store, StoreOptions, VerifyOptions,
};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const STEPS: [&str; 10] = [
    "make", "open", "find", "miss", "add", "snapshot", "verify", "replace", "gc", "again",
];
/// Pieces of each commit while the store is made.
const COMMIT: u64 = 50_000;
/// Pieces that are looked up, and that are added.
const ASKED: u64 = 100_000;

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "--step") {
        let [_, step, dir, count] = args.as_slice() else {
            return Err("--step STEP DIR COUNT".into());
        };
        return run(step, Path::new(dir), count.parse()?);
    }
    let kept = tempfile::tempdir()?;
    let mut dir = kept.path().to_path_buf();
    if args.first().is_some_and(|a| a == "--dir") {
        dir = args.drain(..2).nth(1).ok_or("--dir DIR")?.into();
    }
    if args.is_empty() {
        args = ["100000", "1000000", "10000000"].map(String::from).into();
    }
    println!(
        "{:>9} {:9} {:>10} {:>9} {:>9}  of it",
        "pieces", "step", "seconds", "cpu s", "peak MiB"
    );
    for count in args {
        let place = dir.join(&count);
        std::fs::create_dir_all(&place)?;
        for step in STEPS {
            let own = std::env::current_exe()?;
            let mut child = std::process::Command::new(own);
            child.args(["--step", step]).arg(&place).arg(&count);
            if !child.status()?.success() {
                return Err(format!("{step} of {count} failed").into());
            }
        }
        std::fs::remove_dir_all(&place)?;
    }
    Ok(())
}

fn run(step: &str, dir: &Path, count: u64) -> Done<()> {
    let backend = Arc::new(PosixBackend::open(dir)?);
    if step == "make" {
        Store::create(backend.clone(), b"scale", [1; 16])?;
    }
    let mode = match step {
        "open" | "find" | "miss" | "verify" => Mode::Read,
        _ => Mode::Write,
    };
    let begun = Instant::now();
    let options = StoreOptions {
        sealer: Some(Arc::new(PlainSealer)),
        ..StoreOptions::new([2; 16])
    };
    let mut store = Store::open(backend, mode, options)?;
    let opened = begun.elapsed();
    let begun = Instant::now();
    let said = match step {
        "make" => make(&store, 0..count)?,
        "open" => {
            let segments = store.current().segments.len();
            format!("{segments} segments, {} commits", store.head().commit)
        }
        "find" => find(&store, count, true)?,
        "miss" => find(&store, count, false)?,
        "add" => make(&store, count..count + ASKED)?,
        "snapshot" => snapshot(&store)?,
        "replace" => replace(&store, count + ASKED..count + 2 * ASKED)?,
        "gc" => collect(&mut store)?,
        // What was collected is not known any more, and is taken in again.
        "again" => make(&store, count..count + ASKED)?,
        _ => verify(&store)?,
    };
    drop(store);
    let took = if step == "open" {
        opened
    } else {
        begun.elapsed()
    };
    let (cpu, peak) = spent()?;
    let seconds = took.as_secs_f64();
    println!("{count:>9} {step:9} {seconds:>10.4} {cpu:>9.2} {peak:>9.1}  {said}");
    Ok(())
}

fn piece(n: u64) -> ([u8; 64], ChunkId) {
    let mut bytes = [0; 64];
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&n.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    (bytes, blake3::hash(&bytes).into())
}

fn make(store: &Store, pieces: std::ops::Range<u64>) -> Done<String> {
    let tag = "asl.blob".parse()?;
    let (count, first) = (pieces.end - pieces.start, pieces.start);
    store.begin_root()?;
    for n in pieces {
        let (bytes, id) = piece(n);
        store.put_piece(id, &tag, &bytes)?;
        if n % COMMIT == COMMIT - 1 {
            store.commit()?;
        }
    }
    store.finish_root(format!("root of {count} from {first}").as_bytes())?;
    Ok(format!("{} MB stored", store.stored_bytes() / 1_000_000))
}

fn find(store: &Store, count: u64, known: bool) -> Done<String> {
    // A step that is prime to the count, so that every part of the index is asked.
    for n in 0..ASKED {
        let n = n * 7_919 % count + if known { 0 } else { 1 << 40 };
        if store.contains(&piece(n).1)? != known {
            return Err(format!("piece {n} should be known: {known}").into());
        }
    }
    Ok(format!("{ASKED} pieces"))
}

fn snapshot(store: &Store) -> Done<String> {
    let (id, manifest) = store.snapshot(&SnapshotTerms {
        dam: None,
        delegation: None,
        host: [0; 32].into(),
        time: Timestamp::claimed(1),
        read_back: ReadBack::Skipped,
        holes: 0,
    })?;
    Ok(format!("{id}, a manifest of {} bytes", manifest.len()))
}

fn verify(store: &Store) -> Done<String> {
    let report = store.verify(VerifyOptions::default(), &|_, _| (), &|| false)?;
    if let Some(damage) = report.damage.first() {
        return Err(damage.to_string().into());
    }
    Ok(format!(
        "{} blocks, {} segments",
        report.blocks, report.segments
    ))
}

/// A root in place of the one that was added, and a second snapshot.
fn replace(store: &Store, pieces: std::ops::Range<u64>) -> Done<String> {
    make(store, pieces)?;
    snapshot(store)
}

/// Forgets the first snapshot and the root that was added before it, and collects.
fn collect(store: &mut Store) -> Done<String> {
    let current = store.current();
    let [_, added, ..] = current.root_order[..] else {
        return Err("there should be three roots".into());
    };
    drop(current);
    // Later snapshots name every root of their time: the last one names the second no more.
    store.forget(&[], &[added])?;
    snapshot(store)?;
    let old = [SnapshotId::new(1)?, SnapshotId::new(2)?];
    store.forget(&old, &[])?;
    let report = store.gc(GcOptions::default(), &|| false)?;
    if report.blocks == 0 {
        return Err("nothing was collected".into());
    }
    Ok(format!(
        "{} blocks, {} MB, {} segments, {} other files",
        report.blocks,
        report.block_bytes / 1_000_000,
        report.segments,
        report.leftovers
    ))
}

/// Seconds of processor and MiB of memory at most, of this process.
fn spent() -> Done<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().ok_or("no stat")?.split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>()?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let peak = peak
        .and_then(|l| l.split_whitespace().next())
        .ok_or("no VmHWM")?;
    Ok((ticks as f64 / 100.0, peak.parse::<f64>()? / 1024.0))
}
