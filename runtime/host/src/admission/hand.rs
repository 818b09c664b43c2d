//! The keeper's own hand: suspended, resumed, revoked; admission taken back; a lease changed.
//!
//! Nothing here waits for a request, and nothing here is undone by one.

use super::records::{granted_last, recorded, write_records, Recorded};
use super::{lent, Keeper, Petition};
use crate::domain::Domain;
use crate::hostlog::{by_hand, HostRecord, LEASE_OVER};
use crate::keystick::Signed;
use asl_auth::{
    amend, cose, AdmissionResult, AmendInput, Amendment, Decision, DomainState, LeaseTerms,
};
use asl_core::{Digest, DomainId, Error, Kind, Result, Timestamp};
use serde_json::json;

/// What the keeper does to a domain's standing on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing new comes in, until the keeper resumes it.
    Suspend,
    /// It is again what it was before.
    Resume,
    /// For good.
    Revoke,
    /// It was never admitted: the lease ends, and it may ask anew.
    Invalidate,
}

impl Act {
    fn word(self) -> &'static str {
        match self {
            Act::Suspend => "suspend",
            Act::Resume => "resume",
            Act::Revoke => "revoke",
            Act::Invalidate => "invalidate",
        }
    }
}

impl Keeper {
    /// Changes a domain's standing here and gives the state it then has; the content is not touched.
    ///
    /// # Errors
    /// `Refused` where its state has no such change; `NotFound`, `Damage`, `Io`.
    pub fn act(&self, id: &DomainId, act: Act, why: &str) -> Result<DomainState> {
        let mut desk = self.turn()?;
        desk.ledger.refresh(&self.root)?;
        let mut domain = self.sound(id)?;
        let (state, reason) = self.next(&domain, act, why)?;
        self.note(&domain, act.word(), state, &by_hand(why))?;
        let mut records = vec![self.state(state, reason)];
        let lent = match act {
            Act::Invalidate => self.lease_in_force(&domain)?,
            _ => None,
        };
        if let Some(recorded) = lent {
            let policy = &desk.rules.policy;
            let ended = self.amended(policy, &recorded, &domain, 0, Amendment::End)?;
            records.extend(self.signed(&domain, &recorded.petition, &ended)?.1);
        }
        domain.record(&self.context, &records)?;
        domain.write_descriptor(&self.context)?;
        Ok(state)
    }

    fn next(&self, domain: &Domain, act: Act, why: &str) -> Result<(DomainState, String)> {
        let state = domain.state();
        let refuse = |why: String, next: &str| {
            let object = format!("domain {}", domain.id());
            Err(Error::new(Kind::Refused, act.word(), object, why).next(next))
        };
        let done = |state| Ok((state, by_hand(why)));
        match (act, state) {
            (_, DomainState::Revoked) => refuse(
                "it is REVOKED here, which is for good".into(),
                "what it holds can be read by its owner; see `asl-host domain show`",
            ),
            (Act::Suspend, _) if domain.is_held() => refuse(
                "it is suspended already".into(),
                "lift it with `asl-host domain resume`",
            ),
            (Act::Suspend, _) => done(DomainState::Suspended),
            (Act::Revoke, _) => done(DomainState::Revoked),
            (Act::Resume, _) if !domain.is_held() => refuse(
                match state {
                    DomainState::Suspended => {
                        "its lease has expired, and no hand suspended it".into()
                    }
                    _ => format!("it is not suspended, it is {state}"),
                },
                "for more time: `asl-host lease renew`",
            ),
            (Act::Resume, _) => Ok(self.resumed(domain, why)),
            (Act::Invalidate, DomainState::Unrecognized) => refuse(
                "it is not admitted here".into(),
                "see `asl-host admission list`",
            ),
            (Act::Invalidate, _) if domain.is_held() => refuse(
                "it is suspended by hand, and would be free to ask again".into(),
                "resume it first, or `asl-host domain revoke` it",
            ),
            (Act::Invalidate, _) => done(DomainState::Unrecognized),
        }
    }

    /// What a domain is once its suspension is lifted: a lease that ended meanwhile stays ended.
    fn resumed(&self, domain: &Domain, why: &str) -> (DomainState, String) {
        let lease = domain.leases().of(&self.root.id());
        let ends = lease.map(|l| l.terms.expires_at.unix_ns);
        match (domain.state_before(), ends) {
            (DomainState::Courtesy, Some(end)) if self.now().unix_ns > end => {
                (DomainState::Suspended, LEASE_OVER.into())
            }
            (before, _) => (before, by_hand(why)),
        }
    }

    /// Changes what is lent to a domain, and signs that as the newest decision on its request.
    ///
    /// # Errors
    /// `Refused` by the state, by what is lent, or for want of room; `NotFound` where the domain
    /// has never asked; `Damage`, `Io`.
    pub fn amend(
        &self,
        id: &DomainId,
        amendment: Amendment,
        why: &str,
    ) -> Result<(Petition, Signed)> {
        let mut desk = self.turn()?;
        desk.rules.refresh(&self.root);
        desk.ledger.refresh(&self.root)?;
        let mut domain = self.sound(id)?;
        let recorded = self.to_amend(&domain, amendment)?;
        let rules = &desk.rules;
        let now = self.now().unix_ns;
        let promised = desk
            .ledger
            .totals(Some(id), &rules.trusted, now)
            .promised_bytes;
        let decision = self.amended(&rules.policy, &recorded, &domain, promised, amendment)?;
        let ends = amendment == Amendment::End;
        let state = match (amendment, domain.state()) {
            // Else the next request, decided by nobody, would bring it back.
            (Amendment::End, _) => DomainState::Suspended,
            (Amendment::Shrink { .. }, state) => state,
            _ => DomainState::Courtesy,
        };
        let word = match amendment {
            Amendment::Grant(_) => "lease-grant",
            Amendment::Renew { .. } => "lease-renew",
            Amendment::Shrink { .. } => "lease-shrink",
            Amendment::End => "lease-revoke",
        };
        self.note(&domain, word, state, &by_hand(why))?;
        let (signed, mut records) = self.signed(&domain, &recorded.petition, &decision)?;
        if state != domain.state() || (ends && !domain.is_held()) {
            records.push(self.state(state, by_hand(why)));
        }
        domain.record(&self.context, &records)?;
        domain.write_descriptor(&self.context)?;
        Ok((recorded.petition, signed))
    }

