//! Writers that are real processes: races, and kills at any moment.
//!
//! The test program runs itself again as the other process.

// A test's helpers may panic; the lint knows only its functions.
#![allow(clippy::unwrap_used)]

use asl_backend::{Backend, LogPosition, Name, PosixBackend};
use asl_core::Kind;
use asl_testkit::Random;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ROLE: &str = "ASL_BACKEND_TEST_ROLE";
const ROOT: &str = "ASL_BACKEND_TEST_ROOT";
const LOG: &str = "log/append.log";
const FRAME: usize = 700;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn frame(number: u64) -> Vec<u8> {
    (0..FRAME)
        .map(|i| (number as u8).wrapping_add((i / 100) as u8) | 1)
        .collect()
}

fn at(frames: u64) -> LogPosition {
    LogPosition {
        commit: frames,
        byte: frames * FRAME as u64,
    }
}

fn other(role: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_other_process", "--nocapture", "--ignored"])
        .env(ROLE, role)
        .env(ROOT, root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a promise of its own: what the other tests run in another process.
#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn the_other_process() {
    let root = std::env::var(ROOT).unwrap();
    let backend = PosixBackend::open(Path::new(&root)).unwrap();
    match std::env::var(ROLE).unwrap().as_str() {
        "hold" => {
            let _lock = backend.lock_writer(&name(LOG)).unwrap();
            println!("\nholding {}", std::process::id());
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        "write" => {
            let _lock = backend.lock_writer(&name(LOG)).unwrap();
            let size = backend.size(&name(LOG)).unwrap();
            for number in size / FRAME as u64.. {
                let object = name(&format!("snapshots/s-{number:06}"));
                match backend.put_new(&object, &frame(number)) {
                    Err(e) if e.kind() == Kind::Exists => {}
                    other => other.unwrap(),
                }
                backend.barrier().unwrap();
                backend
                    .append(&name(LOG), at(number), &frame(number))
                    .unwrap();
                println!("\nacknowledged {number}");
            }
        }
        "race" => {
            let mut won = 0;
            while won < 40 {
                let end = backend.size(&name(LOG)).unwrap_or(0) / FRAME as u64;
                match backend.append(&name(LOG), at(end), &frame(end)) {
                    Ok(()) => won += 1,
                    Err(e) => assert_eq!(e.kind(), Kind::Concurrent, "{e}"),
                }
            }
        }
        role => panic!("no role {role}"),
    }
}

fn location() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let backend = PosixBackend::open(dir.path()).unwrap();
    backend
        .create_dirs(&["log", "snapshots", "quarantine"].map(name))
        .unwrap();
    backend.barrier().unwrap();
    dir
}

#[test]
fn the_second_writer_is_told_who_holds_the_lock_and_a_kill_frees_it() {
    let dir = location();
    let backend = PosixBackend::open(dir.path()).unwrap();
    let mut child = other("hold", dir.path());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("holding ").map(str::to_owned))
        .unwrap();
    let error = backend.lock_writer(&name(LOG)).map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::Concurrent);
    let wanted = format!("process {pid} (");
    assert!(error.why().contains(&wanted), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(dir.path().join("tmp/holder.json").exists(), "left behind");
    let lock = backend.lock_writer(&name(LOG)).unwrap();
    drop(lock);
    assert!(!dir.path().join("tmp/holder.json").exists());
}

#[test]
fn appends_of_racing_processes_never_mix_and_none_is_lost() {
    let dir = location();
    let mut children: Vec<Child> = (0..4).map(|_| other("race", dir.path())).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let backend = PosixBackend::open(dir.path()).unwrap();
    let log = backend.get(&name(LOG), 0..u64::MAX).unwrap();
    assert_eq!(log.len(), 160 * FRAME);
    for (number, found) in log.chunks(FRAME).enumerate() {
        assert!(found == frame(number as u64), "frame {number} is mixed");
    }
}

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_it_acknowledged() {
    let dir = location();
    let mut random = Random::new(5);
    let mut acknowledged = None;
    for round in 0..30 {
        let mut child = other("write", dir.path());
        let out = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            BufReader::new(out)
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok())
                .last()
        });
        std::thread::sleep(Duration::from_millis(20 + random.below(120)));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = reader.join().unwrap().or(acknowledged);

        let backend = PosixBackend::open(dir.path()).unwrap();
        let _lock = backend.lock_writer(&name(LOG)).unwrap();
        let log = backend.get(&name(LOG), 0..u64::MAX).unwrap();
        let whole = (log.len() / FRAME) as u64;
        assert!(acknowledged.is_none_or(|last| whole > last), "lost a frame");
        let keep = name(&format!("quarantine/round-{round}"));
        backend.cut_log(&name(LOG), at(whole), &keep).unwrap();
        for (number, found) in log.chunks_exact(FRAME).enumerate() {
            let number = number as u64;
            assert!(found == frame(number), "frame {number}");
            let object = name(&format!("snapshots/s-{number:06}"));
            assert_eq!(backend.get(&object, 0..9999).unwrap(), frame(number));
        }
        let temporary = std::fs::read_dir(dir.path().join("tmp")).unwrap();
        for entry in temporary {
            let left = entry.unwrap().file_name();
            assert_eq!(left, "holder.json", "leftovers are swept");
        }
    }
    println!("acknowledged in the end: {acknowledged:?}");
    std::io::stdout().flush().unwrap();
    assert!(acknowledged > Some(30), "{acknowledged:?}");
}
