//! A location in memory that can be tampered with, and short ways to make a store.
#![allow(dead_code, missing_docs, clippy::unwrap_used)] // each test file uses its part

use asl_backend::{Backend, Durability, LogPosition, Name, Space, WriterLock};
use asl_core::{ChunkId, Error, Kind, Result, TrustValue, TypeTag};
use asl_store::{
    Mode, OpenParts, PageValue, Part, PlainSealer, ReadBack, ReadSeek, Sealer, SnapshotTerms,
    Store, StoreOptions, TrustKey,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
pub struct Memory {
    unit: u32,
    pub objects: Mutex<BTreeMap<String, Vec<u8>>>,
    dirs: Mutex<BTreeSet<String>>,
    locks: Arc<Mutex<BTreeSet<String>>>,
    /// Bytes that `put_new` may still write; `None` for no limit.
    pub room: Mutex<Option<u64>>,
    /// Calls of barrier that fail from now on.
    pub barrier_fails: Mutex<bool>,
    /// Bytes that `get` has answered.
    pub read: AtomicU64,
    /// While it is held, no block gets to the medium.
    pub stands_still: Mutex<()>,
}

impl Memory {
    pub fn new() -> Arc<Memory> {
        Memory::with_unit(1)
    }

    pub fn with_unit(unit: u32) -> Arc<Memory> {
        Arc::new(Memory {
            unit,
            ..Memory::default()
        })
    }

    /// A copy without locks, as another machine would find the bytes.
    pub fn copy(&self) -> Arc<Memory> {
        Arc::new(Memory {
            unit: self.unit,
            objects: Mutex::new(self.objects().clone()),
            dirs: Mutex::new(self.dirs.lock().unwrap().clone()),
            ..Memory::default()
        })
    }

    pub fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap()
    }

    pub fn names(&self, part: &str) -> Vec<String> {
        let of = |n: &&String| n.contains(part);
        self.objects().keys().filter(of).cloned().collect()
    }

    pub fn flip(&self, name: &str, byte: usize, bit: u8) {
        self.objects().get_mut(name).unwrap()[byte] ^= 1 << bit;
    }
}

fn missing(name: &Name) -> Error {
    Error::new(Kind::NotFound, "read", name, "no such object")
}

struct Held(Arc<Mutex<BTreeSet<String>>>, String);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().unwrap().remove(&self.1);
    }
}

impl Backend for Memory {
    fn append_unit(&self) -> u32 {
        self.unit
    }
    fn durability(&self) -> Durability {
        Durability::Volatile
    }
    fn space(&self) -> Result<Space> {
        Ok(Space {
            total: 0,
            free: 0,
            files: None,
        })
    }
    fn put_new(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        if name.as_str().starts_with("store/blocks/") {
            drop(self.stands_still.lock().unwrap());
        }
        let parent = name.parent().unwrap().to_string();
        if !self.dirs.lock().unwrap().contains(&parent) {
            return Err(missing(name));
        }
        if self.objects().contains_key(name.as_str()) {
            return Err(Error::new(Kind::Exists, "put", name, "it is there"));
        }
        if let Some(room) = &mut *self.room.lock().unwrap() {
            match room.checked_sub(bytes.len() as u64) {
                Some(left) => *room = left,
                None => return Err(Error::new(Kind::Io, "put", name, "no space left")),
            }
        }
        self.objects().insert(name.to_string(), bytes.to_vec());
        Ok(())
    }
    fn put(&self, name: &Name, bytes: &[u8]) -> Result<()> {
        self.objects().insert(name.to_string(), bytes.to_vec());
        Ok(())
    }
    fn get(&self, name: &Name, range: Range<u64>) -> Result<Vec<u8>> {
        let objects = self.objects();
        let bytes = objects.get(name.as_str()).ok_or_else(|| missing(name))?;
        let end = (range.end as usize).min(bytes.len());
        let part = bytes[(range.start as usize).min(end)..end].to_vec();
        self.read.fetch_add(part.len() as u64, Ordering::SeqCst);
        Ok(part)
    }
    fn size(&self, name: &Name) -> Result<u64> {
        let objects = self.objects();
        let bytes = objects.get(name.as_str()).ok_or_else(|| missing(name))?;
        Ok(bytes.len() as u64)
    }
    fn list(&self, dir: &Name) -> Result<Vec<String>> {
        let prefix = format!("{dir}/");
        let (objects, dirs) = (self.objects(), self.dirs.lock().unwrap());
        let below = |n: &String| {
            let rest = n.strip_prefix(&prefix)?;
            rest.split('/').next().map(str::to_string)
        };
        let found: BTreeSet<String> = objects
            .keys()
            .chain(dirs.iter())
            .filter_map(below)
            .collect();
        Ok(found.into_iter().collect())
    }
    fn remove(&self, name: &Name) -> Result<()> {
        let gone = self.objects().remove(name.as_str());
        gone.map(drop).ok_or_else(|| missing(name))
    }
    fn create_dirs(&self, dirs: &[Name]) -> Result<()> {
        let names = dirs.iter().map(Name::to_string);
        self.dirs.lock().unwrap().extend(names);
        Ok(())
    }
    fn barrier(&self) -> Result<()> {
        if *self.barrier_fails.lock().unwrap() {
            return Err(Error::new(Kind::Io, "sync", "the location", "it failed"));
        }
        Ok(())
    }
    fn append(&self, log: &Name, at: LogPosition, frame: &[u8]) -> Result<()> {
        assert_eq!(at.byte % u64::from(self.unit), 0, "{log}");
        assert_eq!(frame.len() % self.unit as usize, 0, "{log}");
        let mut objects = self.objects();
        let bytes = objects.entry(log.to_string()).or_default();
        if bytes.len() as u64 != at.byte {
            return Err(Error::new(
                Kind::Concurrent,
                "append to",
                log,
                "it ends elsewhere",
            ));
        }
        bytes.extend_from_slice(frame);
        Ok(())
    }
    fn cut_log(&self, log: &Name, at: LogPosition, keep: &Name) -> Result<()> {
        let mut objects = self.objects();
        let bytes = objects.get_mut(log.as_str()).ok_or_else(|| missing(log))?;
        let tail = bytes.split_off(at.byte as usize);
        objects.insert(keep.to_string(), tail);
        Ok(())
    }
    fn read_back(&self, name: &Name) -> Result<Box<dyn Read + Send>> {
        let bytes = self.get(name, 0..u64::MAX)?;
        Ok(Box::new(std::io::Cursor::new(bytes)))
    }
    fn lock_writer(&self, log: &Name) -> Result<WriterLock> {
        if !self.locks.lock().unwrap().insert(log.to_string()) {
            return Err(Error::new(
                Kind::Concurrent,
                "write to",
                log,
                "another writer holds it",
            ));
        }
        self.objects().entry(log.to_string()).or_default();
        Ok(Box::new(Held(Arc::clone(&self.locks), log.to_string())))
    }
}

