//! What the files cache promises: what did not change is not read, and what it gives is what a run
//! without it gives.

use super::roundtrip::nasty;
use super::{block_of, needs_root, noise, Noon, Pieces, Quiet};
use crate::cache::{Draft, Files, Kept, Known, Old, PathHash, Places, Placing, Recorder, Row};
use crate::read::{BlobReader, Part};
use crate::{
    ingest_tree, Acknowledged, IngestOptions, Ingested, NameTable, PieceStore, Progress, Watch,
};
use asl_core::codec::{BlobRef, Entry, EntryKind, ListNode, Root};
use asl_core::{BlockId, ChunkId, HostClock};
use rustix::fs::inotify::{add_watch, init, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{lsetxattr, utimensat, AtFlags, Timespec, Timestamps, XattrFlags, CWD};
use std::collections::BTreeSet;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::fs::{chown, symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn names() -> NameTable {
    NameTable::parse(b"ann:x:1000:1000::/:\n", b"staff:x:1000:\n")
}

fn run_with(store: &Pieces, source: &Path, change: impl FnOnce(&mut IngestOptions)) -> Ingested {
    let names = names();
    let mut options = IngestOptions::new(&names, &Noon);
    options.name = Some(b"the source".to_vec());
    change(&mut options);
    ingest_tree(store, source, &options, &Quiet).unwrap()
}

fn run(store: &Pieces, source: &Path) -> Ingested {
    run_with(store, source, |_| ())
}

/// What a run that knows nothing says, in a store of its own.
fn fresh(source: &Path) -> Ingested {
    run(&Pieces::new(), source)
}

fn assert_same(a: &Ingested, b: &Ingested, what: &str) {
    assert_eq!(a.key, b.key, "{what}");
    assert_eq!((a.entries, a.bytes), (b.entries, b.bytes), "{what}");
    assert_eq!(a.problems, b.problems, "{what}");
    assert_eq!(a.left_out, b.left_out, "{what}");
}

/// Files in directories, some with a content of several pieces, and links.
fn tree() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("tree");
    for d in 0..6u64 {
        let sub = top.join(format!("d{d}/below/deep"));
        fs::create_dir_all(&sub).unwrap();
        for f in 0..5 {
            let bytes = noise(10 * d + f, 700 * (f as usize + 1));
            fs::write(top.join(format!("d{d}/f{f}")), &bytes).unwrap();
            fs::write(sub.join(format!("g{f}")), &bytes[..300]).unwrap();
        }
        symlink("f1", top.join(format!("d{d}/link"))).unwrap();
    }
    fs::write(top.join("d1/large"), noise(99, 900_000)).unwrap();
    fs::write(top.join("empty"), b"").unwrap();
    (dir, top)
}

fn every_dir(top: &Path, into: &mut Vec<PathBuf>) {
    into.push(top.to_path_buf());
    for e in fs::read_dir(top).unwrap().map(|e| e.unwrap()) {
        if e.file_type().unwrap().is_dir() {
            every_dir(&e.path(), into);
        }
    }
}

/// Names of files below a tree that were opened while something ran, as the kernel tells it.
fn opened(top: &Path, what: impl FnOnce()) -> BTreeSet<String> {
    let watch = init(CreateFlags::NONBLOCK).unwrap();
    let mut dirs = Vec::new();
    every_dir(top, &mut dirs);
    for dir in &dirs {
        add_watch(&watch, dir, WatchFlags::OPEN | WatchFlags::ACCESS).unwrap();
    }
    what();
    let mut buffer = [MaybeUninit::uninit(); 64 << 10];
    let mut events = Reader::new(&watch, &mut buffer);
    let mut names = BTreeSet::new();
    while let Ok(event) = events.next() {
        assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW));
        if !event.events().contains(ReadFlags::ISDIR) {
            let name = event.file_name().map(|n| n.to_string_lossy().into_owned());
            names.extend(name);
        }
    }
    names
}

fn reachable(store: &Pieces, root: &ChunkId) -> BTreeSet<ChunkId> {
    let mut all = BTreeSet::from([*root]);
    let root = Root::decode(&store.get(root).unwrap()).unwrap();
    entry_pieces(store, &root.top, &mut all);
    all
}