    /// The admission that an amendment goes back to.
    fn to_amend(&self, domain: &Domain, amendment: Amendment) -> Result<Recorded> {
        let object = || format!("the lease of {}", domain.id());
        let refuse = |why: String, next: &str| {
            Err(Error::new(Kind::Refused, "change", object(), why).next(next))
        };
        let gives = matches!(amendment, Amendment::Grant(_) | Amendment::Renew { .. });
        match domain.state() {
            DomainState::Revoked => {
                return refuse("the domain is REVOKED here".into(), "this is for good")
            }
            DomainState::Full => {
                return refuse(
                    "the domain is taken in full, without a lease".into(),
                    "stop it with `asl-host domain suspend`",
                )
            }
            _ if gives && domain.is_held() => {
                return refuse(
                    "the domain is suspended by hand".into(),
                    "lift that first: `asl-host domain resume`",
                )
            }
            _ => {}
        }
        if matches!(amendment, Amendment::Grant(_)) {
            let own = |r: &Recorded| r.decision.host == self.root.id();
            let last = recorded(domain)?.into_iter().rfind(own);
            return last.ok_or_else(|| {
                let why = "the domain has never asked this host";
                Error::new(Kind::NotFound, "grant", object(), why)
                    .next("it asks with `asl-host admission request`")
            });
        }
        match self.lease_in_force(domain)? {
            Some(recorded) => Ok(recorded),
            None => refuse(
                "this host lends it nothing".into(),
                "grant one: `asl-host lease grant`",
            ),
        }
    }

    /// The admission by which this host lends, if it does.
    fn lease_in_force(&self, domain: &Domain) -> Result<Option<Recorded>> {
        let Some(lease) = domain.leases().of(&self.root.id()) else {
            return Ok(None);
        };
        let last = granted_last(domain, &self.root.id())?;
        Ok(last.filter(|r| r.digest() == lease.decision))
    }

    fn amended(
        &self,
        policy: &asl_auth::HostPolicy,
        recorded: &Recorded,
        domain: &Domain,
        promised_bytes: u64,
        amendment: Amendment,
    ) -> Result<Decision> {
        let refuse = |why: &str, next: &str| {
            let object = format!("a lease to {}", domain.id());
            Err(Error::new(Kind::Refused, "grant", object, why).next(next))
        };
        if let (Amendment::Grant(_), Some(dam)) = (amendment, domain.dam()) {
            let own = &dam.dam().policy;
            if !own.outcomes.contains(&AdmissionResult::AcceptedLimited) {
                return refuse(
                    "the domain accepts none",
                    "its DAM says so, and its owner signs it",
                );
            }
            if policy.encryption_only && !own.encrypted {
                let next = "allow it with encryption_only = false in host-policy";
                return refuse("policy takes only encrypted domains", next);
            }
        }
        let lease = domain.leases().of(&self.root.id());
        let terms: Option<&LeaseTerms> = lease.map(|l| &l.terms);
        let input = AmendInput {
            request: Digest::of(&recorded.petition.request.bytes),
            host: self.root.public_key(),
            now: self.now(),
            policy,
            lease: terms,
            promised_bytes,
        };
        amend(&input, amendment)
    }

    /// Signs one more decision on a request and writes it down; it counts, with the lease that it
    /// states, by the records.
    fn signed(
        &self,
        domain: &Domain,
        petition: &Petition,
        decision: &Decision,
    ) -> Result<(Signed, Vec<HostRecord>)> {
        let bytes = decision.encode();
        let sig = cose::sign(Decision::KIND, &bytes, &[&self.key])?;
        let signed = Signed { bytes, sig };
        let mut records = write_records(domain, petition, &signed)?;
        records.extend(lent(domain, decision, self.lease_record(decision, &signed)));
        Ok((signed, records))
    }

    fn state(&self, state: DomainState, why: String) -> HostRecord {
        HostRecord::State {
            state,
            why,
            time: self.now(),
        }
    }

    fn sound(&self, id: &DomainId) -> Result<Domain> {
        let mut domain = Domain::open(&self.root, id)?;
        domain.settle()?;
        domain.lapse(self.root.id(), &self.context)?;
        Ok(domain)
    }

    fn note(&self, domain: &Domain, event: &str, state: DomainState, why: &str) -> Result<()> {
        let told = json!({
            "domain": domain.id().to_string(),
            "was": domain.state().code(),
            "state": state.code(),
            "by": "the keeper",
            "why": why,
        });
        self.audit.note(&self.context, event, told)
    }

    fn now(&self) -> Timestamp {
        Timestamp::claimed(self.context.clock.wall_ns())
    }
}
