//! A store that writes checkpoints while it is open: the power gone, or a call failing, at every
//! call, and every image that may be left opened again (reliability.md, P1 and P3). The whole of a
//! domain's life is tried so in asl-host's `tests/life`.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use asl_backend::{Backend, Durability, LogPosition, Name, PosixBackend, Space, WriterLock};
use asl_core::{ChunkId, Result};
use asl_store::{Head, Mode, Store, StoreOptions, VerifyOptions};
use asl_testkit::SimDisk;
use common::{blob, boundaries, id_of, noise, terms};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Images of each crash; the first four are the corners.
const IMAGES: usize = 8;

/// What the flow was told, up to the crash.
#[derive(Clone, Default)]
struct Told {
    head: Option<Head>,
    pieces: BTreeMap<ChunkId, Vec<u8>>,
    roots: Vec<ChunkId>,
    snapshots: u32,
}

/// Checkpoints are written often, so that the power goes while they are.
fn options() -> StoreOptions {
    StoreOptions {
        checkpoint_due: 1,
        ..common::options()
    }
}

fn backend(disk: &SimDisk) -> Arc<dyn Backend> {
    Arc::new(PosixBackend::with_disk(disk.clone()))
}

fn piece(n: u64) -> Vec<u8> {
    match n % 3 {
        0 => noise(700 + n as usize, n),
        1 => format!("text {n} ").repeat(900).into_bytes(),
        _ => noise(30_000, n),
    }
}

fn put(store: &Store, range: std::ops::Range<u64>) -> Result<BTreeMap<ChunkId, Vec<u8>>> {
    range
        .map(|n| {
            let bytes = piece(n);
            let id = id_of(&bytes);
            store.put_piece(id, &blob(), &bytes)?;
            Ok((id, bytes))
        })
        .collect()
}

/// Commits, a root, a snapshot, a reopening, and more of each. Tells what was acknowledged.
fn live(disk: &SimDisk, told: &mut Told) -> Result<()> {
    live_on(&|| backend(disk), told)
}

fn live_on(backend: &dyn Fn() -> Arc<dyn Backend>, told: &mut Told) -> Result<()> {
    let store = Store::open(backend(), Mode::Write, options())?;
    let first = put(&store, 0..4)?;
    told.head = Some(store.commit()?.head);
    told.pieces.extend(first);
    store.begin_root()?;
    let second = put(&store, 2..7)?;
    let (root, ack) = store.finish_root(b"root one")?;
    told.head = Some(ack.head);
    told.pieces.extend(second);
    told.pieces.insert(root, b"root one".to_vec());
    told.roots.push(root);
    store.snapshot(&terms())?;
    told.head = Some(store.head());
    told.snapshots = 1;
    drop(store);
    let store = Store::open(backend(), Mode::Write, options())?;
    store.begin_root()?;
    let third = put(&store, 5..9)?;
    let (root, ack) = store.finish_root(b"root two")?;
    told.head = Some(ack.head);
    told.pieces.extend(third);
    told.roots.push(root);
    store.snapshot(&terms())?;
    told.head = Some(store.head());
    told.snapshots = 2;
    Ok(())
}

/// Opens what a crash left, and holds it against what was told before.
fn judge(disk: &SimDisk, told: &Told, at: &str) -> Store {
    let open = Store::open(backend(disk), Mode::Write, options());
    let store = open.unwrap_or_else(|e| panic!("{at}: {e}"));
    let current = store.current();
    if let Some(head) = told.head {
        assert!(current.head.commit >= head.commit, "{at}: a commit is lost");
    }
    for (id, bytes) in &told.pieces {
        let served = store.get_piece(id).unwrap_or_else(|e| panic!("{at}: {e}"));
        assert_eq!(served, *bytes, "{at}");
    }
    for root in &told.roots {
        assert!(current.roots.contains_key(root), "{at}: a root is lost");
    }
    assert!(current.snapshots.len() >= told.snapshots as usize, "{at}");
    // Nothing half visible: whatever the log names is whole, each manifest agrees with the replay
    // up to it, and replaying the log anew gives CURRENT.
    let report = store
        .verify(
            VerifyOptions {
                data: true,
                ..VerifyOptions::default()
            },
            &|_, _| (),
            &|| false,
        )
        .unwrap_or_else(|e| panic!("{at}: {e}"));
    assert_eq!(report.damage, [], "{at}");
    assert_eq!(report.not_checked, [] as [String; 0], "{at}");
    for (_, manifest) in store.manifests() {
        manifest.unwrap_or_else(|e| panic!("{at}: {e}"));
    }
    // CURRENT is a checkpoint and the replay of what follows it: verify replayed all of the log and
    // compared. Closing wrote a checkpoint, and the next opening begins from it.
    let open = |mode| Store::open(backend(disk), mode, options()).unwrap();
    drop(store);
    assert_eq!(*open(Mode::Read).current(), *current, "{at}");
    let again = open(Mode::Write);
    assert_eq!(*again.current(), *current, "{at}");
    again
}

/// A disk with an empty store, all of it on the medium.
fn made() -> SimDisk {
    let disk = SimDisk::new();
    Store::create(backend(&disk), b"genesis", [1; 16]).unwrap();
    disk
}

