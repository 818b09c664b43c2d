//! Looking into a stored tree, and comparing two.

use super::{describe, noise, Noon, Pieces, Quiet};
use crate::{
    compare, ingest_tree, list, open_at, read_file, restore, Change, IngestOptions, NameTable,
    RestoreOptions,
};
use asl_core::codec::{EntryKind, Root};
use asl_core::{ChunkId, Kind};
use std::fs;
use std::os::unix::fs::{symlink, FileExt};
use std::path::Path;
use std::sync::atomic::Ordering;

fn ingest(store: &Pieces, source: &Path) -> ChunkId {
    let names = NameTable::default();
    let options = IngestOptions::new(&names, &Noon);
    ingest_tree(store, source, &options, &Quiet).unwrap().root
}

/// Many directories with a file each, one of them large and with a hole.
fn tree(at: &Path) {
    for i in 0..50 {
        let dir = at.join(format!("d{i:02}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("file"), noise(i, 3000)).unwrap();
    }
    let big = fs::File::create(at.join("d07/big")).unwrap();
    big.write_all_at(&noise(99, 1 << 20), 0).unwrap();
    big.write_all_at(b"end", 5 << 20).unwrap();
    symlink("d07/big", at.join("link")).unwrap();
}

fn content(store: &Pieces, root: &Root) -> asl_core::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_file(store, &root.top, &mut |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })?;
    Ok(bytes)
}

#[test]
fn one_file_of_many_is_found_and_read_and_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    let store = Pieces::new();
    let id = ingest(&store, dir.path());
    store.gets.store(0, Ordering::SeqCst);
    let at = open_at(&store, &id, b"d31/file").unwrap();
    assert_eq!(content(&store, &at).unwrap(), noise(31, 3000));
    // The root, two directories, one file.
    assert_eq!(store.gets.load(Ordering::SeqCst), 4);
    let big = open_at(&store, &id, b"/d07//./big").unwrap();
    assert_eq!(
        content(&store, &big).unwrap(),
        fs::read(dir.path().join("d07/big")).unwrap()
    );
}

#[test]
fn a_path_that_leads_nowhere_is_told_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    let store = Pieces::new();
    let id = ingest(&store, dir.path());
    for (path, kind, words) in [
        (&b"d99"[..], Kind::NotFound, "no such entry"),
        (b"d07/bi", Kind::NotFound, "no such entry"),
        (b"d07/file/x", Kind::NotFound, "is no directory"),
        (b"link/x", Kind::NotFound, "symbolic link to \"d07/big\""),
        (b"d07/../d08", Kind::Invalid, ".."),
        (b"d07/\x1b[31m", Kind::NotFound, "no such entry"),
    ] {
        let e = open_at(&store, &id, path).unwrap_err();
        assert_eq!(e.kind(), kind, "{e}");
        assert!(e.to_string().contains(words), "{e}");
        assert!(
            !e.to_string().contains('\x1b') && !e.what_next().is_empty(),
            "{e:?}"
        );
    }
    for path in [&b"d07"[..], b"link"] {
        let root = open_at(&store, &id, path).unwrap();
        assert_eq!(content(&store, &root).unwrap_err().kind(), Kind::Invalid);
    }
}

#[test]
fn a_lost_range_of_a_file_is_an_error_with_its_place_and_what_lies_before_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    let store = Pieces::new();
    let id = ingest(&store, dir.path());
    let root = open_at(&store, &id, b"d07/big").unwrap();
    let top = store.map()[&root.top.content.unwrap().top.unwrap()].clone();
    let node = asl_core::codec::ListNode::decode(&top).unwrap();
    let (first, second) = (node.0[0], node.0[1]);
    store.map().remove(&second.id.unwrap());
    let mut given = 0u64;
    let e = read_file(&store, &root.top, &mut |part| {
        given += part.len() as u64;
        Ok(())
    })
    .unwrap_err();
    assert_eq!((e.kind(), given), (Kind::Damage, first.size));
    let range = format!(
        "bytes {}-{} are lost",
        first.size,
        first.size + second.size - 1
    );
    assert!(e.why().contains(&range), "{e}");
}

#[test]
fn bytes_of_another_file_under_this_ones_key_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    let store = Pieces::new();
    let id = ingest(&store, dir.path());
    let other = open_at(&store, &id, b"d01/file").unwrap().top;
    let mut root = open_at(&store, &id, b"d02/file").unwrap();
    root.top.content = other.content;
    assert_eq!(content(&store, &root).unwrap_err().kind(), Kind::Damage);
}

