//! The host's side: decides, signs, records.

use super::beside::beside;
use super::records::{decisions_on, latest, write_records, Recorded};
use super::{lent, name, write_decision, Petition};
use crate::capability::Place;
use crate::domain::{Domain, Founding};
use crate::hostlog::HostRecord;
use crate::keystick::Signed;
use crate::layout::domain as place;
use crate::leases::LeaseRecord;
use crate::root::{Context, HostRoot};
use asl_auth::{
    admit, cose, AdmissionRequest, AdmissionResult, AdmitInput, Dam, Decision, SigningKey,
};
use asl_backend::files;
use asl_core::{Digest, DomainId, Error, Kind, Result, Timestamp};
use std::sync::{Mutex, PoisonError};

/// Rejected petitions kept as evidence at most: strangers must not fill the keeper's disk.
const KEPT_REJECTED: usize = 1000;

/// The host's side of admission.
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

    /// Decides a petition by policy and records the decision before it is handed out (seed 001:
    /// `asl_host_admit`). The same request again gets the latest decision on it.
    ///
    /// # Errors
    /// `Io` and the errors of this host's own records. What is wrong with the petition is no error
    /// here: it is REJECTED, with the reason.
    pub fn admit(&self, petition: &Petition) -> Result<Signed> {
        let _turn = self.turn();
        let known = self.known(petition)?;
        if let Some(domain) = &known {
            if let Some(earlier) = self.last_on(domain, petition)? {
                return Ok(earlier.signed);
            }
        }
        self.settle(petition, known, None)
    }

    /// Decides a petition by the keeper's own hand: as [`Keeper::admit`], but one that was DEFERRED
    /// is decided anew, and a ruling takes the place of the policy's outcome.
    ///
    /// # Errors
    /// As [`Keeper::admit`]; `Refused` where the ruling cannot be given, with the reason: nothing is
    /// then recorded.
    pub fn decide(&self, petition: &Petition, ruling: Option<AdmissionResult>) -> Result<Signed> {
        let _turn = self.turn();
        let known = self.known(petition)?;
        if let Some(domain) = &known {
            if let Some(earlier) = self.last_on(domain, petition)? {
                let settled = earlier.decision.outcome != AdmissionResult::Deferred;
                if settled && ruling.is_some_and(|r| r != earlier.decision.outcome) {
                    let why = format!("it was decided already: {}", earlier.decision.outcome);
                    return Err(cannot_rule(&why)
                        .next("a decision stands; the domain may ask again with a new request"));
                }
                if settled {
                    return Ok(earlier.signed);
                }
            }
        }
        self.settle(petition, known, ruling)
    }

    /// Decides the request of a domain that waits, DEFERRED until now.
    ///
    /// # Errors
    /// `NotFound` where it waits for nothing; else as [`Keeper::decide`].
    pub fn decide_waiting(
        &self,
        id: &DomainId,
        ruling: Option<AdmissionResult>,
    ) -> Result<(Petition, Signed)> {
        let domain = Domain::open(&self.root, id)?;
        domain.require_sound()?;
        let own = |r: &Recorded| r.decision.host == self.root.id() && r.waits();
        let waiting = latest(&domain)?.filter(own).ok_or_else(|| {
            let why = "no request of it waits for a decision";
            Error::new(Kind::NotFound, "decide", format!("domain {id}"), why)
                .next("see `asl-host admission list`")
        })?;
        let signed = self.decide(&waiting.petition, ruling)?;
        Ok((waiting.petition, signed))
    }

    /// A DAM that this host holds, in a domain's records, by its digest.
    ///
    /// # Errors
    /// `Io`.
    pub fn dam(&self, digest: &Digest) -> Result<Option<Signed>> {
        for id in self.root.domains()? {
            // A damaged domain's DAM is as good as any: it proves itself.
            let Ok(domain) = Domain::open(&self.root, &id) else {
                continue;
            };
            for number in domain.recorded().keys() {
                let dir = domain.dir().join(place::admission(*number));
                let read = |name| files::read_limited(&dir.join(name), super::LONGEST);
                if let (Ok(bytes), Ok(sig)) = (read(name::DAM), read(name::DAM_SIG)) {
                    if Digest::of(&bytes) == *digest {
                        return Ok(Some(Signed { bytes, sig }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Makes a petition of a scanned request: the DAM it names must lie here, or be given.
    ///
    /// # Errors
    /// `Invalid` where it is no request; `NotFound` where nobody has the DAM it names.
    pub fn petition_of(&self, request: Signed, dam: Option<Signed>) -> Result<Petition> {
        let named = AdmissionRequest::decode(&request.bytes)?.dam;
        let dam = match dam {
            Some(dam) if Digest::of(&dam.bytes) == named => Some(dam),
            Some(_) => {
                let why = "it is not the DAM that the request names";
                return Err(Error::new(Kind::Refused, "use", "the DAM given", why)
                    .next("give the DAM of the key stick that the request was made with"));
            }
            None => self.dam(&named)?,
        };
        let dam = dam.ok_or_else(|| {
            let why = format!("the request names DAM {named}, which is not on this host");
            Error::new(Kind::NotFound, "find", "the DAM", why)
                .next("add --dam DIR, with dam.cbor and dam.sig as they lie on the key stick")
        })?;
        Ok(Petition { dam, request })
    }

    /// Records that leases have ended, so that no clock brings them back; tells which.
    ///
    /// # Errors
    /// `Io`. A domain whose records are damaged is passed over.
    pub fn lapse(&self) -> Result<Vec<DomainId>> {
        let _turn = self.turn();
        let mut over = Vec::new();
        for id in self.root.domains()? {
            let lapsed = Domain::open(&self.root, &id)
                .and_then(|mut domain| domain.lapse(self.root.id(), &self.context));
            if matches!(lapsed, Ok(true)) {
                over.push(id);
            }
        }
        Ok(over)
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, ()> {
        self.one_at_a_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The domain that a petition speaks of, where it is here already.
    fn known(&self, petition: &Petition) -> Result<Option<Domain>> {
        let id = Dam::decode(&petition.dam.bytes).ok().and_then(|dam| {
            let genesis = asl_auth::Genesis::decode(&dam.genesis).ok()?;
            Some(DomainId::new(genesis.label, &dam.domain))
        });
        let Some(id) = id else { return Ok(None) };
        if files::look(&self.root.layout().domain(&id))?.is_none() {
            return Ok(None);
        }
        let mut domain = Domain::open(&self.root, &id)?;
        domain.require_sound()?;
        domain.lapse(self.root.id(), &self.context)?;
        Ok(Some(domain))
    }

    /// This host's last decision on a request.
    fn last_on(&self, domain: &Domain, petition: &Petition) -> Result<Option<Recorded>> {
        let mut all = decisions_on(domain, &petition.request.bytes)?;
        all.retain(|r| r.decision.host == self.root.id());
        Ok(all.pop())
    }

    fn settle(
        &self,
        petition: &Petition,
        known: Option<Domain>,
        ruling: Option<AdmissionResult>,
    ) -> Result<Signed> {
        let decision = self.judge(petition, known.as_ref(), ruling)?;
        if ruling.is_some_and(|r| r != decision.outcome) {
            return Err(cannot_rule(&decision.reason).next(
                "nothing was recorded; give another outcome, or see `asl-host admission show`",
            ));
        }
        let earlier = match &known {
            Some(domain) => self.last_on(domain, petition)?,
            None => None,
        };
        if let Some(earlier) = &earlier {
            // Waiting on is no new decision.
            if decision.outcome == AdmissionResult::Deferred {
                return Ok(earlier.signed.clone());
            }
        }
        let bytes = decision.encode();
        let sig = cose::sign(Decision::KIND, &bytes, &[&self.key])?;
        let signed = Signed { bytes, sig };
        if decision.outcome == AdmissionResult::Rejected {
            self.quarantine(petition, &signed)?;
            // What waited is told the end of it; under an older DAM it would contradict the records.
            let in_force = known.as_ref().and_then(Domain::dam).map(|d| d.digest());
            if earlier.is_none() || in_force != Some(Digest::of(&petition.dam.bytes)) {
                return Ok(signed);
            }
        }
        let domain = match known {
            Some(domain) => domain,
            None => self.welcome(petition)?,
        };
        self.record(domain, petition, &decision, &signed)?;
        Ok(signed)
    }

    fn judge(
        &self,
        petition: &Petition,
        known: Option<&Domain>,
        ruling: Option<AdmissionResult>,
    ) -> Result<Decision> {
        let policy = self.root.policy()?;
        let trusted_roots = self.root.trusted_roots()?;
        let now = Timestamp::claimed(self.context.clock.wall_ns());
        let others = known.map(Domain::id);
        let beside = beside(&self.root, others, &trusted_roots, now.unix_ns)?;
        Ok(admit(&AdmitInput {
            dam: &petition.dam.bytes,
            dam_sig: &petition.dam.sig,
            request: &petition.request.bytes,
            request_sig: &petition.request.sig,
            trusted_roots: &trusted_roots,
            policy: &policy,
            now,
            host: self.root.public_key(),
            previous: known.and_then(Domain::dam),
            state: known.map(Domain::state).unwrap_or_default(),
            promised_bytes: beside.promised_bytes,
            strangers: beside.strangers,
            ruling,
        }))
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
        records.extend(lent(&domain, decision, self.lease_record(decision, signed)));
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
        if files::names(&all)?.len() >= KEPT_REJECTED {
            return Ok(());
        }
        let dir = all.join(format!("admission-{}", Digest::of(&petition.request.bytes)));
        if files::look(&dir)?.is_some() {
            return Ok(());
        }
        files::make_dir(&dir)?;
        petition.write(&dir)?;
        write_decision(&dir, decision)
    }
}

fn cannot_rule(why: &str) -> Error {
    Error::new(Kind::Refused, "decide", "the request so", why)
}
