//! The records of the content log (formats.md, "Two logs").
//!
//! Every kind has its number now. A kind, or a field of one, that this version does not act on is
//! refused on replay as written by a newer asl-host: a history is never half understood.

use crate::wire::{invalid, newer};
use asl_core::{
    BlockId, ChunkId, Digest, Fields, MapBuilder, Result, SnapshotId, TrustValue, Value,
};

const WHAT: &str = "log record";

/// The number of each kind of record, under key 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// GENESIS: the domain begins.
    Genesis = 1,
    /// EPOCH: keys new data is sealed under.
    Epoch = 2,
    /// ADD_INDEX_ENTRY: an artifact is named.
    AddIndexEntry = 3,
    /// SEAL_SEGMENT: a segment and its blocks are there.
    SealSegment = 4,
    /// MERGE: segments become one.
    Merge = 5,
    /// SNAPSHOT: a manifest was made.
    Snapshot = 6,
    /// PUBLISH.
    Publish = 7,
    /// IMPORT.
    Import = 8,
    /// MIGRATE_OUT.
    MigrateOut = 9,
    /// MIGRATE_IN.
    MigrateIn = 10,
    /// GC_INTENT: blocks that nothing reaches are to go.
    GcIntent = 11,
    /// GC_COMMIT: they are no longer the domain's.
    GcCommit = 12,
    /// FORGET: snapshots are kept no longer, and roots let go.
    Forget = 13,
}

/// A record of the content log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// GENESIS, the first record of a domain and nowhere else.
    Genesis {
        /// The genesis document's bytes; their BLAKE3 is the domain's hash.
        bytes: Vec<u8>,
    },
    /// EPOCH: a new epoch, or the same one with its files wrapped anew.
    Epoch(Epoch),
    /// ADD_INDEX_ENTRY: a named artifact.
    AddIndexEntry {
        /// What the artifact is named for.
        role: Role,
        /// Its top piece.
        id: ChunkId,
        /// The digest of the set of blocks it reaches.
        set: Digest,
    },
    /// SEAL_SEGMENT: an index segment, and with it its blocks.
    SealSegment(SealedSegment),
    /// MERGE: a segment that lists every live block of those it replaces.
    Merge {
        /// The one there is now.
        segment: SealedSegment,
        /// The numbers of those before, ascending, at least one.
        replaced: Vec<u32>,
    },
    /// SNAPSHOT: a manifest was made.
    Snapshot {
        /// The snapshot's number.
        id: SnapshotId,
        /// The digest of `manifest.cbor`.
        manifest: Digest,
        /// Bytes of `manifest.cbor` and `blocks` together.
        bytes: u64,
    },
    /// GC_INTENT: from here on nobody relies anew on these blocks; who does all the same saves them.
    GcIntent {
        /// Live blocks, ascending, at least one.
        blocks: Vec<BlockId>,
    },
    /// GC_COMMIT: what was to go has gone; the files go after it.
    GcCommit {
        /// Blocks of an earlier GC_INTENT that nothing has relied on since, ascending.
        blocks: Vec<BlockId>,
        /// Segments whose every block is gone, or is listed by another segment, ascending.
        segments: Vec<u32>,
    },
    /// FORGET: these are kept no longer. What only they reached is for gc.
    Forget {
        /// Snapshots, ascending; not the newest.
        snapshots: Vec<SnapshotId>,
        /// Roots that no later snapshot names, ascending.
        roots: Vec<ChunkId>,
    },
}

/// What a named artifact is named for; the number under key 1 of ADD_INDEX_ENTRY.
///
/// 2 (put), 3 (import) and 4 (PER) have their place and are not acted on yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A root: what an ingest made.
    Root = 1,
}

/// The fields of EPOCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The epoch's number, from 1.
    pub number: u32,
    /// The data recipient, as age writes it (`age1...`).
    pub recipient: String,
    /// Files of `store/encryption/` by name, with their digests.
    pub files: Vec<(String, Digest)>,
}

/// The fields of SEAL_SEGMENT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// The segment's number; its directory is `seg-000001`.
    pub number: u32,
    /// The epoch it and its blocks are sealed under; 0 is plain.
    pub epoch: u32,
    /// BLAKE3 of its plaintext under the epoch's MAC key.
    pub trust: TrustValue,
    /// The digest of its file.
    pub file: Digest,
    /// Bytes of its file.
    pub bytes: u64,
    /// Its blocks with their sizes in bytes, ascending by id.
    pub blocks: Vec<(BlockId, u64)>,
}

