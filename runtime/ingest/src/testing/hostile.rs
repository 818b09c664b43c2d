//! Trees made to do harm: nothing outside the target is ever written, and work and memory end.

use super::{describe, Pieces, Quiet};
use crate::{restore, RestoreOptions, Restored, DEEPEST};
use asl_core::codec::{
    blob_key, tree_key, BlobRef, Entry, EntryKind, Link, ListNode, Meta, Root, FAN_OUT,
};
use asl_core::{canon, ChunkId, Digest, Kind, Result, Timestamp, Value};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

pub(crate) fn entry(name: &[u8], kind: EntryKind) -> Entry {
    Entry {
        name: name.to_vec(),
        kind,
        meta: Meta {
            mode: 0o755,
            ..Meta::default()
        },
        hard_link: None,
        content: None,
        key: None,
    }
}

fn blob(size: u64, depth: u8, top: Option<ChunkId>) -> BlobRef {
    BlobRef { size, depth, top }
}

pub(crate) fn file(store: &Pieces, name: &[u8], bytes: &[u8]) -> Entry {
    Entry {
        content: Some(blob(bytes.len() as u64, 0, Some(store.forge(bytes)))),
        key: Some(blob_key(&Digest::of(bytes))),
        ..entry(name, EntryKind::File)
    }
}

pub(crate) fn dir(store: &Pieces, name: &[u8], entries: &[Entry]) -> Entry {
    let bytes: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
    let public: Vec<u8> = entries.iter().flat_map(Entry::encode_public).collect();
    Entry {
        content: Some(blob(bytes.len() as u64, 0, Some(store.forge(&bytes)))),
        key: Some(tree_key(&Digest::of(&public))),
        ..entry(name, EntryKind::Directory)
    }
}

pub(crate) fn root(store: &Pieces, top: Entry, entries: u64, bytes: u64) -> ChunkId {
    let root = Root {
        source: b"hostile".to_vec(),
        top,
        started: Timestamp::claimed(0),
        ended: Timestamp::claimed(0),
        entries,
        bytes,
        problems: Vec::new(),
        problem_count: 0,
    };
    store.forge(&root.encode())
}

fn link_to(target: &str, name: &[u8]) -> Entry {
    entry(name, EntryKind::Symlink(target.as_bytes().to_vec()))
}

/// A place with something outside the target that must stay as it is.
struct Arena {
    dir: tempfile::TempDir,
    store: Pieces,
}

impl Arena {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("outside/sub")).unwrap();
        fs::write(dir.path().join("outside/victim"), b"precious").unwrap();
        fs::create_dir(dir.path().join("work")).unwrap();
        Arena {
            dir,
            store: Pieces::new(),
        }
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("work/to")
    }

    /// Restores and proves that nothing outside changed.
    fn attack(&self, root: &ChunkId) -> Result<Restored> {
        let _ = fs::remove_dir_all(self.to());
        let names = |path: PathBuf| -> BTreeSet<OsString> {
            let entries = fs::read_dir(path).unwrap();
            entries.map(|e| e.unwrap().file_name()).collect()
        };
        let look = || {
            // What lies outside, and right beside the target.
            let mut beside = names(self.dir.path().join("work"));
            beside.remove(&OsString::from("to"));
            let above = names(self.dir.path().to_path_buf());
            (describe(&self.dir.path().join("outside")), beside, above)
        };
        let before = look();
        let done = restore(
            &self.store,
            root,
            &self.to(),
            &RestoreOptions::default(),
            &Quiet,
        );
        assert_eq!(look(), before, "something outside the target was touched");
        done
    }

    /// Attacks with these entries in the top directory, after a good file that must survive.
    fn entries(&self, hostile: Vec<Entry>) -> Restored {
        let mut all = vec![file(&self.store, b"0-good", b"good")];
        all.extend(hostile);
        let top = dir(&self.store, b"top", &all);
        let root = root(&self.store, top, 1000, 1 << 30);
        let done = self.attack(&root).unwrap();
        assert_eq!(fs::read(self.to().join("0-good")).unwrap(), b"good");
        done
    }

    fn damaged(&self, hostile: Vec<Entry>) -> Restored {
        let done = self.entries(hostile);
        assert!(done.damaged > 0, "{:?}", done.problems);
        assert_eq!(done.verdict().unwrap_err().exit_code(), 4);
        done
    }
}

