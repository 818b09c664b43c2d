//! What this crate's tests stand on, and its tests through the public door.

mod hostile;
mod looking;
mod order;
mod races;
mod remembering;
mod rights;
mod roundtrip;
mod running;

use crate::{Acknowledged, Chunking, PieceStore, Progress, Watch};
use asl_core::{BlockId, ChunkId, Error, FrameHash, HostClock, Kind, LogSeq, Result, TypeTag};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// A piece store in memory, with keyed ids; it acknowledges every 8 new pieces.
pub(crate) struct Pieces {
    map: Mutex<HashMap<ChunkId, Vec<u8>>>,
    chunking: Chunking,
    pub puts: AtomicU64,
    pub gets: AtomicU64,
    /// Puts that fail from this number on.
    pub full_after: AtomicU64,
    /// Blocks that the root under way reaches.
    pub reached: Mutex<BTreeSet<BlockId>>,
    /// Blocks that are gone.
    pub lost: Mutex<BTreeSet<BlockId>>,
    pub working: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Pieces {
    pub(crate) fn new() -> Self {
        Pieces::with_chunking(16 << 10, 64 << 10, 256 << 10)
    }

    pub(crate) fn with_chunking(min: u32, avg: u32, max: u32) -> Self {
        Pieces {
            map: Mutex::default(),
            chunking: Chunking { min, avg, max },
            puts: AtomicU64::new(0),
            gets: AtomicU64::new(0),
            full_after: AtomicU64::new(u64::MAX),
            reached: Mutex::default(),
            lost: Mutex::default(),
            working: Mutex::default(),
        }
    }

    pub(crate) fn map(&self) -> MutexGuard<'_, HashMap<ChunkId, Vec<u8>>> {
        self.map.lock().unwrap()
    }

    pub(crate) fn len(&self) -> usize {
        self.map().len()
    }

    pub(crate) fn len_of(&self, id: &ChunkId) -> usize {
        self.map()[id].len()
    }

    /// Stores bytes as a hostile holder could.
    pub(crate) fn forge(&self, bytes: &[u8]) -> ChunkId {
        let id = self.chunk_id(bytes).unwrap();
        self.map().insert(id, bytes.to_vec());
        id
    }

    fn ack(&self) -> Acknowledged {
        Acknowledged {
            logseq: LogSeq(self.len() as u64),
            frame: FrameHash::from([1; 32]),
            durable: true,
            stored_bytes: 0,
        }
    }
}

/// There are 256 blocks, and a piece is in one by its id.
pub(crate) fn block_of(id: &ChunkId) -> BlockId {
    BlockId::from([id.as_bytes()[0]; 32])
}

impl PieceStore for Pieces {
    fn chunking(&self) -> Chunking {
        self.chunking
    }
    fn chunk_id(&self, bytes: &[u8]) -> Result<ChunkId> {
        Ok(blake3::keyed_hash(&[7; 32], bytes).into())
    }
    fn put(&self, id: ChunkId, _: &TypeTag, bytes: &[u8]) -> Result<bool> {
        if self.puts.fetch_add(1, Ordering::SeqCst) >= self.full_after.load(Ordering::SeqCst) {
            return Err(Error::new(
                Kind::Io,
                "seal",
                "a block",
                "No space left on device",
            ));
        }
        self.reached.lock().unwrap().insert(block_of(&id));
        Ok(self.map().insert(id, bytes.to_vec()).is_none())
    }
    fn commit_due(&self) -> Result<Option<Acknowledged>> {
        Ok((self.puts.load(Ordering::SeqCst) % 8 == 7).then(|| self.ack()))
    }
    fn begin_root(&self) -> Result<()> {
        self.reached.lock().unwrap().clear();
        Ok(())
    }
    fn finish_root(&self, root: &[u8]) -> Result<(ChunkId, Acknowledged)> {
        Ok((self.forge(root), self.ack()))
    }
    fn get(&self, id: &ChunkId) -> Result<Vec<u8>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let found = self.map().get(id).cloned();
        found.ok_or_else(|| Error::new(Kind::NotFound, "read", id, "no such piece"))
    }
    fn block_of(&self, id: &ChunkId) -> Result<Option<BlockId>> {
        let known = self.map().contains_key(id);
        Ok(known.then(|| block_of(id)))
    }
    fn rely_on(&self, block: &BlockId) -> Result<bool> {
        let here = !self.lost.lock().unwrap().contains(block);
        if here {
            self.reached.lock().unwrap().insert(*block);
        }
        Ok(here)
    }
    fn working_key(&self, about: &[u8]) -> Result<[u8; 32]> {
        Ok(*blake3::keyed_hash(&[7; 32], about).as_bytes())
    }
    fn working_files(&self) -> Result<Vec<String>> {
        Ok(self.working.lock().unwrap().keys().cloned().collect())
    }
    fn read_working(&self, name: &str) -> Result<Vec<u8>> {
        let found = self.working.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| Error::new(Kind::NotFound, "read", name, "no such file"))
    }
    fn write_working(&self, name: &str, content: &[u8]) -> Result<()> {
        let mut files = self.working.lock().unwrap();
        files.insert(name.to_string(), content.to_vec());
        Ok(())
    }
    fn remove_working(&self, name: &str) -> Result<()> {
        self.working.lock().unwrap().remove(name);
        Ok(())
    }
}

