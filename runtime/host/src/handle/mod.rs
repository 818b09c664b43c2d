//! The StoreHandle: the only door to a domain's store (seed 001, section 6).
//!
//! It carries the domain, its state on this host and its lease, and asks the state table before
//! every verb. What the state does not allow answers with a typed refusal.

mod committer;
mod device;
mod lease;
mod reuse;
mod upkeep;

pub(crate) use device::device_line;
pub use device::Device;

use crate::capability::{require, Grant, Place, Verb};
use crate::domain::Domain;
use crate::heads::{self, HeadFile};
use crate::hostlog::HostLog;
use crate::root::{Context, HostRoot};
use crate::sealer::AgeSealer;
use asl_auth::{cose, OpenIdentity, SealCredential, StoreParams};
use asl_backend::{Backend, Durability, Name};
use asl_core::{ChunkId, Digest, DomainId, Error, Kind, Result, SnapshotId, Timestamp, TypeTag};
use asl_store::{
    Ack, BlockSet, Current, Damage, Head, Manifest, Mode, PlainSealer, Put, ReadBack,
    ReadBackReport, Sealer, SnapshotTerms, Store, StoreOptions, TakePiece, VerifyOptions,
    VerifyReport,
};
use committer::Committer;
use lease::{Gate, Pieces};
use std::sync::atomic::AtomicU64;
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

/// What a domain's store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read and to check; changes nothing.
    Read,
    /// To seal and to snapshot.
    Seal,
    /// To forget, collect and repair: by the host itself also where nothing may be sealed any more.
    Upkeep,
}

/// What a domain's store is opened with.
pub struct Opening<'a> {
    /// The root of this host.
    pub root: &'a HostRoot,
    /// The domain.
    pub domain: &'a Domain,
    /// What for.
    pub purpose: Purpose,
    /// What a person brought.
    pub credentials: Credentials,
    /// Where leases of other hosts count.
    pub scope: LeaseScope,
    /// Which boot this is; a lease's evidence counts monotonic time only within one.
    pub boot: [u8; 16],
    /// Clocks and randomness.
    pub context: &'a Context,
}

/// An open domain.
pub struct StoreHandle {
    /// Only where it is written to.
    committer: Option<Committer>,
    store: Arc<Store>,
    sealer: Option<Arc<dyn Sealer>>,
    id: DomainId,
    params: StoreParams,
    place: Place,
    dam: Option<Digest>,
    host: asl_core::KeyId,
    head_file: Arc<HeadFile>,
    backend: Arc<dyn Backend>,
    context: Context,
    host_log: HostLog,
    gate: Mutex<Gate>,
    /// Bytes of what crashed writers left, which a lease counts until it is collected.
    orphans: AtomicU64,
}

