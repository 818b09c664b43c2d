//! Snapshots as a person meets them: told, compared, kept.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use serde_json::Value;
use std::path::PathBuf;

/// A domain with two snapshots of a tree that changed in between.
fn two() -> World {
    let world = World::offline().with_domain();
    let source = world.path("source");
    std::fs::create_dir_all(source.join("dir")).unwrap();
    for (name, text) in [
        ("stays", "same"),
        ("goes", "old"),
        ("dir/changes", "before"),
    ] {
        std::fs::write(source.join(name), text).unwrap();
    }
    write_random(&source.join("large"), 2);
    world.ingest(&source).words(["--snapshot"]).run().ok();
    std::fs::remove_file(source.join("goes")).unwrap();
    std::fs::write(source.join("dir/changes"), "after").unwrap();
    std::fs::write(source.join("dir/comes\u{1b}[1m"), "new").unwrap();
    world.ingest(&source).words(["--snapshot"]).run().ok();
    world
}

fn snapshot(world: &World, words: &[&str]) -> Ran {
    world.asl().words(["snapshot"]).words(words).run()
}

fn pinned_dir(world: &World) -> PathBuf {
    let all = std::fs::read_dir(world.root().join("domains")).unwrap();
    let domain = all.map(|d| d.unwrap().path()).next().unwrap();
    domain.join("snapshots/pinned")
}

fn pins(world: &World) -> Vec<Value> {
    let told = snapshot(world, &["list", "--json"]).ok().json();
    let all = told["snapshots"].as_array().unwrap();
    all.iter().map(|s| s["pinned"].clone()).collect()
}

#[test]
fn a_manifest_is_told_with_the_standing_of_its_signature() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "x").unwrap();
    world.ingest(&source).words(["--snapshot"]).run().ok();
    let told = snapshot(&world, &["show", "--json"]).ok().json();
    assert_eq!(told["signature"], "signed");
    assert_eq!(
        (&told["read_back"], &told["holes"]),
        (&true.into(), &0.into())
    );
    let text = snapshot(&world, &["show", "1"]).ok().out;
    for words in [
        "Snapshot snap-000001 of domain alice.personal~",
        "signed by device key",
        "of DAM number 1",
        "read back",
        "words",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // With no key stick, none signs.
    snapshot(&world, &["create"]).ok();
    let told = snapshot(&world, &["show", "--json"]).ok().json();
    assert_eq!(
        (&told["snapshot"], &told["signature"]),
        (&"snap-000002".into(), &"unsigned".into())
    );
    assert!(told["signature_in_words"]
        .as_str()
        .unwrap()
        .contains("awaiting countersignature"));
    snapshot(&world, &["show", "3"]).refused(1, &["snap-000003", "snapshot list"]);

    // Another signature in its place, or a delegation that is gone, does not pass.
    let dir = pinned_dir(&world).parent().unwrap().to_path_buf();
    std::fs::copy(
        dir.join("snap-000001/manifest.sig"),
        dir.join("snap-000002/manifest.sig"),
    )
    .unwrap();
    let ran = snapshot(&world, &["show", "2"]).ends(4);
    assert!(ran.out.contains("DOES NOT HOLD"), "{}", ran.out);
    let delegations = dir.parent().unwrap().join("auth/delegations");
    for file in std::fs::read_dir(&delegations).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let ran = snapshot(&world, &["show", "1", "--json"]).ends(4);
    assert_eq!(ran.json()["signature"], "does_not_hold");
}

#[test]
fn a_difference_is_told_in_numbers_without_the_key_and_in_paths_with_it() {
    let world = two();
    let numbers = snapshot(&world, &["diff", "1", "2", "--json"]).ok().json();
    assert_eq!(numbers["roots_added"].as_array().unwrap().len(), 1);
    assert_eq!(
        numbers["removed"]["blocks"], 0,
        "the first root is still there"
    );
    assert!(numbers["added"]["blocks"].as_u64().unwrap() > 0);
    let text = snapshot(&world, &["diff", "1", "2"]).ok();
    assert!(
        text.err.contains("--identity") && !text.out.contains("changes"),
        "{}",
        text.out
    );

    let owner = world.owner();
    let paths = |words: &[&str]| {
        let mut command = world.asl().words(["snapshot", "diff"]).words(words);
        command.arg("--identity").arg(&owner);
        command.run().ok().out
    };
    let text = paths(&["1", "2"]);
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|l| !l.starts_with("source "))
        .skip(1)
        .collect();
    let expected = [
        "  m .",
        "  m dir",
        "  M dir/changes",
        "  + dir/comes\\u{1b}[1m",
        "  - goes",
    ];
    assert_eq!(lines, expected, "{text}");
    let json = paths(&["2", "1", "--json"]);
    let objects: Vec<Value> = json
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert!(
        objects
            .iter()
            .any(|o| o["change"] == "added" && o["path"] == "goes"),
        "{json}"
    );
    assert!(!paths(&["1", "1"]).contains("source"));
    snapshot(&world, &["diff", "1", "9"]).refused(1, &["snap-000009"]);
    snapshot(&world, &["diff", "1"]).ends(2);
}

