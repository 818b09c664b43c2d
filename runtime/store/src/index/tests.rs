//! The index over a real directory.

use super::*;
use crate::block::Codec;
use crate::names;
use crate::record::SealedSegment;
use crate::sealer::{Part, PlainSealer, Sealer};
use crate::segment::{self, Segment};
use asl_backend::{Backend, PosixBackend};
use asl_core::Digest;
use std::path::PathBuf;
use std::sync::Arc;

fn located(n: u32) -> Located {
    Located {
        id: blake3::hash(&n.to_le_bytes()).into(),
        offset: n,
        stored: 1,
        codec: Codec::Raw,
        inner: 0,
        length: 1,
    }
}

struct Place {
    dir: tempfile::TempDir,
    backend: Arc<dyn Backend>,
    sealer: Arc<dyn Sealer>,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let backend: Arc<dyn Backend> = Arc::new(PosixBackend::open(dir.path()).unwrap());
        backend.create_dirs(&names::all_dirs().unwrap()).unwrap();
        let sealer = Arc::new(PlainSealer);
        Place {
            dir,
            backend,
            sealer,
        }
    }

    fn path(&self, name: &asl_backend::Name) -> PathBuf {
        self.dir.path().join(name.as_str())
    }

    /// Writes a segment of one block for each list of pieces.
    fn seal(&self, number: u32, blocks: &[(u8, Vec<Located>)]) -> SealedSegment {
        let of = blocks
            .iter()
            .map(|(b, p)| (BlockId::from([*b; 32]), p.as_slice()));
        let plain = Segment::of(0, of).unwrap().encode().unwrap();
        let file = segment::file(0, &self.sealer.seal(Part::Segment, &plain).unwrap());
        let dir = names::segment_dir(number).unwrap();
        self.backend.create_dirs(&[dir]).unwrap();
        let name = names::segment(number).unwrap();
        self.backend.put(&name, &file).unwrap();
        SealedSegment {
            number,
            epoch: 0,
            trust: self.sealer.mac(0, &plain).unwrap(),
            file: Digest::of(&file),
            bytes: file.len() as u64,
            blocks: blocks.iter().map(|(b, _)| ([*b; 32].into(), 1)).collect(),
        }
    }

    fn open(&self, sealed: &SealedSegment, write: bool) -> Result<Paged> {
        Paged::open(&self.backend, &self.sealer, sealed, write)
    }

    fn index(&self, sealed: &[SealedSegment]) -> Index {
        let mut index = Index::default();
        for s in sealed {
            index.add(self.open(s, true).unwrap());
        }
        index
    }
}

/// The blocks that hold a piece.
fn homes(index: &Index, n: u32) -> Vec<u8> {
    let found = index.find(&located(n).id).unwrap();
    assert!(found.damage.is_none());
    assert!(found.all.iter().all(|(_, at)| at.id == located(n).id));
    found
        .all
        .iter()
        .map(|(home, _)| home.id.as_bytes()[0])
        .collect()
}

#[test]
fn every_piece_of_segments_of_any_length_is_found_and_no_other() {
    let place = Place::new();
    let (mut from, mut sealed) = (0, Vec::new());
    // One page, where a row ends with it or not, several, and one whose table is two pages long.
    for (number, count) in [1u32, 2, 1169, 1170, 1171, 3000, 20_000]
        .into_iter()
        .enumerate()
    {
        let pieces: Vec<Located> = (from..from + count).map(located).collect();
        sealed.push(place.seal(number as u32 + 1, &[(number as u8, pieces)]));
        from += count;
    }
    let index = place.index(&sealed);
    let mut n = 0;
    for (number, count) in [1u32, 2, 1169, 1170, 1171, 3000, 20_000]
        .into_iter()
        .enumerate()
    {
        for _ in 0..count {
            assert_eq!(homes(&index, n), [number as u8], "piece {n}");
            n += 1;
        }
    }
    assert!((n..n + 5000).all(|n| homes(&index, n).is_empty()));
}