/// A copy of it: what is on its medium, which is everything.
fn copy(disk: &SimDisk) -> SimDisk {
    disk.crash_images(0, 1).remove(0)
}

#[test]
fn power_lost_at_any_call_loses_no_acknowledgement_and_leaves_nothing_half_visible() {
    let made = made();
    let whole = copy(&made);
    let before = whole.calls();
    let mut all = Told::default();
    live(&whole, &mut all).unwrap();
    let calls = whole.calls() - before;
    assert!(calls > 100, "{calls} calls");
    let (mut images, mut in_recovery) = (0, 0);
    let mut points = 0;
    for k in boundaries(calls + 1, 40) {
        points += 1;
        let disk = copy(&made);
        disk.halt_at(k);
        let mut told = Told::default();
        let ended = live(&disk, &mut told);
        // After the last acknowledgement only the ledger and the lock are left to be written.
        assert!(ended.is_err() || told.snapshots == 2, "call {k}");
        for (n, image) in disk.crash_images(k, IMAGES).into_iter().enumerate() {
            let at = format!("call {k} of {calls}, image {n}");
            images += 1;
            // The power goes once more, while the store is opened and goes on.
            if n % 4 == 1 {
                in_recovery += 1;
                image.halt_at(1 + (k * 7) % 40);
                let mut more = told.clone();
                let again = live(&image, &mut more);
                assert!(again.is_err(), "{at}: the second crash came too late");
                for twice in image.crash_images(k ^ 0x5eed, 2) {
                    judge(&twice, &more, &format!("{at}, crashed again"));
                }
                continue;
            }
            let store = judge(&image, &told, &at);
            // And life goes on.
            put(&store, 20..22).unwrap();
            let ack = store.commit().unwrap();
            drop(store);
            let store = Store::open(backend(&image), Mode::Write, options()).unwrap();
            assert_eq!(store.head(), ack.head, "{at}");
        }
    }
    println!(
        "{points} crash points of {calls}, {images} images, {in_recovery} crashes in recovery"
    );
}

#[test]
fn a_call_that_fails_once_or_for_ever_loses_nothing_acknowledged() {
    use asl_testkit::Fault;
    let made = made();
    let whole = copy(&made);
    let before = whole.calls();
    live(&whole, &mut Told::default()).unwrap();
    let calls = whole.calls() - before;
    let faults = [
        (Fault::Io, false),
        (Fault::Io, true),
        (Fault::NoSpace, false),
        (Fault::NoSpace, true),
        (Fault::ReadOnly, true),
        (Fault::Short, false),
        (Fault::Interrupted, false),
    ];
    for (fault, for_ever) in faults {
        for k in boundaries(calls, 9) {
            let disk = copy(&made);
            disk.fail_at(k, fault, for_ever);
            let mut told = Told::default();
            let ended = live(&disk, &mut told);
            disk.heal();
            let at = format!("{fault:?} ({for_ever}) at call {k} of {calls}: {ended:?}");
            judge(&disk, &told, &at);
        }
    }
}

/// A backend whose barriers do nothing.
struct Careless(PosixBackend<SimDisk>);

impl Backend for Careless {
    fn append_unit(&self) -> u32 {
        self.0.append_unit()
    }
    fn durability(&self) -> Durability {
        self.0.durability()
    }
    fn space(&self) -> Result<Space> {
        self.0.space()
    }
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.0.put_new(name, bytes)
    }
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.0.put(name, bytes)
    }
    fn get(&self, name: &Name, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
        self.0.get(name, range)
    }
    fn size(&self, name: &Name) -> Result<u64> {
        self.0.size(name)
    }
    fn list(&self, dir: &Name) -> Result<Vec<String>> {
        self.0.list(dir)
    }
    fn remove(&self, name: &Name) -> Result<()> {
        self.0.remove(name)
    }
    fn create_dirs(&self, dirs: &[Name]) -> Result<()> {
        self.0.create_dirs(dirs)
    }
    fn barrier(&self) -> Result<()> {
        Ok(())
    }
    fn append(&self, log: &Name, at: LogPosition, frame: &[u8]) -> Result<()> {
        self.0.append(log, at, frame)
    }
    fn cut_log(&self, log: &Name, at: LogPosition, keep: &Name) -> Result<()> {
        self.0.cut_log(log, at, keep)
    }
    fn read_back(&self, name: &Name) -> Result<Box<dyn std::io::Read + Send>> {
        self.0.read_back(name)
    }
    fn lock_writer(&self, log: &Name) -> Result<WriterLock> {
        self.0.lock_writer(log)
    }
}

#[test]
fn the_matrix_finds_a_store_whose_barriers_do_nothing() {
    let disk = copy(&made());
    let careless =
        || -> Arc<dyn Backend> { Arc::new(Careless(PosixBackend::with_disk(disk.clone()))) };
    let mut told = Told::default();
    live_on(&careless, &mut told).unwrap();
    let lost = |image: &SimDisk| {
        let judged = std::panic::AssertUnwindSafe(|| drop(judge(image, &told, "careless")));
        std::panic::catch_unwind(judged).is_err()
    };
    let images = disk.crash_images(1, IMAGES);
    assert!(lost(&images[0]), "nothing pending reached the medium");
    assert!(!lost(&images[1]), "everything did");
}
