//! What root keys and operators may not do, and what each refusal says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use std::process::Command;

fn command(world: &World, words: &[&str]) -> Command {
    let mut command = world.asl().words(words);
    command.current_dir(world.dir.path());
    command
}

fn run(world: &World, words: &[&str]) -> Ran {
    command(world, words).run()
}

#[test]
fn too_few_holders_are_told_how_many_are_missing_and_none_signs_twice_or_for_another() {
    let world = World::offline();
    for holder in ["bob", "carol", "mallory"] {
        run(&world, &["key", "root", "--to", holder]).ok();
    }
    let next = [
        "dam",
        "create",
        "--keys",
        "keys",
        "--next",
        "--threshold",
        "2",
        "--root-pub",
        "bob/root.pub",
        "--root-pub",
        "carol/root.pub",
    ];
    run(&world, &next).ok();
    let sign = |key: &str| {
        run(
            &world,
            &["dam", "sign", "--keys", "keys", "--root-key", key],
        )
    };
    let said = |key: &str| {
        let words = ["dam", "sign", "--json", "--keys", "keys", "--root-key", key];
        run(&world, &words).ok().json()
    };
    assert_eq!(said("bob/root.key")["whole"], false);
    sign("bob/root.key").refused(1, &["signed it already", "another holder"]);
    sign("mallory/root.key").refused(3, &["no root key of this DAM"]);
    // Not whole: nothing takes it, and it may be written anew.
    run(&world, &["dam", "verify", "--keys", "keys"]).refused(3, &["needed"]);
    run(&world, &next).ok();
    sign("keys/root.key").ok();
    let carols = said("carol/root.key");
    assert_eq!(carols["missing"].as_array().unwrap().len(), 1, "{carols}");
    assert_eq!(said("bob/root.key")["whole"], true);
    run(&world, &["dam", "verify", "--keys", "keys"]).ok();
}

#[test]
fn an_operator_revokes_what_its_role_says_and_nothing_else() {
    let world = World::offline();
    let pass = world.passphrase();
    let signed = |kind: &str, what: &str| {
        let create = [
            "revocation",
            "create",
            kind,
            what,
            "--keys",
            "keys",
            "--reason",
            "lost",
        ];
        run(&world, &create).ok();
        let sign = [
            "revocation",
            "sign",
            "--keys",
            "keys",
            "--as-operator",
            "--passphrase-file",
        ];
        let mut command = command(&world, &sign);
        command.arg(&pass);
        command.run()
    };
    let id = "ab".repeat(32);
    signed("device", &id).refused(3, &["may revoke: device", "root keys"]);
    let role = "keys/operator.pub=admit-request,delegate,prove,revoke-device";
    run(
        &world,
        &[
            "dam",
            "create",
            "--keys",
            "keys",
            "--next",
            "--operator",
            role,
        ],
    )
    .ok();
    run(&world, &["dam", "sign", "--keys", "keys"]).ok();
    signed("device", &id).ok();
    signed("operator", &id).refused(3, &["may revoke: operator"]);
    let create = |words: &[&str]| {
        let all = [
            &["revocation", "create"],
            words,
            &["--keys", "keys", "--reason", "x"],
        ]
        .concat();
        run(&world, &all)
    };
    create(&["moon", &id]).refused(2, &["give one of: operator"]);
    create(&["device", "nowhere.pub"]).refused(1, &["nowhere.pub"]);
}

#[test]
fn keys_are_renewed_at_home_alone_and_the_last_owner_stays() {
    let world = World::offline();
    let owner = std::fs::read_to_string(world.keys().join("owner.pub")).unwrap();
    run(
        &world,
        &[
            "key",
            "new-epoch",
            "--keys",
            "stick",
            "--passphrase-file",
            "passphrase",
        ],
    )
    .refused(3, &["it is a key stick", "generate"]);
    let rewrap = [
        "key",
        "rewrap",
        "--keys",
        "keys",
        "--identity",
        "keys/owner.txt",
    ];
    let with = |words: &[&str]| run(&world, &[&rewrap[..], words].concat());
    with(&["--remove", owner.trim()]).refused(3, &["nobody would be left"]);
    with(&["--add", "age1nowhere"]).refused(1, &["recipient"]);
    assert_eq!(
        std::fs::read_to_string(world.keys().join("owner.pub")).unwrap(),
        owner
    );
}

#[test]
fn an_openssh_key_can_be_the_operators() {
    let world = World::offline();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(world.path("id"))
        .status()
        .expect("this test needs ssh-keygen (Debian: openssh-client)");
    assert!(made.success());
    let generate = [
        "key",
        "generate",
        "--to",
        "own",
        "--operator-key",
        "id",
        "--passphrase-file",
        "passphrase",
    ];
    run(&world, &generate).ok();
    let line = std::fs::read_to_string(world.path("id.pub")).unwrap();
    let operator = std::fs::read_to_string(world.path("own/operator.pub")).unwrap();
    assert_eq!(operator.split(' ').nth(1), line.split(' ').nth(1));
}