#[test]
fn a_piece_in_several_blocks_goes_by_block_id_also_over_the_end_of_a_page() {
    let place = Place::new();
    let many: Vec<(u8, Vec<Located>)> = (0..250)
        .map(|b| (b, (0..20).map(located).collect()))
        .collect();
    let (first, second) = many.split_at(200);
    let index = place.index(&[place.seal(1, second), place.seal(2, first)]);
    for n in 0..20 {
        let all: Vec<u8> = (0..250).collect();
        assert_eq!(homes(&index, n), all);
    }
    assert!(homes(&index, 20).is_empty());
}

#[test]
fn ids_that_are_not_uniform_are_found_too() {
    let place = Place::new();
    let near = |n: u32| {
        let mut id = [7; 32];
        id[28..].copy_from_slice(&n.to_be_bytes());
        Located {
            id: id.into(),
            ..located(n)
        }
    };
    let mut pieces: Vec<Located> = (0..10_000).map(|n| near(2 * n)).collect();
    pieces.extend((0..10).map(located));
    let index = place.index(&[place.seal(1, &[(1, pieces)])]);
    for n in 0..10_000 {
        assert_eq!(index.find(&near(2 * n).id).unwrap().all.len(), 1, "{n}");
        assert!(index.find(&near(2 * n + 1).id).unwrap().all.is_empty());
    }
    assert!((0..10).all(|n| homes(&index, n) == [1]));
}

#[test]
fn a_page_that_was_changed_is_not_believed_and_the_others_are() {
    let place = Place::new();
    let pieces: Vec<Located> = (0..5000).map(located).collect();
    let sealed = place.seal(1, &[(1, pieces)]);
    drop(place.open(&sealed, true).unwrap());
    let path = place.path(&names::segment(1).unwrap());
    let good = std::fs::read(&path).unwrap();
    for at in (100..good.len()).step_by(29_989) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        place
            .backend
            .put(&names::segment(1).unwrap(), &bad)
            .unwrap();
        let page = (at - 16) / crate::PAGE;
        let Ok(segment) = place.open(&sealed, true) else {
            assert_eq!(page, 0, "only the table is read at opening");
            continue;
        };
        let mut index = Index::default();
        index.add(segment);
        let (mut served, mut told) = (0, 0);
        for n in (0..5000).step_by(10) {
            let found = index.find(&located(n).id).unwrap();
            assert!(found.all.iter().all(|(_, at)| *at == located(n)));
            served += found.all.len();
            told += usize::from(found.damage.is_some_and(|e| e.kind() == Kind::Damage));
        }
        assert!(
            served > 250 && served + told == 500,
            "byte {at}: {served} and {told}"
        );
    }
}

#[test]
fn what_is_derived_is_made_anew_where_it_is_missing_changed_or_of_another_segment() {
    let place = Place::new();
    let of = |from: u32| (from..from + 3000).map(located).collect();
    let sealed = place.seal(1, &[(1, of(0))]);
    let other = place.seal(2, &[(2, of(3000))]);
    place.index(&[sealed.clone(), other]);
    let derived = names::bloom(1).unwrap();
    let path = place.path(&derived);
    let good = std::fs::read(&path).unwrap();
    assert!(good.len() < 3 * 32 + 3000 * 10 / 8 + 300, "{}", good.len());
    let foreign = std::fs::read(place.path(&names::bloom(2).unwrap())).unwrap();
    let mut cases = vec![
        None,
        Some(Vec::new()),
        Some(foreign),
        Some(good[..good.len() - 1].to_vec()),
    ];
    for at in (0..good.len()).step_by(61) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        cases.push(Some(bad));
    }
    for (n, case) in cases.into_iter().enumerate() {
        std::fs::remove_file(&path).unwrap();
        if let Some(bytes) = &case {
            place.backend.put(&derived, bytes).unwrap();
        }
        let mut index = Index::default();
        index.add(place.open(&sealed, false).unwrap());
        assert!(
            (0..3000).step_by(100).all(|n| homes(&index, n) == [1]),
            "case {n}"
        );
        assert_eq!(std::fs::read(&path).ok(), case, "reading writes nothing");
        drop(place.open(&sealed, true).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), good, "case {n}");
    }
}

