//! Making good what can be made good from what is here, and saying exactly what cannot.
//!
//! Nothing is thrown away: what is replaced or is not what its name says goes to
//! `store/quarantine/`. Nothing is guessed: a set, a list or a segment that was made anew proves
//! itself by the digest or the trust value that the log names. To repair twice is to repair once.

use crate::current::Current;
use crate::index::Paged;
use crate::record::{Record, SealedSegment};
use crate::sealer::Part;
use crate::segment::{self, Segment};
use crate::store::{read_exact, read_manifest, read_whole, Damage, Store};
use crate::verify::VerifyReport;
use crate::{names, BlockSet, MAX_BLOCK_SET, MAX_SEALED_BLOCK};
use asl_backend::Name;
use asl_core::{BlockId, ChunkId, Digest, Error, Kind, Result, SnapshotId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// What a repair did, and what it could not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Objects made anew.
    pub repaired: Vec<String>,
    /// Where what was replaced, or is not what its name says, is kept now.
    pub quarantined: Vec<String>,
    /// Blocks that are lost here: missing, or not what was written.
    pub lost: Vec<Damage>,
    /// Roots that reach a lost block.
    pub roots: Vec<ChunkId>,
    /// Snapshots that reach a lost block.
    pub snapshots: Vec<SnapshotId>,
    /// What stays damaged, and why.
    pub remains: Vec<Damage>,
}

impl RepairReport {
    fn remains(&mut self, object: &Name, why: impl ToString) {
        self.remains.push(Damage {
            object: object.to_string(),
            why: why.to_string(),
            block: None,
        });
    }

