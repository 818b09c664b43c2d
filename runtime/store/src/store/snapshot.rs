//! Snapshots: manifest, block list, record (formats.md, "Snapshots").

use super::open::read_whole;
use super::Store;
use crate::current::Current;
use crate::manifest::{Manifest, ManifestSegment, SnapshotTerms};
use crate::record::Record;
use crate::{names, BlockSet, MAX_BLOCK_SET, MAX_MANIFEST};
use asl_backend::Backend;
use asl_core::{Digest, Error, Kind, Result, SnapshotId};
use std::collections::BTreeSet;

impl Store {
    /// Makes a snapshot of CURRENT, as of the last commit, and gives its number and the
    /// manifest's bytes. The signature is for whoever has a key, beside it.
    ///
    /// The number is claimed by putting the manifest where none is; then `blocks` is written, a
    /// barrier passed, and the SNAPSHOT record appended.
    ///
    /// # Errors
    /// `Damage` where a root's block set is missing or damaged; `Invalid` where the manifest would
    /// be over 16 MiB; `Refused`, `Concurrent`, `Io`.
    pub fn snapshot(&self, terms: &SnapshotTerms) -> Result<(SnapshotId, Vec<u8>)> {
        if self.mode == crate::Mode::Read {
            return Err(Error::new(
                Kind::Refused,
                "snapshot",
                "the store",
                "it was opened read-only",
            ));
        }
        let mut writer = self.writer();
        let current = self.current();
        let set = reached(&*self.backend, &current)?;
        let list = set.encode()?;
        let mut manifest = self.describe(&current, terms, &set, Digest::of(&list))?;
        let bytes = loop {
            let bytes = manifest.encode();
            Manifest::decode(&bytes)?;
            self.backend
                .create_dirs(&[names::snapshot_dir(manifest.id)?])?;
            match self.backend.put_new(&names::manifest(manifest.id)?, &bytes) {
                Err(e) if e.kind() == Kind::Exists => manifest.id = after(manifest.id)?,
                other => break other.map(|()| bytes)?,
            }
        };
        let id = manifest.id;
        self.backend.put_new(&names::snapshot_blocks(id)?, &list)?;
        self.backend.barrier()?;
        let record = Record::Snapshot {
            id,
            manifest: Digest::of(&bytes),
            bytes: (bytes.len() + list.len()) as u64,
        };
        // Readers of CURRENT must not keep the old one alive while it advances.
        drop(current);
        self.append_frame(&mut writer, &[record], Vec::new())?;
        Ok((id, bytes))
    }

    fn describe(
        &self,
        current: &Current,
        terms: &SnapshotTerms,
        set: &BlockSet,
        blocks: Digest,
    ) -> Result<Manifest> {
        let newest = current.newest_snapshot();
        let segment = |s: &crate::SealedSegment| ManifestSegment {
            number: s.number,
            epoch: s.epoch,
            trust: s.trust,
            file: s.file,
        };
        let sizes = set.0.iter().filter_map(|id| current.blocks.get(id));
        Ok(Manifest {
            domain: current.domain(),
            id: match newest {
                Some((id, _)) => after(id)?,
                None => SnapshotId::new(1)?,
            },
            parent: newest.map(|(_, entry)| entry.manifest),
            head: current.head,
            current: current.digest(),
            roots: current.roots.iter().map(|(r, s)| (*r, *s)).collect(),
            segments: current.segments.values().map(segment).collect(),
            blocks,
            block_count: set.0.len() as u64,
            block_bytes: sizes.fold(0u64, |sum, n| sum.saturating_add(*n)),
            holes: terms.holes,
            read_back: terms.read_back,
            durability: self.backend.durability(),
            dam: terms.dam,
            delegation: terms.delegation,
            host: terms.host,
            time: terms.time,
        })
    }

    /// The manifests of all snapshots that the log names, each as far as it can be read.
    pub fn manifests(&self) -> Vec<(SnapshotId, Result<Manifest>)> {
        let current = self.current();
        let read = |(id, entry): (&SnapshotId, &crate::SnapshotEntry)| {
            let manifest = read_manifest(&*self.backend, *id, &entry.manifest);
            (*id, manifest.map(|(m, _)| m))
        };
        current.snapshots.iter().map(read).collect()
    }
}

impl Store {
    /// The blocks of a snapshot, as its manifest names them.
    ///
    /// # Errors
    /// `Damage` where the list is missing or is another; `Io`.
    pub fn snapshot_blocks(&self, manifest: &Manifest) -> Result<BlockSet> {
        let name = names::snapshot_blocks(manifest.id)?;
        let bytes = read_exact(&*self.backend, &name, &manifest.blocks, MAX_BLOCK_SET)?;
        BlockSet::decode(&bytes)
    }
}

/// Reads a manifest that must have this digest; gives its length too.
///
/// # Errors
/// `Damage` where it is missing or another; `Invalid`, `Io`.
pub(crate) fn read_manifest(
    backend: &dyn Backend,
    id: SnapshotId,
    digest: &Digest,
) -> Result<(Manifest, u64)> {
    let name = names::manifest(id)?;
    let bytes = read_exact(backend, &name, digest, MAX_MANIFEST)?;
    Ok((Manifest::decode(&bytes)?, bytes.len() as u64))
}

/// Reads an object that must have this digest.
///
/// # Errors
/// `Damage` where it is missing or has not; `Io`.
pub(crate) fn read_exact(
    backend: &dyn Backend,
    name: &asl_backend::Name,
    digest: &Digest,
    limit: u64,
) -> Result<Vec<u8>> {
    let bad = |why: &str| {
        Err(Error::new(Kind::Damage, "read", name, why)
            .next("fetch it from a holder of this domain"))
    };
    match read_whole(backend, name, limit) {
        Ok(bytes) if Digest::of(&bytes) == *digest => Ok(bytes),
        Ok(_) => bad("its bytes are not those the log names"),
        Err(e) if e.kind() == Kind::NotFound => bad("it is missing"),
        Err(e) => Err(e),
    }
}

/// The union of the roots' block sets.
///
/// # Errors
/// `Damage` where a set is missing or damaged.
pub(crate) fn reached(backend: &dyn Backend, current: &Current) -> Result<BlockSet> {
    let mut all = BTreeSet::new();
    let digests: BTreeSet<&Digest> = current.roots.values().collect();
    for digest in digests {
        let name = names::block_set(digest)?;
        let bytes = read_exact(backend, &name, digest, MAX_BLOCK_SET)?;
        all.extend(BlockSet::decode(&bytes)?.0);
    }
    Ok(BlockSet(all))
}

fn after(id: SnapshotId) -> Result<SnapshotId> {
    SnapshotId::new(id.number().wrapping_add(1))
}
