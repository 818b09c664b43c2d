//! The life of a domain on this host: made whole or not at all, opened, described.
//!
//! Crash rule: a domain is built beside `domains/` under a hidden name, synced, and renamed; a
//! directory with a domain's name is a whole domain. What it may do is what its host log says.

mod chain;
mod create;
mod succession;
mod view;

pub use create::Founding;

use crate::capability::Place;
use crate::hostlog::{HostLog, HostRecord, LEASE_OVER};
use crate::keystick::EpochFiles;
use crate::layout::domain as place;
use crate::leases::Leases;
use crate::root::{Context, HostRoot};
use asl_auth::{Conduct, DomainState, Genesis, VerifiedDam};
use asl_backend::disk::Entry;
use asl_backend::{files, PosixBackend};
use asl_core::{Digest, DomainHash, DomainId, Error, KeyId, Kind, Result, Timestamp};
use asl_store::{Current, Manifest, Mode, Store, StoreOptions};
use chain::Chain;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use view::View;

/// A domain on this host.
pub struct Domain {
    id: DomainId,
    hash: DomainHash,
    dir: PathBuf,
    genesis_bytes: Vec<u8>,
    genesis: Genesis,
    chain: Chain,
    backend: Arc<PosixBackend>,
    log: HostLog,
    view: View,
    damage: Option<Error>,
    /// Why not all that is revoked may be known.
    spoilt: Option<Error>,
}

impl Domain {
    /// Opens a domain's records.
    ///
    /// # Errors
    /// `NotFound`, `Io`, and `Damage` where its records contradict each other. A damaged host log
    /// is no error: the domain can be read, and [`Domain::require_sound`] refuses the rest.
    pub fn open(root: &HostRoot, id: &DomainId) -> Result<Domain> {
        let dir = root.layout().domain(id);
        if files::look(&dir)? != Some(Entry::Dir) {
            return Err(
                Error::new(Kind::NotFound, "open domain", id, "it is not on this host")
                    .next("list the domains with `asl-host status`"),
            );
        }
        let backend = Arc::new(PosixBackend::open(&dir)?);
        let log = HostLog::new(backend.clone(), root.layout().host_head(id))?;
        // Where the record of rights cannot be trusted, none is left but to read.
        let (mut view, mut damage) = match log.replay() {
            Ok(records) => (View::of(records), None),
            Err(e) if matches!(e.kind(), Kind::Damage | Kind::Invalid) => {
                (View::distrusted(), Some(e))
            }
            Err(e) => return Err(e),
        };
        // Nor is anybody's data locked away by a DAM that is spoiled: it says who may write.
        let mut chain = match Chain::read(&dir, damage.is_none().then_some(&view.admissions)) {
            Err(e) if e.kind() != Kind::Io => {
                damage.get_or_insert(Error::new(Kind::Damage, "trust", "the DAM", e.why()));
                view.state = DomainState::Suspended;
                Chain::default()
            }
            read => read?,
        };
        let spoilt = match chain.read_revoked(&dir) {
            Err(e) if e.kind() == Kind::Damage => Some(e),
            read => read.map(|()| None)?,
        };
        let genesis_bytes = match chain.in_force() {
            Some(dam) => dam.dam().genesis.clone(),
            None => read_current(&backend)?.genesis.clone(),
        };
        let hash = Genesis::hash_of(&genesis_bytes);
        if !id.names(&hash) {
            return Err(Error::new(
                Kind::Damage,
                "open domain",
                id,
                "its directory holds another domain's records",
            ));
        }
        let genesis = Genesis::decode(&genesis_bytes)?;
        Ok(Domain {
            id: id.clone(),
            hash,
            dir,
            genesis_bytes,
            genesis,
            chain,
            backend,
            log,
            view,
            damage,
            spoilt,
        })
    }

    /// The directory name.
    pub fn id(&self) -> &DomainId {
        &self.id
    }

