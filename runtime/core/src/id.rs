//! Ids that validate at parse and are safe as a path component.

use crate::{Error, Kind, Result, Value};
use std::fmt;
use std::str::FromStr;

fn bad(what: &str, text: &str, why: &str) -> Error {
    // A hostile name is shown cut and escaped, never echoed raw to a terminal.
    let shown: String = text.chars().take(80).collect();
    Error::new(Kind::Invalid, "read", what, format!("{shown:?} {why}"))
}

fn hex_digit(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    }
}

fn from_hex(what: &str, text: &str) -> Result<[u8; 32]> {
    let refuse = || bad(what, text, "is not 64 lower-case hexadecimal digits");
    let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| refuse())?;
    let mut id = [0u8; 32];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (hex_digit(pair[0]), hex_digit(pair[1])) else {
            return Err(refuse());
        };
        *byte = high << 4 | low;
    }
    Ok(id)
}

macro_rules! id32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 32 bytes; written as 64 lower-case hexadecimal digits.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                $name(bytes)
            }
        }

        impl From<blake3::Hash> for $name {
            fn from(hash: blake3::Hash) -> Self {
                $name(*hash.as_bytes())
            }
        }

        impl From<$name> for Value {
            fn from(id: $name) -> Value {
                Value::Bytes(id.0.to_vec())
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                from_hex(stringify!($name), text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

id32! {
    /// The BLAKE3-256 of some bytes.
    Digest
}
id32! {
    /// The name of a sealed block: BLAKE3-256 of the sealed bytes (seed 004, phase 1).
    BlockId
}
id32! {
    /// The public identity of an artifact: type tag, metadata and logical bytes (seed 004, phase 2).
    ArtifactKey
}
id32! {
    /// The name of a stored piece, keyed in an encrypted domain so that no host can test for it.
    ChunkId
}
id32! {
    /// The hash of a genesis record: the full name of a domain.
    DomainHash
}
id32! {
    /// The hash of a commit frame, which the next frame repeats.
    FrameHash
}
id32! {
    /// The fingerprint of a public key: BLAKE3-256 of its raw bytes.
    KeyId
}
id32! {
    /// What makes an index segment trusted: BLAKE3 of its plaintext under the epoch's MAC key.
    TrustValue
}

impl Digest {
    /// The digest of these bytes, as `b3sum` prints it.
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }
}

/// A domain's short human name: `[a-z0-9][a-z0-9.-]{0,47}`, not ending in a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = text.len() <= 48
            && text.as_bytes().first().is_some_and(alnum)
            && text.bytes().all(|b| alnum(&b) || b == b'.' || b == b'-')
            && !text.ends_with('.');
        if fits {
            Ok(Label(text.to_string()))
        } else {
            Err(bad("label", text, "is not a label")
                .next("use 1 to 48 of a-z, 0-9, '.' and '-', starting with a letter or digit, not ending in '.'"))
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The directory name of a domain: `label~` and the first 12 hex digits of its genesis hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId {
    label: Label,
    short: String,
}

impl DomainId {
    /// Names the directory of the domain with this label and genesis hash.
    pub fn new(label: Label, hash: &DomainHash) -> Self {
        let mut short = hash.to_string();
        short.truncate(12);
        DomainId { label, short }
    }

    /// The label.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Whether this directory name belongs to that genesis.
    pub fn names(&self, hash: &DomainHash) -> bool {
        hash.to_string().starts_with(&self.short)
    }
}

impl FromStr for DomainId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let refuse = || bad("domain id", text, "is not label~ and 12 hexadecimal digits");
        let (label, short) = text.split_once('~').ok_or_else(refuse)?;
        if short.len() != 12 || !short.bytes().all(|b| hex_digit(b).is_some()) {
            return Err(refuse());
        }
        Ok(DomainId {
            label: label.parse()?,
            short: short.to_string(),
        })
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}", self.label, self.short)
    }
}

/// What kind of thing an artifact is, such as `cert.x509`: `[a-z0-9][a-z0-9.-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeTag(String);

impl TypeTag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TypeTag {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        let starts = text
            .as_bytes()
            .first()
            .is_some_and(|b| good(*b) && *b != b'.' && *b != b'-');
        if starts && text.len() <= 64 && text.bytes().all(good) {
            Ok(TypeTag(text.to_string()))
        } else {
            Err(bad(
                "type tag",
                text,
                "is not 1 to 64 of a-z, 0-9, '.' and '-', starting with a letter or digit",
            ))
        }
    }
}

impl fmt::Display for TypeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A position in the content log: the number of records before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogSeq(pub u64);

impl fmt::Display for LogSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a snapshot within its domain, from 1; its directory is `snap-000001`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(u32);

impl SnapshotId {
    /// The snapshot with this number.
    ///
    /// # Errors
    /// `Invalid` for 0.
    pub fn new(number: u32) -> Result<Self> {
        if number == 0 {
            return Err(bad("snapshot id", "0", "is not a number from 1"));
        }
        Ok(SnapshotId(number))
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl FromStr for SnapshotId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.strip_prefix("snap-").unwrap_or(text);
        let spelled =
            (1..=10).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse() {
            Ok(number) if spelled => SnapshotId::new(number),
            _ => Err(bad("snapshot id", text, "is not like snap-000043 or 43")),
        }
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snap-{:06}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_as_it_is_written() {
        let d = Digest::of(b"x");
        assert_eq!(d.to_string().parse::<Digest>().unwrap(), d);
        let id = DomainId::new(
            "alice.personal".parse().unwrap(),
            &DomainHash::from([0xab; 32]),
        );
        assert_eq!(id.to_string(), "alice.personal~abababababab");
        assert_eq!(id.to_string().parse::<DomainId>().unwrap(), id);
        assert!(id.names(&DomainHash::from([0xab; 32])));
        assert!(!id.names(&DomainHash::from([0xac; 32])));
        assert_eq!("snap-000043".parse::<SnapshotId>().unwrap().number(), 43);
        assert_eq!(
            "43".parse::<SnapshotId>().unwrap().to_string(),
            "snap-000043"
        );
    }

    #[test]
    fn a_name_that_could_leave_its_directory_is_refused() {
        for text in [
            "", ".", "..", "../x", "a/b", ".hidden", "a.", "A", "a b", "a\0", "-x", "a~b",
        ] {
            assert!(text.parse::<Label>().is_err(), "{text:?}");
            assert!(text.parse::<DomainId>().is_err(), "{text:?}");
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
            assert!(text.parse::<SnapshotId>().is_err(), "{text:?}");
        }
        assert!("a".repeat(49).parse::<Label>().is_err());
        assert!("alice~ABABABABABAB".parse::<DomainId>().is_err());
        assert!("alice~../../../../".parse::<DomainId>().is_err());
        assert!("AB".repeat(32).parse::<Digest>().is_err());
        assert!("snap-0".parse::<SnapshotId>().is_err());
        assert!("snap-+1".parse::<SnapshotId>().is_err());
        assert!("a/b".parse::<TypeTag>().is_err());
    }

    #[test]
    fn a_hostile_name_cannot_write_to_the_terminal() {
        let e = "\x1b[2Jboo".parse::<Label>().unwrap_err();
        assert!(!e.to_string().contains('\x1b'), "{e}");
    }
}
