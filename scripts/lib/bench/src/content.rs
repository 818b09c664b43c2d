//! Bytes and choices that are the same on every machine: a BLAKE3 stream of a name.

use std::io::Read;

/// An endless stream of incompressible bytes, and what is chosen by it.
pub struct Random(blake3::OutputReader);

impl Random {
    /// The stream of this name.
    pub fn new(name: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("asl-bench data set");
        hasher.update(name.as_bytes());
        Random(hasher.finalize_xof())
    }

    /// Fills with bytes that no compressor makes smaller.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    /// As many such bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        least + u64::from_le_bytes(bytes) % (most - least + 1)
    }

    /// A random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.between(0, i as u64) as usize);
        }
    }

    /// A reader of as many bytes.
    pub fn reader(&mut self, length: u64) -> impl Read + '_ {
        self.0.by_ref().take(length)
    }
}

/// Words as often as in prose (the n-th half as often as the n/2-th), so that text of them
/// compresses about like logs and letters: three to four times.
pub struct Words(Vec<String>);

const SYLLABLES: [&str; 20] = [
    "ka", "ri", "to", "men", "sel", "fo", "an", "der", "ing", "st", "pro", "con", "ver", "lu",
    "mi", "na", "er", "o", "e", "ti",
];

/// Places of the table that a 16-bit number picks from.
const PLACES: usize = 1 << 16;

/// Different words.
const WORDS: usize = 4096;

impl Words {
    /// The one table of words.
    pub fn new() -> Self {
        let mut random = Random::new("words");
        let sum: f64 = (0..WORDS).map(|i| 1.0 / (i as f64 + 3.0)).sum();
        let mut table = Vec::with_capacity(PLACES + WORDS);
        for i in 0..WORDS {
            let mut word: String = (0..random.between(1, 4))
                .map(|_| SYLLABLES[random.between(0, SYLLABLES.len() as u64 - 1) as usize])
                .collect();
            word.push(' ');
            let share = PLACES as f64 / (i as f64 + 3.0) / sum;
            let places = (share.round() as usize).max(1);
            table.extend(std::iter::repeat_n(word, places));
        }
        let most = table.first().cloned().unwrap_or_default();
        table.resize(PLACES, most);
        Words(table)
    }

    /// Text of exactly this length.
    pub fn text(&self, random: &mut Random, length: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(length + 16);
        let mut picks = [0; 4096];
        while text.len() < length {
            random.fill(&mut picks);
            for pick in picks.chunks_exact(2) {
                let place = usize::from(pick[0]) << 8 | usize::from(pick[1]);
                text.extend_from_slice(self.0[place].as_bytes());
            }
            text.push(b'\n');
        }
        text.truncate(length);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_compresses_like_prose_and_random_bytes_do_not() {
        let mut random = Random::new("test");
        let text = Words::new().text(&mut random, 1 << 20);
        let packed = zstd::bulk::compress(&text, 1).unwrap().len();
        assert!(
            (2.0..5.0).contains(&(text.len() as f64 / packed as f64)),
            "{packed}"
        );
        let noise = random.bytes(1 << 20);
        assert!(zstd::bulk::compress(&noise, 1).unwrap().len() >= noise.len());
    }
}
