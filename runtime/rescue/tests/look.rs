//! The commands that look into a sealed domain: a person finds one file without bringing back all.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use serde_json::Value;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A domain with one snapshot of a nasty tree.
fn sealed() -> (World, PathBuf) {
    let world = World::offline().with_domain();
    let source = world.path("source");
    tree::make(&source);
    world.ingest(&source).words(["--snapshot"]).run().ok();
    (world, source)
}

/// A reading command, with the owner's identity.
fn read(world: &World, words: &[&str]) -> Command {
    let mut command = world.asl().words(words);
    command.arg("--identity").arg(world.owner());
    command
}

fn objects(out: &str) -> Vec<Value> {
    out.lines()
        .map(|l| serde_json::from_str(l).expect(l))
        .collect()
}

fn paths(out: &str) -> Vec<String> {
    let path = |o: &Value| o["path"].as_str().unwrap().to_string();
    objects(out).iter().map(path).collect()
}

/// The one domain's directory.
fn domain_dir(world: &World) -> PathBuf {
    let all = std::fs::read_dir(world.root().join("domains")).unwrap();
    all.map(|d| d.unwrap().path()).next().unwrap()
}

fn blocks(world: &World) -> Vec<PathBuf> {
    let sealed = std::fs::read_dir(domain_dir(world).join("store/blocks/sealed")).unwrap();
    let mut all: Vec<PathBuf> = sealed
        .flat_map(|d| std::fs::read_dir(d.unwrap().path()).unwrap())
        .map(|f| f.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "blk"))
        .collect();
    all.sort();
    all
}

#[test]
fn without_the_owners_identity_nothing_is_shown_and_what_is_needed_is_said() {
    let (world, _) = sealed();
    for words in [
        &["ls"][..],
        &["find"],
        &["cat", "etc/fstab"],
        &["restore", "--to", "x"],
    ] {
        world.asl().words(words).run().refused(3, &["--identity"]);
    }
    let wrong = world.path("wrong.txt");
    let made = Command::new("age-keygen").arg("-o").arg(&wrong).output();
    assert!(
        made.is_ok_and(|m| m.status.success()),
        "THE age-keygen TOOL IS MISSING: install it with `apt-get install age`"
    );
    for words in [&["ls"][..], &["find"], &["cat", "etc/fstab"]] {
        let mut command = world.asl().words(words);
        command.arg("--identity").arg(&wrong);
        command.run().refused(3, &[]);
    }
    read(&world, &["ls", "--snapshot", "snap-000009"])
        .run()
        .refused(1, &["snap-000009", "snapshot list"]);
    read(&world, &["ls", "--snapshot", "yesterday"])
        .run()
        .ends(2);
}

#[test]
fn names_are_shown_so_that_no_terminal_obeys_them_and_told_so_that_no_byte_is_lost() {
    let (world, source) = sealed();
    let text = read(&world, &["ls", "home"]).run().ok().out;
    assert!(
        !text.contains('\x1b') && text.contains("new\\nline and \\u{1b}[31mcolour"),
        "{text}"
    );
    assert!(
        text.contains("not-\\xff\\xfe-utf8") && text.contains("\u{e9}t\u{e9}"),
        "{text}"
    );
    let real = std::fs::read_dir(source.join("home")).unwrap().count();
    assert_eq!(text.lines().count(), real, "one line a name");

    let raw = read(&world, &["find", "home", "-0"]).output().unwrap();
    assert!(raw.status.success());
    let mut sealed_names: Vec<&[u8]> = raw
        .stdout
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty())
        .collect();
    sealed_names.sort_unstable();
    let listed = Command::new("find")
        .args(["home", "-print0"])
        .current_dir(&source)
        .output()
        .unwrap();
    let mut source_names: Vec<&[u8]> = listed
        .stdout
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty())
        .collect();
    source_names.sort_unstable();
    assert_eq!(
        sealed_names, source_names,
        "raw names are the source's, byte for byte"
    );

    let json = read(&world, &["ls", "home", "--json"]).run().ok().out;
    let odd = objects(&json)
        .into_iter()
        .find(|o| o["path_hex"].is_string())
        .unwrap();
    let hex: String = b"home/not-\xff\xfe-utf8"
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(odd["path_hex"], hex);
    // What -0 prints can be given back as it is.
    let name = std::ffi::OsStr::from_bytes(b"home/not-\xff\xfe-utf8");
    let mut cat = read(&world, &["cat"]);
    cat.arg(name);
    assert_eq!(cat.run().ok().out, "bytes are names");
}