#[test]
fn names_that_lead_out_of_their_directory_are_refused() {
    let a = Arena::new();
    let long = [b'x'; 4097];
    let names: [&[u8]; 12] = [
        b"..",
        b".",
        b"",
        b"/",
        b"/etc/cron.d/x",
        b"../outside/victim",
        b"a/b",
        b"..\0",
        b"a\0",
        b"x/",
        b"//x",
        &long,
    ];
    for name in names {
        a.damaged(vec![file(&a.store, name, b"evil")]);
        a.damaged(vec![dir(
            &a.store,
            name,
            &[file(&a.store, b"victim", b"evil")],
        )]);
        a.damaged(vec![link_to("/", name)]);
        // Also as the top itself.
        let top = root(&a.store, file(&a.store, name, b"evil"), 1, 4);
        assert_eq!(a.attack(&top).unwrap_err().kind(), Kind::Invalid);
    }
}

#[test]
fn a_name_too_long_for_the_target_is_a_problem_and_the_rest_is_restored() {
    let a = Arena::new();
    let done = a.entries(vec![
        file(&a.store, &[b'n'; 256], b"x"),
        file(&a.store, b"z-after", b"x"),
    ]);
    assert_eq!(
        (done.problem_count, done.damaged),
        (1, 0),
        "{:?}",
        done.problems
    );
    assert!(a.to().join("z-after").exists());
}

#[test]
fn a_link_followed_by_entries_of_its_name_leads_nowhere() {
    let a = Arena::new();
    for target in ["../../outside", "/", "."] {
        let evil = || vec![file(&a.store, b"victim", b"evil")];
        a.damaged(vec![link_to(target, b"x"), dir(&a.store, b"x", &evil())]);
        a.damaged(vec![link_to(target, b"x"), file(&a.store, b"x", b"evil")]);
        a.damaged(vec![dir(&a.store, b"x", &evil()), link_to(target, b"x")]);
        a.damaged(vec![
            link_to(target, b"x"),
            link_to(target, b"w"),
            dir(&a.store, b"x", &evil()),
        ]);
    }
    let victim = a.dir.path().join("outside/victim");
    let done = a.entries(vec![link_to(victim.to_str().unwrap(), b"x")]);
    assert_eq!(
        done.problem_count, 0,
        "a link alone is allowed, and is not followed"
    );
}

#[test]
fn a_hard_link_reaches_only_what_this_restore_has_written() {
    let a = Arena::new();
    let victim = a.dir.path().join("outside/victim");
    let with = |mut e: Entry, n: u64| {
        e.hard_link = Some(n);
        e
    };
    let outside = || link_to(victim.to_str().unwrap(), b"a");
    // A link, and a file that says it is the same: written through, it would reach outside.
    a.damaged(vec![
        with(outside(), 1),
        with(file(&a.store, b"b", b"evil"), 1),
    ]);
    // The same link twice is a hard link of the link itself.
    let twice = with(link_to(victim.to_str().unwrap(), b"b"), 1);
    let done = a.entries(vec![with(outside(), 1), twice]);
    assert_eq!(done.problem_count, 0);
    assert!(fs::symlink_metadata(a.to().join("b")).unwrap().is_symlink());
    // Other metadata, other bytes.
    let mut suid = with(file(&a.store, b"b", b"x"), 1);
    suid.meta.mode = 0o4755;
    a.damaged(vec![with(file(&a.store, b"a", b"x"), 1), suid]);
    a.damaged(vec![
        with(file(&a.store, b"a", b"x"), 1),
        with(file(&a.store, b"b", b"y"), 1),
    ]);
    // A number nobody used is just a file; a directory with one is none at all.
    assert_eq!(
        a.entries(vec![with(file(&a.store, b"a", b"x"), u64::MAX)])
            .problem_count,
        0
    );
    a.damaged(vec![with(dir(&a.store, b"d", &[]), 3)]);
}

