//! What another user, or a hostile disk, may have put into a real directory.

// A test's helpers may panic; the lint knows only its functions.
#![allow(clippy::unwrap_used)]

use asl_backend::{create_whole, files, Backend, LogPosition, Name, PosixBackend};
use asl_core::{Error, Kind};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;

const START: LogPosition = LogPosition { commit: 0, byte: 0 };

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn kind<T>(outcome: asl_core::Result<T>) -> Kind {
    outcome.map(drop).unwrap_err().kind()
}

/// A location, and beside it what nothing may reach.
fn with_outside() -> (tempfile::TempDir, PosixBackend) {
    let dir = temporary();
    fs::create_dir_all(dir.path().join("root/log")).unwrap();
    fs::create_dir_all(dir.path().join("outside")).unwrap();
    fs::write(dir.path().join("outside/secret"), "secret").unwrap();
    let backend = PosixBackend::open(&dir.path().join("root")).unwrap();
    (dir, backend)
}

#[test]
fn a_symbolic_link_is_followed_nowhere_below_the_root() {
    let (dir, b) = with_outside();
    let root = dir.path().join("root");
    symlink("../outside", root.join("linked")).unwrap();
    symlink("../outside/secret", root.join("file")).unwrap();
    symlink("../../outside/new.log", root.join("log/append.log")).unwrap();
    for at in ["linked/secret", "file"] {
        assert_eq!(kind(b.get(&name(at), 0..9)), Kind::Damage, "{at}");
        assert_eq!(kind(b.read_back(&name(at))), Kind::Damage, "{at}");
        assert_eq!(kind(b.size(&name(at))), Kind::Damage, "{at}");
        assert_eq!(kind(b.append(&name(at), START, b"x")), Kind::Damage, "{at}");
        assert_eq!(kind(b.lock_writer(&name(at))), Kind::Damage, "{at}");
    }
    assert_eq!(kind(b.list(&name("linked"))), Kind::Damage);
    assert_eq!(kind(b.put_new(&name("linked/new"), b"x")), Kind::Damage);
    assert_eq!(kind(b.put(&name("linked/secret"), b"x")), Kind::Damage);
    assert_eq!(kind(b.remove(&name("linked/secret"))), Kind::Damage);
    assert_eq!(kind(b.create_dirs(&[name("linked/new")])), Kind::Exists);
    let log = name("log/append.log");
    assert_eq!(kind(b.append(&log, START, b"x")), Kind::Damage);
    assert_eq!(kind(b.lock_writer(&log)), Kind::Damage);
    // A put takes the name itself, not what it points to.
    assert_eq!(kind(b.put_new(&name("file"), b"x")), Kind::Exists);
    b.put(&name("file"), b"ours").unwrap();

    let outside: Vec<_> = fs::read_dir(dir.path().join("outside")).unwrap().collect();
    assert_eq!(outside.len(), 1, "nothing came to be outside");
    let secret = fs::read(dir.path().join("outside/secret")).unwrap();
    assert_eq!(secret, b"secret");
    assert_eq!(fs::read(root.join("file")).unwrap(), b"ours");
}

#[test]
fn a_temporary_directory_that_is_a_link_is_not_written_through() {
    let (dir, b) = with_outside();
    symlink("../outside", dir.path().join("root/tmp")).unwrap();
    assert_eq!(kind(b.put_new(&name("log/a"), b"x")), Kind::Damage);
    b.lock_writer(&name("log/append.log")).map(drop).unwrap();
    let outside: Vec<_> = fs::read_dir(dir.path().join("outside")).unwrap().collect();
    assert_eq!(outside.len(), 1);
}

#[test]
fn a_pipe_or_a_device_in_a_files_place_is_refused_and_not_waited_for() {
    let (dir, b) = with_outside();
    let pipe = dir.path().join("root/log/append.log");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let log = name("log/append.log");
    assert_eq!(kind(b.get(&log, 0..9)), Kind::Damage);
    assert_eq!(kind(b.read_back(&log)), Kind::Damage);
    assert_eq!(kind(b.append(&log, START, b"x")), Kind::Damage);
    assert_eq!(kind(b.lock_writer(&log)), Kind::Damage);
    assert_eq!(kind(files::read_limited(&pipe, 10)), Kind::Damage);
    assert_eq!(
        kind(files::read_limited(Path::new("/dev/zero"), 10)),
        Kind::Damage
    );
}

