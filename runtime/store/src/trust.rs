//! Trust values by pages: BLAKE3 is a tree, so 32 bytes kept of each 64 KiB of a plaintext prove
//! themselves against the trust value of the whole, and each page against its 32 bytes.

use asl_core::{Error, Kind, Result, TrustValue};
use blake3::hazmat::{
    hash_derive_key_context, merge_subtrees_non_root, merge_subtrees_root, HasherExt, Mode,
};
use blake3::Hasher;

/// Bytes of a page: 64 KiB, which is also the chunk of an age stream.
pub const PAGE: usize = 64 << 10;

/// What is kept of a page.
pub type PageValue = [u8; 32];

/// What trust values of an epoch are keyed with.
#[derive(Clone, Copy)]
pub enum TrustKey<'a> {
    /// Of the plain form: derive-key `asl.plain-trust/1`, which anybody can compute.
    Plain,
    /// An epoch's MAC key.
    Keyed(&'a [u8; 32]),
}

const PLAIN: &str = "asl.plain-trust/1";

impl TrustKey<'_> {
    fn hasher(&self) -> Hasher {
        match self {
            TrustKey::Plain => Hasher::new_derive_key(PLAIN),
            TrustKey::Keyed(key) => Hasher::new_keyed(key),
        }
    }

    /// The trust value of a whole plaintext.
    pub fn whole(&self, plain: &[u8]) -> TrustValue {
        self.hasher().update(plain).finalize().into()
    }

    /// The value of a page of a plaintext that has more than one.
    ///
    /// # Errors
    /// `Invalid` where it is empty or longer than [`PAGE`].
    pub fn page(&self, number: u32, page: &[u8]) -> Result<PageValue> {
        if page.is_empty() || page.len() > PAGE {
            return Err(no_pages());
        }
        let mut hasher = self.hasher();
        hasher.set_input_offset(u64::from(number) * PAGE as u64);
        Ok(hasher.update(page).finalize_non_root())
    }

    /// The trust value of the plaintext that has these pages.
    ///
    /// # Errors
    /// `Invalid` for fewer than two: a plaintext of one page has a trust value and no page values.
    pub fn merge(&self, pages: &[PageValue]) -> Result<TrustValue> {
        let context;
        let mode = match self {
            TrustKey::Plain => {
                context = hash_derive_key_context(PLAIN);
                Mode::DeriveKeyMaterial(&context)
            }
            TrustKey::Keyed(key) => Mode::KeyedHash(key),
        };
        let root = || {
            let (left, right) = halves(pages)?;
            let (left, right) = (subtree(left, mode)?, subtree(right, mode)?);
            Some(merge_subtrees_root(&left, &right, mode).into())
        };
        root().ok_or_else(no_pages)
    }
}

fn no_pages() -> Error {
    Error::new(
        Kind::Invalid,
        "authenticate",
        "a page",
        "it can be none of several",
    )
}

/// BLAKE3's tree: to the left lies the largest power of two that leaves something to the right.
fn halves(pages: &[PageValue]) -> Option<(&[PageValue], &[PageValue])> {
    if pages.len() < 2 {
        return None;
    }
    pages.split_at_checked(pages.len().next_power_of_two() / 2)
}

fn subtree(pages: &[PageValue], mode: Mode<'_>) -> Option<PageValue> {
    if let [one] = pages {
        return Some(*one);
    }
    let (left, right) = halves(pages)?;
    let (left, right) = (subtree(left, mode)?, subtree(right, mode)?);
    Some(merge_subtrees_non_root(&left, &right, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_of_a_plaintext_give_its_trust_value_and_no_others_do() {
        let key = [3; 32];
        for key in [TrustKey::Plain, TrustKey::Keyed(&key)] {
            for n in [PAGE + 1, 2 * PAGE, 3 * PAGE - 1, 5 * PAGE, 9 * PAGE + 77] {
                let plain: Vec<u8> = (0..n).map(|i| (i / 7) as u8).collect();
                let mut pages: Vec<PageValue> = (0..)
                    .zip(plain.chunks(PAGE))
                    .map(|(i, page)| key.page(i, page).unwrap())
                    .collect();
                assert_eq!(key.merge(&pages).unwrap(), key.whole(&plain), "{n}");
                pages.swap(0, 1);
                assert_ne!(key.merge(&pages).ok(), Some(key.whole(&plain)), "{n}");
                pages.pop();
                assert_ne!(key.merge(&pages).ok(), Some(key.whole(&plain)), "{n}");
            }
        }
    }

    #[test]
    fn a_page_that_can_be_none_has_no_value() {
        assert!(TrustKey::Plain.page(0, &[]).is_err());
        assert!(TrustKey::Plain.page(1, &vec![0; PAGE + 1]).is_err());
        assert!(TrustKey::Plain.merge(&[]).is_err());
        assert!(TrustKey::Plain.merge(&[[0; 32]]).is_err());
    }
}
