//! The host's side: decides, signs, records.

use super::ledger::Ledger;
use super::rate::Decided;
use super::records::{decisions_on, latest, write_records, Recorded};
use super::rules::{News, Rules};
use super::{lent, write_decision, Petition};
use crate::audit::Audit;
use crate::capability::Place;
use crate::domain::{Domain, Founding};
use crate::hostlog::{HostRecord, LEASE_OVER};
use crate::keystick::Signed;
use crate::leases::LeaseRecord;
use crate::root::{Context, HostRoot};
use asl_auth::{
    cose, weigh, AdmissionRequest, AdmissionResult, AdmitInput, Dam, Decision, DomainState,
    SigningKey, Verdict,
};
use asl_backend::files;
use asl_core::{Digest, DomainId, Error, Kind, Result, Timestamp};
use serde_json::json;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rejected petitions kept as evidence at most: strangers must not fill the keeper's disk.
const KEPT_REJECTED: usize = 1000;

/// The host's side of admission.
pub struct Keeper {
    pub(super) root: HostRoot,
    pub(super) key: SigningKey,
    pub(super) context: Context,
    pub(super) audit: Audit,
    desk: Mutex<Desk>,
}

/// What one decision at a time works with.
pub(super) struct Desk {
    pub(super) rules: Rules,
    pub(super) ledger: Ledger,
    decided: Decided,
}

/// What a host holds and has promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Domains here.
    pub domains: u64,
    /// Those without a trusted root.
    pub strangers: u64,
    /// Bytes that leases promise.
    pub promised_bytes: u64,
    /// Bytes that host-policy allows to promise.
    pub total_bytes: u64,
}

/// The desk, held.
pub(super) struct Turn<'a> {
    desk: MutexGuard<'a, Desk>,
    _held: Box<dyn Send>,
}

impl Deref for Turn<'_> {
    type Target = Desk;
    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Desk {
        &mut self.desk
    }
}

impl Keeper {
    /// Takes up a host's admission with its key.
    ///
    /// # Errors
    /// Those of [`HostRoot::identity`]; `Invalid` where host-policy or a trusted root is malformed.
    pub fn open(root: HostRoot, context: Context) -> Result<Keeper> {
        let key = root.identity(None)?;
        let desk = Desk {
            rules: Rules::read(&root)?,
            ledger: Ledger::default(),
            decided: Decided::default(),
        };
        Ok(Keeper {
            audit: Audit::at(root.layout().audit()),
            root,
            key,
            context,
            desk: Mutex::new(desk),
        })
    }

    /// Takes up host-policy and trusted roots as they are now, and tells what came of it since the
    /// last time; a mistake in one of them is told, and the rules before stay in force.
    ///
    /// # Errors
    /// `Io` where the audit log cannot be written.
    pub fn reload(&self) -> Result<Option<News>> {
        let mut desk = self.turn()?;
        desk.rules.refresh(&self.root);
        let news = desk.rules.take_news();
        if let Some(news) = &news {
            let told = match news {
                News::Taken => json!({ "taken": true }),
                News::Kept(e) => json!({ "taken": false, "why": e.to_string() }),
            };
            self.audit.note(&self.context, "policy", told)?;
        }
        Ok(news)
    }

    /// The host's key, for the wire.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Decides a petition by policy and records the decision before it is handed out (seed 001:
    /// `asl_host_admit`). The same request again gets the latest decision on it.
    ///
    /// # Errors
    /// `Io` and the errors of this host's own records; `Refused` where more was asked within a time
    /// than host-policy allows: nothing is then decided. What is wrong with the petition is no error
    /// here: it is REJECTED, with the reason.
    pub fn admit(&self, petition: &Petition) -> Result<Signed> {
        let mut desk = self.turn()?;
        let known = self.known(petition)?;
        if let Some(domain) = &known {
            if let Some(earlier) = self.last_on(domain, petition)? {
                return Ok(earlier.signed);
            }
        }
        self.settle(&mut desk, petition, known, None)
    }

