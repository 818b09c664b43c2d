//! Profiles: what an appliance does by itself is what its profile says, and `profile` tells which.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::pty::Pty;
use common::*;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One session at a time: the real lock in /run/asl is this machine's.
static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    assert!(
        nix::unistd::geteuid().is_root(),
        "THIS TEST MUST RUN AS ROOT: the session takes its lock in /run/asl"
    );
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nowhere() -> std::process::Command {
    asl(Path::new("/nonexistent"))
}

fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("profile.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// A session outside the appliance that may not ask, with these lines more.
fn unattended(world: &World, more: &str) -> Pty {
    let text = format!(
        "interactive = false\n\
         [target]\npath = {:?}\n\
         [source]\npaths = [{:?}]\n\
         [end]\naction = \"shell\"\n\
         [keys]\npath = {:?}\n{more}",
        world.root(),
        world.path("source"),
        world.stick(),
    );
    let mut command = world.asl().words(["rescue", "--profile"]);
    command
        .arg(file(world.dir.path(), &text))
        .env("TERM", "dumb");
    Pty::start(command, 24, 80)
}

#[test]
fn every_profile_that_comes_along_can_be_followed_and_is_explained() {
    for name in [
        "interactive",
        "courtesy-offline",
        "courtesy-online",
        "unattended",
        "host",
        "demo",
    ] {
        let said = nowhere().words(["profile", "check", name]).run().ok();
        assert!(said.out.contains("can be followed"), "{name}: {}", said.out);
        let told = nowhere()
            .words(["profile", "explain", name, "--json"])
            .run()
            .ok()
            .json();
        let fields = told["fields"].as_array().unwrap();
        assert!(fields.len() > 8, "{name}");
        assert!(
            fields.iter().any(|f| f["set"] == true),
            "{name} says nothing"
        );
        for f in fields {
            assert!(f["means"].as_str().is_some_and(|m| m.len() > 5), "{f}");
        }
    }
}

#[test]
fn a_profile_that_cannot_be_followed_is_told_before_a_machine_is_started_with_it() {
    let dir = tempfile::tempdir().unwrap();
    for (text, words) in [
        ("[target]\nlable = 'x'", "unknown field `lable`"),
        (
            "[keys]\npassphrase = 'secret'",
            "unknown field `passphrase`",
        ),
        ("interactive = false", "target.label, nor source.labels"),
        (
            "interactive = false\n[target]\nlabel = 'x'",
            "source.labels",
        ),
        ("interactive = false\nrole = 'host'", "target.label"),
        ("[keys]\npassphrase_medium = 'ASL-KEYS'", "guards nothing"),
        ("role = 'host'\n[source]\nlabels = ['x']", "role = \"host\""),
        ("encryption = 'none'", "unknown variant `none`"),
    ] {
        let path = file(dir.path(), text);
        let mut check = nowhere().words(["profile", "check"]);
        check.arg(&path);
        check.run().refused(1, &[words]);
    }
    let mut check = nowhere().words(["profile", "check", "no-such"]);
    check.current_dir(dir.path());
    check.run().refused(1, &["no-such", "unattended"]);
    std::fs::write(dir.path().join("profile.toml"), [0xff, 0xfe]).unwrap();
    let mut check = nowhere().words(["profile", "check", "profile.toml"]);
    check.current_dir(dir.path());
    check.run().refused(1, &["not text"]);
}

#[test]
fn the_profile_in_force_is_told_with_its_reason() {
    let world = World::offline();
    let explain = |words: &[&str]| {
        let mut command = nowhere()
            .words(["profile", "explain", "--json"])
            .words(words);
        if words.is_empty() {
            command.arg("--stick").arg(world.stick());
        }
        command.run().ok().json()
    };
    // The boot of the machine that runs the tests names none.
    let none = explain(&[]);
    assert_eq!(none["profile"], "interactive");
    assert!(
        none["why"].as_str().unwrap().contains("brings none"),
        "{none}"
    );
    let text = "demo = true\n[domain]\nlabels = ['alice.personal']\n";
    std::fs::write(world.stick().join("asl-keys/profile.toml"), text).unwrap();
    let stick = explain(&[]);
    assert_eq!(stick["profile"], "of the key stick");
    assert!(
        stick["why"]
            .as_str()
            .unwrap()
            .contains("key stick brings it"),
        "{stick}"
    );
    let field = |name: &str| {
        let all = stick["fields"].as_array().unwrap();
        all.iter().find(|f| f["field"] == name).unwrap().clone()
    };
    assert_eq!(field("domain.labels")["set"], true);
    assert_eq!(field("lease.days")["set"], false);
    // It says demo, and that does not count.
    assert_eq!(field("demo")["value"], "false");
    let mut host = nowhere().words(["profile", "explain", "--stick"]);
    host.arg(world.stick());
    std::fs::write(world.stick().join("asl-keys/profile.toml"), "role = 'host'").unwrap();
    host.run()
        .refused(1, &["cannot make this machine a host", "asl.profile=host"]);
    let by_hand = explain(&["unattended"]);
    assert!(
        by_hand["why"].as_str().unwrap().contains("by hand"),
        "{by_hand}"
    );
}

#[test]
fn a_key_stick_of_a_domain_that_the_profile_does_not_name_is_refused() {
    let _alone = alone();
    let world = World::offline();
    write_random(&world.path("source/a"), 1);
    let mut pty = unattended(
        &world,
        "[domain]\nlabels = [\"common\", \"bob.personal\"]\n",
    );
    pty.expect("its domain is alice.personal; the profile allows common, bob.personal");
    let (code, said) = pty.end();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("next: put in the stick"), "{said}");
    assert!(!world.root().join("domains").exists(), "nothing was made");
}

