//! Repacking: what is reached of a half-dead block is written anew, and nothing that is reached is
//! ever lost, whenever the power goes and whoever writes in between (formats.md, "gc and concurrent
//! writers"). `ASL_TORTURE_COUNT` says how many lives two writers lead; `scripts/torture repack-races`.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use asl_backend::{Backend, PosixBackend};
use asl_core::{BlockId, ChunkId, Kind, Result};
use asl_store::{GcOptions, Mode, RepackReport, Sealer, Store, StoreOptions, VerifyOptions};
use asl_testkit::SimDisk;
use common::{created, id_of, noise, opened, options, terms, Memory, ToySealer};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What each root reaches, as its reader would find out.
type Reached = BTreeMap<ChunkId, BTreeSet<ChunkId>>;

fn small(n: u64) -> Vec<u8> {
    noise(3000, n)
}

/// A root that reaches these pieces and itself.
fn root(store: &Store, name: &str, pieces: &[u64], reached: &mut Reached) -> Result<ChunkId> {
    store.begin_root()?;
    let mut ids: BTreeSet<ChunkId> = BTreeSet::new();
    for n in pieces {
        let bytes = small(*n);
        store.put_piece(id_of(&bytes), &common::blob(), &bytes)?;
        ids.insert(id_of(&bytes));
    }
    let id = id_of(name.as_bytes());
    ids.insert(id);
    // Known before it is acknowledged: a crash may have kept it.
    reached.insert(id, ids);
    store.finish_root(name.as_bytes()).map(|(id, _)| id)
}

fn repack(store: &mut Store, reached: &Reached, held: &BTreeSet<BlockId>) -> Result<RepackReport> {
    let mut live = store.live();
    for id in &store.current().root_order {
        reached[id].iter().for_each(|piece| live.add(piece));
    }
    store.repack(&live, held, false, &|_, _| (), &|| false)
}

fn gc(store: &mut Store) -> u64 {
    store.gc(GcOptions::default(), &|| false).unwrap().blocks
}

/// Twenty pieces in one block, of which the second root reaches two.
fn half_dead(store: &Store, reached: &mut Reached) -> (ChunkId, ChunkId) {
    let all: Vec<u64> = (0..20).collect();
    let first = root(store, "first", &all, reached).unwrap();
    let second = root(store, "second", &[3, 4, 30], reached).unwrap();
    store.forget(&[], &[first]).unwrap();
    (first, second)
}

fn assert_whole(store: &Store, reached: &Reached, at: &str) {
    for root in &store.current().root_order {
        for piece in &reached[root] {
            let bytes = store
                .get_piece(piece)
                .unwrap_or_else(|e| panic!("{at}: {e}"));
            assert_eq!(id_of(&bytes), *piece, "{at}");
        }
    }
    let all = VerifyOptions {
        data: true,
        ..VerifyOptions::default()
    };
    let report = store.verify(all, &|_, _| (), &|| false).unwrap();
    assert_eq!(report.damage, [], "{at}");
}

#[test]
fn what_is_reached_of_a_half_dead_block_is_written_anew_and_the_rest_goes() {
    let backend = Memory::new();
    let mut store = created(&backend);
    let mut reached = Reached::new();
    half_dead(&store, &mut reached);
    let before = store.stored_bytes();
    assert_eq!(gc(&mut store), 0, "a root reaches the block, so it stays");
    let report = repack(&mut store, &reached, &BTreeSet::new()).unwrap();
    assert_eq!(report.blocks.len(), 1);
    assert_eq!((report.live_bytes, report.left), (6000, 0));
    assert_eq!(gc(&mut store), 1);
    assert!(store.stored_bytes() < before - 40_000);
    assert_whole(&store, &reached, "repacked");
    assert!(
        !store.contains(&id_of(&small(9))).unwrap(),
        "it was reached by nobody"
    );
    // What was known stays known, and there is nothing more to do.
    assert!(store.contains(&id_of(&small(3))).unwrap());
    assert_eq!(
        repack(&mut store, &reached, &BTreeSet::new()).unwrap(),
        RepackReport::default()
    );
    drop(store);
    assert_whole(&opened(&backend), &reached, "opened again");
}

#[test]
fn the_order_of_roots_stays_and_a_snapshot_after_it_is_whole() {
    let backend = Memory::new();
    let mut store = created(&backend);
    let mut reached = Reached::new();
    root(&store, "zero", &[40, 41], &mut reached).unwrap();
    half_dead(&store, &mut reached);
    root(&store, "third", &[50, 51], &mut reached).unwrap();
    let order = store.current().root_order.clone();
    repack(&mut store, &reached, &BTreeSet::new()).unwrap();
    assert_eq!(store.current().root_order, order);
    store.snapshot(&terms()).unwrap();
    gc(&mut store);
    assert_whole(&store, &reached, "after a snapshot");
}

