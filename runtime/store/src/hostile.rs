//! Hostile bytes for every decoder: refused or read, never a panic, and what is read has one
//! spelling (reliability.md, P8).

use crate::block::{BlockBuilder, Directory, Group, Packer};
use crate::segment::{self, Segment};
use crate::{BlockSet, Manifest, Record};
use asl_core::{canon, BlockId};
use proptest::prelude::*;

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

fn segment_body() -> Vec<u8> {
    let located: Vec<_> = Directory::read(&block()).unwrap().located().collect();
    let of = [
        (BlockId::from([1; 32]), &located[..]),
        (BlockId::from([2; 32]), &located[..]),
    ];
    Segment::of(3, of).unwrap().encode().unwrap()
}

/// Changes some bytes, and cuts or lengthens the whole.
fn spoil(mut bytes: Vec<u8>, changes: &[(usize, u8)], length: usize) -> Vec<u8> {
    for (at, value) in changes {
        let at = at % bytes.len();
        bytes[at] = *value;
    }
    bytes.resize(length % (bytes.len() + 64), 0xff);
    bytes
}

/// Makes a block's checksum right again, so that the rules behind it are reached.
fn resign(mut bytes: Vec<u8>) -> Vec<u8> {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spoiled_blocks_are_refused_or_read_but_never_break_the_reader(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        keep_length in any::<bool>(),
        length in any::<usize>(),
    ) {
        let whole = block();
        let length = if keep_length { whole.len() } else { length };
        let spoiled = resign(spoil(whole, &changes, length));
        if let Ok(directory) = Directory::read(&spoiled) {
            prop_assert!(directory.located().count() == directory.entries.len());
        }
    }

    #[test]
    fn a_segment_that_is_read_is_spelled_as_it_would_be_written(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        keep_length in any::<bool>(),
        length in any::<usize>(),
    ) {
        let whole = segment_body();
        let length = if keep_length { whole.len() } else { length };
        let spoiled = spoil(whole, &changes, length);
        drop(segment::open_file(&spoiled));
        if let Ok(segment) = Segment::decode(&spoiled) {
            prop_assert_eq!(segment.encode().unwrap(), spoiled);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_by_every_decoder(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(Directory::read(&resign(bytes.clone())));
        drop(Segment::decode(&bytes));
        drop(segment::open_file(&bytes));
        drop(BlockSet::decode(&bytes));
        drop(Manifest::decode(&bytes));
        if let Ok(value) = canon::decode(&bytes, "test", canon::Limits::DOCUMENT) {
            drop(Record::from_value(value));
        }
    }
}
