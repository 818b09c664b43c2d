//! Admission on both sides: the keeper decides and records, the asking side checks and records
//! (seed 001, section 4; seed 002, section 6).
//!
//! The rules are in `asl_auth::admission`, without I/O; here are the records. They are immutable:
//! the names of seed 002 in `admission/` for the first, `admission/NNNN/` for later ones.

use crate::capability::Place;
use crate::domain::{Domain, Founding};
use crate::hostlog::{HostRecord, LeaseRecord};
use crate::keystick::Signed;
use crate::layout::domain as place;
use crate::root::{Context, HostRoot};
use asl_auth::{
    admit, check_decision, cose, AdmissionResult, AdmitInput, Dam, Decision, PublicKey, SigningKey,
};
use asl_backend::files;
use asl_core::{Digest, DomainId, Error, Kind, Result, Timestamp};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What a domain hands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Petition {
    /// The DAM.
    pub dam: Signed,
    /// The request, signed by an operator.
    pub request: Signed,
}

/// File names of a petition and its decision, wherever they lie.
pub mod name {
    /// The DAM.
    pub const DAM: &str = "dam.cbor";
    /// Its signatures.
    pub const DAM_SIG: &str = "dam.sig";
    /// The request.
    pub const REQUEST: &str = "admission-request.cbor";
    /// Its signature.
    pub const REQUEST_SIG: &str = "admission-request.sig";
    /// The decision.
    pub const DECISION: &str = "admission-decision.cbor";
    /// Its signature.
    pub const DECISION_SIG: &str = "admission-decision.sig";
}

/// No document of an admission is longer.
const LONGEST: u64 = 64 << 10;

/// Rejected petitions kept as evidence at most: strangers must not fill the keeper's disk.
const KEPT_REJECTED: usize = 1000;

impl Petition {
    /// Reads the four files from a directory.
    ///
    /// # Errors
    /// `NotFound` naming the file; `Io`.
    pub fn read(dir: &Path) -> Result<Petition> {
        let read = |name: &str| files::read_limited(&dir.join(name), LONGEST);
        Ok(Petition {
            dam: Signed {
                bytes: read(name::DAM)?,
                sig: read(name::DAM_SIG)?,
            },
            request: Signed {
                bytes: read(name::REQUEST)?,
                sig: read(name::REQUEST_SIG)?,
            },
        })
    }

    /// Writes the four files into a new directory.
    ///
    /// # Errors
    /// `Exists` where one is there; `Io`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        self.files()
            .into_iter()
            .try_for_each(|(name, bytes)| files::write_new(&dir.join(name), bytes, 0o644))
    }

    fn files(&self) -> [(&'static str, &[u8]); 4] {
        [
            (name::DAM, &self.dam.bytes),
            (name::DAM_SIG, &self.dam.sig),
            (name::REQUEST, &self.request.bytes),
            (name::REQUEST_SIG, &self.request.sig),
        ]
    }
}

/// Reads a decision from a directory.
///
/// # Errors
/// `NotFound`, `Io`.
pub fn read_decision(dir: &Path) -> Result<Signed> {
    let read = |name: &str| files::read_limited(&dir.join(name), LONGEST);
    Ok(Signed {
        bytes: read(name::DECISION)?,
        sig: read(name::DECISION_SIG)?,
    })
}

/// Writes a decision into a directory.
///
/// # Errors
/// `Exists`, `Io`.
pub fn write_decision(dir: &Path, decision: &Signed) -> Result<()> {
    files::write_new(&dir.join(name::DECISION), &decision.bytes, 0o644)?;
    files::write_new(&dir.join(name::DECISION_SIG), &decision.sig, 0o644)
}

/// The host's side of admission: decides, signs, records.
pub struct Keeper {
    root: HostRoot,
    key: SigningKey,
    context: Context,
    one_at_a_time: Mutex<()>,
}

impl Keeper {
    /// Takes up a host's admission with its key.
    ///
    /// # Errors
    /// Those of [`HostRoot::identity`]; `Invalid` where host-policy or a trusted root is malformed.
    pub fn open(root: HostRoot, context: Context) -> Result<Keeper> {
        let key = root.identity(None)?;
        root.policy()?;
        root.trusted_roots()?;
        Ok(Keeper {
            root,
            key,
            context,
            one_at_a_time: Mutex::new(()),
        })
    }

