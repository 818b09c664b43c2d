//! The key stick and the key directory at home: the same files, one in `asl-keys/` on a medium
//! labelled `ASL-KEYS`, the other wherever `key generate` was told (formats.md, "Key stick").

mod hosts;

pub use hosts::HostPin;

use asl_auth::MAX_EPOCHS;
use asl_backend::files;
use asl_core::{Error, Kind, Result};
use std::path::{Path, PathBuf};

/// The file system label of a key stick.
pub const LABEL: &str = "ASL-KEYS";

/// The directory on the stick.
const DIRECTORY: &str = "asl-keys";

/// No file on a stick is longer; the binary that lies beside them is not read.
const LONGEST: u64 = 64 << 10;

/// DAMs and revocations looked for at most.
const DOCUMENTS: u64 = 1000;

/// File names that several commands need.
pub mod name {
    /// The Domain Authority Manifest.
    pub const DAM: &str = "dam.cbor";
    /// Its signatures.
    pub const DAM_SIG: &str = "dam.sig";
    /// The seal credential under the passphrase.
    pub const SEAL: &str = "seal.age";
    /// The operator key under the passphrase.
    pub const OPERATOR: &str = "operator.age";
    /// The operator's public key.
    pub const OPERATOR_PUB: &str = "operator.pub";
    /// That the owner's key opened a probe.
    pub const PROVEN: &str = "proven.cbor";
    /// The operator's signature over it.
    pub const PROVEN_SIG: &str = "proven.sig";
    /// The hosts to ask.
    pub const HOSTS: &str = "hosts.toml";
    /// What an appliance does by itself.
    pub const PROFILE: &str = "profile.toml";
    /// The directory of revocations.
    pub const REVOCATIONS: &str = "revocations";
    /// How to open everything with other people's tools.
    pub const RECOVER: &str = "RECOVER.txt";
    /// The owner's age identity: at home only, never bundled.
    pub const OWNER: &str = "owner.txt";
    /// The owner's recipients, one a line.
    pub const OWNER_PUB: &str = "owner.pub";
    /// A root key: at home only, never bundled.
    pub const ROOT_KEY: &str = "root.key";
    /// The root public keys.
    pub const ROOT_PUB: &str = "root.pub";
}

/// A document with its detached signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The document's bytes.
    pub bytes: Vec<u8>,
    /// Its COSE_Sign.
    pub sig: Vec<u8>,
}

/// The two wrapped files of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochFiles {
    /// The epoch's number.
    pub number: u32,
    /// The data identity, wrapped for the owner.
    pub identity: Vec<u8>,
    /// The chunk-id and MAC keys, wrapped for index identity and data identity.
    pub keys: Vec<u8>,
}

/// A directory of key files.
#[derive(Clone, Debug)]
pub struct KeyStick {
    dir: PathBuf,
}

