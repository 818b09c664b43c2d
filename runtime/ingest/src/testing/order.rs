//! A restore is the same whatever order the store answers in, and whatever it cannot give.

use super::hostile::{dir, entry, file, root};
use super::roundtrip::{ingest, nasty};
use super::{describe, noise, Pieces, Quiet};
use crate::{
    restore, Acknowledged, Chunking, PieceStore, Progress, RestoreOptions, Restored, TakePiece,
    Watch,
};
use asl_core::codec::{blob_key, BlobRef, Entry, EntryKind, Link, ListNode};
use asl_core::{BlockId, ChunkId, Error, Kind, Result, TypeTag};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Answers the last piece first, and every other question late.
struct Odd<'p> {
    pieces: &'p Pieces,
    asked: AtomicU64,
    /// Pieces left out of every answer.
    forgets: usize,
    /// What happens before each piece.
    before: &'p (dyn Fn(&ChunkId) -> Result<()> + Sync + Send),
}

impl<'p> Odd<'p> {
    fn new(pieces: &'p Pieces) -> Self {
        Odd {
            pieces,
            asked: AtomicU64::new(0),
            forgets: 0,
            before: &|_| Ok(()),
        }
    }
}

impl PieceStore for Odd<'_> {
    fn chunking(&self) -> Chunking {
        self.pieces.chunking()
    }
    fn chunk_id(&self, bytes: &[u8]) -> Result<ChunkId> {
        self.pieces.chunk_id(bytes)
    }
    fn put(&self, id: ChunkId, tag: &TypeTag, bytes: &[u8]) -> Result<bool> {
        self.pieces.put(id, tag, bytes)
    }
    fn commit_due(&self) -> Result<Option<Acknowledged>> {
        self.pieces.commit_due()
    }
    fn begin_root(&self) -> Result<()> {
        self.pieces.begin_root()
    }
    fn finish_root(&self, root: &[u8]) -> Result<(ChunkId, Acknowledged)> {
        self.pieces.finish_root(root)
    }
    fn get(&self, id: &ChunkId) -> Result<Vec<u8>> {
        (self.before)(id)?;
        self.pieces.get(id)
    }
    fn block_of(&self, id: &ChunkId) -> Result<Option<BlockId>> {
        self.pieces.block_of(id)
    }
    fn rely_on(&self, block: &BlockId) -> Result<bool> {
        self.pieces.rely_on(block)
    }
    fn working_key(&self, about: &[u8]) -> Result<[u8; 32]> {
        self.pieces.working_key(about)
    }
    fn working_files(&self) -> Result<Vec<String>> {
        self.pieces.working_files()
    }
    fn read_working(&self, name: &str) -> Result<Vec<u8>> {
        self.pieces.read_working(name)
    }
    fn write_working(&self, name: &str, content: &[u8]) -> Result<()> {
        self.pieces.write_working(name, content)
    }
    fn remove_working(&self, name: &str) -> Result<()> {
        self.pieces.remove_working(name)
    }
    fn get_many(&self, ids: &[ChunkId], take: TakePiece<'_>) -> Result<()> {
        if self.asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            std::thread::sleep(Duration::from_millis(20));
        }
        for (place, id) in ids.iter().enumerate().skip(self.forgets).rev() {
            match self.get(id) {
                Ok(piece) => take(place, Ok(&piece))?,
                Err(e) => take(place, Err(e))?,
            }
        }
        Ok(())
    }
}

fn restored(store: &dyn PieceStore, id: &ChunkId, to: &Path) -> Result<Restored> {
    restore(store, id, to, &RestoreOptions::default(), &Quiet)
}

#[test]
fn a_tree_is_the_same_when_its_pieces_come_last_first_and_from_several_threads() {
    let at = tempfile::tempdir().unwrap();
    let source = nasty(at.path());
    // Several windows of one file, with holes in it, and zeros at its end.
    let mut long = noise(1, 23 << 20);
    long[5 << 20..9 << 20].fill(0);
    long.extend(vec![0; 3 << 20]);
    fs::write(source.join("long"), &long).unwrap();
    for i in 0..700 {
        fs::write(source.join(format!("small-{i}")), noise(i, i as usize)).unwrap();
    }
    let pieces = Pieces::new();
    let made = ingest(&pieces, &source);
    let (forth, back) = (at.path().join("forth"), at.path().join("back"));
    let a = restored(&pieces, &made.root, &forth).unwrap();
    let b = restored(&Odd::new(&pieces), &made.root, &back).unwrap();
    assert_eq!(describe(&back), describe(&forth));
    assert_eq!(fs::read(back.join("long")).unwrap(), long);
    assert_eq!((a.entries, a.bytes), (made.entries, made.bytes));
    assert_eq!((b.entries, b.bytes), (a.entries, a.bytes));
    assert_eq!((a.problems, b.problems), (vec![], vec![]));
}

/// A file of these pieces, in a list node.
fn listed(store: &Pieces, name: &[u8], pieces: &[Vec<u8>]) -> Entry {
    let link = |p: &Vec<u8>| Link {
        size: p.len() as u64,
        id: Some(store.forge(p)),
    };
    let whole = pieces.concat();
    let node = ListNode(pieces.iter().map(link).collect());
    Entry {
        content: Some(BlobRef {
            size: whole.len() as u64,
            depth: 1,
            top: Some(store.forge(&node.encode())),
        }),
        key: Some(blob_key(&blake3::hash(&whole).into())),
        ..entry(name, EntryKind::File)
    }
}

