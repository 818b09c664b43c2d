//! The manifest of a snapshot (formats.md, "Snapshots").

use crate::log::Head;
use crate::wire::invalid;
use asl_backend::Durability;
use asl_core::canon::Limits;
use asl_core::{
    ChunkId, Digest, DomainHash, Fields, FrameHash, KeyId, LogSeq, MapBuilder, Result, SnapshotId,
    Timestamp, TrustValue, Value,
};

const KIND: &str = "asl.manifest/1";

/// Whether every block was read back from the medium before the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// It was skipped.
    Skipped = 0,
    /// It was done, and every block was as written.
    Done = 1,
}

/// A segment as a manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestSegment {
    /// Its number.
    pub number: u32,
    /// Its epoch; 0 is plain.
    pub epoch: u32,
    /// Its trust value.
    pub trust: TrustValue,
    /// The digest of its file.
    pub file: Digest,
}

/// A snapshot's manifest, `manifest.cbor`.
///
/// The digest of its bytes names it, signatures excluded. All in it is numbers, times, ids and
/// digests: it stands in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The domain.
    pub domain: DomainHash,
    /// The snapshot's number.
    pub id: SnapshotId,
    /// The digest of the manifest before it.
    pub parent: Option<Digest>,
    /// The log's head before the SNAPSHOT record; its `stored_bytes` is not kept and reads 0.
    pub head: Head,
    /// The digest of CURRENT at that head.
    pub current: Digest,
    /// The roots, ascending, each with the digest of its block set.
    pub roots: Vec<(ChunkId, Digest)>,
    /// The live segments, ascending by number.
    pub segments: Vec<ManifestSegment>,
    /// The digest of the file `blocks` beside it.
    pub blocks: Digest,
    /// Blocks in that file.
    pub block_count: u64,
    /// Bytes of those blocks.
    pub block_bytes: u64,
    /// Holes and problems the sources had, as the ingest counted them.
    pub holes: u64,
    /// Whether the blocks were read back.
    pub read_back: ReadBack,
    /// Whether the medium keeps them without power.
    pub durability: Durability,
    /// The manifest of authority it was made under.
    pub dam: Option<Digest>,
    /// The delegation of the device key that may sign it.
    pub delegation: Option<Digest>,
    /// The host it was made on.
    pub host: KeyId,
    /// When, as the host claims it.
    pub time: Timestamp,
}

impl Manifest {
    /// The document's kind, which its signatures cover as external data.
    pub const KIND: &'static str = KIND;

    /// The manifest's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let root = |(id, set): &(ChunkId, Digest)| Value::Array(vec![(*id).into(), (*set).into()]);
        let segment = |s: &ManifestSegment| {
            Value::Array(vec![
                s.number.into(),
                s.epoch.into(),
                s.trust.into(),
                s.file.into(),
            ])
        };
        MapBuilder::document(KIND)
            .put(1, self.domain)
            .put(2, self.id.number())
            .opt(3, self.parent)
            .put(4, self.head.to_value())
            .put(5, self.current)
            .list(6, self.roots.iter().map(root))
            .list(7, self.segments.iter().map(segment))
            .put(8, self.blocks)
            .list(9, [self.block_count, self.block_bytes])
            .put(10, self.holes)
            .put(11, self.read_back as u8)
            .put(12, u8::from(self.durability == Durability::Durable))
            .opt(13, self.dam)
            .opt(14, self.delegation)
            .put(15, self.host)
            .put(16, self.time)
            .encode()
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// `Invalid` where it is malformed, in another spelling, over 16 MiB, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Manifest> {
        let mut f = Fields::document(bytes, KIND, Limits::FRAME)?;
        let manifest = Manifest {
            domain: f.id(1)?,
            id: SnapshotId::new(f.uint32(2)?)?,
            parent: f.opt(3, Fields::id)?,
            head: read_head(f.value(4)?)?,
            current: f.id(5)?,
            roots: f
                .list(6)?
                .into_iter()
                .map(read_root)
                .collect::<Result<_>>()?,
            segments: f
                .list(7)?
                .into_iter()
                .map(read_segment)
                .collect::<Result<_>>()?,
            blocks: f.id(8)?,
            block_count: 0,
            block_bytes: 0,
            holes: f.uint(10)?,
            read_back: if bit(f.uint(11)?)? {
                ReadBack::Done
            } else {
                ReadBack::Skipped
            },
            durability: if bit(f.uint(12)?)? {
                Durability::Durable
            } else {
                Durability::Volatile
            },
            dam: f.opt(13, Fields::id)?,
            delegation: f.opt(14, Fields::id)?,
            host: f.id(15)?,
            time: Timestamp::from_value(&f.value(16)?)?,
        };
        let [block_count, block_bytes] = items(Value::Array(f.list(9)?))?;
        f.finish()?;
        let sorted = manifest
            .roots
            .windows(2)
            .all(|w| matches!(w, [a, b] if a.0 < b.0))
            && manifest
                .segments
                .windows(2)
                .all(|w| matches!(w, [a, b] if a.number < b.number));
        if !sorted {
            return Err(invalid(KIND, "its roots or segments are not in order"));
        }
        Ok(Manifest {
            block_count: number(&block_count)?,
            block_bytes: number(&block_bytes)?,
            ..manifest
        })
    }

    /// The digest that names it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }
}

