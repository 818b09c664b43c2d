//! Letting go: what nothing reaches goes, and nothing else, whatever comes between (formats.md, "gc
//! and concurrent writers").
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use asl_backend::{Backend, PosixBackend};
use asl_core::{ChunkId, Kind, Result, SnapshotId};
use asl_store::{GcOptions, GcReport, Mode, Put, Record, Store, VerifyOptions};
use asl_testkit::SimDisk;
use common::{blob, boundaries, created, id_of, noise, opened, options, put, terms, Memory};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const ALL: GcOptions = GcOptions {
    dry_run: false,
    unfinished: true,
};

fn snap(n: u32) -> SnapshotId {
    SnapshotId::new(n).unwrap()
}

fn gc(store: &mut Store) -> GcReport {
    store.gc(GcOptions::default(), &|| false).unwrap()
}

/// Puts the pieces and names them a root.
fn root(store: &Store, name: &str, pieces: &[Vec<u8>]) -> ChunkId {
    store.begin_root().unwrap();
    for bytes in pieces {
        put(store, bytes);
    }
    store.finish_root(name.as_bytes()).unwrap().0
}

fn unsound(store: &Store) -> Vec<String> {
    let report = store
        .verify(
            VerifyOptions {
                data: true,
                ..VerifyOptions::default()
            },
            &|_, _| (),
            &|| false,
        )
        .unwrap();
    let damage = report.damage.iter().map(ToString::to_string);
    damage.chain(report.not_checked).collect()
}

/// Two roots of one source, a snapshot after each, and a third without the first root.
fn replaced(store: &Store) -> (ChunkId, ChunkId) {
    // What both share lies in a block of its own.
    put(store, &noise(30_000, 2));
    store.commit().unwrap();
    let first = root(store, "one", &[noise(30_000, 1), noise(30_000, 2)]);
    store.snapshot(&terms()).unwrap();
    let second = root(store, "two", &[noise(30_000, 2), noise(30_000, 3)]);
    store.snapshot(&terms()).unwrap();
    store.forget(&[snap(1)], &[first]).unwrap();
    store.snapshot(&terms()).unwrap();
    (first, second)
}

#[test]
fn what_roots_and_kept_snapshots_reach_stays() {
    let backend = Memory::new();
    let mut store = created(&backend);
    let (_, second) = replaced(&store);
    let before = backend.names("blocks/sealed");
    // The second snapshot still lists what the root that was let go reached.
    let report = gc(&mut store);
    assert_eq!((report.blocks, report.orphans), (0, 0));
    assert_eq!(backend.names("blocks/sealed"), before);
    assert_eq!(unsound(&store), [] as [String; 0]);
    store.get_piece(&id_of(&noise(30_000, 1))).unwrap();
    assert!(store.current().roots.contains_key(&second));
}

#[test]
fn what_only_forgotten_snapshots_reached_goes_and_counts_no_longer() {
    let backend = Memory::new();
    let mut store = created(&backend);
    let (first, second) = replaced(&store);
    let before = store.current();
    store.forget(&[snap(2)], &[]).unwrap();
    let lists = before.snapshots[&snap(2)].bytes;
    assert_eq!(store.current().freed, before.freed + lists);
    let files = backend.names("");
    let dry = GcOptions {
        dry_run: true,
        ..GcOptions::default()
    };
    let said = store.gc(dry, &|| false).unwrap();
    assert_eq!(files, backend.names(""), "a dry run removes nothing");
    let report = gc(&mut store);
    assert!(report.blocks > 0 && report.block_bytes > 30_000);
    assert_eq!(
        (said.blocks, said.block_bytes),
        (report.blocks, report.block_bytes)
    );
    assert_eq!((report.orphans, report.orphan_bytes), (0, 0));
    assert_eq!(
        store.head().stored_bytes - store.stored_bytes(),
        store.current().freed
    );
    assert_eq!(
        backend.names("blocks/sealed").len(),
        store.current().blocks.len()
    );
    assert!(backend
        .names("snap-000001")
        .iter()
        .all(|n| n.ends_with("snap-000001")));
    // What is kept is whole; what went is told as not here, and is taken in again when put.
    assert_eq!(unsound(&store), [] as [String; 0]);
    assert_eq!(
        store.get_piece(&id_of(&noise(30_000, 3))).unwrap(),
        noise(30_000, 3)
    );
    let gone = store.get_piece(&id_of(&noise(30_000, 1))).unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound);
    assert!(!store.contains(&id_of(&noise(30_000, 1))).unwrap());
    let digest = store.current().digest();
    drop(store);
    let mut store = opened(&backend);
    assert_eq!(store.current().digest(), digest);
    assert!(
        !store.current().roots.contains_key(&first) && store.current().roots.contains_key(&second)
    );
    assert_eq!(
        gc(&mut store),
        GcReport::default(),
        "twice collected is once collected"
    );
    root(&store, "three", &[noise(30_000, 1)]);
    assert_eq!(
        store.get_piece(&id_of(&noise(30_000, 1))).unwrap(),
        noise(30_000, 1)
    );
    assert_eq!(unsound(&store), [] as [String; 0]);
}

