//! P5: a bit that flips in any file of a host's root, in a domain that is sealed with age, is found
//! by `verify` or refused at opening, and never served; what can be made good here is
//! (reliability.md). `ASL_TORTURE_COUNT` says how many bits; `scripts/torture host-flips`.
//!
//! Found while this was written: a bit of `dam.cbor` locked the owner out of reading; the decision's
//! signature, `host-id`, `identity.key` and a head's stored bytes were checked by nobody; a bit of
//! `host.log` passed `verify`; a working file whose one stanza was spoiled passed for one that no key
//! is at hand for (in 10 of 5000 flips); and a head that was spoiled kept `repair` from opening for ever.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;
mod world;

use asl_core::{Kind, Result};
use asl_host::verify::{check_records, mend_records};
use asl_store::{RepairReport, VerifyOptions, VerifyReport};
use asl_testkit::{is_torture, torture_count};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use world::World;

/// How a flipped bit came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Refused,
    Damage,
    Derived,
}

/// What a file is, for the count; the keeper's own words are exempt by name.
fn kind_of(name: &str) -> Option<&'static str> {
    let kinds = [
        ("host/host-policy", ""),
        ("host/trusted-roots/", ""),
        // Each line is bound by the next: of the last, nobody knows what was written.
        ("host/audit", ""),
        // Advice and notes that nothing depends on.
        ("/tmp/", ""),
        ("host/host-id", "host-id"),
        ("host/identity.key", "identity.key"),
        ("host/heads/", "heads"),
        ("quarantine/admission-", "rejected petitions"),
        (".blk", "blocks"),
        (".set", "block sets"),
        ("/segment", "segments"),
        ("index/bloom/", "bloom"),
        ("index/working/", "working files"),
        ("log/append.log", "append.log"),
        ("log/host.log", "host.log"),
        ("log/seal.log", "seal.log"),
        ("checkpoints/", "checkpoints"),
        ("manifest.cbor", "manifests"),
        ("manifest.sig", "manifest signatures"),
        ("snapshots/pinned/", "pinned views"),
        ("/blocks", "block lists"),
        ("domain.json", "domain.json"),
        ("leases/", "leases"),
        ("admission/", "admission"),
        ("auth/delegations/", "delegations"),
        ("auth/", "public keys"),
        ("store/encryption/", "epoch files"),
    ];
    let found = kinds.iter().find(|(part, _)| name.contains(part));
    let kind = found.unwrap_or_else(|| panic!("{name} is of no kind")).1;
    Some(kind).filter(|kind| !kind.is_empty())
}

/// What can always be made anew from what is here.
const DERIVABLE: [&str; 11] = [
    "heads",
    "bloom",
    "segments",
    "working files",
    "seal.log",
    "checkpoints",
    "block lists",
    "pinned views",
    "domain.json",
    "leases",
    "public keys",
];

/// Everything there is to check; what is served on the way must be what was put.
fn verified(world: &World, at: &str) -> Result<VerifyReport> {
    let (root, domain) = world.open()?;
    let Some(handle) = world.reading(&domain)? else {
        let mut report = VerifyReport::default();
        check_records(&root, &domain, None, &mut report)?;
        return Ok(report);
    };
    for (id, bytes) in &world.pieces {
        if let Ok(served) = handle.get_piece(id) {
            assert_eq!(served, *bytes, "{at}: served");
        }
    }
    let all = VerifyOptions {
        data: true,
        ..VerifyOptions::default()
    };
    let mut report = handle.verify(all, &|_, _| (), &|| false)?;
    check_records(&root, &domain, Some(handle.head()), &mut report)?;
    Ok(report)
}

fn judged(world: &World, whole: &VerifyReport, at: &str) -> Option<Found> {
    let report = match verified(world, at) {
        Ok(report) => report,
        Err(e) => {
            let known = [Kind::Damage, Kind::Invalid, Kind::NotFound, Kind::Refused];
            assert!(known.contains(&e.kind()), "{at}: {e}");
            return Some(Found::Refused);
        }
    };
    match (report.damage.is_empty(), report.notes == whole.notes) {
        (false, _) => Some(Found::Damage),
        (true, false) => Some(Found::Derived),
        (true, true) => None,
    }
}

