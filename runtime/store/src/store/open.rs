//! Making and opening a store.

use super::{Damage, Due, Front, Store, Writer};
use crate::checkpoint;
use crate::current::Current;
use crate::index::{Index, Paged};
use crate::ledger::{self, Ledger};
use crate::log::{Evidence, FrameLog, Head, LogForm, Mode};
use crate::manifest::Manifest;
use crate::pipeline::Pipeline;
use crate::record::Record;
use crate::sealer::Sealer;
use crate::{names, wire};
use asl_backend::{Backend, Name};
use asl_core::{Error, Kind, Result, SnapshotId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

/// The size a sealed block is filled to where nothing else is said: 16 MiB.
const BLOCK_TARGET: u32 = 16 << 20;

/// Bytes of log that are replayed in no time: 1 MiB, some 3000 commits.
const CHECKPOINT_DUE: u64 = 1 << 20;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Bytes a block is filled to, set for each domain; kept within 4 KiB and 32 MiB.
    pub block_target: u32,
    /// The domain's keys; without one a store can be served and checked, not sealed to or read.
    pub sealer: Option<Arc<dyn Sealer>>,
    /// A fresh random number for each opening, by which a writer knows its own frames.
    pub nonce: [u8; 16],
    /// The highest head this host has acknowledged (`host/heads/`).
    pub known_head: Option<Head>,
    /// Threads that compress and seal; with 0 the putting thread does it itself.
    pub workers: usize,
    /// Bytes of log after which a checkpoint is written while the store is open.
    pub checkpoint_due: u64,
}

impl StoreOptions {
    /// The usual options: 16 MiB blocks, two workers, no key.
    pub fn new(nonce: [u8; 16]) -> Self {
        StoreOptions {
            block_target: BLOCK_TARGET,
            sealer: None,
            nonce,
            known_head: None,
            workers: 2,
            checkpoint_due: CHECKPOINT_DUE,
        }
    }
}

/// The form of the content log.
pub(crate) fn content_form() -> Result<LogForm> {
    Ok(LogForm {
        name: names::content_log()?,
        magic: *b"ASLCLOG\x01",
        kind: "asl.commit/1",
        keep: names::cut_tails()?,
    })
}

impl Store {
    /// Makes a store: its directories and the GENESIS frame.
    ///
    /// The caller makes the domain's directory appear whole; here a crash leaves a store that
    /// [`Store::open`] does not find and that `create` can be called on again.
    ///
    /// # Errors
    /// `Exists` where a log is there already; `Concurrent`; `Io`.
    pub fn create(backend: Arc<dyn Backend>, genesis: &[u8], nonce: [u8; 16]) -> Result<Head> {
        backend.create_dirs(&names::all_dirs()?)?;
        backend.barrier()?;
        let form = content_form()?;
        let name = form.name.clone();
        let mut log = FrameLog::open(backend, form, Mode::Write, nonce, &[], &mut |_, _| Ok(()))?;
        if log.head().commit > 0 {
            return Err(
                Error::new(Kind::Exists, "create", name, "a store is there already")
                    .next("open it, or choose another place"),
            );
        }
        let bytes = genesis.to_vec();
        let records = [Record::Genesis { bytes }];
        Current::default().check(&records)?;
        let values = records.iter().map(Record::to_value).collect();
        log.append(values, 0, Vec::new()).map(|(_, head)| head)
    }