fn entry_pieces(store: &Pieces, entry: &Entry, all: &mut BTreeSet<ChunkId>) {
    let Some(blob) = entry.content else { return };
    blob_pieces(store, blob, all);
    if entry.kind == EntryKind::Directory {
        let mut bytes = Vec::new();
        let mut reader = BlobReader::new(store, blob);
        while let Some(part) = reader.next().unwrap() {
            match part {
                Part::Data(d) => bytes.extend(d),
                _ => panic!("a directory with a hole"),
            }
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (below, used) = Entry::decode_first(rest).unwrap();
            entry_pieces(store, &below, all);
            rest = &rest[used..];
        }
    }
}

fn blob_pieces(store: &Pieces, blob: BlobRef, all: &mut BTreeSet<ChunkId>) {
    let Some(top) = blob.top else { return };
    all.insert(top);
    if blob.depth > 0 {
        for link in ListNode::decode(&store.get(&top).unwrap()).unwrap().0 {
            let (size, depth) = (link.size, blob.depth - 1);
            let top = link.id;
            blob_pieces(store, BlobRef { size, depth, top }, all);
        }
    }
}

/// The root's block set is that of its pieces: none is missing, none is there for nothing.
fn assert_reached(store: &Pieces, made: &Ingested, what: &str) {
    let pieces = reachable(store, &made.root);
    let blocks: BTreeSet<_> = pieces.iter().map(block_of).collect();
    let mut reached = store.reached.lock().unwrap().clone();
    reached.insert(block_of(&made.root));
    let missing: Vec<_> = blocks.difference(&reached).collect();
    let idle: Vec<_> = reached.difference(&blocks).collect();
    assert_eq!((missing, idle), (vec![], vec![]), "{what}");
}

#[test]
fn of_an_unchanged_tree_no_file_is_opened_and_no_piece_put() {
    let (_dir, top) = tree();
    let store = Pieces::new();
    let first = run(&store, &top);
    assert_eq!(first.recalled, 0);
    let control = opened(&top, || drop(fs::read(top.join("d3/f2")).unwrap()));
    assert_eq!(
        control,
        BTreeSet::from(["f2".to_string()]),
        "the watch sees"
    );
    let puts = store.puts.load(std::sync::atomic::Ordering::SeqCst);
    let parts = store.working_files().unwrap();
    let mut second = None;
    let seen = opened(&top, || second = Some(run(&store, &top)));
    let second = second.unwrap();
    assert_eq!(seen, BTreeSet::new());
    assert_eq!(store.puts.load(std::sync::atomic::Ordering::SeqCst), puts);
    assert_eq!(second.recalled, 6 * 10 + 2);
    assert_eq!(
        store.working_files().unwrap(),
        parts,
        "nothing is written anew"
    );
    assert_same(&first, &second, "again");
    assert_reached(&store, &second, "its blocks");
}

#[test]
fn a_tree_with_everything_in_it_comes_out_the_same_with_and_without_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let top = nasty(dir.path());
    let store = Pieces::new();
    let first = run(&store, &top);
    let second = run(&store, &top);
    assert_same(&first, &second, "again");
    assert!(second.recalled > 10);
    assert_reached(&store, &second, "its blocks");
    let third = run_with(&store, &top, |o| o.read_all = true);
    assert_eq!(third.recalled, 0);
    assert_same(&first, &third, "everything read");
    let fourth = run(&store, &top);
    assert_eq!(
        fourth.recalled, second.recalled,
        "what was read again is known again"
    );
    assert_same(&first, &fourth, "once more");
}

