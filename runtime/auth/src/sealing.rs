//! Files sealed to recipients: plain age v1, so that any age tool opens them.
//!
//! Whole, or in ranges that cost no more than the 64 KiB chunks they cover.

use crate::identity::Recipient;
use age::DecryptError;
use asl_core::{Error, Kind, Result};
use std::io::{Read, Seek, SeekFrom, Write};
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
    let file = age::Encryptor::with_recipients(recipients.iter().map(Recipient::as_age))
        .map_err(|e| Error::new(Kind::Invalid, "seal", "age file", e))?;
    let room = plain.len() + plain.len() / 4000 + 512 * (recipients.len() + 2);
    let write = || -> std::io::Result<Vec<u8>> {
        let mut out = file.wrap_output(Vec::with_capacity(room))?;
        out.write_all(plain)?;
        out.finish()
    };
    write().map_err(|e| Error::new(Kind::Io, "seal", "age file", e))
}

/// Opens a whole age file.
///
/// # Errors
/// `Refused` where this identity is not among its recipients; `Damage` where it is not what was
/// sealed.
pub fn open_with(identity: &dyn Opens, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    if !age_header_fits(sealed) {
        return Err(damage("not an age file"));
    }
    let file = age::Decryptor::new_buffered(sealed).map_err(|_| damage("not an age file"))?;
    let stream = file
        .decrypt(identity.identities().into_iter())
        .map_err(|e| not_opened(identity, e))?;
    read_to_end(stream, sealed.len()).map_err(|_| damage("its contents were altered or cut"))
}

/// An age file that was opened for reading parts of it.
pub struct Opened<R> {
    stream: age::stream::StreamReader<R>,
    len: u64,
}

impl<R: ReadSeek> Opened<R> {
    /// Opens the file with this identity; only its header and last 64 KiB are read.
    ///
    /// # Errors
    /// As [`open_with`]; `Io` where the reader fails.
    pub fn new(identity: &dyn Opens, mut sealed: R) -> Result<Opened<R>> {
        let mut head = Vec::new();
        let read = Read::take(&mut sealed, MAX_HEADER as u64).read_to_end(&mut head);
        read.and_then(|_| sealed.rewind()).map_err(io)?;
        if !age_header_fits(&head) {
            return Err(damage("not an age file"));
        }
        let file = age::Decryptor::new(sealed).map_err(|_| damage("not an age file"))?;
        let mut stream = file
            .decrypt(identity.identities().into_iter())
            .map_err(|e| not_opened(identity, e))?;
        // Checks the last chunk as the last: a cut file is found here.
        let len = stream.seek(SeekFrom::End(0)).map_err(read_error)?;
        Ok(Opened { stream, len })
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
        let mut plain = Zeroizing::new(vec![0; usize::try_from(want).map_err(|_| past())?]);
        // age's reader must not be moved to or past the end of its data and read there.
        if want > 0 {
            self.stream
                .seek(SeekFrom::Start(range.start))
                .and_then(|_| self.stream.read_exact(&mut plain))
                .map_err(read_error)?;
        }
        Ok(plain)
    }
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

fn read_error(e: std::io::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match e.kind() {
        InvalidData | UnexpectedEof => damage("its contents were altered or cut"),
        _ => io(e),
    }
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
