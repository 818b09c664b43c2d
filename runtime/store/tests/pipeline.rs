//! What goes on beside a put: bounded memory, and nothing lost on the way.
#![allow(clippy::unwrap_used)]

mod common;

use asl_core::{ChunkId, Error, Kind, Result, TrustValue};
use asl_store::{
    Mode, OpenParts, PageValue, Part, PlainSealer, ReadSeek, Sealer, Store, StoreOptions,
};
use common::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn threaded(memory: &Arc<Memory>, workers: usize) -> Store {
    Store::create(memory.clone(), b"genesis", [1; 16]).unwrap();
    let options = StoreOptions {
        block_target: MIB as u32,
        workers,
        ..options()
    };
    Store::open(memory.clone(), Mode::Write, options).unwrap()
}

/// Noise, text and much in between, so that every way through the packer is gone.
fn piece(n: u64) -> Vec<u8> {
    match n % 3 {
        0 => noise(200_000, n),
        1 => format!("piece {n}, and so on; ").repeat(2_000).into_bytes(),
        _ => noise(3_000, n),
    }
}

#[test]
fn a_medium_that_stands_still_stops_putting_before_memory_is_full() {
    for workers in [1, 2, 4] {
        let memory = Memory::new();
        let store = threaded(&memory, workers);
        let done = AtomicU64::new(0);
        let pieces = 256;
        std::thread::scope(|scope| {
            let still = memory.stands_still.lock().unwrap();
            scope.spawn(|| {
                for n in 0..pieces {
                    put(&store, &noise(MIB as usize / 4, n));
                    done.fetch_add(MIB / 4, Ordering::SeqCst);
                }
            });
            let (mut before, mut quiet) = (u64::MAX, 0);
            while quiet < 20 {
                std::thread::sleep(Duration::from_millis(20));
                let now = done.load(Ordering::SeqCst);
                quiet = if now == before { quiet + 1 } else { 0 };
                before = now;
            }
            // 4 MiB wait for a worker; blocks of 1 MiB are open, packed, sealed or written.
            let most = (4 + 4 + workers as u64) * MIB;
            assert!(
                before >= 4 * MIB && before <= most,
                "{before} with {workers}"
            );
            assert!(store.pending_bytes() <= most);
            drop(still);
        });
        assert_eq!(done.load(Ordering::SeqCst), pieces * MIB / 4);
        store.commit().unwrap();
        assert_eq!(store.pending_bytes(), 0);
        for n in 0..pieces {
            let bytes = noise(MIB as usize / 4, n);
            assert!(store.get_piece(&id_of(&bytes)).unwrap() == bytes);
        }
    }
}

#[test]
fn puts_from_many_threads_with_commits_between_lose_nothing() {
    let memory = Memory::new();
    let store = threaded(&memory, 2);
    std::thread::scope(|scope| {
        let store = &store;
        for t in 0..4u64 {
            scope.spawn(move || {
                for n in 0..60 {
                    put(store, &piece(t * 50 + n));
                    if n % 10 == t {
                        store.commit().unwrap();
                    }
                }
            });
        }
    });
    store.commit().unwrap();
    drop(store);
    let store = opened(&memory);
    for n in 0..210 {
        assert!(
            store.get_piece(&id_of(&piece(n))).unwrap() == piece(n),
            "{n}"
        );
    }
}

#[test]
fn a_full_medium_under_threads_is_told_and_with_room_again_nothing_is_lost() {
    let memory = Memory::new();
    let store = threaded(&memory, 2);
    *memory.room.lock().unwrap() = Some(3 * MIB);
    let mut put_well = Vec::new();
    let told = (0..10_000).find(|n| {
        let bytes = piece(*n);
        let put = store.put_piece(id_of(&bytes), &blob(), &bytes);
        put_well.extend(put.is_ok().then_some(*n));
        put.is_err()
    });
    assert!(told.is_some(), "a full medium was not told");
    assert!(store.commit().unwrap_err().why().contains("no space left"));
    *memory.room.lock().unwrap() = None;
    store.commit().unwrap();
    assert_eq!(store.pending_bytes(), 0);
    for n in put_well {
        assert!(
            store.get_piece(&id_of(&piece(n))).unwrap() == piece(n),
            "{n}"
        );
    }
}