    /// The full name.
    pub fn hash(&self) -> DomainHash {
        self.hash
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The genesis record.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The genesis record's bytes.
    pub fn genesis_bytes(&self) -> &[u8] {
        &self.genesis_bytes
    }

    /// The DAM in force, verified, with all that is revoked; a plain local domain may have none.
    pub fn dam(&self) -> Option<&VerifiedDam> {
        self.chain.in_force()
    }

    /// A DAM of the domain's chain by its digest, with all that is revoked by now.
    pub fn dam_named(&self, digest: &Digest) -> Option<VerifiedDam> {
        self.chain.judged(digest)
    }

    /// The DAM with this digest as it was, whatever was revoked later: by it a signature held.
    pub(crate) fn dam_as_it_was(&self, digest: &Digest) -> Option<&VerifiedDam> {
        self.chain.named(digest)
    }

    /// The DAM, for what needs one (invariant 4).
    ///
    /// # Errors
    /// `Refused` where there is none.
    pub fn require_dam(&self) -> Result<&VerifiedDam> {
        self.dam().ok_or_else(|| {
            Error::new(
                Kind::Refused,
                "use",
                format!("domain {}", self.id),
                "it has no DAM",
            )
            .next("create it from a key stick with a DAM")
        })
    }

    /// This host's state for the domain.
    pub fn state(&self) -> DomainState {
        self.view.state
    }

    /// The state that a suspension took the place of.
    pub fn state_before(&self) -> DomainState {
        self.view.before
    }

    /// Whether the keeper's own hand suspended it: nothing but that hand lifts it.
    pub fn is_held(&self) -> bool {
        self.view.held
    }

    /// How it has behaved on this host.
    pub fn conduct(&self) -> Conduct {
        self.view.conduct
    }

    /// The state, with the end of a lease that this host granted taken into account: past its end
    /// by this host's clock the domain is SUSPENDED, recorded or not.
    pub fn state_at(&self, host: KeyId, wall_ns: i64) -> DomainState {
        match self.leases().of(&host) {
            Some(lease)
                if self.state() == DomainState::Courtesy
                    && wall_ns > lease.terms.expires_at.unix_ns =>
            {
                DomainState::Suspended
            }
            _ => self.state(),
        }
    }

    /// Records that a lease of this host has ended; from then on no clock brings it back.
    ///
    /// # Errors
    /// Those of [`Domain::record`].
    pub fn lapse(&mut self, host: KeyId, context: &Context) -> Result<bool> {
        let wall_ns = context.clock.wall_ns();
        let state = self.state_at(host, wall_ns);
        if state == self.state() {
            return Ok(false);
        }
        let over = HostRecord::State {
            state,
            why: LEASE_OVER.into(),
            time: Timestamp::claimed(wall_ns),
        };
        self.record(context, &[over])?;
        self.write_descriptor(context)?;
        Ok(true)
    }

    /// Where the domain stands to this host.
    pub fn place(&self) -> Place {
        self.view.place
    }

    /// What hosts lend to the domain, this one included.
    pub fn leases(&self) -> &Leases {
        &self.view.leases
    }

    /// The number of the last recorded admission; 0 where there is none.
    pub fn admissions(&self) -> u32 {
        self.view.admissions.last_key_value().map_or(0, |(n, _)| *n)
    }

    /// The recorded admissions, by number, with their decisions' identities.
    pub fn recorded(&self) -> &BTreeMap<u32, Digest> {
        &self.view.admissions
    }

    /// Refuses where this host's own record of the domain is damaged: it says who may write.
    ///
    /// # Errors
    /// `Damage`; `Invalid` where a later version wrote the record.
    pub fn require_sound(&self) -> Result<()> {
        self.require_record()?;
        self.spoilt.clone().map_or(Ok(()), Err)
    }

    /// The same but for revocations, which are mended by bringing them again.
    fn require_record(&self) -> Result<()> {
        match &self.damage {
            Some(e) => Err(Error::new(e.kind(), "trust", e.object(), e.why()).next(
                "reading and restoring still work; seal into a new root, or restore log/host.log and admission/ from a copy",
            )),
            None => Ok(()),
        }
    }

    /// The host log, for what an open store adds to it.
    pub(crate) fn host_log(&self) -> HostLog {
        self.log.clone()
    }

    /// The backend at the domain's directory.
    pub fn backend(&self) -> Arc<PosixBackend> {
        self.backend.clone()
    }

    /// The epoch files as they lie in the store.
    ///
    /// # Errors
    /// `Io`, or `Damage` where one is missing.
    pub fn epochs(&self) -> Result<Vec<EpochFiles>> {
        let newest = match self.dam() {
            Some(dam) => dam.dam().encryption.as_ref().map_or(0, |e| e.epoch),
            // The log says which there are, too.
            None if self.genesis.params.encrypted => {
                let current = self.current()?;
                current.epochs.last_key_value().map_or(0, |(n, _)| *n)
            }
            None => 0,
        };
        let read = |name: String| {
            files::read_limited(&self.dir.join(&name), 256 << 10).map_err(|e| {
                Error::new(Kind::Damage, "read", &name, e.why())
                    .next("copy it back from the key stick")
            })
        };
        (1..=newest)
            .map(|number| {
                let identity = read(place::epoch_identity(number))?;
                let keys = read(place::epoch_keys(number))?;
                Ok(EpochFiles {
                    number,
                    identity,
                    keys,
                })
            })
            .collect()
    }

    /// Writes records to the host log, durably, and takes them into the view.
    ///
    /// # Errors
    /// `Io`; `Concurrent` where another process wrote meanwhile.
    pub fn record(&mut self, context: &Context, records: &[HostRecord]) -> Result<()> {
        self.require_record()?;
        self.settle_name()?;
        self.log.append(context.nonce()?, records)?;
        records.iter().cloned().for_each(|r| self.view.take(r));
        Ok(())
    }

    /// Makes durable that the domain is here, before anything in it is acknowledged: whoever made it
    /// may have been killed before, or told that the medium failed.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn settle_name(&self) -> Result<()> {
        files::settle(&self.dir)
    }