/// A sealer with keys, for the store's rules about epochs; it hides nothing.
#[derive(Clone, Copy)]
pub struct ToySealer {
    pub epoch: u32,
    pub opens: bool,
    pub key: u8,
}

impl ToySealer {
    fn key(&self, epoch: u32) -> [u8; 32] {
        let mut key = [self.key; 32];
        key[..4].copy_from_slice(&epoch.to_le_bytes());
        key
    }
}

impl Sealer for ToySealer {
    fn epoch(&self) -> u32 {
        self.epoch
    }
    fn seal(&self, _: Part, plain: &[u8]) -> Result<Vec<u8>> {
        let mut out = b"TOY".to_vec();
        out.extend(plain.iter().map(|b| b ^ 0x5a));
        Ok(out)
    }
    fn open(&self, part: Part, _: u32, sealed: &[u8]) -> Result<Vec<u8>> {
        if part == Part::Block && !self.opens {
            return Err(Error::new(
                Kind::Refused,
                "open",
                "a block",
                "no open identity",
            ));
        }
        match sealed.strip_prefix(b"TOY") {
            Some(rest) => Ok(rest.iter().map(|b| b ^ 0x5a).collect()),
            None => Err(Error::new(Kind::Damage, "open", "a part", "not sealed")),
        }
    }
    fn open_parts<'a>(
        &self,
        part: Part,
        epoch: u32,
        mut sealed: Box<dyn ReadSeek + 'a>,
    ) -> Result<Box<dyn OpenParts + 'a>> {
        let mut all = Vec::new();
        sealed.read_to_end(&mut all).unwrap();
        let plain = self.open(part, epoch, &all)?;
        PlainSealer.open_parts(part, 0, Box::new(std::io::Cursor::new(plain)))
    }
    fn mac(&self, epoch: u32, plain: &[u8]) -> Result<TrustValue> {
        Ok(blake3::keyed_hash(&self.key(epoch), plain).into())
    }
    fn page_mac(&self, epoch: u32, number: u32, page: &[u8]) -> Result<PageValue> {
        TrustKey::Keyed(&self.key(epoch)).page(number, page)
    }
    fn merge_macs(&self, epoch: u32, pages: &[PageValue]) -> Result<TrustValue> {
        TrustKey::Keyed(&self.key(epoch)).merge(pages)
    }
    fn chunk_id(&self, epoch: u32, bytes: &[u8]) -> Result<ChunkId> {
        Ok(blake3::keyed_hash(&self.key(epoch + 1000), bytes).into())
    }
    fn has_shape(&self, _: Part, _: u32, sealed: &[u8]) -> bool {
        sealed.starts_with(b"TOY")
    }
}

pub fn blob() -> TypeTag {
    "asl.blob".parse().unwrap()
}

pub fn id_of(bytes: &[u8]) -> ChunkId {
    blake3::hash(bytes).into()
}

/// Bytes that do not compress.
pub fn noise(n: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; n];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// Options with small blocks, the plain sealer, and no thread, so that calls come in one order.
pub fn options() -> StoreOptions {
    StoreOptions {
        block_target: 64 << 10,
        sealer: Some(Arc::new(PlainSealer)),
        workers: 0,
        ..StoreOptions::new([7; 16])
    }
}

pub fn created(backend: &Arc<Memory>) -> Store {
    Store::create(backend.clone(), b"genesis", [1; 16]).unwrap();
    opened(backend)
}

pub fn opened(backend: &Arc<Memory>) -> Store {
    Store::open(backend.clone(), Mode::Write, options()).unwrap()
}

pub fn put(store: &Store, bytes: &[u8]) -> ChunkId {
    let id = id_of(bytes);
    store.put_piece(id, &blob(), bytes).unwrap();
    id
}

pub fn terms() -> SnapshotTerms {
    SnapshotTerms {
        dam: None,
        delegation: None,
        host: [9; 32].into(),
        time: asl_core::Timestamp::claimed(1),
        read_back: ReadBack::Done,
        holes: 0,
    }
}

/// The boundaries of a matrix: every one in the long form, else so many of them, evenly. The last is
/// always among them.
pub fn boundaries(last: u64, bounded: u64) -> impl Iterator<Item = u64> {
    let step = match asl_testkit::is_torture() {
        true => 1,
        false => last.div_ceil(bounded),
    };
    (1..=last).rev().step_by(usize::try_from(step).unwrap())
}