#[test]
fn an_object_of_absurd_size_is_not_read_into_memory() {
    let (dir, b) = with_outside();
    let huge = fs::File::create(dir.path().join("root/huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    assert_eq!(kind(b.get(&name("huge"), 0..u64::MAX)), Kind::Invalid);
    assert_eq!(
        b.get(&name("huge"), 1 << 39..(1 << 39) + 4).unwrap(),
        [0; 4]
    );
    let path = dir.path().join("root/huge");
    assert_eq!(kind(files::read_limited(&path, 4096)), Kind::Invalid);
}

#[test]
fn names_that_are_none_are_left_out_of_a_list() {
    let (dir, b) = with_outside();
    let log = dir.path().join("root/log");
    for odd in [
        ".new-1-1",
        ".hidden",
        "with space",
        "esc\u{1b}[2J",
        "caf\u{e9}",
        "good",
    ] {
        fs::write(log.join(odd), "").unwrap();
    }
    use std::os::unix::ffi::OsStrExt;
    fs::write(log.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
    assert_eq!(b.list(&name("log")).unwrap(), ["good"]);
}

#[test]
fn a_hostile_holder_file_misleads_nobody() {
    let (dir, b) = with_outside();
    let root = dir.path().join("root");
    let other = PosixBackend::open(&root).unwrap();
    let log = name("log/append.log");
    let _lock = other.lock_writer(&log).unwrap();
    let holder = root.join("tmp/holder.json");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let hostile = format!(
        r#"{{"layout":1,"log":"log/append.log","pid":7,"boot_id":"{}","command":"\u001b[2Jrm -rf {}"}}"#,
        boot.trim(),
        "x".repeat(500)
    );
    for text in [hostile.as_str(), "", "{", "null", "[]", &"[".repeat(5000)] {
        fs::write(&holder, text).unwrap();
        let error = b.lock_writer(&log).map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::Concurrent);
        let text = error.to_string();
        assert!(text.len() < 400 && !text.contains('\u{1b}'), "{text}");
    }
    fs::write(&holder, vec![b' '; 1 << 20]).unwrap();
    assert_eq!(kind(b.lock_writer(&log)), Kind::Concurrent);
}

#[test]
fn only_the_owner_may_read_what_is_written() {
    let (dir, b) = with_outside();
    let root = dir.path().join("root");
    b.create_dirs(&[name("store/blocks/sealed/ab")]).unwrap();
    b.put_new(&name("store/blocks/sealed/ab/x.blk"), b"x")
        .unwrap();
    b.put(&name("log/derived"), b"x").unwrap();
    b.append(&name("log/append.log"), START, b"x").unwrap();
    let _lock = b.lock_writer(&name("log/append.log")).unwrap();
    let mode = |at: &str| fs::metadata(root.join(at)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("store/blocks/sealed/ab/x.blk"), 0o400);
    assert_eq!(mode("log/derived"), 0o600);
    assert_eq!(mode("log/append.log"), 0o600);
    assert_eq!(mode("tmp/holder.json"), 0o600);
    for dir in [
        "store",
        "store/blocks/sealed/ab",
        "store/blocks/open",
        "tmp",
    ] {
        assert_eq!(mode(dir), 0o700, "{dir}");
    }
}

#[test]
fn what_a_dead_writer_left_is_swept_and_a_live_ones_file_is_not() {
    let (dir, b) = with_outside();
    let tmp = dir.path().join("root/tmp");
    fs::create_dir(&tmp).unwrap();
    fs::write(tmp.join(".new-1-1"), "dead").unwrap();
    fs::write(tmp.join(".new-1-2"), "alive").unwrap();
    fs::write(tmp.join("kept"), "named").unwrap();
    // A live writer holds a lock on its temporary file, as any lock of another open file.
    let root = PosixBackend::open(&tmp).unwrap();
    let disk = asl_backend::OsDisk::open(&tmp).unwrap();
    use asl_backend::disk::{Access, Disk, DiskFile, Lock};
    let alive = disk.open(Path::new(".new-1-2"), Access::Write).unwrap();
    assert!(alive.try_lock(Lock::Exclusive).unwrap());
    let lock = b.lock_writer(&name("log/append.log")).unwrap();
    assert!(!tmp.join(".new-1-1").exists());
    assert!(tmp.join(".new-1-2").exists());
    assert_eq!(root.list(&name("none")).unwrap(), Vec::<String>::new());
    drop((lock, alive));
    b.lock_writer(&name("log/append.log")).map(drop).unwrap();
    assert!(!tmp.join(".new-1-2").exists());
    assert_eq!(fs::read(tmp.join("kept")).unwrap(), b"named");
}

#[test]
fn a_location_that_is_missing_or_a_file_is_not_opened() {
    let dir = temporary();
    let open = |path: &Path| PosixBackend::open(path).map(drop).unwrap_err();
    let error = open(&dir.path().join("none"));
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("none"), "{error}");
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(open(&dir.path().join("file")).kind(), Kind::Damage);
}

#[test]
fn a_directory_comes_into_being_whole_or_not_at_all() {
    let dir = temporary();
    let fill = |to: &Path| {
        fs::create_dir(to.join("log")).unwrap();
        fs::write(to.join("log/genesis"), "genesis").unwrap();
        Ok(())
    };
    create_whole(dir.path(), "alice~0123", &[7; 16], fill).unwrap();
    let made = dir.path().join("alice~0123");
    assert_eq!(fs::read(made.join("log/genesis")).unwrap(), b"genesis");
    let mode = fs::metadata(&made).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o700);
    let again = create_whole(dir.path(), "alice~0123", &[8; 16], |_| Ok(()));
    assert_eq!(kind(again), Kind::Exists);
    let failed = create_whole(dir.path(), "bob", &[9; 16], |to| {
        fill(to)?;
        Err(Error::new(Kind::Refused, "fill", "bob", "no"))
    });
    assert_eq!(kind(failed), Kind::Refused);
    // Another made the same name in the meantime: theirs stays as it is.
    let raced = create_whole(dir.path(), "carol", &[10; 16], |to| {
        fill(to)?;
        fs::create_dir(dir.path().join("carol")).unwrap();
        Ok(())
    });
    assert_eq!(kind(raced), Kind::Exists);
    assert!(!dir.path().join("carol/log").exists());
    for hostile in [
        "",
        ".",
        "..",
        "a/b",
        "/etc",
        ".new-x",
        "a b",
        &"x".repeat(300),
    ] {
        let outcome = create_whole(dir.path(), hostile, &[1; 16], |_| Ok(()));
        assert_eq!(kind(outcome), Kind::Invalid, "{hostile:?}");
    }
    let mut left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["alice~0123", "carol"]);
}