    /// The host's key, for the wire.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Decides a petition and records the decision before it is handed out (seed 001:
    /// `asl_host_admit`). The same petition again gets the same decision.
    ///
    /// # Errors
    /// `Io` and the errors of this host's own records. What is wrong with the petition is no error
    /// here: it is REJECTED, with the reason.
    pub fn admit(&self, petition: &Petition) -> Result<Signed> {
        let _turn = self
            .one_at_a_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let id = Dam::decode(&petition.dam.bytes).ok().and_then(|dam| {
            let genesis = asl_auth::Genesis::decode(&dam.genesis).ok()?;
            Some(DomainId::new(genesis.label, &dam.domain))
        });
        let known = match &id {
            Some(id) if self.root.layout().domain(id).is_dir() => {
                Some(Domain::open(&self.root, id)?)
            }
            _ => None,
        };
        if let Some(domain) = &known {
            domain.require_sound()?;
            if let Some(earlier) = earlier_decision(domain, &petition.request.bytes)? {
                return Ok(earlier);
            }
        }
        let decision = self.decide(petition, known.as_ref())?;
        let bytes = decision.encode();
        let sig = cose::sign(Decision::KIND, &bytes, &[&self.key])?;
        let signed = Signed { bytes, sig };
        if decision.outcome == AdmissionResult::Rejected {
            self.quarantine(petition, &signed)?;
        } else {
            let domain = match known {
                Some(domain) => domain,
                None => self.welcome(petition)?,
            };
            self.record(domain, petition, &decision, &signed)?;
        }
        Ok(signed)
    }

    fn decide(&self, petition: &Petition, known: Option<&Domain>) -> Result<Decision> {
        let policy = self.root.policy()?;
        let trusted_roots = self.root.trusted_roots()?;
        Ok(admit(&AdmitInput {
            dam: &petition.dam.bytes,
            dam_sig: &petition.dam.sig,
            request: &petition.request.bytes,
            request_sig: &petition.request.sig,
            trusted_roots: &trusted_roots,
            policy: &policy,
            now: Timestamp::claimed(self.context.clock.wall_ns()),
            host: self.root.public_key(),
            previous: known.and_then(Domain::dam),
            state: known.map(Domain::state).unwrap_or_default(),
            promised_bytes: self.promised_beside(known.map(Domain::id))?,
        }))
    }

    /// Bytes promised to other domains: until its grace is over, what a lease let in may lie here.
    fn promised_beside(&self, but: Option<&DomainId>) -> Result<u64> {
        let now = self.context.clock.wall_ns();
        let mut promised = 0u64;
        for id in self.root.domains()?.iter().filter(|id| Some(*id) != but) {
            let domain = Domain::open(&self.root, id)?;
            domain.require_sound()?;
            let granted = domain.lease().filter(|l| l.granted_by == self.root.id());
            let Some(terms) = granted.map(|l| &l.terms) else {
                continue;
            };
            let grace_ns = i64::try_from(terms.grace_s)
                .unwrap_or(i64::MAX)
                .saturating_mul(1_000_000_000);
            if terms.expires_at.unix_ns.saturating_add(grace_ns) > now {
                promised = promised.saturating_add(terms.storage_bytes);
            }
        }
        Ok(promised)
    }

    fn welcome(&self, petition: &Petition) -> Result<Domain> {
        let dam = Dam::decode(&petition.dam.bytes)?;
        let founding = Founding {
            genesis: &dam.genesis,
            dam: Some(&petition.dam),
            epochs: &[],
            place: Place::Elsewhere,
        };
        Domain::create(&self.root, &self.context, &founding)
    }

    fn record(
        &self,
        mut domain: Domain,
        petition: &Petition,
        decision: &Decision,
        signed: &Signed,
    ) -> Result<()> {
        let mut records = write_records(&domain, petition, signed)?;
        records.extend(self.lease_record(decision, signed).map(HostRecord::Lease));
        let state = domain.state().after(decision.outcome);
        if state != domain.state() {
            let why = format!("{}: {}", decision.outcome, decision.reason);
            records.push(HostRecord::State {
                state,
                why,
                time: decision.time,
            });
        }
        domain.record(&self.context, &records)?;
        domain.write_descriptor(&self.context)
    }