#[test]
fn a_pin_is_told_in_the_list_and_lies_there_as_a_plain_file_until_it_is_taken_away() {
    let world = two();
    assert_eq!(pins(&world), [Value::Null, Value::Null]);
    snapshot(&world, &["pin", "1", "--why", "before the repair"]).ok();
    let again = snapshot(
        &world,
        &["pin", "snap-000001", "--why", "another reason", "--json"],
    )
    .ok()
    .json();
    assert_eq!(again["changed"], false);
    assert_eq!(pins(&world)[0]["why"], "before the repair");
    assert_eq!(pins(&world)[1], Value::Null);
    let list = snapshot(&world, &["list"]).ok().out;
    assert!(
        list.lines()
            .next()
            .unwrap()
            .ends_with("pinned: before the repair"),
        "{list}"
    );
    let file = pinned_dir(&world).join("snap-000001");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("snap-000001\nmanifest ") && text.contains("before the repair"),
        "{text}"
    );
    // The plain file is a view: the log is what counts.
    std::fs::remove_file(&file).unwrap();
    std::fs::write(pinned_dir(&world).join("snap-000002"), "forged").unwrap();
    std::fs::write(pinned_dir(&world).join("mine"), "a keeper's note").unwrap();
    assert_eq!(pins(&world)[1], Value::Null);
    snapshot(&world, &["pin", "1"]).ok();
    assert!(file.exists() && !pinned_dir(&world).join("snap-000002").exists());
    assert!(
        pinned_dir(&world).join("mine").exists(),
        "what is no view of ours stays"
    );
    snapshot(&world, &["unpin", "1"]).ok();
    assert!(!file.exists());
    assert_eq!(pins(&world)[0], Value::Null);
    assert_eq!(
        snapshot(&world, &["unpin", "1", "--json"]).ok().json()["changed"],
        false
    );
    world.verify();

    snapshot(&world, &["pin", "7"]).refused(1, &["no such snapshot"]);
    snapshot(&world, &["pin", "1", "--why", "a\u{1b}[2Jb"]).refused(1, &["control characters"]);
    snapshot(&world, &["pin", "1", "--why", &"x".repeat(201)]).refused(1, &["200 bytes"]);
    assert_eq!(pins(&world)[0], Value::Null);
}

#[test]
fn where_the_hosts_own_record_is_damaged_nothing_is_pinned_and_the_list_still_comes() {
    let world = two();
    snapshot(&world, &["pin", "1"]).ok();
    let log = pinned_dir(&world)
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("log/host.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let list = snapshot(&world, &["list"]).ok();
    assert!(
        list.out.contains("snap-000002") && list.err.contains("not known"),
        "{} {}",
        list.out,
        list.err
    );
    snapshot(&world, &["pin", "2"]).refused(4, &["host"]);
    snapshot(&world, &["unpin", "1"]).refused(4, &["host"]);
}

#[test]
fn half_dead_blocks_are_written_anew_with_the_owners_identity_and_the_tree_is_whole_after_it() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    std::fs::create_dir_all(&source).unwrap();
    for n in 0..12 {
        write_random(&source.join(format!("file-{n:02}")), 1);
    }
    world.ingest(&source).words(["--snapshot"]).run().ok();
    for n in 1..12 {
        std::fs::remove_file(source.join(format!("file-{n:02}"))).unwrap();
    }
    world.ingest(&source).words(["--snapshot"]).run().ok();
    let owner = world.owner();
    let owner = owner.to_str().unwrap();
    let identity = ["--identity", owner];
    snapshot(&world, &["forget", "snap-000001", "--identity", owner]).ok();
    let gc = |words: &[&str]| world.asl().words(["gc", "--json"]).words(words).run();
    // What is reached of a block is sealed: without the owner's key nobody can say.
    let without = world.asl().words(["gc", "--repack"]).run();
    without.refused(3, &["--identity"]);
    let said = gc(&[&["--repack", "--dry-run"], &identity[..]].concat())
        .ok()
        .json();
    assert_eq!(said["repacked_blocks"], 1, "{said}");
    let done = gc(&[&["--repack"], &identity[..]].concat()).ok().json();
    assert_eq!(done["repacked_blocks"], 1, "{done}");
    assert_eq!(done["listed_by"], serde_json::json!(["snap-000002"]));
    assert_eq!(done["blocks"], 0, "a snapshot lists the old one");
    snapshot(&world, &["create"]).ok();
    snapshot(&world, &["forget", "snap-000002"]).ok();
    let freed = gc(&[]).ok().json();
    assert_eq!(freed["blocks"], 1, "{freed}");
    assert!(freed["block_bytes"].as_u64().unwrap() > 10 << 20, "{freed}");
    world.restore("to").run().ok();
    let bytes = |dir: &PathBuf| std::fs::read(dir.join("file-00")).unwrap();
    assert_eq!(bytes(&world.path("to")), bytes(&source));
    world.verify();
}