/// Repairs; whether it is whole again after it.
fn repaired(world: &World, whole: &VerifyReport, at: &str) -> bool {
    let mend = || -> Result<()> {
        let (root, domain) = world.open()?;
        mend_records(&root, &domain, &mut RepairReport::default())?;
        let (_, domain) = world.open()?;
        match world.upkeep(&domain)? {
            Some(mut handle) => drop(handle.repair(&|_, _| (), &|| false)?),
            None => return Ok(()),
        }
        // Opening for writing once more writes anew what was set aside.
        world.upkeep(&domain).map(drop)?;
        world.write_views(&domain)
    };
    mend().is_ok() && judged(world, whole, at).is_none()
}

#[test]
fn p5_a_flipped_bit_in_any_file_of_a_host_is_found_and_nothing_it_changed_is_served() {
    let (long, count) = (is_torture(), torture_count(60));
    // Found as damage, refused, told as derived; made good.
    let mut counts: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
    let (mut done, mut tried, mut files_in_all) = (0, 0, 0);
    let mut missed = Vec::new();
    let worlds = [World::home(), World::keeper()];
    for (share, world) in [(4, &worlds[0]), (1, &worlds[1])] {
        let whole = verified(world, "whole").unwrap();
        assert_eq!(whole.damage, [], "it is whole");
        assert_eq!(whole.not_checked, [] as [String; 0]);
        let kept = common::files(&world.dir());
        let names: Vec<(&PathBuf, &'static str)> = kept
            .iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .filter_map(|(name, _)| Some((name, kind_of(&name.to_string_lossy())?)))
            .collect();
        files_in_all += names.len();
        for n in 0..count * share / 5 {
            // Every file in turn, and a place in it drawn from the number.
            let (name, kind) = names[n as usize % names.len()];
            let drawn = blake3::hash(&n.to_le_bytes());
            let drawn = u64::from_le_bytes(drawn.as_bytes()[..8].try_into().unwrap());
            let mut bytes = kept[name].clone();
            let (byte, bit) = ((drawn >> 3) as usize % bytes.len(), drawn & 7);
            bytes[byte] ^= 1 << bit;
            write(&world.dir().join(name), &bytes);
            let at = format!("{}, byte {byte}, bit {bit}", name.display());
            let of = counts.entry(kind).or_default();
            match judged(world, &whole, &at) {
                Some(Found::Damage) => of[0] += 1,
                Some(Found::Refused) => of[1] += 1,
                Some(Found::Derived) => of[2] += 1,
                None => missed.push(at.clone()),
            }
            // In the short form every fourth: to repair takes as long as to find.
            if long || n % 4 == 0 {
                tried += 1;
                let mended = repaired(world, &whole, &at);
                assert!(mended || !DERIVABLE.contains(&kind), "{at}: not repaired");
                of[3] += u64::from(mended);
            }
            done += 1;
            put_back(&world.dir(), &kept);
        }
    }
    println!("kind                  damage refused derived repaired");
    for (kind, [damage, refused, derived, repaired]) in &counts {
        println!("{kind:20} {damage:7} {refused:7} {derived:7} {repaired:8}");
    }
    println!(
        "{done} flips in {files_in_all} files, {} not found; {tried} repairs tried",
        missed.len()
    );
    assert_eq!(missed, [] as [String; 0]);
}

/// Writes a file whatever its mode is.
fn write(path: &Path, bytes: &[u8]) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
}

/// Makes the directory what it was.
fn put_back(dir: &Path, kept: &BTreeMap<PathBuf, Vec<u8>>) {
    let now = common::files(dir);
    for name in now.keys().filter(|name| !kept.contains_key(*name)) {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    for (name, bytes) in kept {
        if now.get(name) != Some(bytes) {
            write(&dir.join(name), bytes);
        }
    }
}
