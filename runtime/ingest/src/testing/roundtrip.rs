//! What goes in comes out: nasty trees, through ingest and restore and back.

use super::{describe, needs_root, noise, Noon, Pieces, Quiet};
use crate::{
    ingest_tree, list, open_at, restore, IngestOptions, Ingested, NameTable, RestoreOptions,
};
use asl_core::codec::Root;
use asl_core::Kind;
use rustix::fs::{
    lsetxattr, makedev, mknodat, utimensat, AtFlags, FileType, Mode, Timespec, Timestamps,
    XattrFlags, CWD,
};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(crate) fn ingest(store: &Pieces, source: &Path) -> Ingested {
    let names = NameTable::parse(b"ann:x:1000:1000::/:\n", b"staff:x:1000:\n");
    ingest_tree(store, source, &IngestOptions::new(&names, &Noon), &Quiet).unwrap()
}

fn set(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("THIS TEST NEEDS A FILE SYSTEM THAT TAKES {name}: {e}"));
}

fn acl(named_user: u32) -> Vec<u8> {
    let entry = |tag: u16, perm: u16, id: u32| {
        [
            &tag.to_le_bytes()[..],
            &perm.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    };
    let none = u32::MAX;
    [
        2u32.to_le_bytes().to_vec(),
        entry(1, 6, none),
        entry(2, 7, named_user),
        entry(4, 4, none),
        entry(0x10, 7, none),
        entry(0x20, 4, none),
    ]
    .concat()
}

fn touch(path: &Path, s: i64, ns: i64) {
    let time = Timespec {
        tv_sec: s,
        tv_nsec: ns,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn node(path: &Path, kind: FileType, dev: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), dev).unwrap();
}

/// A tree with everything a file system can hold.
pub(crate) fn nasty(at: &Path) -> PathBuf {
    nasty_with(at, 20 << 20)
}

fn nasty_with(at: &Path, sparse_bytes: u64) -> PathBuf {
    needs_root(at);
    let top = at.join("nasty");
    let p = |name: &str| top.join(name);
    let raw = |name: &[u8]| top.join(OsStr::from_bytes(name));
    fs::create_dir(&top).unwrap();
    fs::write(p("random"), noise(1, 5_000_000)).unwrap();
    fs::write(p("empty"), b"").unwrap();
    fs::write(p("one"), b"x").unwrap();
    fs::write(p("text.txt"), "words ".repeat(30_000)).unwrap();
    fs::create_dir(p("empty-dir")).unwrap();
    for name in [
        &b"caf\xe9"[..],
        b"\xff\xfe",
        b" ",
        b"\n",
        b"-rf",
        b"a\x1b[2Jb",
        b"...",
    ] {
        fs::write(raw(name), name).unwrap();
    }
    fs::write(raw(&[b'n'; 255]), b"a long name").unwrap();

    fs::create_dir(p("links")).unwrap();
    fs::hard_link(p("random"), p("links/random-again")).unwrap();
    fs::hard_link(p("random"), p("zz-random")).unwrap();
    symlink("../random", p("links/relative")).unwrap();
    symlink("/etc/passwd", p("links/absolute")).unwrap();
    symlink(OsStr::from_bytes(b"nowhere\xff/.."), p("links/dangling")).unwrap();
    fs::hard_link(p("links/dangling"), p("links/dangling-again")).unwrap();
    set(&p("links/absolute"), "trusted.on-a-link", b"held");

    let sparse = fs::File::create(p("sparse")).unwrap();
    sparse.set_len(sparse_bytes).unwrap();
    let island = |bytes: &[u8], at| sparse.write_all_at(bytes, at).unwrap();
    island(&noise(2, 70_001), sparse_bytes / 10);
    island(b"an island", sparse_bytes / 10 * 9 + 12_345);

    node(&p("fifo"), FileType::Fifo, 0);
    fs::hard_link(p("fifo"), p("fifo-again")).unwrap();
    node(&p("socket"), FileType::Socket, 0);
    node(&p("null"), FileType::CharacterDevice, makedev(1, 3));
    node(&p("disk"), FileType::BlockDevice, makedev(259, 70_000));
    set(&p("null"), "trusted.device", b"yes");

    fs::write(p("acl"), b"acl").unwrap();
    set(&p("acl"), "system.posix_acl_access", &acl(1000));
    fs::create_dir(p("acl-dir")).unwrap();
    set(&p("acl-dir"), "system.posix_acl_default", &acl(1001));
    fs::create_dir(p("acl-dir/later")).unwrap();
    fs::write(p("acl-dir/inherits"), b"x").unwrap();
    rustix::fs::lremovexattr(p("acl-dir/inherits"), "system.posix_acl_access").unwrap();
    fs::write(p("capable"), b"#!").unwrap();
    fs::set_permissions(p("capable"), PermissionsExt::from_mode(0o755)).unwrap();
    let cap_net_raw = [0x0200_0001u32, 1 << 13, 0, 0, 0];
    set(
        &p("capable"),
        "security.capability",
        &cap_net_raw.map(u32::to_le_bytes).concat(),
    );
    set(&p("one"), "user.binary", b"\0\xff\0");
    set(&p("one"), "user.empty", b"");
    set(&p("one"), "trusted.secret", &noise(5, 2000));

    for (name, mode) in [
        ("suid", 0o4755),
        ("sgid", 0o2711),
        ("none", 0o000),
        ("all", 0o7777),
    ] {
        fs::write(p(name), name).unwrap();
        std::os::unix::fs::chown(p(name), Some(1000), Some(1001)).unwrap();
        fs::set_permissions(p(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    fs::create_dir(p("sticky")).unwrap();
    fs::set_permissions(p("sticky"), PermissionsExt::from_mode(0o3777)).unwrap();
    std::os::unix::fs::lchown(p("links/relative"), Some(4_000_000_000), Some(7)).unwrap();

    let mut deep = p("deep");
    fs::create_dir(&deep).unwrap();
    for i in 0..90 {
        deep.push(format!("level-{i}"));
        fs::create_dir(&deep).unwrap();
        if i % 30 == 0 {
            fs::write(deep.join("file"), format!("{i}")).unwrap();
        }
    }
    fs::create_dir(p("read-only")).unwrap();
    fs::write(p("read-only/inside"), b"x").unwrap();
    fs::set_permissions(p("read-only"), PermissionsExt::from_mode(0o555)).unwrap();

    touch(&p("one"), 1, 1);
    touch(&p("empty"), -100, 999_999_999);
    touch(&p("links/absolute"), 1_234_567_890, 123_456_789);
    touch(&p("fifo"), 7, 7);
    touch(&p("null"), 8, 8);
    touch(&p("empty-dir"), 86_400, 5);
    touch(&p("deep/level-0"), 2, 2);
    touch(&p("deep"), 3, 3);
    touch(&top, 4, 4);
    top
}

#[test]
fn a_nasty_tree_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (source, to) = (nasty_with(dir.path(), 1 << 30), dir.path().join("to"));
    let before = describe(&source);
    let store = Pieces::new();
    let made = ingest(&store, &source);
    assert_eq!(made.problems, []);
    assert_eq!(made.entries, before.len() as u64);

    let got = restore(&store, &made.root, &to, &RestoreOptions::default(), &Quiet).unwrap();
    assert_eq!(got.problems, []);
    got.verdict().unwrap();
    assert_eq!((got.entries, got.bytes), (made.entries, made.bytes));
    let after = describe(&to);
    for (path, text) in &before {
        assert_eq!(
            Some(text),
            after.get(path),
            "{:?}",
            String::from_utf8_lossy(path)
        );
    }
    assert_eq!(before.len(), after.len());
    let blocks = fs::metadata(to.join("sparse")).unwrap().blocks();
    assert!(blocks * 512 < 1 << 20, "holes were filled: {blocks} blocks");

    // And once more: what was restored is the same artifact, and the source is as it was.
    let second = Pieces::new();
    let again = ingest(&second, &to);
    assert_eq!(again.key, made.key);
    let top = |s: &Pieces, i: &Ingested| {
        let top = Root::decode(&s.map()[&i.root]).unwrap().top;
        asl_core::codec::Entry {
            name: Vec::new(),
            ..top
        }
    };
    assert_eq!(top(&second, &again), top(&store, &made));
    assert_eq!(describe(&source), before);
}

#[test]
fn reading_a_source_leaves_no_access_times() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("s");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), b"x").unwrap();
    touch(&source.join("f"), 5, 5);
    touch(&source, 5, 5);
    ingest(&Pieces::new(), &source);
    assert_eq!(fs::metadata(source.join("f")).unwrap().atime(), 5);
    assert_eq!(fs::metadata(&source).unwrap().atime(), 5);
}

