//! The StoreHandle: the only door to a domain's store (seed 001, section 6).
//!
//! It carries the domain, its state on this host and its lease, and asks the state table before
//! every verb. What the state does not allow answers with a typed refusal.

use crate::capability::{require, Grant, Place, Verb};
use crate::domain::Domain;
use crate::heads;
use crate::hostlog::{HostLog, HostRecord, LeaseRecord};
use crate::keystick::Signed;
use crate::layout::domain as place;
use crate::root::{Context, HostRoot};
use crate::sealer::AgeSealer;
use asl_auth::{
    cose, Delegation, DomainState, OpenIdentity, SealCredential, SigningKey, StoreParams,
};
use asl_backend::{files, Backend, Durability, Name};
use asl_core::{ChunkId, Digest, DomainId, Error, Kind, Result, SnapshotId, Timestamp, TypeTag};
use asl_store::{
    Ack, Current, Damage, Head, Manifest, Mode, PlainSealer, Put, ReadBack, ReadBackReport, Sealer,
    SnapshotTerms, Store, StoreOptions, VerifyOptions, VerifyReport,
};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What a person brought to open a domain with.
// There is one in a session, moved once: a box would save nothing.
#[allow(clippy::large_enum_variant)]
pub enum Credentials {
    /// Nothing: status, structural verify, snapshots.
    None,
    /// The seal credential: seal, deduplicate, resume; read nothing.
    Seal(SealCredential),
    /// The owner's identity: read everything.
    Open(OpenIdentity),
}

/// Where a lease that another host granted counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseScope {
    /// At the host that granted it.
    Remote,
    /// There and here: the stricter of the two rows.
    Both,
}

/// A session's key and the operator's delegation to it.
pub struct Device {
    /// The session's key, made for it and gone with it.
    pub key: SigningKey,
    /// The delegation document and its signature.
    pub delegation: Signed,
}

impl Device {
    /// Checks a delegation against the domain's DAM and records it in the domain.
    ///
    /// # Errors
    /// `Refused` where it names another key or DAM, or no operator signed it; `Io`.
    pub fn new(key: SigningKey, delegation: Signed, domain: &Domain) -> Result<Device> {
        let checked =
            Delegation::verify(&delegation.bytes, &delegation.sig, domain.require_dam()?)?;
        if checked.device != key.public() {
            return Err(Error::new(
                Kind::Refused,
                "use",
                "the delegation",
                "it names another device key",
            ));
        }
        let id = key.id();
        domain.write_once(&place::delegation(&id, "cbor"), &delegation.bytes)?;
        domain.write_once(&place::delegation(&id, "sig"), &delegation.sig)?;
        let line = key.public().to_openssh("device") + "\n";
        files::replace(
            &domain.dir().join("auth/device.pub"),
            line.as_bytes(),
            0o600,
        )?;
        Ok(Device { key, delegation })
    }
}

/// An open domain.
pub struct StoreHandle {
    store: Store,
    sealer: Option<Arc<dyn Sealer>>,
    id: DomainId,
    params: StoreParams,
    place: Place,
    dam: Option<Digest>,
    host: asl_core::KeyId,
    head_file: PathBuf,
    backend: Arc<dyn Backend>,
    context: Context,
    host_log: HostLog,
    gate: Mutex<Gate>,
}

struct Gate {
    state: DomainState,
    lease: Option<LeaseRecord>,
    scope: LeaseScope,
    boot: [u8; 16],
    pieces: Pieces,
}

/// Pieces put since everything was last committed; some of them may be stored by now.
#[derive(Default)]
struct Pieces {
    count: u64,
    bytes: u64,
}

/// Bytes a piece takes beside its own: its rows in the block's directory and in the segment.
const PIECE_COST: u64 = 160;

/// Bytes a block takes beside its pieces: age header and footer, its rows in segment, log,
/// ledger and snapshot.
const BLOCK_COST: u64 = 1024;

/// Bytes kept free for the headers of one more segment and two frames.
const RESERVE: u64 = 8 << 10;

