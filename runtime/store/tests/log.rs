//! The promises of a commit-frame log.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use asl_backend::Name;
use asl_core::{Error, Kind, Result, Value};
use asl_store::{Evidence, Frame, FrameLog, Head, LogForm, Mode};
use common::Memory;
use std::sync::Arc;

const NAME: &str = "log/test.log";

fn form() -> LogForm {
    LogForm {
        name: Name::new(NAME).unwrap(),
        magic: *b"ASLTEST\x01",
        kind: "asl.test-commit/1",
        keep: Name::new("log/cut-tails").unwrap(),
    }
}

fn open_with(backend: &Arc<Memory>, mode: Mode, known: &[Head]) -> Result<(FrameLog, Vec<Frame>)> {
    let mut frames = Vec::new();
    let evidence: Vec<Evidence> = known
        .iter()
        .map(|head| Evidence {
            head: *head,
            from: "the test".into(),
        })
        .collect();
    let mut keep = |frame: &Frame, _: &Head| {
        frames.push(frame.clone());
        Ok(())
    };
    let log = FrameLog::open(backend.clone(), form(), mode, [1; 16], &evidence, &mut keep)?;
    Ok((log, frames))
}

fn open(backend: &Arc<Memory>) -> (FrameLog, Vec<Frame>) {
    open_with(backend, Mode::Write, &[]).unwrap()
}

/// A log of so many frames, frame `n` holding `n + 1` records of 100 bytes; and all its heads.
fn log_of(frames: usize, unit: u32) -> (Arc<Memory>, Vec<Head>) {
    let backend = Memory::with_unit(unit);
    let (mut log, _) = open(&backend);
    let mut heads = vec![log.head()];
    for n in 0..frames {
        let records = vec![Value::Bytes(vec![n as u8; 100]); n + 1];
        heads.push(log.append(records, 10, Vec::new()).unwrap().1);
    }
    (backend, heads)
}

fn refused(backend: &Arc<Memory>, known: &[Head]) -> Error {
    let e = open_with(backend, Mode::Write, known).unwrap_err();
    let read = open_with(backend, Mode::Read, known);
    match e.kind() {
        Kind::Damage => assert!(!read.unwrap().0.damage().is_empty(), "told when only read"),
        _ => assert!(read.is_err()),
    }
    e
}

#[test]
fn a_log_is_read_back_in_order_whatever_the_append_unit() {
    for unit in [1, 7, 512, 4096] {
        let (backend, heads) = log_of(6, unit);
        let (mut log, frames) = open(&backend);
        assert_eq!(log.head(), heads[6], "unit {unit}");
        assert_eq!(log.head().logseq.0, 1 + 2 + 3 + 4 + 5 + 6);
        let numbers: Vec<u64> = frames.iter().map(|f| f.commit).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
        for (n, head) in heads.iter().enumerate() {
            assert_eq!(log.head_at(n as u64).unwrap().frame, head.frame);
        }
        assert!(log.head_at(7).is_none());
        log.append(vec![], 0, Vec::new()).unwrap();
        drop(log);
        assert_eq!(open(&backend).0.head().commit, 7);
        assert!(
            backend.names("cut-tails").is_empty(),
            "padding is no torn tail"
        );
    }
}

#[test]
fn padding_lies_outside_of_the_frames_and_their_hashes() {
    let heads: Vec<Head> = [1, 7, 512, 4096].map(|unit| log_of(3, unit).1[3]).into();
    assert!(heads.iter().all(|h| *h == heads[0]));
}

