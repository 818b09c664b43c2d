//! The scripted flows: what programs do until the power goes.

use crate::ledger::{bytes, name, Ledger, LOG};
use asl_backend::disk::{Access, Disk, DiskFile};
use asl_backend::{create_whole_on, errno, files, Backend, PosixBackend};
use asl_core::{Error, Kind, Result};
use asl_testkit::SimDisk;
use std::io;
use std::path::Path;

/// A flow is given the disk as the program sees it, and the simulated one behind it.
pub type Flow<D> = fn(&D, &mut Ledger) -> Result<()>;

pub fn all<D: Disk + Clone>() -> Vec<(&'static str, Flow<D>)> {
    vec![
        ("commits", commits),
        ("put_new", put_new),
        ("put_new of a taken name", put_new_taken),
        ("put", put),
        ("append", append),
        ("cut_log", cut_log),
        ("remove", remove),
        ("create_dirs", create_dirs),
        ("a writer after a killed one", after_a_killed_writer),
        ("a frame left in the cache", frame_left_in_the_cache),
        ("create_whole", create_whole),
        ("documents", documents),
    ]
}

fn commits<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let backend = PosixBackend::with_disk(disk.clone());
    let lock = backend.lock_writer(&name(LOG))?;
    for round in 0..3u8 {
        let block = format!("store/blocks/sealed/ab/block-{round}.blk");
        ledger.put_new(&backend, &block, &bytes(10 + round, 3000))?;
        ledger.put_new(&backend, &format!("snapshots/s-{round}"), &bytes(round, 70))?;
        ledger.barrier(&backend)?;
        ledger.append(&backend, &bytes(100 + round, 900))?;
    }
    drop(lock);
    Ok(())
}

fn put_new<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let backend = PosixBackend::with_disk(disk.clone());
    ledger.put_new(&backend, "snapshots/a", &bytes(1, 1300))?;
    ledger.put_new(&backend, "snapshots/empty", b"")?;
    ledger.barrier(&backend)?;
    ledger.put_new(&backend, "store/blocks/sealed/ab/c.blk", &bytes(3, 5000))?;
    ledger.barrier(&backend)
}

fn put_new_taken<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let backend = PosixBackend::with_disk(disk.clone());
    ledger.put_new(&backend, "snapshots/a", &bytes(1, 1300))?;
    expect(Kind::Exists, backend.put_new(&name("snapshots/a"), b"x"))?;
    ledger.barrier(&backend)?;
    expect(Kind::Exists, backend.put_new(&name("snapshots/a"), b"y"))
}

fn put<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let backend = PosixBackend::with_disk(disk.clone());
    for round in 0..3u8 {
        let grown = bytes(round, 600 + 700 * usize::from(round));
        ledger.put(&backend, "tmp/derived.json", &grown)?;
        ledger.put(&backend, "snapshots/derived", &bytes(90 + round, 10))?;
        if round != 1 {
            ledger.barrier(&backend)?;
        }
    }
    Ok(())
}

fn append<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let backend = PosixBackend::with_disk(disk.clone());
    for (round, len) in [1, 511, 512, 2000].into_iter().enumerate() {
        ledger.append(&backend, &bytes(round as u8, len))?;
    }
    Ok(())
}

fn cut_log<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let backend = PosixBackend::with_disk(disk.clone());
    ledger.append(&backend, &bytes(1, 800))?;
    let torn = bytes(50, 1900);
    ledger.tail = torn.clone();
    backend.append(&name(LOG), ledger.end(), &torn)?;
    ledger.may_hold("quarantine/tail", Some(torn));
    backend.cut_log(&name(LOG), ledger.end(), &name("quarantine/tail"))?;
    ledger.tail.clear();
    ledger.holds("quarantine/tail");
    ledger.append(&backend, &bytes(2, 600))
}

fn remove<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let backend = PosixBackend::with_disk(disk.clone());
    ledger.put_new(&backend, "snapshots/a", &bytes(1, 1300))?;
    ledger.put_new(&backend, "snapshots/b", &bytes(2, 1300))?;
    ledger.barrier(&backend)?;
    ledger.remove(&backend, "snapshots/a")?;
    ledger.barrier(&backend)?;
    ledger.put_new(&backend, "snapshots/a", &bytes(3, 300))?;
    ledger.remove(&backend, "snapshots/b")?;
    ledger.barrier(&backend)
}