    fn lease_record(&self, decision: &Decision, signed: &Signed) -> Option<LeaseRecord> {
        LeaseRecord::of(
            decision,
            Digest::of(&signed.bytes),
            self.context.clock.since_boot(),
            [0; 16],
        )
    }

    /// Keeps what was rejected as evidence, under the digest of its request.
    fn quarantine(&self, petition: &Petition, decision: &Signed) -> Result<()> {
        let all = self.root.layout().quarantine();
        let kept =
            std::fs::read_dir(&all).map_err(|e| Error::new(Kind::Io, "list", all.display(), e))?;
        if kept.count() >= KEPT_REJECTED {
            return Ok(());
        }
        let dir = all.join(format!("admission-{}", Digest::of(&petition.request.bytes)));
        if dir.exists() {
            return Ok(());
        }
        crate::make_dir(&dir)?;
        petition.write(&dir)?;
        write_decision(&dir, decision)
    }
}

/// The asking side: checks a decision against the pinned host and the request, and records it.
///
/// Another host's decision never changes this host's own state for the domain; a lease that comes
/// with it is kept with the name of who granted it.
///
/// # Errors
/// `Refused` where the decision is another host's, answers another request or is not signed by the
/// pinned key; `Io`.
pub fn apply(
    domain: &mut Domain,
    context: &Context,
    pinned: &PublicKey,
    petition: &Petition,
    decision: &Signed,
    boot: [u8; 16],
) -> Result<(Decision, Option<LeaseRecord>)> {
    let read = check_decision(
        &decision.bytes,
        &decision.sig,
        pinned,
        &petition.request.bytes,
    )?;
    let digest = Digest::of(&decision.bytes);
    let lease = LeaseRecord::of(&read, digest, context.clock.since_boot(), boot);
    if earlier_decision(domain, &petition.request.bytes)?.is_some() {
        return Ok((read, lease));
    }
    let mut records = write_records(domain, petition, decision)?;
    records.extend(lease.clone().map(HostRecord::Lease));
    domain.record(context, &records)?;
    domain.write_descriptor(context)?;
    Ok((read, lease))
}

/// Writes the documents of one more admission, which the host log's record then makes count.
///
/// What lies there unrecorded is a crash's remains: the same admission again completes it, another
/// one passes it over, since nothing may be wedged by it and nothing written is replaced.
fn write_records(
    domain: &Domain,
    petition: &Petition,
    decision: &Signed,
) -> Result<Vec<HostRecord>> {
    let mut documents = petition.files().to_vec();
    documents.push((name::DECISION_SIG, &decision.sig));
    documents.push((name::DECISION, &decision.bytes));
    let mut number = domain.admissions().saturating_add(1);
    while !has_room(&domain.dir().join(place::admission(number)), &documents)? {
        number = number.saturating_add(1);
    }
    let dir = place::admission(number);
    for (name, bytes) in documents {
        domain.write_once(&dir.join(name), bytes)?;
    }
    Ok(vec![HostRecord::Admission {
        number,
        decision: Digest::of(&decision.bytes),
    }])
}

/// Whether every one of these documents is missing there, or there as it is.
fn has_room(dir: &Path, documents: &[(&str, &[u8])]) -> Result<bool> {
    for (name, bytes) in documents {
        match files::read_limited(&dir.join(name), LONGEST) {
            Ok(there) if there == *bytes => {}
            Err(e) if e.kind() == Kind::NotFound => {}
            Ok(_) => return Ok(false),
            Err(e) if e.kind() == Kind::Invalid => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// The recorded decision for the very same request, where there is one.
fn earlier_decision(domain: &Domain, request: &[u8]) -> Result<Option<Signed>> {
    for (number, recorded) in domain.recorded() {
        let dir = domain.dir().join(place::admission(*number));
        if files::read_limited(&dir.join(name::REQUEST), LONGEST)? != request {
            continue;
        }
        let decision = read_decision(&dir)?;
        if Digest::of(&decision.bytes) != *recorded {
            return Err(Error::new(
                Kind::Damage,
                "read",
                dir.join(name::DECISION).display(),
                "it is not the decision that the host log names",
            )
            .next("restore the admission's records from a copy"));
        }
        return Ok(Some(decision));
    }
    Ok(None)
}
