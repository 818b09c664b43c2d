//! Sealing a source again: what was acknowledged, and has not changed, is not read a second time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Bytes of one file.
const SIZE: u64 = 200_000;

/// Files of random bytes, older than the time within which none is believed unchanged.
fn source(world: &World, dirs: u64, files: u64) -> PathBuf {
    let top = world.path("source");
    for d in 0..dirs {
        let dir = top.join(format!("d{d:02}"));
        std::fs::create_dir_all(&dir).unwrap();
        for f in 0..files {
            let mut random =
                std::io::Read::take(std::fs::File::open("/dev/urandom").unwrap(), SIZE);
            let mut file = std::fs::File::create(dir.join(format!("f{f:02}"))).unwrap();
            std::io::copy(&mut random, &mut file).unwrap();
        }
    }
    std::thread::sleep(Duration::from_millis(2200));
    top
}

/// The kernel's word on which files of a source are opened.
struct Opened(Inotify, Vec<(nix::sys::inotify::WatchDescriptor, PathBuf)>);

impl Opened {
    fn watch(top: &Path) -> Opened {
        let watch = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        let mut dirs = vec![top.to_path_buf()];
        dirs.extend(std::fs::read_dir(top).unwrap().map(|d| d.unwrap().path()));
        let add = |dir: PathBuf| (watch.add_watch(&dir, AddWatchFlags::IN_OPEN).unwrap(), dir);
        let all = dirs.into_iter().map(add).collect();
        Opened(watch, all)
    }

    /// The files opened since, each once.
    fn files(self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        while let Ok(events) = self.0.read_events() {
            for e in events {
                assert!(!e.mask.contains(AddWatchFlags::IN_Q_OVERFLOW));
                if !e.mask.contains(AddWatchFlags::IN_ISDIR) {
                    let dir = self.1.iter().find(|(wd, _)| *wd == e.wd).unwrap();
                    files.insert(dir.1.join(e.name.unwrap()));
                }
            }
        }
        files
    }
}

fn working(world: &World) -> Vec<PathBuf> {
    let of = |p: &PathBuf| p.to_string_lossy().contains("/index/working/files-");
    contents(&world.root()).into_keys().filter(of).collect()
}

fn restored_is(world: &World, to: &str, source: &Path) {
    world.restore(to).run().ok();
    assert_eq!(
        contents(&world.path(to)).into_values().collect::<Vec<_>>(),
        contents(source).into_values().collect::<Vec<_>>()
    );
}

#[test]
fn after_a_kill_only_what_was_not_acknowledged_is_read_again() {
    let world = World::offline().with_domain();
    let (dirs, files) = (20, 60);
    let top = source(&world, dirs, files);
    let mut child = world
        .ingest(&top)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the journal of a commit", || !working(&world).is_empty());
    signal(&child, Signal::SIGKILL);
    assert!(!child.wait().unwrap().success(), "it was killed midway");
    let log = world.asl().words(["log", "verify", "--json"]).run().ok();
    let acknowledged = log.json()["stored_bytes"].as_u64().unwrap();
    assert!(acknowledged > SIZE * 10, "{acknowledged}");

    let watch = Opened::watch(&top);
    let ran = world
        .ingest(&top)
        .words(["--json", "--snapshot"])
        .run()
        .ok();
    let read = watch.files().len() as u64 * SIZE;
    let all = dirs * files * SIZE;
    // Random bytes are stored as they are. A commit more may have come between the journal and the
    // kill, and a file whose pieces lie in two commits is read again.
    let one_commit = 5 * (16 << 20);
    assert!(
        read <= all - acknowledged + one_commit && read < all,
        "{read} of {all} bytes were read again, {acknowledged} were acknowledged"
    );
    assert!(ran.json()["recalled"].as_u64().unwrap() > 0);
    world.verify();
    restored_is(&world, "back", &top);
}

#[test]
fn of_a_source_that_did_not_change_no_file_is_opened() {
    let world = World::offline().with_domain();
    let top = source(&world, 3, 4);
    let seal = |words: &[&str]| {
        world
            .ingest(&top)
            .words(["--json"])
            .words(words)
            .run()
            .ok()
            .json()
    };
    assert_eq!(seal(&[])["recalled"], 0);
    let watch = Opened::watch(&top);
    let again = seal(&["--snapshot"]);
    assert_eq!(watch.files(), BTreeSet::new());
    assert_eq!(again["recalled"], 12);
    assert_eq!(again["bytes"], 12 * SIZE);
    restored_is(&world, "back", &top);

    let watch = Opened::watch(&top);
    assert_eq!(seal(&["--no-cache"])["recalled"], 0);
    assert_eq!(watch.files().len(), 12, "asked for, everything is read");
    assert_eq!(seal(&[])["recalled"], 12);

    std::fs::write(top.join("d01/f02"), b"changed").unwrap();
    let watch = Opened::watch(&top);
    assert_eq!(seal(&["--snapshot"])["recalled"], 11);
    assert_eq!(watch.files(), BTreeSet::from([top.join("d01/f02")]));
    world.verify();
    restored_is(&world, "changed", &top);
}

#[test]
fn a_cache_that_was_changed_is_told_and_not_believed() {
    let world = World::offline().with_domain();
    let top = source(&world, 1, 3);
    world.ingest(&top).run().ok();
    let parts = working(&world);
    assert!(!parts.is_empty());
    let length = std::fs::metadata(&parts[0]).unwrap().len() as usize;
    for byte in [0, 9, 13, 20, 47, 60, 300, length / 2, length - 40] {
        for part in working(&world) {
            let mut bytes = std::fs::read(&part).unwrap();
            // A part of another run may be shorter by a recipient's grease.
            let byte = byte.min(bytes.len() - 1);
            bytes[byte] ^= 0x10;
            std::fs::write(&part, bytes).unwrap();
        }
        let ran = world.ingest(&top).words(["--json"]).run().ok();
        assert_eq!(ran.json()["recalled"], 0, "byte {byte}");
        let ran = world.ingest(&top).words(["--json"]).run().ok();
        assert_eq!(ran.json()["recalled"], 3, "made anew after byte {byte}");
    }
    for part in working(&world) {
        std::fs::write(&part, b"").unwrap();
    }
    let told = world.ingest(&top).run().ok();
    assert!(
        told.err.contains("files cache are not believed"),
        "{}",
        told.err
    );
}

#[test]
fn what_lies_in_a_block_that_is_lost_is_read_again_and_comes_back() {
    let world = World::offline().with_domain();
    let (dirs, files) = (2, 60);
    let top = source(&world, dirs, files);
    world.ingest(&top).run().ok();
    // Not the last one, in which the first root lies.
    let full = |p: &PathBuf| {
        let length = std::fs::metadata(p).unwrap().len();
        p.extension().is_some_and(|e| e == "blk") && length > 15 << 20
    };
    let lost: Vec<PathBuf> = contents(&world.root()).into_keys().filter(full).collect();
    assert_eq!(lost.len(), 1);
    std::fs::remove_file(&lost[0]).unwrap();
    let ran = world
        .ingest(&top)
        .words(["--json", "--snapshot", "--no-read-back"])
        .run()
        .ok();
    let recalled = ran.json()["recalled"].as_u64().unwrap();
    assert!(recalled > 0 && recalled < dirs * files, "{recalled}");
    restored_is(&world, "back", &top);
}
