//! Hostile bytes for every decoder: refused or read within the cap, never a panic, and what is read
//! has one spelling (reliability.md, P8).

use crate::block::{BlockBuilder, Codec, Directory, Group, Packer, Unpacker};
use crate::checkpoint::Checkpoint;
use crate::log::{read_frame, Found};
use crate::segment::{self, Segment};
use crate::{checkpoint, manifest, BlockSet, Frame, LogForm, Manifest, Record};
use asl_backend::Name;
use asl_core::{canon, BlockId, Error, Kind, LogSeq, Result};
use asl_testkit::{most_held, torture_count, Counted, Decoder, Encode, MOST_HELD};
use std::fmt::Debug;
use std::io::Read;

#[global_allocator]
static COUNTED: Counted = Counted;

fn block() -> Vec<u8> {
    let mut group = Group::default();
    for n in 0..5u8 {
        let bytes = vec![n; 40 * usize::from(n)];
        let tag = format!("tag{}", n % 2).parse().unwrap();
        group
            .push(blake3::hash(&bytes).into(), &tag, &bytes)
            .unwrap();
    }
    let mut builder = BlockBuilder::default();
    let packed = Packer::new().unwrap().pack(group).unwrap();
    builder.push(packed).unwrap();
    builder.finish().unwrap().0
}

fn segment() -> Segment {
    let located: Vec<_> = Directory::read(&block()).unwrap().located().collect();
    let of = [
        (BlockId::from([1; 32]), &located[..]),
        (BlockId::from([2; 32]), &located[..]),
    ];
    Segment::of(3, of).unwrap()
}

fn form() -> LogForm {
    LogForm {
        name: Name::new("log/test.log").unwrap(),
        magic: *b"ASLTEST\x01",
        kind: "asl.test-commit/1",
        keep: Name::new("log/cut-tails").unwrap(),
    }
}

fn frame() -> Vec<u8> {
    let record = Record::GcIntent {
        blocks: vec![[2; 32].into(), [3; 32].into()],
    };
    let frame = Frame {
        commit: 3,
        logseq: LogSeq(9),
        previous: [1; 32].into(),
        nonce: [2; 16],
        records: vec![record.to_value()],
        stored_bytes: 1 << 40,
        relies: vec![[4; 32].into(), [5; 32].into()],
    };
    frame.encode(&form()).unwrap().0
}

/// Makes a block's checksum right again, so that the rules behind it are reached.
fn mend_block(mut bytes: Vec<u8>) -> Vec<u8> {
    let Some(foot) = bytes.len().checked_sub(36) else {
        return bytes;
    };
    let start = u32::from_le_bytes(bytes[foot + 12..foot + 16].try_into().unwrap()) as usize;
    let end = bytes.len() - 4;
    if let Some(covered) = bytes.get(start..end) {
        let crc = crc32c::crc32c(covered).to_le_bytes();
        bytes[end..].copy_from_slice(&crc);
    }
    bytes
}

/// Makes the last 32 bytes the digest of all before them, as frames and checkpoints have it.
fn mend_digest(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.len().checked_sub(32) {
        let digest = blake3::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(digest.as_bytes());
    }
    bytes
}

