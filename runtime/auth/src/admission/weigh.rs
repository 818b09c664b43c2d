//! The decision itself: documents, policy and time in, an outcome with its reasons out.

use super::DomainState;
use crate::document::{AdmissionRequest, AdmissionResult, Dam, Decision, LeaseTerms, VerifiedDam};
use crate::keys::PublicKey;
use crate::policy::{Asked, Conduct, HostPolicy, LeaseBounds, Rule};
use asl_core::{Digest, Error, Kind, Result, Timestamp};

/// All that an admission depends on. The same input gives the same decision.
#[derive(Clone, Copy, Debug)]
pub struct AdmitInput<'a> {
    /// The DAM's bytes, as received.
    pub dam: &'a [u8],
    /// Its signatures.
    pub dam_sig: &'a [u8],
    /// The request's bytes, as received.
    pub request: &'a [u8],
    /// Its signature.
    pub request_sig: &'a [u8],
    /// The root keys that this host's keeper trusts.
    pub trusted_roots: &'a [PublicKey],
    /// What the keeper grants.
    pub policy: &'a HostPolicy,
    /// This host's clock.
    pub now: Timestamp,
    /// This host's key.
    pub host: &'a PublicKey,
    /// The DAM in force here for that domain, where there is one.
    pub previous: Option<&'a VerifiedDam>,
    /// What this host holds the domain to be.
    pub state: DomainState,
    /// The keeper's own hand suspended it, or took its admission back: nothing but that hand
    /// admits it again.
    pub held: bool,
    /// How it has behaved here.
    pub conduct: Conduct,
    /// Bytes promised by the leases in force here, this domain's own apart.
    pub promised_bytes: u64,
    /// Other domains here of which no root is trusted.
    pub strangers: u32,
    /// What the keeper has decided for this one request, in place of the policy's outcome. It lifts
    /// no other rule but the number of strangers.
    pub ruling: Option<AdmissionResult>,
}

/// What one rule said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has nothing against it.
    Passed,
    /// It is about other requests.
    PassedOver,
    /// It gave the outcome.
    Decided,
    /// It refused.
    Refused,
}

/// One rule and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The rule, as it stands in the host-policy, or what was checked before it.
    pub rule: String,
    /// What it said.
    pub said: Said,
    /// Why.
    pub why: String,
}

/// A decision with the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The decision.
    pub decision: Decision,
    /// Every rule that was asked, in order.
    pub steps: Vec<Step>,
    /// An operator of a DAM that holds has asked this very host.
    pub proven: bool,
}

impl Verdict {
    /// The rule that settled it: the one that refused, or else the one that gave the outcome.
    pub fn decided_by(&self) -> &str {
        let said = |what| self.steps.iter().find(move |s| s.said == what);
        let step = said(Said::Refused).or_else(|| said(Said::Decided));
        step.map_or("", |s| s.rule.as_str())
    }
}

/// Decides on a request for admission: schema, signatures, threshold, chain, validity, policy.
///
/// Bad input from outside is no error: it is REJECTED, with the reason. A host must answer a
/// request it has already decided with the decision it recorded, not with a new one: else an old
/// request, sent again, would stretch a lease.
pub fn admit(input: &AdmitInput<'_>) -> Decision {
    weigh(input).decision
}

/// As [`admit`], with what every rule said on the way.
pub fn weigh(input: &AdmitInput<'_>) -> Verdict {
    let mut way = Way::default();
    let considered = consider(input, &mut way);
    let (outcome, reason, lease) = considered.unwrap_or_else(|e| {
        // What a rule decided it has said already.
        if !way.rule.is_empty() {
            way.step(Said::Refused, e.why());
        }
        (AdmissionResult::Rejected, e.to_string(), None)
    });
    let request = Digest::of(input.request);
    Verdict {
        decision: decision(request, input.host, input.now, outcome, &reason, lease),
        proven: way.proven,
        steps: way.steps,
    }
}