    /// Keeps an error that is about the object, and gives back one of the location itself.
    fn judge<T>(&mut self, object: &Name, done: Result<T>) -> Result<Option<T>> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(e) if matches!(e.kind(), Kind::Damage | Kind::Invalid | Kind::Refused) => {
                self.remains(object, e.why());
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

impl Store {
    /// Repairs block sets, block lists, index segments, the ledger and checkpoints, and sets aside
    /// blocks that are not what was written.
    ///
    /// Segments of an encrypted domain need the open identity: what a block holds is sealed in it.
    /// The ledger is written anew by the next opening for writing.
    ///
    /// # Errors
    /// `Usage` where pieces wait for a commit; `Refused` where the store was opened read-only;
    /// `Interrupted`, after which it is called again; `Concurrent`, `Io`.
    pub fn repair(
        &mut self,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<RepairReport> {
        self.writable("repair")?;
        self.idle("repair")?;
        let mut report = RepairReport::default();
        self.repair_lists(&mut report)?;
        let lost = self.set_lost_aside(&mut report, progress, stop)?;
        self.repair_segments(&lost, &mut report, stop)?;
        self.repair_derived(&mut report)?;
        self.tell_reach(&lost, &mut report)?;
        self.backend.barrier()?;
        Ok(report)
    }

    /// Snapshots' lists from their roots' sets, and sets from the lists.
    fn repair_lists(&mut self, report: &mut RepairReport) -> Result<()> {
        let current = self.current();
        let mut lists: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
        let mut sets: BTreeSet<Digest> = current.roots.values().copied().collect();
        for (id, entry) in &current.snapshots {
            let name = names::manifest(*id)?;
            let read = read_manifest(&*self.backend, *id, &entry.manifest);
            let Some((manifest, _)) = report.judge(&name, read)? else {
                continue;
            };
            sets.extend(manifest.roots.iter().map(|(_, set)| set));
            let name = names::snapshot_blocks(*id)?;
            match read_exact(&*self.backend, &name, &manifest.blocks, MAX_BLOCK_SET) {
                Ok(bytes) => drop(lists.insert(manifest.blocks, bytes)),
                Err(e) if e.kind() != Kind::Damage => return Err(e),
                Err(e) => {
                    let union = self.union(manifest.roots.iter().map(|(_, set)| set));
                    let bytes = union.and_then(|set| set.encode());
                    match bytes.ok().filter(|b| Digest::of(b) == manifest.blocks) {
                        Some(bytes) => self.replace(&name, &bytes, report)?,
                        None => report.remains(&name, e.why()),
                    }
                }
            }
        }
        for digest in sets {
            let name = names::block_set(&digest)?;
            match read_exact(&*self.backend, &name, &digest, MAX_BLOCK_SET) {
                Ok(_) => {}
                Err(e) if e.kind() != Kind::Damage => return Err(e),
                Err(e) => match lists.get(&digest) {
                    Some(bytes) => self.replace(&name, bytes, report)?,
                    None => report.remains(&name, e.why()),
                },
            }
        }
        Ok(())
    }

    fn union<'a>(&self, sets: impl Iterator<Item = &'a Digest>) -> Result<BlockSet> {
        let mut all = BlockSet::default();
        for digest in sets {
            let name = names::block_set(digest)?;
            let bytes = read_exact(&*self.backend, &name, digest, MAX_BLOCK_SET)?;
            all.0.extend(BlockSet::decode(&bytes)?.0);
        }
        Ok(all)
    }

    /// Reads every block; what is not what was written makes room for a good copy.
    fn set_lost_aside(
        &self,
        report: &mut RepairReport,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<BTreeSet<BlockId>> {
        let mut lost = BTreeSet::new();
        for damage in self
            .read_back_but(&BlockSet::default(), progress, stop)?
            .damage
        {
            let Some(id) = damage.block else { continue };
            let name = names::block(&id)?;
            if self.is_whole_after_all(&id, &name) {
                let why = "it could not be read the first time, and the second time it was whole";
                report.remains(&name, why);
                continue;
            }
            match self.set_aside(&name, report) {
                Ok(()) => {}
                // What cannot even be read stays where it is: another tool may get it out.
                Err(e) if e.kind() == Kind::Io => report.remains(&name, e.why()),
                Err(e) => return Err(e),
            }
            self.distrust(&id);
            lost.insert(id);
            report.lost.push(damage);
        }
        Ok(lost)
    }

    /// Whether a block that was found bad reads well now: a medium that failed for a moment has lost
    /// nothing, and nothing that is good is set aside.
    fn is_whole_after_all(&self, id: &BlockId, name: &Name) -> bool {
        let read = read_whole(&*self.backend, name, MAX_SEALED_BLOCK);
        read.is_ok_and(|bytes| BlockId::from(blake3::hash(&bytes)) == *id)
    }

    fn repair_segments(
        &mut self,
        lost: &BTreeSet<BlockId>,
        report: &mut RepairReport,
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        let current = self.current();
        let (mut bad, mut listed) = (Vec::new(), BTreeSet::new());
        for sealed in current.segments.values() {
            match self.judge_segment(sealed) {
                Ok(()) => listed.extend(sealed.blocks.iter().map(|(id, _)| *id)),
                Err(e) if matches!(e.kind(), Kind::Damage | Kind::Invalid) => bad.push(sealed),
                Err(e) => return Err(e),
            }
        }
        for sealed in bad {
            let name = names::segment(sealed.number)?;
            let done = self.rebuild(&current, sealed, lost, &listed, report, stop);
            report.judge(&name, done)?;
        }
        Ok(())
    }

    /// Makes a segment anew from its blocks.
    fn rebuild(
        &self,
        current: &Current,
        sealed: &SealedSegment,
        lost: &BTreeSet<BlockId>,
        listed: &BTreeSet<BlockId>,
        report: &mut RepairReport,
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        let sealer = self.sealer.as_ref().ok_or_else(refused)?;
        let name = names::segment(sealed.number)?;
        let here = |id: &BlockId| current.blocks.contains_key(id) && !lost.contains(id);
        let whole = sealed.blocks.iter().all(|(id, _)| here(id));
        if !whole
            && !sealed
                .blocks
                .iter()
                .any(|(id, _)| here(id) && !listed.contains(id))
        {
            let why = "blocks that it lists are gone; what the others hold, other segments say";
            return Err(Error::new(Kind::Damage, "rebuild", name, why));
        }
        let mut blocks = Vec::new();
        for (id, size) in sealed.blocks.iter().filter(|(id, _)| here(id)) {
            if stop() {
                return Err(Error::new(
                    Kind::Interrupted,
                    "rebuild",
                    name,
                    "it was stopped",
                ));
            }
            blocks.push((*id, self.pieces_of(id, *size, sealed.epoch)?));
        }
        let of = blocks.iter().map(|(id, pieces)| (*id, pieces.as_slice()));
        let built = Segment::of(sealed.epoch, of)?;
        let plain = built.encode()?;
        if whole && sealer.mac(sealed.epoch, &plain)? != sealed.trust {
            let why = "what its blocks hold has not the trust value that the log names";
            return Err(Error::new(Kind::Damage, "rebuild", name, why));
        }
        if sealer.epoch() != sealed.epoch {
            let why = format!("it is of epoch {}, and new segments are not", sealed.epoch);
            return Err(Error::new(Kind::Refused, "rebuild", name, why));
        }
        let file = segment::file(sealed.epoch, &sealer.seal(Part::Segment, &plain)?);
        let paged = if whole && Digest::of(&file) == sealed.file {
            // Not sealed: the same bytes.
            self.replace(&name, &file, report)?;
            Paged::open(&self.backend, sealer, sealed, true)?
        } else {
            let mut writer = self.writer();
            let listed = sealed.blocks.iter().filter(|(id, _)| here(id));
            let paged =
                self.put_segment(&mut writer, sealed.epoch, plain, listed.copied().collect())?;
            let mut records = vec![Record::SealSegment(paged.sealed().clone())];
            if whole {
                records.push(Record::GcCommit {
                    blocks: Vec::new(),
                    segments: vec![sealed.number],
                });
            }
            self.backend.barrier()?;
            self.append_frame(&mut writer, &records, Vec::new())?;
            self.set_aside(&name, report)?;
            report.repaired.push(name.to_string());
            if !whole {
                report.remains(&name, "blocks that it listed are gone");
            }
            paged
        };
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.add(paged);
        Ok(())
    }

    /// Ledger, checkpoints and working files are derived: a bad one goes, and is written anew by the
    /// next writer.
    fn repair_derived(&self, report: &mut RepairReport) -> Result<()> {
        let mut history = VerifyReport::default();
        self.check_history(&mut history)?;
        let is_derived = |object: &String| {
            object.starts_with("log/checkpoints/")
                || names::seal_log().is_ok_and(|ledger| *object == ledger.as_str())
        };
        let bad: BTreeSet<String> = history.damage.into_iter().map(|d| d.object).collect();
        for object in bad.into_iter().filter(is_derived) {
            self.set_aside(&Name::new(object.as_str())?, report)?;
            report.repaired.push(object);
        }
        // A working file that proves nothing only stands in the way of the next.
        for file in self.working_files()? {
            match self.read_working(&file) {
                Err(e) if matches!(e.kind(), Kind::Damage | Kind::Invalid) => {
                    let name = names::working()?.join(&file)?;
                    self.set_aside(&name, report)?;
                    report.repaired.push(name.to_string());
                }
                Err(e) if e.kind() == Kind::Io => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Which roots and snapshots reach a lost block.
    fn tell_reach(&self, lost: &BTreeSet<BlockId>, report: &mut RepairReport) -> Result<()> {
        let current = self.current();
        let hit = |set: &BlockSet| !set.0.is_disjoint(lost);
        for (root, digest) in &current.roots {
            // Where its set is damaged too, that stands among what remains.
            if self.union([digest].into_iter()).is_ok_and(|set| hit(&set)) {
                report.roots.push(*root);
            }
        }
        for (id, manifest) in self.manifests() {
            let list = manifest.and_then(|m| self.snapshot_blocks(&m));
            if list.is_ok_and(|set| hit(&set)) {
                report.snapshots.push(id);
            }
        }
        Ok(())
    }

    fn replace(&self, name: &Name, bytes: &[u8], report: &mut RepairReport) -> Result<()> {
        self.set_aside(name, report)?;
        self.backend.put_new(name, bytes)?;
        report.repaired.push(name.to_string());
        Ok(())
    }

    /// Moves an object to quarantine; one that is missing is none to move.
    fn set_aside(&self, name: &Name, report: &mut RepairReport) -> Result<()> {
        let bytes = match read_whole(&*self.backend, name, MAX_BLOCK_SET) {
            Err(e) if e.kind() == Kind::NotFound => return Ok(()),
            other => other?,
        };
        let short: String = blake3::hash(&bytes).to_hex().chars().take(16).collect();
        let flat = name.as_str().replace('/', "~");
        let dir = names::quarantine()?;
        let kept = dir.join(&format!("{flat}-{short}"))?;
        self.backend.create_dirs(&[dir])?;
        match self.backend.put_new(&kept, &bytes) {
            Err(e) if e.kind() == Kind::Exists => {}
            other => other?,
        }
        self.backend.barrier()?;
        self.backend.remove(name)?;
        report.quarantined.push(kept.to_string());
        Ok(())
    }
}

fn refused() -> Error {
    let why = "what its blocks hold is sealed, and no key is at hand";
    Error::new(Kind::Refused, "rebuild", "a segment", why).next("bring the owner's identity")
}