#[test]
fn whatever_changes_is_seen_and_the_rest_is_not_read() {
    let (_dir, top) = tree();
    needs_root(top.parent().unwrap());
    let store = Pieces::new();
    run(&store, &top);
    let p = |name: &str| top.join(name);
    let back = |path: &Path, m: &fs::Metadata| {
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        let times = Timestamps {
            last_access: time(m.atime(), m.atime_nsec()),
            last_modification: time(m.mtime(), m.mtime_nsec()),
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    let twisted = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[100] ^= 1;
        bytes
    };
    type Deed<'a> = (&'a str, u64, Box<dyn Fn() + 'a>);
    let deeds: Vec<Deed> = vec![
        ("nothing", 0, Box::new(|| ())),
        (
            "same size, time set back",
            1,
            Box::new(|| {
                let before = fs::metadata(p("d2/f3")).unwrap();
                fs::write(p("d2/f3"), twisted(&p("d2/f3"))).unwrap();
                back(&p("d2/f3"), &before);
            }),
        ),
        (
            "replaced, same size and time",
            1,
            Box::new(|| {
                let before = fs::metadata(p("d4/f1")).unwrap();
                fs::write(p("d4/new"), twisted(&p("d4/f1"))).unwrap();
                fs::rename(p("d4/new"), p("d4/f1")).unwrap();
                back(&p("d4/f1"), &before);
                let dir = fs::metadata(p("d4")).unwrap();
                back(&p("d4"), &dir);
            }),
        ),
        (
            "grown by a byte",
            1,
            Box::new(|| {
                fs::write(p("d1/large"), [noise(99, 900_000), vec![1]].concat()).unwrap();
            }),
        ),
        (
            "mode",
            1,
            Box::new(|| {
                fs::set_permissions(p("d0/f0"), fs::Permissions::from_mode(0o600)).unwrap();
            }),
        ),
        (
            "owner",
            1,
            Box::new(|| chown(p("d0/f1"), Some(1000), None).unwrap()),
        ),
        (
            "attribute",
            1,
            Box::new(|| {
                lsetxattr(p("d0/f2"), "user.a", b"b", XattrFlags::empty()).unwrap();
            }),
        ),
        (
            "beside one with an attribute",
            1,
            Box::new(|| {
                fs::write(p("d0/f3"), b"other").unwrap();
            }),
        ),
        (
            "mode of a directory",
            0,
            Box::new(|| {
                fs::set_permissions(p("d5/below"), fs::Permissions::from_mode(0o711)).unwrap();
            }),
        ),
        (
            "attribute of a directory",
            0,
            Box::new(|| {
                lsetxattr(p("d5"), "user.a", b"b", XattrFlags::empty()).unwrap();
            }),
        ),
        (
            "another target",
            0,
            Box::new(|| {
                fs::remove_file(p("d3/link")).unwrap();
                symlink("f2", p("d3/link")).unwrap();
            }),
        ),
        (
            "a new name before the others",
            1,
            Box::new(|| fs::write(p("d3/a"), b"a").unwrap()),
        ),
        (
            "a name gone",
            0,
            Box::new(|| fs::remove_file(p("d3/below/deep/g2")).unwrap()),
        ),
        (
            "renamed in its directory",
            1,
            Box::new(|| fs::rename(p("d1/f1"), p("d1/zz")).unwrap()),
        ),
        (
            "a directory moved",
            10,
            Box::new(|| fs::rename(p("d1/below"), p("d2/moved")).unwrap()),
        ),
        (
            "a directory gone",
            0,
            Box::new(|| fs::remove_dir_all(p("d5")).unwrap()),
        ),
        (
            "a hard link",
            1,
            Box::new(|| fs::hard_link(p("d2/f0"), p("d4/hard")).unwrap()),
        ),
        (
            "a hard link before it",
            1,
            Box::new(|| fs::hard_link(p("d0/f4"), p("d0/other")).unwrap()),
        ),
        (
            "a file where a link was",
            1,
            Box::new(|| {
                fs::remove_file(p("d4/link")).unwrap();
                fs::write(p("d4/link"), b"no link").unwrap();
            }),
        ),
        (
            "two directories in one another's place",
            21,
            Box::new(|| {
                fs::rename(p("d3"), p("x")).unwrap();
                fs::rename(p("d4"), p("d3")).unwrap();
                fs::rename(p("x"), p("d4")).unwrap();
            }),
        ),
    ];
    for (what, most, deed) in deeds {
        deed();
        let made = run(&store, &top);
        let whole = fresh(&top);
        assert_same(&made, &whole, what);
        assert_reached(&store, &made, what);
        let files = whole_files(&top);
        assert!(
            made.recalled + most >= files,
            "{what}: {} of {files} files known",
            made.recalled
        );
    }
}

fn whole_files(top: &Path) -> u64 {
    let mut dirs = Vec::new();
    every_dir(top, &mut dirs);
    let mut inodes = BTreeSet::new();
    for dir in dirs {
        for e in fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
            let m = e.metadata().unwrap();
            if m.is_file() {
                inodes.insert(m.ino());
            }
        }
    }
    inodes.len() as u64
}