#[test]
fn a_listing_says_what_ls_says() {
    let (world, source) = sealed();
    let long = read(&world, &["ls", "-l", "etc"]).run().ok().out;
    let line = |name: &str| {
        long.lines()
            .find(|l| l.ends_with(name))
            .expect(name)
            .to_string()
    };
    assert!(line(" fstab").starts_with("-rw-r--r--"), "{long}");
    assert!(line(" fstab").contains(" 30 "), "{long}");
    assert!(line("link -> fstab").starts_with('l'), "{long}");
    assert!(line(" deep").starts_with('d'), "{long}");
    let objects = objects(&read(&world, &["ls", "etc/fstab", "--json"]).run().ok().out);
    assert_eq!(objects.len(), 1);
    let o = &objects[0];
    assert_eq!(
        (&o["path"], &o["type"], &o["size"]),
        (&"etc/fstab".into(), &"file".into(), &30.into())
    );
    let meta = std::os::unix::fs::MetadataExt::mtime(&source.join("etc/fstab").metadata().unwrap());
    assert_eq!(o["mtime_s"], meta);
    read(&world, &["ls", "etc/no-such"])
        .run()
        .refused(1, &["no such entry", "asl-host ls"]);
    read(&world, &["ls", "etc/link/x"])
        .run()
        .refused(1, &["symbolic link"]);
    read(&world, &["ls", "../etc"]).run().refused(1, &[".."]);
}

#[test]
fn what_is_looked_for_is_found_and_nothing_else() {
    let (world, _) = sealed();
    let find = |words: &[&str]| {
        let mut all = vec!["find", "--json"];
        all.extend(words);
        paths(&read(&world, &all).run().ok().out)
    };
    assert_eq!(find(&["--name", "f*tab"]), ["etc/fstab"]);
    assert_eq!(find(&["--name", "F*TAB"]), [""; 0]);
    assert_eq!(find(&["--name", "F*TAB", "-i"]), ["etc/fstab"]);
    assert_eq!(find(&["home", "--name", "f*tab"]), [""; 0]);
    assert_eq!(
        find(&["--larger", "5M", "--smaller", "10M"]),
        ["home/alice/large"]
    );
    assert_eq!(find(&["--larger", "39M"]), ["home/sparse"]);
    assert_eq!(
        find(&["--name", "{leaf,fstab}", "--type", "f"]),
        ["etc/deep/deeper/deepest/leaf", "etc/fstab"]
    );
    assert!(find(&["--type", "symlink"]).contains(&"home/up".to_string()));
    assert!(find(&["--type", "d"]).iter().all(|p| !p.ends_with("fstab")));
    assert_eq!(find(&["--name", "fstab", "--newer", "2100-01-01"]), [""; 0]);
    assert_eq!(
        find(&["--name", "fstab", "--older", "2100-01-01"]),
        ["etc/fstab"]
    );
    for words in [
        ["--larger", "much"],
        ["--newer", "yesterday"],
        ["--type", "song"],
    ] {
        read(&world, &["find"]).words(words).run().ends(2);
    }
}