#[test]
fn a_second_run_adds_nothing_but_its_root() {
    let dir = tempfile::tempdir().unwrap();
    let source = nasty(dir.path());
    let store = Pieces::new();
    let first = ingest(&store, &source);
    let pieces = store.len();
    let second = ingest(&store, &source);
    assert_eq!(
        store.len(),
        pieces,
        "the clock stands still, so even the root is the same"
    );
    assert_eq!(
        (second.new_bytes, second.key, second.root),
        (0, first.key, first.root)
    );
    assert!(
        first.new_bytes > 5_000_000 && first.new_bytes < 6_000_000,
        "{}",
        first.new_bytes
    );
}

#[test]
fn owners_names_are_kept_as_the_source_spells_them() {
    let dir = tempfile::tempdir().unwrap();
    let source = nasty(dir.path());
    let store = Pieces::new();
    let made = ingest(&store, &source);
    let mut seen = Vec::new();
    let listed = list(
        &store,
        &open_at(&store, &made.root, b"").unwrap(),
        &mut |path, e| {
            if path == b"suid" {
                seen.push((e.meta.user.clone(), e.meta.group.clone(), e.meta.uid));
            }
            Ok(true)
        },
    )
    .unwrap();
    assert_eq!(seen, [(Some(b"ann".to_vec()), None, 1000)]);
    assert_eq!(listed.problem_count, 0);
}