    /// Opens a store: CURRENT of the newest checkpoint that its log holds, and the replay of what
    /// came after; of the whole log where there is none.
    ///
    /// What lies before the checkpoint is not looked at; [`Store::verify`](crate::Store::verify)
    /// replays all of it.
    ///
    /// In [`Mode::Write`] it takes the writer lock, cuts a torn tail (kept below `log/cut-tails`)
    /// and adds what the ledger lacks. A log that is broken elsewhere, or shorter than
    /// `known_head`, than a manifest or than the ledger knows, refuses [`Mode::Write`]; in
    /// [`Mode::Read`] it is told by [`Store::damage`] and what lies before it is served.
    ///
    /// # Errors
    /// `NotFound` where there is no store; `Damage` as said; `Concurrent` where another writer
    /// holds it; `Invalid` where a newer asl-host wrote it; `Io`.
    pub fn open(backend: Arc<dyn Backend>, mode: Mode, options: StoreOptions) -> Result<Store> {
        let form = content_form()?;
        let lock = match mode {
            Mode::Write => Some(backend.lock_writer(&form.name)?),
            Mode::Read => None,
        };
        let mut found = checkpoint::find(&*backend, &form)?;
        let (mut current, ledger_from, start) = match found.checkpoint.take() {
            Some((held, start)) => (held.current, held.ledger, Some(start)),
            None => (Current::default(), 0, None),
        };
        if mode == Mode::Write {
            ledger::settle(&*backend, &names::seal_log()?)?;
        }
        let mut ledger = Ledger::read(Arc::clone(&backend), names::seal_log()?, ledger_from)?;
        let mut evidence: Vec<Evidence> = ledger.evidence().collect();
        let newest = current.newest_snapshot().map(|(id, _)| id);
        evidence.extend(manifest_heads(&*backend, newest)?);
        evidence.extend(found.evidence);
        evidence.extend(options.known_head.map(|head| Evidence {
            head,
            from: "this host's record of heads".into(),
        }));
        let mut missing = Vec::new();
        let name = form.name.clone();
        let log = FrameLog::open_with(
            Arc::clone(&backend),
            form,
            lock,
            options.nonce,
            start,
            &evidence,
            &mut |frame, head| {
                current.apply(frame, head)?;
                missing.extend(ledger.lacks(ledger::lines(frame, head)?));
                Ok(())
            },
        )?;
        if current.genesis.is_empty() {
            let damage = log.damage().first().cloned();
            return Err(damage.unwrap_or_else(|| {
                Error::new(Kind::NotFound, "open", name, "there is no store here")
            }));
        }
        let mut damage: Vec<Damage> = log
            .damage()
            .iter()
            .map(|e| Damage {
                object: e.object().to_string(),
                why: e.why().to_string(),
                block: None,
            })
            .collect();
        if mode == Mode::Write {
            ledger.add(missing, current.head.commit)?;
        }
        let index = match &options.sealer {
            Some(sealer) => load(&backend, sealer, &current, mode, &mut damage)?,
            None => Index::default(),
        };
        let pipeline = match (&options.sealer, mode) {
            (Some(sealer), Mode::Write) => Some(Pipeline::start(
                Arc::clone(&backend),
                Arc::clone(sealer),
                options.block_target.clamp(4 << 10, 32 << 20) as usize,
                options.workers,
            )?),
            _ => None,
        };
        let next_segment = next_segment(&*backend, &current)?;
        Ok(Store {
            backend,
            mode,
            sealer: options.sealer,
            pipeline,
            writer: Mutex::new(Writer {
                log,
                ledger,
                next_segment,
                checkpoints: found.schedule,
                small: Default::default(),
            }),
            current: RwLock::new(Arc::new(current)),
            index: RwLock::new(index),
            present: Mutex::new(HashMap::new()),
            extents: Mutex::default(),
            opened: Mutex::default(),
            front: Mutex::new(Front::default()),
            due: Mutex::new(Due::default()),
            damage,
            checkpoint_due: options.checkpoint_due,
        })
    }
}

/// The heads that the manifests know, from the given one on; a manifest that cannot be read knows
/// none, and `verify` tells of it.
pub(crate) fn manifest_heads(
    backend: &dyn Backend,
    from: Option<SnapshotId>,
) -> Result<Vec<Evidence>> {
    let mut heads = Vec::new();
    for dir in backend.list(&names::snapshots()?)? {
        let Ok(id) = dir.parse::<SnapshotId>() else {
            continue;
        };
        if from.is_some_and(|from| id < from) {
            continue;
        }
        let bytes = match read_whole(backend, &names::manifest(id)?, crate::MAX_MANIFEST) {
            Ok(bytes) => bytes,
            Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Damage) => continue,
            Err(e) => return Err(e),
        };
        if let Ok(manifest) = Manifest::decode(&bytes) {
            heads.push(Evidence {
                head: manifest.head,
                from: dir,
            });
        }
    }
    Ok(heads)
}

/// Reads an object whole.
///
/// # Errors
/// `Damage` where it is longer than the limit; `NotFound`, `Io`.
pub(crate) fn read_whole(backend: &dyn Backend, name: &Name, limit: u64) -> Result<Vec<u8>> {
    let bytes = backend.get(name, 0..limit + 1)?;
    if bytes.len() as u64 > limit {
        let why = format!("it is longer than {limit} bytes");
        return Err(Error::new(Kind::Damage, "read", name, why));
    }
    Ok(bytes)
}

/// Opens the segments that can be trusted; a damaged one is told and not believed.
fn load(
    backend: &Arc<dyn Backend>,
    sealer: &Arc<dyn Sealer>,
    current: &Current,
    mode: Mode,
    damage: &mut Vec<Damage>,
) -> Result<Index> {
    let mut index = Index::default();
    for sealed in current.segments.values() {
        match Paged::open(backend, sealer, sealed, mode == Mode::Write) {
            Ok(segment) => index.add(segment),
            // Another epoch's segment: its pieces are not known to this credential.
            Err(e) if e.kind() == Kind::Refused => {}
            Err(e) if e.kind() == Kind::Io || e.kind() == Kind::Interrupted => return Err(e),
            Err(e) => damage.push(Damage {
                object: e.object().to_string(),
                why: e.why().to_string(),
                block: None,
            }),
        }
    }
    Ok(index)
}

/// A number that neither the log nor a crashed writer's leftover has.
fn next_segment(backend: &dyn Backend, current: &Current) -> Result<u32> {
    let leftover = backend
        .list(&names::segments()?)?
        .iter()
        .filter_map(|dir| dir.strip_prefix("seg-")?.parse::<u32>().ok())
        .max()
        .unwrap_or(0);
    current
        .last_segment
        .max(leftover)
        .checked_add(1)
        .ok_or_else(|| wire::invalid("index", "its segment numbers are used up"))
}