#[test]
fn owners_that_have_another_name_now_are_told_by_it() {
    let (_dir, top) = tree();
    let store = Pieces::new();
    run(&store, &top);
    let renamed = NameTable::parse(b"root:x:0:0::/:\n", b"wheel:x:0:\n");
    let mut options = IngestOptions::new(&renamed, &Noon);
    options.name = Some(b"the source".to_vec());
    let made = ingest_tree(&store, &top, &options, &Quiet).unwrap();
    let whole = ingest_tree(&Pieces::new(), &top, &options, &Quiet).unwrap();
    assert_same(&made, &whole, "other names");
    assert_eq!(made.recalled, 62);
}

#[test]
fn another_source_is_not_believed_and_neither_is_another_tree_under_its_name() {
    let (_dir, top) = tree();
    let store = Pieces::new();
    run(&store, &top);
    let other = run_with(&store, &top, |o| o.name = Some(b"another".to_vec()));
    assert_eq!(other.recalled, 0);
    let (_dir, copy) = tree();
    fs::write(copy.join("d0/f0"), b"differs").unwrap();
    let made = run(&store, &copy);
    assert_eq!(made.recalled, 0);
    assert_same(&made, &fresh(&copy), "another tree");
}

#[test]
fn what_lies_in_a_block_that_is_gone_is_read_and_put_again() {
    let (_dir, top) = tree();
    let store = Pieces::new();
    let first = run(&store, &top);
    for _ in 0..2 {
        let large = fresh_large(&store, &top);
        store.lost.lock().unwrap().insert(block_of(&large));
        store.map().remove(&large);
        let made = run(&store, &top);
        assert_same(&first, &made, "one block gone");
        assert!(
            made.recalled < 62 && made.recalled > 50,
            "{}",
            made.recalled
        );
        assert!(store.map().contains_key(&large), "put again");
        store.lost.lock().unwrap().clear();
    }
    let every = (0..=255u8).map(|n| BlockId::from([n; 32]));
    store.lost.lock().unwrap().extend(every);
    store.map().clear();
    let made = run(&store, &top);
    assert_eq!(made.recalled, 1, "the empty one lies in no block");
    store.lost.lock().unwrap().clear();
    assert_reached(&store, &made, "its blocks");
}

/// A piece of the large file.
fn fresh_large(store: &Pieces, top: &Path) -> ChunkId {
    let bytes = fs::read(top.join("d1/large")).unwrap();
    let id = store.map().iter().find_map(|(id, piece)| {
        let inside = piece.len() > 20_000 && bytes.windows(piece.len()).any(|w| w == piece);
        inside.then_some(*id)
    });
    id.unwrap()
}

/// The clock of this machine.
struct Now;

impl HostClock for Now {
    fn wall_ns(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos() as i64
    }
    fn since_boot(&self) -> Duration {
        Duration::from_secs(60)
    }
}

#[test]
fn what_changed_just_before_the_run_is_not_believed_unchanged() {
    let (_dir, top) = tree();
    let store = Pieces::new();
    let names = names();
    let again = || ingest_tree(&store, &top, &IngestOptions::new(&names, &Now), &Quiet).unwrap();
    assert_eq!(again().recalled, 0);
    assert_eq!(again().recalled, 0, "all of it is younger than two seconds");
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(again().recalled, 0, "the first that may be believed");
    assert_eq!(again().recalled, 62);
}

/// Keeps what is noted.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Watch for Notes {
    fn progress(&self, _: &Progress) {}
    fn acknowledged(&self, _: &Acknowledged) {}
    fn problem(&self, _: &[u8], _: &str) {}
    fn note(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_string());
    }
    fn stop(&self) -> bool {
        false
    }
}

#[test]
fn parts_that_cannot_be_read_are_told_passed_over_and_made_anew() {
    let (_dir, top) = tree();
    let store = Pieces::new();
    let first = run(&store, &top);
    let names = names();
    let mut options = IngestOptions::new(&names, &Noon);
    options.name = Some(b"the source".to_vec());
    let damage: [fn(&mut Vec<u8>); 4] = [
        |b| b.clear(),
        |b| b.truncate(b.len() / 2),
        |b| b[0] ^= 1,
        |b| b[8] = 9,
    ];
    for harm in damage {
        store.working.lock().unwrap().values_mut().for_each(harm);
        let notes = Notes::default();
        let made = ingest_tree(&store, &top, &options, &notes).unwrap();
        assert_eq!(made.recalled, 0);
        assert_same(&first, &made, "after damage");
        let told = notes.0.into_inner().unwrap();
        assert!(
            told.len() == 1 && told[0].contains("not believed"),
            "{told:?}"
        );
        let notes = Notes::default();
        let made = ingest_tree(&store, &top, &options, &notes).unwrap();
        assert_eq!(
            (made.recalled, notes.0.into_inner().unwrap().len()),
            (62, 0)
        );
    }
}