    /// Takes the records anew once they are durable, before one of them is answered with
    /// ([`HostLog::settled`]).
    ///
    /// # Errors
    /// `Io`; `Damage`; `Concurrent` where another process writes.
    pub fn settle(&mut self) -> Result<()> {
        self.require_sound()?;
        self.settle_name()?;
        self.view = View::of(self.log.settled()?);
        Ok(())
    }

    /// Writes a document of the domain, once.
    ///
    /// # Errors
    /// `Exists` where another one has its name; the same bytes again are no error.
    pub fn write_once(&self, name: &Path, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        if let Some(parent) = path.parent() {
            files::make_dir(parent)?;
        }
        match files::write_new(&path, bytes, 0o400) {
            Err(e) if e.kind() == Kind::Exists && files::read_limited(&path, 1 << 20)? == bytes => {
                Ok(())
            }
            done => done,
        }
    }

    /// Whether any of the content log lies on this host.
    ///
    /// # Errors
    /// `Io`.
    pub fn holds_content(&self) -> Result<bool> {
        let log = files::look(&self.dir.join(place::CONTENT_LOG))?;
        Ok(log.is_some() || self.place() == Place::Home)
    }

    /// The manifests of the snapshots that the content log names; needs no key.
    ///
    /// # Errors
    /// As [`Domain::current`].
    pub fn manifests(&self) -> Result<Vec<Result<Manifest>>> {
        let store = Store::open(self.backend.clone(), Mode::Read, StoreOptions::new([0; 16]))?;
        Ok(store.manifests().into_iter().map(|(_, m)| m).collect())
    }

    /// What the content log says exists; needs no key.
    ///
    /// # Errors
    /// `NotFound` on a host that holds none of the log; `Damage`, `Io`.
    pub fn current(&self) -> Result<Arc<Current>> {
        read_current(&self.backend)
    }
}

fn read_current(backend: &Arc<PosixBackend>) -> Result<Arc<Current>> {
    // A reader appends nothing, so it needs no nonce of its own.
    Store::open(backend.clone(), Mode::Read, StoreOptions::new([0; 16]))
        .map(|store| store.current())
}
