//! age recipients and identities as values, and files sealed to them.
//!
//! Three kinds of identity, so that one is never passed for another: the owner's open identity,
//! an epoch's data identity, an epoch's index identity (architecture.md, "Sealing"). What they
//! seal is plain age v1, so that any age tool opens it.

use age::secrecy::ExposeSecret;
use age::DecryptError;
use asl_core::{Error, Kind, Result};
use std::fmt;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::str::FromStr;
use zeroize::Zeroizing;

/// An age header is at most this long here: room for 16 recipients, and no more work than that.
const MAX_HEADER: usize = 16 << 10;

/// What a sealed file is read from where only parts of it are wanted.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek + ?Sized> ReadSeek for T {}

#[derive(Clone)]
enum Target {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// Whom a file can be sealed to: an age X25519 key (`age1...`) or an OpenSSH `ssh-ed25519` key.
#[derive(Clone)]
pub struct Recipient {
    text: String,
    target: Target,
}

impl Recipient {
    fn as_age(&self) -> &dyn age::Recipient {
        match &self.target {
            Target::X25519(r) => r,
            Target::Ssh(r) => r,
        }
    }
}

impl FromStr for Recipient {
    type Err = Error;
    fn from_str(text: &str) -> Result<Recipient> {
        let bad = |why: &str| {
            Error::new(Kind::Invalid, "read", "recipient", why)
                .next("give an `age1...` recipient or an OpenSSH `ssh-ed25519` line")
        };
        let text = text.trim();
        if text.starts_with("age1") {
            let target: age::x25519::Recipient = text
                .parse()
                .map_err(|_| bad("not an X25519 age recipient"))?;
            return Ok(target.into());
        }
        if !text.starts_with("ssh-ed25519 ") {
            return Err(bad("of a kind that this program does not seal to"));
        }
        match text.parse() {
            Ok(target @ age::ssh::Recipient::SshEd25519(..)) => Ok(target.into()),
            _ => Err(bad("not an ssh-ed25519 key")),
        }
    }
}

impl From<age::x25519::Recipient> for Recipient {
    fn from(target: age::x25519::Recipient) -> Recipient {
        Recipient {
            text: target.to_string(),
            target: Target::X25519(target),
        }
    }
}

impl From<age::ssh::Recipient> for Recipient {
    fn from(target: age::ssh::Recipient) -> Recipient {
        Recipient {
            text: target.to_string(),
            target: Target::Ssh(target),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.text)
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Recipient) -> bool {
        self.text == other.text
    }
}

impl Eq for Recipient {}

/// What can open sealed files.
pub trait Opens {
    /// The identities to try, in order.
    fn identities(&self) -> Vec<&dyn age::Identity>;
    /// What it is called in errors.
    fn name(&self) -> &'static str;
}

macro_rules! epoch_identity {
    ($(#[$doc:meta])* $name:ident, $called:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(age::x25519::Identity);

        impl $name {
            /// Makes a new identity, from age's own randomness.
            pub fn generate() -> Self {
                $name(age::x25519::Identity::generate())
            }

            /// The public half, to seal to.
            pub fn recipient(&self) -> Recipient {
                self.0.to_public().into()
            }

            /// The secret as one `AGE-SECRET-KEY-1...` line, without a newline.
            pub fn to_text(&self) -> Zeroizing<String> {
                Zeroizing::new(self.0.to_string().expose_secret().to_string())
            }

            /// Reads an age identity file that holds exactly one X25519 identity.
            ///
            /// # Errors
            /// `Invalid` where the text is anything else.
            pub fn parse(text: &str) -> Result<Self> {
                let refuse = |why| Error::new(Kind::Invalid, "read", $called, why);
                let mut lines = identity_lines(text);
                let line = lines.next().ok_or_else(|| refuse("no identity in it"))?;
                if lines.next().is_some() {
                    return Err(refuse("more than one identity in it"));
                }
                line.1.parse().map($name).map_err(|_| refuse("not an X25519 age identity"))
            }
        }

        impl Opens for $name {
            fn identities(&self) -> Vec<&dyn age::Identity> {
                vec![&self.0]
            }
            fn name(&self) -> &'static str {
                $called
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}, secret not shown)", stringify!($name), self.recipient())
            }
        }
    };
}