impl SealedSegment {
    fn put(&self, map: MapBuilder) -> MapBuilder {
        map.put(1, self.number)
            .put(2, self.epoch)
            .put(3, self.trust)
            .put(4, self.file)
            .put(5, self.bytes)
            .list(6, self.blocks.iter().map(|(id, size)| pair(*id, *size)))
    }

    fn read(f: &mut Fields) -> Result<SealedSegment> {
        Ok(SealedSegment {
            number: f.uint32(1)?,
            epoch: f.uint32(2)?,
            trust: f.id(3)?,
            file: f.id(4)?,
            bytes: f.uint(5)?,
            blocks: read_blocks(f.list(6)?)?,
        })
    }
}

impl Record {
    /// The kind of the record.
    pub fn kind(&self) -> RecordKind {
        match self {
            Record::Genesis { .. } => RecordKind::Genesis,
            Record::Epoch(_) => RecordKind::Epoch,
            Record::AddIndexEntry { .. } => RecordKind::AddIndexEntry,
            Record::SealSegment(_) => RecordKind::SealSegment,
            Record::Merge { .. } => RecordKind::Merge,
            Record::Snapshot { .. } => RecordKind::Snapshot,
            Record::GcIntent { .. } => RecordKind::GcIntent,
            Record::GcCommit { .. } => RecordKind::GcCommit,
            Record::Forget { .. } => RecordKind::Forget,
        }
    }

    /// The record as it stands in a frame.
    pub fn to_value(&self) -> Value {
        let map = MapBuilder::new().put(0, self.kind() as u8);
        match self {
            Record::Genesis { bytes } => map.put(1, Value::Bytes(bytes.clone())),
            Record::Epoch(e) => map
                .put(1, e.number)
                .put(2, e.recipient.as_str())
                .list(3, e.files.iter().map(|(n, d)| pair(n.as_str(), *d))),
            Record::AddIndexEntry { role, id, set } => {
                map.put(1, *role as u8).put(2, *id).put(3, *set)
            }
            Record::SealSegment(s) => s.put(map),
            Record::Merge { segment, replaced } => {
                segment.put(map).list(7, replaced.iter().copied())
            }
            Record::Snapshot {
                id,
                manifest,
                bytes,
            } => map.put(1, id.number()).put(2, *manifest).put(3, *bytes),
            Record::GcIntent { blocks } => map.list(1, blocks.iter().copied()),
            Record::GcCommit { blocks, segments } => map
                .list(1, blocks.iter().copied())
                .list(2, segments.iter().copied()),
            Record::Forget { snapshots, roots } => map
                .list(1, snapshots.iter().map(|s| s.number()))
                .list(2, roots.iter().copied()),
        }
        .build()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// `Invalid` where it is malformed, or of a kind or with a field that this version does not
    /// act on; then it says that a newer asl-host wrote it.
    pub fn from_value(value: Value) -> Result<Record> {
        let mut f = Fields::of(value, WHAT)?;
        let kind = f.uint(0)?;
        let record = match kind {
            1 => Record::Genesis { bytes: f.bytes(1)? },
            2 => Record::Epoch(Epoch {
                number: f.uint32(1)?,
                recipient: f.text(2)?,
                files: read_files(f.list(3)?)?,
            }),
            3 => {
                let role = match f.uint(1)? {
                    1 => Role::Root,
                    other => return Err(newer(WHAT, &format!("ADD_INDEX_ENTRY role {other}"))),
                };
                Record::AddIndexEntry {
                    role,
                    id: f.id(2)?,
                    set: f.id(3)?,
                }
            }
            4 => Record::SealSegment(SealedSegment::read(&mut f)?),
            5 => {
                let segment = SealedSegment::read(&mut f)?;
                let replaced = ascending(read_numbers(f.list(7)?)?, "segments")?;
                if replaced.is_empty() {
                    return Err(invalid(WHAT, "it replaces no segment"));
                }
                Record::Merge { segment, replaced }
            }
            6 => Record::Snapshot {
                id: SnapshotId::new(f.uint32(1)?)?,
                manifest: f.id(2)?,
                bytes: f.uint(3)?,
            },
            11 => {
                let blocks = ascending(f.ids(1)?, "blocks")?;
                if blocks.is_empty() {
                    return Err(invalid(WHAT, "it names no block"));
                }
                Record::GcIntent { blocks }
            }
            12 => Record::GcCommit {
                blocks: ascending(f.ids(1)?, "blocks")?,
                segments: ascending(read_numbers(f.list(2)?)?, "segments")?,
            },
            13 => {
                let numbers = read_numbers(f.list(1)?)?.into_iter();
                let snapshots = numbers.map(SnapshotId::new).collect::<Result<_>>()?;
                Record::Forget {
                    snapshots: ascending(snapshots, "snapshots")?,
                    roots: ascending(f.ids(2)?, "roots")?,
                }
            }
            7..=10 => return Err(newer(WHAT, &format!("kind {kind} ({})", name(kind)))),
            other => return Err(newer(WHAT, &format!("kind {other}"))),
        };
        f.finish()
            .map_err(|e| newer(WHAT, &format!("kind {kind} with {}", e.why())))?;
        Ok(record)
    }
}

fn name(kind: u64) -> &'static str {
    match kind {
        7 => "PUBLISH",
        8 => "IMPORT",
        9 => "MIGRATE_OUT",
        _ => "MIGRATE_IN",
    }
}

