//! What happens while a run goes on: changes, stops, refusals, options.

use super::roundtrip::ingest;
use super::{describe, noise, Noon, Pieces, Quiet, Stopping};
use crate::{
    ingest_tree, restore, Acknowledged, IngestOptions, NameTable, Progress, RestoreOptions, Watch,
};
use asl_core::{Error, Kind};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

/// Does something to the source as soon as bytes were read.
struct Meddling<F: Fn() + Sync> {
    deed: F,
    done: AtomicBool,
    problems: Mutex<Vec<String>>,
}

impl<F: Fn() + Sync> Watch for Meddling<F> {
    fn progress(&self, p: &Progress) {
        if p.bytes > 0 && !self.done.swap(true, Ordering::SeqCst) {
            (self.deed)();
        }
    }
    fn acknowledged(&self, _: &Acknowledged) {}
    fn problem(&self, path: &[u8], why: &str) {
        let told = format!("{}: {why}", String::from_utf8_lossy(path));
        self.problems.lock().unwrap().push(told);
    }
    fn stop(&self) -> bool {
        false
    }
}

fn meddle(source: &Path, deed: impl Fn() + Sync) -> Vec<String> {
    let watch = Meddling {
        deed,
        done: AtomicBool::new(false),
        problems: Mutex::default(),
    };
    let names = NameTable::default();
    let store = Pieces::new();
    let made = ingest_tree(&store, source, &IngestOptions::new(&names, &Noon), &watch).unwrap();
    assert!(watch.done.load(Ordering::SeqCst));
    let told = watch.problems.into_inner().unwrap();
    assert_eq!(made.problem_count, told.len() as u64);
    let inside = made
        .problems
        .iter()
        .map(|p| format!("{}: {}", String::from_utf8_lossy(&p.path), p.why));
    assert_eq!(
        inside.collect::<Vec<_>>(),
        told,
        "the root tells what the watch was told"
    );
    told
}

fn source() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let s = dir.path().join("s");
    fs::create_dir_all(s.join("sub")).unwrap();
    fs::write(s.join("big"), noise(1, 5 << 20)).unwrap();
    fs::write(s.join("sub/small"), b"small").unwrap();
    fs::write(s.join("z"), b"z").unwrap();
    (dir, s)
}

#[test]
fn a_file_that_grows_while_it_is_read_is_told() {
    let (_dir, s) = source();
    let told = meddle(&s, || {
        let mut f = fs::OpenOptions::new()
            .append(true)
            .open(s.join("big"))
            .unwrap();
        f.write_all(b"more").unwrap();
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("big: changed while it was read"),
        "{told:?}"
    );
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_told() {
    let (_dir, s) = source();
    let told = meddle(&s, || {
        let f = fs::OpenOptions::new()
            .write(true)
            .open(s.join("big"))
            .unwrap();
        f.set_len(10).unwrap();
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("big: changed while it was read"),
        "{told:?}"
    );
}

#[test]
fn names_that_go_and_come_while_a_directory_is_read_are_told() {
    let (_dir, s) = source();
    let told = meddle(&s, || {
        fs::remove_file(s.join("z")).unwrap();
        fs::write(s.join("new"), b"").unwrap();
    });
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("z: left out: No such file"), "{told:?}");
    assert!(
        told[1].starts_with(": changed while it was read"),
        "{told:?}"
    );
}

#[test]
fn a_stop_is_honoured_and_what_was_stored_is_not_stored_again() {
    let (_dir, s) = source();
    let store = Pieces::new();
    let names = NameTable::default();
    let options = IngestOptions::new(&names, &Noon);
    let watch = Stopping::after(20);
    let e = ingest_tree(&store, &s, &options, &watch).unwrap_err();
    assert_eq!((e.kind(), e.exit_code()), (Kind::Interrupted, 130));
    assert!(e.what_next().contains("again"), "{}", e.what_next());
    assert!(watch.acknowledged.load(Ordering::SeqCst) > 0);
    let kept = store.len();
    assert!(kept > 5);
    let whole = Pieces::new();
    let fresh = ingest(&whole, &s);
    let resumed = ingest(&store, &s);
    assert_eq!(resumed.key, fresh.key);
    assert!(resumed.new_bytes < fresh.new_bytes);
    assert_eq!(store.len(), whole.len());
}

#[test]
fn a_full_store_ends_the_run_with_the_stores_word() {
    let (_dir, s) = source();
    let store = Pieces::new();
    store.full_after.store(10, Ordering::SeqCst);
    let names = NameTable::default();
    let e = ingest_tree(&store, &s, &IngestOptions::new(&names, &Noon), &Quiet).unwrap_err();
    assert!(e.to_string().contains("No space left"), "{e}");
}

#[test]
fn what_is_excluded_is_left_out_under_every_name_and_told() {
    let (dir, s) = source();
    fs::create_dir(s.join("store")).unwrap();
    fs::write(s.join("store/block"), b"secret block").unwrap();
    symlink(s.join("store"), dir.path().join("by-link")).unwrap();
    let names = NameTable::default();
    let mut options = IngestOptions::new(&names, &Noon);
    options.exclude = vec![dir.path().join("by-link")];
    let store = Pieces::new();
    let made = ingest_tree(&store, &s, &options, &Quiet).unwrap();
    assert_eq!(
        (made.entries, made.problem_count, made.left_out_count),
        (5, 0, 1)
    );
    assert_eq!(made.left_out[0].path, b"store");
    assert!(!store
        .map()
        .values()
        .any(|b| b.windows(6).any(|w| w == b"secret")));

    options.exclude = vec![dir.path().join("no such")];
    let e = ingest_tree(&store, &s, &options, &Quiet).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    options.exclude = vec![s.clone()];
    let e = ingest_tree(&store, &s, &options, &Quiet).unwrap_err();
    assert_eq!(e.kind(), Kind::Usage);
}

#[test]
fn a_mount_below_the_source_is_left_out_unless_asked_for() {
    let names = NameTable::default();
    let store = Pieces::new();
    let mut options = IngestOptions::new(&names, &Noon);
    options.exclude = ["/sys/kernel", "/sys/devices", "/sys/module"]
        .iter()
        .map(PathBuf::from)
        .filter(|p| p.exists())
        .collect();
    let below = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = below
        .lines()
        .find_map(|l| l.split(' ').nth(4).filter(|p| p.starts_with("/dev/")));
    let mount = mount.expect("THIS TEST NEEDS A MOUNT BELOW /dev, SUCH AS /dev/pts OR /dev/shm");
    let made = ingest_tree(&store, Path::new("/dev"), &options, &Quiet).unwrap();
    let path = mount.strip_prefix("/dev/").unwrap().as_bytes();
    assert!(
        made.left_out.iter().any(|p| p.path == path),
        "{mount} {:?}",
        made.left_out
    );
    options.one_file_system = false;
    let made = ingest_tree(&store, Path::new("/dev"), &options, &Quiet).unwrap();
    assert_eq!(made.left_out_count, 0);
}

#[test]
fn a_source_that_cannot_be_one_is_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let names = NameTable::default();
    let options = IngestOptions::new(&names, &Noon);
    let store = Pieces::new();
    for (path, kind) in [
        (dir.path().join("missing"), Kind::NotFound),
        (PathBuf::from("/dev/null"), Kind::Usage),
    ] {
        let e: Error = ingest_tree(&store, &path, &options, &Quiet).unwrap_err();
        assert_eq!(e.kind(), kind, "{e}");
        assert!(!e.what_next().is_empty());
    }
    assert_eq!(store.len(), 0);
}

#[test]
fn a_target_that_holds_something_is_refused_and_untouched() {
    let (dir, s) = source();
    let store = Pieces::new();
    let made = ingest(&store, &s);
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join(".hidden"), b"mine").unwrap();
    symlink(dir.path().join("full"), dir.path().join("link")).unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    symlink(dir.path().join("empty"), dir.path().join("link-to-empty")).unwrap();
    let before = describe(dir.path());
    for (to, kind) in [
        ("full", Kind::Exists),
        ("full/.hidden", Kind::Exists),
        ("link", Kind::Exists),
        ("link-to-empty", Kind::Exists),
        ("no/such/parent", Kind::NotFound),
        ("s", Kind::Exists),
    ] {
        let to = dir.path().join(to);
        let e = restore(&store, &made.root, &to, &RestoreOptions::default(), &Quiet).unwrap_err();
        assert_eq!(e.kind(), kind, "{e}");
        assert!(!e.what_next().is_empty(), "{e}");
    }
    assert_eq!(describe(dir.path()), before);
    let empty = dir.path().join("empty");
    restore(
        &store,
        &made.root,
        &empty,
        &RestoreOptions::default(),
        &Quiet,
    )
    .unwrap();
}

