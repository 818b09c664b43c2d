//! The promises of an open store.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use asl_backend::Backend;
use asl_core::{Digest, Kind, SnapshotId};
use asl_store::{
    BlockSet, Epoch, Mode, Put, Record, Role, Sealer, Store, StoreOptions, VerifyOptions, MAX_PIECE,
};
use common::*;
use std::sync::Arc;
use std::time::Duration;

fn read_only(backend: &Arc<Memory>, sealer: Option<Arc<dyn Sealer>>) -> Store {
    let options = StoreOptions {
        sealer,
        ..options()
    };
    Store::open(backend.clone(), Mode::Read, options).unwrap()
}

#[test]
fn what_was_committed_is_read_back_after_reopening() {
    let backend = Memory::new();
    let store = created(&backend);
    let pieces: Vec<Vec<u8>> = (0..50u64)
        .map(|n| noise(n as usize * 997, n))
        .chain((0..50).map(|n| format!("text {n} ").repeat(3000).into_bytes()))
        .collect();
    for p in &pieces {
        put(&store, p);
    }
    let ack = store.commit().unwrap();
    assert_eq!(ack.head, store.head());
    for reopened in [store, opened(&backend.copy())] {
        assert_eq!(reopened.head(), ack.head);
        for p in &pieces {
            assert_eq!(reopened.get_piece(&id_of(p)).unwrap(), *p);
            assert!(reopened.contains(&id_of(p)).unwrap());
        }
        assert!(reopened.current().blocks.len() > 5);
    }
}

#[test]
fn workers_seal_the_same_pieces_as_the_caller_would() {
    let backend = Memory::new();
    Store::create(backend.clone(), b"genesis", [1; 16]).unwrap();
    let with = StoreOptions {
        workers: 2,
        ..options()
    };
    let store = Store::open(backend.clone(), Mode::Write, with).unwrap();
    for round in 0..3u64 {
        for n in 0..300 {
            put(&store, &noise(20_000, round * 300 + n));
        }
        store.commit().unwrap();
    }
    drop(store);
    let store = opened(&backend);
    for n in 0..900 {
        assert_eq!(
            store.get_piece(&id_of(&noise(20_000, n))).unwrap().len(),
            20_000
        );
    }
    let report = store
        .verify(
            VerifyOptions {
                data: true,
                ..VerifyOptions::default()
            },
            &|_, _| (),
            &|| false,
        )
        .unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(report.pieces, 900);
}

