//! Checkpoints: CURRENT as it was at a head, so that opening replays only what came after
//! (formats.md, "Two logs").
//!
//! Derived, and never believed for itself: a checkpoint counts only where the log holds the frame
//! of its head at the place it names. Two places are written in turn, so that one is always whole.
//! One whose frame the log does not hold is evidence that the log was cut short, unless it is of
//! another domain.

use crate::current::Current;
use crate::log::{self, Evidence, Head, LogForm, Start};
use crate::record::Record;
use crate::store::read_whole;
use crate::wire::{invalid, len32, Reader};
use crate::{ledger, names};
use asl_backend::{Backend, Name};
use asl_core::canon::{self, Limits};
use asl_core::{Digest, Fields, Kind, LogSeq, MapBuilder, Result};

const WHAT: &str = "checkpoint";
const MAGIC: &[u8; 8] = b"ASLCHKPT";
const VERSION: u16 = 1;
const KIND: &str = "asl.checkpoint/1";
/// Bytes of the digest at the end.
const TRAILER: usize = 32;
/// Bytes of a checkpoint at most: what a backend reads at once.
const MAX: u64 = 256 << 20;
/// The first bytes, in which its head is found.
const HEAD: u64 = 4096;

/// The places, written in turn.
const SLOTS: [u32; 2] = [1, 2];

/// CURRENT at a head, and what opening needs beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) current: Current,
    /// Where in the log the head's frame begins.
    pub(crate) frame_at: u64,
    /// Bytes of the ledger that tell of the commits up to the head.
    pub(crate) ledger: u64,
}

impl Checkpoint {
    /// The file: header, the head's map and CURRENT as records, each with its length, digest.
    ///
    /// # Errors
    /// `Invalid` where it would not be read back as it is.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let head = self.current.head;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        let state = MapBuilder::document(KIND)
            .put(1, head.commit)
            .put(2, head.logseq.0)
            .put(3, head.frame)
            .put(4, head.stored_bytes)
            .put(5, self.frame_at)
            .put(6, self.ledger)
            .put(7, self.current.last_segment)
            .put(8, self.current.freed);
        push(&mut out, &state.encode())?;
        for record in self.current.to_records() {
            push(&mut out, &canon::encode(&record.to_value()))?;
        }
        let digest = Digest::of(&out);
        out.extend_from_slice(digest.as_bytes());
        // A state that its records do not say whole is not to be believed later.
        if out.len() as u64 > MAX || Checkpoint::decode(&out).as_ref() != Ok(self) {
            return Err(invalid(WHAT, "it would not be read back as it is"));
        }
        Ok(out)
    }

    /// Reads a checkpoint's file.
    ///
    /// # Errors
    /// `Invalid` where it is not what was written.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Checkpoint> {
        let (body, digest) = bytes
            .len()
            .checked_sub(TRAILER)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or_else(|| invalid(WHAT, "ends too early"))?;
        if Digest::of(body).as_bytes().as_slice() != digest {
            return Err(invalid(WHAT, "its digest is not that of its bytes"));
        }
        let mut r = begin(body)?;
        let mut f = state(&mut r)?;
        let head = head_of(&mut f)?;
        let (frame_at, ledger) = (f.uint(5)?, f.uint(6)?);
        let (last_segment, freed) = (f.uint32(7)?, f.uint(8)?);
        f.finish()?;
        let mut current = Current::default();
        while !r.rest().is_empty() {
            let length = r.u32()? as usize;
            let value = canon::decode(r.take(length)?, WHAT, Limits::FRAME)?;
            current.take(Record::from_value(value)?, head.commit)?;
        }
        current.last_segment = last_segment;
        current.freed = freed;
        current.head = head;
        Ok(Checkpoint {
            current,
            frame_at,
            ledger,
        })
    }
}

fn push(out: &mut Vec<u8>, item: &[u8]) -> Result<()> {
    out.extend_from_slice(&len32(WHAT, item.len())?.to_le_bytes());
    out.extend_from_slice(item);
    Ok(())
}

