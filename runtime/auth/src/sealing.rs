//! Files sealed to recipients: plain age v1, so that any age tool opens them.
//!
//! Whole, or in ranges that cost no more than the 64 KiB chunks they cover.

use crate::identity::Recipient;
use crate::stream::{Stream, Witness, CHUNK, SALT, TAG};
use age::DecryptError;
use asl_core::{Error, Kind, Result};
use std::cell::OnceCell;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use zeroize::Zeroizing;

/// An age header is at most this long here: room for 16 recipients, and no more work than that.
const MAX_HEADER: usize = 16 << 10;

/// What a sealed file is read from where only parts of it are wanted.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek + ?Sized> ReadSeek for T {}

/// What can open sealed files.
pub trait Opens {
    /// The identities to try, in order.
    fn identities(&self) -> Vec<&dyn age::Identity>;
    /// What it is called in errors.
    fn name(&self) -> &'static str;
}

/// Seals bytes to every recipient, as one age v1 file.
///
/// The result is longer by a header of some hundred bytes and 16 bytes for each 64 KiB.
///
/// # Errors
/// `Invalid` for no recipients.
pub fn seal_to(recipients: &[Recipient], plain: &[u8]) -> Result<Vec<u8>> {
    let mut out =
        Vec::with_capacity(plain.len() + plain.len() / 4000 + 512 * (recipients.len() + 2));
    out.extend_from_slice(plain);
    seal_in_place(recipients, &mut out)?;
    Ok(out)
}

/// The same where the bytes lie: afterwards `bytes` is the age file of what it held.
///
/// It takes no second room but the header's; with room for 16 bytes for each 64 KiB and 1 KiB more,
/// nothing is moved to a larger buffer.
///
/// # Errors
/// As [`seal_to`]. Then the bytes are as they were, or all gone where they cannot be had back.
pub fn seal_in_place(recipients: &[Recipient], bytes: &mut Vec<u8>) -> Result<()> {
    let failed = |why| Error::new(Kind::Io, "seal", "age file", why);
    let seen = OnceCell::new();
    let witnesses: Vec<_> = recipients
        .iter()
        .map(|r| Witness::new(r.as_age(), &seen))
        .collect();
    let mut head = Vec::new();
    // age's own stream, not yet begun, is let go: the header and the salt are written.
    drop(
        age::Encryptor::with_recipients(witnesses.iter().map(|w| w as &dyn age::Recipient))
            .map_err(|e| Error::new(Kind::Invalid, "seal", "age file", e))?
            .wrap_output(&mut head)
            .map_err(|e| Error::new(Kind::Io, "seal", "age file", e))?,
    );
    let salt = head.last_chunk::<SALT>();
    let stream = seen.get().zip(salt).and_then(|(k, s)| Stream::new(k, s));
    let stream = stream.ok_or_else(|| failed("its key could not be made"))?;
    let sealed = stream.seal_behind(&head, bytes);
    sealed.ok_or_else(|| {
        bytes.clear();
        failed("the cipher refused")
    })
}

/// Opens a whole age file.
///
/// # Errors
/// `Refused` where this identity is not among its recipients; `Damage` where it is not what was
/// sealed.
pub fn open_with(identity: &dyn Opens, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let mut opened = Opened::new(identity, Cursor::new(sealed))?;
    opened.read(0..opened.plain_len())
}

/// An age file that was opened for reading parts of it.
pub struct Opened<R> {
    sealed: R,
    stream: Stream,
    /// Where the first chunk begins.
    begin: u64,
    len: u64,
    chunk: Zeroizing<Vec<u8>>,
}

impl<R: ReadSeek> Opened<R> {
    /// Opens the file with this identity; only its header and last 64 KiB are read.
    ///
    /// # Errors
    /// As [`open_with`]; `Io` where the reader fails.
    pub fn new(identity: &dyn Opens, mut sealed: R) -> Result<Opened<R>> {
        let (stream, begin) = unwrap(identity, &mut sealed)?;
        let end = sealed.seek(SeekFrom::End(0)).map_err(io)?;
        let payload = end.saturating_sub(begin);
        let chunks = payload.div_ceil((CHUNK + TAG) as u64);
        let len = payload.checked_sub(chunks * TAG as u64);
        let mut opened = Opened {
            sealed,
            stream,
            begin,
            len: len.filter(|_| chunks > 0).ok_or_else(cut)?,
            chunk: Zeroizing::new(Vec::with_capacity(CHUNK + TAG)),
        };
        // Opens the last chunk as the last: a cut file is found here.
        opened.chunk(chunks - 1)?;
        Ok(opened)
    }

    /// Bytes of plaintext.
    pub fn plain_len(&self) -> u64 {
        self.len
    }

    /// Reads a range of the plaintext; only the 64 KiB chunks it covers are decrypted.
    ///
    /// # Errors
    /// `Invalid` where the range passes the end; `Damage` where a chunk is not what was sealed;
    /// `Io` where the reader fails.
    pub fn read(&mut self, range: Range<u64>) -> Result<Zeroizing<Vec<u8>>> {
        let past = || {
            Error::new(
                Kind::Invalid,
                "read",
                "age file",
                "the range passes its end",
            )
        };
        if range.end > self.len {
            return Err(past());
        }
        let want = range.end.checked_sub(range.start).ok_or_else(past)?;
        // Room for all of it at once: a growing buffer would leave copies behind.
        let want = usize::try_from(want).map_err(|_| past())?;
        let mut plain = Zeroizing::new(Vec::with_capacity(want));
        let mut skip = usize::try_from(range.start % CHUNK as u64).unwrap_or_default();
        let mut n = range.start / CHUNK as u64;
        while plain.len() < want {
            let chunk = self.chunk(n)?.get(skip..).unwrap_or_default();
            let part = chunk.get(..want - plain.len()).unwrap_or(chunk);
            if part.is_empty() {
                return Err(cut());
            }
            plain.extend_from_slice(part);
            (n, skip) = (n + 1, 0);
        }
        Ok(plain)
    }

