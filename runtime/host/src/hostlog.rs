//! `log/host.log`: this host's own record of a domain, never replicated (formats.md, "Two logs").
//!
//! State and lease are what replaying this log says; `domain.json` and `leases/*.json` are views
//! of it and are never read back as rights.

use crate::capability::Place;
use crate::heads;
use crate::layout::domain::HOST_LOG;
use crate::leases::LeaseRecord;
use asl_auth::{DomainState, LeaseTerms};
use asl_backend::{Backend, Name};
use asl_core::{
    BlockId, Digest, Error, Fields, KeyId, Kind, MapBuilder, Result, SnapshotId, Timestamp, Value,
};
use asl_store::{Evidence, FrameLog, LogForm, Mode};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The host log of one domain: read whole at opening, locked only while it is written.
///
/// Its head is kept outside the domain after each write: else a last frame that was damaged would
/// pass for the torn end of a write, and the right it took away would be back.
#[derive(Clone)]
pub struct HostLog {
    backend: Arc<dyn Backend>,
    form: LogForm,
    head_file: PathBuf,
}

impl HostLog {
    /// The host log of the domain at this backend, with the file that keeps its head.
    ///
    /// # Errors
    /// None that a caller could cause; the names below a domain are fixed.
    pub fn new(backend: Arc<dyn Backend>, head_file: PathBuf) -> Result<Self> {
        let form = LogForm {
            name: Name::new(HOST_LOG)?,
            magic: *b"ASLHLOG\x01",
            kind: "asl.host-commit/1",
            keep: Name::new("log/cut-tails")?,
        };
        Ok(HostLog {
            backend,
            form,
            head_file,
        })
    }

    /// Every record, in order.
    ///
    /// # Errors
    /// `Damage` where the log is broken: rights are never guessed; `Invalid` where a later version
    /// wrote it; `Io`.
    pub fn replay(&self) -> Result<Vec<HostRecord>> {
        let mut records = Vec::new();
        let log = self.open(Mode::Read, [0; 16], &mut records)?;
        match log.damage().first() {
            Some(damage) => Err(damage.clone()),
            // A domain is made with its role recorded.
            None if records.is_empty() => Err(Error::new(
                Kind::Damage,
                "read",
                HOST_LOG,
                "it is missing or empty",
            )),
            None => Ok(records),
        }
    }

    /// Every record, in order, once all of it is on the medium: a frame whose writer was killed, or was
    /// told that its sync failed, may be in the cache alone. To be asked before something that a
    /// record says is acknowledged without a new one.
    ///
    /// # Errors
    /// As [`HostLog::replay`]; `Concurrent` where another process writes.
    pub fn settled(&self) -> Result<Vec<HostRecord>> {
        let mut records = Vec::new();
        // It appends nothing, so it needs no nonce of its own.
        self.open(Mode::Write, [0; 16], &mut records).map(drop)?;
        Ok(records)
    }

    /// Appends records in one frame; durable on return.
    ///
    /// # Errors
    /// `Concurrent` where another process writes; `Damage`, `Io`.
    pub fn append(&self, nonce: [u8; 16], records: &[HostRecord]) -> Result<()> {
        let mut log = self.open(Mode::Write, nonce, &mut Vec::new())?;
        let values = records.iter().map(HostRecord::to_value).collect();
        let (_, head) = log.append(values, 0, Vec::new())?;
        heads::write(&self.head_file, &head)
    }

    /// The first frame of a domain that is being made: its head is kept only from the next write
    /// on, since the domain may never come to be.
    pub(crate) fn begin(&self, nonce: [u8; 16], record: &HostRecord) -> Result<()> {
        let mut log = self.open(Mode::Write, nonce, &mut Vec::new())?;
        log.append(vec![record.to_value()], 0, Vec::new()).map(drop)
    }

    fn open(&self, mode: Mode, nonce: [u8; 16], records: &mut Vec<HostRecord>) -> Result<FrameLog> {
        let evidence = heads::read(&self.head_file)?.map(|head| Evidence {
            head,
            from: "this host's record of heads".into(),
        });
        FrameLog::open(
            Arc::clone(&self.backend),
            self.form.clone(),
            mode,
            nonce,
            evidence.as_slice(),
            &mut |frame, _| {
                for value in &frame.records {
                    records.push(HostRecord::from_value(value.clone())?);
                }
                Ok(())
            },
        )
    }
}

/// One record of the host log.
#[derive(Clone, Debug, PartialEq)]
pub enum HostRecord {
    /// Where the domain stands to this host; the first record.
    Role(Place),
    /// A new state, given by this host.
    State {
        /// The state.
        state: DomainState,
        /// Why, for the keeper.
        why: String,
        /// When, by this host's clock.
        time: Timestamp,
    },
    /// A lease that this host granted or, on the asking side, was granted by another.
    Lease(LeaseRecord),
    /// An admission whose documents lie in `admission/`; its number and its decision's digest.
    Admission {
        /// 1 for the records in `admission/` itself.
        number: u32,
        /// The decision's identity.
        decision: Digest,
        /// The digest of the documents beside it, by which `verify` knows them; earlier versions
        /// wrote none.
        beside: Option<Digest>,
    },
    /// A time that the granting host's word and this machine's monotonic clock have shown to be
    /// past: what a lease was seen to outlive stays over after the next boot.
    Evidence {
        /// The decision that states the lease.
        decision: Digest,
        /// Unix nanoseconds by the granting host's clock.
        floor_ns: i64,
    },
    /// A snapshot that is kept whatever comes.
    Pin {
        /// The snapshot.
        snapshot: SnapshotId,
        /// The digest of its manifest.
        manifest: Digest,
        /// Why, for the keeper.
        why: String,
        /// When, by this host's clock.
        time: Timestamp,
    },
    /// Blocks that this host has lost: missing, or not what was written.
    Damaged {
        /// The blocks, ascending.
        blocks: Vec<BlockId>,
        /// When it was found, by this host's clock.
        time: Timestamp,
    },
    /// A snapshot that is kept no longer.
    Unpin {
        /// The snapshot.
        snapshot: SnapshotId,
        /// When, by this host's clock.
        time: Timestamp,
    },
    /// A host that lent takes the domain in full: its lease bounds nothing any more.
    InFull {
        /// The host.
        host: KeyId,
        /// The decision that says so.
        decision: Digest,
    },
}