#[test]
fn the_newest_snapshot_an_unknown_one_and_a_read_only_store_are_refused() {
    let backend = Memory::new();
    let mut store = created(&backend);
    replaced(&store);
    let newest = store.forget(&[snap(3)], &[]).unwrap_err();
    assert_eq!(newest.kind(), Kind::Refused);
    assert!(
        newest.why().contains("the newest is always kept"),
        "{newest}"
    );
    assert_eq!(
        store.forget(&[snap(1)], &[]).unwrap_err().kind(),
        Kind::NotFound
    );
    assert_eq!(
        store.forget(&[], &[[1; 32].into()]).unwrap_err().kind(),
        Kind::NotFound
    );
    let head = store.head();
    assert_eq!(store.forget(&[], &[]).unwrap().head, head);
    put(&store, b"on its way");
    let busy = store.gc(ALL, &|| false).unwrap_err();
    assert_eq!(busy.kind(), Kind::Usage);
    drop(store);
    let mut reader = Store::open(backend.clone(), Mode::Read, options()).unwrap();
    assert_eq!(
        reader.forget(&[snap(2)], &[]).unwrap_err().kind(),
        Kind::Refused
    );
    assert_eq!(reader.gc(ALL, &|| false).unwrap_err().kind(), Kind::Refused);
}

#[test]
fn where_it_is_not_known_what_is_reached_nothing_goes() {
    for part in [".set", "snap-000003/blocks", "snap-000003/manifest.cbor"] {
        let backend = Memory::new();
        let store = created(&backend);
        replaced(&store);
        root(&store, "later", &[noise(5000, 9)]);
        store.forget(&[snap(2)], &[]).unwrap();
        drop(store);
        for name in backend.names(part) {
            backend.flip(&name, 20, 3);
        }
        let files = backend.names("");
        let mut store = opened(&backend);
        let e = store.gc(ALL, &|| false).unwrap_err();
        assert_eq!(e.kind(), Kind::Damage, "{part}");
        assert!(e.why().contains("not known what is still needed"), "{e}");
        assert_eq!(backend.names(""), files, "{part}");
    }
}

#[test]
fn what_an_ingest_that_did_not_finish_has_sealed_is_kept_until_it_is_asked_for() {
    let backend = Memory::new();
    let store = created(&backend);
    root(&store, "one", &[noise(30_000, 1)]);
    store.begin_root().unwrap();
    put(&store, &noise(30_000, 2));
    store.commit().unwrap();
    drop(store);
    let mut store = opened(&backend);
    let report = gc(&mut store);
    assert_eq!((report.blocks, report.unfinished), (0, 1));
    assert!(report.unfinished_bytes > 30_000);
    // It goes on, and needs not seal again.
    assert!(store.contains(&id_of(&noise(30_000, 2))).unwrap());
    let report = store.gc(ALL, &|| false).unwrap();
    assert_eq!(
        (report.blocks, report.segments, report.unfinished),
        (1, 1, 0)
    );
    assert!(!store.contains(&id_of(&noise(30_000, 2))).unwrap());
    assert_eq!(unsound(&store), [] as [String; 0]);
}