pub(super) fn decision(
    request: Digest,
    host: &PublicKey,
    time: Timestamp,
    outcome: AdmissionResult,
    reason: &str,
    lease: Option<LeaseTerms>,
) -> Decision {
    Decision {
        request,
        host: host.id(),
        outcome,
        reason: Decision::reason_from(reason),
        lease,
        time,
    }
}

/// What was asked so far, and what is asked now.
#[derive(Default)]
struct Way {
    steps: Vec<Step>,
    rule: String,
    proven: bool,
}

impl Way {
    fn at(&mut self, rule: impl Into<String>) {
        self.rule = rule.into();
    }

    fn step(&mut self, said: Said, why: impl Into<String>) {
        let (rule, why) = (std::mem::take(&mut self.rule), why.into());
        self.steps.push(Step { rule, said, why });
    }

    fn choose<'a>(&mut self, rule: &str, outcome: AdmissionResult, who: &str) -> Chosen<'a> {
        self.at(rule);
        self.step(Said::Decided, format!("{outcome}: {who}"));
        Chosen {
            outcome,
            who: who.to_string(),
            rule: None,
        }
    }
}

type Considered = (AdmissionResult, String, Option<LeaseTerms>);

fn consider(input: &AdmitInput<'_>, way: &mut Way) -> Result<Considered> {
    way.at("the DAM");
    let dam = Dam::verify(input.dam, input.dam_sig, input.previous)?;
    dam.check_time(input.now)?;
    way.step(Said::Passed, "enough of its root keys signed it");
    way.at("the request");
    let host = input.host.id();
    let request = AdmissionRequest::verify(input.request, input.request_sig, &dam, host)?;
    way.step(Said::Passed, "an operator of the DAM signed it");
    way.proven = true;
    way.at("the domain's state");
    if input.state == DomainState::Revoked {
        return Err(no("the domain is revoked here"));
    }
    way.step(Said::Passed, format!("it is {}", input.state));

    let policy = input.policy;
    way.at("labels");
    if !policy.takes_label(&dam.genesis().label) {
        return Err(no("policy takes no domain of this label"));
    }
    way.step(Said::Passed, "the label is taken in");
    way.at("encryption_only");
    if policy.encryption_only && !dam.dam().policy.encrypted {
        return Err(no("policy takes only encrypted domains"));
    }
    way.step(Said::Passed, "as the domain is");

    let roots = dam.dam().roots.keys();
    let known = roots.iter().any(|k| input.trusted_roots.contains(k));
    let asked = Asked {
        label: &dam.genesis().label,
        roots,
        known,
        encrypted: dam.dam().policy.encrypted,
        bytes: request.storage_bytes,
        seconds: request.seconds,
        conduct: input.conduct,
    };
    let chosen = choose(input, &asked, way);
    let (outcome, who) = (chosen.outcome, chosen.who.as_str());
    match outcome {
        AdmissionResult::Rejected if input.ruling.is_some() => return Err(no(who)),
        AdmissionResult::Rejected => return Err(no(&format!("policy rejects it: {who}"))),
        _ => {}
    }
    way.at("strangers");
    if !known && input.ruling.is_none() && input.strangers >= policy.strangers {
        let most = policy.strangers;
        return Err(no(&format!(
            "this host keeps {most} domains without a trusted root and takes no more"
        )));
    }
    way.step(Said::Passed, "there is room for it");
    if outcome == AdmissionResult::Deferred {
        let reason = match input.ruling {
            Some(_) => who.to_string(),
            None => format!("the keeper of this host decides later: {who}"),
        };
        return Ok((outcome, reason, None));
    }
    way.at("the DAM's own policy");
    if !dam.dam().policy.outcomes.contains(&outcome) {
        let why = format!("this host offers {outcome}, which the domain does not accept");
        return Err(no(&why));
    }
    way.step(Said::Passed, format!("the domain accepts {outcome}"));
    if outcome == AdmissionResult::Accepted {
        return Ok((outcome, chosen.who, None));
    }
    way.at("total_bytes");
    let lease = terms(input, &request, chosen.rule)?;
    let given = format!("{} bytes are left to it", lease.storage_bytes);
    way.step(Said::Passed, given);
    Ok((outcome, chosen.who, Some(lease)))
}