fn pair(a: impl Into<Value>, b: impl Into<Value>) -> Value {
    Value::Array(vec![a.into(), b.into()])
}

fn read_pair(value: Value) -> Result<(Value, Value)> {
    let bad = || invalid(WHAT, "not a pair");
    let items = value.into_array().map_err(|_| bad())?;
    <[Value; 2]>::try_from(items)
        .map(|[a, b]| (a, b))
        .map_err(|_| bad())
}

fn read_id(value: Value) -> Result<[u8; 32]> {
    value
        .into_bytes()
        .ok()
        .and_then(|b| <[u8; 32]>::try_from(b).ok())
        .ok_or_else(|| invalid(WHAT, "not an id of 32 bytes"))
}

fn read_files(items: Vec<Value>) -> Result<Vec<(String, Digest)>> {
    let files = items
        .into_iter()
        .map(|item| {
            let (name, digest) = read_pair(item)?;
            let name = name
                .into_text()
                .map_err(|_| invalid(WHAT, "a file's name is not a text"))?;
            Ok((name, Digest::from(read_id(digest)?)))
        })
        .collect::<Result<Vec<_>>>()?;
    if !files.windows(2).all(|w| matches!(w, [a, b] if a.0 < b.0)) {
        return Err(invalid(WHAT, "its files are not in order"));
    }
    Ok(files)
}

fn read_blocks(items: Vec<Value>) -> Result<Vec<(BlockId, u64)>> {
    let blocks = items
        .into_iter()
        .map(|item| {
            let (id, size) = read_pair(item)?;
            let size = size
                .as_integer()
                .and_then(|i| u64::try_from(i).ok())
                .ok_or_else(|| invalid(WHAT, "a block's size is not a number"))?;
            Ok((BlockId::from(read_id(id)?), size))
        })
        .collect::<Result<Vec<_>>>()?;
    if blocks.is_empty() || !blocks.windows(2).all(|w| matches!(w, [a, b] if a.0 < b.0)) {
        return Err(invalid(WHAT, "its blocks are not in order"));
    }
    Ok(blocks)
}

fn read_numbers(items: Vec<Value>) -> Result<Vec<u32>> {
    let number = |item: Value| {
        item.as_integer()
            .and_then(|i| u32::try_from(i).ok())
            .ok_or_else(|| invalid(WHAT, "not a number where one belongs"))
    };
    items.into_iter().map(number).collect()
}

