//! Many pieces asked for at once.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use asl_core::{ChunkId, Digest, Error, Kind, Result};
use asl_store::{Epoch, Mode, Record, Sealer, Store, StoreOptions, VerifyOptions};
use common::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// Pieces of all sizes: many of a group, some alone; text and noise.
fn pieces() -> Vec<Vec<u8>> {
    let texts = (0..300u64).map(|n| format!("text {n} ").repeat(n as usize).into_bytes());
    texts
        .chain((0..40).map(|n| noise(n as usize * 997, n)))
        .chain((0..6).map(|n| noise(200_000, 100 + n)))
        .collect()
}

/// What is answered for each place, each asserted to be told once.
fn all(store: &Store, ids: &[ChunkId]) -> Vec<Result<Vec<u8>>> {
    let mut told: Vec<Option<Result<Vec<u8>>>> = ids.iter().map(|_| None).collect();
    let mut take = |place: usize, piece: Result<&[u8]>| {
        let before = told[place].replace(piece.map(<[u8]>::to_vec));
        assert!(before.is_none(), "place {place} was told twice");
        Ok(())
    };
    store.get_pieces(ids, &mut take).unwrap();
    told.into_iter().map(|t| t.unwrap()).collect()
}

#[test]
fn pieces_come_back_once_each_whatever_their_order_and_however_often_asked_for() {
    let backend = Memory::new();
    let store = created(&backend);
    let pieces = pieces();
    for p in &pieces {
        put(&store, p);
    }
    store.commit().unwrap();
    drop(store);
    let store = opened(&backend);
    assert!(store.current().blocks.len() > 5);
    let mut asked: Vec<&Vec<u8>> = pieces.iter().rev().chain(&pieces).collect();
    asked.sort_by_key(|p| id_of(p));
    let ids: Vec<ChunkId> = asked.iter().map(|p| id_of(p)).collect();
    for (got, wanted) in all(&store, &ids).into_iter().zip(asked) {
        assert_eq!(got.unwrap(), *wanted);
    }
    assert!(all(&store, &[]).is_empty());
}

#[test]
fn a_block_is_read_in_few_parts_however_many_of_its_pieces_are_asked_for() {
    let backend = Memory::new();
    let store = created(&backend);
    let pieces: Vec<Vec<u8>> = (0..2000u64).map(|n| noise(300, n)).collect();
    let ids: Vec<ChunkId> = pieces.iter().map(|p| put(&store, p)).collect();
    store.commit().unwrap();
    drop(store);
    let store = opened(&backend);
    // Blocks, and the index that tells where in them.
    let bytes: usize = backend.objects().values().map(Vec::len).sum();
    let before = backend.read.load(Ordering::SeqCst);
    assert!(all(&store, &ids).iter().all(|p| p.is_ok()));
    let read = backend.read.load(Ordering::SeqCst) - before;
    assert!(read <= bytes as u64, "{read} bytes read of {bytes}");
}

#[test]
fn one_small_piece_of_a_large_block_costs_little_more_than_its_extent() {
    let backend = Memory::new();
    Store::create(backend.clone(), b"genesis", [1; 16]).unwrap();
    let large = StoreOptions {
        block_target: 8 << 20,
        ..options()
    };
    let store = Store::open(backend.clone(), Mode::Write, large).unwrap();
    for n in 0..60 {
        put(&store, &noise(100_000, n));
    }
    let id = put(&store, b"small");
    for n in 60..80 {
        put(&store, &noise(100_000, n));
    }
    store.commit().unwrap();
    drop(store);
    let store = opened(&backend);
    let before = backend.read.load(Ordering::SeqCst);
    assert_eq!(store.get_piece(&id).unwrap(), b"small");
    let read = backend.read.load(Ordering::SeqCst) - before;
    assert!(read < 700_000, "{read} bytes read");
}