impl StoreHandle {
    /// Opens a domain's store (seed 001: `asl_host_open_domain`).
    ///
    /// # Errors
    /// `Refused` where the state does not allow it; `Concurrent` where another process writes;
    /// `Damage` where the log is shorter than it was acknowledged to be.
    pub fn open(
        root: &HostRoot,
        domain: &Domain,
        mode: Mode,
        credentials: Credentials,
        scope: LeaseScope,
        boot: [u8; 16],
        context: &Context,
    ) -> Result<StoreHandle> {
        let verb = if mode == Mode::Write {
            Verb::AppendLog
        } else {
            Verb::Read
        };
        if mode == Mode::Write {
            domain.require_sound()?;
        }
        require(domain.id(), domain.state(), domain.place(), verb)?;
        let params = domain.genesis().params;
        let sealer: Option<Arc<dyn Sealer>> = match (params.encrypted, credentials) {
            (false, _) => Some(Arc::new(PlainSealer)),
            (true, Credentials::None) => None,
            (true, Credentials::Seal(credential)) => Some(Arc::new(AgeSealer::sealing(
                credential,
                domain.require_dam()?,
                &domain.epochs()?,
            )?)),
            (true, Credentials::Open(owner)) => {
                Some(Arc::new(AgeSealer::opening(&owner, &domain.epochs()?)?))
            }
        };
        let head_file = root.layout().head(domain.id());
        // A head kept outside the domain may stop writing, never reading.
        let known_head = match heads::read(&head_file) {
            Err(_) if mode == Mode::Read => None,
            read => read?,
        };
        let backend = domain.backend();
        let options = StoreOptions {
            block_target: params.block_target,
            sealer: sealer.clone(),
            known_head,
            ..StoreOptions::new(context.nonce()?)
        };
        let store = Store::open(backend.clone(), mode, options)?;
        Ok(StoreHandle {
            store,
            sealer,
            id: domain.id().clone(),
            params,
            place: domain.place(),
            dam: domain.dam().map(|d| d.digest()),
            host: root.id(),
            head_file,
            backend,
            context: context.clone(),
            host_log: domain.host_log(),
            gate: Mutex::new(Gate {
                state: domain.state(),
                lease: domain.lease().cloned(),
                scope,
                boot,
                pieces: Pieces::default(),
            }),
        })
    }

    /// The domain.
    pub fn domain(&self) -> &DomainId {
        &self.id
    }

    /// The store's parameters, fixed at genesis.
    pub fn params(&self) -> &StoreParams {
        &self.params
    }

    /// The clocks of this host.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The log's head.
    pub fn head(&self) -> Head {
        self.store.head()
    }

    /// What exists now.
    pub fn current(&self) -> Arc<Current> {
        self.store.current()
    }

    /// Whether what is acknowledged here survives power loss.
    pub fn durability(&self) -> Durability {
        self.backend.durability()
    }

    /// Attaches a lease that arrived while the handle is open.
    pub fn attach_lease(&self, lease: LeaseRecord) {
        self.gate().lease = Some(lease);
    }

    /// Bytes that may still be sealed here under a lease that counts here; `None` without one.
    pub fn lease_left(&self) -> Option<u64> {
        let gate = self.gate();
        let lease = gate.counting_lease()?;
        let used = self
            .store
            .stored_bytes()
            .saturating_add(self.store.pending_bytes());
        Some(lease.terms.storage_bytes.saturating_sub(used))
    }

    /// The id under which these bytes are kept: keyed in an encrypted domain.
    ///
    /// # Errors
    /// `Refused` without the credential to seal.
    pub fn chunk_id(&self, bytes: &[u8]) -> Result<ChunkId> {
        let sealer = self.sealer.as_ref().ok_or_else(|| {
            Error::new(
                Kind::Refused,
                "name a piece",
                "",
                "the domain's keys are not at hand",
            )
            .next("unlock the key stick")
        })?;
        sealer.chunk_id(sealer.epoch(), bytes)
    }

    /// Takes a piece in, unless it is known (verbs allocate_block and seal_block).
    ///
    /// # Errors
    /// `Refused` by state or lease; `Io` where the target fails or is full.
    pub fn put_piece(&self, id: ChunkId, tag: &TypeTag, bytes: &[u8]) -> Result<Put> {
        let mut gate = self.gate();
        if gate.counting_lease().is_none() {
            drop(gate);
            self.allow(Verb::SealBlock, 0)?;
            return self.store.put_piece(id, tag, bytes);
        }
        // Under a lease one piece after another: two that fit alone may not fit together.
        let new = match self.store.contains(&id)? {
            true => 0,
            false => (bytes.len() as u64).saturating_add(PIECE_COST),
        };
        self.allow_within(&mut gate, Verb::SealBlock, new)?;
        let put = self.store.put_piece(id, tag, bytes)?;
        if put == Put::Added {
            let Pieces { count, bytes: sum } = &mut gate.pieces;
            *count = count.saturating_add(1);
            *sum = sum.saturating_add(bytes.len() as u64);
        }
        Ok(put)
    }

