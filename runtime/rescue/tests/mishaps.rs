//! What goes wrong at a broken machine: a clear word, a way on, and nothing lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::disk::Disk;
use common::*;
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts an ingest of a large source and waits until something of it is acknowledged.
fn start_ingest(world: &World, source: &Path) -> Child {
    let before = log_length(world);
    let child = world
        .ingest(source)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("an acknowledgement", || log_length(world) > before);
    child
}

fn blocks_stored(world: &World) -> u64 {
    let log = world
        .asl()
        .words(["log", "verify", "--json"])
        .run()
        .ok()
        .json();
    log["stored_bytes"].as_u64().unwrap()
}

#[test]
fn a_wrong_passphrase_is_told_and_nothing_changes() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    write_random(&source.join("a"), 1);
    let before = contents(&world.root());
    for wrong in [
        "wrong horse battery staple",
        "",
        "correct horse battery staple ",
        "\u{0}",
    ] {
        std::fs::write(world.passphrase(), wrong).unwrap();
        world.ingest(&source).run().refused(3, &["passphrase"]);
    }
    assert_eq!(contents(&world.root()), before);
    // The right one goes on as if nothing had been; a line end after it is nobody's fault.
    std::fs::write(world.passphrase(), format!("{PASSPHRASE}\r\nsecond line")).unwrap();
    world.ingest(&source).run().ok();
}

#[test]
fn without_a_terminal_nobody_waits_for_a_passphrase() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    write_random(&source.join("a"), 1);
    let mut ingest = world.asl().words(["ingest"]);
    ingest.arg(&source).arg("--stick").arg(world.stick());
    ingest
        .run()
        .refused(2, &["passphrase", "--passphrase-file"]);
    world
        .asl()
        .words(["rescue"])
        .run()
        .refused(2, &["no terminal", "ssh -t"]);
    // Nor is a key directory begun that could not be ended.
    let keys = world.path("more-keys");
    world
        .asl()
        .words(["key", "generate", "--to"])
        .words([&keys])
        .run()
        .refused(2, &["passphrase"]);
    assert!(!keys.exists());
}

#[test]
fn a_passphrase_too_short_or_a_key_directory_that_exists_is_refused() {
    let world = World::offline();
    let generate = |to: &str| {
        let mut command = world.asl().words(["key", "generate", "--to"]);
        command
            .arg(world.path(to))
            .arg("--passphrase-file")
            .arg(world.passphrase());
        command.run()
    };
    let before = contents(&world.keys());
    generate("keys").refused(1, &["it exists", "never overwritten"]);
    assert_eq!(contents(&world.keys()), before);
    std::fs::write(world.passphrase(), "short").unwrap();
    generate("new").refused(1, &["fewer than 8"]);
    assert!(!world.path("new").exists());
    std::fs::remove_file(world.passphrase()).unwrap();
    assert_eq!(generate("new").code, 1);
}

