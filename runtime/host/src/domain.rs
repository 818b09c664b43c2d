//! The life of a domain on this host: made whole or not at all, opened, described.
//!
//! Crash rule: a domain is built beside `domains/` under a hidden name, synced, and renamed; a
//! directory with a domain's name is a whole domain. What it may do is what its host log says.

use crate::capability::Place;
use crate::hostlog::{HostLog, HostRecord, LeaseRecord};
use crate::keystick::{EpochFiles, Signed};
use crate::layout::{domain as place, DOMAIN_DIRS, DOMAIN_DIRS_BESIDE, LAYOUT};
use crate::root::{Context, HostRoot};
use crate::time_text;
use asl_auth::{Dam, DomainState, Genesis, PublicKey, VerifiedDam};
use asl_backend::{files, PosixBackend};
use asl_core::{Digest, DomainHash, DomainId, Error, Kind, Result};
use asl_store::{Current, Epoch, Mode, Record, Store, StoreOptions};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a domain is made from.
pub struct Founding<'a> {
    /// The genesis record's bytes.
    pub genesis: &'a [u8],
    /// The DAM in force, where there is one.
    pub dam: Option<&'a Signed>,
    /// The epoch files, in order.
    pub epochs: &'a [EpochFiles],
    /// Whether the content log will be written here.
    pub place: Place,
}

/// A domain on this host.
pub struct Domain {
    id: DomainId,
    hash: DomainHash,
    dir: PathBuf,
    genesis_bytes: Vec<u8>,
    genesis: Genesis,
    dam: Option<VerifiedDam>,
    backend: Arc<PosixBackend>,
    log: HostLog,
    view: View,
    damage: Option<Error>,
}

/// What replaying the host log says.
#[derive(Clone, Debug)]
struct View {
    place: Place,
    state: DomainState,
    lease: Option<LeaseRecord>,
    /// The recorded admissions: number and decision.
    admissions: BTreeMap<u32, Digest>,
}

impl Domain {
    /// Makes a domain, whole or not at all.
    ///
    /// # Errors
    /// `Exists` where the domain is here already; `Refused` where another genesis has its
    /// directory name, or the DAM does not hold; `Io`.
    pub fn create(root: &HostRoot, context: &Context, founding: &Founding<'_>) -> Result<Domain> {
        let genesis = Genesis::decode(founding.genesis)?;
        let hash = Genesis::hash_of(founding.genesis);
        let id = DomainId::new(genesis.label.clone(), &hash);
        let verified = match founding.dam {
            Some(dam) => Some(Dam::verify(&dam.bytes, &dam.sig, None)?),
            None => None,
        };
        if verified.as_ref().is_some_and(|d| d.dam().domain != hash) {
            return Err(Error::new(
                Kind::Refused,
                "create domain",
                &id,
                "the DAM is of another domain",
            ));
        }
        if founding.place == Place::Home {
            if genesis.params.encrypted && verified.is_none() {
                return Err(Error::new(
                    Kind::Refused,
                    "create domain",
                    &id,
                    "it is encrypted, and without a DAM nobody holds its keys",
                )
                .next("create it from a key stick with a DAM"));
            }
            check_epochs(verified.as_ref(), founding.epochs)?;
        }
        if root.layout().domain(&id).exists() {
            return Err(refuse_second(root, &id, &hash));
        }
        let nonce = context.nonce()?;
        asl_backend::create_whole(&root.layout().domains(), &id.to_string(), &nonce, |dir| {
            let log_head = root.layout().host_head(&id);
            fill(dir, context, founding, verified.as_ref(), log_head)
        })?;
        let domain = Domain::open(root, &id)?;
        domain.write_descriptor(context)?;
        Ok(domain)
    }