/// A watch that does not care.
pub(crate) struct Quiet;

impl Watch for Quiet {
    fn progress(&self, _: &Progress) {}
    fn acknowledged(&self, _: &Acknowledged) {}
    fn problem(&self, _: &[u8], _: &str) {}
    fn stop(&self) -> bool {
        false
    }
}

/// A watch that says stop when it was asked so many times, and counts what it is told.
pub(crate) struct Stopping {
    left: AtomicU64,
    pub acknowledged: AtomicU64,
}

impl Stopping {
    pub(crate) fn after(asked: u64) -> Self {
        Stopping {
            left: AtomicU64::new(asked),
            acknowledged: AtomicU64::new(0),
        }
    }
}

impl Watch for Stopping {
    fn progress(&self, _: &Progress) {}
    fn acknowledged(&self, _: &Acknowledged) {
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }
    fn problem(&self, _: &[u8], _: &str) {}
    fn stop(&self) -> bool {
        self.left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
            .is_err()
    }
}

/// A clock that stands still.
pub(crate) struct Noon;

impl HostClock for Noon {
    fn wall_ns(&self) -> i64 {
        1_800_000_000_000_000_000
    }
    fn since_boot(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// Bytes that do not compress or repeat, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// These tests make device nodes and set trusted attributes and owners. Where that is not allowed
/// they fail rather than pass over what they promise.
pub(crate) fn needs_root(dir: &Path) {
    let probe = dir.join(".probe");
    std::fs::write(&probe, b"").unwrap();
    let chown = std::os::unix::fs::chown(&probe, Some(12345), Some(54321));
    std::fs::remove_file(&probe).unwrap();
    assert!(
        chown.is_ok(),
        "THIS TEST NEEDS ROOT (CAP_CHOWN, CAP_MKNOD, CAP_SYS_ADMIN) AND CANNOT PROVE ANYTHING \
         WITHOUT: run it as root: {chown:?}"
    );
}

/// All of a tree as text, by path: type, mode, owners, times, links, attributes, content. Written
/// with other calls than the code it tests.
pub(crate) fn describe(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let (mut all, mut first) = (BTreeMap::new(), HashMap::new());
    describe_into(root, b"", &mut all, &mut first);
    all
}

fn describe_into(
    path: &Path,
    shown: &[u8],
    all: &mut BTreeMap<Vec<u8>, String>,
    first: &mut HashMap<(u64, u64), Vec<u8>>,
) {
    let m = std::fs::symlink_metadata(path).unwrap();
    let t = m.file_type();
    let content = if t.is_file() {
        blake3::hash(&std::fs::read(path).unwrap()).to_string()
    } else if t.is_symlink() {
        format!("{:?}", std::fs::read_link(path).unwrap())
    } else {
        String::new()
    };
    let same = if t.is_dir() {
        shown.to_vec()
    } else {
        first
            .entry((m.dev(), m.ino()))
            .or_insert(shown.to_vec())
            .clone()
    };
    let text = format!(
        "{:o} {}:{} {}.{:09} rdev {} size {} links {} same as {:?} {:?} {content}",
        m.mode(),
        m.uid(),
        m.gid(),
        m.mtime(),
        m.mtime_nsec(),
        m.rdev(),
        if t.is_dir() { 0 } else { m.size() },
        if t.is_dir() { 0 } else { m.nlink() },
        String::from_utf8_lossy(&same),
        attributes(path),
    );
    all.insert(shown.to_vec(), text);
    if t.is_dir() {
        let mut names: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|e| e.unwrap())
            .collect();
        names.sort_by_key(std::fs::DirEntry::file_name);
        for e in names {
            let below = [shown, b"/", e.file_name().as_bytes()].concat();
            describe_into(&e.path(), &below, all, first);
        }
    }
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0u8; 65536];
    let n = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut all = Vec::new();
    for name in names[..n].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0u8; 65536];
        let n = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        all.push((
            String::from_utf8_lossy(name).into_owned(),
            value[..n].to_vec(),
        ));
    }
    all.sort();
    all
}