fn bit(n: u64) -> Result<bool> {
    match n {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(invalid(KIND, "a choice is neither 0 nor 1")),
    }
}

fn items<const N: usize>(value: Value) -> Result<[Value; N]> {
    let list = value
        .into_array()
        .map_err(|_| invalid(KIND, "not a list where one belongs"))?;
    <[Value; N]>::try_from(list).map_err(|_| invalid(KIND, "a list has another length"))
}

fn number<T: TryFrom<u64>>(value: &Value) -> Result<T> {
    value
        .as_integer()
        .and_then(|i| u64::try_from(i).ok())
        .and_then(|n| T::try_from(n).ok())
        .ok_or_else(|| invalid(KIND, "not a number where one belongs"))
}

fn id<T: From<[u8; 32]>>(value: &Value) -> Result<T> {
    value
        .as_bytes()
        .and_then(|b| <[u8; 32]>::try_from(b.as_slice()).ok())
        .map(T::from)
        .ok_or_else(|| invalid(KIND, "not an id where one belongs"))
}

fn read_head(value: Value) -> Result<Head> {
    let [commit, logseq, frame] = items(value)?;
    Ok(Head {
        commit: number(&commit)?,
        logseq: LogSeq(number(&logseq)?),
        frame: id::<FrameHash>(&frame)?,
        stored_bytes: 0,
    })
}

fn read_root(value: Value) -> Result<(ChunkId, Digest)> {
    let [root, set] = items(value)?;
    Ok((id(&root)?, id(&set)?))
}

fn read_segment(value: Value) -> Result<ManifestSegment> {
    let [number_, epoch, trust, file] = items(value)?;
    Ok(ManifestSegment {
        number: number(&number_)?,
        epoch: number(&epoch)?,
        trust: id(&trust)?,
        file: id(&file)?,
    })
}

/// What the host says of a snapshot it has made; the store adds the rest.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotTerms {
    /// The hash of the DAM in force.
    pub dam: Option<Digest>,
    /// The hash of the device key's delegation.
    pub delegation: Option<Digest>,
    /// This host's key.
    pub host: KeyId,
    /// The time, as this host claims it.
    pub time: Timestamp,
    /// Whether the blocks were read back.
    pub read_back: ReadBack,
    /// Holes and problems the sources had.
    pub holes: u64,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use asl_core::canon;

    pub(crate) fn sample() -> Manifest {
        let segment = |number| ManifestSegment {
            number,
            epoch: 0,
            trust: [3; 32].into(),
            file: [4; 32].into(),
        };
        Manifest {
            domain: [1; 32].into(),
            id: SnapshotId::new(7).unwrap(),
            parent: Some([2; 32].into()),
            head: Head {
                commit: 3,
                logseq: LogSeq(4),
                frame: [5; 32].into(),
                stored_bytes: 0,
            },
            current: [6; 32].into(),
            roots: vec![
                ([1; 32].into(), [9; 32].into()),
                ([2; 32].into(), [8; 32].into()),
            ],
            segments: vec![segment(1), segment(2)],
            blocks: [7; 32].into(),
            block_count: 8,
            block_bytes: 9,
            holes: 10,
            read_back: ReadBack::Done,
            durability: Durability::Volatile,
            dam: Some([8; 32].into()),
            delegation: None,
            host: [9; 32].into(),
            time: Timestamp::claimed(-5),
        }
    }

    #[test]
    fn a_manifest_is_read_back_and_named_by_its_bytes() {
        let m = sample();
        assert_eq!(Manifest::decode(&m.encode()).unwrap(), m);
        assert_eq!(m.digest(), Digest::of(&m.encode()));
    }

    #[test]
    fn a_manifest_with_a_field_missing_changed_in_type_or_added_is_refused() {
        let value = canon::decode(&sample().encode(), "t", Limits::FRAME).unwrap();
        let pairs = value.as_map().unwrap();
        for n in 0..pairs.len() {
            let optional = [3, 13].map(Value::from).contains(&pairs[n].0);
            let mut without = pairs.clone();
            without.remove(n);
            let bytes = canon::encode(&Value::Map(without));
            assert_eq!(
                Manifest::decode(&bytes).is_ok(),
                optional,
                "{:?}",
                pairs[n].0
            );
            let mut wrong = pairs.clone();
            wrong[n].1 = Value::from(77);
            let bytes = canon::encode(&Value::Map(wrong));
            let numbers = [2, 10].map(Value::from).contains(&pairs[n].0);
            assert_eq!(
                Manifest::decode(&bytes).is_ok(),
                numbers,
                "{:?}",
                pairs[n].0
            );
        }
        let mut more = pairs.clone();
        more.push((Value::from(17), Value::from(1)));
        assert!(Manifest::decode(&canon::encode(&Value::Map(more))).is_err());
        let mut m = sample();
        m.roots.swap(0, 1);
        assert!(Manifest::decode(&m.encode()).is_err());
        let mut m = sample();
        m.segments.swap(0, 1);
        assert!(Manifest::decode(&m.encode()).is_err());
    }
}
