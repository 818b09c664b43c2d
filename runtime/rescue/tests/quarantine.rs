//! Quarantine: what was refused or put aside is shown with its reason and its evidence, counts for
//! nothing, and leaves only by the keeper's hand.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use std::path::{Path, PathBuf};

/// `asl-host quarantine ...` at a root.
fn quarantine(root: &Path, words: &[&str]) -> Ran {
    asl(root).words(["quarantine"]).words(words).run()
}

fn listed(root: &Path) -> Vec<serde_json::Value> {
    let list = quarantine(root, &["list", "--json"]).ok().json();
    list["quarantine"].as_array().unwrap().clone()
}

fn name_of(row: &serde_json::Value) -> String {
    row["name"].as_str().unwrap().to_string()
}

/// A keeper who rejected what `home`'s stick asked for, and where the request lies.
fn rejected() -> (World, PathBuf) {
    let world = World::new().with_domain();
    let policy = world.keeper().join("host/host-policy");
    let text = std::fs::read_to_string(&policy).unwrap();
    let hard = text.replace(
        "known_roots = \"ACCEPTED_LIMITED\"",
        "known_roots = \"REJECTED\"",
    );
    assert_ne!(hard, text, "host-policy has another spelling now");
    std::fs::write(&policy, hard).unwrap();
    let mail = world.path("mail");
    let mut asked = world
        .asl()
        .words(["admission", "request", "--host", "home"]);
    asked.arg("--stick").arg(world.stick());
    asked.arg("--passphrase-file").arg(world.passphrase());
    asked.arg("--to").arg(&mail);
    asked.run().ok();
    asl(&world.keeper())
        .words(["admission", "decide", "--request"])
        .words([&mail])
        .run()
        .ok();
    (world, mail)
}

#[test]
fn a_rejected_petition_is_shown_with_its_reason_and_counts_for_nothing() {
    let (world, _) = rejected();
    let rows = listed(&world.keeper());
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["reason"], "rejected-admission");
    assert!(
        rows[0]["why"].as_str().unwrap().starts_with("rejected: "),
        "{}",
        rows[0]
    );
    let name = name_of(&rows[0]);
    let shown = quarantine(&world.keeper(), &["show", &name[..18], "--json"])
        .ok()
        .json();
    assert_eq!(shown["files"].as_array().unwrap().len(), 6);
    let said = quarantine(&world.keeper(), &["show", &name]).ok();
    assert!(said.out.contains("admission-decision.sig"), "{}", said.out);
    let domains = asl(&world.keeper())
        .words(["domain", "list", "--json"])
        .run()
        .ok()
        .json();
    assert_eq!(domains["domains"].as_array().unwrap().len(), 0);
}

#[test]
fn what_is_released_is_handed_out_whole_and_may_be_decided_anew() {
    let (world, mail) = rejected();
    let name = name_of(&listed(&world.keeper())[0]);
    let lies = world.keeper().join("quarantine").join(&name);
    let evidence: Vec<Vec<u8>> = contents(&lies)
        .keys()
        .map(|p| std::fs::read(p).unwrap())
        .collect();
    let to = world.path("evidence");
    let words = ["release", &name, "--to", to.to_str().unwrap()];
    quarantine(&world.keeper(), &words).ok();
    let out: Vec<Vec<u8>> = contents(&to)
        .keys()
        .map(|p| std::fs::read(p).unwrap())
        .collect();
    assert_eq!(out, evidence);
    assert!(listed(&world.keeper()).is_empty());
    let told = contents(&world.keeper().join("host/audit")).into_keys();
    let told: String = told.map(|p| std::fs::read_to_string(p).unwrap()).collect();
    assert!(
        told.contains("quarantine-release") && told.contains(&name),
        "{told}"
    );
    // The keeper's own hand may now give another answer to the same request.
    asl(&world.keeper())
        .words(["admission", "decide", "--outcome", "DEFERRED", "--request"])
        .words([&mail])
        .run()
        .ok();
}

#[test]
fn what_a_repair_put_aside_is_purged_by_name_or_whole_and_the_domain_stays_as_it_is() {
    let world = World::offline().with_domain();
    let source = world.path("source");
    write_random(&source.join("a"), 1);
    world.ingest(&source).words(["--snapshot"]).run().ok();
    let block = contents(&world.root())
        .into_keys()
        .find(|p| p.extension().is_some_and(|e| e == "blk"))
        .unwrap();
    let mut bytes = std::fs::read(&block).unwrap();
    bytes[70] ^= 1;
    std::fs::remove_file(&block).unwrap();
    std::fs::write(&block, &bytes).unwrap();
    world.asl().words(["repair"]).run().ends(4);
    let rows = listed(&world.root());
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["reason"], "replaced");
    assert_eq!(rows[0]["bytes"], bytes.len() as u64);
    let name = name_of(&rows[0]);
    assert!(name.starts_with("alice.personal~"), "{name}");
    // It is not read as the domain's.
    world.asl().words(["verify"]).run().ends(4);
    quarantine(&world.root(), &["purge", "--all", "--dry-run"]).ok();
    assert_eq!(listed(&world.root()).len(), 1);
    let said = quarantine(&world.root(), &["purge", &name]).ok();
    assert!(said.out.contains("Removed 1, "), "{}", said.out);
    assert!(listed(&world.root()).is_empty());
    let said = quarantine(&world.root(), &["purge", "--all"]).ok();
    assert!(
        said.out.contains("Nothing is in quarantine."),
        "{}",
        said.out
    );
    world.ingest(&source).words(["--snapshot"]).run().ok();
}

#[test]
fn names_that_mean_nothing_or_several_and_places_that_are_taken_are_refused() {
    let (world, _) = rejected();
    let keeper = world.keeper();
    std::fs::create_dir(keeper.join("quarantine/admission-zz")).unwrap();
    let before = contents(&keeper);
    for wrong in [
        "admission-0000000000",
        "../host/identity.key",
        "/",
        ".",
        "nobody~000000000000/x",
    ] {
        quarantine(&keeper, &["show", wrong]).refused(1, &["nothing there has that name"]);
        quarantine(&keeper, &["purge", wrong]).refused(1, &["nothing there has that name"]);
    }
    quarantine(&keeper, &["purge", "admission-"]).refused(2, &["2 names begin so"]);
    quarantine(&keeper, &["purge"]).ends(2);
    quarantine(&keeper, &["purge", "admission-zz", "--all"]).ends(2);
    let name = listed(&keeper)
        .iter()
        .map(name_of)
        .find(|n| n.len() > 20)
        .unwrap();
    let taken = world.path("keys");
    let words = ["release", &name, "--to", taken.to_str().unwrap()];
    quarantine(&keeper, &words).refused(1, &["it is there already"]);
    let missing = world.path("none/below");
    let words = ["release", &name, "--to", missing.to_str().unwrap()];
    quarantine(&keeper, &words).refused(1, &[]);
    assert_eq!(contents(&keeper), before);
}