    /// Reads and opens one chunk.
    fn chunk(&mut self, n: u64) -> Result<&[u8]> {
        let begin = n.saturating_mul(CHUNK as u64);
        let left = self.len.saturating_sub(begin);
        let plain = left.min(CHUNK as u64);
        let at = self.begin + n.saturating_mul((CHUNK + TAG) as u64);
        self.chunk.clear();
        self.sealed.seek(SeekFrom::Start(at)).map_err(io)?;
        let wanted = plain + TAG as u64;
        let got = Read::take(&mut self.sealed, wanted).read_to_end(&mut self.chunk);
        if got.map_err(io)? as u64 != wanted {
            return Err(cut());
        }
        let last = left <= CHUNK as u64;
        let opened = self.stream.open(n, last, &mut self.chunk);
        opened.map(|plain| &*plain).ok_or_else(cut)
    }
}

/// Unwraps a file's header; answers the key of its payload, and where that begins.
fn unwrap(identity: &dyn Opens, sealed: &mut dyn ReadSeek) -> Result<(Stream, u64)> {
    let mut head = Vec::new();
    let most = (MAX_HEADER + SALT) as u64;
    sealed.rewind().map_err(io)?;
    let read = Read::take(sealed, most).read_to_end(&mut head);
    read.map_err(io)?;
    if !age_header_fits(&head) {
        return Err(damage("not an age file"));
    }
    let mut rest = head.as_slice();
    let file = age::Decryptor::new_buffered(&mut rest).map_err(|_| damage("not an age file"))?;
    let seen = OnceCell::new();
    let identities = identity.identities();
    let witnesses: Vec<_> = identities
        .into_iter()
        .map(|i| Witness::new(i, &seen))
        .collect();
    // What age makes of the payload is let go: the header's seal is checked by then.
    drop(
        file.decrypt(witnesses.iter().map(|w| w as &dyn age::Identity))
            .map_err(|e| not_opened(identity, e))?,
    );
    let begin = head.len() - rest.len();
    let salt = begin.checked_sub(SALT).and_then(|at| head.get(at..begin));
    let stream = seen.get().zip(salt).and_then(|(k, s)| Stream::new(k, s));
    stream
        .map(|stream| (stream, begin as u64))
        .ok_or_else(|| damage("its header was altered"))
}

/// Opens a range of a sealed file's plaintext.
///
/// # Errors
/// Those of [`Opened::new`] and [`Opened::read`].
pub fn open_range(
    identity: &dyn Opens,
    sealed: impl ReadSeek,
    range: Range<u64>,
) -> Result<Zeroizing<Vec<u8>>> {
    Opened::new(identity, sealed)?.read(range)
}

/// Whether the bytes have the shape of an age file sealed to recipients: a whole v1 header, not a
/// passphrase, and a payload whose length an age stream can have.
///
/// This is the rule of "encryption only": it needs no key and proves no more than shape.
pub fn has_shape(sealed: &[u8]) -> bool {
    const CHUNK: usize = (64 << 10) + 16;
    if !age_header_fits(sealed) {
        return false;
    }
    let mut rest = sealed;
    match age::Decryptor::new_buffered(&mut rest) {
        Ok(file) if !file.is_scrypt() => {}
        _ => return false,
    }
    match (rest.len(), rest.len() % CHUNK) {
        (0, _) => false,
        (_, 0) => true,
        // A last chunk of nothing is there only where it is the only one.
        (n, 16) => n == 16,
        (_, last) => last > 16,
    }
}

/// Whether the bytes begin with an age header of bounded length: checked before age parses it,
/// since its parser would take a header of any length.
pub(crate) fn age_header_fits(bytes: &[u8]) -> bool {
    let head = bytes.get(..MAX_HEADER).unwrap_or(bytes);
    head.starts_with(b"age-encryption.org/v1\n") && head.windows(5).any(|w| w == b"\n--- ")
}

/// Reads a stream whose plaintext is no longer than its sealed form.
pub(crate) fn read_to_end(
    mut stream: impl Read,
    sealed_len: usize,
) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it at once: a growing buffer would leave copies behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed_len));
    stream.read_to_end(&mut plain)?;
    Ok(plain)
}

fn damage(why: &str) -> Error {
    Error::new(Kind::Damage, "open", "age file", why)
}

fn io(e: std::io::Error) -> Error {
    Error::new(Kind::Io, "read", "age file", e)
}

fn cut() -> Error {
    damage("its contents were altered or cut")
}

fn not_opened(identity: &dyn Opens, e: DecryptError) -> Error {
    match e {
        DecryptError::NoMatchingKeys => Error::new(
            Kind::Refused,
            "open",
            "age file",
            format!("it is not sealed to this {}", identity.name()),
        ),
        DecryptError::Io(e) => io(e),
        // The errors of age are not shown: one of them does arithmetic on outside numbers.
        _ => damage("its header was altered"),
    }
}
