//! The log's chain, and what is derived from it or hangs on it.

use super::VerifyReport;
use crate::checkpoint::{self, Slot};
use crate::current::Current;
use crate::ledger::{self, Ledger};
use crate::log::{Evidence, Frame, FrameLog, Head, Mode};
use crate::record::{Record, RecordKind};
use crate::store::{content_form, manifest_heads, reached, read_exact, read_manifest, Store};
use crate::{names, BlockSet, MAX_BLOCK_SET};
use asl_core::{BlockId, Digest, Result, SnapshotId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A state that a manifest must agree with, and the blocks its roots reach.
struct Before {
    digest: Digest,
    head: Head,
    reached: Result<BlockSet>,
}

impl Store {
    /// Replays the log anew and compares it with everything that speaks of it.
    pub(crate) fn check_history(&self, report: &mut VerifyReport) -> Result<()> {
        let ledger = Ledger::read(Arc::clone(&self.backend), names::seal_log()?, 0)?;
        let mut evidence: Vec<Evidence> = ledger.evidence().collect();
        // Lines are written after their commit: a crash leaves the last ones owed, which the next
        // writer adds. Only what lacks before others is damage.
        let written = evidence.iter().map(|e| e.head.commit).max().unwrap_or(0);
        evidence.extend(manifest_heads(&*self.backend, None)?);
        let (mut fresh, mut missing, mut owed) = (Current::default(), 0usize, 0usize);
        let mut before: BTreeMap<SnapshotId, Before> = BTreeMap::new();
        let held = self.current();
        let checkpoints = checkpoint::all(&*self.backend)?;
        let (mut agrees, mut said) = (false, BTreeSet::new());
        let log = FrameLog::open(
            Arc::clone(&self.backend),
            content_form()?,
            Mode::Read,
            [0; 16],
            &evidence,
            &mut |frame, head| {
                let kept = |id: &SnapshotId| held.snapshots.contains_key(id);
                if let Some(id) = snapshot_of(frame).filter(kept) {
                    let at = Before {
                        digest: fresh.digest(),
                        head: fresh.head,
                        reached: reached(&*self.backend, &fresh),
                    };
                    before.insert(id, at);
                }
                fresh.apply(frame, head)?;
                // A commit whose ledger line is still being written is none that lacks it.
                if head.commit <= held.head.commit {
                    let lacks = ledger.lacks(ledger::lines(frame, head)?).len();
                    match head.commit > written && !ledger.is_spoiled() {
                        true => owed += lacks,
                        false => missing += lacks,
                    }
                }
                agrees |= fresh == *held;
                let same = |slot: &&Slot| slot.read.as_ref().is_ok_and(|c| c.current == fresh);
                said.extend(
                    checkpoints
                        .iter()
                        .filter(same)
                        .map(|slot| slot.name.to_string()),
                );
                Ok(())
            },
        );
        let name = names::content_log()?;
        let log = match log {
            Ok(log) => log,
            Err(e) => return report.judge(name, e),
        };
        for e in log.damage() {
            report.damaged(e.object(), e.why());
        }
        report.frames = log.head().commit;
        if log.torn_bytes() > 0 {
            let note = format!("{name}: {} bytes of a torn tail", log.torn_bytes());
            report.notes.push(note);
        }
        if !agrees && log.damage().is_empty() {
            report.damaged(&name, "replaying it does not give CURRENT");
        }
        for slot in &checkpoints {
            match &slot.read {
                Err(e) => report.damaged(&slot.name, e.why()),
                Ok(_) if said.contains(slot.name.as_str()) => {}
                Ok(_) => report.damaged(&slot.name, "it says another state than the log had"),
            }
        }
        if missing > 0 {
            let why = format!("{missing} lines of it are missing or changed");
            report.damaged(names::seal_log()?, why);
        }
        if owed > 0 {
            let name = names::seal_log()?;
            let note =
                format!("{name}: {owed} lines are owed since a crash; the next writer adds them");
            report.notes.push(note);
        }
        self.check_snapshots(&held, &before, report)?;
        self.check_sets(&held, report)
    }

    fn check_snapshots(
        &self,
        current: &Current,
        before: &BTreeMap<SnapshotId, Before>,
        report: &mut VerifyReport,
    ) -> Result<()> {
        for (id, entry) in &current.snapshots {
            report.snapshots += 1;
            let name = names::manifest(*id)?;
            let (manifest, length) = match read_manifest(&*self.backend, *id, &entry.manifest) {
                Ok(read) => read,
                Err(e) => {
                    report.judge(&name, e)?;
                    continue;
                }
            };
            let Some(was) = before.get(id) else {
                continue;
            };
            let agrees = manifest.id == *id
                && manifest.domain == current.domain()
                && manifest.current == was.digest
                && manifest.head.frame == was.head.frame
                && manifest.head.commit == was.head.commit
                && manifest.head.logseq == was.head.logseq;
            if !agrees {
                report.damaged(&name, "it speaks of another state than the log had");
            }
            let list = names::snapshot_blocks(*id)?;
            let read = read_exact(&*self.backend, &list, &manifest.blocks, MAX_BLOCK_SET);
            match read.and_then(|bytes| Ok((BlockSet::decode(&bytes)?, bytes.len() as u64))) {
                Err(e) => report.judge(&list, e)?,
                Ok((set, bytes)) => {
                    // A root's set that cannot be read is told of where the sets are checked.
                    if was.reached.as_ref().is_ok_and(|reached| *reached != set) {
                        report.damaged(&list, "its roots reach other blocks");
                    }
                    if bytes + length != entry.bytes {
                        report.damaged(&name, "the log says another length");
                    }
                }
            }
        }
        for dir in self.backend.list(&names::snapshots()?)? {
            let id = dir.parse();
            if id.is_ok_and(|id| !current.snapshots.contains_key(&id))
                && !self
                    .backend
                    .list(&names::snapshots()?.join(&dir)?)?
                    .is_empty()
            {
                let note = format!("{dir}: named by no commit; gc removes it");
                report.notes.push(note);
            }
        }
        Ok(())
    }

    fn check_sets(&self, current: &Current, report: &mut VerifyReport) -> Result<()> {
        let digests: BTreeSet<&Digest> = current.roots.values().collect();
        for digest in digests {
            report.sets += 1;
            let name = names::block_set(digest)?;
            let read = read_exact(&*self.backend, &name, digest, MAX_BLOCK_SET);
            match read.and_then(|bytes| BlockSet::decode(&bytes)) {
                Err(e) => report.judge(&name, e)?,
                Ok(set) => {
                    let live = |id: &BlockId| current.blocks.contains_key(id);
                    if let Some(dead) = set.0.iter().find(|id| !live(id)) {
                        report.damaged(&name, format!("it names block {dead}, which is not live"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn snapshot_of(frame: &Frame) -> Option<SnapshotId> {
    frame.records.iter().find_map(|value| {
        let (_, kind) = value.as_map()?.first()?;
        if *kind != (RecordKind::Snapshot as u8).into() {
            return None;
        }
        match Record::from_value(value.clone()) {
            Ok(Record::Snapshot { id, .. }) => Some(id),
            _ => None,
        }
    })
}