#[test]
fn a_root_of_more_than_is_allowed_is_refused_before_anything_is_made() {
    let (dir, s) = source();
    let store = Pieces::new();
    let made = ingest(&store, &s);
    let to = dir.path().join("to");
    for options in [
        RestoreOptions {
            max_bytes: made.bytes - 1,
            ..RestoreOptions::default()
        },
        RestoreOptions {
            max_entries: made.entries - 1,
            ..RestoreOptions::default()
        },
    ] {
        let e = restore(&store, &made.root, &to, &options, &Quiet).unwrap_err();
        assert_eq!(e.kind(), Kind::Refused, "{e}");
        assert!(!to.exists());
    }
    let exact = RestoreOptions {
        max_bytes: made.bytes,
        max_entries: made.entries,
        ..RestoreOptions::default()
    };
    restore(&store, &made.root, &to, &exact, &Quiet).unwrap();
}

#[test]
fn a_restore_that_is_stopped_says_so() {
    let (dir, s) = source();
    let store = Pieces::new();
    let made = ingest(&store, &s);
    let to = dir.path().join("to");
    let watch = Stopping::after(3);
    let e = restore(&store, &made.root, &to, &RestoreOptions::default(), &watch).unwrap_err();
    assert_eq!(e.kind(), Kind::Interrupted);
}

#[test]
fn nothing_is_inherited_from_the_target_or_its_parent() {
    let (dir, s) = source();
    let store = Pieces::new();
    let made = ingest(&store, &s);
    let parent = dir.path().join("parent");
    fs::create_dir(&parent).unwrap();
    let acl = [
        2u32,
        0x0007_0001,
        u32::MAX,
        0x0007_0004,
        u32::MAX,
        0x0007_0020,
        u32::MAX,
    ];
    let acl = acl.map(u32::to_le_bytes).concat();
    let name = "system.posix_acl_default";
    rustix::fs::setxattr(&parent, name, &acl, rustix::fs::XattrFlags::empty())
        .expect("THIS TEST NEEDS A FILE SYSTEM WITH ACLS");
    std::os::unix::fs::chown(&parent, Some(0), Some(77)).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&parent, PermissionsExt::from_mode(0o2777)).unwrap();
    let to = parent.join("to");
    restore(&store, &made.root, &to, &RestoreOptions::default(), &Quiet).unwrap();
    assert_eq!(describe(&to), describe(&s));
}