#[test]
fn not_even_a_proven_part_of_nonsense_can_break_a_run() {
    let (_dir, top) = tree();
    let store = Pieces::new();
    run(&store, &top);
    let good = store.working.lock().unwrap().clone();
    for round in 0..200u64 {
        let mut bad = good.clone();
        for bytes in bad.values_mut() {
            for hit in noise(round, 12).chunks(3) {
                // The lengths stay, so that the part is taken apart and used.
                let at = 32 + (usize::from(hit[0]) << 8 | usize::from(hit[1])) % (bytes.len() - 32);
                bytes[at] = hit[2];
            }
        }
        *store.working.lock().unwrap() = bad;
        let known = store.map().clone();
        let _ = ingest_tree(
            &store,
            &top,
            &IngestOptions {
                name: Some(b"the source".to_vec()),
                ..IngestOptions::new(&names(), &Noon)
            },
            &Quiet,
        );
        *store.map() = known;
    }
}

#[test]
fn a_single_file_is_known_again() {
    let (_dir, top) = tree();
    let (store, file) = (Pieces::new(), top.join("d1/large"));
    let first = run(&store, &file);
    let mut second = None;
    let seen = opened(&top, || second = Some(run(&store, &file)));
    let second = second.unwrap();
    assert_eq!(second.recalled, 1);
    assert_same(&first, &second, "a file");
    assert_reached(&store, &second, "its blocks");
    // Whether it can be read is tried before anything else.
    assert_eq!(seen, BTreeSet::from(["large".to_string()]));
}

#[test]
fn many_runs_leave_few_parts() {
    let (_dir, top) = tree();
    let store = Pieces::new();
    for n in 0..150u64 {
        fs::write(top.join("d3/f3"), noise(n, 2000)).unwrap();
        assert!(run(&store, &top).recalled >= if n == 0 { 0 } else { 61 });
        let parts = store.working_files().unwrap().len();
        assert!(parts <= 70, "{parts} after {n} runs");
    }
    let made = run(&store, &top);
    assert_eq!(made.recalled, 62);
    assert_same(&made, &fresh(&top), "at last");
    assert_reached(&store, &made, "its blocks");
}

#[test]
fn a_directory_of_more_names_than_memory_may_hold_is_known_name_by_name() {
    let store = Pieces::new();
    let piece = store.forge(b"piece");
    let (block, top) = (block_of(&piece), Some(piece));
    let (size, depth) = (5, 0);
    let content = Kept {
        blob: BlobRef { size, depth, top },
        key: [3; 32].into(),
    };
    let (files, paths) = Files::of(&store, b"s").unwrap();
    let (mut places, top) = (Places::default(), paths.above());
    let mut recorder = Recorder::new(files.clone(), [1; 32], 1);
    let number = places.number(block);
    let hash = |n: u32| paths.below(&top, &n.to_le_bytes());
    recorder.enter(top);
    for n in 0..250_000 {
        let row = Row {
            content: Some(content),
            ..Row::bare(hash(n))
        };
        let draft = Draft::new(row, Placing::of([number].into_iter()));
        recorder.add(Some(draft), &store, &mut places).unwrap();
    }
    recorder.leave(None, &store, &places);
    recorder.journal(&store, &mut places).unwrap();
    assert_eq!(recorder.live, 250_000);
    let parts = files.list(&store).unwrap();
    let most = store.working.lock().unwrap().values().map(Vec::len).max();
    assert!(
        parts.len() >= 3 && most.unwrap() < 64 << 20,
        "{parts:?} {most:?}"
    );
    let mut old = Old::load(&store, files, parts);
    let known: Known = old.known(&store, &top, &[1; 32]);
    assert!(known.whole.is_none());
    let stamp = Row::bare(PathHash([0; 16])).stamp;
    let found = (0..250_000).filter(|n| {
        let row = old.recall(&store, &known, &hash(*n), &stamp).unwrap();
        row.is_some_and(|(_, row)| row.content == Some(content))
    });
    assert_eq!(found.count(), 250_000);
}