#[test]
fn a_piece_of_another_size_than_stated_is_damage_and_reads_as_zeros() {
    let a = Arena::new();
    let with = |content: BlobRef| Entry {
        content: Some(content),
        ..file(&a.store, b"f", b"0123456789")
    };
    let ten = a.store.forge(b"0123456789");
    for (size, depth, top) in [
        (9, 0, Some(ten)),
        (11, 0, Some(ten)),
        (1 << 29, 0, Some(ten)),
        (10, 1, Some(ten)),
        (10, 6, Some(ten)),
        (10, 0, Some(ChunkId::from([3; 32]))),
        (10, 0, None),
        (0, 0, Some(ten)),
    ] {
        a.damaged(vec![with(blob(size, depth, top))]);
        assert_eq!(fs::metadata(a.to().join("f")).unwrap().len(), size);
    }
}

#[test]
fn list_nodes_that_lie_are_damage() {
    let a = Arena::new();
    let piece = a.store.forge(b"0123456789");
    let link = |size| Link {
        size,
        id: Some(piece),
    };
    let hole = |size| Link { size, id: None };
    let forge = |links: Vec<Link>| a.store.forge(&ListNode(links).encode());
    let ten = &b"0123456789"[..];
    // Each with the key of what a reader would find that believes the node.
    let nodes = [
        (forge(vec![link(10); 2]), ten.repeat(2)),
        (forge(vec![link(10); 4]), ten.repeat(4)),
        (forge(vec![link(10), hole(25)]), [ten, &[0; 25]].concat()),
        (forge(vec![link(10), hole(5)]), [ten, &[0; 5]].concat()),
        (
            forge(vec![link(10), link(0), link(10), link(10)]),
            ten.repeat(3),
        ),
        (forge(vec![hole(0); FAN_OUT]), Vec::new()),
        (forge(vec![hole(u64::MAX), hole(31)]), vec![0; 30]),
        (forge(vec![hole(u64::MAX); 3]), vec![0; 30]),
        (forge(vec![]), Vec::new()),
        (forge(vec![link(15), link(15)]), ten.repeat(2)),
        (a.store.forge(b"not a node"), ten.repeat(3)),
        (
            a.store
                .forge(&canon::encode(&Value::Array(vec![Value::Null; 9000]))),
            ten.repeat(3),
        ),
    ];
    for (node, bytes) in nodes {
        let e = Entry {
            content: Some(blob(30, 1, Some(node))),
            ..file(&a.store, b"f", &bytes)
        };
        a.damaged(vec![e]);
        assert_eq!(fs::metadata(a.to().join("f")).unwrap().len(), 30);
    }
    let good = Entry {
        content: Some(blob(30, 1, Some(forge(vec![link(10); 3])))),
        ..file(&a.store, b"f", &b"0123456789".repeat(3))
    };
    assert_eq!(a.entries(vec![good]).problem_count, 0);
}

#[test]
fn a_node_that_contains_itself_ends_by_its_depth() {
    let a = Arena::new();
    let own = ChunkId::from([9; 32]);
    let node = ListNode(vec![Link {
        size: 10,
        id: Some(own),
    }]);
    a.store.map().insert(own, node.encode());
    let before = a.store.gets.load(Ordering::SeqCst);
    let e = Entry {
        content: Some(blob(10, 6, Some(own))),
        ..file(&a.store, b"f", b"0123456789")
    };
    a.damaged(vec![e]);
    assert!(a.store.gets.load(Ordering::SeqCst) - before < 20);
}