fn ascending<T: PartialOrd>(items: Vec<T>, what: &str) -> Result<Vec<T>> {
    match items.windows(2).all(|w| matches!(w, [a, b] if a < b)) {
        true => Ok(items),
        false => Err(invalid(WHAT, &format!("its {what} are not in order"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asl_core::canon;

    fn samples() -> Vec<Record> {
        vec![
            Record::Genesis { bytes: vec![1, 2] },
            Record::Epoch(Epoch {
                number: 1,
                recipient: "age1x".into(),
                files: vec![
                    ("epoch-1.age".into(), [1; 32].into()),
                    ("epoch-1.keys.age".into(), [2; 32].into()),
                ],
            }),
            Record::AddIndexEntry {
                role: Role::Root,
                id: [3; 32].into(),
                set: [4; 32].into(),
            },
            Record::SealSegment(SealedSegment {
                number: 1,
                epoch: 0,
                trust: [5; 32].into(),
                file: [6; 32].into(),
                bytes: 7,
                blocks: vec![([1; 32].into(), 8), ([2; 32].into(), 9)],
            }),
            Record::Snapshot {
                id: SnapshotId::new(1).unwrap(),
                manifest: [7; 32].into(),
                bytes: 10,
            },
            Record::GcIntent {
                blocks: vec![[1; 32].into(), [2; 32].into()],
            },
            Record::GcCommit {
                blocks: vec![[1; 32].into(), [2; 32].into()],
                segments: vec![1, 3],
            },
            Record::Forget {
                snapshots: vec![SnapshotId::new(1).unwrap(), SnapshotId::new(2).unwrap()],
                roots: vec![[1; 32].into(), [2; 32].into()],
            },
        ]
    }

    fn change(record: &Record, key: i64, value: Option<Value>) -> Result<Record> {
        let Value::Map(mut pairs) = record.to_value() else {
            unreachable!()
        };
        pairs.retain(|(k, _)| *k != Value::from(key));
        pairs.extend(value.map(|v| (Value::from(key), v)));
        Record::from_value(Value::Map(pairs))
    }

    #[test]
    fn every_record_is_read_back() {
        for r in samples() {
            let bytes = canon::encode(&r.to_value());
            let value = canon::decode(&bytes, "t", canon::Limits::FRAME).unwrap();
            assert_eq!(Record::from_value(value).unwrap(), r);
        }
    }

    #[test]
    fn a_kind_that_is_not_acted_on_yet_is_refused_as_written_by_a_newer_program() {
        for kind in [0u64, 7, 8, 9, 10, 14, u64::MAX] {
            let e = Record::from_value(MapBuilder::new().put(0, kind).build()).unwrap_err();
            assert!(e.why().contains("newer asl-host"), "{kind}: {e}");
        }
        for r in samples() {
            let e = change(&r, 99, Some(Value::from(1))).unwrap_err();
            assert!(e.why().contains("newer asl-host"), "{e}");
        }
        let e = change(&samples()[2], 1, Some(Value::from(2))).unwrap_err();
        assert!(e.why().contains("newer asl-host"), "{e}");
    }

    #[test]
    fn a_malformed_record_is_refused() {
        for r in samples() {
            let keys = r.to_value().as_map().unwrap().len() as i64;
            for key in 0..keys {
                assert!(change(&r, key, None).is_err(), "{r:?} without {key}");
                let wrong = Some(Value::Bool(true));
                assert!(change(&r, key, wrong).is_err(), "{r:?} key {key}");
            }
        }
        let two = |a: u8, b: u8| {
            let block = |n| pair(BlockId::from([n; 32]), 1);
            Value::Array(vec![block(a), block(b)])
        };
        for bad in [two(2, 1), two(1, 1), Value::Array(vec![])] {
            assert!(change(&samples()[3], 6, Some(bad)).is_err());
        }
        assert!(change(&samples()[4], 1, Some(Value::from(0))).is_err());
        let ids = |a: u8, b: u8| {
            let id = |n: u8| Value::from(BlockId::from([n; 32]));
            Value::Array(vec![id(a), id(b)])
        };
        let numbers = |a: u32, b: u32| Value::Array(vec![a.into(), b.into()]);
        for (a, b) in [(2, 1), (1, 1)] {
            for (sample, key) in [(5, 1), (6, 1), (7, 2)] {
                assert!(change(&samples()[sample], key, Some(ids(a, b))).is_err());
            }
            for (sample, key) in [(6, 2), (7, 1)] {
                let bad = numbers(a.into(), b.into());
                assert!(change(&samples()[sample], key, Some(bad)).is_err());
            }
        }
        assert!(change(&samples()[5], 1, Some(Value::Array(vec![]))).is_err());
        assert!(change(&samples()[7], 1, Some(numbers(0, 1))).is_err());
    }
}
