//! The walls between the floors, and the shape of the repository: a broken one is a failed build.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failed unwrap fails the test

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every allowed edge (architecture.md, "The floors"); dev-dependencies aside.
const EDGES: &[(&str, &[&str])] = &[
    ("asl-core", &[]),
    ("asl-auth", &["asl-core"]),
    ("asl-backend", &["asl-core"]),
    ("asl-store", &["asl-core", "asl-backend"]),
    (
        "asl-host",
        &["asl-core", "asl-auth", "asl-backend", "asl-store"],
    ),
    ("asl-net", &["asl-core", "asl-auth", "asl-host"]),
    ("asl-ingest", &["asl-core", "asl-host"]),
    (
        "asl-rescue",
        &[
            "asl-core",
            "asl-auth",
            "asl-backend",
            "asl-store",
            "asl-host",
            "asl-net",
            "asl-ingest",
        ],
    ),
    // Used by tests only: it may see what it simulates, and no one may depend on it.
    (
        "asl-testkit",
        &[
            "asl-core",
            "asl-auth",
            "asl-backend",
            "asl-store",
            "asl-host",
            "asl-net",
            "asl-ingest",
        ],
    ),
    // No floor of ours: a part of the base image, which knows nothing of us, and we nothing of it.
    ("asl-base-init", &[]),
    // The judge of scripts/bench: it measures from outside, opens a stick's secrets, and commits
    // small pieces into a store.
    ("asl-bench", &["asl-auth", "asl-backend", "asl-store"]),
];

/// Crates of others that belong on one floor alone: async inside asl-net, terminal in asl-rescue.
const ONLY_ON: &[(&str, &[&str])] = &[
    (
        "asl-net",
        &[
            "tokio",
            "tokio-rustls",
            "rustls",
            "hyper",
            "hyper-util",
            "axum",
            "rcgen",
        ],
    ),
    (
        "asl-rescue",
        &[
            "clap",
            "dialoguer",
            "indicatif",
            "mimalloc",
            "tracing-subscriber",
        ],
    ),
];

/// What may lie at the top beside dotfiles, and must (architecture.md, "Top level of the repository").
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "image",
    "keys-example",
    "profiles",
    "runtime",
    "scripts",
];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Each crate of ours with what it depends on outside its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let out = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_string();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let uses = package["dependencies"].as_array().unwrap().iter();
            let uses = uses
                .filter(|d| d["kind"] != "dev")
                .map(|d| text(&d["name"]))
                .collect();
            (text(&package["name"]), uses)
        })
        .collect()
}

/// The edges that the table does not allow, and the crates it does not name.
fn broken_edges(found: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let allowed: BTreeMap<_, _> = EDGES.iter().copied().collect();
    let mut broken = Vec::new();
    for (name, uses) in found {
        let Some(may) = allowed.get(name.as_str()) else {
            broken.push(format!("{name} stands in no row of the table"));
            continue;
        };
        for used in uses
            .iter()
            .filter(|u| u.starts_with("asl-") && !may.contains(&u.as_str()))
        {
            broken.push(format!("{name} -> {used}"));
        }
        for (floor, theirs) in ONLY_ON {
            for used in uses
                .iter()
                .filter(|u| floor != name && theirs.contains(&u.as_str()))
            {
                broken.push(format!("{name} -> {used}, which belongs in {floor}"));
            }
        }
    }
    broken
}

#[test]
fn every_floor_uses_only_what_lies_below_it() {
    assert_eq!(broken_edges(&dependencies()), Vec::<String>::new());
}

#[test]
fn every_floor_of_the_table_is_there() {
    let found: Vec<_> = dependencies().into_keys().collect();
    let mut table: Vec<_> = EDGES.iter().map(|(name, _)| (*name).to_string()).collect();
    table.sort();
    assert_eq!(found, table);
}

#[test]
fn a_broken_wall_is_seen() {
    let spoilt = |name: &str, used: &str| {
        let mut found = dependencies();
        found
            .entry(name.to_string())
            .or_default()
            .insert(used.to_string());
        broken_edges(&found)
    };
    assert_eq!(spoilt("asl-store", "asl-auth"), ["asl-store -> asl-auth"]);
    assert_eq!(
        spoilt("asl-core", "asl-backend"),
        ["asl-core -> asl-backend"]
    );
    assert_eq!(
        spoilt("asl-ingest", "asl-store"),
        ["asl-ingest -> asl-store"]
    );
    assert_eq!(
        spoilt("asl-rescue", "asl-testkit"),
        ["asl-rescue -> asl-testkit"]
    );
    assert_eq!(
        spoilt("asl-store", "tokio"),
        ["asl-store -> tokio, which belongs in asl-net"]
    );
    assert_eq!(
        spoilt("asl-new", "serde"),
        ["asl-new stands in no row of the table"]
    );
}

#[test]
fn the_top_level_is_exactly_what_it_may_be() {
    let listed: BTreeSet<String> = tracked()
        .iter()
        .filter_map(|f| f.split('/').next().map(str::to_string))
        .collect();
    let beyond: Vec<_> = listed
        .iter()
        .filter(|n| !n.starts_with('.') && !TOP.contains(&n.as_str()))
        .collect();
    assert!(
        beyond.is_empty(),
        "beyond what may lie at the top: {beyond:?}"
    );
    let missing: Vec<_> = TOP.iter().filter(|n| !listed.contains(**n)).collect();
    assert!(missing.is_empty(), "missing at the top: {missing:?}");
}

/// The repository's files; of an unpacked archive without `.git`, what lies at its top.
fn tracked() -> Vec<String> {
    if !top().join(".git").exists() {
        let names = std::fs::read_dir(top())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
        return names.filter(|n| n != "target").collect();
    }
    let out = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout)
        .unwrap()
        .split_terminator('\0')
        .map(str::to_string)
        .collect()
}