    /// A piece's bytes, checked against its id.
    ///
    /// # Errors
    /// `NotFound`, `Damage`, and `Refused` without the open identity.
    pub fn get_piece(&self, id: &ChunkId) -> Result<Vec<u8>> {
        self.allow(Verb::Read, 0)?;
        self.store.get_piece(id)
    }

    /// Commits where enough is sealed or enough time has passed.
    ///
    /// # Errors
    /// As [`StoreHandle::put_piece`].
    pub fn commit_due(&self) -> Result<Option<Ack>> {
        let ack = self.store.commit_due(self.context.clock.since_boot())?;
        if ack.is_some() {
            self.remember_head()?;
        }
        Ok(ack)
    }

    /// Begins to collect the blocks of a new root.
    ///
    /// # Errors
    /// `Refused` by state or lease.
    pub fn begin_root(&self) -> Result<()> {
        self.allow(Verb::AllocateBlock, 0)?;
        self.store.begin_root()
    }

    /// Ends a root: seals and commits everything, and names the root in the log.
    ///
    /// # Errors
    /// As [`StoreHandle::put_piece`].
    pub fn finish_root(&self, root: &[u8]) -> Result<(ChunkId, Ack)> {
        self.allow(Verb::AppendLog, root.len() as u64)?;
        let done = self.store.finish_root(root)?;
        self.gate().pieces = Pieces::default();
        self.remember_head()?;
        Ok(done)
    }

