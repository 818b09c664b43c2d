//! CURRENT: what the domain holds, replayed from its log (architecture.md, invariant 6).

use crate::log::{Frame, Head};
use crate::record::{Epoch, Record, Role, SealedSegment};
use crate::wire::invalid;
use asl_core::{canon, BlockId, ChunkId, Digest, DomainHash, Result, SnapshotId, Value};
use std::collections::{BTreeMap, BTreeSet};

const WHAT: &str = "content log";

/// A snapshot, as its SNAPSHOT record names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// The digest of `manifest.cbor`.
    pub manifest: Digest,
    /// Bytes of `manifest.cbor` and `blocks` together.
    pub bytes: u64,
}

/// The state of a domain after some frame of its content log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The genesis document's bytes.
    pub genesis: Vec<u8>,
    /// Epochs by number, each as its latest EPOCH record has it.
    pub epochs: BTreeMap<u32, Epoch>,
    /// Live blocks with their sizes in bytes.
    pub blocks: BTreeMap<BlockId, u64>,
    /// Live segments by number.
    pub segments: BTreeMap<u32, SealedSegment>,
    /// Snapshots by number.
    pub snapshots: BTreeMap<SnapshotId, SnapshotEntry>,
    /// Roots by their top piece, with the digest of their block set.
    pub roots: BTreeMap<ChunkId, Digest>,
    /// The same roots in the order of the log: clocks lie, the log does not. Not in the digest,
    /// which the frames already fix.
    pub root_order: Vec<ChunkId>,
    /// Live blocks that a GC_INTENT names and nothing has relied on since: nobody relies on them
    /// anew. Not in the digest, as all that follows.
    pub doomed: BTreeSet<BlockId>,
    /// Bytes of blocks, segments and snapshots named once and let go since.
    pub freed: u64,
    /// The highest number a segment ever had. Not in the digest, as the order of the roots.
    pub last_segment: u32,
    /// The log's head.
    pub head: Head,
}

impl Default for Current {
    fn default() -> Self {
        Current {
            genesis: Vec::new(),
            epochs: BTreeMap::new(),
            blocks: BTreeMap::new(),
            segments: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            roots: BTreeMap::new(),
            root_order: Vec::new(),
            doomed: BTreeSet::new(),
            freed: 0,
            last_segment: 0,
            head: Head::empty(),
        }
    }
}

impl Current {
    /// The domain's hash: BLAKE3-256 of the genesis bytes.
    pub fn domain(&self) -> DomainHash {
        blake3::hash(&self.genesis).into()
    }

    /// The hash of the state: equal wherever the same frames and files are held (invariant 6).
    ///
    /// BLAKE3-256 of the deterministic CBOR of `[head, segment file digests, block ids,
    /// [snapshot number, manifest digest], [root, block set digest]]`.
    pub fn digest(&self) -> Digest {
        let list = |items: Vec<Value>| Value::Array(items);
        let snapshot = |(id, s): (&SnapshotId, &SnapshotEntry)| {
            list(vec![id.number().into(), s.manifest.into()])
        };
        let root = |(id, set): (&ChunkId, &Digest)| list(vec![(*id).into(), (*set).into()]);
        Digest::of(&canon::encode(&list(vec![
            self.head.to_value(),
            list(self.segments.values().map(|s| s.file.into()).collect()),
            list(self.blocks.keys().map(|b| (*b).into()).collect()),
            list(self.snapshots.iter().map(snapshot).collect()),
            list(self.roots.iter().map(root).collect()),
        ])))
    }

    /// The newest snapshot.
    pub fn newest_snapshot(&self) -> Option<(SnapshotId, SnapshotEntry)> {
        self.snapshots.last_key_value().map(|(id, s)| (*id, *s))
    }

    /// Bytes of the objects these records would bring in: a block that is live counts once.
    pub(crate) fn named_bytes(&self, records: &[Record]) -> u64 {
        let mut new = BTreeSet::new();
        records.iter().fold(0u64, |sum, r| {
            let bytes = match r {
                Record::SealSegment(s) => s
                    .blocks
                    .iter()
                    .filter(|(id, _)| !self.blocks.contains_key(id) && new.insert(*id))
                    .fold(s.bytes, |n, (_, size)| n.saturating_add(*size)),
                Record::Merge { segment, .. } => segment.bytes,
                Record::Snapshot { bytes, .. } => *bytes,
                _ => 0,
            };
            sum.saturating_add(bytes)
        })
    }