#[test]
fn a_fan_of_empty_nodes_costs_one_step_and_not_1024_to_the_sixth() {
    let a = Arena::new();
    let mut id = a.store.forge(b"");
    for _ in 0..6 {
        let links = vec![
            Link {
                size: 0,
                id: Some(id)
            };
            FAN_OUT
        ];
        id = a.store.forge(&ListNode(links).encode());
    }
    let before = a.store.gets.load(Ordering::SeqCst);
    let with = |size| Entry {
        content: Some(blob(size, 6, Some(id))),
        ..file(&a.store, b"f", b"")
    };
    a.damaged(vec![with(1)]);
    a.entries(vec![with(0)]);
    assert!(a.store.gets.load(Ordering::SeqCst) - before < 20);
}

#[test]
fn a_bomb_of_directories_within_directories_ends_at_what_the_root_states() {
    let a = Arena::new();
    let mut top = dir(&a.store, b"bottom", &[]);
    for _ in 0..6 {
        let many = (0..1000).map(|i| Entry {
            name: format!("{i:04}").into_bytes(),
            ..top.clone()
        });
        top = dir(&a.store, b"d", &many.collect::<Vec<_>>());
    }
    let e = a.attack(&root(&a.store, top.clone(), 3000, 0)).unwrap_err();
    assert_eq!(e.kind(), Kind::Damage, "{e}");
    assert!(e.why().contains("more entries"), "{e}");
    let e = a.attack(&root(&a.store, top, u64::MAX, 0)).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused, "{e}");
    assert!(!a.to().exists());
}

#[test]
fn more_bytes_than_the_root_states_end_the_restore() {
    let a = Arena::new();
    let many: Vec<_> = (0..100)
        .map(|i| file(&a.store, format!("{i:03}").as_bytes(), &[b'x'; 1000]))
        .collect();
    let top = dir(&a.store, b"top", &many);
    let e = a
        .attack(&root(&a.store, top.clone(), 200, 5500))
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Damage, "{e}");
    assert_eq!(fs::read_dir(a.to()).unwrap().count(), 5);
    assert!(a.attack(&root(&a.store, top, 101, 100_000)).is_ok());
}

#[test]
fn a_hole_of_an_exabyte_is_refused_before_it_is_hashed() {
    let a = Arena::new();
    let huge = Entry {
        content: Some(blob(1 << 60, 0, None)),
        ..file(&a.store, b"f", b"")
    };
    let top = dir(&a.store, b"top", &[huge]);
    let e = a
        .attack(&root(&a.store, top.clone(), 2, 1 << 60))
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Refused, "{e}");
    let e = a.attack(&root(&a.store, top, 2, 1 << 20)).unwrap_err();
    assert_eq!(e.kind(), Kind::Damage, "{e}");
}

#[test]
fn directories_deeper_than_any_tree_are_cut_off() {
    let a = Arena::new();
    let mut top = dir(&a.store, b"bottom", &[]);
    for _ in 0..DEEPEST + 50 {
        top = dir(&a.store, b"d", &[top]);
    }
    let done = a.attack(&root(&a.store, top, 100_000, 0)).unwrap();
    assert_eq!((done.damaged, done.entries), (1, DEEPEST as u64));
    // Deeper than the standard library can remove with its open files.
    let rm = std::process::Command::new("rm")
        .arg("-rf")
        .arg(a.to())
        .status();
    assert!(rm.unwrap().success());
}

