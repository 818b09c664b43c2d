//! The payload of an age file: STREAM with ChaCha20-Poly1305, 64 KiB at a time (age v1, "Payload").
//!
//! age makes and reads the header, with its keys and recipients; only the bulk goes through ring,
//! whose cipher is nearly twice as fast as age's own. To learn the file key, a [`Witness`] stands
//! between age and the recipient or identity.

use age::{DecryptError, EncryptError};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, CHACHA20_POLY1305};
use ring::hkdf::{Salt, HKDF_SHA256};
use std::cell::OnceCell;
use std::collections::HashSet;

/// Bytes of plaintext in a chunk; only the last may have fewer.
pub(crate) const CHUNK: usize = 64 << 10;
/// Bytes that a chunk is longer by when it is sealed.
pub(crate) const TAG: usize = 16;
/// Bytes between the header and the first chunk, from which with the file key the stream's key is made.
pub(crate) const SALT: usize = 16;

/// Stands before a recipient or an identity and keeps the file key that goes by.
pub(crate) struct Witness<'a, T: ?Sized> {
    inner: &'a T,
    seen: &'a OnceCell<FileKey>,
}

impl<'a, T: ?Sized> Witness<'a, T> {
    pub(crate) fn new(inner: &'a T, seen: &'a OnceCell<FileKey>) -> Self {
        Witness { inner, seen }
    }

    fn see(&self, key: &FileKey) {
        self.seen.get_or_init(|| {
            FileKey::init_with_mut(|copy| copy.copy_from_slice(key.expose_secret()))
        });
    }
}

impl<'d> age::Recipient for Witness<'_, dyn age::Recipient + 'd> {
    fn wrap_file_key(&self, key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        self.see(key);
        self.inner.wrap_file_key(key)
    }
}

impl<'d> age::Identity for Witness<'_, dyn age::Identity + 'd> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let unwrapped = self.inner.unwrap_stanzas(stanzas);
        if let Some(Ok(key)) = &unwrapped {
            self.see(key);
        }
        unwrapped
    }
}

/// The key of one file's payload.
pub(crate) struct Stream(LessSafeKey);

impl Stream {
    pub(crate) fn new(file_key: &FileKey, salt: &[u8]) -> Option<Stream> {
        let secret = Salt::new(HKDF_SHA256, salt).extract(file_key.expose_secret());
        let key = secret.expand(&[b"payload"], &CHACHA20_POLY1305).ok()?;
        Some(Stream(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// Eleven bytes that count the chunks, one that says which is the last.
    fn nonce(chunk: u64, last: bool) -> Nonce {
        let mut bytes = [0; 12];
        if let Some(counter) = bytes.get_mut(3..11) {
            counter.copy_from_slice(&chunk.to_be_bytes());
        }
        if let Some(flag) = bytes.last_mut() {
            *flag = u8::from(last);
        }
        Nonce::assume_unique_for_key(bytes)
    }

    /// Seals a whole plaintext where it lies, with `head` before it. `None` where the cipher
    /// refuses, which it does for no length that fits memory; the plaintext is then spoilt.
    pub(crate) fn seal_behind(&self, head: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
        let length = bytes.len();
        // A plaintext of nothing is one chunk of nothing.
        let last = length.saturating_sub(1) / CHUNK;
        bytes.resize(head.len() + length + (last + 1) * TAG, 0);
        // From the last chunk on: each moves back by what the sealed ones before it are longer.
        for n in (0..=last).rev() {
            let from = n * CHUNK;
            let to = head.len() + n * (CHUNK + TAG);
            let plain = CHUNK.min(length - from);
            bytes.copy_within(from..from + plain, to);
            let (chunk, rest) = bytes.get_mut(to..)?.split_at_mut_checked(plain)?;
            let nonce = Stream::nonce(n as u64, n == last);
            let sealed = self
                .0
                .seal_in_place_separate_tag(nonce, Aad::empty(), chunk);
            rest.get_mut(..TAG)?
                .copy_from_slice(sealed.ok()?.as_ref().get(..TAG)?);
        }
        bytes.get_mut(..head.len())?.copy_from_slice(head);
        Some(())
    }

    /// Opens a chunk where it lies and answers its plaintext; `None` where it is not what was
    /// sealed in this place.
    pub(crate) fn open<'a>(&self, n: u64, last: bool, chunk: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let nonce = Stream::nonce(n, last);
        let plain = self.0.open_in_place(nonce, Aad::empty(), chunk).ok()?;
        // A last chunk of nothing is there only where it is the only one.
        (!plain.is_empty() || n == 0).then_some(plain)
    }
}