    /// Decides a petition by the keeper's own hand: as [`Keeper::admit`], but one that was DEFERRED
    /// is decided anew, and a ruling takes the place of the policy's outcome.
    ///
    /// # Errors
    /// As [`Keeper::admit`]; `Refused` where the ruling cannot be given, with the reason: nothing is
    /// then recorded.
    pub fn decide(&self, petition: &Petition, ruling: Option<AdmissionResult>) -> Result<Signed> {
        let mut desk = self.turn()?;
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
        self.settle(&mut desk, petition, known, Some(ruling))
    }

    /// What would be decided on a petition now, and every rule's word on it. Nothing is recorded.
    ///
    /// # Errors
    /// `Io` and the errors of this host's own records.
    pub fn explain(&self, petition: &Petition) -> Result<Verdict> {
        let mut desk = self.turn()?;
        let known = self.known(petition)?;
        self.judge(&mut desk, petition, known.as_ref(), None)
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

    /// Records that leases have ended, so that no clock brings them back; tells which.
    ///
    /// # Errors
    /// `Io`. A domain whose records are damaged is passed over.
    pub fn lapse(&self) -> Result<Vec<DomainId>> {
        let mut desk = self.turn()?;
        let desk = &mut *desk;
        desk.ledger.refresh(&self.root)?;
        let mut over = Vec::new();
        for id in desk.ledger.lapsed(self.context.clock.wall_ns()) {
            let lapsed = Domain::open(&self.root, &id)
                .and_then(|mut domain| domain.lapse(self.root.id(), &self.context));
            if matches!(lapsed, Ok(true)) {
                let told = json!({ "domain": id.to_string(), "by": "the clock", "why": LEASE_OVER,
                    "state": DomainState::Suspended.code() });
                self.audit.note(&self.context, "lapse", told)?;
                over.push(id);
            }
        }
        Ok(over)
    }

    /// What this host holds and has promised now.
    ///
    /// # Errors
    /// `Io`.
    pub fn totals(&self) -> Result<Standing> {
        let mut desk = self.turn()?;
        desk.ledger.refresh(&self.root)?;
        let now = self.context.clock.wall_ns();
        let totals = desk.ledger.totals(None, &desk.rules.trusted, now);
        Ok(Standing {
            domains: desk.ledger.domains(),
            strangers: totals.strangers.into(),
            promised_bytes: totals.promised_bytes,
            total_bytes: desk.rules.policy.total_bytes,
        })
    }

    /// Domains whose records this keeper has read to know what is promised, in all.
    pub fn reads(&self) -> u64 {
        let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        desk.ledger.reads()
    }

    /// The desk, for one decision at a time, of all processes of this host together: else two of
    /// them would give the same room away.
    pub(super) fn turn(&self) -> Result<Turn<'_>> {
        // Rules and rows are read whole or not at all.
        let desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let held = files::hold(&self.root.layout().turn())?;
        Ok(Turn { desk, _held: held })
    }

    /// The domain that a petition speaks of, where it is here already.
    fn known(&self, petition: &Petition) -> Result<Option<Domain>> {
        let id = Dam::decode(&petition.dam.bytes).ok();
        let id = id.as_ref().and_then(id_of);
        let Some(id) = id else { return Ok(None) };
        if files::look(&self.root.layout().domain(&id))?.is_none() {
            return Ok(None);
        }
        let mut domain = Domain::open(&self.root, &id)?;
        domain.settle()?;
        domain.lapse(self.root.id(), &self.context)?;
        Ok(Some(domain))
    }

    /// This host's last decision on a request.
    fn last_on(&self, domain: &Domain, petition: &Petition) -> Result<Option<Recorded>> {
        let mut all = decisions_on(domain, &petition.request.bytes)?;
        all.retain(|r| r.decision.host == self.root.id());
        Ok(all.pop())
    }

