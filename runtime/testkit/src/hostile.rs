//! Bytes that nobody would write, for every decoder (reliability.md, P8).

use crate::{most_held, Random};
use asl_core::Result;
use std::fmt::Debug;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Bytes a decoder may hold at most while it reads, beside its input (reliability.md, P8).
pub const MOST_HELD: usize = 16 << 20;

/// Values at which heads, lengths and signs turn.
const TURNS: [u64; 9] = [
    0,
    1,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];

/// First bytes of CBOR items that claim the most: lengths of eight bytes, no length, a break.
const HEADS: [u8; 10] = [0x1b, 0x3b, 0x5b, 0x7b, 0x9b, 0xbb, 0x5f, 0x9f, 0xbf, 0xff];

/// Writes what a decoder read.
pub type Encode<'a, T> = &'a dyn Fn(&T) -> Vec<u8>;

/// One decoder, what it reads well, and how spoiled bytes are made to pass its outer checks.
pub struct Decoder<'a, T> {
    /// Its name, for the report.
    pub name: &'a str,
    /// Bytes that it takes: at least one.
    pub good: Vec<Vec<u8>>,
    /// Makes checksums right again, so that the rules behind them are reached.
    pub mend: fn(Vec<u8>) -> Vec<u8>,
    /// The decoder.
    pub decode: &'a dyn Fn(&[u8]) -> Result<T>,
    /// Writes what was read: it must be the bytes it was read from. None where other bytes than
    /// the writer's may be read.
    pub encode: Option<Encode<'a, T>>,
}

/// What trying a decoder came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Spoiled inputs that were refused.
    pub refused: u64,
    /// Spoiled inputs that were read all the same: what was changed is not said to be wrong.
    pub read: u64,
    /// The most bytes held at once.
    pub most_held: usize,
}

impl<T: Debug> Decoder<'_, T> {
    /// Reads every good one, then `count` spoiled ones of a seed, and prints one line about it.
    ///
    /// # Panics
    /// Where a good one is refused; and where a spoiled one breaks the reader, is read and spelled
    /// otherwise, or costs more than [`MOST_HELD`]: its bytes are printed.
    pub fn try_spoiled(&self, seed: u64, count: u64) -> Tried {
        for good in &self.good {
            assert!(
                (self.decode)(good).is_ok(),
                "{}: a good one is refused",
                self.name
            );
        }
        let mut random = Random::new(seed);
        let mut tried = Tried {
            refused: 0,
            read: 0,
            most_held: 0,
        };
        for n in 0..count {
            let bytes = (self.mend)(spoil(&mut random, &self.good));
            let story = || format!("{}: number {n} of seed {seed}: {}", self.name, hex(&bytes));
            let work = || catch_unwind(AssertUnwindSafe(|| (self.decode)(&bytes)));
            let (answer, held) = most_held(work);
            assert!(held <= MOST_HELD, "holds {held} bytes: {}", story());
            tried.most_held = tried.most_held.max(held);
            match answer {
                Err(_) => panic!("it panics: {}", story()),
                Ok(Err(_)) => tried.refused += 1,
                Ok(Ok(value)) => {
                    tried.read += 1;
                    if let Some(encode) = self.encode {
                        assert!(
                            encode(&value) == bytes,
                            "two spellings of {value:?}: {}",
                            story()
                        );
                    }
                }
            }
        }
        println!(
            "{}: {} refused, {} read, at most {} KiB held",
            self.name,
            tried.refused,
            tried.read,
            tried.most_held >> 10
        );
        tried
    }
}

/// One of the good ones with one to four changes.
pub fn spoil(random: &mut Random, good: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = pick(random, good).cloned().unwrap_or_default();
    for _ in 0..=random.below(3) {
        change(random, &mut bytes, good);
    }
    bytes
}

fn pick<'a, T>(random: &mut Random, of: &'a [T]) -> Option<&'a T> {
    of.get(usize::try_from(random.below(of.len() as u64)).unwrap_or(0))
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, good: &[Vec<u8>]) {
    let place = |random: &mut Random, bytes: &[u8]| {
        usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap_or(0)
    };
    let at = place(random, bytes);
    let other = place(random, bytes);
    let (from, to) = (at.min(other), at.max(other));
    match random.below(10) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.next_u64() as u8;
            }
        }
        3 => {
            if let (Some(byte), Some(head)) = (bytes.get_mut(at), pick(random, &HEADS)) {
                *byte = *head;
            }
        }
        4 | 5 => {
            let value = *pick(random, &TURNS).unwrap_or(&0);
            let wide = match random.coin() {
                true => value.to_le_bytes(),
                false => value.to_be_bytes(),
            };
            let width = 1usize << random.below(4);
            let part = match random.coin() {
                true => wide.get(..width),
                false => wide.get(8 - width..),
            };
            let space = bytes.iter_mut().skip(at);
            space
                .zip(part.unwrap_or_default())
                .for_each(|(b, v)| *b = *v);
        }
        6 => drop(bytes.drain(from..to)),
        7 => {
            let again: Vec<u8> = bytes.get(from..to).unwrap_or_default().to_vec();
            bytes.splice(to..to, again);
        }
        8 => {
            let foreign = pick(random, good).cloned().unwrap_or_default();
            let tail = place(random, &foreign);
            bytes.truncate(at);
            bytes.extend_from_slice(foreign.get(tail..).unwrap_or_default());
        }
        _ => bytes.truncate(at),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use asl_core::{Error, Kind};

    fn tried(decode: &dyn Fn(&[u8]) -> Result<Vec<u8>>) -> Tried {
        Decoder {
            name: "sample",
            good: vec![b"a sample of good bytes".to_vec(), vec![7; 40]],
            mend: |bytes| bytes,
            decode,
            encode: Some(&|value: &Vec<u8>| value.clone()),
        }
        .try_spoiled(1, 500)
    }

    fn is_caught(decode: &dyn Fn(&[u8]) -> Result<Vec<u8>>) -> bool {
        catch_unwind(AssertUnwindSafe(|| tried(decode))).is_err()
    }

    #[test]
    fn a_decoder_that_panics_grows_or_spells_otherwise_is_caught() {
        let honest = |bytes: &[u8]| Ok(bytes.to_vec());
        assert!(tried(&honest).read == 500);
        let short = |bytes: &[u8]| Err(Error::new(Kind::Invalid, "read", "it", bytes.len()));
        let refuses = |bytes: &[u8]| {
            if bytes.len() < 22 {
                short(bytes)
            } else {
                honest(bytes)
            }
        };
        let Tried { refused, read, .. } = tried(&refuses);
        assert!(refused > 50 && read > 50, "{refused} {read}");
        assert!(is_caught(&|bytes| Ok(vec![bytes[21]])));
        assert!(is_caught(&|bytes| Ok(bytes
            .iter()
            .map(|b| b & 0x7f)
            .collect())));
        let grows = |bytes: &[u8]| {
            let held = vec![0u8; usize::from(bytes.first() == Some(&0xff)) * (MOST_HELD + 1)];
            drop(std::hint::black_box(held));
            honest(bytes)
        };
        assert!(is_caught(&grows));
    }

    #[test]
    fn a_seed_repeats_what_it_spoiled() {
        let take = |seed| spoil(&mut Random::new(seed), &[vec![1; 100], vec![2; 50]]);
        assert!((0..50).all(|seed| take(seed) == take(seed)));
        assert!((0..50).any(|seed| take(seed) != take(seed + 1)));
    }
}