impl KeyStick {
    /// Opens the key files of a mounted stick, or of a key directory.
    ///
    /// # Errors
    /// `NotFound` where neither the directory nor its `asl-keys/` holds a seal credential.
    pub fn open(at: &Path) -> Result<Self> {
        [at.join(DIRECTORY), at.to_path_buf()]
            .into_iter()
            .find(|dir| dir.join(name::SEAL).is_file())
            .map(|dir| KeyStick { dir })
            .ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    "find keys in",
                    at.display(),
                    "there is no seal.age",
                )
                .next(
                    "mount the stick labelled ASL-KEYS, or make keys with `asl-host key generate`",
                )
            })
    }

    /// Opens a directory with documents, whether or not keys lie there: what the holder of a root
    /// key is given, or a host.
    ///
    /// # Errors
    /// `NotFound` where neither the directory nor its `asl-keys/` holds a DAM.
    pub fn documents(at: &Path) -> Result<Self> {
        [at.join(DIRECTORY), at.to_path_buf()]
            .into_iter()
            .find(|dir| dir.join(name::DAM).is_file())
            .map(|dir| KeyStick { dir })
            .ok_or_else(|| {
                let why = "there is no dam.cbor";
                Error::new(Kind::NotFound, "find documents in", at.display(), why)
                    .next("name a key directory, a mounted key stick, or a directory with dam.cbor")
            })
    }

    /// Makes a directory below, if it is not there.
    ///
    /// # Errors
    /// `Io`.
    pub fn make_dir(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        std::fs::create_dir_all(&path).map_err(|e| Error::new(Kind::Io, "make", path.display(), e))
    }

    /// Begins a stick: makes `asl-keys/` and `asl-keys/roots/` on the mounted medium.
    ///
    /// # Errors
    /// `Io`, and `Exists` where the stick holds keys already.
    pub fn create(mounted: &Path) -> Result<Self> {
        let dir = Self::folder(mounted);
        if dir.join(name::SEAL).exists() {
            return Err(Error::new(
                Kind::Exists,
                "write keys to",
                mounted.display(),
                "it holds keys already",
            )
            .next("use another stick, or remove its asl-keys folder yourself"));
        }
        std::fs::create_dir_all(dir.join("roots")).map_err(|e| {
            Error::new(Kind::Io, "make", dir.display(), e)
                .next("see whether the medium is there, whole, and not write-protected")
        })?;
        Ok(KeyStick { dir })
    }

    /// Where the keys lie on a mounted medium, whether or not there are any.
    pub fn folder(mounted: &Path) -> PathBuf {
        mounted.join(DIRECTORY)
    }

    /// Removes one file, if it is there.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::new(Kind::Io, "remove", path.display(), e)
                    .next("see whether the medium is write-protected"))
            }
            _ => Ok(()),
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Reads one file.
    ///
    /// # Errors
    /// `NotFound`, `Io`, and `Invalid` for a file longer than any here is.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        files::read_limited(&self.dir.join(name), LONGEST)
    }

    /// Reads one file that may be missing.
    ///
    /// # Errors
    /// As [`KeyStick::read`], but for `NotFound`.
    pub fn read_optional(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.read(name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads a text file.
    ///
    /// # Errors
    /// As [`KeyStick::read`], and `Invalid` where it is not UTF-8.
    pub fn text(&self, name: &str) -> Result<String> {
        String::from_utf8(self.read(name)?).map_err(|_| {
            Error::new(
                Kind::Invalid,
                "read",
                self.dir.join(name).display(),
                "it is not text",
            )
        })
    }

    /// Writes one file whole; an existing one is replaced only if it may be (`replace`).
    ///
    /// # Errors
    /// `Io`, and `Exists` where it is there and may not be replaced.
    pub fn write(&self, name: &str, bytes: &[u8], replace: bool) -> Result<()> {
        let path = self.dir.join(name);
        if replace {
            files::replace(&path, bytes, 0o600)
        } else {
            files::write_new(&path, bytes, 0o600)
        }
    }

    /// The DAM and its signatures.
    ///
    /// # Errors
    /// As [`KeyStick::read`].
    pub fn dam(&self) -> Result<Signed> {
        Ok(Signed {
            bytes: self.read(name::DAM)?,
            sig: self.read(name::DAM_SIG)?,
        })
    }

    /// The epoch files, in order from epoch 1.
    ///
    /// # Errors
    /// As [`KeyStick::read`].
    pub fn epochs(&self) -> Result<Vec<EpochFiles>> {
        let mut found = Vec::new();
        for number in 1..=MAX_EPOCHS {
            let Some(identity) = self.read_optional(&format!("epoch-{number}.age"))? else {
                break;
            };
            let keys = self.read(&format!("epoch-{number}.keys.age"))?;
            found.push(EpochFiles {
                number,
                identity,
                keys,
            });
        }
        Ok(found)
    }

    /// The DAMs before the one in force that are kept here, in order.
    ///
    /// # Errors
    /// As [`KeyStick::read`].
    pub fn earlier_dams(&self) -> Result<Vec<Signed>> {
        (1..=DOCUMENTS)
            .filter_map(|number| self.signed(&format!("dam-{number}")).transpose())
            .collect()
    }

    /// The revocations that are kept here, with their names, in order.
    ///
    /// # Errors
    /// As [`KeyStick::read`].
    pub fn revocations(&self) -> Result<Vec<(String, Signed)>> {
        (1..=DOCUMENTS)
            .map(|number| format!("{}/revocation-{number}", name::REVOCATIONS))
            .filter_map(|name| {
                let signed = self.signed(&name).transpose()?;
                Some(signed.map(|signed| (name, signed)))
            })
            .collect()
    }

    /// A document and its signatures; `None` where either is missing.
    fn signed(&self, name: &str) -> Result<Option<Signed>> {
        let bytes = self.read_optional(&format!("{name}.cbor"))?;
        let sig = self.read_optional(&format!("{name}.sig"))?;
        Ok(bytes.zip(sig).map(|(bytes, sig)| Signed { bytes, sig }))
    }
}