fn create_dirs<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let backend = PosixBackend::with_disk(disk.clone());
    let dirs = [name("index/segments/seg-000001"), name("auth")];
    backend.create_dirs(&dirs)?;
    let segment = dirs[0].join("data")?;
    // Only once: before, its directory may be missing, and recovery makes no directories.
    backend.barrier()?;
    ledger.put_new(&backend, segment.as_str(), &bytes(4, 900))?;
    ledger.put_new(&backend, "auth/device.pub", &bytes(5, 90))?;
    ledger.barrier(&backend)?;
    // A log in a directory that no barrier has seen yet is durable with its first frame.
    backend.create_dirs(&[name("host/deep")])?;
    let log = name("host/deep/first.log");
    let whole = bytes(6, 300);
    backend.append(&log, Ledger::default().end(), &whole)?;
    ledger.may_hold(log.as_str(), Some(whole));
    ledger.holds(log.as_str());
    Ok(())
}

/// One writer puts and is killed; the power goes only when the next one has relied on it.
fn after_a_killed_writer<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let first = PosixBackend::with_disk(disk.clone());
    ledger.put_new(&first, "snapshots/a", &bytes(1, 1300))?;
    drop(first);
    let next = PosixBackend::with_disk(disk.clone());
    expect(
        Kind::Exists,
        next.put_new(&name("snapshots/a"), &bytes(1, 1300)),
    )?;
    ledger.barrier(&next)
}

/// One writer is killed between writing a frame and syncing it; the next one builds on the frame.
fn frame_left_in_the_cache<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let backend = PosixBackend::with_disk(disk.clone());
    ledger.append(&backend, &bytes(1, 700))?;
    let frame = bytes(2, 1100);
    ledger.tail = frame.clone();
    let written = disk
        .open(Path::new(LOG), Access::Write)
        .and_then(|log| write_all(&log, &frame, 700));
    told(written)?;
    let next = PosixBackend::with_disk(disk.clone());
    let _lock = next.lock_writer(&name(LOG))?;
    if next.size(&name(LOG))? != 1800 {
        return Err(Error::new(Kind::Damage, "find", "the frame", "it is gone"));
    }
    ledger.tail_promised();
    ledger.append(&next, &bytes(3, 600))
}

fn create_whole<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    let files = [
        ("domain/domain.json", bytes(1, 300)),
        ("domain/log/genesis", bytes(2, 1500)),
        ("domain/store/objects/x", bytes(3, 10)),
    ];
    for (at, bytes) in &files {
        ledger.together.push((*at).to_owned());
        ledger.may_hold(at, Some(bytes.clone()));
    }
    for (nonce, fails) in [([1; 16], true), ([2; 16], false)] {
        let outcome = create_whole_on(disk, "domain", &nonce, |building| {
            for dir in ["log", "store", "store/objects"] {
                told(disk.make_dir(&building.join(dir), 0o700))?;
            }
            for (at, bytes) in &files {
                let path = building.join(at.trim_start_matches("domain/"));
                let file = told(disk.create(&path, 0o600))?;
                told(write_all(&file, bytes, 0))?;
            }
            if fails {
                return Err(Error::new(Kind::Refused, "fill", "domain", "as scripted"));
            }
            Ok(())
        });
        if fails {
            expect(Kind::Refused, outcome)?;
        } else {
            outcome?;
        }
    }
    files.iter().for_each(|(at, _)| ledger.holds(at));
    expect(
        Kind::Exists,
        create_whole_on(disk, "domain", &[3; 16], |_| Ok(())),
    )
}

fn documents<D: Disk + Clone>(disk: &D, ledger: &mut Ledger) -> Result<()> {
    for (at, seed, replace) in [
        ("snapshots/dam.cbor", 1, false),
        ("snapshots/policy", 2, true),
        ("snapshots/policy", 3, true),
    ] {
        let bytes = bytes(seed, 700 * usize::from(seed));
        ledger.may_hold(at, Some(bytes.clone()));
        told(files::write_on(disk, Path::new(at), &bytes, 0o600, replace))?;
        ledger.holds(at);
    }
    Ok(())
}

fn write_all(file: &impl DiskFile, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        done += file.write_at(&bytes[done..], at + done as u64)?;
    }
    Ok(())
}

/// An outcome must be of a kind; the power may go in it, too.
fn expect(kind: Kind, outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(e) if e.kind() == kind => Ok(()),
        Err(e) => Err(e),
        Ok(()) => Err(Error::new(Kind::Damage, "refuse", "a call", "it went well")),
    }
}

fn told<T>(outcome: io::Result<T>) -> Result<T> {
    outcome.map_err(|e| errno::explain("write", "a test's file", &e))
}

/// The directories that every flow finds, durable.
pub fn prepared(disk: SimDisk) -> SimDisk {
    let backend = PosixBackend::with_disk(disk.clone());
    backend.create_dirs(&crate::ledger::DIRS.map(name)).unwrap();
    backend.barrier().unwrap();
    disk
}