/// Why a domain is suspended whose lease has ended.
pub const LEASE_OVER: &str = "its lease has expired";

/// The reason of what a keeper's own hand did: it is never [`LEASE_OVER`], whatever was typed.
pub(crate) fn by_hand(why: &str) -> String {
    let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
    format!("by the keeper: {why}")
}

impl HostRecord {
    /// The record as a frame's body.
    pub fn to_value(&self) -> Value {
        match self {
            HostRecord::Role(place) => MapBuilder::new()
                .put(0, 1)
                .put(1, matches!(place, Place::Home)),
            HostRecord::State { state, why, time } => MapBuilder::new()
                .put(0, 2)
                .put(1, state.code())
                .put(2, why.as_str())
                .put(3, *time),
            HostRecord::Lease(l) => MapBuilder::new()
                .put(0, 3)
                .put(1, l.terms.to_map())
                .put(2, l.granted_by)
                .put(3, l.decision)
                .put(4, l.decided_at_ns)
                .put(5, u64::try_from(l.received.as_millis()).unwrap_or(u64::MAX))
                .put(6, Value::Bytes(l.boot.to_vec())),
            HostRecord::Admission {
                number,
                decision,
                beside,
            } => MapBuilder::new()
                .put(0, 4)
                .put(1, *number)
                .put(2, *decision)
                .opt(3, *beside),
            HostRecord::Evidence { decision, floor_ns } => MapBuilder::new()
                .put(0, 5)
                .put(1, *decision)
                .put(2, *floor_ns),
            HostRecord::Pin {
                snapshot,
                manifest,
                why,
                time,
            } => MapBuilder::new()
                .put(0, 6)
                .put(1, snapshot.number())
                .put(2, *manifest)
                .put(3, why.as_str())
                .put(4, *time),
            HostRecord::Unpin { snapshot, time } => MapBuilder::new()
                .put(0, 7)
                .put(1, snapshot.number())
                .put(2, *time),
            HostRecord::InFull { host, decision } => {
                MapBuilder::new().put(0, 8).put(1, *host).put(2, *decision)
            }
            HostRecord::Damaged { blocks, time } => MapBuilder::new()
                .put(0, 9)
                .list(1, blocks.iter().copied())
                .put(2, *time),
        }
        .build()
    }

    /// Reads a frame's body.
    ///
    /// # Errors
    /// `Invalid` where it is malformed, or of a kind that this version does not know.
    pub fn from_value(value: Value) -> Result<Self> {
        let mut f = Fields::of(value, "host log record")?;
        let record = match f.uint(0)? {
            1 => HostRecord::Role(if f.flag(1)? {
                Place::Home
            } else {
                Place::Elsewhere
            }),
            2 => HostRecord::State {
                state: f.text(1)?.parse()?,
                why: f.text(2)?,
                time: Timestamp::from_value(&f.value(3)?)?,
            },
            3 => {
                let decided_at_ns = f.int(4)?;
                HostRecord::Lease(LeaseRecord {
                    terms: LeaseTerms::from_fields(f.fields(1)?)?,
                    granted_by: f.id(2)?,
                    decision: f.id(3)?,
                    decided_at_ns,
                    received: Duration::from_millis(f.uint(5)?),
                    boot: f.fixed(6)?,
                    seen_ns: decided_at_ns,
                })
            }
            4 => HostRecord::Admission {
                number: f.uint32(1)?,
                decision: f.id(2)?,
                beside: f.opt(3, Fields::id)?,
            },
            5 => HostRecord::Evidence {
                decision: f.id(1)?,
                floor_ns: f.int(2)?,
            },
            6 => HostRecord::Pin {
                snapshot: SnapshotId::new(f.uint32(1)?)?,
                manifest: f.id(2)?,
                why: f.text(3)?,
                time: Timestamp::from_value(&f.value(4)?)?,
            },
            7 => HostRecord::Unpin {
                snapshot: SnapshotId::new(f.uint32(1)?)?,
                time: Timestamp::from_value(&f.value(2)?)?,
            },
            8 => HostRecord::InFull {
                host: f.id(1)?,
                decision: f.id(2)?,
            },
            9 => HostRecord::Damaged {
                blocks: f.ids(1)?,
                time: Timestamp::from_value(&f.value(2)?)?,
            },
            n => {
                return Err(Error::new(
                    Kind::Invalid,
                    "read",
                    "host log record",
                    format!("unknown kind {n}"),
                )
                .next("it was written by another version of asl-host; read it with that version"))
            }
        };
        f.finish()?;
        Ok(record)
    }
}