    /// Decides, tells the audit log, and records. `by_hand` is the keeper's own deciding, with or
    /// without a ruling.
    fn settle(
        &self,
        desk: &mut Desk,
        petition: &Petition,
        known: Option<Domain>,
        by_hand: Option<Option<AdmissionResult>>,
    ) -> Result<Signed> {
        let ruling = by_hand.flatten();
        let verdict = self.judge(desk, petition, known.as_ref(), ruling)?;
        let decision = &verdict.decision;
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
        self.tell(desk, petition, &verdict, &signed, by_hand.is_some())?;
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
        self.record(domain, petition, decision, &signed)?;
        Ok(signed)
    }

    fn judge(
        &self,
        desk: &mut Desk,
        petition: &Petition,
        known: Option<&Domain>,
        ruling: Option<AdmissionResult>,
    ) -> Result<Verdict> {
        desk.rules.refresh(&self.root);
        desk.ledger.refresh(&self.root)?;
        let (policy, trusted_roots) = (&desk.rules.policy, &desk.rules.trusted);
        let now = Timestamp::claimed(self.context.clock.wall_ns());
        let others = known.map(Domain::id);
        let totals = desk.ledger.totals(others, trusted_roots, now.unix_ns);
        Ok(weigh(&AdmitInput {
            dam: &petition.dam.bytes,
            dam_sig: &petition.dam.sig,
            request: &petition.request.bytes,
            request_sig: &petition.request.sig,
            trusted_roots,
            policy,
            now,
            host: self.root.public_key(),
            previous: known.and_then(Domain::dam),
            state: known.map(Domain::state).unwrap_or_default(),
            held: known.is_some_and(Domain::is_held),
            conduct: known.map(Domain::conduct).unwrap_or_default(),
            promised_bytes: totals.promised_bytes,
            strangers: totals.strangers,
            ruling,
        }))
    }

    /// Counts a decision against the rate, and tells the audit log of it.
    fn tell(
        &self,
        desk: &mut Desk,
        petition: &Petition,
        verdict: &Verdict,
        signed: &Signed,
        by_hand: bool,
    ) -> Result<()> {
        let (rate, now) = (desk.rules.policy.rate, self.context.clock.since_boot());
        let decision = &verdict.decision;
        let dam = Dam::decode(&petition.dam.bytes).ok();
        let id = dam.as_ref().and_then(id_of);
        let rejected = decision.outcome == AdmissionResult::Rejected;
        let mut unwritten = 0;
        match (&dam, by_hand) {
            (_, true) => {}
            (Some(dam), _) if verdict.proven && !rejected => {
                desk.decided.one_more(dam.domain, rate, now)?;
            }
            // A key that nobody here knows is made in no time.
            _ => match desk.decided.gets_a_line(rate, now) {
                Some(before) => unwritten = before,
                None => return Ok(()),
            },
        }
        let asked = AdmissionRequest::decode(&petition.request.bytes).ok();
        let asked = asked.map(
            |r| json!({ "bytes": r.storage_bytes, "seconds": r.seconds, "snapshots": r.snapshots }),
        );
        let roots = dam.as_ref().map(|dam| {
            let ids = dam.roots.keys().iter().map(|key| key.id().to_string());
            ids.collect::<Vec<_>>()
        });
        let mut told = json!({
            "domain": id.map(|id| id.to_string()),
            "roots": roots,
            "proven": verdict.proven,
            "request": decision.request.to_string(),
            "asked": asked,
            "outcome": decision.outcome.code(),
            "decision": Digest::of(&signed.bytes).to_string(),
            "by": if by_hand { "the keeper" } else { "host-policy" },
            "rule": verdict.decided_by(),
            "why": decision.reason,
        });
        if unwritten > 0 {
            told["unwritten_before"] = json!(unwritten);
        }
        self.audit.note(&self.context, "admission", told)
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

    pub(super) fn lease_record(&self, decision: &Decision, signed: &Signed) -> Option<LeaseRecord> {
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

/// The name of the directory that a DAM's domain has, as the DAM says.
fn id_of(dam: &Dam) -> Option<DomainId> {
    let genesis = asl_auth::Genesis::decode(&dam.genesis).ok()?;
    Some(DomainId::new(genesis.label, &dam.domain))
}

fn cannot_rule(why: &str) -> Error {
    Error::new(Kind::Refused, "decide", "the request so", why)
}
