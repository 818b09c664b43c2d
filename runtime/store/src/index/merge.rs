//! Merging segments (formats.md, "Index segments"): where eight are of like size they become one,
//! so a piece's entry is written anew a few times at most and few segments are live.

use super::paged::{Paged, Walk};
use crate::segment::{self, Entry};
use asl_core::{BlockId, Result};
use std::collections::BTreeMap;

/// Segments of like size that are merged.
const WIDTH: usize = 8;
/// A segment with fewer entries is of the lowest size; each next is [`WIDTH`] times as large.
const BASE: u64 = 1 << 13;
/// Entries of a merged segment at most: 28 MiB of body. Larger ones stay as they are.
const MOST: u64 = 1 << 19;
/// Blocks of a merged segment at most: its record stays far below a frame.
const MOST_BLOCKS: usize = 40_000;

/// Segments of one epoch that are to become one; none where it is not time.
pub(super) fn due(segments: &[&Paged]) -> Vec<u32> {
    let mut size = BASE;
    while size <= MOST {
        let of_size = |s: &&&Paged| (size / WIDTH as u64..size).contains(&s.entries());
        let smallest = |s: &&&Paged| size == BASE && s.entries() < BASE;
        let mut alike: Vec<&&Paged> = segments
            .iter()
            .filter(|s| of_size(s) || smallest(s))
            .collect();
        alike.sort_by_key(|s| s.number);
        if alike.len() >= WIDTH {
            let (mut entries, mut blocks) = (0, 0);
            let fits = |s: &&&Paged| {
                entries += s.entries();
                blocks += s.sealed().blocks.len();
                entries <= MOST && blocks <= MOST_BLOCKS
            };
            let fitting: Vec<u32> = alike
                .into_iter()
                .take_while(fits)
                .map(|s| s.number)
                .collect();
            if fitting.len() > 1 {
                return fitting;
            }
        }
        size *= WIDTH as u64;
    }
    Vec::new()
}

/// Blocks by id, with their sizes.
pub(crate) type Blocks = Vec<(BlockId, u64)>;

/// The body that lists those blocks of the segments that are live, and what it lists.
///
/// The segments are read page by page; only the body is held whole.
///
/// # Errors
/// `Damage` where a page of a segment is not what was sealed; `Io`.
pub(super) fn body(
    epoch: u32,
    segments: &[&Paged],
    live: &dyn Fn(&BlockId) -> bool,
) -> Result<(Vec<u8>, Blocks)> {
    let listed = segments.iter().flat_map(|s| &s.sealed().blocks);
    let sizes: BTreeMap<BlockId, u64> = listed.filter(|(id, _)| live(id)).copied().collect();
    let rows: BTreeMap<BlockId, u32> = sizes.keys().copied().zip(0..).collect();
    let mut sources = segments
        .iter()
        .map(|s| Source::begin(s, &rows))
        .collect::<Result<Vec<Source<'_>>>>()?;
    let mut out = segment::begin(epoch, sizes.keys())?;
    let (mut count, mut last) = (0u32, None);
    loop {
        let heads = sources.iter_mut().filter(|s| s.next.is_some());
        let Some(first) = heads.min_by_key(|s| s.next.map(|e| (e.at.id, e.block))) else {
            break;
        };
        let Some(entry) = first.next else { break };
        first.advance(&rows)?;
        // A block that two segments list has its entries twice.
        if last != Some((entry.at.id, entry.block)) {
            segment::push(&mut out, &entry);
            count += 1;
            last = Some((entry.at.id, entry.block));
        }
    }
    segment::end(&mut out, count);
    Ok((out, sizes.into_iter().collect()))
}

/// The entries of one segment, as the merged one has them.
struct Source<'a> {
    segment: &'a Paged,
    walk: Walk<'a>,
    next: Option<Entry>,
}

impl<'a> Source<'a> {
    fn begin(segment: &'a Paged, rows: &BTreeMap<BlockId, u32>) -> Result<Source<'a>> {
        let mut source = Source {
            segment,
            walk: segment.walk(),
            next: None,
        };
        source.advance(rows)?;
        Ok(source)
    }

    /// Goes on to the next entry whose block the merged segment lists.
    fn advance(&mut self, rows: &BTreeMap<BlockId, u32>) -> Result<()> {
        self.next = None;
        while let Some(entry) = self.walk.next()? {
            let block = self.segment.sealed().blocks.get(entry.block as usize);
            if let Some(row) = block.and_then(|(id, _)| rows.get(id)) {
                self.next = Some(Entry {
                    block: *row,
                    at: entry.at,
                });
                break;
            }
        }
        Ok(())
    }
}
