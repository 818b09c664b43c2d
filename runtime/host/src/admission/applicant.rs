//! The asking side: checks a decision, records it, holds the lease that came with it.

use super::records::{decisions_on, granted_last, write_records, Recorded};
use super::{lent, Petition};
use crate::domain::Domain;
use crate::keystick::Signed;
use crate::leases::LeaseRecord;
use crate::root::Context;
use asl_auth::{check_decision, AdmissionRequest, AdmissionResult, Dam, Decision, PublicKey};
use asl_core::{Digest, Error, Kind, Result};

/// Checks a decision against the pinned host and the request, and records it.
///
/// Another host's decision never changes this host's own state for the domain; a lease that comes
/// with it is kept with the name of who granted it. The same decision again changes nothing. Where a
/// request was DEFERRED or REJECTED a later decision takes force; what was granted stands until the
/// host grants anew, and no older decision of the same host takes its place.
///
/// # Errors
/// `Refused` where the decision is another host's, answers another request or is not signed by the
/// pinned key, the request was made under a DAM that is not in force, or the host has decided
/// anew since; `Io`.
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
    domain.settle()?;
    let earlier = decisions_on(domain, &petition.request.bytes)?;
    let repeated = earlier.iter().any(|r| r.digest() == digest);
    let in_force = earlier.iter().rev().find(|r| r.grants());
    let grants = read.outcome == AdmissionResult::Accepted || read.lease.is_some();
    // The keeper may have changed the lease since: a later word on the same request.
    let later = |r: &&Recorded| !grants || read.time.unix_ns <= r.decision.time.unix_ns;
    let stands = in_force.filter(|r| repeated || later(r));
    if let Some(in_force) = stands.or(earlier.last().filter(|_| repeated)) {
        let held = domain.leases().of(&read.host);
        let held = held.filter(|l| l.decision == in_force.digest());
        return Ok((in_force.decision.clone(), held.cloned()));
    }
    check_own(domain, petition)?;
    check_newest(domain, context, petition, &read)?;
    let lease = LeaseRecord::of(&read, digest, context.clock.since_boot(), boot);
    let mut records = write_records(domain, petition, decision)?;
    records.extend(lent(domain, &read, lease.clone()));
    domain.record(context, &records)?;
    domain.write_descriptor(context)?;
    Ok((read, lease))
}

/// A petition of another domain, or under a DAM that does not follow the one in force, would make
/// the domain's own records contradict each other.
fn check_own(domain: &Domain, petition: &Petition) -> Result<()> {
    let refuse = |why: String| {
        Error::new(Kind::Refused, "take up", "the decision", why)
            .next("ask again under the DAM in force: `asl-host admission request`")
    };
    let dam = Dam::verify(&petition.dam.bytes, &petition.dam.sig, domain.dam())
        .map_err(|e| refuse(format!("the DAM it was asked under: {}", e.why())))?;
    if dam.dam().domain != domain.hash() {
        return Err(refuse("it was asked for another domain".into()));
    }
    Ok(())
}

/// How far a host's clock may be ahead of this machine's and both still be right.
const AHEAD_NS: i64 = 86_400 * 1_000_000_000;

/// A decision that is older than the one of the same host in force is old mail, however it came.
///
/// Older is what every clock says to be older: the asking machine's at both requests, the host's at
/// both decisions, and this one's now. Where they disagree one of them was wrong, and the order in
/// which decisions came in counts.
fn check_newest(
    domain: &Domain,
    context: &Context,
    petition: &Petition,
    read: &Decision,
) -> Result<()> {
    let Some(in_force) = granted_last(domain, &read.host)? else {
        return Ok(());
    };
    let asked = AdmissionRequest::decode(&petition.request.bytes)?
        .time
        .unix_ns;
    let decided = in_force.decision.time.unix_ns;
    let plausible = decided <= context.clock.wall_ns().saturating_add(AHEAD_NS);
    if !plausible || asked >= in_force.request.time.unix_ns || read.time.unix_ns >= decided {
        return Ok(());
    }
    let why = "the host has decided anew since, and that decision is in force";
    Err(
        Error::new(Kind::Refused, "take up", "the decision", why).next(
            "nothing is changed; see `asl-host lease show`, or ask again: `asl-host admission request`",
        ),
    )
}
