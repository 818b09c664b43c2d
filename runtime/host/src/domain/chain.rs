//! A domain's chain of DAMs and what was revoked, as they lie on this host.
//!
//! Both prove themselves: a DAM by the roots before it, a revocation by the DAM it names. So they
//! are read from the directory; only an admission's DAM counts by the record of that admission.

use crate::layout::domain as place;
use asl_auth::{Dam, Revocation, VerifiedDam};
use asl_backend::files;
use asl_core::{Digest, Error, Kind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes of a document or its signatures at most.
const LONGEST: u64 = 256 << 10;

/// The DAMs of a domain, the oldest first, and all that is revoked.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// As each was when it was verified: what was revoked later took nothing from it.
    dams: Vec<VerifiedDam>,
    /// The newest, with all that is revoked by now.
    in_force: Option<VerifiedDam>,
}

impl Chain {
    /// Reads and verifies the chain. Without a record that can be trusted (`None`), admissions are
    /// followed as far as they are there.
    ///
    /// # Errors
    /// `Refused` where a DAM does not follow the one before it; `Invalid`, `Io`.
    pub(super) fn read(dir: &Path, recorded: Option<&BTreeMap<u32, Digest>>) -> Result<Chain> {
        let mut found = of_admissions(dir, recorded)?;
        for path in documents(&dir.join(place::DAMS))? {
            found.push(signed(&path)?);
        }
        let mut ordered = Vec::with_capacity(found.len());
        for (bytes, sig) in found {
            ordered.push((Dam::decode(&bytes)?.sequence, bytes, sig));
        }
        ordered.sort_by_key(|(sequence, ..)| *sequence);
        let mut chain = Chain::default();
        for (_, bytes, sig) in ordered {
            let next = Dam::verify(&bytes, &sig, chain.dams.last())?;
            if chain.dams.last().map(VerifiedDam::digest) != Some(next.digest()) {
                chain.dams.push(next);
            }
        }
        chain.in_force = chain.dams.last().cloned();
        Ok(chain)
    }

    /// Takes up what is revoked, as far as it can be read.
    ///
    /// # Errors
    /// `Damage` where what lies among the revocations is none: something that was revoked may
    /// count again.
    pub(super) fn read_revoked(&mut self, dir: &Path) -> Result<()> {
        let mut all_read = Ok(());
        for path in documents(&dir.join(place::REVOCATIONS))? {
            match self.revocation_at(&path) {
                Ok(revocation) => self.revoke(revocation),
                Err(e) if all_read.is_ok() => {
                    all_read = Err(Error::new(Kind::Damage, "trust", path.display(), e.why())
                        .next("bring the revocation again: `asl-host revocation apply`"));
                }
                Err(_) => {}
            }
        }
        all_read
    }

    fn revocation_at(&self, path: &Path) -> Result<Revocation> {
        let (bytes, sig) = signed(path)?;
        let unknown = || {
            let why = "the DAM that it names is not here";
            Error::new(Kind::Damage, "read", path.display(), why)
        };
        let named = Revocation::decode(&bytes)?.dam;
        Revocation::verify(&bytes, &sig, self.named(&named).ok_or_else(unknown)?)
    }

    /// The DAM in force.
    pub(super) fn in_force(&self) -> Option<&VerifiedDam> {
        self.in_force.as_ref()
    }

    /// A DAM of the chain by its digest, as it was.
    pub(super) fn named(&self, digest: &Digest) -> Option<&VerifiedDam> {
        self.dams.iter().find(|d| d.digest() == *digest)
    }

    /// A DAM of the chain by its digest, with all that is revoked by now.
    pub(super) fn judged(&self, digest: &Digest) -> Option<VerifiedDam> {
        let mut dam = self.named(digest)?.clone();
        let revoked = self.in_force.iter().flat_map(|d| d.revoked().all());
        revoked.for_each(|r| dam.revoke(r.clone()));
        Some(dam)
    }

    /// One more DAM, verified against the one in force.
    pub(super) fn push(&mut self, dam: VerifiedDam) {
        self.in_force = Some(dam.clone());
        self.dams.push(dam);
    }

    /// One more thing revoked, verified.
    pub(super) fn revoke(&mut self, revocation: Revocation) {
        if let Some(dam) = &mut self.in_force {
            dam.revoke(revocation);
        }
    }
}

type Bytes = (Vec<u8>, Vec<u8>);

/// The DAMs that the recorded admissions were made under, the founding one included.
fn of_admissions(dir: &Path, recorded: Option<&BTreeMap<u32, Digest>>) -> Result<Vec<Bytes>> {
    let mut found = Vec::new();
    for number in 1.. {
        match recorded {
            // The remains of a crash beside the recorded ones are nobody's word.
            Some(all) if number > 1 && number > all.keys().max().copied().unwrap_or(0) => break,
            Some(all) if number > 1 && !all.contains_key(&number) => continue,
            _ => {}
        }
        match signed(&dir.join(place::admission(number)).join("dam.cbor")) {
            Ok(dam) => found.push(dam),
            Err(e) if e.kind() == Kind::NotFound && e.object().ends_with("dam.cbor") => break,
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// A document and its signatures.
fn signed(path: &Path) -> Result<Bytes> {
    let bytes = files::read_limited(path, LONGEST)?;
    let sig = files::read_limited(&path.with_extension("sig"), LONGEST)?;
    Ok((bytes, sig))
}

/// The documents in a directory, in the order of their names; none where there is no directory.
fn documents(dir: &Path) -> Result<Vec<PathBuf>> {
    let names = match files::names(dir) {
        Err(e) if e.kind() == Kind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let paths = names.iter().map(|name| dir.join(name));
    Ok(paths
        .filter(|p| p.extension().is_some_and(|e| e == "cbor"))
        .collect())
}