#[test]
fn what_the_store_lost_is_zeros_in_exactly_its_range_and_told_in_the_order_of_the_tree() {
    let at = tempfile::tempdir().unwrap();
    let store = Pieces::new();
    let parts: Vec<Vec<u8>> = (0..400).map(|n| noise(n, 50_000 + n as usize)).collect();
    let names: Vec<String> = (0..300).map(|n| format!("f{n:03}")).collect();
    let mut files = vec![listed(&store, b"a", &parts), listed(&store, b"b", &parts)];
    for name in &names {
        files.push(file(&store, name.as_bytes(), name.as_bytes()));
    }
    let id = root(&store, dir(&store, b"top", &files), 1000, 1 << 30);
    let lost = [0, 7, 8, 250, 399];
    for n in lost {
        let id = store.chunk_id(&parts[n]).unwrap();
        store.map().remove(&id);
    }
    for name in names.iter().step_by(50) {
        let id = store.chunk_id(name.as_bytes()).unwrap();
        store.map().remove(&id);
    }
    let mut wanted = parts.clone();
    for n in lost {
        wanted[n].fill(0);
    }
    let wanted = wanted.concat();
    for (i, store) in [&store as &dyn PieceStore, &Odd::new(&store)]
        .into_iter()
        .enumerate()
    {
        let to = at.path().join(format!("to{i}"));
        let got = restored(store, &id, &to).unwrap();
        assert_eq!(got.verdict().unwrap_err().kind(), Kind::Damage);
        assert_eq!((got.damaged, got.problem_count), (8, 8));
        for name in ["a", "b"] {
            assert!(fs::read(to.join(name)).unwrap() == wanted, "{name} in {i}");
        }
        for (n, name) in names.iter().enumerate() {
            let bytes = fs::read(to.join(name)).unwrap();
            match n % 50 {
                0 => assert_eq!(bytes, [0; 4]),
                _ => assert_eq!(bytes, name.as_bytes()),
            }
        }
        let paths: Vec<&[u8]> = got.problems.iter().map(|p| &p.path[..]).collect();
        assert!(paths.is_sorted(), "{paths:?}");
        let why = &got.problems.iter().find(|p| p.path == b"a").unwrap().why;
        let begins: Vec<usize> = (0..=400)
            .map(|n| parts[..n].iter().map(Vec::len).sum())
            .collect();
        for n in lost {
            let range = format!("{}-{}", begins[n], begins[n + 1] - 1);
            assert!(why.contains(&range), "{range} in {why}");
        }
    }
}

#[test]
fn a_store_that_forgets_to_answer_is_not_taken_for_one_that_answered() {
    let at = tempfile::tempdir().unwrap();
    let pieces = Pieces::new();
    let files: Vec<Entry> = (0..9u64)
        .map(|n| file(&pieces, format!("f{n}").as_bytes(), &noise(n, 500)))
        .collect();
    let id = root(&pieces, dir(&pieces, b"top", &files), 100, 1 << 20);
    let store = Odd {
        forgets: 1,
        ..Odd::new(&pieces)
    };
    let e = restored(&store, &id, &at.path().join("to")).unwrap_err();
    assert_eq!(e.kind(), Kind::Io, "{e}");
}

/// Many small files, and their root.
fn many(pieces: &Pieces, count: u64) -> ChunkId {
    let files: Vec<Entry> = (0..count)
        .map(|n| file(pieces, format!("f{n:04}").as_bytes(), &noise(n, 2000)))
        .collect();
    root(pieces, dir(pieces, b"top", &files), 10_000, 1 << 30)
}

#[test]
fn what_ends_everything_in_one_thread_ends_the_restore_with_its_own_words() {
    let at = tempfile::tempdir().unwrap();
    let pieces = Pieces::new();
    let id = many(&pieces, 3000);
    let locked = pieces.chunk_id(&noise(1700, 2000)).unwrap();
    let store = Odd {
        before: &|id| match *id == locked {
            true => Err(Error::new(Kind::Refused, "read", id, "no key for this one")),
            false => Ok(()),
        },
        ..Odd::new(&pieces)
    };
    let e = restored(&store, &id, &at.path().join("to")).unwrap_err();
    assert_eq!((e.kind(), e.why()), (Kind::Refused, "no key for this one"));
}

#[test]
fn a_stop_while_the_store_is_slow_is_heard_at_once() {
    struct Stop(Instant);
    impl Watch for Stop {
        fn progress(&self, _: &Progress) {}
        fn acknowledged(&self, _: &Acknowledged) {}
        fn problem(&self, _: &[u8], _: &str) {}
        fn stop(&self) -> bool {
            self.0.elapsed() > Duration::from_millis(300)
        }
    }
    let at = tempfile::tempdir().unwrap();
    let pieces = Pieces::new();
    let id = many(&pieces, 200);
    let store = Odd {
        before: &|id| {
            if pieces.len_of(id) == 2000 {
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        },
        ..Odd::new(&pieces)
    };
    let (to, begun) = (at.path().join("to"), Instant::now());
    let all = RestoreOptions::default();
    let e = restore(&store, &id, &to, &all, &Stop(begun)).unwrap_err();
    assert_eq!(e.kind(), Kind::Interrupted);
    // All of it would take twenty seconds and more on two threads.
    assert!(begun.elapsed() < Duration::from_secs(8));
}