impl StoreHandle {
    /// Opens a domain's store (seed 001: `asl_host_open_domain`).
    ///
    /// # Errors
    /// `Refused` where the state does not allow it; `Concurrent` where another process writes;
    /// `Damage` where the log is shorter than it was acknowledged to be.
    pub fn open(opening: Opening<'_>) -> Result<StoreHandle> {
        let Opening {
            root,
            domain,
            purpose,
            credentials,
            scope,
            boot,
            context,
        } = opening;
        let (mode, verb) = match purpose {
            Purpose::Read => (Mode::Read, Verb::Read),
            Purpose::Seal => (Mode::Write, Verb::AppendLog),
            Purpose::Upkeep => (Mode::Write, Verb::Gc),
        };
        if mode == Mode::Write {
            domain.require_sound()?;
            domain.settle_name()?;
        }
        let granted = require(domain.id(), domain.state(), domain.place(), verb)?;
        let params = domain.genesis().params;
        let is_owner = matches!(credentials, Credentials::Open(_))
            || (!params.encrypted && domain.place() == Place::Home);
        if granted == Grant::OwnerOnly && !is_owner {
            return Err(Error::new(
                Kind::Refused,
                verb.as_str(),
                format!("in domain {}", domain.id()),
                format!(
                    "its state here is {}, and only its owner may",
                    domain.state()
                ),
            )
            .next("bring the owner's key: --identity FILE"));
        }
        let floor_ns = domain
            .leases()
            .evidence_floor_ns(context.clock.since_boot(), boot);
        if let (Mode::Write, Some(dam), Some(floor_ns)) = (mode, domain.dam(), floor_ns) {
            // Without evidence about the clock nobody can say that a DAM has expired.
            dam.check_end(floor_ns)?;
        }
        let sealer: Option<Arc<dyn Sealer>> = match (params.encrypted, credentials) {
            (false, _) => Some(Arc::new(PlainSealer)),
            (true, Credentials::None) => None,
            (true, Credentials::Seal(credential)) => Some(Arc::new(AgeSealer::sealing(
                credential,
                domain.require_dam()?,
                &domain.epochs()?,
            )?)),
            (true, Credentials::Open(owner)) => {
                let opening = AgeSealer::opening(&owner, &domain.epochs()?)?;
                Some(Arc::new(match mode {
                    Mode::Write => opening.sealing_again(domain.require_dam()?)?,
                    Mode::Read => opening,
                }))
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
        let orphans = match (mode, domain.leases().is_empty()) {
            (Mode::Write, false) => store.orphan_bytes()?,
            _ => 0,
        };
        if mode == Mode::Write {
            check_epoch(domain, &store.current())?;
        }
        let store = Arc::new(store);
        let head_file = Arc::new(HeadFile::new(head_file));
        let committer = match mode {
            // Who forgets and collects has the store for itself.
            Mode::Write if purpose == Purpose::Seal => {
                Some(start_committer(&store, &head_file, context)?)
            }
            _ => None,
        };
        Ok(StoreHandle {
            committer,
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
            gate: Mutex::new(Gate::new(
                domain.state(),
                domain.leases().clone(),
                scope,
                boot,
            )),
            orphans: AtomicU64::new(orphans),
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
        let Some(reserved) = self.reserve(&id, bytes)? else {
            return self.store.put_piece(id, tag, bytes);
        };
        let put = self.store.put_piece(id, tag, bytes);
        let added = matches!(put, Ok(Put::Added));
        self.gate().settle(reserved, bytes, added);
        put
    }

    /// A piece's bytes, checked against its id.
    ///
    /// # Errors
    /// `NotFound`, `Damage`, and `Refused` without the open identity.
    pub fn get_piece(&self, id: &ChunkId) -> Result<Vec<u8>> {
        self.allow(Verb::Read, 0)?;
        self.store.get_piece(id)
    }

    /// Many pieces, each checked against its id, in the order in which they lie on the medium;
    /// `take` is told of every one once, by its place in `ids`.
    ///
    /// # Errors
    /// Those of `take`, and `Refused` without a key. A piece that cannot be read is told to `take`.
    pub fn get_pieces(&self, ids: &[ChunkId], take: TakePiece<'_>) -> Result<()> {
        self.allow(Verb::Read, 0)?;
        self.store.get_pieces(ids, take)
    }

    /// Has a commit made where enough is sealed or enough time has passed, and tells what the one
    /// before came to. It never waits: the commit goes on beside the caller.
    ///
    /// # Errors
    /// As [`StoreHandle::put_piece`]; those of a commit at the call after it.
    pub fn commit_due(&self) -> Result<Option<Ack>> {
        let is_due = || self.store.commit_is_due(self.context.clock.since_boot());
        match &self.committer {
            Some(committer) => committer.tend(is_due),
            // Refused where something is to be written.
            None => is_due().map(|_| None),
        }
    }

    /// Begins to collect the blocks of a new root.
    ///
    /// # Errors
    /// `Refused` by state or lease.
    pub fn begin_root(&self) -> Result<()> {
        let mut gate = self.gate();
        self.allow_within(&mut gate, Verb::AllocateBlock, 0)?;
        gate.reserved = true;
        self.store.begin_root()
    }

    /// Ends a root: seals and commits everything, and names the root in the log. A root that was
    /// begun while the lease ran may be ended after it.
    ///
    /// # Errors
    /// As [`StoreHandle::put_piece`].
    pub fn finish_root(&self, root: &[u8]) -> Result<(ChunkId, Ack)> {
        self.allow(Verb::AppendLog, root.len() as u64)?;
        let done = self.store.finish_root(root)?;
        if let Some(committer) = &self.committer {
            committer.forget();
        }
        let mut gate = self.gate();
        gate.pieces = Pieces::default();
        gate.reserved = false;
        drop(gate);
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

    /// The blocks of a snapshot.
    ///
    /// # Errors
    /// `Damage` where the list is missing or is another; `Io`.
    pub fn snapshot_blocks(&self, manifest: &Manifest) -> Result<BlockSet> {
        self.store.snapshot_blocks(manifest)
    }

    /// What was found damaged at opening.
    pub fn damage(&self) -> &[Damage] {
        self.store.damage()
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the highest head outside the domain, so that a shortened log is known as damage.
    fn remember_head(&self) -> Result<()> {
        self.head_file.keep(|| self.store.head())
    }
}

/// Refuses to seal under an epoch that the log knows to be over, whatever DAM is shown.
fn check_epoch(domain: &Domain, current: &Current) -> Result<()> {
    let encryption = domain.dam().and_then(|d| d.dam().encryption.as_ref());
    let newest = current.epochs.last_key_value().map_or(0, |(n, _)| *n);
    match encryption {
        Some(named) if named.epoch < newest => {
            let why = format!(
                "the DAM is of epoch {}, which is over: the log knows epoch {newest}",
                named.epoch
            );
            Err(Error::new(Kind::Refused, "seal in", domain.id(), why)
                .next("bring the DAM of the new epoch: `asl-host dam apply`"))
        }
        _ => Ok(()),
    }
}

fn start_committer(
    store: &Arc<Store>,
    head_file: &Arc<HeadFile>,
    context: &Context,
) -> Result<Committer> {
    let (store, head_file, clock) = (store.clone(), head_file.clone(), context.clock.clone());
    Committer::start(move || {
        let ack = store.commit_due(clock.since_boot())?;
        if ack.is_some() {
            head_file.keep(|| store.head())?;
        }
        Ok(ack)
    })
}
