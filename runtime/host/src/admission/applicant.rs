//! The asking side: checks a decision, records it, holds the lease that came with it.

use super::records::{decisions_on, write_records, Recorded};
use super::Petition;
use crate::domain::Domain;
use crate::hostlog::{HostRecord, LeaseRecord};
use crate::keystick::Signed;
use crate::root::Context;
use asl_auth::AdmissionResult::{Deferred, Rejected};
use asl_auth::{check_decision, Dam, Decision, PublicKey};
use asl_core::{Digest, Error, Kind, Result};

/// Checks a decision against the pinned host and the request, and records it.
///
/// Another host's decision never changes this host's own state for the domain; a lease that comes
/// with it is kept with the name of who granted it. The same decision again changes nothing. Where a
/// request was DEFERRED or REJECTED a later decision takes force; what was granted stands.
///
/// # Errors
/// `Refused` where the decision is another host's, answers another request or is not signed by the
/// pinned key, or the request was made under a DAM that is not in force; `Io`.
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
    let earlier = decisions_on(domain, &petition.request.bytes)?;
    let granted = |r: &&Recorded| !matches!(r.decision.outcome, Deferred | Rejected);
    let repeated = earlier.iter().any(|r| r.digest() == digest);
    let in_force = earlier.iter().rev().find(granted);
    if let Some(in_force) = in_force.or(earlier.last().filter(|_| repeated)) {
        let held = domain.lease().filter(|l| l.decision == in_force.digest());
        return Ok((in_force.decision.clone(), held.cloned()));
    }
    check_own(domain, petition)?;
    let lease = LeaseRecord::of(&read, digest, context.clock.since_boot(), boot);
    let mut records = write_records(domain, petition, decision)?;
    records.extend(lease.clone().map(HostRecord::Lease));
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
