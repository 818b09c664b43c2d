//! P5: a bit that flips anywhere in a store is found, and what it changed is never served
//! (reliability.md). `ASL_TORTURE_COUNT` says how many bits; `scripts/torture flips` counts them.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use asl_core::{ChunkId, Kind};
use asl_store::{GcOptions, Mode, Store, VerifyOptions};
use common::{created, noise, opened, options, put, terms, Memory};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A small store with every kind of file, and what it holds.
fn filled() -> (Arc<Memory>, BTreeMap<ChunkId, Vec<u8>>) {
    let backend = Memory::new();
    let mut store = created(&backend);
    let mut pieces = BTreeMap::new();
    for n in 0..3u64 {
        store.begin_root().unwrap();
        for bytes in [noise(700, n), format!("text {n} ").repeat(200).into_bytes()] {
            pieces.insert(put(&store, &bytes), bytes);
        }
        let (root, _) = store.finish_root(format!("root {n}").as_bytes()).unwrap();
        pieces.insert(root, format!("root {n}").into_bytes());
        store.snapshot(&terms()).unwrap();
    }
    store
        .forget(&["snap-000001".parse().unwrap()], &[])
        .unwrap();
    store.gc(GcOptions::default(), &|| false).unwrap();
    drop(store);
    drop(opened(&backend));
    (backend, pieces)
}

/// Whether a spoiled store is told to be so; whatever it serves must be what was put.
fn is_found(backend: &Arc<Memory>, pieces: &BTreeMap<ChunkId, Vec<u8>>, at: &str) -> bool {
    let store = match Store::open(backend.clone(), Mode::Read, options()) {
        Ok(store) => store,
        Err(e) => {
            let known = [Kind::Damage, Kind::Invalid, Kind::NotFound];
            assert!(known.contains(&e.kind()), "{at}: {e}");
            return true;
        }
    };
    for (id, bytes) in pieces {
        if let Ok(served) = store.get_piece(id) {
            assert_eq!(served, *bytes, "{at}: served");
        }
    }
    let all = VerifyOptions {
        data: true,
        ..VerifyOptions::default()
    };
    let report = store.verify(all, &|_, _| (), &|| false).unwrap();
    !report.damage.is_empty() || !store.damage().is_empty()
}

/// What a file is, for the count.
fn kind_of(name: &str) -> &'static str {
    let kinds = [
        (".blk", "block"),
        (".set", "block set"),
        ("/manifest.cbor", "manifest"),
        ("/blocks", "block list"),
        ("append.log", "content log"),
        ("seal.log", "ledger"),
        ("checkpoints/", "checkpoint"),
        ("/segment", "segment"),
        ("index/", "index, derived"),
    ];
    let of = |(part, _): &&(&str, &str)| name.contains(part);
    kinds
        .iter()
        .find(of)
        .unwrap_or_else(|| panic!("{name} is of no kind"))
        .1
}

#[test]
fn p5_every_flipped_bit_is_found_and_nothing_it_changed_is_served() {
    let (backend, pieces) = filled();
    assert!(
        !is_found(&backend.copy(), &pieces, "whole"),
        "the store is whole"
    );
    let names = backend.names("");
    let files: Vec<(String, usize)> = names
        .into_iter()
        .map(|n| (n.clone(), backend.objects()[&n].len()))
        .filter(|(_, length)| *length > 0)
        .collect();
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let count = asl_testkit::torture_count(400);
    for n in 0..count {
        // Every file in turn, and a place in it drawn from the number.
        let (name, length) = &files[n as usize % files.len()];
        let drawn = blake3::hash(&n.to_le_bytes());
        let drawn = u64::from_le_bytes(drawn.as_bytes()[..8].try_into().unwrap());
        let (byte, bit) = ((drawn >> 3) as usize % length, (drawn & 7) as u8);
        let spoiled = backend.copy();
        spoiled.flip(name, byte, bit);
        let at = format!("{name}, byte {byte}, bit {bit}");
        let found = is_found(&spoiled, &pieces, &at);
        let of = counts.entry(kind_of(name)).or_default();
        of.0 += 1;
        of.1 += u64::from(found);
        assert!(found, "{at}: not found");
    }
    for (kind, (flips, found)) in &counts {
        println!("{kind:16} {flips:6} flips {found:6} found");
    }
    println!("{count} flips in {} files", files.len());
    assert!(counts.len() >= 7, "{counts:?}");
}

#[test]
fn p5_a_tail_that_is_cut_or_garbage_at_any_byte_is_no_half_commit() {
    let (backend, pieces) = filled();
    let log = backend.objects()["log/append.log"].clone();
    let whole = Store::open(backend.copy(), Mode::Read, options()).unwrap();
    let head = whole.head();
    // Where the last three frames begin: their magic.
    let starts: Vec<usize> = (0..log.len() - 8)
        .filter(|n| &log[*n..n + 8] == b"ASLCLOG\x01")
        .collect();
    let from = starts[starts.len() - 3];
    let (mut cuts, mut garbage) = (0, 0);
    for end in from..log.len() {
        for spoil in [false, true] {
            let spoiled = backend.copy();
            let mut bytes = log[..end].to_vec();
            if spoil {
                bytes.extend(noise(log.len() - end, end as u64));
                garbage += 1;
            }
            cuts += u64::from(!spoil);
            spoiled.objects().insert("log/append.log".into(), bytes);
            let at = format!("cut at {end}, garbage: {spoil}");
            // The ledger, manifests and checkpoints know the commits that are gone.
            assert!(is_found(&spoiled, &pieces, &at), "{at}: not found");
            let e = Store::open(spoiled.clone(), Mode::Write, options()).unwrap_err();
            assert_eq!(e.kind(), Kind::Damage, "{at}: {e}");
            // With nobody left who knows them it is a torn tail: whole commits or none.
            let alone = spoiled.copy();
            alone.objects().retain(|name, _| {
                !name.contains("seal.log")
                    && !name.contains("checkpoints")
                    && !name.contains("snapshots/")
            });
            if let Ok(store) = Store::open(alone.clone(), Mode::Read, options()) {
                let told = store.head();
                assert!(told.commit < head.commit, "{at}");
                assert!(
                    starts.contains(&end_of(&log, told.commit as usize, &starts)),
                    "{at}"
                );
            }
        }
    }
    println!("{cuts} cuts, {garbage} with garbage");
}

/// The byte where the frame of this number begins: a head lies at one.
fn end_of(log: &[u8], commit: usize, starts: &[usize]) -> usize {
    starts.get(commit).copied().unwrap_or(log.len())
}
