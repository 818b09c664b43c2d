//! The museum of broken stores: every line of MUSEUM.md is made by code, met by the real program,
//! and gets the words and the exit code that the table says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A line of the table.
struct Line {
    command: String,
    words: Vec<String>,
    code: i32,
}

fn table() -> BTreeMap<String, Line> {
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(" | ").collect();
        assert_eq!(cells.len(), 5, "not five cells: {line}");
        let name = cells[0].trim_start_matches("| `").trim_end_matches('`');
        let words = cells[3].split('"').skip(1).step_by(2).map(String::from);
        let code = cells[4].trim_end_matches(" |").parse().unwrap();
        let made = Line {
            command: cells[2].trim_matches('`').to_string(),
            words: words.collect(),
            code,
        };
        (name.to_string(), made)
    };
    let text = include_str!("../MUSEUM.md");
    text.lines()
        .filter(|l| l.starts_with("| `"))
        .map(line)
        .collect()
}

/// A domain with two snapshots of a source that changed in between, its session over.
fn whole() -> World {
    let world = World::offline().with_domain();
    let source = world.path("source");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("letter"), "dear owner\n".repeat(400)).unwrap();
    world.ingest(&source).words(["--snapshot"]).run().ok();
    fs::write(source.join("another"), "and again\n".repeat(900)).unwrap();
    world.ingest(&source).words(["--snapshot"]).run().ok();
    world
}

/// A copy of a world's root, to be broken.
struct Exhibit {
    dir: tempfile::TempDir,
}

