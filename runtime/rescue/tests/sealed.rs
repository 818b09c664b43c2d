//! What is sealed is what it is said to be: damage is found, memory is never called durable, no
//! secret is left anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;

#[test]
fn damage_on_the_target_is_found_told_with_its_name_and_exit_4() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    write_random(&source.join("a"), 2);
    world.ingest(&source).words(["--snapshot"]).run().ok();
    let block = contents(&world.root())
        .into_keys()
        .find(|p| p.extension().is_some_and(|e| e == "blk"))
        .unwrap();
    let good = std::fs::read(&block).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    let put = |bytes: &[u8]| {
        std::fs::remove_file(&block).unwrap();
        std::fs::write(&block, bytes).unwrap();
    };
    put(&bad);
    let report = world.asl().words(["verify", "--json"]).run().ends(4).json();
    let name = block.file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        report["damage"][0].as_str().unwrap().contains(&name),
        "{report}"
    );
    let said = world
        .asl()
        .words(["verify", "--identity"])
        .words([world.owner()])
        .run()
        .ends(4);
    assert!(said.out.contains("DAMAGE: "), "{}", said.out);
    let ran = world.restore("back").run();
    assert!([4, 5].contains(&ran.code), "{} {}", ran.code, ran.err);
    std::fs::remove_file(&block).unwrap();
    world.asl().words(["verify"]).run().ends(4);
    std::fs::write(&block, good).unwrap();
    world.verify();
}

#[test]
fn what_lies_in_memory_is_never_called_durable() {
    let world = World::offline();
    let memory = tempfile::tempdir_in("/dev/shm").expect("NO /dev/shm: this test needs a tmpfs");
    std::os::unix::fs::symlink(memory.path(), world.root()).unwrap();
    let world = world.with_domain();
    let source = world.path("source");
    write_random(&source.join("a"), 1);
    let sealed = world
        .ingest(&source)
        .words(["--json", "--snapshot"])
        .run()
        .ok()
        .json();
    assert_eq!(sealed["durability"], "volatile");
    let said = world.ingest(&source).run().ok();
    assert!(said.out.contains("VOLATILE"), "{}", said.out);
    assert!(!said.out.contains("durable"), "{}", said.out);
    world.verify();
}

/// P11, as far as the command line goes: what is private is on no argument, file or screen.
#[test]
fn no_secret_is_shown_or_left_by_a_session() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    write_random(&source.join("a"), 1);
    std::fs::write(
        source.join("diary"),
        "a line that only the owner may ever read",
    )
    .unwrap();
    let ran = world.ingest(&source).words(["--snapshot"]).run().ok();
    let owner = std::fs::read_to_string(world.owner()).unwrap();
    let key = owner
        .lines()
        .find(|l| l.starts_with("AGE-SECRET-KEY"))
        .unwrap();
    let secrets: [&[u8]; 4] = [
        PASSPHRASE.as_bytes(),
        key.as_bytes(),
        b"a line that only the owner",
        b"diary",
    ];
    let hits = |bytes: &[u8]| {
        let found = |s: &&&[u8]| bytes.windows(s.len()).any(|w| w == **s);
        secrets.iter().filter(found).count()
    };
    assert_eq!(hits(ran.out.as_bytes()) + hits(ran.err.as_bytes()), 0);
    let mut files = 0;
    for at in [world.root(), world.stick()] {
        for path in contents(&at)
            .into_keys()
            .filter(|p| p.file_name() != Some("asl-host".as_ref()))
        {
            assert_eq!(
                hits(&std::fs::read(&path).unwrap()),
                0,
                "{}",
                path.display()
            );
            files += 1;
        }
    }
    assert!(files > 20, "{files}");
}