#[test]
fn nested_large_directories_do_not_pile_up_in_memory_and_are_read_whole() {
    let a = Arena::new();
    let mut fat = entry(b"y", EntryKind::Fifo);
    fat.meta.xattrs = vec![(b"user.fat".to_vec(), vec![7; 60_000])];
    let fat = |i: usize| Entry {
        name: format!("z{i:03}").into_bytes(),
        ..fat.clone()
    };
    let mut below = dir(&a.store, b"d", &[]);
    for _ in 0..30 {
        let mut all = vec![Entry {
            name: b"d".to_vec(),
            ..below
        }];
        all.extend((0..40).map(fat));
        below = dir(&a.store, b"d", &all);
    }
    let id = root(&a.store, below, 10_000, 0);
    let before = a.store.gets.load(Ordering::SeqCst);
    let mut seen = 0;
    let listed = crate::list(
        &a.store,
        &crate::open_at(&a.store, &id, b"").unwrap(),
        &mut |_, _| {
            seen += 1;
            Ok(true)
        },
    );
    assert_eq!((seen, listed.unwrap().problem_count), (30 * 41 + 1, 0));
    // 30 directories of 2.4 MB are more than is held: some were read again, none often.
    let reads = a.store.gets.load(Ordering::SeqCst) - before;
    assert!((35..=65).contains(&reads), "{reads} reads");
}

#[test]
fn content_under_a_wrong_key_is_damage() {
    let a = Arena::new();
    let other = blob_key(&Digest::of(b"other"));
    a.damaged(vec![Entry {
        key: Some(other),
        ..file(&a.store, b"f", b"x")
    }]);
    a.damaged(vec![Entry {
        key: None,
        ..file(&a.store, b"f", b"x")
    }]);
    a.damaged(vec![Entry {
        content: None,
        ..file(&a.store, b"f", b"x")
    }]);
    a.damaged(vec![Entry {
        key: Some(other),
        ..dir(&a.store, b"d", &[])
    }]);
    let one = dir(&a.store, b"d", &[file(&a.store, b"a", b"x")]);
    let two = dir(&a.store, b"d", &[file(&a.store, b"a", b"y")]);
    a.damaged(vec![Entry {
        content: two.content,
        ..one
    }]);
    let done = a.damaged(vec![Entry {
        content: Some(blob(5, 0, None)),
        ..two
    }]);
    assert!(done.problems[0].why.contains("hole"), "{:?}", done.problems);
}

#[test]
fn content_where_none_can_be_is_damage() {
    let a = Arena::new();
    let with = |kind| Entry {
        kind,
        ..file(&a.store, b"f", b"x")
    };
    for kind in [
        EntryKind::Symlink(b"/".to_vec()),
        EntryKind::Fifo,
        EntryKind::Socket,
        EntryKind::CharDevice(1),
        EntryKind::BlockDevice(1),
    ] {
        a.damaged(vec![with(kind)]);
    }
}

#[test]
fn garbage_for_a_directory_is_damage_and_the_entries_before_it_are_kept() {
    let a = Arena::new();
    let with = |bytes: &[u8]| Entry {
        content: Some(blob(bytes.len() as u64, 0, Some(a.store.forge(bytes)))),
        ..dir(&a.store, b"d", &[])
    };
    let good = file(&a.store, b"a", b"kept").encode();
    let cut = &good[..good.len() - 1];
    for tail in [
        &b"\xff"[..],
        b"\x00",
        &[0x81; 5000],
        b"\xa1\x00",
        cut,
        &good,
    ] {
        let bytes = [&good[..], tail].concat();
        a.damaged(vec![with(&bytes)]);
        assert_eq!(fs::read(a.to().join("d/a")).unwrap(), b"kept");
    }
    a.damaged(vec![with(&[
        0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ])]);
}

#[test]
fn garbage_for_a_root_is_refused_and_nothing_is_made() {
    let a = Arena::new();
    for bytes in [&b""[..], b"\xa0", &[0xff; 100], b"root"] {
        let e = a.attack(&a.store.forge(bytes)).unwrap_err();
        assert_eq!(e.kind(), Kind::Invalid);
        assert!(!a.to().exists());
    }
    let e = a.attack(&ChunkId::from([0; 32])).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    assert!(!a.to().exists());
}