#[test]
fn a_listing_has_every_path_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let source = nasty(dir.path());
    let store = Pieces::new();
    let made = ingest(&store, &source);
    let mut paths = Vec::new();
    list(
        &store,
        &open_at(&store, &made.root, b"").unwrap(),
        &mut |path, _| {
            paths.push(path.to_vec());
            Ok(true)
        },
    )
    .unwrap();
    let mut expected: Vec<Vec<u8>> = describe(&source)
        .into_keys()
        .map(|p| p.strip_prefix(b"/").unwrap_or(&p).to_vec())
        .collect();
    paths.sort();
    expected.sort();
    assert_eq!(paths, expected);
    let e = list(
        &store,
        &open_at(&store, &made.root, b"").unwrap(),
        &mut |_, _| {
            Err(asl_core::Error::new(
                Kind::Interrupted,
                "list",
                "",
                "enough",
            ))
        },
    );
    assert_eq!(e.unwrap_err().kind(), Kind::Interrupted);
}

#[test]
fn a_single_file_is_ingested_and_lands_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("only");
    fs::write(&file, b"content").unwrap();
    touch(&file, 9, 9);
    let store = Pieces::new();
    let made = ingest(&store, &file);
    assert_eq!((made.entries, made.bytes), (1, 7));
    let to = dir.path().join("to");
    restore(&store, &made.root, &to, &RestoreOptions::default(), &Quiet).unwrap();
    assert_eq!(describe(&file), describe(&to.join("only")));
}

#[test]
fn a_directory_of_many_entries_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("many");
    fs::create_dir(&source).unwrap();
    for i in 0..30_000 {
        symlink(
            "t",
            source.join(format!("a name of some length, number {i}")),
        )
        .unwrap();
    }
    let store = Pieces::new();
    let made = ingest(&store, &source);
    assert_eq!(made.entries, 30_001);
    let root = Root::decode(&store.map()[&made.root]).unwrap();
    let blob = root.top.content.unwrap();
    assert!(blob.depth == 1 && blob.size > 1_500_000, "{blob:?}");
    let mut listed = 0;
    list(
        &store,
        &open_at(&store, &made.root, b"").unwrap(),
        &mut |_, _| {
            listed += 1;
            Ok(true)
        },
    )
    .unwrap();
    assert_eq!(listed, 30_001);
}

#[test]
fn a_tree_deeper_than_the_open_file_limit_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("s");
    let mut at = source.clone();
    // A path this deep cannot be named as a whole; it is made in steps.
    for _ in 0..3 {
        at = (0..400).fold(at, |p, _| p.join("d"));
    }
    let path = at.as_os_str().as_bytes();
    assert!(path.len() < 4096);
    fs::create_dir_all(&at).unwrap();
    fs::write(at.join("bottom"), b"here").unwrap();
    let store = Pieces::new();
    let made = ingest(&store, &source);
    assert_eq!((made.entries, made.problems), (1202, vec![]));
    let to = dir.path().join("t");
    let got = restore(&store, &made.root, &to, &RestoreOptions::default(), &Quiet).unwrap();
    assert_eq!((got.entries, got.problem_count), (1202, 0));
    let bottom = to.join(at.strip_prefix(&source).unwrap()).join("bottom");
    assert_eq!(fs::read(bottom).unwrap(), b"here");
}
