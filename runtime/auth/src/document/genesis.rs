//! The genesis record, by whose hash a domain is known, and the set of root keys.

use super::{bad, check_keys, public_keys, time};
use crate::keys::PublicKey;
use asl_core::canon::Limits;
use asl_core::{
    Digest, DomainHash, DomainId, Fields, KeyId, Label, MapBuilder, Result, Timestamp, Value,
};

/// How a domain's store cuts and keeps data, fixed at its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreParams {
    /// Plaintext bytes at which a block is sealed; 4 KiB to 32 MiB.
    pub block_target: u32,
    /// Bytes of a chunk at least; 64 to 1 MiB.
    pub chunk_min: u32,
    /// Bytes of a chunk on average; 256 to 4 MiB.
    pub chunk_avg: u32,
    /// Bytes of a chunk at most; 1 KiB to 16 MiB.
    pub chunk_max: u32,
    /// Whether every block is an age file.
    pub encrypted: bool,
}

/// The one chunker so far: FastCDC 2020 with the gear table of the `fastcdc` crate, level 1.
const CHUNKER: u64 = 1;

impl StoreParams {
    /// The parameters a domain gets where nothing else is asked: blocks of 16 MiB, chunks of
    /// 16, 64 and 256 KiB.
    pub fn standard(encrypted: bool) -> StoreParams {
        StoreParams {
            block_target: 16 << 20,
            chunk_min: 16 << 10,
            chunk_avg: 64 << 10,
            chunk_max: 256 << 10,
            encrypted,
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// `Invalid`, with the bound that is passed.
    pub fn check(&self) -> Result<()> {
        let refuse = |why| Err(bad("store parameters", why));
        if !(4 << 10..=32 << 20).contains(&self.block_target) {
            return refuse("block target not within 4 KiB and 32 MiB");
        }
        if !(64..=1 << 20).contains(&self.chunk_min)
            || !(256..=4 << 20).contains(&self.chunk_avg)
            || !(1 << 10..=16 << 20).contains(&self.chunk_max)
        {
            return refuse("a chunk size is out of range");
        }
        if self.chunk_min > self.chunk_avg || self.chunk_avg > self.chunk_max {
            return refuse("chunk sizes not ascending");
        }
        Ok(())
    }

    fn to_map(self) -> MapBuilder {
        MapBuilder::new()
            .put(1, self.block_target)
            .put(2, self.chunk_min)
            .put(3, self.chunk_avg)
            .put(4, self.chunk_max)
            .put(5, self.encrypted)
            .put(6, CHUNKER)
    }

    fn from_fields(mut f: Fields) -> Result<StoreParams> {
        let params = StoreParams {
            block_target: f.uint32(1)?,
            chunk_min: f.uint32(2)?,
            chunk_avg: f.uint32(3)?,
            chunk_max: f.uint32(4)?,
            encrypted: f.flag(5)?,
        };
        if f.uint(6)? != CHUNKER {
            return Err(bad("store parameters", "a chunker this program lacks")
                .next("read this domain with the version of asl-host that made it"));
        }
        f.finish()?;
        params.check()?;
        Ok(params)
    }
}

/// The birth record of a domain; its hash is the domain's name (architecture.md, "Identity and
/// time").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The short human name.
    pub label: Label,
    /// What makes two domains of one label differ; random.
    pub nonce: [u8; 16],
    /// The host that minted it.
    pub host: KeyId,
    /// When, as that host's clock claims.
    pub time: Timestamp,
    /// How its store cuts and keeps data.
    pub params: StoreParams,
    /// [`RootSet::digest`] of the first root keys: only they can sign the first DAM.
    pub root_set: Digest,
    /// The threshold of that set, readable before any DAM is at hand.
    pub threshold: u8,
}

impl Genesis {
    /// The document's kind.
    pub const KIND: &'static str = "asl.genesis/1";

    /// The document's bytes.
    pub fn encode(&self) -> Vec<u8> {
        MapBuilder::document(Self::KIND)
            .put(1, self.label.as_str())
            .put(2, Value::Bytes(self.nonce.to_vec()))
            .put(3, self.host)
            .put(4, self.time)
            .put(5, self.params.to_map())
            .put(6, self.root_set)
            .put(7, self.threshold)
            .encode()
    }

    /// Reads the document.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no genesis of this version.
    pub fn decode(bytes: &[u8]) -> Result<Genesis> {
        let mut f = Fields::document(bytes, Self::KIND, Limits::DOCUMENT)?;
        let genesis = Genesis {
            label: f.text(1)?.parse()?,
            nonce: f.fixed(2)?,
            host: f.id(3)?,
            time: time(&mut f, 4)?,
            params: StoreParams::from_fields(f.fields(5)?)?,
            root_set: f.id(6)?,
            threshold: threshold(&mut f, 7)?,
        };
        f.finish()?;
        Ok(genesis)
    }

    /// The hash of these genesis bytes: the domain's full name.
    pub fn hash_of(bytes: &[u8]) -> DomainHash {
        blake3::hash(bytes).into()
    }

    /// The domain's full name.
    pub fn hash(&self) -> DomainHash {
        Genesis::hash_of(&self.encode())
    }

    /// Whether these are the first root keys.
    pub fn names(&self, roots: &RootSet) -> bool {
        roots.digest() == self.root_set && roots.threshold() == self.threshold
    }

    /// The name of the domain's directory.
    pub fn domain_id(&self) -> DomainId {
        DomainId::new(self.label.clone(), &self.hash())
    }
}

fn threshold(f: &mut Fields, key: i64) -> Result<u8> {
    match u8::try_from(f.uint(key)?) {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(bad("threshold", "not 1 to 16")),
    }
}

/// The keys that speak for a domain, and how many of them must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootSet {
    keys: Vec<PublicKey>,
    threshold: u8,
}

impl RootSet {
    /// The kind named in the digest.
    pub const KIND: &'static str = "asl.root-set/1";

    /// Makes a set of 1 to 16 distinct keys, of which `threshold` must sign.
    ///
    /// # Errors
    /// `Invalid` where a key stands twice or the threshold is 0 or more than the keys.
    pub fn new(mut keys: Vec<PublicKey>, threshold: u8) -> Result<RootSet> {
        keys.sort();
        check_keys("root set", &keys)?;
        if threshold == 0 || usize::from(threshold) > keys.len() {
            return Err(bad("root set", "threshold not within 1 and its keys"));
        }
        Ok(RootSet { keys, threshold })
    }

    /// The keys, ascending.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// How many of them must sign.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// How many of these signers are of the set.
    pub fn count(&self, signers: &[KeyId]) -> usize {
        let ours = |id: &&KeyId| self.keys.iter().any(|k| k.id() == **id);
        signers.iter().filter(ours).count()
    }

    /// The identity of the set, threshold included: BLAKE3-256 of its document.
    pub fn digest(&self) -> Digest {
        let doc = MapBuilder::document(Self::KIND)
            .put(1, self.threshold)
            .list(2, self.keys.iter().copied());
        Digest::of(&doc.encode())
    }

    pub(super) fn to_map(&self) -> MapBuilder {
        MapBuilder::new()
            .put(1, self.threshold)
            .list(2, self.keys.iter().copied())
    }

    pub(super) fn from_fields(mut f: Fields) -> Result<RootSet> {
        let n = threshold(&mut f, 1)?;
        let keys = public_keys(&mut f, 2, "root set")?;
        f.finish()?;
        RootSet::new(keys, n)
    }
}