#[test]
fn documents_are_written_once_replaced_whole_and_read_within_a_limit() {
    let dir = temporary();
    let at = dir.path().join("dam.cbor");
    files::write_new(&at, b"first", 0o400).unwrap();
    assert_eq!(kind(files::write_new(&at, b"second", 0o400)), Kind::Exists);
    assert_eq!(files::read_limited(&at, 5).unwrap(), b"first");
    assert_eq!(kind(files::read_limited(&at, 4)), Kind::Invalid);
    files::replace(&at, b"", 0o600).unwrap();
    assert_eq!(files::read_limited(&at, 0).unwrap(), b"");
    let mode = fs::metadata(&at).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    let nowhere = dir.path().join("none/x");
    assert_eq!(kind(files::write_new(&nowhere, b"", 0o600)), Kind::NotFound);
    assert_eq!(kind(files::replace(&nowhere, b"", 0o600)), Kind::NotFound);
    assert_eq!(kind(files::read_limited(&nowhere, 1)), Kind::NotFound);
    assert_eq!(kind(files::read_limited(dir.path(), 1)), Kind::Damage);
    assert_eq!(kind(files::read_limited(Path::new("/"), 1)), Kind::Invalid);
    symlink("dam.cbor", dir.path().join("link")).unwrap();
    let link = dir.path().join("link");
    assert_eq!(kind(files::read_limited(&link, 9)), Kind::Damage);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no leftovers");
}