#[test]
fn what_a_crashed_writer_left_counts_until_it_is_collected() {
    let backend = Memory::new();
    let mut store = created(&backend);
    root(&store, "one", &[noise(30_000, 1)]);
    assert_eq!(store.orphan_bytes().unwrap(), 0);
    let live = backend.names("blocks/sealed");
    let orphan = format!("store/blocks/sealed/ab/{}.blk", "ab".repeat(32));
    let set = format!("store/objects/{}.set", "cd".repeat(32));
    let mut left = vec![orphan, set, "snapshots/snap-000009/blocks".into()];
    left.push("index/segments/seg-000077/segment".into());
    for name in &left {
        backend.objects().insert(name.clone(), vec![1; 1000]);
    }
    assert_eq!(store.orphan_bytes().unwrap(), 1000);
    let report = gc(&mut store);
    assert_eq!(
        (report.orphans, report.orphan_bytes, report.leftovers),
        (1, 1000, 3)
    );
    assert_eq!(backend.names("blocks/sealed"), live);
    assert!(left.iter().all(|n| backend.names(n).is_empty()));
    assert_eq!(store.orphan_bytes().unwrap(), 0);
}

#[test]
fn after_an_intent_nobody_relies_on_the_block_and_who_seals_it_again_saves_it() {
    let backend = Memory::new();
    let mut store = created(&backend);
    replaced(&store);
    store.forget(&[snap(2)], &[]).unwrap();
    // The collection is stopped between its intent and its commit.
    let asked = Cell::new(0);
    let second = || asked.replace(asked.get() + 1) == 1;
    let e = store.gc(GcOptions::default(), &second).unwrap_err();
    assert_eq!(e.kind(), Kind::Interrupted);
    let doomed = store.current().doomed.clone();
    assert!(!doomed.is_empty());
    drop(store);
    let mut store = opened(&backend);
    assert_eq!(store.current().doomed, doomed);
    store.begin_root().unwrap();
    let bytes = noise(30_000, 1);
    assert_eq!(
        store.put_piece(id_of(&bytes), &blob(), &bytes).unwrap(),
        Put::Added
    );
    store.finish_root(b"again").unwrap();
    gc(&mut store);
    assert_eq!(store.get_piece(&id_of(&bytes)).unwrap(), bytes);
    assert!(store.current().doomed.is_empty());
    assert_eq!(unsound(&store), [] as [String; 0]);
}

/// Appends a frame by hand, as another writer might.
fn append(backend: &Arc<Memory>, records: Vec<Record>) -> Result<()> {
    let form = asl_store::LogForm {
        name: "log/append.log".parse()?,
        magic: *b"ASLCLOG\x01",
        kind: "asl.commit/1",
        keep: "log/cut-tails".parse()?,
    };
    let backend = backend.clone();
    let mut log =
        asl_store::FrameLog::open(backend, form, Mode::Write, [9; 16], &[], &mut |_, _| Ok(()))?;
    let values = records.iter().map(Record::to_value).collect();
    log.append(values, 0, Vec::new()).map(drop)
}

#[test]
fn a_log_in_which_something_goes_that_is_still_needed_is_refused() {
    let backend = Memory::new();
    let store = created(&backend);
    replaced(&store);
    let current = store.current();
    drop(store);
    let block = *current.blocks.keys().next().unwrap();
    let segment = *current.segments.keys().next().unwrap();
    let root = *current.roots.keys().next().unwrap();
    let commit = |blocks: Vec<_>, segments: Vec<u32>| Record::GcCommit { blocks, segments };
    let forget = |n: u32, roots: Vec<ChunkId>| Record::Forget {
        snapshots: vec![snap(n)],
        roots,
    };
    let bad = [
        commit(vec![block], vec![]),
        commit(vec![], vec![segment]),
        commit(vec![], vec![99]),
        Record::GcIntent {
            blocks: vec![[5; 32].into()],
        },
        forget(3, vec![]),
        forget(1, vec![]),
        forget(2, vec![[5; 32].into()]),
    ];
    for record in bad {
        let copy = backend.copy();
        append(&copy, vec![record.clone()]).unwrap();
        let e = Store::open(copy, Mode::Read, options()).unwrap_err();
        assert_eq!(e.kind(), Kind::Invalid, "{record:?}: {e}");
    }
    append(&backend, vec![forget(2, vec![root])]).unwrap();
    assert_eq!(opened(&backend).current().snapshots.len(), 1);
}