#[test]
fn a_log_padded_for_one_unit_is_read_with_another() {
    let (backend, heads) = log_of(3, 4096);
    let plain = Memory::new();
    *plain.objects() = backend.objects().clone();
    let (mut log, _) = open(&plain);
    assert_eq!(log.head(), heads[3]);
    log.append(vec![Value::from(1)], 0, Vec::new()).unwrap();
    drop(log);
    assert_eq!(open(&plain).0.head().commit, 4);
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_frame_is_cut_and_kept() {
    for unit in [1u32, 7, 512] {
        let (whole, heads) = log_of(3, unit);
        let (shorter, _) = log_of(2, unit);
        let (bytes, from) = (whole.objects()[NAME].clone(), shorter.objects()[NAME].len());
        let frame_end = bytes.len() - bytes.iter().rev().take_while(|b| **b == 0).count();
        for cut in from + 1..frame_end {
            let backend = whole.copy();
            backend.objects().insert(NAME.into(), bytes[..cut].to_vec());
            let (log, frames) = open(&backend);
            assert_eq!((log.head(), frames.len()), (heads[2], 2), "cut at {cut}");
            let kept = backend.names("cut-tails");
            assert_eq!(kept.len(), 1);
            assert_eq!(backend.objects()[&kept[0]], bytes[from..cut]);
            assert_eq!(backend.objects()[NAME], bytes[..from]);
        }
    }
}

#[test]
fn a_tail_of_zeros_or_with_torn_sectors_is_cut() {
    let (whole, heads) = log_of(3, 1);
    let from = log_of(2, 1).0.objects()[NAME].len();
    let bytes = whole.objects()[NAME].clone();
    let len = bytes.len();
    let mut tails = vec![[&bytes[..from], &[0; 3000]].concat()];
    for range in [from..from + 50, from + 60..from + 70, len - 10..len] {
        let mut torn = bytes.clone();
        torn[range].fill(0);
        tails.push(torn);
    }
    for torn in tails {
        let backend = whole.copy();
        backend.objects().insert(NAME.into(), torn);
        assert_eq!(open(&backend).0.head(), heads[2]);
        assert_eq!(open(&backend).0.head(), heads[2]);
    }
}

#[test]
fn reading_alone_changes_nothing() {
    let (backend, heads) = log_of(2, 1);
    backend.objects().get_mut(NAME).unwrap().truncate(500);
    let before = backend.objects().clone();
    let (mut log, _) = open_with(&backend, Mode::Read, &[]).unwrap();
    assert_eq!(log.head(), heads[1]);
    assert!(log.torn_bytes() > 0);
    let e = log.append(vec![], 0, Vec::new()).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
    assert_eq!(*backend.objects(), before);
}

#[test]
fn a_log_shorter_than_a_known_head_is_damage_and_no_torn_tail() {
    let (whole, heads) = log_of(4, 1);
    let end_of = |n: usize| log_of(n, 1).0.objects()[NAME].len();
    for frames in 0..4 {
        for extra in [0, 1, 30] {
            let backend = whole.copy();
            let cut = backend.objects()[NAME][..end_of(frames) + extra].to_vec();
            backend.objects().insert(NAME.into(), cut.clone());
            let e = refused(&backend, &[heads[4]]);
            assert_eq!(e.kind(), Kind::Damage);
            assert!(e.why().contains("acknowledged commits are missing"), "{e}");
            assert_eq!(backend.objects()[NAME], cut, "nothing was cut");
            assert!(open_with(&backend, Mode::Write, &[heads[frames]]).is_ok());
        }
    }
}

#[test]
fn a_log_of_another_history_is_damage() {
    let (backend, _) = log_of(3, 1);
    let mut other = log_of(3, 1).1[2];
    other.frame = [8; 32].into();
    let e = refused(&backend, &[other]);
    assert!(e.why().contains("another history"), "{e}");
}

#[test]
fn a_flipped_bit_before_the_last_frame_is_damage_and_what_lies_before_it_is_served() {
    let (whole, heads) = log_of(3, 1);
    let (first, second) = (
        log_of(1, 1).0.objects()[NAME].len(),
        log_of(2, 1).0.objects()[NAME].len(),
    );
    for at in first..second {
        let backend = whole.copy();
        backend.flip(NAME, at, (at % 8) as u8);
        let e = refused(&backend, &[]);
        assert_eq!(e.kind(), Kind::Damage, "byte {at}: {e}");
        let (log, _) = open_with(&backend, Mode::Read, &[]).unwrap();
        assert_eq!(log.head(), heads[1]);
    }
}

#[test]
fn a_flipped_bit_in_the_last_frame_is_damage_once_its_head_is_known() {
    let (whole, heads) = log_of(2, 1);
    let from = log_of(1, 1).0.objects()[NAME].len();
    let len = whole.objects()[NAME].len();
    for at in from..len {
        let backend = whole.copy();
        backend.flip(NAME, at, (at % 8) as u8);
        assert_eq!(refused(&backend, &[heads[2]]).kind(), Kind::Damage);
    }
}

#[test]
fn frames_taken_out_swapped_or_of_another_log_are_damage() {
    let (whole, _) = log_of(3, 1);
    let ends: Vec<usize> = (0..4)
        .map(|n| log_of(n, 1).0.objects()[NAME].len())
        .collect();
    let bytes = whole.objects()[NAME].clone();
    let part = |n: usize| bytes[ends[n]..ends[n + 1]].to_vec();
    for order in [
        vec![1, 2],
        vec![0, 2],
        vec![1, 0, 2],
        vec![0, 0, 1, 2],
        vec![0, 1, 2, 2],
    ] {
        let backend = whole.copy();
        let forged: Vec<u8> = order.iter().flat_map(|n| part(*n)).collect();
        backend.objects().insert(NAME.into(), forged);
        assert_eq!(refused(&backend, &[]).kind(), Kind::Damage, "{order:?}");
    }
}

#[test]
fn a_frame_of_a_newer_version_is_refused_and_never_cut() {
    let (backend, _) = log_of(2, 1);
    let last = log_of(1, 1).0.objects()[NAME].len();
    let mut frame = backend.objects()[NAME][last..].to_vec();
    frame[8] = 2;
    let crc = crc32c(&frame[..16]);
    frame[16..20].copy_from_slice(&crc.to_le_bytes());
    for keep in [frame.len(), 25] {
        let newer = backend.copy();
        let mut bytes = newer.objects()[NAME][..last].to_vec();
        bytes.extend_from_slice(&frame[..keep]);
        newer.objects().insert(NAME.into(), bytes);
        let e = refused(&newer, &[]);
        assert!(e.why().contains("newer asl-host"), "{e}");
    }
}

/// CRC32C bit by bit, so that the test does not trust the crate under test.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| {
            c >> 1 ^ (0x82f6_3b78 & (c & 1).wrapping_neg())
        })
    })
}

