//! Others who move things while a run goes on: nothing leads outside, in neither direction.

use super::hostile::{dir, file, root};
use super::{describe, Noon, Pieces, Quiet};
use crate::{ingest_tree, restore, IngestOptions, NameTable, RestoreOptions};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Swaps a directory and a link to another one at a name, over and over, until told to stop.
fn swap(name: &Path, outside: &Path, stop: &AtomicBool, swaps: &AtomicU64) {
    let aside = name.with_extension("aside");
    while !stop.load(Ordering::SeqCst) {
        if fs::rename(name, &aside).is_ok() {
            let _ = symlink(outside, name);
            std::thread::yield_now();
            let _ = fs::remove_file(name);
            let _ = fs::rename(&aside, name);
            swaps.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_directory_swapped_for_a_link_does_not_lead_a_restore_outside() {
    let arena = tempfile::tempdir().unwrap();
    let outside = arena.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), b"precious").unwrap();
    let before = describe(&outside);
    let store = Pieces::new();
    let inner: Vec<_> = (0..40)
        .map(|i| file(&store, format!("f{i:02}").as_bytes(), b"evil"))
        .collect();
    let below = dir(&store, b"below", &inner);
    let top = dir(
        &store,
        b"top",
        &[dir(
            &store,
            b"swapped",
            &[below, file(&store, b"victim", b"evil")],
        )],
    );
    let id = root(&store, top, 1000, 1 << 20);
    let swaps = AtomicU64::new(0);
    for round in 0..150 {
        let to = arena.path().join(format!("to-{round}"));
        let stop = AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| swap(&to.join("swapped"), &outside, &stop, &swaps));
            // It may succeed or tell problems; it may not write elsewhere.
            let _ = restore(&store, &id, &to, &RestoreOptions::default(), &Quiet);
            stop.store(true, Ordering::SeqCst);
        });
        assert_eq!(describe(&outside), before);
        let _ = fs::remove_dir_all(&to);
    }
    assert!(swaps.load(Ordering::SeqCst) > 150, "the race was not run");
}

#[test]
fn a_directory_swapped_for_a_link_does_not_lead_an_ingest_outside() {
    let arena = tempfile::tempdir().unwrap();
    let (outside, source) = (arena.path().join("outside"), arena.path().join("source"));
    fs::create_dir_all(outside.join("below")).unwrap();
    fs::create_dir_all(source.join("swapped/below")).unwrap();
    for i in 0..30 {
        fs::write(outside.join(format!("f{i}")), format!("SECRET {i}")).unwrap();
        fs::write(outside.join(format!("below/f{i}")), format!("SECRET {i}")).unwrap();
        fs::write(source.join(format!("swapped/f{i}")), format!("public {i}")).unwrap();
        fs::write(
            source.join(format!("swapped/below/f{i}")),
            format!("public {i}"),
        )
        .unwrap();
    }
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let store = Pieces::new();
    let names = NameTable::default();
    std::thread::scope(|s| {
        s.spawn(|| swap(&source.join("swapped"), &outside, &stop, &swaps));
        for _ in 0..300 {
            let done = ingest_tree(&store, &source, &IngestOptions::new(&names, &Noon), &Quiet);
            assert!(done.is_ok(), "{done:?}");
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(swaps.load(Ordering::SeqCst) > 100, "the race was not run");
    let leaked = store
        .map()
        .values()
        .any(|b| b.windows(6).any(|w| w == b"SECRET"));
    assert!(!leaked, "content from outside the source was stored");
}