// --- with the power going, and several writers ---------------------------------------------

fn posix(disk: &SimDisk) -> Arc<dyn Backend> {
    Arc::new(PosixBackend::with_disk(disk.clone()))
}

fn on(disk: &SimDisk) -> Result<Store> {
    Store::open(posix(disk), Mode::Write, options())
}

fn made() -> SimDisk {
    let disk = SimDisk::new();
    Store::create(posix(&disk), b"genesis", [1; 16]).unwrap();
    disk
}

/// What was acknowledged: roots with their pieces, and those of them that were asked to go.
#[derive(Clone, Default)]
struct Told {
    roots: BTreeMap<ChunkId, Vec<Vec<u8>>>,
    going: BTreeSet<ChunkId>,
}

impl Told {
    fn root(&mut self, store: &Store, name: &str, seeds: &[u64]) -> Result<ChunkId> {
        let pieces: Vec<Vec<u8>> = seeds
            .iter()
            .map(|s| noise(9000 + *s as usize, *s))
            .collect();
        store.begin_root()?;
        for bytes in &pieces {
            store.put_piece(id_of(bytes), &blob(), bytes)?;
        }
        let (id, _) = store.finish_root(name.as_bytes())?;
        self.roots.insert(id, pieces);
        self.going.remove(&id);
        Ok(id)
    }

    fn forget(&mut self, store: &Store, snapshots: &[u32], roots: &[ChunkId]) -> Result<()> {
        self.going.extend(roots);
        let ids: Vec<SnapshotId> = snapshots.iter().map(|n| snap(*n)).collect();
        store.forget(&ids, roots).map(drop)
    }

    /// Every root that is there is whole, and none is missing that was not asked to go.
    fn judge(&self, store: &Store, at: &str) {
        let current = store.current();
        for (root, pieces) in &self.roots {
            if !current.roots.contains_key(root) {
                assert!(self.going.contains(root), "{at}: a root is lost");
                continue;
            }
            for bytes in pieces {
                let served = store.get_piece(&id_of(bytes));
                assert_eq!(
                    served.unwrap_or_else(|e| panic!("{at}: {e}")),
                    *bytes,
                    "{at}"
                );
            }
        }
        assert_eq!(unsound(store), [] as [String; 0], "{at}");
        for (_, manifest) in store.manifests() {
            manifest.unwrap_or_else(|e| panic!("{at}: {e}"));
        }
    }
}

/// Roots come and go, are collected, and what went is sealed again.
fn live(disk: &SimDisk, told: &mut Told) -> Result<()> {
    let mut store = on(disk)?;
    let shared = noise(9002, 2);
    store.put_piece(id_of(&shared), &blob(), &shared)?;
    store.commit()?;
    let one = told.root(&store, "one", &[1, 2])?;
    store.snapshot(&terms())?;
    told.root(&store, "two", &[2, 3])?;
    store.snapshot(&terms())?;
    told.forget(&store, &[1], &[one])?;
    store.snapshot(&terms())?;
    told.forget(&store, &[2], &[])?;
    store.gc(GcOptions::default(), &|| false)?;
    told.root(&store, "three", &[1, 3])?;
    store.begin_root()?;
    let bytes = noise(9004, 4);
    store.put_piece(id_of(&bytes), &blob(), &bytes)?;
    store.commit()?;
    drop(store);
    let mut store = on(disk)?;
    store.gc(ALL, &|| false)?;
    told.root(&store, "four", &[4])?;
    Ok(())
}