/// The outcome that the bounds after it may still refuse.
struct Chosen<'a> {
    outcome: AdmissionResult,
    who: String,
    rule: Option<&'a Rule>,
}

fn choose<'a>(input: &AdmitInput<'a>, asked: &Asked<'_>, way: &mut Way) -> Chosen<'a> {
    let policy = input.policy;
    if let Some(ruling) = input.ruling {
        return way.choose("the keeper", ruling, "the keeper of this host decided so");
    }
    if input.held {
        let who = "its keeper's own hand suspended the domain here, and it alone lifts that";
        return way.choose("the domain's standing", AdmissionResult::Deferred, who);
    }
    for rule in &policy.rules {
        way.at(format!("rule \"{}\" (line {})", rule.name, rule.line));
        match rule.misses(asked) {
            Some(why) => way.step(Said::PassedOver, why),
            None => {
                let who = format!("rule {} of its host-policy", rule.name);
                way.step(Said::Decided, format!("{}: all of it fits", rule.outcome));
                return Chosen {
                    outcome: rule.outcome,
                    who,
                    rule: Some(rule),
                };
            }
        }
    }
    let (rule, outcome, who) = match asked.known {
        true => (
            "known_roots",
            policy.known_roots,
            "its root is trusted here",
        ),
        false => (
            "unknown_roots",
            policy.unknown_roots,
            "none of its roots is trusted here",
        ),
    };
    way.choose(rule, outcome, who)
}

fn terms(
    input: &AdmitInput<'_>,
    request: &AdmissionRequest,
    rule: Option<&Rule>,
) -> Result<LeaseTerms> {
    let policy = input.policy;
    let bounds = LeaseBounds {
        bytes: rule.and_then(|r| r.max_bytes).unwrap_or(policy.lease.bytes),
        snapshots: rule
            .and_then(|r| r.snapshots)
            .unwrap_or(policy.lease.snapshots),
        seconds: rule
            .and_then(|r| r.max_seconds)
            .unwrap_or(policy.lease.seconds),
    };
    let room = policy.total_bytes.saturating_sub(input.promised_bytes);
    let given = LeaseBounds {
        bytes: request.storage_bytes.min(bounds.bytes).min(room),
        snapshots: request.snapshots.min(bounds.snapshots),
        seconds: request.seconds.min(bounds.seconds),
    };
    if given.bytes == 0 {
        return Err(no("no room left: all that policy allows is promised"));
    }
    lease_of(
        Digest::of(input.request),
        input.host,
        input.now,
        policy,
        given,
    )
}

/// A lease that begins now; one request has one lease, whatever becomes of it.
pub(super) fn lease_of(
    request: Digest,
    host: &PublicKey,
    now: Timestamp,
    policy: &HostPolicy,
    given: LeaseBounds,
) -> Result<LeaseTerms> {
    let mut id = blake3::Hasher::new_derive_key("asl lease id v1");
    id.update(host.id().as_bytes());
    id.update(request.as_bytes());
    Ok(LeaseTerms {
        lease_id: id.finalize().into(),
        storage_bytes: given.bytes,
        snapshots: given.snapshots,
        expires_at: after(now, given.seconds)?,
        grace_s: policy.grace_s,
        reclaim: policy.reclaim,
        encryption_only: policy.encryption_only,
        renewable: policy.renewable,
    })
}

/// So many seconds from now.
pub(super) fn after(now: Timestamp, seconds: u64) -> Result<Timestamp> {
    let lasts = i64::try_from(seconds)
        .ok()
        .and_then(|s| s.checked_mul(1_000_000_000));
    let end = lasts.and_then(|ns| now.unix_ns.checked_add(ns));
    let unix_ns = end.ok_or_else(|| no("this host's clock is too far off to grant a lease"))?;
    Ok(Timestamp {
        unix_ns,
        evidenced: now.evidenced,
    })
}

pub(super) fn no(why: &str) -> Error {
    Error::new(Kind::Refused, "admit", "the domain", why)
}