impl Exhibit {
    fn of(world: &World) -> Exhibit {
        let dir = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .arg(world.root())
            .arg(dir.path())
            .status();
        assert!(copied.unwrap().success());
        Exhibit { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn domain(&self) -> PathBuf {
        let all = fs::read_dir(self.root().join("domains")).unwrap();
        all.map(|d| d.unwrap().path()).next().unwrap()
    }

    /// The first file whose path holds this.
    fn file(&self, part: &str) -> PathBuf {
        let mut all: Vec<PathBuf> = contents(&self.domain()).into_keys().collect();
        all.sort();
        let of = |p: &PathBuf| p.to_string_lossy().contains(part);
        all.into_iter()
            .find(of)
            .unwrap_or_else(|| panic!("no file of {part}"))
    }

    fn flip(&self, part: &str, byte: usize) {
        self.change(part, |bytes| bytes[byte] ^= 1);
    }

    fn change(&self, part: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.file(part);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }

    fn gone(&self, part: &str) {
        fs::remove_file(self.file(part)).unwrap();
    }
}

/// Breaks an exhibit in the way of its line.
fn break_as(name: &str, e: &Exhibit) {
    let block = "store/blocks/sealed";
    let head = |e: &Exhibit| {
        let heads = contents(&e.root().join("host/heads"));
        let of_domain = |p: &PathBuf| !p.to_string_lossy().ends_with(".host");
        heads.into_keys().find(of_domain).unwrap()
    };
    match name {
        "whole" => {}
        "block-flipped" | "lost-block" | "lost-block-unnamed" => e.flip(block, 300),
        "block-missing" => e.gone(block),
        "block-cut" => e.change(block, |b| b.truncate(200)),
        "block-of-a-stranger" => {
            let name = format!("store/blocks/sealed/ab/{}.blk", "ab".repeat(32));
            fs::write(e.domain().join(name), "left by a crash").unwrap();
        }
        "segment-flipped" | "segment-rebuilt" | "segment-sealed" => e.flip("/segment", 200),
        "segment-missing" => e.gone("/segment"),
        "set-missing" => e.gone(".set"),
        "set-flipped" | "gc-in-doubt" => e.flip(".set", 20),
        "list-flipped" | "list-rebuilt" => e.flip("snap-000002/blocks", 20),
        "manifest-flipped" => e.flip("snap-000001/manifest.cbor", 40),
        "manifest-signature" | "manifest-signature-verify" => {
            e.flip("snap-000002/manifest.sig", 90)
        }
        "log-flipped" | "log-flipped-write" => e.flip("append.log", 100),
        "log-torn" => e.change("append.log", |b| b.extend_from_slice(b"ASLCLOG\x01torn")),
        "log-short" | "log-short-write" => e.change("append.log", |b| b.truncate(b.len() - 40)),
        "log-gone" => e.gone("append.log"),
        "log-newer" => e.change("append.log", |b| {
            b[8] = 9;
            let crc = crc32c(&b[..16]).to_le_bytes();
            b[16..20].copy_from_slice(&crc);
        }),
        "ledger-flipped" => e.flip("seal.log", 20),
        "checkpoint-flipped" => e.flip("log/checkpoints", 50),
        "host-log-flipped" | "host-log-write" => e.flip("host.log", 60),
        "dam-flipped" | "dam-flipped-restore" | "dam-flipped-write" => {
            e.flip("admission/dam.cbor", 200);
        }
        "epoch-flipped" => e.flip("epoch-1.age", 20),
        "delegation-flipped" => e.flip("auth/delegations", 60),
        "descriptor-flipped" | "descriptor-repaired" => e.flip("domain.json", 20),
        "epoch-missing" => e.gone("epoch-1.keys.age"),
        "head-flipped" | "head-flipped-verify" | "head-repaired" => {
            let path = head(e);
            let mut bytes = fs::read(&path).unwrap();
            bytes[10] ^= 1;
            fs::write(path, bytes).unwrap();
        }
        "head-of-a-later-day" => {
            // What was acknowledged since is missing: the disk was put back from a copy.
            let log = e.file("append.log");
            let bytes = fs::read(&log).unwrap();
            let starts: Vec<usize> = (0..bytes.len() - 8)
                .filter(|n| &bytes[*n..n + 8] == b"ASLCLOG\x01")
                .collect();
            fs::write(&log, &bytes[..*starts.last().unwrap()]).unwrap();
        }
        other => panic!("MUSEUM.md has a line that nothing breaks: {other}"),
    }
}

/// CRC-32C, bit by bit: what the header of a frame is checked by.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
    let byte = |crc: u32, b: &u8| (0..8).fold(crc ^ u32::from(*b), step);
    !bytes.iter().fold(!0, byte)
}

#[test]
fn every_broken_store_gets_the_words_that_the_museum_says() {
    let world = whole();
    let lines = table();
    assert!(lines.len() > 25, "{}", lines.len());
    let mut wrong = Vec::new();
    for (name, line) in &lines {
        let exhibit = Exhibit::of(&world);
        break_as(name, &exhibit);
        let path = |p: &Path| p.to_string_lossy().into_owned();
        let to = exhibit.dir.path().join("to");
        let command = line
            .command
            .replace("OWNER", &path(&world.owner()))
            .replace("SOURCE", &path(&world.path("source")))
            .replace("STICK", &path(&world.stick()))
            .replace("PASSPHRASE", &path(&world.passphrase()))
            .replace("TO", &path(&to));
        let ran = asl(&exhibit.root()).words(command.split(' ').skip(1)).run();
        let said = format!("{}{}", ran.out, ran.err);
        let unsaid: Vec<&String> = line
            .words
            .iter()
            .filter(|w| !said.contains(w.as_str()))
            .collect();
        if ran.code != line.code || !unsaid.is_empty() || said.contains("panicked") {
            wrong.push(format!(
                "{name}: exit code {}, not {}; not said: {unsaid:?}; said:\n{said}",
                ran.code, line.code
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
}

/// Two real processes, one of which seals while the other forgets and collects.
#[test]
fn a_writer_and_a_collector_that_race_lose_nothing_that_is_kept() {
    let world = whole();
    let source = world.path("source");
    let done = std::sync::atomic::AtomicBool::new(false);
    let (mut sealed, mut collected) = (0, 0);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut collected = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let forgot =
                    world
                        .asl()
                        .words(["snapshot", "forget", "--keep-last", "1", "--identity"]);
                let forgot = forgot.words([world.owner()]).run();
                assert!(
                    [0, 6].contains(&forgot.code),
                    "{} {}",
                    forgot.code,
                    forgot.err
                );
                let gc = world.asl().words(["gc", "--unfinished", "--json"]).run();
                assert!([0, 6].contains(&gc.code), "{} {}", gc.code, gc.err);
                if gc.code == 0 {
                    collected += gc.json()["blocks"].as_u64().unwrap();
                }
                std::thread::sleep(std::time::Duration::from_millis(400));
            }
            collected
        });
        // Each is refused while the other has its turn, and comes again.
        for n in 0..100 {
            if sealed == 4 {
                break;
            }
            // Contents come back that were collected before.
            fs::write(
                source.join("letter"),
                format!("dear owner {}\n", n % 2).repeat(400),
            )
            .unwrap();
            let ran = world.ingest(&source).words(["--snapshot"]).run();
            assert!([0, 6].contains(&ran.code), "{} {}", ran.code, ran.err);
            sealed += u32::from(ran.code == 0);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        collected = collector.join().unwrap();
    });
    assert_eq!(sealed, 4, "the writer never had its turn");
    world.ingest(&source).words(["--snapshot"]).run().ok();
    world.asl().words(["gc", "--unfinished"]).run().ok();
    world.verify();
    world.restore("back").run().ok();
    tree::assert_same(&source, &world.path("back"));
    println!("{sealed} sealed, {collected} blocks collected beside");
}