#[test]
fn a_block_that_a_snapshot_lists_goes_only_with_it_and_one_that_is_held_is_left_alone() {
    let backend = Memory::new();
    let mut store = created(&backend);
    let mut reached = Reached::new();
    let all: Vec<u64> = (0..20).collect();
    let first = root(&store, "first", &all, &mut reached).unwrap();
    store.snapshot(&terms()).unwrap();
    root(&store, "second", &[3, 4, 30], &mut reached).unwrap();
    store.forget(&[], &[first]).unwrap();
    let listed = store.manifests().remove(0).1.unwrap();
    let held = store.snapshot_blocks(&listed).unwrap().0;
    let report = repack(&mut store, &reached, &held).unwrap();
    assert_eq!(
        (report.blocks.len(), report.left),
        (0, 1),
        "pinned: untouched"
    );
    let report = repack(&mut store, &reached, &BTreeSet::new()).unwrap();
    assert_eq!(report.blocks.len(), 1);
    assert_eq!(gc(&mut store), 0, "the snapshot lists it");
    assert_eq!(store.get_piece(&id_of(&small(9))).unwrap(), small(9));
    store.snapshot(&terms()).unwrap();
    store
        .forget(&["snap-000001".parse().unwrap()], &[])
        .unwrap();
    assert_eq!(gc(&mut store), 1);
    assert_whole(&store, &reached, "the snapshot is forgotten");
}

#[test]
fn a_dry_run_changes_nothing_and_a_stopped_one_goes_on() {
    let backend = Memory::new();
    let mut store = created(&backend);
    let mut reached = Reached::new();
    half_dead(&store, &mut reached);
    let files = backend.objects().clone();
    let mut live = store.live();
    reached.values().flatten().for_each(|id| live.add(id));
    let none = BTreeSet::new();
    let kept = store
        .repack(&live, &none, true, &|_, _| (), &|| false)
        .unwrap();
    assert_eq!(
        kept.blocks.len(),
        0,
        "the first root's pieces were counted too"
    );
    let mut live = store.live();
    let of_second = &reached[&store.current().root_order[0]];
    of_second.iter().for_each(|id| live.add(id));
    let said = store
        .repack(&live, &none, true, &|_, _| (), &|| false)
        .unwrap();
    assert_eq!(said.blocks.len(), 1);
    assert_eq!(*backend.objects(), files);
    let e = store
        .repack(&live, &none, false, &|_, _| (), &|| true)
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Interrupted);
    assert!(
        store.contains(&id_of(&small(9))).unwrap(),
        "nothing is distrusted"
    );
    let done = store
        .repack(&live, &none, false, &|_, _| (), &|| false)
        .unwrap();
    assert_eq!(done, said);
    gc(&mut store);
    assert_whole(&store, &reached, "gone on with");
}

#[test]
fn a_damaged_block_is_not_repacked_and_nothing_of_it_is_lost() {
    let backend = Memory::new();
    let mut store = created(&backend);
    let mut reached = Reached::new();
    half_dead(&store, &mut reached);
    let current = store.current();
    let largest = current
        .blocks
        .iter()
        .max_by_key(|(_, size)| **size)
        .unwrap()
        .0;
    let name = backend.names(&largest.to_string()).remove(0);
    drop(current);
    // In a piece that is still reached: the extent's fourth.
    backend.flip(&name, 3 * 3000 + 100, 1);
    let e = repack(&mut store, &reached, &BTreeSet::new()).unwrap_err();
    assert_eq!(e.kind(), Kind::Damage, "{e}");
    assert_eq!(gc(&mut store), 0);
    backend.flip(&name, 3 * 3000 + 100, 1);
    drop(store);
    let mut store = opened(&backend);
    repack(&mut store, &reached, &BTreeSet::new()).unwrap();
    gc(&mut store);
    assert_whole(&store, &reached, "mended");
}

#[test]
fn without_the_open_identity_nothing_is_repacked() {
    let backend = Memory::new();
    let toy = |opens| StoreOptions {
        sealer: Some(Arc::new(ToySealer {
            epoch: 1,
            opens,
            key: 7,
        })),
        ..options()
    };
    Store::create(backend.clone(), b"genesis", [1; 16]).unwrap();
    let mut store = Store::open(backend.clone(), Mode::Write, toy(false)).unwrap();
    store
        .append(vec![asl_store::Record::Epoch(asl_store::Epoch {
            number: 1,
            recipient: "toy".into(),
            files: Vec::new(),
        })])
        .unwrap();
    let sealer = ToySealer {
        epoch: 1,
        opens: false,
        key: 7,
    };
    let put = |store: &Store, n: u64| {
        let id = sealer.chunk_id(1, &small(n)).unwrap();
        store.put_piece(id, &common::blob(), &small(n)).unwrap();
        id
    };
    store.begin_root().unwrap();
    for n in 0..20 {
        put(&store, n);
    }
    let (first, _) = store.finish_root(b"first").unwrap();
    store.begin_root().unwrap();
    let kept = put(&store, 3);
    let (second, _) = store.finish_root(b"second").unwrap();
    store.forget(&[], &[first]).unwrap();
    let none = BTreeSet::new();
    let again = |store: &mut Store| {
        let mut live = store.live();
        [kept, second].iter().for_each(|id| live.add(id));
        store.repack(&live, &none, false, &|_, _| (), &|| false)
    };
    assert_eq!(again(&mut store).unwrap_err().kind(), Kind::Refused);
    drop(store);
    let mut store = Store::open(backend, Mode::Write, toy(true)).unwrap();
    assert_eq!(again(&mut store).unwrap().blocks.len(), 1);
    gc(&mut store);
    assert_eq!(store.get_piece(&kept).unwrap(), small(3));
}

