//! A filter over the ids of a segment: it says "not here" of nearly every id that is not.
//!
//! A Bloom filter in lines of 64 bytes, so that asking costs one line of the memory: about 10 bits
//! an id, 7 of them set. Ids are uniform, so their own bytes are the hashes; one in sixty strangers is let
//! through.

use asl_core::ChunkId;

/// Bytes of a line.
const LINE: usize = 64;
/// Ids for each line: 64 x 8 / 10.
const IDS: u64 = 51;
/// Bits set for each id.
const BITS: u32 = 7;

/// The filter of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter(Vec<u8>);

impl Filter {
    /// An empty one for so many ids.
    pub(crate) fn for_ids(ids: u64) -> Filter {
        let lines = usize::try_from(ids.div_ceil(IDS).max(1)).unwrap_or(1);
        Filter(vec![0; lines * LINE])
    }

    /// A filter from its bytes; `None` where there is no whole line.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Option<Filter> {
        let whole = !bytes.is_empty() && bytes.len().is_multiple_of(LINE);
        whole.then_some(Filter(bytes))
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds an id.
    pub(crate) fn add(&mut self, id: &ChunkId) {
        let (line, bits) = self.place(id);
        for (byte, mask) in bits {
            if let Some(b) = self.0.get_mut(line + byte) {
                *b |= mask;
            }
        }
    }

    /// Whether the id may be one that was added.
    pub(crate) fn may_hold(&self, id: &ChunkId) -> bool {
        let (line, mut bits) = self.place(id);
        bits.all(|(byte, mask)| self.0.get(line + byte).is_some_and(|b| b & mask != 0))
    }

    /// Where the id's line begins, and byte and bit of each of its bits in it.
    fn place(&self, id: &ChunkId) -> (usize, impl Iterator<Item = (usize, u8)>) {
        let [_, _, _, _, _, _, _, _, line @ .., a, b, c, d, e, f, g, h] = id.as_bytes();
        let line = line.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b));
        let lines = (self.0.len() / LINE) as u128;
        let line = ((u128::from(line) * lines) >> 64) as usize * LINE;
        let bits = u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
        let nth = move |n: u32| {
            let bit = (bits >> (9 * n)) as usize % (8 * LINE);
            (bit / 8, 1u8 << (bit % 8))
        };
        (line, (0..BITS).map(nth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> ChunkId {
        blake3::hash(&n.to_le_bytes()).into()
    }

    #[test]
    fn every_id_that_was_added_may_be_there_and_few_others() {
        for n in [1, 50, 51, 10_000] {
            let mut filter = Filter::for_ids(u64::from(n));
            (0..n).for_each(|i| filter.add(&id(i)));
            assert!((0..n).all(|i| filter.may_hold(&id(i))));
            let strangers = (n..n + 10_000).filter(|i| filter.may_hold(&id(*i)));
            assert!(strangers.count() < 300, "of 10000, with {n} ids");
            assert!(filter.bytes().len() as u32 <= n * 128 / 100 + 64);
            let again = Filter::from_bytes(filter.bytes().to_vec());
            assert_eq!(again, Some(filter));
        }
    }

    #[test]
    fn bytes_that_are_no_lines_are_no_filter() {
        assert_eq!(Filter::from_bytes(Vec::new()), None);
        assert_eq!(Filter::from_bytes(vec![0; 65]), None);
    }
}