#[test]
fn one_file_comes_out_as_it_went_in_and_its_holes_are_zeros() {
    let (world, source) = sealed();
    for name in [
        "home/alice/large",
        "home/sparse",
        "nothing",
        "home/alice/text",
    ] {
        let out = read(&world, &["cat", name]).output().unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        assert_eq!(
            out.stdout,
            std::fs::read(source.join(name)).unwrap(),
            "{name}"
        );
        let told = read(&world, &["cat", name, "--json"]).run().ok().json();
        assert_eq!(told["bytes"], out.stdout.len());
        assert_eq!(
            (&told["checked"], &told["holes"]),
            (&true.into(), &serde_json::json!([]))
        );
    }
    for (name, words) in [
        ("etc", "is a directory"),
        ("etc/link", "symbolic link to fstab"),
        ("etc/nothing", "no such entry"),
        ("", "is a directory"),
    ] {
        read(&world, &["cat", name]).run().refused(1, &[words]);
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let (world, _) = sealed();
    for words in [&["cat", "home/alice/large"][..], &["cat", "home/sparse"]] {
        let mut child = read(&world, words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{words:?}: {:?}", ended.status);
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{words:?}");
    }
}

#[test]
fn only_the_blocks_that_hold_a_file_are_needed_and_a_damaged_one_is_told_with_4() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    for (n, name) in ["a", "b", "c"].iter().enumerate() {
        write_random(&source.join(name), 20 + n as u64);
    }
    world.ingest(&source).words(["--snapshot"]).run().ok();
    let all = blocks(&world);
    assert!(all.len() >= 4, "{} blocks", all.len());
    // Without its neighbours' blocks a file still comes out, or says which are missing: take away
    // one block after the other, and at each at least one of the three files is whole.
    let (mut whole, mut damaged) = (0, 0);
    for block in &all {
        let away = world.path("away");
        std::fs::rename(block, &away).unwrap();
        for name in ["a", "b", "c"] {
            let out = read(&world, &["cat", name]).output().unwrap();
            let said = String::from_utf8_lossy(&out.stderr);
            match out.status.code() {
                Some(0) => {
                    assert_eq!(out.stdout, std::fs::read(source.join(name)).unwrap());
                    whole += 1;
                }
                Some(4) => {
                    assert!(
                        said.contains("are lost") && said.contains("next: "),
                        "{said}"
                    );
                    // What was printed before the damage is right.
                    assert!(std::fs::read(source.join(name))
                        .unwrap()
                        .starts_with(&out.stdout));
                    damaged += 1;
                }
                // The block with the directory itself, or the root.
                code => assert!(
                    matches!(code, Some(1)) && said.contains("not here"),
                    "{code:?} {said}"
                ),
            }
        }
        std::fs::rename(&away, block).unwrap();
    }
    assert!(
        whole >= all.len() && damaged >= 3,
        "{whole} whole, {damaged} damaged"
    );
    let mut bytes = std::fs::read(&all[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&all[0], PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&all[0], bytes).unwrap();
    let codes: Vec<i32> = ["a", "b", "c"]
        .map(|n| {
            read(&world, &["cat", n])
                .output()
                .unwrap()
                .status
                .code()
                .unwrap()
        })
        .into();
    assert!(
        codes.contains(&4) && codes.iter().all(|c| [0, 4].contains(c)),
        "{codes:?}"
    );
}

#[test]
fn a_file_that_could_not_be_read_when_it_was_sealed_is_told_with_5() {
    // The kernel lets nobody read this file, not even root.
    let source = std::path::Path::new("/proc/sys/net/ipv4/route");
    assert!(
        source.join("flush").exists(),
        "THIS TEST NEEDS /proc/sys/net/ipv4/route/flush: mount /proc, with IPv4 in the kernel"
    );
    let world = World::offline().with_domain();
    world.ingest(source).words(["--snapshot"]).run().ends(5);
    let ran = read(&world, &["cat", "flush"]).run().ends(5);
    assert!(
        ran.out.is_empty() && ran.err.contains("sealed with holes"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("next: "), "{}", ran.err);
    let told = read(&world, &["cat", "flush", "--json"])
        .run()
        .ends(5)
        .json();
    assert_eq!(told["holes"].as_array().unwrap().len(), 1);
    let long = read(&world, &["ls", "-l"]).run().ok().out;
    let line = long.lines().find(|l| l.ends_with(" flush")).unwrap();
    assert!(line.contains(" ? "), "its size is not known: {line}");
    // Its neighbours are whole.
    read(&world, &["cat", "gc_timeout"]).run().ok();
}

#[test]
fn a_part_is_restored_alone_as_it_was() {
    let (world, source) = sealed();
    world
        .restore("part")
        .words(["--path", "home/alice"])
        .run()
        .ok();
    let names = |at: PathBuf| {
        let mut all: Vec<_> = std::fs::read_dir(at)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        all.sort();
        all
    };
    assert_eq!(names(world.path("part")), names(source.join("home/alice")));
    let same = |a: &str, b: &str| {
        assert_eq!(
            std::fs::read(world.path(a)).unwrap(),
            std::fs::read(source.join(b)).unwrap()
        );
    };
    same("part/large", "home/alice/large");
    world
        .restore("one")
        .words(["--path", "etc/fstab"])
        .run()
        .ok();
    same("one/fstab", "etc/fstab");
    world
        .restore("none")
        .words(["--path", "no/such"])
        .run()
        .refused(1, &["no such entry"]);
    assert!(!world.path("none").exists());
}

#[test]
fn several_sources_are_numbered_as_a_restore_numbers_them() {
    let world = World::offline().with_domain();
    for (name, text) in [("first", "1"), ("second", "2")] {
        let source = world.path(name);
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("file"), text).unwrap();
        world.ingest(&source).words(["--snapshot"]).run().ok();
    }
    let top = read(&world, &["ls"]).run().ok().out;
    assert!(
        top.contains("01  (") && top.contains("/first)") && top.contains("02  ("),
        "{top}"
    );
    assert_eq!(read(&world, &["cat", "02/file"]).run().ok().out, "2");
    assert_eq!(read(&world, &["ls", "01"]).run().ok().out, "file\n");
    let found = read(&world, &["find", "--name", "file"]).run().ok().out;
    assert_eq!(found, "01/file\n02/file\n");
    read(&world, &["cat", "file"])
        .run()
        .refused(1, &["2 sources", "01, 02"]);
    read(&world, &["cat", ""])
        .run()
        .refused(1, &["several sources"]);
    let mut old = read(&world, &["cat", "file", "--snapshot", "1"]);
    assert_eq!(old.output().unwrap().stdout, b"1");
    world.restore("back").run().ok();
    assert_eq!(
        std::fs::read_to_string(world.path("back/02/file")).unwrap(),
        "2"
    );
    world
        .restore("part")
        .words(["--path", "02/file"])
        .run()
        .ok();
    assert_eq!(
        std::fs::read_to_string(world.path("part/file")).unwrap(),
        "2"
    );
}

#[test]
fn the_log_is_told_in_words_with_no_key() {
    let (world, _) = sealed();
    let all = world.asl().words(["log", "show"]).run().ok().out;
    for kind in [
        "GENESIS",
        "EPOCH",
        "SEAL_SEGMENT",
        "ADD_INDEX_ENTRY",
        "SNAPSHOT",
    ] {
        assert!(all.contains(kind), "{kind}: {all}");
    }
    assert!(all.contains("the domain alice.personal begins"), "{all}");
    let told = objects(&world.asl().words(["log", "show", "--json"]).run().ok().out);
    assert_eq!(told.len(), all.lines().count());
    let head = world
        .asl()
        .words(["log", "verify", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(head["logseq"], told.len());
    for (n, record) in told.iter().enumerate() {
        assert_eq!(record["logseq"], n);
    }
    let late = objects(
        &world
            .asl()
            .words(["log", "show", "--json", "--from", "2"])
            .run()
            .ok()
            .out,
    );
    assert_eq!(late, told[2..]);
    let none = world
        .asl()
        .words(["log", "show", "--from", "1000"])
        .run()
        .ok()
        .out;
    assert_eq!(none, "");
    // What is broken is told after what holds.
    let log = domain_dir(&world).join("log/append.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.len() * 2 / 3;
    bytes[at] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let ran = world.asl().words(["log", "show"]).run().ends(4);
    assert!(
        ran.out.contains("GENESIS") && ran.err.contains("next: "),
        "{} {}",
        ran.out,
        ran.err
    );
}