fn on(disk: &SimDisk) -> Result<Store> {
    let backend: Arc<dyn Backend> = Arc::new(PosixBackend::with_disk(disk.clone()));
    Store::open(backend, Mode::Write, options())
}

fn made() -> (SimDisk, Reached) {
    let disk = SimDisk::new();
    let backend: Arc<dyn Backend> = Arc::new(PosixBackend::with_disk(disk.clone()));
    Store::create(backend, b"genesis", [1; 16]).unwrap();
    let mut reached = Reached::new();
    half_dead(&on(&disk).unwrap(), &mut reached);
    (disk, reached)
}

#[test]
fn p1_power_lost_at_any_call_of_a_repacking_loses_nothing_that_is_reached() {
    let (whole, reached) = made();
    let whole = whole.crash_images(0, 1).remove(0);
    let life = |disk: &SimDisk| -> Result<()> {
        let mut store = on(disk)?;
        repack(&mut store, &reached, &BTreeSet::new())?;
        store.gc(GcOptions::default(), &|| false).map(drop)
    };
    let copy = || whole.crash_images(0, 1).remove(0);
    let counted = copy();
    let before = counted.calls();
    life(&counted).unwrap();
    let calls = counted.calls() - before;
    let mut images = 0;
    let long = asl_testkit::is_torture();
    for k in (1..=calls).step_by(if long { 1 } else { 5 }) {
        let disk = copy();
        disk.halt_at(k);
        drop(life(&disk));
        for (n, image) in disk.crash_images(k, 2).into_iter().enumerate() {
            images += 1;
            let at = format!("call {k} of {calls}, image {n}");
            let store = on(&image).unwrap_or_else(|e| panic!("{at}: {e}"));
            assert_eq!(store.current().root_order.len(), 1, "{at}");
            assert_whole(&store, &reached, &at);
            drop(store);
            if n == 0 {
                life(&image).unwrap_or_else(|e| panic!("{at}, again: {e}"));
                let mut store = on(&image).unwrap();
                assert_whole(&store, &reached, &format!("{at}, again"));
                let left = repack(&mut store, &reached, &BTreeSet::new()).unwrap();
                assert_eq!(left.blocks.len(), 0, "{at}: all was done");
            }
        }
    }
    println!("{calls} calls, {images} images");
    assert!(calls > 20);
}

#[test]
fn two_writers_that_seal_repack_and_collect_in_turn_never_lose_what_a_root_reaches() {
    let lives = asl_testkit::torture_count(20);
    let (mut rewritten, mut collected, mut stopped) = (0, 0, 0);
    for seed in 0..lives {
        let mut dice = asl_testkit::Random::new(seed);
        let mut roll = |n: u64| dice.next_u64() % n;
        let (disk, mut reached) = made();
        for step in 0..10 {
            let at = format!("seed {seed}, step {step}");
            let process = disk.as_process(1 + roll(2) as u32);
            let mut store = on(&process).unwrap_or_else(|e| panic!("{at}: {e}"));
            let other = on(&disk.as_process(9)).unwrap_err();
            assert_eq!(other.kind(), Kind::Concurrent, "{at}");
            match roll(5) {
                0 | 1 => {
                    let pieces: Vec<u64> = (0..1 + roll(12)).map(|_| roll(25)).collect();
                    root(&store, &at, &pieces, &mut reached).unwrap();
                }
                2 => {
                    let order = store.current().root_order.clone();
                    let some = roll(order.len() as u64) as usize;
                    store.forget(&[], &order[..some]).unwrap();
                }
                3 => collected += gc(&mut store),
                _ => {
                    let mut live = store.live();
                    for id in &store.current().root_order {
                        reached[id].iter().for_each(|piece| live.add(piece));
                    }
                    let left = Cell::new(roll(6));
                    let stop = || left.replace(left.get().saturating_sub(1)) == 1;
                    match store.repack(&live, &BTreeSet::new(), false, &|_, _| (), &stop) {
                        Ok(report) => rewritten += report.blocks.len(),
                        Err(e) => {
                            assert_eq!(e.kind(), Kind::Interrupted, "{at}: {e}");
                            stopped += 1;
                        }
                    }
                }
            }
            assert_whole(&store, &reached, &at);
        }
    }
    println!(
        "{lives} lives: {rewritten} blocks written anew, {collected} collected, {stopped} stopped"
    );
    assert!(rewritten > 0 && collected > 0 && stopped > 0);
}
