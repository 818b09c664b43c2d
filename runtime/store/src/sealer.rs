//! What the store needs of the domain's keys, and the plain form that has none.
//!
//! The store knows no key (architecture.md, "The floors"): it hands plaintext to a [`Sealer`] and
//! gets sealed bytes. The age form lives in asl-host; [`PlainSealer`] serves plain domains and
//! tests.

use crate::trust::{PageValue, TrustKey};
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

/// Sealed bytes that were opened once, to be read in parts.
pub trait OpenParts: Send {
    /// Bytes of the plaintext.
    fn plain_len(&self) -> u64;

    /// Reads a range of the plaintext, opening only the stream chunks that cover it.
    ///
    /// # Errors
    /// `Damage` where the bytes are not what was sealed, `Invalid` where the plaintext ends before
    /// the range does; `Io`.
    fn read_range(&mut self, range: Range<u64>) -> Result<Vec<u8>>;
}

/// Bytes in memory are open already.
impl OpenParts for &[u8] {
    fn plain_len(&self) -> u64 {
        self.len() as u64
    }

    fn read_range(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        let (start, end) = (range.start as usize, range.end as usize);
        let bytes = self.get(start..end).map(<[u8]>::to_vec);
        bytes.ok_or_else(|| Error::new(Kind::Invalid, "open", "plain bytes", "they end too early"))
    }
}

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

    /// Seals bytes where they lie: afterwards they are the sealed form of what they were.
    ///
    /// # Errors
    /// As [`Sealer::seal`]. Then the bytes are as they were, or all gone where they cannot be had
    /// back.
    fn seal_in_place(&self, part: Part, bytes: &mut Vec<u8>) -> Result<()> {
        *bytes = self.seal(part, bytes)?;
        Ok(())
    }

    /// Opens sealed bytes whole.
    ///
    /// # Errors
    /// `Refused` where the key is not at hand (naming the open identity), `Damage` where the bytes
    /// are not what was sealed.
    fn open(&self, part: Part, epoch: u32, sealed: &[u8]) -> Result<Vec<u8>>;

    /// Opens sealed bytes for reading parts of them; only their header and end are read at once.
    ///
    /// # Errors
    /// As [`Sealer::open`].
    fn open_parts<'a>(
        &self,
        part: Part,
        epoch: u32,
        sealed: Box<dyn ReadSeek + 'a>,
    ) -> Result<Box<dyn OpenParts + 'a>>;

    /// The trust value of a plaintext: BLAKE3 under the epoch's MAC key; in the plain form BLAKE3
    /// derive-key `asl.plain-trust/1`, which anybody can compute.
    ///
    /// # Errors
    /// `Refused` where the epoch's keys are not at hand.
    fn mac(&self, epoch: u32, plain: &[u8]) -> Result<TrustValue>;

    /// The value of one page of a plaintext that has several, by [`TrustKey::page`].
    ///
    /// # Errors
    /// `Refused` where the epoch's keys are not at hand.
    fn page_mac(&self, epoch: u32, number: u32, page: &[u8]) -> Result<PageValue>;

    /// The trust value of the plaintext that has these pages, by [`TrustKey::merge`]: the same that
    /// [`Sealer::mac`] gives of all of it.
    ///
    /// # Errors
    /// `Refused` where the epoch's keys are not at hand.
    fn merge_macs(&self, epoch: u32, pages: &[PageValue]) -> Result<TrustValue>;

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

struct PlainParts<'a> {
    sealed: Box<dyn ReadSeek + 'a>,
    length: u64,
}

impl OpenParts for PlainParts<'_> {
    fn plain_len(&self) -> u64 {
        self.length
    }

    fn read_range(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        let wanted = range.end.checked_sub(range.start);
        let wanted = wanted.filter(|_| range.end <= self.length).ok_or_else(|| {
            Error::new(Kind::Invalid, "open", "plain bytes", "they end too early")
        })?;
        // Not more than there is, so the room asked for is bounded by the medium.
        let mut plain = vec![0; wanted as usize];
        self.sealed
            .seek(SeekFrom::Start(range.start))
            .and_then(|_| self.sealed.read_exact(&mut plain))
            .map_err(unread)?;
        Ok(plain)
    }
}

fn unread(e: std::io::Error) -> Error {
    Error::new(Kind::Damage, "open", "plain bytes", e)
}

impl Sealer for PlainSealer {
    fn epoch(&self) -> u32 {
        0
    }

    fn seal(&self, _: Part, plain: &[u8]) -> Result<Vec<u8>> {
        Ok(plain.to_vec())
    }

    fn seal_in_place(&self, _: Part, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn open(&self, _: Part, epoch: u32, sealed: &[u8]) -> Result<Vec<u8>> {
        only_plain(epoch)?;
        Ok(sealed.to_vec())
    }

    fn open_parts<'a>(
        &self,
        _: Part,
        epoch: u32,
        mut sealed: Box<dyn ReadSeek + 'a>,
    ) -> Result<Box<dyn OpenParts + 'a>> {
        only_plain(epoch)?;
        let length = sealed.seek(SeekFrom::End(0)).map_err(unread)?;
        Ok(Box::new(PlainParts { sealed, length }))
    }

    fn mac(&self, epoch: u32, plain: &[u8]) -> Result<TrustValue> {
        only_plain(epoch)?;
        Ok(TrustKey::Plain.whole(plain))
    }

    fn page_mac(&self, epoch: u32, number: u32, page: &[u8]) -> Result<PageValue> {
        only_plain(epoch)?;
        TrustKey::Plain.page(number, page)
    }

    fn merge_macs(&self, epoch: u32, pages: &[PageValue]) -> Result<TrustValue> {
        only_plain(epoch)?;
        TrustKey::Plain.merge(pages)
    }

    fn chunk_id(&self, epoch: u32, bytes: &[u8]) -> Result<ChunkId> {
        only_plain(epoch)?;
        Ok(blake3::hash(bytes).into())
    }

    fn has_shape(&self, _: Part, epoch: u32, _: &[u8]) -> bool {
        epoch == 0
    }
}