#[test]
fn damage_costs_what_lies_in_it_and_is_told_for_each_piece() {
    let backend = Memory::new();
    let store = created(&backend);
    let pieces: Vec<Vec<u8>> = (0..60u64).map(|n| noise(20_000, n)).collect();
    let ids: Vec<ChunkId> = pieces.iter().map(|p| put(&store, p)).collect();
    store.commit().unwrap();
    let block = backend.names(".blk").remove(1);
    let at = backend.objects()[&block]
        .windows(64)
        .position(|w| pieces.iter().any(|p| p.starts_with(w)))
        .unwrap();
    backend.flip(&block, at + 100, 3);
    drop(store);
    let store = opened(&backend);
    let answers = all(&store, &ids);
    let bad = answers.iter().filter(|a| a.is_err()).count();
    assert!((1..20).contains(&bad), "{bad} of 60 lost");
    for (got, wanted) in answers.into_iter().zip(&pieces) {
        match got {
            Ok(bytes) => assert_eq!(bytes, *wanted),
            Err(e) => assert_eq!(e.kind(), Kind::Damage, "{e}"),
        }
    }
    // A whole block that is gone, and a piece that never was.
    backend.objects().remove(&block);
    drop(store);
    let store = opened(&backend);
    let more: Vec<ChunkId> = ids.iter().copied().chain([id_of(b"never")]).collect();
    let answers = all(&store, &more);
    let gone = answers.iter().filter_map(|a| a.as_ref().err());
    assert!(gone.clone().count() > bad);
    assert!(gone.clone().all(|e| e.kind() == Kind::NotFound));
    assert!(answers.iter().any(|a| a.is_ok()));
}

#[test]
fn the_one_who_takes_the_pieces_can_end_it() {
    let backend = Memory::new();
    let store = created(&backend);
    let ids: Vec<ChunkId> = (0..50u64).map(|n| put(&store, &noise(900, n))).collect();
    store.commit().unwrap();
    let mut told = 0;
    let ended = store.get_pieces(&ids, &mut |_, _| {
        told += 1;
        Err(Error::new(Kind::Interrupted, "read", "", "enough"))
    });
    assert_eq!((ended.unwrap_err().kind(), told), (Kind::Interrupted, 1));
}

#[test]
fn without_the_open_identity_each_piece_is_refused() {
    let backend = Memory::new();
    let with = |opens: Option<bool>| {
        let sealer = |opens| ToySealer {
            epoch: 1,
            opens,
            key: 1,
        };
        let sealer = opens.map(|opens| Arc::new(sealer(opens)) as Arc<dyn Sealer>);
        let options = StoreOptions {
            sealer,
            ..options()
        };
        Store::open(backend.clone(), Mode::Write, options).unwrap()
    };
    Store::create(backend.clone(), b"genesis", [1; 16]).unwrap();
    let store = with(Some(true));
    let epoch = Epoch {
        number: 1,
        recipient: "age1toy".into(),
        files: vec![("epoch-1.age".into(), Digest::of(b"file"))],
    };
    store.append(vec![Record::Epoch(epoch)]).unwrap();
    let id = ToySealer {
        epoch: 1,
        opens: true,
        key: 1,
    }
    .chunk_id(1, b"secret")
    .unwrap();
    store.put_piece(id, &blob(), b"secret").unwrap();
    store.commit().unwrap();
    assert_eq!(all(&store, &[id])[0].as_ref().unwrap(), b"secret");
    drop(store);
    let store = with(Some(false));
    let refused = all(&store, &[id]).remove(0);
    assert_eq!(refused.unwrap_err().kind(), Kind::Refused);
    drop(store);
    let e = with(None).get_pieces(&[id], &mut |_, _| Ok(()));
    assert_eq!(e.unwrap_err().kind(), Kind::Refused);
}

#[test]
fn verify_tells_damage_in_the_same_order_every_time() {
    let backend = Memory::new();
    let store = created(&backend);
    for n in 0..200 {
        put(&store, &noise(20_000, n));
        if n % 30 == 0 {
            store.commit().unwrap();
        }
    }
    store.commit().unwrap();
    for block in backend.names(".blk").iter().step_by(3) {
        backend.flip(block, 50, 1);
    }
    drop(store);
    let store = opened(&backend);
    let look = |data| {
        let done = AtomicU64::new(0);
        let progress = |now: u64, total: u64| {
            assert!(done.swap(now, Ordering::SeqCst) <= now && now <= total);
        };
        store
            .verify(
                VerifyOptions {
                    data,
                    ..VerifyOptions::default()
                },
                &progress,
                &|| false,
            )
            .unwrap()
    };
    let first = look(true);
    assert!(first.damage.len() > 10, "{:?}", first.damage.len());
    for data in [true, false, true] {
        assert_eq!(look(data).damage, first.damage);
    }
    let e = store.verify(
        VerifyOptions {
            data: true,
            ..VerifyOptions::default()
        },
        &|_, _| (),
        &|| true,
    );
    assert_eq!(e.unwrap_err().kind(), Kind::Interrupted);
}