/// A log of one frame with this body, its header and trailer right.
fn forged(body: &[u8]) -> Arc<Memory> {
    let mut frame = b"ASLTEST\x01\x01\0\0\0".to_vec();
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let crc = crc32c(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(body);
    let hash = blake3::hash(&frame);
    frame.extend_from_slice(hash.as_bytes());
    let backend = Memory::new();
    backend.objects().insert(NAME.into(), frame);
    backend
}

fn body(change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let mut pairs = vec![
        (Value::from(0), Value::from("asl.test-commit/1")),
        (Value::from(1), Value::from(0)),
        (Value::from(2), Value::from(0)),
        (Value::from(3), Value::Bytes(vec![0; 32])),
        (Value::from(4), Value::Bytes(vec![0; 16])),
        (Value::from(5), Value::Array(vec![])),
        (Value::from(6), Value::from(0)),
    ];
    change(&mut pairs);
    asl_core::canon::encode(&Value::Map(pairs))
}

#[test]
fn a_frame_is_what_formats_md_says_byte_for_byte() {
    let (log, frames) = open(&forged(&body(|_| ())));
    assert_eq!(log.head().commit, 1);
    assert_eq!(frames[0].nonce, [0; 16]);
}

#[test]
fn a_second_spelling_of_a_frame_is_refused() {
    let ids = |ids: &[u8]| {
        let id = |n: &u8| Value::Bytes(vec![*n; 32]);
        Value::Array(ids.iter().map(id).collect())
    };
    let with = |key: i64, value: Value| body(|pairs| pairs.push((Value::from(key), value)));
    assert!(open_with(&forged(&with(7, ids(&[1, 2]))), Mode::Write, &[]).is_ok());
    let mut bad = vec![
        with(7, ids(&[])),
        with(7, ids(&[2, 1])),
        with(7, ids(&[1, 1])),
        with(8, Value::from(1)),
        body(|pairs| pairs[0].1 = Value::from("asl.other/1")),
        body(|pairs| pairs[3].1 = Value::Bytes(vec![0; 31])),
        body(|pairs| drop(pairs.remove(4))),
        [body(|_| ()), vec![0]].concat(),
        Vec::new(),
    ];
    let mut long_zero = body(|_| ());
    let last = long_zero.pop().unwrap();
    long_zero.extend([0x18, last]);
    bad.push(long_zero);
    for (n, body) in bad.iter().enumerate() {
        let e = refused(&forged(body), &[]);
        assert_eq!(e.kind(), Kind::Invalid, "case {n}: {e}");
    }
    for (key, value) in [(1, 1), (2, 1)] {
        let wrong = body(|pairs| pairs[key].1 = Value::from(value));
        assert_eq!(refused(&forged(&wrong), &[]).kind(), Kind::Damage);
    }
    let previous = body(|pairs| pairs[3].1 = Value::Bytes(vec![1; 32]));
    assert_eq!(refused(&forged(&previous), &[]).kind(), Kind::Damage);
}

#[test]
fn a_tail_made_to_cost_endless_work_is_refused_as_damage() {
    let (backend, _) = log_of(1, 1);
    let mut header = b"ASLTEST\x01\x01\0\0\0".to_vec();
    header.extend_from_slice(&(15u32 << 20).to_le_bytes());
    let crc = crc32c(&header);
    header.extend_from_slice(&crc.to_le_bytes());
    let bomb = header.repeat((16 << 20) / header.len());
    backend.objects().get_mut(NAME).unwrap().extend(bomb);
    assert_eq!(refused(&backend, &[]).kind(), Kind::Damage);
    let (backend, _) = log_of(1, 1);
    let long = vec![b'x'; 20 << 20];
    backend.objects().get_mut(NAME).unwrap().extend(long);
    assert_eq!(refused(&backend, &[]).kind(), Kind::Damage);
}

#[test]
fn a_frame_over_16_mib_is_refused_and_the_log_goes_on() {
    let (backend, _) = log_of(1, 1);
    let (mut log, _) = open(&backend);
    let big = vec![Value::Bytes(vec![0; 16 << 20])];
    assert_eq!(
        log.append(big, 0, Vec::new()).unwrap_err().kind(),
        Kind::Invalid
    );
    let many = vec![Value::from(0); 1 << 18];
    assert_eq!(
        log.append(many, 0, Vec::new()).unwrap_err().kind(),
        Kind::Invalid
    );
    log.append(vec![], 0, Vec::new()).unwrap();
    drop(log);
    assert_eq!(open(&backend).0.head().commit, 2);
}

#[test]
fn two_writers_at_once_are_refused() {
    let (backend, _) = log_of(1, 1);
    let (log, _) = open(&backend);
    let e = open_with(&backend, Mode::Write, &[]).unwrap_err();
    assert_eq!(e.kind(), Kind::Concurrent);
    drop(log);
    open(&backend);
}

#[test]
fn after_a_failed_append_nothing_is_appended_until_the_log_is_opened_again() {
    let (backend, _) = log_of(1, 1);
    let (mut log, _) = open(&backend);
    backend.objects().get_mut(NAME).unwrap().push(b'x');
    let e = log.append(vec![], 0, Vec::new()).unwrap_err();
    assert_eq!(e.kind(), Kind::Concurrent);
    backend.objects().get_mut(NAME).unwrap().pop();
    let e = log.append(vec![], 0, Vec::new()).unwrap_err();
    assert!(e.what_next().contains("open the domain again"), "{e:?}");
    drop(log);
    let (mut log, _) = open(&backend);
    log.append(vec![], 0, Vec::new()).unwrap();
}