fn begin(bytes: &[u8]) -> Result<Reader<'_>> {
    let mut r = Reader::new(WHAT, bytes);
    r.magic(MAGIC)?;
    r.version(VERSION)?;
    r.zero(2)?;
    Ok(r)
}

fn state(r: &mut Reader<'_>) -> Result<Fields> {
    let length = r.u32()? as usize;
    Fields::document(r.take(length)?, KIND, Limits::DOCUMENT)
}

fn head_of(f: &mut Fields) -> Result<Head> {
    Ok(Head {
        commit: f.uint(1)?,
        logseq: LogSeq(f.uint(2)?),
        frame: f.id(3)?,
        stored_bytes: f.uint(4)?,
    })
}

/// What lies in one of the places.
pub(crate) struct Slot {
    pub(crate) name: Name,
    pub(crate) read: Result<Checkpoint>,
}

/// Reads every checkpoint there is.
///
/// # Errors
/// `Io`. One that is damaged is no error: its slot says so.
pub(crate) fn all(backend: &dyn Backend) -> Result<Vec<Slot>> {
    let mut slots = Vec::new();
    for number in SLOTS {
        let name = names::checkpoint(number)?;
        match read_whole(backend, &name, MAX) {
            Err(e) if e.kind() == Kind::NotFound => {}
            Err(e) if e.kind() != Kind::Damage => return Err(e),
            read => slots.push(Slot {
                name,
                read: read.and_then(|bytes| Checkpoint::decode(&bytes)),
            }),
        }
    }
    Ok(slots)
}

/// Where the next checkpoint goes, and when it is due.
#[derive(Default)]
pub(crate) struct Schedule {
    /// The place of the one that is believed.
    held: Option<u32>,
    /// Its bytes.
    bytes: u64,
    /// Bytes of the log up to its head.
    log: u64,
    /// Whether one that is not believed lies there, and is to go.
    spoiled: bool,
}

/// What opening begins from.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) checkpoint: Option<(Checkpoint, Start)>,
    /// What checkpoints know of a log that does not hold them.
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) schedule: Schedule,
}

/// The newest checkpoint that the log and the ledger agree with.
///
/// # Errors
/// `Io`.
pub(crate) fn find(backend: &dyn Backend, form: &LogForm) -> Result<Found> {
    let mut found = Found::default();
    let mut order: Vec<(u64, u32)> = Vec::new();
    for number in SLOTS {
        let head = match backend.get(&names::checkpoint(number)?, 0..HEAD) {
            Err(e) if e.kind() == Kind::NotFound => continue,
            read => begin(&read?).and_then(|mut r| head_of(&mut state(&mut r)?)),
        };
        match head {
            Ok(head) => order.push((head.commit, number)),
            Err(_) => found.schedule.spoiled = true,
        }
    }
    order.sort_unstable_by(|a, b| b.cmp(a));
    for (_, number) in order {
        let name = names::checkpoint(number)?;
        // It may be replaced or removed meanwhile, by a writer beside this reader.
        let bytes = match read_whole(backend, &name, MAX) {
            Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Damage) => Vec::new(),
            read => read?,
        };
        let Ok(checkpoint) = Checkpoint::decode(&bytes) else {
            found.schedule.spoiled = true;
            continue;
        };
        let head = checkpoint.current.head;
        let Some(start) = log::find(backend, form, checkpoint.frame_at, &head)? else {
            if is_of(backend, form, &checkpoint)? {
                let from = format!("checkpoint {number}");
                found.evidence.push(Evidence { head, from });
            }
            found.schedule.spoiled = true;
            continue;
        };
        if !ledger::tells_of(backend, &names::seal_log()?, checkpoint.ledger, &head)? {
            found.schedule.spoiled = true;
            continue;
        }
        found.schedule = Schedule {
            held: Some(number),
            bytes: bytes.len() as u64,
            log: start.end,
            ..found.schedule
        };
        found.checkpoint = Some((checkpoint, start));
        break;
    }
    Ok(found)
}

