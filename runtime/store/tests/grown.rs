//! A slow source makes no dust (formats.md, "Blocks"): small last blocks are sealed again, grown, and
//! nothing that somebody needs goes with the small ones.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use asl_backend::PosixBackend;
use asl_core::{BlockId, ChunkId, Result};
use asl_store::{GcOptions, Mode, Put, Record, Store, StoreOptions, VerifyOptions};
use asl_testkit::SimDisk;
use common::{blob, id_of, noise, opened, options, put, terms, Memory};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Blocks of the usual size, of which one of 256 KiB is small.
fn usual(memory: &Arc<Memory>) -> Store {
    let options = StoreOptions {
        block_target: 16 << 20,
        ..options()
    };
    Store::open(memory.clone(), Mode::Write, options).unwrap()
}

fn created() -> (Arc<Memory>, Store) {
    let memory = Memory::new();
    Store::create(memory.clone(), b"genesis", [1; 16]).unwrap();
    let store = usual(&memory);
    (memory, store)
}

fn slow(n: u64) -> Vec<u8> {
    noise(10 << 10, n)
}

/// A piece, and its commit.
fn drip(store: &Store, n: u64) -> ChunkId {
    let id = put(store, &slow(n));
    store.commit().unwrap();
    id
}

fn live(store: &Store) -> BTreeSet<BlockId> {
    store.current().blocks.keys().copied().collect()
}

fn sound(store: &Store) {
    let options = VerifyOptions {
        data: true,
        ..VerifyOptions::default()
    };
    let report = store.verify(options, &|_, _| (), &|| false).unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(report.not_checked, [] as [String; 0]);
}

#[test]
fn forty_commits_of_a_slow_source_end_in_few_blocks() {
    let (memory, store) = created();
    for n in 0..40 {
        drip(&store, n);
    }
    // One that has grown large enough, the last one, and the one before it, which the next commit
    // lets go.
    assert_eq!(live(&store).len(), 3);
    assert_eq!(memory.names("blocks/sealed").len(), 3);
    for n in 0..40 {
        assert!(store.get_piece(&id_of(&slow(n))).unwrap() == slow(n));
    }
    drop(store);
    let store = usual(&memory);
    assert_eq!(live(&store).len(), 3);
    sound(&store);
    for n in 0..40 {
        assert!(store.get_piece(&id_of(&slow(n))).unwrap() == slow(n));
        assert_eq!(
            store.put_piece(id_of(&slow(n)), &blob(), &slow(n)).unwrap(),
            Put::Known
        );
    }
}

#[test]
fn a_block_that_is_no_longer_small_is_not_written_again() {
    let (_, store) = created();
    put(&store, &noise(2 << 20, 1));
    store.commit().unwrap();
    let large = live(&store);
    let stored = store.stored_bytes();
    drip(&store, 2);
    assert!(live(&store).is_superset(&large));
    assert!(store.stored_bytes() - stored < 16 << 10);
}

#[test]
fn what_a_root_reaches_is_never_replaced() {
    let (memory, mut store) = created();
    store.begin_root().unwrap();
    put(&store, &slow(1));
    let (root, _) = store.finish_root(b"root").unwrap();
    store.snapshot(&terms()).unwrap();
    let pinned = live(&store);
    for n in 2..9 {
        drip(&store, n);
        assert!(live(&store).is_superset(&pinned), "{n}");
    }
    // What belongs to no root goes with gc; the root's own stays.
    store
        .gc(
            GcOptions {
                unfinished: true,
                ..GcOptions::default()
            },
            &|| false,
        )
        .unwrap();
    assert_eq!(live(&store), pinned);
    drop(store);
    let store = opened(&memory);
    sound(&store);
    assert!(store.current().roots.contains_key(&root));
    assert!(store.get_piece(&id_of(&slow(1))).unwrap() == slow(1));
}

#[test]
fn a_slow_root_reaches_the_grown_blocks_and_not_the_small_ones() {
    let (memory, mut store) = created();
    drip(&store, 0);
    store.begin_root().unwrap();
    for n in 1..6 {
        drip(&store, n);
        // Known already, and relied on while its block is still the small one.
        put(&store, &slow(0));
    }
    store.finish_root(b"root").unwrap();
    store.snapshot(&terms()).unwrap();
    store.gc(GcOptions::default(), &|| false).unwrap();
    sound(&store);
    assert_eq!(live(&store).len(), 1, "one block holds all of it");
    drop(store);
    let store = opened(&memory);
    for n in 0..6 {
        assert!(store.get_piece(&id_of(&slow(n))).unwrap() == slow(n), "{n}");
    }
}

