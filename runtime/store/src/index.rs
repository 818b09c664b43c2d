//! The index in memory: which piece lies in which block (formats.md, "Index segments").
//!
//! Runs of entries sorted by id. A new segment is a new run; runs of like size are merged, so a
//! lookup asks few of them. Memory: 56 bytes an entry and 41 a block.

use crate::block::Located;
use crate::segment::Segment;
use asl_core::{BlockId, ChunkId};
use std::collections::HashMap;

#[derive(Clone, Copy)]
struct Row {
    at: Located,
    block: u32,
}

/// A block of the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    pub(crate) id: BlockId,
    pub(crate) epoch: u32,
}

/// Where pieces lie, as far as trusted segments say.
#[derive(Default)]
pub(crate) struct Index {
    blocks: Vec<Home>,
    rows_of: HashMap<BlockId, u32>,
    runs: Vec<Vec<Row>>,
}

impl Index {
    /// Takes in a segment whose trust value holds.
    pub(crate) fn add(&mut self, segment: &Segment) {
        let mut rows = Vec::with_capacity(segment.entries.len());
        let homes: Vec<u32> = segment
            .blocks
            .iter()
            .map(|id| self.home(*id, segment.epoch))
            .collect();
        for e in &segment.entries {
            if let Some(block) = homes.get(e.block as usize) {
                rows.push(Row {
                    at: e.at,
                    block: *block,
                });
            }
        }
        self.runs.push(rows);
        while let [.., a, b] = self.runs.as_slice() {
            if a.len() > 2 * b.len() {
                break;
            }
            let (Some(b), Some(a)) = (self.runs.pop(), self.runs.pop()) else {
                break;
            };
            self.runs.push(merge(a, b));
        }
    }

    fn home(&mut self, id: BlockId, epoch: u32) -> u32 {
        let blocks = &mut self.blocks;
        *self.rows_of.entry(id).or_insert_with(|| {
            blocks.push(Home { id, epoch });
            // 2^32 blocks of at least one piece do not fit in memory.
            (blocks.len() - 1) as u32
        })
    }

    /// Every place of a piece, the block with the smallest id first.
    pub(crate) fn find(&self, id: &ChunkId) -> Vec<(Home, Located)> {
        let mut found: Vec<(Home, Located)> = Vec::new();
        for run in &self.runs {
            let first = run.partition_point(|r| r.at.id < *id);
            let rows = run.get(first..).unwrap_or_default();
            for row in rows.iter().take_while(|r| r.at.id == *id) {
                if let Some(home) = self.blocks.get(row.block as usize) {
                    found.push((*home, row.at));
                }
            }
        }
        found.sort_by_key(|(home, _)| home.id);
        found
    }
}

fn merge(a: Vec<Row>, b: Vec<Row>) -> Vec<Row> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let next = if x.at.id <= y.at.id {
            a.next()
        } else {
            b.next()
        };
        out.extend(next);
    }
    out.extend(a);
    out.extend(b);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Codec;

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

    #[test]
    fn every_piece_of_many_segments_is_found_and_no_other() {
        let mut index = Index::default();
        for s in 0..100u32 {
            let pieces: Vec<Located> = (s * 10..s * 10 + 10).map(located).collect();
            let block = BlockId::from([s as u8; 32]);
            index.add(&Segment::of(0, [(block, &pieces[..])]).unwrap());
        }
        assert!(index.runs.len() < 12, "{}", index.runs.len());
        for n in 0..1000 {
            let found = index.find(&located(n).id);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].1, located(n));
            assert_eq!(found[0].0.id, BlockId::from([(n / 10) as u8; 32]));
        }
        assert!(index.find(&located(1000).id).is_empty());
    }

    #[test]
    fn a_piece_in_two_blocks_goes_by_block_id() {
        let mut index = Index::default();
        for block in [9u8, 1, 5] {
            let of = [(BlockId::from([block; 32]), &[located(0)][..])];
            index.add(&Segment::of(0, of).unwrap());
        }
        let found = index.find(&located(0).id);
        let order: Vec<u8> = found.iter().map(|(h, _)| h.id.as_bytes()[0]).collect();
        assert_eq!(order, [1, 5, 9]);
    }
}