epoch_identity! {
    /// An epoch's data identity: it opens every block of the epoch.
    DataIdentity, "data identity"
}
epoch_identity! {
    /// An epoch's index identity: it opens segments and working files, never a block.
    IndexIdentity, "index identity"
}

fn identity_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, l)| (n + 1, l.trim()));
    lines.filter(|(_, l)| !l.is_empty() && !l.starts_with('#'))
}

enum OwnerKey {
    X25519(age::x25519::Identity),
    Ssh(Box<age::ssh::Identity>),
}

impl OwnerKey {
    fn as_age(&self) -> &dyn age::Identity {
        match self {
            OwnerKey::X25519(k) => k,
            OwnerKey::Ssh(k) => &**k,
        }
    }
}

/// The open identity: the owner's age identities, offline with the owner.
pub struct OpenIdentity(Vec<OwnerKey>);

impl OpenIdentity {
    /// Makes a new X25519 identity, from age's own randomness, and the identity file that holds it.
    pub fn generate() -> (OpenIdentity, Zeroizing<String>) {
        let key = age::x25519::Identity::generate();
        let file = Zeroizing::new(format!(
            "# public key: {}\n{}\n",
            key.to_public(),
            key.to_string().expose_secret()
        ));
        (OpenIdentity(vec![OwnerKey::X25519(key)]), file)
    }

    /// Reads an age identity file (`AGE-SECRET-KEY-1...` lines) or an unencrypted OpenSSH
    /// Ed25519 private key.
    ///
    /// # Errors
    /// `Invalid` where it is neither, with the line; `Refused` for a key under a passphrase and
    /// for plugin identities, which only the `age` tool opens so far.
    pub fn parse(text: &str) -> Result<OpenIdentity> {
        let bad = |why: String| Error::new(Kind::Invalid, "read", "open identity", why);
        let refuse = |why: &str, next: &str| {
            Error::new(Kind::Refused, "read", "open identity", why).next(next)
        };
        if text.trim_start().starts_with("-----BEGIN") {
            let key = age::ssh::Identity::from_buffer(text.as_bytes(), None)
                .map_err(|_| bad("not an OpenSSH private key".into()))?;
            return match key {
                age::ssh::Identity::Unencrypted(_) => {
                    Ok(OpenIdentity(vec![OwnerKey::Ssh(Box::new(key))]))
                }
                age::ssh::Identity::Encrypted(_) => Err(refuse(
                    "the OpenSSH key is under a passphrase",
                    "give a copy without one (`ssh-keygen -p` on a copy), on a machine you trust",
                )),
                age::ssh::Identity::Unsupported(_) => {
                    Err(bad("an OpenSSH key of a kind age does not use".into()))
                }
            };
        }
        let mut keys = Vec::new();
        for (n, line) in identity_lines(text) {
            if line.starts_with("AGE-PLUGIN-") {
                return Err(refuse(
                    "it is a plugin identity",
                    "open `epoch-N.age` with the `age` tool and that plugin, as RECOVER.txt shows",
                ));
            }
            let key = line
                .parse()
                .map_err(|_| bad(format!("line {n} is no age identity")))?;
            keys.push(OwnerKey::X25519(key));
        }
        if keys.is_empty() {
            return Err(bad("no identity in it".into()));
        }
        Ok(OpenIdentity(keys))
    }

    /// The public halves, to seal to.
    pub fn recipients(&self) -> Vec<Recipient> {
        let one = |key: &OwnerKey| match key {
            OwnerKey::X25519(k) => Some(k.to_public().into()),
            OwnerKey::Ssh(k) => age::ssh::Recipient::try_from((**k).clone())
                .ok()
                .map(Recipient::from),
        };
        self.0.iter().filter_map(one).collect()
    }
}

impl Opens for OpenIdentity {
    fn identities(&self) -> Vec<&dyn age::Identity> {
        self.0.iter().map(OwnerKey::as_age).collect()
    }
    fn name(&self) -> &'static str {
        "open identity"
    }
}

impl fmt::Debug for OpenIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenIdentity({} keys, not shown)", self.0.len())
    }
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