/// The plain form, whose sealing can be made to fail: at once, or when the bytes are spoilt already.
#[derive(Default)]
struct Failing {
    fails: AtomicBool,
    spoils: bool,
}

impl Sealer for Failing {
    fn epoch(&self) -> u32 {
        0
    }
    fn seal(&self, part: Part, plain: &[u8]) -> Result<Vec<u8>> {
        PlainSealer.seal(part, plain)
    }
    fn seal_in_place(&self, _: Part, bytes: &mut Vec<u8>) -> Result<()> {
        if !self.fails.load(Ordering::SeqCst) {
            return Ok(());
        }
        if self.spoils {
            bytes.clear();
        }
        Err(Error::new(Kind::Io, "seal", "a block", "no randomness"))
    }
    fn open(&self, part: Part, epoch: u32, sealed: &[u8]) -> Result<Vec<u8>> {
        PlainSealer.open(part, epoch, sealed)
    }
    fn open_parts<'a>(
        &self,
        part: Part,
        epoch: u32,
        sealed: Box<dyn ReadSeek + 'a>,
    ) -> Result<Box<dyn OpenParts + 'a>> {
        PlainSealer.open_parts(part, epoch, sealed)
    }
    fn mac(&self, epoch: u32, plain: &[u8]) -> Result<TrustValue> {
        PlainSealer.mac(epoch, plain)
    }
    fn page_mac(&self, epoch: u32, number: u32, page: &[u8]) -> Result<PageValue> {
        PlainSealer.page_mac(epoch, number, page)
    }
    fn merge_macs(&self, epoch: u32, pages: &[PageValue]) -> Result<TrustValue> {
        PlainSealer.merge_macs(epoch, pages)
    }
    fn chunk_id(&self, epoch: u32, bytes: &[u8]) -> Result<ChunkId> {
        PlainSealer.chunk_id(epoch, bytes)
    }
    fn has_shape(&self, part: Part, epoch: u32, sealed: &[u8]) -> bool {
        PlainSealer.has_shape(part, epoch, sealed)
    }
}

fn with_sealer(memory: &Arc<Memory>, sealer: Arc<Failing>, workers: usize) -> Store {
    Store::create(memory.clone(), b"genesis", [1; 16]).unwrap();
    let options = StoreOptions {
        sealer: Some(sealer),
        workers,
        ..options()
    };
    Store::open(memory.clone(), Mode::Write, options).unwrap()
}

#[test]
fn a_block_that_could_not_be_sealed_is_sealed_by_the_next_commit() {
    for workers in [0, 2] {
        let (memory, sealer) = (Memory::new(), Arc::new(Failing::default()));
        let store = with_sealer(&memory, sealer.clone(), workers);
        sealer.fails.store(true, Ordering::SeqCst);
        put(&store, &piece(1));
        assert!(store.commit().unwrap_err().why().contains("no randomness"));
        sealer.fails.store(false, Ordering::SeqCst);
        store.commit().unwrap();
        assert!(store.get_piece(&id_of(&piece(1))).unwrap() == piece(1));
    }
}

#[test]
fn a_block_that_sealing_spoilt_ends_the_writing_and_not_what_was_acknowledged() {
    for workers in [0, 2] {
        let spoils = Failing {
            spoils: true,
            ..Failing::default()
        };
        let (memory, sealer) = (Memory::new(), Arc::new(spoils));
        let store = with_sealer(&memory, sealer.clone(), workers);
        put(&store, &piece(1));
        store.commit().unwrap();
        sealer.fails.store(true, Ordering::SeqCst);
        put(&store, &piece(2));
        let told = store.commit().unwrap_err();
        assert!(told.what_next().contains("open the domain again"), "{told}");
        sealer.fails.store(false, Ordering::SeqCst);
        assert!(store.commit().is_err(), "nothing more is believed");
        drop(store);
        let store = opened(&memory);
        assert!(store.get_piece(&id_of(&piece(1))).unwrap() == piece(1));
        assert!(store.get_piece(&id_of(&piece(2))).is_err());
    }
}