    /// Reads every block back from the medium and checks its name; needs no key.
    ///
    /// # Errors
    /// `Io` where the medium cannot be read at all; damaged blocks are in the report.
    pub fn read_back(
        &self,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<ReadBackReport> {
        self.store.read_back(progress, stop)
    }

    /// Verifies log, blocks, segments, block sets and manifests; with the open identity every piece.
    ///
    /// # Errors
    /// `Io`, `Interrupted`; what is damaged is in the report.
    pub fn verify(
        &self,
        options: VerifyOptions,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<VerifyReport> {
        self.allow(Verb::Read, 0)?;
        self.store.verify(options, progress, stop)
    }

    /// Makes a snapshot, signed by the session's device key where one is delegated.
    ///
    /// # Errors
    /// `Refused` by state or lease count; `Io`.
    pub fn snapshot(
        &self,
        device: Option<&Device>,
        read_back: ReadBack,
        holes: u64,
    ) -> Result<SnapshotId> {
        self.allow(Verb::SnapshotCreate, 0)?;
        let terms = SnapshotTerms {
            dam: self.dam,
            delegation: device.map(|d| Digest::of(&d.delegation.bytes)),
            host: self.host,
            time: Timestamp::claimed(self.context.clock.wall_ns()),
            read_back,
            holes,
        };
        let (id, manifest) = self.store.snapshot(&terms)?;
        if let Some(device) = device {
            let sig = cose::sign(Manifest::KIND, &manifest, &[&device.key])?;
            self.backend
                .put_new(&Name::new(format!("snapshots/{id}/manifest.sig"))?, &sig)?;
            self.backend.barrier()?;
        }
        self.remember_head()?;
        Ok(id)
    }

    /// The snapshots, oldest first, each as far as it can be read.
    pub fn manifests(&self) -> Vec<(SnapshotId, Result<Manifest>)> {
        self.store.manifests()
    }

    /// What was found damaged at opening.
    pub fn damage(&self) -> &[Damage] {
        self.store.damage()
    }

    /// Asks the state table and the lease. With a lease that counts here, the stricter row holds.
    fn allow(&self, verb: Verb, bytes: u64) -> Result<()> {
        self.allow_within(&mut self.gate(), verb, bytes)
    }

    fn allow_within(&self, gate: &mut Gate, verb: Verb, bytes: u64) -> Result<()> {
        require(&self.id, gate.state, self.place, verb)?;
        let Some(lease) = gate.counting_lease().cloned() else {
            return Ok(());
        };
        let terms = &lease.terms;
        let refuse = |why: String, next: &str| {
            let object = format!("in domain {}", self.id);
            Err(Error::new(Kind::Refused, verb.as_str(), object, why).next(next))
        };
        let granted = require(&self.id, DomainState::Courtesy, Place::Elsewhere, verb)?;
        let limited = matches!(granted, Grant::WithinLease | Grant::WithinCount);
        if limited && self.has_expired(gate, &lease) {
            return refuse(
                "its lease has expired".into(),
                "ask for a new one: `asl-host admission request`",
            );
        }
        if granted == Grant::WithinCount
            && self.current().snapshots.len() as u64 >= u64::from(terms.snapshots)
        {
            return refuse(
                format!("its lease allows {} snapshots", terms.snapshots),
                "ask for a larger lease",
            );
        }
        // What is asked for now leaves room for what has to follow it: pieces for the commit, the
        // commit for the snapshot.
        let free = match verb {
            Verb::AllocateBlock | Verb::SealBlock => 2 * RESERVE,
            Verb::AppendLog => RESERVE,
            _ => 0,
        };
        let exceeds = |pieces: &Pieces| {
            self.used(pieces)
                .saturating_add(bytes)
                .saturating_add(free)
                .saturating_add(self.snapshot_cost())
                > terms.storage_bytes
        };
        if limited && gate.pieces.count > 0 && exceeds(&gate.pieces) {
            // What is on its way counts in full until it is stored and its true size is known.
            self.store.commit()?;
            gate.pieces = Pieces::default();
            self.remember_head()?;
        }
        if limited && exceeds(&gate.pieces) {
            let used = self.store.stored_bytes();
            return refuse(
                format!(
                    "its lease of {} bytes is used up ({used} are stored)",
                    terms.storage_bytes
                ),
                "ask for a larger lease, or seal under a profile with lease.applies = \"remote\"",
            );
        }
        Ok(())
    }

    /// Whether evidence has passed the lease's end; what was seen once is kept over a boot.
    fn has_expired(&self, gate: &mut Gate, lease: &LeaseRecord) -> bool {
        let ends = lease.terms.expires_at.unix_ns;
        let floor_ns = lease.evidence_floor_ns(self.context.clock.since_boot(), gate.boot);
        if floor_ns <= ends {
            return false;
        }
        if lease.seen_ns <= ends {
            let record = HostRecord::Evidence {
                decision: lease.decision,
                floor_ns,
            };
            let kept = self
                .context
                .nonce()
                .and_then(|nonce| self.host_log.append(nonce, &[record]));
            // The refusal stands either way; where it could not be kept, the next one tries again.
            if let (Ok(()), Some(held)) = (kept, gate.lease.as_mut()) {
                held.seen_ns = floor_ns;
            }
        }
        true
    }

    /// Stored bytes, with what may still be on its way and what will be written about it, at most.
    fn used(&self, pieces: &Pieces) -> u64 {
        // age adds 16 bytes to each 64 KiB.
        let sealing = pieces.bytes / 4096;
        let blocks = pieces.bytes / u64::from(self.params.block_target.max(1));
        self.store
            .stored_bytes()
            .saturating_add(pieces.bytes)
            .saturating_add(sealing)
            .saturating_add(pieces.count.saturating_mul(PIECE_COST))
            .saturating_add(blocks.saturating_mul(BLOCK_COST))
    }

    /// Bytes that a snapshot of what there is would take at most.
    fn snapshot_cost(&self) -> u64 {
        let current = self.current();
        let rows = current.segments.len() + current.roots.len() + 2;
        let blocks = current.blocks.len() + 2;
        2048 + 160 * rows as u64 + 40 * blocks as u64
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the highest head outside the domain, so that a shortened log is known as damage.
    fn remember_head(&self) -> Result<()> {
        heads::write(&self.head_file, &self.store.head())
    }
}

impl Gate {
    fn counting_lease(&self) -> Option<&LeaseRecord> {
        self.lease
            .as_ref()
            .filter(|_| self.scope == LeaseScope::Both)
    }
}
