//! Read-back: what a session wrote is read from the medium, and what an earlier one had read back
//! is not read again.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use asl_store::{ReadBack, ReadBackReport, SnapshotTerms, Store};
use common::*;
use std::sync::Arc;

/// Seals a piece as a root of its own, so that a snapshot reaches it.
fn seal(store: &Store, seed: u64) {
    store.begin_root().unwrap();
    store.finish_root(&noise(3000, seed)).unwrap();
}

fn read_back(store: &Store) -> ReadBackReport {
    store.read_back(&|_, _| (), &|| false).unwrap()
}

fn snapshot(store: &Store, read_back: ReadBack) {
    let terms = SnapshotTerms {
        read_back,
        ..terms()
    };
    store.snapshot(&terms).unwrap();
}

/// A store with one block that a snapshot names, and that block's name.
fn with_a_snapshot(how: ReadBack) -> (Arc<Memory>, Store, String) {
    let backend = Memory::new();
    let store = created(&backend);
    seal(&store, 1);
    assert_eq!(read_back(&store).blocks, 1);
    snapshot(&store, how);
    let block = backend.names(".blk").remove(0);
    (backend, store, block)
}

#[test]
fn what_was_read_back_for_a_snapshot_is_not_read_again_and_what_is_new_is() {
    let (backend, store, block) = with_a_snapshot(ReadBack::Done);
    seal(&store, 2);
    // Were it read again, it would be found.
    backend.flip(&block, 100, 1);
    let report = read_back(&store);
    assert_eq!(
        (report.blocks, report.before, report.damage.len()),
        (1, 1, 0)
    );
    let new = backend.names(".blk").into_iter().find(|n| *n != block);
    backend.flip(&new.unwrap(), 100, 1);
    assert_eq!(read_back(&store).damage.len(), 1);
}

#[test]
fn a_snapshot_that_skipped_it_excuses_nothing() {
    let (backend, store, block) = with_a_snapshot(ReadBack::Skipped);
    backend.flip(&block, 100, 1);
    let report = read_back(&store);
    assert_eq!(
        (report.blocks, report.before, report.damage.len()),
        (1, 0, 1)
    );
}

#[test]
fn a_snapshot_that_skipped_it_hides_no_earlier_one_that_did_not() {
    let (_, store, _) = with_a_snapshot(ReadBack::Done);
    seal(&store, 2);
    snapshot(&store, ReadBack::Skipped);
    let report = read_back(&store);
    assert_eq!((report.blocks, report.before), (1, 1));
}

#[test]
fn a_snapshot_that_is_damaged_excuses_nothing() {
    for part in ["manifest.cbor", "/blocks"] {
        let (backend, store, block) = with_a_snapshot(ReadBack::Done);
        let name = backend
            .names(part)
            .into_iter()
            .find(|n| n.starts_with("snapshots/"));
        backend.flip(&name.unwrap(), 5, 1);
        backend.flip(&block, 100, 1);
        let report = read_back(&store);
        assert_eq!((report.before, report.damage.len()), (0, 1), "{part}");
    }
}
