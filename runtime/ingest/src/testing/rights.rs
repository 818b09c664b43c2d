//! Runs without root's rights: what they cannot do is told, and the rest is done.

use super::roundtrip::{ingest, nasty};
use super::{describe, Noon, Pieces, Quiet};
use crate::{ingest_tree, restore, IngestOptions, NameTable, RestoreOptions};
use asl_core::Kind;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use rustix::{fs::Gid, fs::Uid};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const NOBODY: u32 = 65534;

/// Runs in a thread that has given up root.
fn as_nobody<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|s| {
        let done = s.spawn(|| {
            let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
            set_thread_groups(&[]).expect("THIS TEST NEEDS ROOT TO GIVE IT UP");
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            run()
        });
        done.join().unwrap()
    })
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
}

#[test]
fn a_restore_without_root_keeps_the_content_and_tells_each_refusal_once() {
    let dir = tempfile::tempdir().unwrap();
    open_to_all(dir.path());
    let source = nasty(dir.path());
    let store = Pieces::new();
    let made = ingest(&store, &source);
    let to = dir.path().join("to");
    let got = as_nobody(|| restore(&store, &made.root, &to, &RestoreOptions::default(), &Quiet));
    let got = got.unwrap();
    got.verdict().unwrap();
    let told: Vec<&str> = got.problems.iter().map(|p| p.why.as_str()).collect();
    let count = |what: &str| told.iter().filter(|t| t.contains(what)).count();
    assert_eq!(count("owners could not be set"), 1, "{told:#?}");
    assert_eq!(
        count("could not be made: Operation not permitted"),
        2,
        "{told:#?}"
    );
    assert_eq!(
        count("\"security.capability\" could not be set"),
        1,
        "{told:#?}"
    );
    assert!(told.len() < 12, "{told:#?}");
    // Set-id bits of an owner that could not be set are left off; the sticky bit is not.
    let mode = |name: &str| fs::symlink_metadata(to.join(name)).unwrap().mode() & 0o7777;
    assert_eq!(
        (mode("suid"), mode("sgid"), mode("sticky")),
        (0o755, 0o711, 0o1777)
    );
    let random = |at: &Path| fs::read(at.join("random")).unwrap();
    assert!(random(&source) == random(&to));
    assert_eq!(fs::metadata(to.join("zz-random")).unwrap().nlink(), 3);
}

#[test]
fn what_may_not_be_read_is_told_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    open_to_all(dir.path());
    let source = dir.path().join("s");
    fs::create_dir_all(source.join("closed")).unwrap();
    for name in ["closed/inside", "secret", "open"] {
        fs::write(source.join(name), name).unwrap();
    }
    let set = |name: &str, mode| {
        fs::set_permissions(source.join(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    set("closed", 0o700);
    set("secret", 0o600);
    let names = NameTable::default();
    let options = IngestOptions::new(&names, &Noon);
    let store = Pieces::new();
    let made = as_nobody(|| ingest_tree(&store, &source, &options, &Quiet)).unwrap();
    assert_eq!(
        (made.entries, made.problem_count),
        (4, 2),
        "{:?}",
        made.problems
    );
    for (problem, path) in made.problems.iter().zip([&b"closed"[..], b"secret"]) {
        assert_eq!(problem.path, path);
        assert!(problem.why.contains("Permission denied"), "{}", problem.why);
    }
    let to = dir.path().join("to");
    let got = restore(&store, &made.root, &to, &RestoreOptions::default(), &Quiet).unwrap();
    assert_eq!((got.damaged, got.problem_count), (0, 1));
    let (a, b) = (describe(&source), describe(&to));
    assert_eq!(a[&b"/open"[..]], b[&b"/open"[..]]);
    assert_eq!(
        fs::read(to.join("secret")).unwrap(),
        b"",
        "known only by its metadata"
    );

    // The source itself is no hole in a tree but a refusal.
    let e = as_nobody(|| ingest_tree(&store, &source.join("closed"), &options, &Quiet));
    assert_eq!(e.unwrap_err().kind(), Kind::Io);
}

#[test]
fn a_target_that_may_not_be_written_is_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("f");
    fs::write(&source, b"x").unwrap();
    let store = Pieces::new();
    let made = ingest(&store, &source);
    let to = dir.path().join("to");
    let got = as_nobody(|| restore(&store, &made.root, &to, &RestoreOptions::default(), &Quiet));
    let e = got.unwrap_err();
    assert_eq!(e.kind(), Kind::Io);
    assert!(!e.what_next().is_empty() && !to.exists(), "{e}");
}
