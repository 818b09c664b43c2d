//! Where FastCDC v2020 cuts, with the default gear table and normalisation level 1.
//!
//! The cuts are those of the `fastcdc` crate, whose tables these are; a test holds them together.
//! They are found faster: a gear hash remembers no more than 64 bytes, so several stretches are
//! hashed side by side, where one alone would wait for each of its sums.

use crate::Chunking;
use fastcdc::v2020::{get_gear_with_seed, select_masks, Normalization};
use std::ops::Range;
use std::sync::LazyLock;

/// Stretches that are hashed side by side.
const LANES: usize = 4;
/// Bytes of one.
const STRETCH: usize = 1024;
/// Bytes that a hash remembers: each that comes shifts it by one bit.
const MEMORY: usize = 64;

static GEAR: LazyLock<[u64; 256]> = LazyLock::new(|| {
    let mut gear = [0; 256];
    for (to, from) in gear.iter_mut().zip(get_gear_with_seed(0).0.iter()) {
        *to = *from;
    }
    gear
});

/// Finds the cuts of one domain.
#[derive(Clone, Copy)]
pub(crate) struct Cutter {
    min: usize,
    /// A run of data up to this size is one chunk.
    pub(crate) avg: usize,
    /// No chunk is longer.
    pub(crate) max: usize,
    masks: (u64, u64),
    gear: &'static [u64; 256],
}

impl Cutter {
    pub(crate) fn new(c: Chunking) -> Self {
        let avg = c.avg as usize;
        Cutter {
            min: c.min as usize,
            avg,
            max: c.max as usize,
            masks: select_masks(avg, Normalization::Level1),
            gear: &GEAR,
        }
    }

    /// The length of the first chunk; right only with `max` bytes or the rest of the run at hand.
    pub(crate) fn first(&self, bytes: &[u8]) -> usize {
        let bytes = bytes.get(..self.max).unwrap_or(bytes);
        if bytes.len() <= self.min {
            return bytes.len();
        }
        // Bytes are tested in pairs: one that is left over is not.
        let end = bytes.len() & !1;
        let middle = self.avg.min(end);
        self.scan(bytes, self.min..middle, self.masks.0)
            .or_else(|| self.scan(bytes, middle..end, self.masks.1))
            .unwrap_or(bytes.len())
    }

    /// The first place in the range whose hash fits the mask.
    fn scan(&self, bytes: &[u8], range: Range<usize>, mask: u64) -> Option<usize> {
        let mut at = range.start;
        while range.end.saturating_sub(at) >= LANES * STRETCH {
            if let Some(found) = self.scan_lanes(bytes, at, mask) {
                return Some(found);
            }
            at += LANES * STRETCH;
        }
        let hash = self.hash_before(bytes, at);
        self.scan_on(hash, bytes.get(at..range.end)?, mask)
            .map(|n| at + n)
    }

    /// The same over the next stretches.
    fn scan_lanes(&self, bytes: &[u8], at: usize, mask: u64) -> Option<usize> {
        let mut hashes = [0; LANES];
        let mut lanes = [&[0u8; STRETCH]; LANES];
        for (n, (hash, lane)) in hashes.iter_mut().zip(&mut lanes).enumerate() {
            let from = at + n * STRETCH;
            *hash = self.hash_before(bytes, from);
            *lane = bytes.get(from..)?.first_chunk()?;
        }
        for n in 0..STRETCH {
            let mut fits = false;
            for (hash, lane) in hashes.iter_mut().zip(&lanes) {
                *hash = self.next(*hash, lane[n]);
                fits |= *hash & mask == 0;
            }
            if fits {
                return self.first_of(hashes, &lanes, n, mask).map(|n| at + n);
            }
        }
        None
    }

    /// Which place comes first, where a lane fits at its byte `n`: those before it are scanned on.
    #[cold]
    fn first_of(
        &self,
        hashes: [u64; LANES],
        lanes: &[&[u8; STRETCH]; LANES],
        n: usize,
        mask: u64,
    ) -> Option<usize> {
        let mut begin = 0;
        for (hash, lane) in hashes.into_iter().zip(lanes) {
            if hash & mask == 0 {
                return Some(begin + n);
            }
            let rest = lane.get(n + 1..).unwrap_or_default();
            if let Some(more) = self.scan_on(hash, rest, mask) {
                return Some(begin + n + 1 + more);
            }
            begin += STRETCH;
        }
        None
    }

    fn scan_on(&self, mut hash: u64, bytes: &[u8], mask: u64) -> Option<usize> {
        bytes.iter().position(|byte| {
            hash = self.next(hash, *byte);
            hash & mask == 0
        })
    }

    /// The hash with all bytes before a place in it, of those that are hashed at all.
    fn hash_before(&self, bytes: &[u8], at: usize) -> u64 {
        let from = at.saturating_sub(MEMORY).max(self.min);
        let before = bytes.get(from..at).unwrap_or_default();
        before.iter().fold(0, |hash, byte| self.next(hash, *byte))
    }

    #[inline]
    fn next(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.gear[usize::from(byte)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;
    use fastcdc::v2020::cut;

    fn by_the_crate(c: Chunking, bytes: &[u8]) -> usize {
        let (s, l) = select_masks(c.avg as usize, Normalization::Level1);
        let (min, avg, max) = (c.min as usize, c.avg as usize, c.max as usize);
        cut(bytes, min, avg, max, s, l, s << 1, l << 1).1
    }

    fn same_cuts(c: Chunking, bytes: &[u8]) {
        let cutter = Cutter::new(c);
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = by_the_crate(c, rest);
            assert_eq!(cutter.first(rest), length, "{c:?}, {} left", rest.len());
            rest = &rest[length..];
        }
    }

    fn sizes() -> Vec<Chunking> {
        let of = |(min, avg, max)| Chunking { min, avg, max };
        let sizes = [
            (64, 256, 1024),
            (64, 64 << 10, 64 << 10),
            (1024, 8192, 8192),
            (2048, 8192, 65536),
            (16 << 10, 64 << 10, 256 << 10),
            (512 << 10, 2 << 20, 8 << 20),
        ];
        sizes.map(of).to_vec()
    }

    #[test]
    fn the_cuts_are_those_of_the_crate_whatever_the_bytes() {
        let n = 3_000_001;
        let few: Vec<u8> = noise(2, n).iter().map(|b| b & 3).collect();
        let text = b"and so on, and so on; ".repeat(n / 22);
        for bytes in [noise(1, n), few, text, vec![0; n], vec![0xff; n]] {
            for c in sizes() {
                same_cuts(c, &bytes);
            }
        }
    }

    #[test]
    fn the_cuts_are_those_of_the_crate_whatever_the_length() {
        let bytes = noise(3, 20_000);
        let few: Vec<u8> = bytes.iter().map(|b| b & 7).collect();
        let small = [(64, 256, 1024), (64, 4096, 8192), (4096, 4096, 16384)];
        for (min, avg, max) in small {
            let c = Chunking { min, avg, max };
            for length in (0..200)
                .chain(4000..4300)
                .chain(8100..8300)
                .chain(16300..16500)
            {
                for bytes in [&bytes[..length], &few[..length], &bytes[length..]] {
                    assert_eq!(Cutter::new(c).first(bytes), by_the_crate(c, bytes));
                }
            }
        }
    }
}