#[test]
fn metadata_beyond_what_a_system_knows_is_a_problem_and_no_more() {
    let a = Arena::new();
    let with = |change: &dyn Fn(&mut Meta)| {
        let mut e = file(&a.store, b"f", b"x");
        change(&mut e.meta);
        e
    };
    let nobody = a.entries(vec![with(&|m| (m.uid, m.mode) = (u32::MAX, 0o6755))]);
    assert_eq!(nobody.problem_count, 1);
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(a.to().join("f")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "no set-id bits without their owner");
    for name in [
        &b"nonsense"[..],
        b"",
        b"a\0b",
        b"system.posix_acl_access",
        b"security.capability",
        &[b'u'; 300],
    ] {
        let name = name.to_vec();
        let done = a.entries(vec![with(&|m| {
            m.xattrs = vec![(name.clone(), b"junk".to_vec())]
        })]);
        assert_eq!(
            (done.problem_count, done.damaged),
            (1, 0),
            "{name:?} {:?}",
            done.problems
        );
    }
    let done = a.entries(vec![with(&|m| {
        m.xattrs = vec![(b"user.a".to_vec(), vec![0; 70_000])]
    })]);
    assert_eq!(done.problem_count, 1);
    for s in [i64::MIN, i64::MAX] {
        let done = a.entries(vec![with(&|m| m.mtime_s = s)]);
        assert_eq!(done.damaged, 0);
    }
}

#[test]
fn a_device_number_is_never_cut_to_another_device() {
    let a = Arena::new();
    let sda = (1u64 << 32) | (8 << 8);
    let done = a.entries(vec![
        entry(b"a", EntryKind::BlockDevice(sda)),
        entry(b"b", EntryKind::CharDevice(u64::MAX)),
    ]);
    assert_eq!(done.problem_count, 2, "{:?}", done.problems);
    assert!(!a.to().join("a").exists() && !a.to().join("b").exists());
}

#[test]
fn link_targets_no_system_takes_are_problems() {
    let a = Arena::new();
    let done = a.entries(vec![
        entry(b"a", EntryKind::Symlink(Vec::new())),
        entry(b"b", EntryKind::Symlink(vec![b'x'; 5000])),
        entry(b"c", EntryKind::Symlink(b"a\0b".to_vec())),
        file(&a.store, b"d", b"kept"),
    ]);
    assert_eq!(
        (done.problem_count, done.damaged),
        (3, 0),
        "{:?}",
        done.problems
    );
    assert!(a.to().join("d").exists());
}

#[test]
fn a_file_that_was_unreadable_when_stored_comes_back_empty_and_told() {
    let a = Arena::new();
    let done = a.entries(vec![
        entry(b"f", EntryKind::File),
        entry(b"g", EntryKind::Directory),
    ]);
    assert_eq!((done.problem_count, done.damaged), (1, 0));
    assert!(done.problems[0]
        .why
        .contains("could not be read when it was stored"));
    assert_eq!(fs::metadata(a.to().join("f")).unwrap().len(), 0);
    assert!(a.to().join("g").is_dir());
}

#[test]
fn a_hostile_name_cannot_write_to_the_terminal() {
    let a = Arena::new();
    let name = b"a\x1b[2Jb\xc2\x9bboo";
    let done = a.damaged(vec![Entry {
        key: None,
        ..file(&a.store, name, b"x")
    }]);
    let e = done.verdict().unwrap_err().to_string();
    assert!(!e.chars().any(char::is_control), "{e:?}");
}

#[test]
fn many_refusals_of_one_kind_are_told_once() {
    let a = Arena::new();
    let with = |i: usize| {
        let mut e = file(&a.store, format!("f{i:03}").as_bytes(), b"x");
        e.meta.xattrs = vec![(b"nonsense".to_vec(), b"x".to_vec())];
        e
    };
    let done = a.entries((0..300).map(with).collect());
    assert_eq!(done.problem_count, 1);
    assert!(
        done.problems[0]
            .why
            .ends_with("here and at 299 more entries"),
        "{:?}",
        done.problems
    );
    let each = |i: usize| {
        let mut e = with(i);
        e.meta.xattrs[0].0 = format!("nonsense{i}").into_bytes();
        e
    };
    assert!(a.entries((0..900).map(each).collect()).problem_count <= 201);
}