    /// Opens a domain's records.
    ///
    /// # Errors
    /// `NotFound`, `Io`, and `Damage` where its records contradict each other. A damaged host log
    /// is no error: the domain can be read, and [`Domain::require_sound`] refuses the rest.
    pub fn open(root: &HostRoot, id: &DomainId) -> Result<Domain> {
        let dir = root.layout().domain(id);
        if !dir.is_dir() {
            return Err(
                Error::new(Kind::NotFound, "open domain", id, "it is not on this host")
                    .next("list the domains with `asl-host status`"),
            );
        }
        let backend = Arc::new(PosixBackend::open(&dir)?);
        let log = HostLog::new(backend.clone(), root.layout().host_head(id))?;
        // Where the record of rights cannot be trusted, none is left but to read.
        let (view, damage) = match View::replay(&log) {
            Ok(view) => (view, None),
            Err(e) if matches!(e.kind(), Kind::Damage | Kind::Invalid) => {
                (View::distrusted(), Some(e))
            }
            Err(e) => return Err(e),
        };
        let dam = verify_dams(&dir, damage.is_none().then_some(&view.admissions))?;
        let genesis_bytes = match &dam {
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
            dam,
            backend,
            log,
            view,
            damage,
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

    /// The DAM in force, verified; a plain local domain may have none.
    pub fn dam(&self) -> Option<&VerifiedDam> {
        self.dam.as_ref()
    }

    /// The DAM, for what needs one (invariant 4).
    ///
    /// # Errors
    /// `Refused` where there is none.
    pub fn require_dam(&self) -> Result<&VerifiedDam> {
        self.dam.as_ref().ok_or_else(|| {
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

    /// Where the domain stands to this host.
    pub fn place(&self) -> Place {
        self.view.place
    }

    /// The lease held or granted last.
    pub fn lease(&self) -> Option<&LeaseRecord> {
        self.view.lease.as_ref()
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
        match &self.damage {
            Some(e) => Err(Error::new(e.kind(), "trust", place::HOST_LOG, e.why()).next(
                "reading and restoring still work; seal into a new root, or restore log/host.log from a copy",
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
        let Some(encryption) = self.dam.as_ref().and_then(|d| d.dam().encryption.as_ref()) else {
            return Ok(Vec::new());
        };
        let read = |name: String| {
            files::read_limited(&self.dir.join(&name), 256 << 10).map_err(|e| {
                Error::new(Kind::Damage, "read", &name, e.why())
                    .next("copy it back from the key stick")
            })
        };
        (1..=encryption.epoch)
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
        self.require_sound()?;
        self.log.append(context.nonce()?, records)?;
        records.iter().cloned().for_each(|r| self.view.take(r));
        Ok(())
    }

    /// Writes a document of the domain, once.
    ///
    /// # Errors
    /// `Exists` where another one has its name; the same bytes again are no error.
    pub fn write_once(&self, name: &Path, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        if let Some(parent) = path.parent() {
            crate::make_dir(parent)?;
        }
        match files::write_new(&path, bytes, 0o400) {
            Err(e) if e.kind() == Kind::Exists && files::read_limited(&path, 1 << 20)? == bytes => {
                Ok(())
            }
            done => done,
        }
    }

    /// Writes `domain.json` and the lease files anew from the records; they are views, never
    /// inputs to a decision about rights (formats.md, "domain.json").
    ///
    /// # Errors
    /// `Io`.
    pub fn write_descriptor(&self, context: &Context) -> Result<()> {
        files::replace(
            &self.dir.join(place::DESCRIPTOR),
            &crate::json(&self.describe())?,
            0o600,
        )?;
        if let Some(lease) = self.lease() {
            let file = json!({
                "layout": LAYOUT,
                "lease_id": lease.terms.lease_id.to_string(),
                "granted_by": lease.granted_by.to_string(),
                "storage_bytes": lease.terms.storage_bytes,
                "snapshots": lease.terms.snapshots,
                "expires_at": time_text(lease.terms.expires_at.unix_ns),
                "written_at": time_text(context.clock.wall_ns()),
            });
            let name = format!("lease-{:03}.json", self.admissions().max(1));
            files::replace(
                &self.dir.join("leases").join(&name),
                &crate::json(&file)?,
                0o600,
            )?;
            files::replace(
                &self.dir.join(place::ACTIVE_LEASE),
                format!("{name}\n").as_bytes(),
                0o600,
            )?;
        }
        Ok(())
    }

    /// What the content log says exists; needs no key.
    ///
    /// # Errors
    /// `NotFound` on a host that holds none of the log; `Damage`, `Io`.
    pub fn current(&self) -> Result<Arc<Current>> {
        read_current(&self.backend)
    }

    /// The domain as `domain.json` and `domain show` say it.
    pub fn describe(&self) -> Value {
        let root_key = self
            .dam
            .as_ref()
            .map(|d| d.dam().roots.digest().to_string());
        let policy = self.dam.as_ref().map(|d| d.digest().to_string());
        let lease = self.lease().map(|l| {
            json!({
                "storage_bytes": l.terms.storage_bytes,
                "snapshots": l.terms.snapshots,
                "expires_at": time_text(l.terms.expires_at.unix_ns),
                "granted_by": l.granted_by.to_string(),
            })
        });
        let current = self.current().ok();
        json!({
            "layout": LAYOUT,
            "domain_id": self.id.to_string(),
            "domain_hash": self.hash.to_string(),
            "state": self.state().code(),
            "damage": self.damage.as_ref().map(ToString::to_string),
            "home": self.place() == Place::Home,
            "encrypted": self.genesis.params.encrypted,
            "created_at": time_text(self.genesis.time.unix_ns),
            "admitted_at": self.lease().map(|l| time_text(l.decided_at_ns)),
            "root_key_fingerprint": root_key,
            "policy_hash": policy,
            "current_snapshot": current.as_ref().and_then(|c| c.newest_snapshot().map(|(id, _)| id.to_string())),
            "current_logseq": current.as_ref().map(|c| c.head.logseq.0),
            "lease": lease,
        })
    }
}

impl View {
    fn replay(log: &HostLog) -> Result<View> {
        let mut view = View {
            place: Place::Elsewhere,
            state: DomainState::Unrecognized,
            lease: None,
            admissions: BTreeMap::new(),
        };
        log.replay()?.into_iter().for_each(|r| view.take(r));
        Ok(view)
    }

    /// What is left where the host log is damaged: reading.
    fn distrusted() -> View {
        View {
            place: Place::Elsewhere,
            state: DomainState::Suspended,
            lease: None,
            admissions: BTreeMap::new(),
        }
    }

    fn take(&mut self, record: HostRecord) {
        match record {
            HostRecord::Role(place) => self.place = place,
            HostRecord::State { state, .. } => self.state = state,
            HostRecord::Lease(lease) => self.lease = Some(lease),
            HostRecord::Admission { number, decision } => {
                self.admissions.insert(number, decision);
            }
            HostRecord::Evidence { decision, floor_ns } => {
                if let Some(lease) = self.lease.as_mut().filter(|l| l.decision == decision) {
                    lease.seen_ns = lease.seen_ns.max(floor_ns);
                }
            }
        }
    }
}

/// The DAM in force: the last of the chain that the recorded admissions hold, the founding one
/// included. Without a record that can be trusted, the chain is followed as far as it is there.
fn verify_dams(
    dir: &Path,
    recorded: Option<&BTreeMap<u32, Digest>>,
) -> Result<Option<VerifiedDam>> {
    let mut in_force = None;
    for number in 1.. {
        match recorded {
            // The remains of a crash beside the recorded ones are nobody's word.
            Some(all) if number > 1 && number > all.keys().max().copied().unwrap_or(0) => break,
            Some(all) if number > 1 && !all.contains_key(&number) => continue,
            _ => {}
        }
        let records = dir.join(place::admission(number));
        let read = |name: &str| files::read_limited(&records.join(name), 256 << 10);
        match read("dam.cbor") {
            Ok(bytes) => {
                in_force = Some(Dam::verify(&bytes, &read("dam.sig")?, in_force.as_ref())?)
            }
            Err(e) if e.kind() == Kind::NotFound => break,
            Err(e) => return Err(e),
        }
    }
    Ok(in_force)
}

/// Epoch files that are not those the DAM names would seal data to a key nobody holds.
fn check_epochs(dam: Option<&VerifiedDam>, epochs: &[EpochFiles]) -> Result<()> {
    let Some(encryption) = dam.and_then(|d| d.dam().encryption.as_ref()) else {
        return Ok(());
    };
    let named = epochs.iter().find(|e| e.number == encryption.epoch);
    let fits = named.is_some_and(|e| {
        Digest::of(&e.identity) == encryption.epoch_file
            && Digest::of(&e.keys) == encryption.keys_file
    });
    if fits {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        "use",
        format!("the files of epoch {}", encryption.epoch),
        "they are missing, or not the ones the DAM names",
    )
    .next("bundle the key stick again with `asl-host key bundle`"))
}

fn fill(
    dir: &Path,
    context: &Context,
    founding: &Founding<'_>,
    dam: Option<&VerifiedDam>,
    log_head: PathBuf,
) -> Result<()> {
    for name in DOMAIN_DIRS.iter().chain(&DOMAIN_DIRS_BESIDE) {
        crate::make_dir(&dir.join(name))?;
    }
    if let (Some(signed), Some(dam)) = (founding.dam, dam) {
        files::write_new(&dir.join("admission/dam.cbor"), &signed.bytes, 0o400)?;
        files::write_new(&dir.join("admission/dam.sig"), &signed.sig, 0o400)?;
        files::write_new(
            &dir.join("auth/root.pub"),
            lines(dam.dam().roots.keys()).as_bytes(),
            0o400,
        )?;
        for operator in &dam.dam().operators {
            let name = dir
                .join("auth/operators")
                .join(format!("{}.pub", operator.id()));
            files::write_new(
                &name,
                lines(std::slice::from_ref(operator)).as_bytes(),
                0o400,
            )?;
        }
    }
    // The wrapped keys are on the medium before the first block that needs them.
    for epoch in founding.epochs {
        files::write_new(
            &dir.join(place::epoch_identity(epoch.number)),
            &epoch.identity,
            0o400,
        )?;
        files::write_new(
            &dir.join(place::epoch_keys(epoch.number)),
            &epoch.keys,
            0o400,
        )?;
    }
    let backend = Arc::new(PosixBackend::open(dir)?);
    if founding.place == Place::Home {
        Store::create(backend.clone(), founding.genesis, context.nonce()?)?;
        if let Some(encryption) = dam.and_then(|d| d.dam().encryption.as_ref()) {
            let store = Store::open(
                backend.clone(),
                Mode::Write,
                StoreOptions::new(context.nonce()?),
            )?;
            store.append(vec![Record::Epoch(Epoch {
                number: encryption.epoch,
                recipient: encryption.data_recipient.clone(),
                files: vec![
                    (
                        format!("epoch-{}.age", encryption.epoch),
                        encryption.epoch_file,
                    ),
                    (
                        format!("epoch-{}.keys.age", encryption.epoch),
                        encryption.keys_file,
                    ),
                ],
            })])?;
        }
    }
    HostLog::new(backend, log_head)?.begin(context.nonce()?, &HostRecord::Role(founding.place))
}

fn read_current(backend: &Arc<PosixBackend>) -> Result<Arc<Current>> {
    // A reader appends nothing, so it needs no nonce of its own.
    Store::open(backend.clone(), Mode::Read, StoreOptions::new([0; 16]))
        .map(|store| store.current())
}

fn lines(keys: &[PublicKey]) -> String {
    keys.iter().map(|k| k.to_openssh("") + "\n").collect()
}

fn refuse_second(root: &HostRoot, id: &DomainId, hash: &DomainHash) -> Error {
    let same = Domain::open(root, id).is_ok_and(|d| d.hash == *hash);
    if same {
        Error::new(Kind::Exists, "create domain", id, "it is here already").next("use it as it is")
    } else {
        Error::new(
            Kind::Refused,
            "create domain",
            id,
            "another domain has this directory name",
        )
        .next("choose another label")
    }
}