#[test]
fn a_host_with_another_key_is_refused_and_gets_no_request() {
    let world = World::new();
    let address = world.server.as_ref().unwrap().address.clone();
    let other = std::fs::read_to_string(world.keys().join("operator.pub")).unwrap();
    world.bundle("false-pin", &[&format!("home={address}={}", other.trim())]);
    let mail = world.path("mail");
    let mut request = world
        .asl()
        .words(["admission", "request", "--host", "home"]);
    request
        .arg("--stick")
        .arg(world.path("false-pin"))
        .arg("--to")
        .arg(&mail);
    request.arg("--passphrase-file").arg(world.passphrase());
    request.run().ok();
    let mut submit = world.asl().words(["admission", "submit", "--host", "home"]);
    submit
        .arg("--stick")
        .arg(world.path("false-pin"))
        .arg("--request")
        .arg(&mail);
    submit.run().refused(3, &["key"]);
    assert!(!mail.join("admission-decision.cbor").exists());
    let there = asl(&world.keeper())
        .words(["status", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(there["domains"], serde_json::json!([]));
    assert_eq!(
        std::fs::read_dir(world.keeper().join("quarantine"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_host_that_is_not_there_is_told_in_time() {
    let mut world = World::new();
    let server = world.server.take().unwrap();
    let mail = world.path("mail");
    let mut request = world
        .asl()
        .words(["admission", "request", "--host", "home"]);
    request
        .arg("--stick")
        .arg(world.stick())
        .arg("--to")
        .arg(&mail);
    request.arg("--passphrase-file").arg(world.passphrase());
    request.run().ok();
    assert_eq!(server.stop(), 0);
    let submit = |host: &str| {
        let mut submit =
            world
                .asl()
                .words(["admission", "submit", "--timeout", "5", "--host", host]);
        submit
            .arg("--stick")
            .arg(world.stick())
            .arg("--request")
            .arg(&mail);
        submit.run()
    };
    let begun = std::time::Instant::now();
    submit("home").refused(1, &["127.0.0.1"]);
    assert!(begun.elapsed().as_secs() < 10);
    submit("elsewhere").refused(1, &["hosts.toml", "home"]);
}

#[test]
fn the_published_example_keys_are_refused() {
    let world = World::offline();
    world.asl().words(["init"]).run().ok();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../keys-example");
    world
        .asl()
        .words(["domain", "create", "--stick"])
        .words([&example])
        .run()
        .refused(3, &["example keys", "key generate"]);
    assert_eq!(
        std::fs::read_dir(world.root().join("domains"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_tampered_stick_is_refused_wherever_it_is_used() {
    let world = World::offline().with_domain();
    let fresh = world.path("fresh");
    asl(&fresh).words(["init"]).run().ok();
    let keys = world.stick().join("asl-keys");
    let source = world.path("source");
    write_random(&source.join("a"), 1);
    for name in ["dam.cbor", "dam.sig", "epoch-1.age", "epoch-1.keys.age"] {
        let path = keys.join(name);
        let good = std::fs::read(&path).unwrap();
        for at in [0, good.len() / 3, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let made = asl(&fresh)
                .words(["domain", "create", "--stick"])
                .words([world.stick()])
                .run();
            assert!(
                [1, 3, 4].contains(&made.code),
                "{name} byte {at}: {} {}",
                made.code,
                made.out
            );
            assert!(made.err.contains("cannot "), "{}", made.err);
            assert_eq!(std::fs::read_dir(fresh.join("domains")).unwrap().count(), 0);
            if name.starts_with("dam") {
                let checked = world
                    .asl()
                    .words(["dam", "verify", "--keys"])
                    .words([world.stick()])
                    .run();
                assert!(
                    [1, 3].contains(&checked.code),
                    "{name} byte {at}: {}",
                    checked.out
                );
            }
        }
        std::fs::write(&path, good).unwrap();
    }
    // The domain that is there already takes no other domain's credential.
    let foreign = world.path("foreign");
    let mut generate = world.asl().words(["key", "generate", "--to"]);
    generate
        .arg(&foreign)
        .arg("--passphrase-file")
        .arg(world.passphrase());
    generate.run().ok();
    let mine = std::fs::read(keys.join("seal.age")).unwrap();
    std::fs::copy(foreign.join("seal.age"), keys.join("seal.age")).unwrap();
    world
        .ingest(&source)
        .run()
        .refused(3, &["seal credential", "key bundle"]);
    std::fs::write(keys.join("seal.age"), mine).unwrap();
    // A damaged credential is not a wrong passphrase.
    let mut bad = std::fs::read(keys.join("seal.age")).unwrap();
    let end = bad.len() - 1;
    bad[end] ^= 1;
    std::fs::write(keys.join("seal.age"), bad).unwrap();
    assert_ne!(world.ingest(&source).run().code, 0);
    assert_eq!(world.verify(), 0, "nothing was sealed");
}

#[test]
fn restoring_needs_the_owner_and_an_empty_place() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    write_random(&source.join("a"), 1);
    world.ingest(&source).words(["--snapshot"]).run().ok();
    let to = world.path("to");
    let restore = || world.asl().words(["restore", "--to"]).words([&to]);
    restore().run().refused(3, &["--identity"]);
    let stranger = world.path("stranger.txt");
    let made = Command::new("age-keygen").arg("-o").arg(&stranger).output();
    assert!(
        made.is_ok_and(|m| m.status.success()),
        "THE age-keygen TOOL IS MISSING: install it with `apt-get install age`"
    );
    restore()
        .words(["--identity"])
        .words([&stranger])
        .run()
        .refused(3, &[]);
    let keys = world.stick().join("asl-keys/seal.age");
    let ran = restore().words(["--identity"]).words([&keys]).run();
    assert!([1, 3].contains(&ran.code), "{}", ran.err);
    restore()
        .words(["--snapshot", "snap-000009", "--identity"])
        .words([world.owner()])
        .run()
        .refused(1, &["snapshot"]);
    assert!(!to.exists(), "a refused restore leaves nothing");
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("mine"), "do not touch").unwrap();
    let ran = restore().words(["--identity"]).words([world.owner()]).run();
    assert_ne!(ran.code, 0, "{}", ran.out);
    assert_eq!(
        std::fs::read_to_string(to.join("mine")).unwrap(),
        "do not touch"
    );
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
}

#[test]
fn ctrl_c_in_the_middle_ends_with_130_and_what_was_acknowledged_stays() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    write_random(&source.join("large"), 128);
    let child = start_ingest(&world, &source);
    signal(&child, Signal::SIGINT);
    let ran = Ran::of(child.wait_with_output().unwrap()).refused(130, &["interrupted"]);
    assert_eq!(
        ran.err.matches("asl-host: cannot").count(),
        1,
        "{}",
        ran.err
    );
    let acknowledged = blocks_stored(&world);
    assert!(acknowledged > 1 << 20, "{acknowledged}");
    world.verify();
    // It goes on where it stopped: what is there is not stored again.
    let mut again = world.ingest(&source);
    again.args(["--snapshot", "--json"]);
    let again = again.run().ok().json();
    assert!(again["new_bytes"].as_u64().unwrap() < 128 << 20, "{again}");
    assert!(blocks_stored(&world) < 144 << 20);
    world.restore("back").run().ok();
    tree::assert_same(&source, &world.path("back"));
}

#[test]
fn a_killed_session_is_continued_and_a_second_writer_is_told_who_holds_the_domain() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    write_random(&source.join("large"), 128);
    let mut child = start_ingest(&world, &source);
    let small = world.path("small");
    write_random(&small.join("a"), 1);
    let pid = child.id().to_string();
    // Held still, so that it cannot end before the other one has unlocked its keys.
    signal(&child, Signal::SIGSTOP);
    world.ingest(&small).run().refused(6, &[&pid]);
    let json = world.ingest(&small).words(["--json"]).run().ends(6).json();
    assert_eq!(json["error"]["status"], "STORE_CONCURRENT_MODIFICATION");
    // Looking is nobody's harm.
    world.asl().words(["log", "verify"]).run().ok();
    child.kill().unwrap();
    child.wait().unwrap();
    let acknowledged = blocks_stored(&world);
    assert!(acknowledged > 1 << 20, "{acknowledged}");
    world.verify();
    world.ingest(&small).run().ok();
    world.verify();
    let mut again = world.ingest(&source);
    again.args(["--snapshot", "--json"]);
    let again = again.run().ok().json();
    assert!(again["new_bytes"].as_u64().unwrap() < 128 << 20, "{again}");
    world.verify();
}

#[test]
fn a_full_target_is_told_keeps_what_was_acknowledged_and_goes_on_when_room_is_made() {
    let world = World::offline();
    let disk = Disk::new(world.path("disk"), 64);
    std::fs::create_dir(disk.path().join("asl-host")).unwrap();
    std::os::unix::fs::symlink(disk.path().join("asl-host"), world.root()).unwrap();
    let filler = disk.path().join("somebody-elses-file");
    write_random(&filler, 24);
    let world = world.with_domain();
    let source = world.path("source");
    for n in 0..4 {
        write_random(&source.join(format!("{n}")), 8);
    }
    let ran = world.ingest(&source).run().ends(1);
    assert!(ran.err.contains("no space is left"), "{}", ran.err);
    assert!(ran.err.contains("next: "), "{}", ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    // Looking, showing and proving still work on a full disk.
    world.asl().words(["status"]).run().ok();
    world.verify();
    let before = blocks_stored(&world);
    // And once more, still full: no worse.
    assert_eq!(world.ingest(&source).run().code, 1);
    world.verify();
    assert!(blocks_stored(&world) >= before);
    std::fs::remove_file(filler).unwrap();
    let mut again = world.ingest(&source);
    again.args(["--snapshot", "--json"]);
    assert_eq!(again.run().ok().json()["problems"], 0);
    world.verify();
    world.restore("back").run().ok();
    tree::assert_same(&source, &world.path("back"));
    drop(disk);
}

#[test]
fn a_source_that_cannot_be_read_in_part_is_sealed_with_holes_and_says_so() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    write_random(&source.join("good"), 1);
    world
        .ingest(&world.path("nowhere"))
        .run()
        .refused(1, &["nowhere"]);
    // A directory that loops back is not followed for ever.
    std::os::unix::fs::symlink("..", source.join("up")).unwrap();
    world.ingest(&source).words(["--snapshot"]).run().ok();
    // The root itself is never sealed into itself.
    let all = world.dir.path().to_path_buf();
    let ran = world.ingest(&all).words(["--json"]).run();
    assert!([0, 5].contains(&ran.code), "{}", ran.err);
    world.verify();
}

#[test]
fn a_console_that_is_gone_stops_no_sealing() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    write_random(&source.join("a"), 1);
    // Every write to standard error fails from the start, as on a line that was cut.
    let mut ingest = world.ingest(&source);
    ingest
        .arg("--snapshot")
        .stderr(std::fs::File::create("/dev/full").unwrap());
    let ran = Ran::of(
        ingest
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap(),
    )
    .ok();
    assert!(ran.out.contains("Snapshot snap-000001"), "{}", ran.out);
    world.verify();
}
