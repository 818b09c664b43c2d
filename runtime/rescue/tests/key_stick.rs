//! `key bundle`: a stick that is full, protected, failing, pulled or another's, and what may be on it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::keys::*;
use common::medium::Medium;
use common::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn a_full_stick_is_told_before_and_while_it_is_written_and_is_no_key_stick() {
    let world = World::offline();
    let small = Medium::memory(world.path("small"), "size=1m");
    bundle(&world, &world.keys(), small.path())
        .run()
        .refused(1, &["free", "needed", "larger stick"]);
    // Room by the byte, but not for so many files: found out while writing.
    let narrow = Medium::memory(world.path("narrow"), "nr_inodes=8");
    bundle(&world, &world.keys(), narrow.path())
        .run()
        .refused(1, &["cannot finish the key stick", "no key stick now"]);
    for at in [small.path(), narrow.path()] {
        on_keys(&world, &["key", "show"], at).run().ends(1);
        assert!(!at.join("asl-keys/seal.age").exists());
    }
    // The keys at home are as they were, and a larger stick takes them.
    bundle(&world, &world.keys(), &world.path("larger"))
        .run()
        .ok();
}

#[test]
fn a_write_protected_stick_is_told_and_taken_once_it_is_open() {
    let world = World::offline();
    let stick = Medium::memory(world.path("protected"), "size=300m");
    stick.protect(true);
    bundle(&world, &world.keys(), stick.path())
        .run()
        .refused(1, &["ead-only", "write-protected"]);
    stick.protect(false);
    bundle(&world, &world.keys(), stick.path()).run().ok();
    // A stick that is one already keeps its keys when it cannot be written anew.
    stick.protect(true);
    bundle(&world, &world.keys(), stick.path()).run().ends(1);
    assert_eq!(show(&world, stick.path())["amiss"], serde_json::json!([]));
}

#[test]
fn a_stick_that_fails_in_mid_write_is_no_key_stick() {
    let world = World::offline();
    let stick = Medium::failing_after(world.path("failing"), 30);
    let ran = bundle(&world, &world.keys(), stick.path())
        .run()
        .refused(1, &["cannot finish the key stick"]);
    assert!(!ran.err.contains("no room"), "{}", ran.err);
    assert!(!stick.path().join("asl-keys/seal.age").exists());
    assert_eq!(show(&world, &world.keys())["amiss"], serde_json::json!([]));
}

#[test]
fn a_bundle_killed_at_any_moment_leaves_a_whole_key_stick_or_none_and_is_made_again() {
    let world = World::offline();
    let to = world.path("killed");
    let mut made = 0;
    for n in 0..12u64 {
        let mut child = bundle(&world, &world.keys(), &to).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(n * 25));
        child.kill().unwrap();
        child.wait().unwrap();
        if to.join("asl-keys/seal.age").exists() {
            made += 1;
            assert_eq!(show(&world, &to)["amiss"], serde_json::json!([]));
            assert!(show(&world, &to)["proven"].is_string());
        }
    }
    assert!(made < 12, "it was never killed in time");
    bundle(&world, &world.keys(), &to).run().ok();
    assert_eq!(show(&world, &to)["amiss"], serde_json::json!([]));
}

#[test]
fn a_stick_with_another_domains_keys_is_left_as_it_is_and_one_of_the_same_is_written_anew() {
    let world = World::offline();
    let other = other_keys(&world, "bobs");
    on_keys(&world, &["dam", "sign"], &other).run().ok();
    let before = all_files(&world.stick());
    bundle(&world, &other, &world.stick())
        .run()
        .refused(1, &["holds keys already", "another stick"]);
    assert_eq!(all_files(&world.stick()), before);
    // Of the same domain: a host that was pinned since comes onto it.
    let pin = format!("home=192.0.2.7:7643={}", host_key(&world));
    on_keys(&world, &["key", "host", "add", &pin], &world.keys())
        .run()
        .ok();
    bundle(&world, &world.keys(), &world.stick()).run().ok();
    assert_eq!(show(&world, &world.stick())["hosts"][0]["name"], "home");
    // Keys that are not proven are bundled with a warning.
    let ran = bundle(&world, &other, &world.path("bobs-stick")).run().ok();
    assert!(ran.out.contains("warning: not proven"), "{}", ran.out);
}

