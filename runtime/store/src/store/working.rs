//! Working files: what one session leaves to the next, below `index/working/` (formats.md,
//! "Working files").
//!
//! They are derived and local: never named by the log, never replicated, and gone without harm.
//! Each is sealed to the index identity and proven by a trust value over its name and its content,
//! so that a changed, swapped or foreign one is told from one's own.

use super::open::read_whole;
use super::Store;
use crate::sealer::Part;
use crate::wire::Reader;
use crate::{names, wire};
use asl_core::{Error, Kind, Result};

/// Bytes of a working file at most: 64 MiB.
pub const MAX_WORKING: u64 = 64 << 20;

const WHAT: &str = "working file";
const MAGIC: &[u8; 8] = b"ASLWORKF";
const VERSION: u16 = 1;

impl Store {
    /// A key of the current epoch for one use, such as hashing the paths of one source.
    ///
    /// # Errors
    /// `Refused` where no key is at hand.
    pub fn working_key(&self, about: &[u8]) -> Result<[u8; 32]> {
        let sealer = self.sealer()?;
        let text = [b"asl.working-key/1\0", about].concat();
        sealer.mac(sealer.epoch(), &text).map(|key| *key.as_bytes())
    }

    /// The names of all working files, sorted.
    ///
    /// # Errors
    /// `Io`.
    pub fn working_files(&self) -> Result<Vec<String>> {
        self.backend.list(&names::working()?)
    }

    /// Reads a working file that this domain's keys made under this name.
    ///
    /// # Errors
    /// `NotFound`; `Damage` where it is anything else; `Invalid` where a newer asl-host wrote it;
    /// `Refused` where its epoch's keys are not at hand; `Io`.
    pub fn read_working(&self, name: &str) -> Result<Vec<u8>> {
        let sealer = self.sealer()?;
        let path = names::working()?.join(name)?;
        let bad = |why: &str| Error::new(Kind::Damage, "trust", &path, why);
        let file = read_whole(&*self.backend, &path, MAX_WORKING)?;
        let mut r = Reader::new(WHAT, &file);
        r.magic(MAGIC).map_err(|e| bad(e.why()))?;
        r.version(VERSION)?;
        r.zero(2).map_err(|e| bad(e.why()))?;
        let epoch = r.u32().map_err(|e| bad(e.why()))?;
        let trust = r.array::<32>().map_err(|e| bad(e.why()))?;
        let epochs = &self.current().epochs;
        // Epoch 0 is that of a domain which seals nothing.
        let known = epochs.contains_key(&epoch) || (epoch == 0 && epochs.is_empty());
        if !known {
            return Err(bad("it is of an epoch that the domain does not have"));
        }
        let opened = sealer.open(Part::Working, epoch, r.rest());
        let plain = opened.map_err(|e| match e.kind() {
            // Whoever holds an epoch's keys opens its working files.
            Kind::Refused if sealer.mac(epoch, &[]).is_ok() => bad("it is sealed to other keys"),
            _ => e,
        })?;
        if *sealer.mac(epoch, &plain)?.as_bytes() != trust {
            return Err(bad("its trust value is not that of its content"));
        }
        let mut r = Reader::new(WHAT, &plain);
        let named = r.u8().and_then(|n| r.take(n.into()));
        if named.map_err(|e| bad(e.why()))? != name.as_bytes() {
            return Err(bad("it was written under another name"));
        }
        Ok(r.rest().to_vec())
    }

    /// Writes a working file in place of the one of that name; durable after the next commit.
    ///
    /// # Errors
    /// `Refused` where the store is read-only or no key is at hand; `Invalid` for a name over 255
    /// bytes or content over [`MAX_WORKING`]; `Io`.
    pub fn write_working(&self, name: &str, content: &[u8]) -> Result<()> {
        self.pipeline()?;
        let sealer = self.sealer()?;
        let long = |_| wire::invalid(WHAT, "its name is too long");
        let mut plain = Vec::with_capacity(1 + name.len() + content.len());
        plain.push(u8::try_from(name.len()).map_err(long)?);
        plain.extend_from_slice(name.as_bytes());
        plain.extend_from_slice(content);
        let (epoch, sealed) = (sealer.epoch(), sealer.seal(Part::Working, &plain)?);
        let mut file = Vec::with_capacity(48 + sealed.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.extend_from_slice(&[0, 0]);
        file.extend_from_slice(&epoch.to_le_bytes());
        file.extend_from_slice(sealer.mac(epoch, &plain)?.as_bytes());
        file.extend_from_slice(&sealed);
        if file.len() as u64 > MAX_WORKING {
            return Err(wire::invalid(WHAT, "it would be too long"));
        }
        let dir = names::working()?;
        self.backend.create_dirs(std::slice::from_ref(&dir))?;
        self.backend.put(&dir.join(name)?, &file)
    }

    /// Removes a working file.
    ///
    /// # Errors
    /// `Refused` where the store is read-only; `NotFound`; `Io`.
    pub fn remove_working(&self, name: &str) -> Result<()> {
        self.pipeline()?;
        self.backend.remove(&names::working()?.join(name)?)
    }
}