#[test]
fn power_lost_at_any_call_of_a_collection_loses_nothing_that_is_reached() {
    let made = made();
    let copy = || made.crash_images(0, 1).remove(0);
    let whole = copy();
    let before = whole.calls();
    live(&whole, &mut Told::default()).unwrap();
    let calls = whole.calls() - before;
    let (mut images, mut again) = (0, 0);
    let mut points = 0;
    for k in boundaries(calls, 45) {
        points += 1;
        let disk = copy();
        disk.halt_at(k);
        let mut told = Told::default();
        // After the last acknowledgement only the ledger is left to be written.
        drop(live(&disk, &mut told));
        for (n, image) in disk.crash_images(k, 4).into_iter().enumerate() {
            let at = format!("call {k} of {calls}, image {n}");
            images += 1;
            if n == 3 {
                // The power goes once more, within the collection that recovers.
                again += 1;
                image.halt_at(1 + (k * 7) % 60);
                let recovered = on(&image).and_then(|mut s| s.gc(ALL, &|| false));
                drop(recovered);
                for twice in image.crash_images(k ^ 0x5eed, 2) {
                    told.judge(&on(&twice).unwrap(), &format!("{at}, crashed again"));
                }
                continue;
            }
            let mut store = on(&image).unwrap_or_else(|e| panic!("{at}: {e}"));
            told.judge(&store, &at);
            let report = store
                .gc(ALL, &|| false)
                .unwrap_or_else(|e| panic!("{at}: {e}"));
            told.judge(&store, &format!("{at}, collected: {report:?}"));
            assert_eq!(store.orphan_bytes().unwrap(), 0, "{at}");
            let mut more = told.clone();
            more.root(&store, "after", &[1, 2, 3, 4]).unwrap();
            more.judge(&store, &format!("{at}, sealed again"));
        }
    }
    println!("{points} crash points of {calls}, {images} images, {again} crashes in recovery");
}

/// A small generator: the same seed, the same life.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn two_writers_that_seal_forget_and_collect_in_turn_never_lose_a_block_that_is_relied_on() {
    let lives = asl_testkit::torture_count(40);
    let (mut collected, mut refused, mut stopped) = (0, 0, 0);
    for seed in 0..lives {
        let mut dice = Dice(seed);
        let disk = made();
        let mut told = Told::default();
        for step in 0..12 {
            let at = format!("seed {seed}, step {step}");
            let process = disk.as_process(1 + dice.roll(2) as u32);
            let mut store = on(&process).unwrap_or_else(|e| panic!("{at}: {e}"));
            if dice.roll(3) == 0 {
                // The other one comes while this one writes.
                refused += 1;
                let other = on(&disk.as_process(9)).unwrap_err();
                assert_eq!(other.kind(), Kind::Concurrent, "{at}");
            }
            let current = store.current();
            let pick = |dice: &mut Dice, n: usize| dice.roll(n.max(1) as u64) as usize;
            match dice.roll(6) {
                0 | 1 => {
                    let seeds: Vec<u64> = (0..3).map(|_| dice.roll(8)).collect();
                    told.root(&store, &format!("root {step}"), &seeds).unwrap();
                }
                2 => drop(store.snapshot(&terms()).unwrap()),
                3 => {
                    let all: Vec<SnapshotId> = current.snapshots.keys().copied().collect();
                    let old = all.len().saturating_sub(1);
                    let some = pick(&mut dice, old + 1);
                    let numbers: Vec<u32> = all[..some].iter().map(|s| s.number()).collect();
                    let roots: Vec<ChunkId> = current.roots.keys().copied().collect();
                    let roots = &roots[..pick(&mut dice, roots.len() + 1)];
                    drop(current);
                    told.forget(&store, &numbers, roots).unwrap();
                }
                _ => {
                    drop(current);
                    let left = Cell::new(dice.roll(12));
                    let stop =
                        || left.replace(left.get().saturating_sub(1)) == 0 && left.get() == 0;
                    let options = GcOptions {
                        dry_run: dice.roll(5) == 0,
                        unfinished: dice.roll(2) == 0,
                    };
                    match store.gc(options, &stop) {
                        Ok(report) => collected += report.blocks,
                        Err(e) => {
                            assert_eq!(e.kind(), Kind::Interrupted, "{at}: {e}");
                            stopped += 1;
                        }
                    }
                }
            }
            told.judge(&store, &at);
        }
        let store = on(&disk).unwrap();
        let held: u64 = store.current().blocks.values().sum();
        let files = disk.files();
        let blocks = files.iter().filter(|(name, _)| name.ends_with(".blk"));
        let bytes: u64 = blocks.map(|(_, bytes)| bytes.len() as u64).sum();
        assert_eq!(
            bytes,
            held + store.orphan_bytes().unwrap(),
            "seed {seed}: the lease's count"
        );
    }
    println!("{lives} lives: {collected} blocks collected, {stopped} stopped, {refused} refused");
    assert!(collected > 0 && stopped > 0 && refused > 0);
}