/// Whether the checkpoint is of the log's own domain; of a log without a first frame, any is.
fn is_of(backend: &dyn Backend, form: &LogForm, checkpoint: &Checkpoint) -> Result<bool> {
    let Some(first) = log::first(backend, form)? else {
        return Ok(true);
    };
    let mut records = first.records.into_iter().map(Record::from_value);
    let genesis = &checkpoint.current.genesis;
    Ok(records.any(|r| matches!(r, Ok(Record::Genesis { bytes }) if bytes == *genesis)))
}

impl Schedule {
    /// Whether it is time: while open, after as much log as the last checkpoint is long and `due`
    /// bytes at least; at closing after an eighth of it. So writing them costs no more than the log
    /// itself, and a replay no more than reading one.
    pub(crate) fn is_due(&self, log: u64, closing: bool, due: u64) -> bool {
        let grown = log.saturating_sub(self.log);
        match closing {
            true => self.spoiled || grown > self.bytes / 8,
            false => grown >= self.bytes.max(due),
        }
    }

    /// Writes a checkpoint in the place of the older one. Durable with the next barrier, or never:
    /// what it says is in the log.
    ///
    /// # Errors
    /// `Invalid` where it cannot be written so that it is read back; `Io`.
    pub(crate) fn write(
        &mut self,
        backend: &dyn Backend,
        checkpoint: &Checkpoint,
        log: u64,
    ) -> Result<()> {
        let bytes = checkpoint.encode()?;
        let other = |n: &&u32| Some(**n) != self.held;
        let number = SLOTS.iter().find(other).copied().unwrap_or(1);
        backend.create_dirs(&[names::checkpoint_dir(number)?])?;
        backend.put(&names::checkpoint(number)?, &bytes)?;
        *self = Schedule {
            held: Some(number),
            bytes: bytes.len() as u64,
            log,
            spoiled: false,
        };
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::{Epoch, Role, SealedSegment};
    use asl_core::SnapshotId;

    pub(crate) fn sample() -> Checkpoint {
        let mut current = Current::default();
        let segment = |number: u32, blocks: &[u8]| {
            Record::SealSegment(SealedSegment {
                number,
                epoch: 1,
                trust: [5; 32].into(),
                file: [number as u8; 32].into(),
                bytes: 7,
                blocks: blocks.iter().map(|b| ([*b; 32].into(), 8)).collect(),
            })
        };
        let root = |n: u8| Record::AddIndexEntry {
            role: Role::Root,
            id: [n; 32].into(),
            set: [n + 1; 32].into(),
        };
        let records = [
            Record::Genesis { bytes: vec![1] },
            Record::Epoch(Epoch {
                number: 1,
                recipient: "age1x".into(),
                files: Vec::new(),
            }),
            segment(2, &[1, 2, 4]),
            segment(5, &[3]),
            root(9),
            root(3),
            root(9),
            Record::Snapshot {
                id: SnapshotId::new(4).unwrap(),
                manifest: [6; 32].into(),
                bytes: 10,
            },
            Record::GcIntent {
                blocks: vec![[2; 32].into(), [3; 32].into(), [4; 32].into()],
            },
            Record::GcCommit {
                blocks: vec![[2; 32].into(), [3; 32].into()],
                segments: vec![5],
            },
        ];
        for r in records {
            current.take(r, 0).unwrap();
        }
        current.head.commit = 8;
        Checkpoint {
            current,
            frame_at: 100,
            ledger: 200,
        }
    }

    #[test]
    fn a_checkpoint_says_all_of_current() {
        let c = sample();
        let read = Checkpoint::decode(&c.encode().unwrap()).unwrap();
        assert_eq!(read, c);
        assert_eq!(read.current.root_order, [[3; 32].into(), [9; 32].into()]);
        assert_eq!(read.current.digest(), c.current.digest());
    }

    #[test]
    fn a_checkpoint_that_was_changed_or_cut_is_none() {
        let good = sample().encode().unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(Checkpoint::decode(&bad).is_err(), "byte {at}");
            assert!(Checkpoint::decode(&good[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_state_that_cannot_be_said_is_not_written() {
        let mut c = sample();
        c.current.blocks.insert([77; 32].into(), 1);
        assert!(c.encode().is_err());
    }
}