#[test]
fn nothing_is_there_before_its_commit() {
    let backend = Memory::new();
    let store = created(&backend);
    let head = store.head();
    let id = put(&store, b"not yet");
    assert!(store.pending_bytes() >= 7);
    assert!(!store.contains(&id).unwrap());
    assert_eq!(store.get_piece(&id).unwrap_err().kind(), Kind::NotFound);
    drop(store);
    let store = opened(&backend);
    assert_eq!(store.head(), head);
    assert_eq!(store.get_piece(&id).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn the_same_bytes_are_stored_once() {
    let backend = Memory::new();
    let store = created(&backend);
    let bytes = noise(5000, 1);
    let put = |s: &Store| s.put_piece(id_of(&bytes), &blob(), &bytes).unwrap();
    assert_eq!(put(&store), Put::Added);
    assert_eq!(put(&store), Put::Known, "still open");
    store.commit().unwrap();
    assert_eq!(put(&store), Put::Known, "committed");
    let head = store.head();
    store.commit().unwrap();
    assert_eq!(store.head(), head, "nothing new, no frame");
    drop(store);
    assert_eq!(put(&opened(&backend)), Put::Known, "after reopening");
    assert_eq!(backend.names(".blk").len(), 1);
}

#[test]
fn stored_bytes_are_those_of_blocks_segments_frames_and_manifests() {
    let backend = Memory::new();
    let store = created(&backend);
    store.begin_root().unwrap();
    put(&store, &noise(200_000, 1));
    store.finish_root(b"root").unwrap();
    store.snapshot(&terms()).unwrap();
    let counted: usize = backend
        .objects()
        .iter()
        .filter(|(n, _)| !n.ends_with(".set") && !n.ends_with("seal.log"))
        .map(|(_, b)| b.len())
        .sum();
    assert_eq!(store.stored_bytes(), counted as u64);
    assert_eq!(store.pending_bytes(), 0);
}

#[test]
fn a_missing_or_shortened_block_is_not_known_and_is_stored_anew() {
    for shorten in [false, true] {
        let backend = Memory::new();
        let store = created(&backend);
        let bytes = noise(5000, 1);
        let id = put(&store, &bytes);
        store.commit().unwrap();
        drop(store);
        let block = backend.names(".blk").remove(0);
        if shorten {
            backend.objects().get_mut(&block).unwrap().pop();
        } else {
            backend.objects().remove(&block);
        }
        let store = opened(&backend);
        assert!(!store.contains(&id).unwrap());
        match store.get_piece(&id) {
            // Its last byte gone, the block still holds the piece, and its hash says so.
            Ok(served) => assert!(shorten && served == bytes),
            Err(e) => assert_eq!(e.kind(), Kind::NotFound),
        }
        assert_eq!(store.put_piece(id, &blob(), &bytes).unwrap(), Put::Added);
        store.commit().unwrap();
        assert_eq!(store.get_piece(&id).unwrap(), bytes);
        drop(store);
        assert_eq!(opened(&backend).get_piece(&id).unwrap(), bytes);
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_block_is_never_served_and_always_found() {
    let backend = Memory::new();
    let store = created(&backend);
    let pieces: Vec<Vec<u8>> = vec![noise(700, 1), vec![b'a'; 900], noise(300, 2)];
    for p in &pieces {
        put(&store, p);
    }
    store.commit().unwrap();
    drop(store);
    let block = backend.names(".blk").remove(0);
    let len = backend.objects()[&block].len();
    for at in 0..len {
        let bad = backend.copy();
        bad.flip(&block, at, (at % 8) as u8);
        let store = opened(&bad);
        for p in &pieces {
            if let Ok(served) = store.get_piece(&id_of(p)) {
                assert_eq!(served, *p, "byte {at}");
            }
        }
        let report = store
            .verify(VerifyOptions::default(), &|_, _| (), &|| false)
            .unwrap();
        assert_eq!(report.damage.len(), 1, "byte {at}");
        assert!(report.damage[0].block.is_some());
        for p in &pieces {
            assert!(!store.contains(&id_of(p)).unwrap(), "damaged is not known");
        }
        let back = store.read_back(&|_, _| (), &|| false).unwrap();
        assert_eq!(back.damage.len(), 1);
    }
}

#[test]
fn damage_found_by_reading_is_no_longer_known_and_is_healed_by_putting_it_again() {
    let backend = Memory::new();
    let store = created(&backend);
    let bytes = noise(5000, 1);
    let id = put(&store, &bytes);
    store.commit().unwrap();
    let block = backend.names(".blk").remove(0);
    backend.flip(&block, 100, 3);
    assert_eq!(store.get_piece(&id).unwrap_err().kind(), Kind::Damage);
    assert!(!store.contains(&id).unwrap());
    assert_eq!(store.put_piece(id, &blob(), &bytes).unwrap(), Put::Added);
    store.commit().unwrap();
    assert_eq!(store.get_piece(&id).unwrap(), bytes);
    let report = store
        .verify(
            VerifyOptions {
                data: true,
                ..VerifyOptions::default()
            },
            &|_, _| (),
            &|| false,
        )
        .unwrap();
    assert_eq!(report.damage, []);
}

#[test]
fn a_flipped_bit_in_a_segment_is_found_and_the_segment_not_believed() {
    let backend = Memory::new();
    let store = created(&backend);
    let id = put(&store, b"piece");
    store.commit().unwrap();
    drop(store);
    let segment = backend.names("/segment").remove(0);
    let len = backend.objects()[&segment].len();
    for at in 0..len {
        let bad = backend.copy();
        bad.flip(&segment, at, (at % 8) as u8);
        let store = opened(&bad);
        assert_eq!(store.damage().len(), 1, "byte {at}");
        assert!(!store.contains(&id).unwrap());
        let report = store
            .verify(VerifyOptions::default(), &|_, _| (), &|| false)
            .unwrap();
        assert_eq!(report.damage.len(), 1, "byte {at}");
        assert_eq!(store.put_piece(id, &blob(), b"piece").unwrap(), Put::Added);
    }
}

fn forget_checkpoints(backend: &Arc<Memory>) {
    for name in backend.names("/checkpoint") {
        backend.objects().remove(&name);
    }
}

#[test]
fn a_flipped_bit_in_a_manifest_a_block_list_or_a_block_set_is_found() {
    let backend = Memory::new();
    let store = created(&backend);
    store.begin_root().unwrap();
    put(&store, b"piece");
    store.finish_root(b"root").unwrap();
    store.snapshot(&terms()).unwrap();
    drop(store);
    let files = [
        "snapshots/snap-000001/manifest.cbor".to_string(),
        "snapshots/snap-000001/blocks".to_string(),
        backend.names(".set").remove(0),
    ];
    for file in files {
        let len = backend.objects()[&file].len();
        for at in 0..len {
            let bad = backend.copy();
            bad.flip(&file, at, (at % 8) as u8);
            let Ok(store) = Store::open(bad.clone(), Mode::Read, options()) else {
                panic!("{file} byte {at}: it can be opened to be read");
            };
            let report = store
                .verify(VerifyOptions::default(), &|_, _| (), &|| false)
                .unwrap();
            assert!(
                report.damage.iter().any(|d| d.object == file)
                    || report
                        .damage
                        .iter()
                        .any(|d| d.why.contains("history") || d.why.contains("shorter")),
                "{file} byte {at}: {report:?}"
            );
        }
    }
}

#[test]
fn a_flipped_bit_in_the_ledger_is_found_and_its_line_added_again() {
    let backend = Memory::new();
    let store = created(&backend);
    put(&store, b"piece");
    store.commit().unwrap();
    drop(store);
    drop(opened(&backend));
    let whole = backend.objects()["log/seal.log"].clone();
    for at in 0..whole.len() {
        let bad = backend.copy();
        bad.flip("log/seal.log", at, (at % 8) as u8);
        let report = read_only(&bad, None)
            .verify(VerifyOptions::default(), &|_, _| (), &|| false)
            .unwrap();
        // Without its last newline the last line is like one that a crash has torn.
        let torn = at + 1 == whole.len();
        assert_eq!(report.damage.len(), usize::from(!torn), "byte {at}");
        assert_eq!(report.notes.len(), usize::from(torn), "byte {at}");
        // Lines before the checkpoint are looked at again where there is none.
        forget_checkpoints(&bad);
        drop(opened(&bad));
        assert!(
            bad.objects()["log/seal.log"].len() > whole.len(),
            "never shortened"
        );
        let report = read_only(&bad, None)
            .verify(VerifyOptions::default(), &|_, _| (), &|| false)
            .unwrap();
        assert_eq!(report.damage, [], "byte {at}");
    }
}

#[test]
fn a_ledger_torn_at_any_byte_is_completed_and_spoils_no_line() {
    let backend = Memory::new();
    let store = created(&backend);
    put(&store, b"piece");
    store.commit().unwrap();
    drop(store);
    let whole = backend.objects()["log/seal.log"].clone();
    for cut in 0..whole.len() {
        let torn = backend.copy();
        torn.objects()
            .insert("log/seal.log".into(), whole[..cut].to_vec());
        drop(opened(&torn));
        let store = opened(&torn);
        let report = store
            .verify(VerifyOptions::default(), &|_, _| (), &|| false)
            .unwrap();
        assert_eq!(report.damage, [], "cut at {cut}");
    }
}

#[test]
fn a_log_shorter_than_the_ledger_a_manifest_or_the_host_remembers_is_damage() {
    let backend = Memory::new();
    let store = created(&backend);
    put(&store, b"one");
    store.commit().unwrap();
    let log_after_one = backend.objects()["log/append.log"].clone();
    put(&store, b"two");
    store.commit().unwrap();
    store.snapshot(&terms()).unwrap();
    let head = store.head();
    drop(store);
    let rolled_back = |forget: &[&str]| {
        let bad = backend.copy();
        bad.objects()
            .insert("log/append.log".into(), log_after_one.clone());
        forget.iter().for_each(|n| drop(bad.objects().remove(*n)));
        bad
    };
    let manifest = "snapshots/snap-000001/manifest.cbor";
    let (ledger, checkpoint) = ("log/seal.log", "log/checkpoints/chk-000001/checkpoint");
    let cases = [
        (rolled_back(&[manifest, checkpoint]), None),
        (rolled_back(&[ledger, checkpoint]), None),
        (rolled_back(&[ledger, manifest]), None),
        (rolled_back(&[manifest, ledger, checkpoint]), Some(head)),
    ];
    for (bad, known_head) in cases {
        let options = StoreOptions {
            known_head,
            ..options()
        };
        let e = Store::open(bad.clone(), Mode::Write, options.clone()).unwrap_err();
        assert_eq!(e.kind(), Kind::Damage, "{e}");
        assert_eq!(
            bad.objects()["log/append.log"],
            log_after_one,
            "nothing is cut"
        );
        let store = Store::open(bad, Mode::Read, options).unwrap();
        assert!(!store.damage().is_empty(), "told");
        assert_eq!(store.get_piece(&id_of(b"one")).unwrap(), b"one");
        let put = store.put_piece(id_of(b"x"), &blob(), b"x");
        assert_eq!(put.unwrap_err().kind(), Kind::Refused, "read-only");
    }
    drop(opened(&rolled_back(&[manifest, ledger, checkpoint])));
}

fn encrypted(opens: bool, key: u8) -> StoreOptions {
    StoreOptions {
        sealer: Some(Arc::new(ToySealer {
            epoch: 1,
            opens,
            key,
        })),
        ..options()
    }
}

fn epoch(number: u32) -> Record {
    Record::Epoch(Epoch {
        number,
        recipient: "age1toy".into(),
        files: vec![("epoch-1.age".into(), Digest::of(b"file"))],
    })
}

/// An encrypted domain with one piece, and that piece's id.
fn encrypted_domain() -> (Arc<Memory>, asl_core::ChunkId) {
    let backend = Memory::new();
    Store::create(backend.clone(), b"genesis", [1; 16]).unwrap();
    let store = Store::open(backend.clone(), Mode::Write, encrypted(false, 1)).unwrap();
    store.append(vec![epoch(1)]).unwrap();
    let sealer = ToySealer {
        epoch: 1,
        opens: true,
        key: 1,
    };
    let id = sealer.chunk_id(1, b"secret").unwrap();
    store.put_piece(id, &blob(), b"secret").unwrap();
    store.commit().unwrap();
    (backend, id)
}

#[test]
fn a_sealing_credential_seals_and_deduplicates_but_cannot_read() {
    let (backend, id) = encrypted_domain();
    let store = Store::open(backend.clone(), Mode::Write, encrypted(false, 1)).unwrap();
    assert!(store.contains(&id).unwrap());
    assert_eq!(store.put_piece(id, &blob(), b"secret").unwrap(), Put::Known);
    assert_eq!(store.get_piece(&id).unwrap_err().kind(), Kind::Refused);
    let all = VerifyOptions {
        data: true,
        ..VerifyOptions::default()
    };
    let report = store.verify(all, &|_, _| (), &|| false).unwrap();
    assert_eq!(report.damage, []);
    assert_eq!(
        report.not_checked.len(),
        1,
        "the block's pieces, and it says so"
    );
    drop(store);
    let store = Store::open(backend, Mode::Write, encrypted(true, 1)).unwrap();
    assert_eq!(store.get_piece(&id).unwrap(), b"secret");
    let report = store.verify(all, &|_, _| (), &|| false).unwrap();
    assert_eq!((report.damage.len(), report.pieces), (0, 1));
}

#[test]
fn with_no_key_a_store_can_be_checked_and_neither_read_nor_sealed_to() {
    let (backend, id) = encrypted_domain();
    let none = StoreOptions {
        sealer: None,
        ..options()
    };
    let store = Store::open(backend, Mode::Write, none).unwrap();
    for e in [
        store.contains(&id).unwrap_err(),
        store.get_piece(&id).unwrap_err(),
        store.put_piece(id, &blob(), b"x").unwrap_err(),
        store.begin_root().unwrap_err(),
        store.commit().unwrap_err(),
    ] {
        assert_eq!(e.kind(), Kind::Refused, "{e}");
    }
    let report = store
        .verify(VerifyOptions::default(), &|_, _| (), &|| false)
        .unwrap();
    assert_eq!(
        (report.damage.len(), report.blocks, report.segments),
        (0, 1, 1)
    );
    assert_eq!(report.not_checked.len(), 1, "the segment's trust value");
    assert!(store
        .read_back(&|_, _| (), &|| false)
        .unwrap()
        .damage
        .is_empty());
    store.snapshot(&terms()).unwrap();
}

#[test]
fn a_segment_under_a_wrong_mac_key_is_not_believed_for_deduplication() {
    let (backend, id) = encrypted_domain();
    let store = Store::open(backend, Mode::Write, encrypted(true, 2)).unwrap();
    assert_eq!(store.damage().len(), 1);
    assert!(store.damage()[0].why.contains("trust value"));
    assert!(!store.contains(&id).unwrap());
    assert!(store.get_piece(&id).is_err());
}

#[test]
fn a_segment_swapped_for_another_of_the_same_domain_is_not_believed() {
    let backend = Memory::new();
    let store = created(&backend);
    let ids = [put(&store, b"one"), {
        store.commit().unwrap();
        put(&store, b"two")
    }];
    store.commit().unwrap();
    drop(store);
    let names = backend.names("/segment");
    let a = backend.objects()[&names[0]].clone();
    let b = backend.objects()[&names[1]].clone();
    backend.objects().insert(names[0].clone(), b);
    backend.objects().insert(names[1].clone(), a);
    let store = opened(&backend);
    assert_eq!(store.damage().len(), 2);
    assert!(ids.iter().all(|id| !store.contains(id).unwrap()));
}

#[test]
fn an_encrypted_domain_is_never_sealed_to_in_plain_or_under_an_unknown_epoch() {
    let (backend, _) = encrypted_domain();
    let store = opened(&backend);
    let e = store.put_piece(id_of(b"x"), &blob(), b"x").unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    drop(store);
    let backend = Memory::new();
    Store::create(backend.clone(), b"genesis", [1; 16]).unwrap();
    let store = Store::open(backend, Mode::Write, encrypted(false, 1)).unwrap();
    let e = store.put_piece(id_of(b"x"), &blob(), b"x").unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
}

#[test]
fn records_that_the_store_makes_itself_or_that_cannot_follow_are_not_appended() {
    let backend = Memory::new();
    let store = created(&backend);
    let head = store.head();
    let genesis = Record::Genesis { bytes: vec![1] };
    assert_eq!(store.append(vec![genesis]).unwrap_err().kind(), Kind::Usage);
    let root = Record::AddIndexEntry {
        role: Role::Root,
        id: [1; 32].into(),
        set: [1; 32].into(),
    };
    assert_eq!(store.append(vec![root]).unwrap_err().kind(), Kind::Usage);
    assert!(store.append(vec![epoch(0)]).is_err());
    assert!(store.append(vec![epoch(2)]).is_err());
    assert!(store.append(vec![epoch(1), epoch(3)]).is_err());
    assert_eq!(store.head(), head);
    // An epoch is wrapped anew for other owners, an older one too; for whom it was sealed stays.
    store.append(vec![epoch(1), epoch(1), epoch(2)]).unwrap();
    store.append(vec![epoch(1)]).unwrap();
    let Record::Epoch(other) = epoch(1) else {
        unreachable!("it is made so")
    };
    let other = Record::Epoch(Epoch {
        recipient: "age1other".into(),
        ..other
    });
    assert!(store.append(vec![other]).is_err());
}

#[test]
fn a_root_names_every_block_it_reaches_and_no_other() {
    let backend = Memory::new();
    let store = created(&backend);
    let other = put(&store, &noise(70_000, 1));
    store.commit().unwrap();
    let known = put(&store, &noise(70_000, 2));
    store.commit().unwrap();
    let untouched = store.current().blocks.len();
    store.begin_root().unwrap();
    put(&store, &noise(70_000, 2));
    put(&store, &noise(70_000, 3));
    store.commit().unwrap();
    put(&store, &noise(70_000, 4));
    let (root, ack) = store.finish_root(b"the root").unwrap();
    assert_eq!(ack.head, store.head());
    let current = store.current();
    let digest = current.roots[&root];
    let set = BlockSet::decode(&backend.objects()[&format!("store/objects/{digest}.set")]).unwrap();
    assert_eq!(set.0.len(), current.blocks.len() - untouched + 1);
    drop(store);
    // With these blocks alone, everything the root reaches can be read.
    let only = backend.copy();
    let keep: Vec<String> = set.0.iter().map(|b| format!("{b}.blk")).collect();
    only.objects()
        .retain(|n, _| !n.ends_with(".blk") || keep.iter().any(|k| n.ends_with(k)));
    let store = opened(&only);
    assert_eq!(store.get_piece(&root).unwrap(), b"the root");
    assert_eq!(store.get_piece(&known).unwrap(), noise(70_000, 2));
    assert!(store.get_piece(&id_of(&noise(70_000, 3))).is_ok());
    assert!(store.get_piece(&id_of(&noise(70_000, 4))).is_ok());
    assert!(store.get_piece(&other).is_err());
}

#[test]
fn a_root_of_known_pieces_alone_says_what_it_relies_on() {
    let backend = Memory::new();
    let store = created(&backend);
    store.begin_root().unwrap();
    put(&store, b"data");
    let (root, _) = store.finish_root(b"root").unwrap();
    let set = store.current().roots[&root];
    let blocks = backend.names(".blk").len();
    store.begin_root().unwrap();
    put(&store, b"data");
    let (again, _) = store.finish_root(b"root").unwrap();
    assert_eq!((again, store.current().roots[&root]), (root, set));
    assert_eq!(backend.names(".blk").len(), blocks);
    let log = &backend.objects()["log/append.log"];
    let block = store.current().blocks.keys().next().copied().unwrap();
    let named = log.windows(32).filter(|w| w == block.as_bytes()).count();
    assert_eq!(named, 2, "sealed once, relied on once");
}

#[test]
fn a_root_that_was_not_begun_is_not_finished() {
    let store = created(&Memory::new());
    assert_eq!(store.finish_root(b"root").unwrap_err().kind(), Kind::Usage);
    store.begin_root().unwrap();
    store.finish_root(b"root").unwrap();
    assert_eq!(store.finish_root(b"root").unwrap_err().kind(), Kind::Usage);
}

#[test]
fn current_is_the_snapshot_and_the_replay_of_the_log_after_it() {
    let backend = Memory::new();
    let store = created(&backend);
    for n in 0..3u64 {
        store.begin_root().unwrap();
        put(&store, &noise(1000, n));
        store.finish_root(format!("root {n}").as_bytes()).unwrap();
        let before = store.current();
        let (id, bytes) = store.snapshot(&terms()).unwrap();
        assert_eq!(u64::from(id.number()), n + 1);
        let manifest = &store.manifests()[n as usize];
        let manifest = manifest.1.as_ref().unwrap();
        assert_eq!(manifest.encode(), bytes);
        assert_eq!(manifest.current, before.digest());
        assert_eq!(manifest.head.frame, before.head.frame);
        assert_eq!(manifest.roots.len() as u64, n + 1);
        assert_eq!(manifest.block_count, before.blocks.len() as u64);
    }
    put(&store, b"after");
    store.commit().unwrap();
    let digest = store.current().digest();
    drop(store);
    assert_eq!(opened(&backend).current().digest(), digest);
    assert_eq!(opened(&backend.copy()).current().digest(), digest);
    let report = read_only(&backend, None)
        .verify(VerifyOptions::default(), &|_, _| (), &|| false)
        .unwrap();
    assert_eq!((report.snapshots, report.damage.len()), (3, 0));
    assert_eq!(report.notes, [] as [String; 0]);
}

#[test]
fn a_snapshot_number_that_is_taken_is_left_alone() {
    let backend = Memory::new();
    let store = created(&backend);
    let (first, bytes) = store.snapshot(&terms()).unwrap();
    drop(store);
    let leftover = "snapshots/snap-000002/manifest.cbor";
    backend.objects().insert(leftover.into(), bytes.clone());
    let store = opened(&backend);
    let (second, _) = store.snapshot(&terms()).unwrap();
    assert_eq!((first.number(), second.number()), (1, 3));
    assert_eq!(backend.objects()[leftover], bytes);
    assert!(store
        .current()
        .snapshots
        .contains_key(&SnapshotId::new(3).unwrap()));
    let report = store
        .verify(VerifyOptions::default(), &|_, _| (), &|| false)
        .unwrap();
    assert_eq!((report.damage.len(), report.notes.len()), (0, 1));
}

#[test]
fn a_snapshot_is_refused_where_a_roots_block_set_is_gone() {
    let backend = Memory::new();
    let store = created(&backend);
    store.begin_root().unwrap();
    store.finish_root(b"root").unwrap();
    let set = backend.names(".set").remove(0);
    backend.objects().remove(&set);
    let head = store.head();
    assert_eq!(store.snapshot(&terms()).unwrap_err().kind(), Kind::Damage);
    assert_eq!(store.head(), head);
}

#[test]
fn a_full_disk_while_sealing_loses_nothing_and_says_so() {
    for workers in [0, 2] {
        for room in (0..400_000u64).step_by(25_000) {
            let backend = Memory::new();
            let store = created(&backend);
            let kept = put(&store, b"acknowledged");
            let ack = store.commit().unwrap();
            drop(store);
            let with = StoreOptions {
                workers,
                ..options()
            };
            let store = Store::open(backend.clone(), Mode::Write, with).unwrap();
            *backend.room.lock().unwrap() = Some(room);
            let mut told = false;
            for n in 0..20 {
                let bytes = noise(20_000, n);
                told |= store.put_piece(id_of(&bytes), &blob(), &bytes).is_err();
            }
            told |= store.commit().is_err();
            assert!(told, "room for {room} bytes cannot be enough");
            assert_eq!(store.head(), ack.head, "nothing is half there");
            assert_eq!(store.get_piece(&kept).unwrap(), b"acknowledged");
            drop(opened(&backend.copy()));
            // With room again the same store goes on; what was refused is put once more.
            *backend.room.lock().unwrap() = None;
            store.commit().unwrap();
            for n in 0..20 {
                put(&store, &noise(20_000, n));
            }
            store.commit().unwrap();
            drop(store);
            let store = opened(&backend);
            for n in 0..20 {
                let bytes = noise(20_000, n);
                assert_eq!(store.get_piece(&id_of(&bytes)).unwrap(), bytes);
            }
        }
    }
}

#[test]
fn a_failed_barrier_acknowledges_nothing() {
    let backend = Memory::new();
    let store = created(&backend);
    let head = store.head();
    let id = put(&store, b"piece");
    *backend.barrier_fails.lock().unwrap() = true;
    assert_eq!(store.commit().unwrap_err().kind(), Kind::Io);
    assert_eq!(store.head(), head);
    assert!(!store.contains(&id).unwrap());
    assert_eq!(opened(&backend.copy()).head(), head);
}

#[test]
fn a_commit_is_due_by_blocks_by_age_and_for_what_is_open_after_half_a_minute() {
    let store = created(&Memory::new());
    let at = |s| store.commit_due(Duration::from_secs(s)).unwrap();
    assert!(at(1000).is_none(), "nothing to do");
    put(&store, b"small");
    assert!(at(1001).is_none());
    assert!(at(1030).is_none());
    assert!(at(1031).is_some());
    assert!(store.contains(&id_of(b"small")).unwrap());
    put(&store, &noise(200_000, 1));
    assert!(at(2000).is_none());
    assert!(at(2004).is_none());
    assert!(at(2005).is_some());
    for n in 2..6 {
        put(&store, &noise(200_000, n));
    }
    assert!(at(2006).is_some());
    assert!(at(1000).is_none(), "a clock that goes back is no reason");
}

#[test]
fn a_piece_that_is_too_long_is_refused() {
    let store = created(&Memory::new());
    let long = vec![0; MAX_PIECE + 1];
    let e = store.put_piece(id_of(&long), &blob(), &long).unwrap_err();
    assert_eq!(e.kind(), Kind::Invalid);
    let most = noise(MAX_PIECE, 1);
    let id = put(&store, &most);
    store.commit().unwrap();
    assert_eq!(store.get_piece(&id).unwrap(), most);
}

#[test]
fn a_store_is_made_once_and_not_opened_where_there_is_none() {
    let backend = Memory::new();
    let e = Store::open(backend.clone(), Mode::Write, options()).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    let e = Store::open(Memory::new(), Mode::Read, options()).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    let store = created(&backend);
    assert_eq!(store.current().genesis, b"genesis");
    let e = Store::create(backend.clone(), b"other", [1; 16]).unwrap_err();
    assert_eq!(e.kind(), Kind::Concurrent);
    drop(store);
    let e = Store::create(backend, b"other", [1; 16]).unwrap_err();
    assert_eq!(e.kind(), Kind::Exists);
    assert!(Store::create(Memory::new(), b"", [1; 16]).is_err());
}

#[test]
fn a_log_that_a_newer_program_wrote_is_refused_whole() {
    use asl_core::MapBuilder;
    use asl_store::{FrameLog, LogForm};
    for (kind, needle) in [(7u8, "PUBLISH"), (200, "kind 200")] {
        let backend = Memory::new();
        drop(created(&backend));
        let form = LogForm {
            name: asl_backend::Name::new("log/append.log").unwrap(),
            magic: *b"ASLCLOG\x01",
            kind: "asl.commit/1",
            keep: asl_backend::Name::new("log/cut-tails").unwrap(),
        };
        let mut log = FrameLog::open(
            backend.clone(),
            form,
            Mode::Write,
            [1; 16],
            &[],
            &mut |_, _| Ok(()),
        )
        .unwrap();
        let record = MapBuilder::new().put(0, kind).put(1, 1).build();
        log.append(vec![record], 0, Vec::new()).unwrap();
        drop(log);
        for mode in [Mode::Read, Mode::Write] {
            let e = Store::open(backend.clone(), mode, options()).unwrap_err();
            assert!(e.why().contains("newer asl-host"), "{e}");
            assert!(e.why().contains(needle), "{e}");
        }
    }
}

#[test]
fn a_history_that_contradicts_itself_is_refused() {
    use asl_core::Value;
    use asl_store::{FrameLog, LogForm, SealedSegment};
    let segment = |number, epoch, size| {
        Record::SealSegment(SealedSegment {
            number,
            epoch,
            trust: [1; 32].into(),
            file: [2; 32].into(),
            bytes: 10,
            blocks: vec![([3; 32].into(), size)],
        })
        .to_value()
    };
    let snapshot = |n| {
        Record::Snapshot {
            id: SnapshotId::new(n).unwrap(),
            manifest: [1; 32].into(),
            bytes: 5,
        }
        .to_value()
    };
    let good: Vec<(Vec<Value>, u64, Vec<[u8; 32]>)> = vec![
        (vec![segment(1, 0, 7)], 17, vec![]),
        (vec![segment(1, 0, 7), segment(4, 0, 7)], 27, vec![[3; 32]]),
        (vec![snapshot(1), snapshot(3)], 10, vec![]),
    ];
    let bad: Vec<(Vec<Value>, u64, Vec<[u8; 32]>)> = vec![
        (vec![segment(1, 0, 7)], 16, vec![]),
        (vec![segment(1, 0, 7)], 18, vec![]),
        (vec![segment(2, 0, 7), segment(2, 0, 7)], 27, vec![]),
        (vec![segment(1, 0, 7), segment(2, 0, 8)], 27, vec![]),
        (vec![segment(1, 1, 7)], 17, vec![]),
        (vec![snapshot(2), snapshot(2)], 10, vec![]),
        (vec![snapshot(2), snapshot(1)], 10, vec![]),
        (
            vec![Record::Genesis { bytes: vec![1] }.to_value()],
            0,
            vec![],
        ),
        (vec![], 0, vec![[9; 32]]),
        (vec![Value::from(1)], 0, vec![]),
    ];
    let opens = |records: &Vec<Value>, named, relies: &[[u8; 32]]| {
        let backend = Memory::new();
        drop(created(&backend));
        let form = LogForm {
            name: asl_backend::Name::new("log/append.log").unwrap(),
            magic: *b"ASLCLOG\x01",
            kind: "asl.commit/1",
            keep: asl_backend::Name::new("log/cut-tails").unwrap(),
        };
        let none = &mut |_: &_, _: &_| Ok(());
        let dynamic: Arc<dyn Backend> = backend.clone();
        let mut log = FrameLog::open(dynamic, form, Mode::Write, [1; 16], &[], none).unwrap();
        let relies = relies.iter().map(|b| (*b).into()).collect();
        log.append(records.clone(), named, relies).unwrap();
        drop(log);
        Store::open(backend, Mode::Read, options()).map(drop)
    };
    for (records, named, relies) in &good {
        opens(records, *named, relies).unwrap();
    }
    for (n, (records, named, relies)) in bad.iter().enumerate() {
        let e = opens(records, *named, relies).unwrap_err();
        assert_eq!(e.kind(), Kind::Invalid, "case {n}: {e}");
    }
}

/// A store closed three times, so that both places hold a checkpoint.
fn with_checkpoints() -> (Arc<Memory>, Arc<asl_store::Current>) {
    let backend = Memory::new();
    drop(created(&backend));
    for n in 0..3 {
        let store = opened(&backend);
        store.begin_root().unwrap();
        put(&store, &noise(500, n));
        store.finish_root(&[n as u8; 40]).unwrap();
    }
    let current = read_only(&backend, None).current();
    (backend, current)
}

#[test]
fn opening_begins_at_the_checkpoint_and_verify_at_the_first_frame() {
    let (backend, current) = with_checkpoints();
    backend.flip("log/append.log", 30, 0);
    let store = opened(&backend);
    assert_eq!(*store.current(), *current);
    let report = store
        .verify(VerifyOptions::default(), &|_, _| (), &|| false)
        .unwrap();
    assert!(!report.damage.is_empty());
    let told = asl_store::history(backend.clone(), &mut |_| Ok(()));
    assert_eq!(told.unwrap_err().kind(), Kind::Damage);
}

#[test]
fn a_checkpoint_that_was_changed_is_found_not_believed_and_made_anew() {
    let (backend, current) = with_checkpoints();
    let names = backend.names("/checkpoint");
    assert_eq!(names.len(), 2);
    for name in names {
        let len = backend.objects()[&name].len();
        for at in (0..len).step_by(5).chain([len]) {
            let bad = backend.copy();
            match at == len {
                true => bad.objects().get_mut(&name).unwrap().truncate(len / 2),
                false => bad.flip(&name, at, (at % 8) as u8),
            }
            let whole = bad.objects().clone();
            let store = read_only(&bad, None);
            assert_eq!(*store.current(), *current, "{name} byte {at}");
            let verify = |store: &Store| {
                let report = store.verify(VerifyOptions::default(), &|_, _| (), &|| false);
                report.unwrap().damage
            };
            assert_eq!(verify(&store).len(), 1, "{name} byte {at}");
            drop(store);
            assert_eq!(*bad.objects(), whole, "reading changes nothing");
            let store = opened(&bad);
            assert_eq!(*store.current(), *current, "{name} byte {at}");
            put(&store, b"one more commit");
            store.commit().unwrap();
            drop(store);
            assert_eq!(verify(&read_only(&bad, None)), [], "{name} byte {at}");
        }
    }
}

#[test]
fn a_checkpoint_of_another_domain_is_not_believed() {
    let (backend, current) = with_checkpoints();
    let other = Memory::new();
    Store::create(other.clone(), b"another genesis", [1; 16]).unwrap();
    put(&opened(&other), b"piece");
    for n in 0..20u8 {
        let store = opened(&other);
        put(&store, &[n]);
        store.commit().unwrap();
    }
    for name in backend.names("/checkpoint") {
        let bytes = other.objects()[&name].clone();
        backend.objects().insert(name, bytes);
    }
    assert_eq!(*read_only(&backend, None).current(), *current);
    drop(opened(&backend));
    assert_eq!(*opened(&backend).current(), *current);
}

#[test]
fn a_store_of_many_commits_has_few_segments_and_finds_every_piece() {
    let backend = Memory::new();
    let store = created(&backend);
    let count = 80u64;
    // Large enough that no block is sealed again, grown.
    for n in 0..count {
        put(&store, &noise(5000, n));
        store.commit().unwrap();
    }
    let current = store.current();
    assert!(current.segments.len() < 12, "{}", current.segments.len());
    assert_eq!(current.blocks.len() as u64, count);
    let held = |store: &Store| {
        (0..count).all(|n| store.get_piece(&id_of(&noise(5000, n))).unwrap() == noise(5000, n))
    };
    assert!(held(&store));
    drop(store);
    let whole = backend.copy();
    forget_checkpoints(&whole);
    for backend in [&backend, &whole] {
        let store = opened(backend);
        assert_eq!(*store.current(), *current);
        assert!(held(&store));
        assert_eq!(put_again(&store, count), 0);
        let report = store
            .verify(
                VerifyOptions {
                    data: true,
                    ..VerifyOptions::default()
                },
                &|_, _| (),
                &|| false,
            )
            .unwrap();
        assert_eq!(report.damage, []);
    }
}

/// How many of the pieces are not known any more.
fn put_again(store: &Store, count: u64) -> usize {
    let known = |n: &u64| {
        let bytes = noise(5000, *n);
        store.put_piece(id_of(&bytes), &blob(), &bytes).unwrap() == Put::Known
    };
    (0..count).filter(|n| !known(n)).count()
}

#[test]
fn verify_and_read_back_stop_when_asked() {
    let backend = Memory::new();
    let store = created(&backend);
    put(&store, b"piece");
    store.commit().unwrap();
    let e = store.read_back(&|_, _| (), &|| true).unwrap_err();
    assert_eq!(e.kind(), Kind::Interrupted);
    let e = store
        .verify(VerifyOptions::default(), &|_, _| (), &|| true)
        .unwrap_err();
    assert_eq!(e.kind(), Kind::Interrupted);
}

#[test]
fn a_store_works_whatever_the_append_unit() {
    for unit in [1, 7, 512, 4096] {
        let backend = Memory::with_unit(unit);
        let store = created(&backend);
        for n in 0..5 {
            put(&store, &noise(1000, n));
            store.commit().unwrap();
        }
        let digest = store.current().digest();
        drop(store);
        let store = opened(&backend);
        assert_eq!(store.current().digest(), digest, "unit {unit}");
        let report = store
            .verify(
                VerifyOptions {
                    data: true,
                    ..VerifyOptions::default()
                },
                &|_, _| (),
                &|| false,
            )
            .unwrap();
        assert_eq!(report.damage, []);
        assert!(backend.names("cut-tails").is_empty());
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_log_is_found() {
    let backend = Memory::new();
    let store = created(&backend);
    put(&store, b"piece");
    store.commit().unwrap();
    drop(store);
    let len = backend.objects()["log/append.log"].len();
    for at in 0..len {
        let bad = backend.copy();
        let store = read_only(&bad, None);
        bad.flip("log/append.log", at, (at % 8) as u8);
        let report = store
            .verify(VerifyOptions::default(), &|_, _| (), &|| false)
            .unwrap();
        assert!(!report.damage.is_empty(), "byte {at}");
        forget_checkpoints(&bad);
        assert!(Store::open(bad.clone(), Mode::Write, options()).is_err());
    }
}

#[test]
fn a_store_in_a_real_directory_is_sealed_read_back_and_verified() {
    use asl_backend::PosixBackend;
    let dir = tempfile::tempdir().unwrap();
    let open = |mode| {
        let backend = Arc::new(PosixBackend::open(dir.path()).unwrap());
        let with = StoreOptions {
            block_target: 1 << 20,
            workers: 2,
            ..options()
        };
        Store::open(backend, mode, with)
    };
    let backend = Arc::new(PosixBackend::open(dir.path()).unwrap());
    Store::create(backend, b"genesis", [1; 16]).unwrap();
    let store = open(Mode::Write).unwrap();
    let e = open(Mode::Write).unwrap_err();
    assert_eq!(e.kind(), Kind::Concurrent, "{e}");
    store.begin_root().unwrap();
    for n in 0..400 {
        put(&store, &noise(20_000, n));
        store.commit_due(Duration::from_secs(n)).unwrap();
    }
    let (root, _) = store.finish_root(b"root").unwrap();
    let back = store.read_back(&|_, _| (), &|| false).unwrap();
    assert_eq!(
        (back.damage.len() as u64, back.blocks),
        (0, store.current().blocks.len() as u64)
    );
    store.snapshot(&terms()).unwrap();
    drop(store);
    let store = open(Mode::Read).unwrap();
    assert_eq!(store.get_piece(&root).unwrap(), b"root");
    let report = store
        .verify(
            VerifyOptions {
                data: true,
                ..VerifyOptions::default()
            },
            &|_, _| (),
            &|| false,
        )
        .unwrap();
    assert_eq!(
        (report.damage.len(), report.pieces, report.snapshots),
        (0, 401, 1)
    );
}

#[test]
fn roots_stand_in_the_order_they_were_named_in_also_after_reopening() {
    let backend = Memory::new();
    let store = created(&backend);
    let named: Vec<_> = (0..8u8)
        .map(|n| {
            store.begin_root().unwrap();
            store.finish_root(&[n; 40]).unwrap().0
        })
        .collect();
    assert_eq!(store.current().root_order, named);
    drop(store);
    let store = opened(&backend);
    assert_eq!(store.current().root_order, named);
    assert_eq!(store.current().roots.len(), named.len());
}

#[test]
fn a_block_is_relied_on_without_its_pieces_and_counts_for_the_root_and_the_frame() {
    let backend = Memory::new();
    let store = created(&backend);
    let id = put(&store, &noise(5000, 1));
    assert_eq!(store.block_of(&id).unwrap(), None, "on its way");
    store.commit().unwrap();
    let block = store.block_of(&id).unwrap().unwrap();
    store.begin_root().unwrap();
    assert!(store.rely_on(&block).unwrap());
    let (root, _) = store.finish_root(b"root").unwrap();
    let digest = store.current().roots[&root];
    let set = BlockSet::decode(&backend.objects()[&format!("store/objects/{digest}.set")]).unwrap();
    assert!(set.0.contains(&block));
    assert_eq!(set.0.len(), 2, "the root's own block and that one");
    drop(store);
    drop(opened(&backend));
}

#[test]
fn a_block_that_is_unknown_lost_or_distrusted_is_not_relied_on() {
    let backend = Memory::new();
    let store = created(&backend);
    let id = put(&store, &noise(5000, 1));
    store.commit().unwrap();
    let block = store.block_of(&id).unwrap().unwrap();
    assert!(!store.rely_on(&[9; 32].into()).unwrap());
    store.distrust(&block);
    assert!(!store.rely_on(&block).unwrap());
    assert_eq!(store.block_of(&id).unwrap(), None);
    drop(store);
    assert!(opened(&backend).rely_on(&block).unwrap());
    let lost = backend.copy();
    lost.objects().retain(|name, _| !name.ends_with(".blk"));
    assert!(!opened(&lost).rely_on(&block).unwrap());
    let no_index = backend.copy();
    no_index
        .objects()
        .retain(|name, _| !name.starts_with("index/segments/"));
    assert!(!opened(&no_index).rely_on(&block).unwrap());
    let read = read_only(&backend, Some(Arc::new(asl_store::PlainSealer)));
    assert_eq!(read.rely_on(&block).unwrap_err().kind(), Kind::Refused);
}

#[test]
fn a_working_file_is_believed_only_as_it_was_written_and_under_its_name() {
    let backend = Memory::new();
    let store = created(&backend);
    store.write_working("files-a", b"content").unwrap();
    store.write_working("files-b", b"other").unwrap();
    store.write_working("files-b", b"newer").unwrap();
    assert_eq!(store.working_files().unwrap(), ["files-a", "files-b"]);
    assert_eq!(store.read_working("files-a").unwrap(), b"content");
    assert_eq!(store.read_working("files-b").unwrap(), b"newer");
    let kind = |name: &str| store.read_working(name).unwrap_err().kind();
    assert_eq!(kind("files-c"), Kind::NotFound);
    let whole = backend.objects()["index/working/files-a"].clone();
    for byte in 0..whole.len() {
        for bit in 0..8 {
            backend.flip("index/working/files-a", byte, bit);
            assert!(
                store.read_working("files-a").is_err(),
                "byte {byte} bit {bit}"
            );
            backend.flip("index/working/files-a", byte, bit);
        }
    }
    for cut in 0..whole.len() {
        let short = whole[..cut].to_vec();
        backend
            .objects()
            .insert("index/working/files-c".into(), short);
        assert!(store.read_working("files-c").is_err(), "cut at {cut}");
    }
    backend
        .objects()
        .insert("index/working/files-b".into(), whole);
    assert_eq!(kind("files-b"), Kind::Damage, "another file's bytes");
    store.remove_working("files-a").unwrap();
    assert_eq!(kind("files-a"), Kind::NotFound);
    assert_ne!(
        store.working_key(b"one").unwrap(),
        store.working_key(b"other").unwrap()
    );
}