#[test]
fn nobody_at_the_keyboard_the_passphrase_comes_from_where_the_profile_says() {
    let _alone = alone();
    let world = World::offline();
    write_random(&world.path("source/a"), 1);
    let more = format!(
        "passphrase_file = {:?}\n[domain]\nlabels = [\"alice.personal\"]\n",
        world.passphrase()
    );
    let (code, said) = unattended(&world, &more).end();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("Passphrase of the key stick"), "{said}");
    assert!(said.contains("Snapshot snap-000001, signed"), "{said}");
    world.verify();
}

#[test]
fn a_passphrase_medium_that_is_not_there_ends_the_run_with_its_name() {
    let _alone = alone();
    let world = World::offline();
    write_random(&world.path("source/a"), 1);
    let (code, said) = unattended(&world, "passphrase_medium = \"NO-SUCH-MEDIUM\"\n").end();
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("the medium with the passphrase labelled NO-SUCH-MEDIUM"),
        "{said}"
    );
    assert!(!said.contains("[3/6]"), "{said}");
}

#[test]
fn offline_no_host_is_asked_though_the_key_stick_names_one() {
    let _alone = alone();
    let world = World::new();
    write_random(&world.path("source/a"), 1);
    let text = format!(
        "[keys]\npath = {:?}\n[target]\npath = {:?}\n[source]\npaths = [{:?}]\n\
         [admission]\noffline = true\n[end]\naction = \"shell\"\n",
        world.stick(),
        world.root(),
        world.path("source"),
    );
    let mut command = world.asl().words(["rescue", "--profile"]);
    command
        .arg(file(world.dir.path(), &text))
        .env("TERM", "dumb");
    let mut pty = Pty::start(command, 24, 80);
    world.compare_with_card(&mut pty);
    pty.expect("Passphrase of the key stick");
    pty.send(&format!("{PASSPHRASE}\r"));
    // A machine whose disk is more than half full is asked whether to go on: Enter says yes.
    pty.expect(" free");
    pty.send("\r");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("No host is asked"), "{said}");
    assert!(!said.contains("Which host"), "{said}");
}

#[test]
fn the_image_as_a_host_makes_its_identity_on_the_target_admits_and_keeps_it() {
    let _alone = alone();
    let world = World::offline().with_domain();
    let root_key = std::fs::read_to_string(world.keys().join("root.pub")).unwrap();
    let text = format!(
        "role = \"host\"\ninteractive = false\n[target]\npath = {:?}\n\
         [host]\nlisten = \"127.0.0.1:0\"\ntrusted_roots = [{:?}]\n[end]\naction = \"shell\"\n",
        world.keeper(),
        root_key.trim(),
    );
    let start = || {
        let mut command = asl(&world.keeper()).words(["rescue", "--profile"]);
        command
            .arg(file(world.dir.path(), &text))
            .env("TERM", "dumb");
        let mut pty = Pty::start(command, 24, 200);
        pty.expect("End with Ctrl-C.");
        let said = pty.said();
        let line = said
            .lines()
            .find(|l| l.starts_with("Serving on "))
            .unwrap()
            .trim()
            .to_string();
        let (address, key) = line["Serving on ".len()..].split_once(" as ").unwrap();
        (
            pty,
            said.clone(),
            address.to_string(),
            key.trim().to_string(),
        )
    };
    let (mut pty, said, address, key) = start();
    assert!(said.contains("Made this host's identity"), "{said}");
    assert!(said.contains("no domains"), "{said}");
    world.bundle("asking", &[&format!("home={address}={key}")]);
    let mut request = world
        .asl()
        .words(["admission", "request", "--host", "home", "--to"]);
    request
        .arg(world.path("mail"))
        .arg("--stick")
        .arg(world.path("asking"));
    request.arg("--passphrase-file").arg(world.passphrase());
    request.run().ok();
    let mut submit = world
        .asl()
        .words(["admission", "submit", "--host", "home", "--request"]);
    submit
        .arg(world.path("mail"))
        .arg("--stick")
        .arg(world.path("asking"));
    let answer = submit.run().ok();
    assert!(answer.out.contains("ACCEPTED"), "{}", answer.out);
    // The console says what was decided.
    pty.expect("ACCEPTED");
    pty.send("\u{3}");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Type asl-rescue to come back."), "{said}");

    let (mut pty, said, _, same) = start();
    assert!(!said.contains("Made this host's identity"), "{said}");
    assert_eq!(same, key, "the identity is the target's");
    assert!(said.contains("domain alice.personal~"), "{said}");
    pty.send("\u{3}");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
}
