//! What the store needs of the domain's keys, and the plain form that has none.
//!
//! The store knows no key (architecture.md, "The floors"): it hands plaintext to a [`Sealer`] and
//! gets sealed bytes. The age form lives in asl-host; [`PlainSealer`] serves plain domains and
//! tests.

use asl_core::{ChunkId, Error, Kind, Result, TrustValue};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

/// What is sealed, which decides the recipients (formats.md, "Blocks", "Index segments").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A block: for the epoch's data recipient.
    Block,
    /// An index segment: for the index identity and the data recipient.
    Segment,
    /// A working file: for the index identity.
    Working,
}

/// Bytes that can be read from any place.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// Seals, opens and authenticates for one domain.
///
/// Epoch 0 is the plain form. An implementation may hold several epochs' keys; it seals with the
/// one [`Sealer::epoch`] names.
pub trait Sealer: Send + Sync {
    /// The epoch new data is sealed under; 0 is plain.
    fn epoch(&self) -> u32;

    /// Seals plaintext under the current epoch.
    ///
    /// # Errors
    /// `Refused` where the seal credential is not at hand; `Io` where randomness cannot be had.
    fn seal(&self, part: Part, plain: &[u8]) -> Result<Vec<u8>>;

    /// Opens sealed bytes whole.
    ///
    /// # Errors
    /// `Refused` where the key is not at hand (naming the open identity), `Damage` where the bytes
    /// are not what was sealed.
    fn open(&self, part: Part, epoch: u32, sealed: &[u8]) -> Result<Vec<u8>>;

    /// Opens the given range of the plaintext, reading only the stream chunks that cover it.
    ///
    /// # Errors
    /// As [`Sealer::open`]; `Damage` too where the plaintext ends before the range does.
    fn open_range(
        &self,
        part: Part,
        epoch: u32,
        sealed: &mut dyn ReadSeek,
        range: Range<u64>,
    ) -> Result<Vec<u8>>;

    /// The trust value of a plaintext: BLAKE3 under the epoch's MAC key; in the plain form BLAKE3
    /// derive-key `asl.plain-trust/1`, which anybody can compute.
    ///
    /// # Errors
    /// `Refused` where the epoch's keys are not at hand.
    fn mac(&self, epoch: u32, plain: &[u8]) -> Result<TrustValue>;

    /// The id of a piece: BLAKE3 under the epoch's chunk-id key; unkeyed in the plain form.
    ///
    /// # Errors
    /// `Refused` where the epoch's keys are not at hand.
    fn chunk_id(&self, epoch: u32, bytes: &[u8]) -> Result<ChunkId>;

    /// Whether the bytes have the shape of a sealed part: a well-formed age file; anything in the
    /// plain form. It needs no key and proves no more than that.
    fn has_shape(&self, part: Part, epoch: u32, sealed: &[u8]) -> bool;
}

/// The form of a plain domain: sealed bytes are the plaintext itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainSealer;

fn only_plain(epoch: u32) -> Result<()> {
    if epoch == 0 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        "open",
        format!("epoch {epoch}"),
        "it is sealed and no key is at hand",
    )
    .next("bring the owner's open identity"))
}

impl Sealer for PlainSealer {
    fn epoch(&self) -> u32 {
        0
    }

    fn seal(&self, _: Part, plain: &[u8]) -> Result<Vec<u8>> {
        Ok(plain.to_vec())
    }

    fn open(&self, _: Part, epoch: u32, sealed: &[u8]) -> Result<Vec<u8>> {
        only_plain(epoch)?;
        Ok(sealed.to_vec())
    }

    fn open_range(
        &self,
        _: Part,
        epoch: u32,
        sealed: &mut dyn ReadSeek,
        range: Range<u64>,
    ) -> Result<Vec<u8>> {
        only_plain(epoch)?;
        let short = |e: std::io::Error| Error::new(Kind::Damage, "open", "plain bytes", e);
        let length = range.end.saturating_sub(range.start);
        let mut plain = Vec::new();
        sealed.seek(SeekFrom::Start(range.start)).map_err(short)?;
        sealed.take(length).read_to_end(&mut plain).map_err(short)?;
        if plain.len() as u64 != length {
            return Err(Error::new(
                Kind::Damage,
                "open",
                "plain bytes",
                "they end too early",
            ));
        }
        Ok(plain)
    }

    fn mac(&self, epoch: u32, plain: &[u8]) -> Result<TrustValue> {
        only_plain(epoch)?;
        Ok(blake3::derive_key("asl.plain-trust/1", plain).into())
    }

    fn chunk_id(&self, epoch: u32, bytes: &[u8]) -> Result<ChunkId> {
        only_plain(epoch)?;
        Ok(blake3::hash(bytes).into())
    }

    fn has_shape(&self, _: Part, epoch: u32, _: &[u8]) -> bool {
        epoch == 0
    }
}
