//! Block sets: sorted ids of blocks, in clear (formats.md, "Snapshots").
//!
//! A root's set lies at `store/objects/<digest>.set`, a snapshot's in its `blocks`. Pins, gc,
//! evict and push work on them with no key.

use crate::wire::{len32, Reader};
use asl_core::{BlockId, Digest, Result};
use std::collections::BTreeSet;

const WHAT: &str = "block set";
const MAGIC: &[u8; 8] = b"ASLBKSET";
const VERSION: u16 = 1;

/// A set of blocks, named by the digest of its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockSet(pub BTreeSet<BlockId>);

impl BlockSet {
    /// The set's one spelling: 16 bytes of header, then the ids, 32 bytes each, ascending.
    ///
    /// # Errors
    /// `Invalid` past 2^32 blocks.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(16 + self.0.len() * 32);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&len32(WHAT, self.0.len())?.to_le_bytes());
        for id in &self.0 {
            out.extend_from_slice(id.as_bytes());
        }
        Ok(out)
    }

    /// Reads a set.
    ///
    /// # Errors
    /// `Invalid` where it is in another spelling.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(WHAT, bytes);
        r.magic(MAGIC)?;
        r.version(VERSION)?;
        r.zero(2)?;
        let count = r.u32()? as usize;
        let mut ids = BTreeSet::new();
        for chunk in r.take(count.saturating_mul(32))?.chunks_exact(32) {
            let id = Reader::new(WHAT, chunk).array::<32>()?.into();
            if ids.last().is_some_and(|last| *last >= id) {
                return Err(r.bad("its ids are not in order"));
            }
            ids.insert(id);
        }
        r.end()?;
        Ok(BlockSet(ids))
    }

    /// The digest that names it.
    ///
    /// # Errors
    /// As [`BlockSet::encode`].
    pub fn digest(&self) -> Result<Digest> {
        Ok(Digest::of(&self.encode()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_one_spelling() {
        let set = BlockSet([[2; 32].into(), [1; 32].into()].into());
        let bytes = set.encode().unwrap();
        assert_eq!(BlockSet::decode(&bytes).unwrap(), set);
        assert_eq!(bytes.len(), 80);
        let mut swapped = bytes.clone();
        swapped[16..48].fill(2);
        assert!(BlockSet::decode(&swapped).is_err());
        swapped[16..48].fill(3);
        assert!(BlockSet::decode(&swapped).is_err());
        for n in 0..bytes.len() {
            assert!(BlockSet::decode(&bytes[..n]).is_err());
        }
        let mut long = bytes.clone();
        long.push(0);
        assert!(BlockSet::decode(&long).is_err());
        for at in 0..16 {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(BlockSet::decode(&bad).is_err(), "header byte {at}");
        }
    }
}
