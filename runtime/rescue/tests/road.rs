//! The whole road by plain commands, from nothing to a proven restore.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use serde_json::Value;

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
}

#[test]
fn the_whole_road_from_keys_to_a_restore_that_equals_the_source() {
    let world = World::new();
    let source = world.path("victim");
    tree::make(&source);
    let before = tree::look(&source);

    // At home: the keys say the same words wherever they are shown.
    let dam = world
        .asl()
        .words(["dam", "verify", "--json", "--keys"])
        .words([world.keys()])
        .run()
        .ok()
        .json();
    assert!(text(&dam["domain_id"]).starts_with("alice.personal~"));
    assert_eq!(dam["sequence"], 1);
    assert_eq!(dam["not_after"], Value::Null);
    let on_stick = world
        .asl()
        .words(["dam", "verify", "--json", "--keys"])
        .words([world.stick()])
        .run()
        .ok()
        .json();
    assert_eq!(on_stick, dam);
    for private in ["owner.txt", "root.key"] {
        assert!(
            !world.stick().join("asl-keys").join(private).exists(),
            "{private} is on the stick"
        );
    }

    // 1. A local domain.
    let made = world.asl().words(["init", "--json"]).run().ok().json();
    assert_eq!(text(&made["words"]).split(' ').count(), 12);
    let domain = world
        .asl()
        .words(["domain", "create", "--json", "--stick"])
        .words([world.stick()])
        .run()
        .ok()
        .json();
    assert_eq!(domain["domain_id"], dam["domain_id"]);
    assert_eq!(domain["state"], "UNRECOGNIZED");
    assert_eq!(domain["encrypted"], true);
    assert_eq!(domain["leases"], serde_json::json!([]));

    // 2 to 4. Keys, request, decision.
    let mail = world.path("mail");
    let mut request = world.asl().words([
        "admission",
        "request",
        "--json",
        "--host",
        "home",
        "--bytes",
        "500000000",
        "--days",
        "3",
    ]);
    request
        .arg("--stick")
        .arg(world.stick())
        .arg("--to")
        .arg(&mail);
    request.arg("--passphrase-file").arg(world.passphrase());
    assert_eq!(request.run().ok().json()["host"], "home");
    let mut submit = world
        .asl()
        .words(["admission", "submit", "--json", "--host", "home"]);
    submit
        .arg("--stick")
        .arg(world.stick())
        .arg("--request")
        .arg(&mail);
    let decision = submit.run().ok().json();
    assert_eq!(decision["outcome"], "ACCEPTED_LIMITED");
    assert_eq!(decision["lease"]["storage_bytes"], 500_000_000);
    let mut apply = world
        .asl()
        .words(["admission", "apply", "--json", "--host", "home"]);
    apply
        .arg("--stick")
        .arg(world.stick())
        .arg("--request")
        .arg(&mail);
    assert_eq!(apply.run().ok().json(), decision);
    let lease = world
        .asl()
        .words(["lease", "show", "--json"])
        .run()
        .ok()
        .json();
    let lease = &lease["leases"][0]["leases"][0];
    assert_eq!(lease["storage_bytes"], 500_000_000);
    assert_eq!(lease["expires_at"], decision["lease"]["expires_at"]);
    // The other side holds the same word about it.
    let there = asl(&world.keeper())
        .words(["status", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(there["domains"][0]["domain_id"], dam["domain_id"]);
    assert_eq!(there["domains"][0]["state"], "COURTESY");

    // 5. Sealing.
    let mut ingest = world.ingest(&source);
    ingest.args(["--snapshot", "--json"]);
    let sealed = ingest.run().ok().json();
    assert_eq!(sealed["problems"], 0);
    assert_eq!(sealed["durability"], "durable");
    assert_eq!(sealed["read_back"], true);
    assert!(
        sealed["new_bytes"].as_u64().unwrap() > 6_000_000,
        "{sealed}"
    );
    assert_eq!(
        sealed["entries"].as_u64().unwrap() as usize,
        before.0.len(),
        "{sealed}"
    );
    assert_eq!(tree::look(&source).0, before.0, "the source was changed");

    // 6. Snapshot and proof.
    assert_eq!(sealed["snapshot"], "snap-000001");
    let shown = world
        .asl()
        .words(["domain", "show", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(shown["current_snapshot"], "snap-000001");
    let list = world
        .asl()
        .words(["snapshot", "list", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(list["snapshots"][0]["snapshot"], "snap-000001");
    assert_eq!(list["snapshots"][0]["read_back"], true);
    let log = world
        .asl()
        .words(["log", "verify", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(text(&log["words"]).split(' ').count(), 12);
    assert_eq!(shown["current_logseq"], log["logseq"]);
    assert!(world.verify() > 0);
    let structure = world.asl().words(["verify", "--json"]).run().ok().json();
    assert_eq!(structure["pieces_opened"], false);
    assert_eq!(structure["snapshots"], 1);

    let mut restore = world.restore("restored");
    restore.arg("--json");
    let restored = restore.run().ok().json();
    assert_eq!(restored["problems"], 0);
    assert_eq!(restored["snapshot"], "snap-000001");
    tree::assert_same(&source, &world.path("restored"));

    // Once more: nothing is stored twice.
    let mut again = world.ingest(&source);
    again.args(["--snapshot", "--json"]);
    let again = again.run().ok().json();
    assert_eq!(again["bytes"], sealed["bytes"]);
    assert_eq!(again["snapshot"], "snap-000002");
    // The tree's own pieces are the same; only the root with its times is new.
    assert_eq!(again["new_bytes"], 0, "{again}");
    // The older snapshot still restores, and so does the newest, once.
    for (to, snapshot) in [("first", Some("snap-000001")), ("newest", None)] {
        let mut restore = world.restore(to);
        restore.args(snapshot.map(|s| ["--snapshot", s]).into_iter().flatten());
        restore.run().ok();
        tree::assert_same(&source, &world.path(to));
    }
    assert_eq!(world.server.unwrap().stop(), 0);
}

#[test]
fn a_plain_domain_goes_the_same_road_without_any_key() {
    let world = World::offline();
    let source = world.path("public");
    tree::make(&source);
    world.asl().words(["init"]).run().ok();
    let made = world
        .asl()
        .words(["domain", "create", "--json", "--label", "common", "--plain"])
        .words([
            "--new-root".as_ref(),
            world.path("common-root.key").as_os_str(),
        ])
        .run()
        .ok()
        .json();
    assert_eq!(made["encrypted"], false);
    let sealed = world
        .asl()
        .words(["ingest", "--snapshot", "--json"])
        .words([&source])
        .run()
        .ok()
        .json();
    assert_eq!(sealed["problems"], 0);
    let list = world.asl().words(["snapshot", "list"]).run().ok();
    assert!(list.out.contains("snap-000001"), "{}", list.out);
    world
        .asl()
        .words(["restore", "--to"])
        .words([world.path("back")])
        .run()
        .ok();
    tree::assert_same(&source, &world.path("back"));
    let report = world
        .asl()
        .words(["verify", "--data", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(report["pieces_opened"], true);
}

#[test]
fn the_same_admission_goes_by_stick_where_there_is_no_network() {
    let world = World::new().with_domain();
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
    // The directory is carried to the host; both roads answer with the same decision.
    let by_file = asl(&world.keeper())
        .words(["admission", "decide", "--json", "--request"])
        .words([&mail])
        .run()
        .ok()
        .json();
    assert_eq!(by_file["outcome"], "ACCEPTED_LIMITED");
    let kept = std::fs::read(mail.join("admission-decision.cbor")).unwrap();
    for name in ["admission-decision.cbor", "admission-decision.sig"] {
        std::fs::remove_file(mail.join(name)).unwrap();
    }
    let mut submit = world
        .asl()
        .words(["admission", "submit", "--json", "--host", "home"]);
    submit
        .arg("--stick")
        .arg(world.stick())
        .arg("--request")
        .arg(&mail);
    assert_eq!(submit.run().ok().json(), by_file);
    assert_eq!(
        std::fs::read(mail.join("admission-decision.cbor")).unwrap(),
        kept
    );
    let mut apply = world.asl().words(["admission", "apply", "--host", "home"]);
    apply
        .arg("--stick")
        .arg(world.stick())
        .arg("--request")
        .arg(&mail);
    let said = apply.run().ok().out;
    assert!(said.contains("The host lends"), "{said}");
}

#[test]
fn a_snapshot_is_signed_with_the_stick_and_awaits_a_signature_without() {
    let world = World::offline().with_domain();
    let unsigned = world
        .asl()
        .words(["snapshot", "create", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(unsigned["signed"], false);
    let mut create = world
        .asl()
        .words(["snapshot", "create", "--json", "--stick"]);
    create
        .arg(world.stick())
        .arg("--passphrase-file")
        .arg(world.passphrase());
    let signed = create.run().ok().json();
    assert_eq!(signed["signed"], true);
    let domain = std::fs::read_dir(world.root().join("domains"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let sig = |id: &Value| {
        domain
            .join("snapshots")
            .join(text(id))
            .join("manifest.sig")
            .is_file()
    };
    assert!(!sig(&unsigned["snapshot"]) && sig(&signed["snapshot"]));
    world.verify();
}