#[test]
fn a_small_block_that_a_frame_relies_on_stays_and_is_named() {
    let (_, store) = created();
    drip(&store, 1);
    let small = live(&store);
    // Relied on outside of any root, in the frame that would let it go.
    put(&store, &slow(1));
    drip(&store, 2);
    drip(&store, 3);
    drip(&store, 4);
    assert!(live(&store).is_superset(&small));
    sound(&store);
}

#[test]
fn what_gc_took_between_two_commits_is_no_trouble_to_the_second() {
    let (_, mut store) = created();
    drip(&store, 1);
    let all = GcOptions {
        unfinished: true,
        ..GcOptions::default()
    };
    store.gc(all, &|| false).unwrap();
    assert_eq!(live(&store).len(), 0);
    drip(&store, 2);
    sound(&store);
    assert!(store.get_piece(&id_of(&slow(2))).unwrap() == slow(2));
}

#[test]
fn the_log_says_first_what_is_to_go_and_then_that_it_went() {
    let (memory, store) = created();
    for n in 0..4 {
        drip(&store, n);
    }
    drop(store);
    let mut told = Vec::new();
    asl_store::history(memory, &mut |past| {
        match &past.record {
            Record::GcIntent { blocks } => told.push((true, blocks.clone())),
            Record::GcCommit { blocks, segments } => {
                assert_eq!(segments, &[] as &[u32]);
                told.push((false, blocks.clone()));
            }
            _ => {}
        }
        Ok(())
    })
    .unwrap();
    let intents: Vec<_> = told
        .iter()
        .filter(|(intent, _)| *intent)
        .map(|(_, b)| b)
        .collect();
    let commits: Vec<_> = told
        .iter()
        .filter(|(intent, _)| !*intent)
        .map(|(_, b)| b)
        .collect();
    assert_eq!((intents.len(), commits.len()), (3, 2));
    assert_eq!(intents[..2], commits[..]);
}

/// Slow commits, a root over what came before and after its beginning, and one commit more.
fn drips(disk: &SimDisk, told: &mut Vec<u64>) -> Result<()> {
    let options = StoreOptions {
        block_target: 16 << 20,
        ..options()
    };
    let backend = Arc::new(PosixBackend::with_disk(disk.clone()));
    let store = Store::open(backend, Mode::Write, options)?;
    for n in 0..5 {
        if n == 2 {
            store.begin_root()?;
        }
        store.put_piece(id_of(&slow(n)), &blob(), &slow(n))?;
        match n {
            3 => store.finish_root(b"root").map(drop)?,
            _ => store.commit().map(drop)?,
        }
        told.push(n);
    }
    Ok(())
}

#[test]
fn the_power_gone_at_any_call_loses_nothing_that_was_acknowledged() {
    let made = SimDisk::new();
    let posix = |disk: &SimDisk| Arc::new(PosixBackend::with_disk(disk.clone()));
    Store::create(posix(&made), b"genesis", [1; 16]).unwrap();
    let copy = || made.crash_images(0, 1).remove(0);
    let whole = copy();
    let before = whole.calls();
    drips(&whole, &mut Vec::new()).unwrap();
    let calls = whole.calls() - before;
    let mut images = 0;
    for k in 1..=calls {
        let (disk, mut told) = (copy(), Vec::new());
        disk.halt_at(k);
        drop(drips(&disk, &mut told));
        for image in disk.crash_images(k, 2) {
            images += 1;
            let store = Store::open(posix(&image), Mode::Write, options()).unwrap();
            for n in &told {
                let served = store.get_piece(&id_of(&slow(*n)));
                let served = served.unwrap_or_else(|e| panic!("call {k}, piece {n}: {e}"));
                assert!(served == slow(*n), "call {k}, piece {n}");
            }
            sound(&store);
        }
    }
    println!("{calls} crash points, {images} images");
    assert!(calls > 40);
}