#[test]
fn a_part_of_a_tree_is_listed_and_restored_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    tree(&source);
    let store = Pieces::new();
    let id = ingest(&store, &source);
    let mut seen = Vec::new();
    let root = open_at(&store, &id, b"d07").unwrap();
    list(&store, &root, &mut |path, e| {
        seen.push((path.to_vec(), e.kind == EntryKind::Directory));
        Ok(true)
    })
    .unwrap();
    assert_eq!(
        seen,
        [
            (b"".to_vec(), true),
            (b"big".to_vec(), false),
            (b"file".to_vec(), false)
        ]
    );
    for (path, there) in [("d07", ""), ("d07/big", "big")] {
        let to = dir.path().join(format!("to-{}", path.len()));
        let options = RestoreOptions {
            path: path.as_bytes().to_vec(),
            ..RestoreOptions::default()
        };
        let done = restore(&store, &id, &to, &options, &Quiet).unwrap();
        assert_eq!((done.problem_count, done.damaged), (0, 0));
        assert_eq!(describe(&source.join(path)), describe(&to.join(there)));
    }
    let options = RestoreOptions {
        path: b"d77".to_vec(),
        ..RestoreOptions::default()
    };
    let to = dir.path().join("none");
    let e = restore(&store, &id, &to, &options, &Quiet).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    assert!(!to.exists(), "nothing was written");
}

#[test]
fn the_problems_of_a_part_are_its_own() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    let store = Pieces::new();
    let id = ingest(&store, dir.path());
    let mut root = Root::decode(&store.map()[&id]).unwrap();
    let problem = |path: &str| asl_core::codec::Problem {
        path: path.into(),
        why: "EIO".into(),
    };
    root.problems = ["d07", "d07/big", "d070", "link"].map(problem).to_vec();
    root.problem_count = 6;
    let id = store.forge(&root.encode());
    let below = |path: &[u8]| {
        let root = open_at(&store, &id, path).unwrap();
        let paths: Vec<Vec<u8>> = root.problems.into_iter().map(|p| p.path).collect();
        (paths, root.problem_count)
    };
    // Two more are counted and not told: they may be anywhere.
    assert_eq!(below(b"d07"), (vec![b"".to_vec(), b"big".to_vec()], 4));
    assert_eq!(below(b"d07/big"), (vec![b"".to_vec()], 3));
    assert_eq!(below(b"d08"), (vec![], 2));
    assert_eq!(below(b"").1, 6);
}

/// The differences of two trees as lines.
fn differences(store: &Pieces, a: Option<ChunkId>, b: Option<ChunkId>) -> (Vec<String>, u64) {
    let open = |id: Option<ChunkId>| id.map(|id| open_at(store, &id, b"").unwrap());
    let mut lines = Vec::new();
    let (a, b) = (open(a), open(b));
    let done = compare(store, a.as_ref(), b.as_ref(), &mut |path, change| {
        let sign = match change {
            Change::Added(_) => '+',
            Change::Removed(_) => '-',
            Change::Changed { content: true, .. } => 'M',
            Change::Changed { content: false, .. } => 'm',
        };
        lines.push(format!("{sign} {}", String::from_utf8_lossy(path)));
        Ok(())
    })
    .unwrap();
    (lines, done.problem_count)
}

#[test]
fn two_trees_differ_in_what_was_changed_and_only_that_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    tree(&source);
    let store = Pieces::new();
    let old = ingest(&store, &source);
    assert_eq!(differences(&store, Some(old), Some(old)), (vec![], 0));
    let touch = |name: &str| {
        let file = fs::File::options()
            .write(true)
            .open(source.join(name))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    fs::write(source.join("d03/file"), b"other").unwrap();
    touch("d05/file");
    fs::remove_dir_all(source.join("d40")).unwrap();
    fs::create_dir(source.join("d39/new")).unwrap();
    fs::write(source.join("d39/new/file"), b"new").unwrap();
    fs::remove_file(source.join("link")).unwrap();
    fs::create_dir(source.join("link")).unwrap();
    fs::write(source.join("link/inside"), b"x").unwrap();
    let new = ingest(&store, &source);
    store.gets.store(0, Ordering::SeqCst);
    let (lines, problems) = differences(&store, Some(old), Some(new));
    assert_eq!(problems, 0);
    // Two roots, two tops, d03 and d05 and d39 twice, d40 and d39/new and link once.
    assert_eq!(store.gets.load(Ordering::SeqCst), 13);
    let expected = [
        "m ",
        "M d03/file",
        "m d05/file",
        "m d39",
        "+ d39/new",
        "+ d39/new/file",
        "- d40",
        "- d40/file",
        "M link",
        "+ link/inside",
    ];
    assert_eq!(lines, expected);
    let (back, _) = differences(&store, Some(new), Some(old));
    assert!(
        back.contains(&"+ d40/file".to_string()) && back.contains(&"- link/inside".to_string())
    );
    let (all, _) = differences(&store, None, Some(old));
    assert_eq!(all.len(), 1 + 50 * 2 + 2);
    assert!(all.iter().all(|l| l.starts_with('+')));
}

#[test]
fn a_directory_that_cannot_be_read_is_told_and_not_taken_for_removed_files() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    tree(&source);
    let store = Pieces::new();
    let old = ingest(&store, &source);
    fs::write(source.join("d03/more"), b"x").unwrap();
    fs::write(source.join("d04/more"), b"x").unwrap();
    let new = ingest(&store, &source);
    let lost = open_at(&store, &new, b"d03")
        .unwrap()
        .top
        .content
        .unwrap()
        .top
        .unwrap();
    store.map().remove(&lost);
    let (lines, problems) = differences(&store, Some(old), Some(new));
    assert_eq!(lines, ["m d03", "m d04", "+ d04/more"]);
    assert_eq!(problems, 1);
}