fn as_it_is(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// Spoils bytes of which another spelling is refused, or of which others may be read too.
fn spoiled<T: Debug>(
    name: &str,
    good: Vec<u8>,
    mend: fn(Vec<u8>) -> Vec<u8>,
    decode: &dyn Fn(&[u8]) -> Result<T>,
    encode: Option<Encode<T>>,
) {
    let good = vec![good];
    Decoder {
        name,
        good,
        mend,
        decode,
        encode,
    }
    .try_spoiled(1, torture_count(2000));
}

#[test]
fn p8_spoiled_files_are_refused_or_read() {
    let directory = |b: &[u8]| {
        let directory = Directory::read(b)?;
        assert_eq!(directory.located().count(), directory.entries.len());
        Ok(directory.entries.len())
    };
    spoiled("block directory", block(), mend_block, &directory, None);
    let body = segment().encode().unwrap();
    let again = |s: &Segment| s.encode().unwrap();
    spoiled(
        "segment",
        body.clone(),
        as_it_is,
        &Segment::decode,
        Some(&again),
    );
    let file = segment::file(3, &body);
    let opened = |b: &[u8]| segment::open_file(b).map(|(epoch, sealed)| (epoch, sealed.to_vec()));
    spoiled(
        "segment file",
        file,
        as_it_is,
        &opened,
        Some(&|(epoch, body)| segment::file(*epoch, body)),
    );
    let set = BlockSet((0..9u8).map(|n| [n; 32].into()).collect());
    let again = |s: &BlockSet| s.encode().unwrap();
    spoiled(
        "block set",
        set.encode().unwrap(),
        as_it_is,
        &BlockSet::decode,
        Some(&again),
    );
    let sample = manifest::tests::sample().encode();
    spoiled("manifest", sample, as_it_is, &Manifest::decode, None);
    let sample = checkpoint::tests::sample().encode().unwrap();
    let read = |b: &[u8]| Checkpoint::decode(b).map(drop);
    spoiled("checkpoint", sample.clone(), mend_digest, &read, None);
    spoiled(
        "checkpoint, its digest wrong",
        sample,
        as_it_is,
        &read,
        None,
    );
}

#[test]
fn p8_spoiled_log_frames_are_torn_refused_or_read() {
    let read = |b: &[u8]| match read_frame(&form(), b)? {
        Found::Frame(frame, _, _) => {
            // What a frame carries is read too.
            frame
                .records
                .iter()
                .cloned()
                .for_each(|v| drop(Record::from_value(v)));
            Ok(())
        }
        Found::Torn => Err(Error::new(Kind::Invalid, "read", "a frame", "it is torn")),
    };
    spoiled("log frame", frame(), mend_digest, &read, None);
    spoiled("log frame, its hash wrong", frame(), as_it_is, &read, None);
    for record in checkpoint::tests::sample().current.to_records() {
        let bytes = canon::encode(&record.to_value());
        let read =
            |b: &[u8]| Record::from_value(canon::decode(b, "record", canon::Limits::DOCUMENT)?);
        let name = format!("record {:?}", record.kind());
        spoiled(&name, bytes, as_it_is, &read, None);
    }
}

#[test]
fn p8_spoiled_extents_are_refused_or_decode_to_no_more_than_an_extent_holds() {
    let plain: Vec<u8> = (0..60_000u32).flat_map(u32::to_le_bytes).collect();
    let good = zstd::bulk::compress(&plain, 1).unwrap();
    let unpacker = std::cell::RefCell::new(Unpacker::new().unwrap());
    let read = |b: &[u8]| {
        unpacker
            .borrow_mut()
            .unpack(b, Codec::Zstd)
            .map(<[u8]>::len)
    };
    spoiled("extent", good, as_it_is, &read, None);
}

/// Bombs: few bytes that ask for much. Each is refused within the cap.
#[test]
fn p8_bombs_in_a_store_are_refused_before_they_go_off() {
    let zeros = |megabytes: usize| zstd::bulk::compress(&vec![0; megabytes << 20], 19).unwrap();
    let turned = |good: Vec<u8>, at: usize, to: &[u8]| {
        let mut bytes = good;
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let most = u32::MAX.to_le_bytes();
    let foot = block().len() - 36;
    let extent = |b: &[u8]| Unpacker::new().unwrap().unpack(b, Codec::Zstd).is_err();
    let directory = |b: &[u8]| Directory::read(&mend_block(b.to_vec())).is_err();
    let body = |b: &[u8]| Segment::decode(b).is_err();
    let set = |b: &[u8]| BlockSet::decode(b).is_err();
    let log = |b: &[u8]| {
        !matches!(
            read_frame(&form(), &mend_digest(b.to_vec())),
            Ok(Found::Frame(..))
        )
    };
    let check = |b: &[u8]| Checkpoint::decode(&mend_digest(b.to_vec())).is_err();
    let whole = segment().encode().unwrap();
    let saved = checkpoint::tests::sample().encode().unwrap();
    // A frame that does not state its length, and one that states an exabyte.
    let unsized_frame = {
        let mut bytes = Vec::new();
        zstd::stream::copy_encode(std::io::repeat(0).take(64 << 20), &mut bytes, 19).unwrap();
        bytes
    };
    let exabyte = [
        &[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..],
        &(1u64 << 60).to_le_bytes(),
        &[1, 0, 0],
    ]
    .concat();
    type Refuses<'a> = &'a dyn Fn(&[u8]) -> bool;
    let bombs: Vec<(&str, Vec<u8>, Refuses)> = vec![
        ("64 MiB of zeros in an extent", zeros(64), &extent),
        (
            "an extent that does not state its length",
            unsized_frame,
            &extent,
        ),
        ("an extent that states an exabyte", exabyte, &extent),
        (
            "two frames in an extent",
            [zeros(1), zeros(1)].concat(),
            &extent,
        ),
        (
            "a directory of 2^32 extents",
            turned(block(), foot + 16, &most),
            &directory,
        ),
        (
            "a directory of 2^32 entries",
            turned(block(), foot + 20, &most),
            &directory,
        ),
        (
            "a directory of 2^32 tags",
            turned(block(), foot + 24, &most),
            &directory,
        ),
        (
            "a directory that begins after its end",
            turned(block(), foot + 12, &most),
            &directory,
        ),
        (
            "a segment of 2^32 blocks",
            turned(whole.clone(), 4, &most),
            &body,
        ),
        ("a segment of 2^32 entries", turned(whole, 8, &most), &body),
        ("a block set of half an id", vec![7; 48], &set),
        (
            "a frame of arrays in arrays",
            turned(frame(), 20, &[0x81; 60]),
            &log,
        ),
        (
            "a checkpoint of 2^32 bytes of state",
            turned(saved.clone(), 12, &most),
            &check,
        ),
        ("a checkpoint of nothing", vec![0; 32], &check),
    ];
    for (name, bytes, refuses) in bombs {
        let (refused, held) = most_held(|| refuses(&bytes));
        assert!(refused, "{name} is taken");
        assert!(held <= MOST_HELD, "{name} holds {held} bytes");
    }
}