#[test]
fn eight_segments_of_like_size_become_one_that_says_what_they_said() {
    let place = Place::new();
    let mut current = Current::default();
    let mut sealed = Vec::new();
    for n in 0..8u32 {
        // Each has a block of its own, and all have one in common.
        let own = (n * 900..n * 900 + 900).map(located).collect();
        let common = (10_000..10_100).map(located).collect();
        sealed.push(place.seal(n + 1, &[(n as u8, own), (99, common)]));
    }
    for s in &sealed {
        current.segments.insert(s.number, s.clone());
        current.blocks.extend(s.blocks.iter().copied());
    }
    // One block was collected, and its segment still lists it.
    current.blocks.remove(&BlockId::from([3; 32]));
    let mut index = place.index(&sealed[..7]);
    assert!(
        index.merge(0, &current).unwrap().is_none(),
        "seven are no reason"
    );
    index.add(place.open(&sealed[7], true).unwrap());
    assert!(
        index.merge(1, &current).unwrap().is_none(),
        "of another epoch"
    );
    let merge = index.merge(0, &current).unwrap().unwrap();
    assert_eq!(merge.replaced, [1, 2, 3, 4, 5, 6, 7, 8]);
    let live: Vec<(BlockId, u64)> = current.blocks.clone().into_iter().collect();
    assert_eq!(merge.blocks, live);
    let one = Segment::decode(&merge.body).unwrap();
    assert_eq!(one.entries.len(), 7 * 900 + 100);
    assert_eq!(one.encode().unwrap(), merge.body);
    let all: Vec<(u8, Vec<Located>)> = [0u8, 1, 2, 4, 5, 6, 7]
        .map(|n| {
            (
                n,
                (u32::from(n) * 900..u32::from(n) * 900 + 900)
                    .map(located)
                    .collect(),
            )
        })
        .into_iter()
        .chain([(99, (10_000..10_100).map(located).collect())])
        .collect();
    let again = place.seal(9, &all);
    assert_eq!(again.trust, place.sealer.mac(0, &merge.body).unwrap());
    index.replace(&merge.replaced, place.open(&again, true).unwrap());
    for n in (0..7200).chain(10_000..10_100) {
        let gone = (2700..3600).contains(&n);
        let home = if n < 7200 { (n / 900) as u8 } else { 99 };
        assert_eq!(
            homes(&index, n),
            if gone { vec![] } else { vec![home] },
            "{n}"
        );
    }
    current.segments = [(9, again)].into();
    assert!(
        index.merge(0, &current).unwrap().is_none(),
        "one is no reason"
    );
}

#[test]
fn a_segment_that_is_not_the_one_the_log_names_is_refused() {
    let place = Place::new();
    let of = |n: u32| vec![(1, (n..n + 3000).map(located).collect())];
    let (mut sealed, other) = (place.seal(1, &of(0)), place.seal(2, &of(1)));
    drop(place.open(&sealed, true).unwrap());
    let refused = |sealed: &SealedSegment| {
        let e = place.open(sealed, true).err().unwrap();
        assert_eq!(e.kind(), Kind::Damage, "{e}");
    };
    refused(&SealedSegment {
        trust: other.trust,
        ..sealed.clone()
    });
    refused(&SealedSegment {
        bytes: sealed.bytes + 1,
        ..sealed.clone()
    });
    refused(&SealedSegment {
        number: 3,
        ..sealed.clone()
    });
    sealed.blocks[0].0 = [2; 32].into();
    refused(&sealed);
}
