//! Other people's tools open everything. Apart from the other tests: a program that is started
//! holds their writer locks for a moment.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_host::capability::Place;
use asl_host::LeaseScope;
use common::*;
use std::io::Write;
use std::process::{Command, Stdio};

/// What the age tool makes of some bytes.
fn age(identity: &std::path::Path, input: &[u8]) -> Vec<u8> {
    let child = Command::new("age")
        .args(["--decrypt", "--identity"])
        .arg(identity)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.expect(
        "THE AGE TOOL IS MISSING: this test proves that other people's tools open a block; \
         install it with `apt-get install age`",
    );
    child.stdin.take().unwrap().write_all(input).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "age refused");
    done.stdout
}

#[test]
fn two_commands_of_the_age_tool_open_any_block() {
    let (host, owner) = (Host::new(1), Owner::new(7));
    let domain = owner.create_on(&host, Place::Home).unwrap();
    let handle = host.open_to_seal(&owner, LeaseScope::Remote).unwrap();
    let secret = random(42, 30_000);
    handle.begin_root().unwrap();
    let id = handle.chunk_id(&secret).unwrap();
    handle.put_piece(id, &tag(), &secret).unwrap();
    handle.finish_root(b"root").unwrap();
    drop(handle);

    let dir = tempfile::tempdir().unwrap();
    let offline = dir.path().join("owner.txt");
    std::fs::write(&offline, &owner.open_text).unwrap();
    let epoch = std::fs::read(domain.dir().join("store/encryption/epoch-1.age")).unwrap();
    let data = dir.path().join("epoch.txt");
    std::fs::write(&data, age(&offline, &epoch)).unwrap();
    let mut found = false;
    let mut blocks = 0;
    for (name, bytes) in files(&domain.dir().join("store/blocks/sealed")) {
        let plain = age(&data, &bytes);
        blocks += 1;
        found |= plain.windows(secret.len()).any(|w| w == secret);
        assert!(
            !bytes.windows(64).any(|w| secret.starts_with(w)),
            "{}",
            name.display()
        );
    }
    assert!(blocks > 0 && found, "{blocks} blocks");
}
