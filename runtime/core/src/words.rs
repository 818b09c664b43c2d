//! Fingerprints and log heads as words, for reading over the phone.

/// Says the first 132 bits of an id as 12 BIP-39 English words, the same on card, screen and host.
///
/// formats.md, "Keys and words". No checksum: both sides compare all twelve.
pub fn words(id: &[u8; 32]) -> String {
    let list = bip39::Language::English.word_list();
    let mut said = Vec::with_capacity(12);
    for i in 0..12usize {
        let index = (0..11).fold(0usize, |n, b| {
            let bit = i * 11 + b;
            n << 1 | usize::from(id[bit / 8] >> (7 - bit % 8) & 1)
        });
        said.push(list[index]);
    }
    said.join(" ")
}

/// Words of the list: each stands for 11 bits.
pub const WORDS: u16 = 2048;

/// The word with this number, from 0; `None` from [`WORDS`] on.
pub fn word(number: u16) -> Option<&'static str> {
    let list = bip39::Language::English.word_list();
    list.get(usize::from(number)).copied()
}

/// The number of a word, from 0, in any case of letters; `None` where the list has it not.
pub fn word_number(word: &str) -> Option<u16> {
    let word = word.to_ascii_lowercase();
    let list = bip39::Language::English.word_list();
    let at = list.binary_search(&word.as_str()).ok()?;
    u16::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_bip39_list_in_bit_order() {
        assert_eq!(words(&[0; 32]), ["abandon"; 12].join(" "));
        assert_eq!(words(&[0xff; 32]), ["zoo"; 12].join(" "));
        let mut one = [0u8; 32];
        one[1] = 0b0010_0000;
        assert!(words(&one).starts_with("ability abandon"));
    }

    #[test]
    fn every_word_has_its_number_and_no_other_text_has_one() {
        for number in 0..WORDS {
            assert_eq!(word_number(word(number).unwrap()), Some(number));
        }
        assert_eq!(word(WORDS), None);
        assert_eq!(word_number("ZOO"), Some(2047));
        for text in ["", "zo", "zoos", "\u{17f}"] {
            assert_eq!(word_number(text), None);
        }
    }

    #[test]
    fn one_changed_bit_among_the_first_132_changes_the_words() {
        let base = words(&[7; 32]);
        for bit in 0..132 {
            let mut id = [7u8; 32];
            id[bit / 8] ^= 1 << (7 - bit % 8);
            assert_ne!(words(&id), base, "bit {bit}");
        }
    }
}
