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
    fn one_changed_bit_among_the_first_132_changes_the_words() {
        let base = words(&[7; 32]);
        for bit in 0..132 {
            let mut id = [7u8; 32];
            id[bit / 8] ^= 1 << (7 - bit % 8);
            assert_ne!(words(&id), base, "bit {bit}");
        }
    }
}