    /// Takes in one frame, whose chain the log has checked.
    ///
    /// # Errors
    /// `Invalid` where a record contradicts the state; the state is then to be thrown away.
    pub(crate) fn apply(&mut self, frame: &Frame, head: &Head) -> Result<()> {
        let records = frame
            .records
            .iter()
            .cloned()
            .map(Record::from_value)
            .collect::<Result<Vec<Record>>>()?;
        let named = frame.stored_bytes.checked_sub(self.head.stored_bytes);
        if named != Some(self.named_bytes(&records)) {
            return Err(invalid(WHAT, "its stored bytes do not add up"));
        }
        for record in records {
            self.take(record, frame.commit)?;
        }
        if let Some(lost) = frame.relies.iter().find(|b| !self.blocks.contains_key(b)) {
            let why = format!(
                "frame {} relies on block {lost}, which is not live",
                frame.commit
            );
            return Err(invalid(WHAT, &why));
        }
        for block in &frame.relies {
            self.doomed.remove(block);
        }
        self.head = *head;
        Ok(())
    }

    /// Whether the records could follow this state.
    pub(crate) fn check(&self, records: &[Record]) -> Result<()> {
        let mut next = self.clone();
        let take = |r: &Record| next.take(r.clone(), self.head.commit);
        records.iter().try_for_each(take)
    }