#[test]
fn keys_that_do_not_belong_together_never_reach_a_stick() {
    let world = World::offline();
    let (keys, to) = (world.keys(), world.path("never"));
    bundle(&world, &world.path("nowhere"), &to)
        .run()
        .refused(1, &["no seal.age"]);
    let other = other_keys(&world, "bobs");
    bundle(&world, &other, &to)
        .run()
        .refused(1, &["not signed", "dam sign"]);
    std::fs::remove_file(other.join("dam.cbor")).unwrap();
    bundle(&world, &other, &to)
        .run()
        .refused(1, &["no DAM", "dam create"]);
    // Each of the files of another domain, put in the place of ours.
    for file in [
        "root.pub",
        "operator.pub",
        "epoch-1.age",
        "epoch-1.keys.age",
    ] {
        let ours = std::fs::read(keys.join(file)).unwrap();
        std::fs::copy(other.join(file), keys.join(file)).unwrap();
        bundle(&world, &keys, &to)
            .run()
            .refused(3, &[file, "not the one that the DAM names"]);
        let amiss = show(&world, &keys)["amiss"].to_string();
        assert!(amiss.contains(file), "{amiss}");
        std::fs::write(keys.join(file), ours).unwrap();
    }
    // A DAM that was changed after it was signed, and a proof by another operator.
    for (file, exit) in [("dam.cbor", None), ("proven.sig", Some(3))] {
        let ours = std::fs::read(keys.join(file)).unwrap();
        let mut changed = ours.clone();
        *changed.last_mut().unwrap() ^= 1;
        std::fs::write(keys.join(file), changed).unwrap();
        let ran = bundle(&world, &keys, &to).run();
        assert!(
            ran.code != 0 && exit.is_none_or(|e| e == ran.code),
            "{}",
            ran.err
        );
        std::fs::write(keys.join(file), ours).unwrap();
    }
    assert!(!to.join("asl-keys/seal.age").exists());
    bundle(&world, &keys, &to).run().ok();
}

#[test]
fn no_secret_is_given_away_but_the_owners_identity_by_its_name() {
    let world = World::offline();
    let keys = world.keys();
    let root_key = std::fs::read(keys.join("root.key")).unwrap();
    let identity = std::fs::read_to_string(world.owner()).unwrap();
    let secret = identity.lines().last().unwrap().to_string();
    for secret in [&root_key[..], secret.as_bytes()] {
        assert!(holds(&keys, secret) && !holds(&world.stick(), secret));
    }
    // The stick is the keys' own home, or a secret lies on it already.
    bundle(&world, &keys, &keys)
        .run()
        .refused(3, &["keys at home lie on it"]);
    bundle(&world, &keys, world.dir.path())
        .run()
        .refused(3, &["keys at home lie on it"]);
    for (file, in_folder) in [
        ("owner.txt", false),
        ("root.key", false),
        ("root.key", true),
    ] {
        let to = world.path("given");
        let folder = if in_folder {
            to.join("asl-keys")
        } else {
            to.clone()
        };
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), "secret").unwrap();
        bundle(&world, &keys, &to)
            .run()
            .refused(3, &["a secret lies on it", file]);
        std::fs::remove_dir_all(&to).unwrap();
    }
    // By name, only the right one, with a warning; and gone again when it is not asked for.
    let other = other_keys(&world, "bobs").join("owner.txt");
    let with = |identity: &Path| {
        bundle(&world, &keys, &world.path("by-name"))
            .words(["--with-owner-identity".as_ref(), identity.as_os_str()])
    };
    with(&other)
        .run()
        .refused(3, &["not the identity of an owner"]);
    assert!(!world.path("by-name").join("asl-keys").exists());
    let ran = with(&world.owner()).run().ok();
    assert!(
        ran.out.contains("THE OWNER'S IDENTITY IS ON IT"),
        "{}",
        ran.out
    );
    assert!(holds(&world.path("by-name"), secret.as_bytes()));
    let shown = on_keys(&world, &["key", "show"], &world.path("by-name"))
        .run()
        .ok();
    assert!(shown.out.contains("opens everything"), "{}", shown.out);
    bundle(&world, &keys, &world.path("by-name")).run().ok();
    assert!(!holds(&world.path("by-name"), secret.as_bytes()));
}

#[test]
fn the_stick_carries_this_program_the_way_back_and_nothing_that_others_may_read() {
    let world = World::offline();
    let folder = world.stick().join("asl-keys");
    let program = std::fs::read(env!("CARGO_BIN_EXE_asl-host")).unwrap();
    assert_eq!(std::fs::read(folder.join("asl-host")).unwrap(), program);
    detached(folder.join("asl-host"))
        .words(["--version"])
        .run()
        .ok();
    assert!(folder.join("RECOVER.txt").is_file());
    // A test's own binary asks for a loader, and that is said.
    let again = bundle(&world, &world.keys(), &world.stick())
        .words(["--json"])
        .run()
        .ok();
    assert_eq!(again.json()["program_is_static"], false);
    assert!(again.json()["warnings"]
        .to_string()
        .contains("not a static one"));
    for path in all_files(&folder)
        .keys()
        .chain(all_files(&world.keys()).keys())
    {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
    let mode = std::fs::metadata(world.keys())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_dam_that_has_ended_reaches_no_stick_and_the_next_one_does() {
    let world = World::offline();
    let keys = world.keys();
    let next = |days: &str| {
        let create = on_keys(&world, &["dam", "create", "--next", "--days", days], &keys);
        create.run().ok();
        on_keys(&world, &["dam", "sign"], &keys).run().ok();
    };
    next("0");
    let before = all_files(&world.stick());
    bundle(&world, &keys, &world.stick())
        .run()
        .refused(3, &["has expired", "dam create --next"]);
    assert_eq!(all_files(&world.stick()), before);
    assert!(show(&world, &keys)["amiss"].to_string().contains("expired"));
    // The card is printed all the same: what was sealed opens without any DAM.
    on_keys(&world, &["key", "card"], &keys).run().ok();
    next("30");
    bundle(&world, &keys, &world.stick()).run().ok();
    assert_eq!(show(&world, &world.stick())["dam"]["sequence"], 3);
}