    /// The records that make this state of an empty one, numbers and the head apart: what a
    /// checkpoint holds.
    pub(crate) fn to_records(&self) -> impl Iterator<Item = Record> + '_ {
        let genesis = Record::Genesis {
            bytes: self.genesis.clone(),
        };
        let epochs = self.epochs.values().cloned().map(Record::Epoch);
        let segments = self.segments.values().cloned().map(Record::SealSegment);
        // Segments may list blocks that were collected since.
        let listed = self.segments.values().flat_map(|s| &s.blocks);
        let gone: BTreeSet<BlockId> = listed
            .map(|(id, _)| *id)
            .filter(|id| !self.blocks.contains_key(id))
            .collect();
        let collected = parts(gone).flat_map(|blocks| {
            [
                Record::GcIntent {
                    blocks: blocks.clone(),
                },
                Record::GcCommit {
                    blocks,
                    segments: Vec::new(),
                },
            ]
        });
        let doomed = parts(self.doomed.clone()).map(|blocks| Record::GcIntent { blocks });
        let roots = self.root_order.iter().filter_map(|id| {
            Some(Record::AddIndexEntry {
                role: Role::Root,
                id: *id,
                set: *self.roots.get(id)?,
            })
        });
        let snapshots = self.snapshots.iter().map(|(id, s)| Record::Snapshot {
            id: *id,
            manifest: s.manifest,
            bytes: s.bytes,
        });
        std::iter::once(genesis)
            .chain(epochs)
            .chain(segments)
            .chain(collected)
            .chain(doomed)
            .chain(roots)
            .chain(snapshots)
    }

    /// Takes one record in.
    ///
    /// # Errors
    /// `Invalid` where it contradicts the state.
    pub(crate) fn take(&mut self, record: Record, commit: u64) -> Result<()> {
        let bad = |why: &str| Err(invalid(WHAT, &format!("frame {commit}: {why}")));
        let first = self.genesis.is_empty();
        match record {
            Record::Genesis { bytes } => {
                if !first || bytes.is_empty() {
                    return bad("a second or an empty GENESIS");
                }
                self.genesis = bytes;
            }
            _ if first => return bad("it does not begin with GENESIS"),
            Record::Epoch(e) => {
                let newest = self.epochs.last_key_value().map_or(0, |(n, _)| *n);
                if e.number == 0 || e.number > newest.saturating_add(1) {
                    return bad("an epoch out of turn");
                }
                // Its files are wrapped anew for other owners; it stays the epoch it was.
                let known = self.epochs.get(&e.number);
                if known.is_some_and(|known| known.recipient != e.recipient) {
                    return bad("an epoch that changes for whom it was sealed");
                }
                self.epochs.insert(e.number, e);
            }
            Record::AddIndexEntry { id, set, .. } => {
                if self.roots.insert(id, set).is_some() {
                    self.root_order.retain(|earlier| *earlier != id);
                }
                self.root_order.push(id);
            }
            Record::SealSegment(s) => {
                if s.number <= self.last_segment {
                    return bad("a segment out of turn");
                }
                let known = match s.epoch {
                    0 => self.epochs.is_empty(),
                    n => self.epochs.contains_key(&n),
                };
                if !known {
                    return bad("a segment of an epoch that the domain does not have");
                }
                for (id, size) in &s.blocks {
                    if *self.blocks.entry(*id).or_insert(*size) != *size {
                        return bad("a block with two sizes");
                    }
                    self.doomed.remove(id);
                }
                self.last_segment = s.number;
                self.segments.insert(s.number, s);
            }
            Record::Merge { segment, replaced } => {
                if !self.merge(segment, &replaced) {
                    return bad("a merged segment is not that of those it replaces");
                }
            }
            Record::Snapshot {
                id,
                manifest,
                bytes,
            } => {
                if self
                    .newest_snapshot()
                    .is_some_and(|(newest, _)| id <= newest)
                {
                    return bad("a snapshot out of turn");
                }
                self.snapshots.insert(id, SnapshotEntry { manifest, bytes });
            }
            Record::GcIntent { blocks } => {
                if blocks.iter().any(|id| !self.blocks.contains_key(id)) {
                    return bad("a block is to go that is not live");
                }
                self.doomed.extend(blocks);
            }
            Record::GcCommit { blocks, segments } => {
                if !self.collect(&blocks, &segments) {
                    return bad("something goes that is still needed");
                }
            }
            Record::Forget { snapshots, roots } => {
                let newest = self.newest_snapshot().map(|(id, _)| id);
                for id in snapshots {
                    match self.snapshots.remove(&id) {
                        Some(entry) if Some(id) != newest => {
                            self.freed = self.freed.saturating_add(entry.bytes);
                        }
                        _ => return bad("a snapshot is forgotten that is the newest or is none"),
                    }
                }
                for id in roots {
                    if self.roots.remove(&id).is_none() {
                        return bad("a root is let go that is none");
                    }
                    self.root_order.retain(|root| *root != id);
                }
            }
        }
        Ok(())
    }

    /// Puts one segment for several; false where it does not list every live block of theirs, and
    /// no other.
    fn merge(&mut self, segment: SealedSegment, replaced: &[u32]) -> bool {
        let mut listed = BTreeMap::new();
        for number in replaced {
            match self.segments.remove(number) {
                Some(gone) if gone.epoch == segment.epoch => {
                    self.freed = self.freed.saturating_add(gone.bytes);
                    listed.extend(gone.blocks);
                }
                _ => return false,
            }
        }
        listed.retain(|id, _| self.blocks.contains_key(id));
        let follows = segment.number > self.last_segment;
        let same = listed.into_iter().eq(segment.blocks.iter().copied());
        self.last_segment = segment.number;
        self.segments.insert(segment.number, segment);
        follows && same
    }

    /// Takes blocks and segments out; false where a block was not to go, or a segment is the only
    /// one that lists a live block.
    fn collect(&mut self, blocks: &[BlockId], segments: &[u32]) -> bool {
        for id in blocks {
            match self.blocks.remove(id) {
                Some(size) if self.doomed.remove(id) => {
                    self.freed = self.freed.saturating_add(size);
                }
                _ => return false,
            }
        }
        let mut listed = BTreeSet::new();
        for number in segments {
            let Some(gone) = self.segments.remove(number) else {
                return false;
            };
            self.freed = self.freed.saturating_add(gone.bytes);
            listed.extend(gone.blocks.into_iter().map(|(id, _)| id));
        }
        listed.retain(|id| self.blocks.contains_key(id));
        for segment in self.segments.values() {
            if listed.is_empty() {
                break;
            }
            for (id, _) in &segment.blocks {
                listed.remove(id);
            }
        }
        listed.is_empty()
    }
}

/// Blocks in order, as many together as a record is read with.
fn parts(blocks: BTreeSet<BlockId>) -> impl Iterator<Item = Vec<BlockId>> {
    let mut blocks = blocks.into_iter();
    std::iter::from_fn(move || {
        let part: Vec<BlockId> = blocks.by_ref().take(100_000).collect();
        (!part.is_empty()).then_some(part)
    })
}
