//! The documents of admissions as they lie on this host, written once and read back.

use super::{name, read_decision, Petition, LONGEST};
use crate::domain::Domain;
use crate::hostlog::HostRecord;
use crate::keystick::Signed;
use crate::layout::domain as place;
use crate::root::HostRoot;
use asl_auth::{AdmissionRequest, AdmissionResult, Decision};
use asl_backend::files;
use asl_core::{Digest, Error, KeyId, Kind, Result};
use std::path::Path;

/// An admission that this host has recorded: what was asked, and what was decided on it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its number in the domain; 0 for what was only rejected.
    pub number: u32,
    /// What was handed in.
    pub petition: Petition,
    /// The request, as a value.
    pub request: AdmissionRequest,
    /// The decision's bytes and signature.
    pub signed: Signed,
    /// The decision, as a value.
    pub decision: Decision,
}

impl Recorded {
    /// Reads an admission's directory.
    ///
    /// # Errors
    /// `NotFound` naming the file that is missing, `Invalid`, `Io`.
    pub fn read(dir: &Path, number: u32) -> Result<Recorded> {
        let (petition, signed) = (Petition::read(dir)?, read_decision(dir)?);
        Ok(Recorded {
            number,
            request: AdmissionRequest::decode(&petition.request.bytes)?,
            decision: Decision::decode(&signed.bytes)?,
            petition,
            signed,
        })
    }

    /// The decision's identity.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.signed.bytes)
    }

    /// Whether the domain may use the host by it.
    pub fn grants(&self) -> bool {
        let granted = [AdmissionResult::Accepted, AdmissionResult::AcceptedLimited];
        granted.contains(&self.decision.outcome)
    }

    /// Whether the keeper still has to decide.
    pub fn waits(&self) -> bool {
        self.decision.outcome == AdmissionResult::Deferred
    }
}

/// The admissions recorded for a domain, in order.
///
/// # Errors
/// `Damage` where a decision is not the one that the host log names; `Io`.
pub fn recorded(domain: &Domain) -> Result<Vec<Recorded>> {
    let one = |(number, digest): (&u32, &Digest)| checked(domain, *number, digest);
    domain.recorded().iter().map(one).collect()
}

/// The last admission recorded for a domain.
pub(super) fn latest(domain: &Domain) -> Result<Option<Recorded>> {
    let last = domain.recorded().last_key_value();
    last.map(|(number, digest)| checked(domain, *number, digest))
        .transpose()
}

/// The last recorded decision of a host by which the domain may use it.
pub(super) fn granted_last(domain: &Domain, host: &KeyId) -> Result<Option<Recorded>> {
    for (number, digest) in domain.recorded().iter().rev() {
        let one = checked(domain, *number, digest)?;
        if one.decision.host == *host && one.grants() {
            return Ok(Some(one));
        }
    }
    Ok(None)
}

/// The recorded decisions on this very request, in order.
pub(super) fn decisions_on(domain: &Domain, request: &[u8]) -> Result<Vec<Recorded>> {
    let mut found = Vec::new();
    for (number, digest) in domain.recorded() {
        let dir = domain.dir().join(place::admission(*number));
        if files::read_limited(&dir.join(name::REQUEST), LONGEST)? == request {
            found.push(checked(domain, *number, digest)?);
        }
    }
    Ok(found)
}

/// The petitions that were rejected and kept as evidence, by the name of their directory; what
/// lies there and is none is passed over.
///
/// # Errors
/// `Io`.
pub fn rejected(root: &HostRoot) -> Result<Vec<Recorded>> {
    let all = root.layout().quarantine();
    let names = files::names(&all)?;
    let read = |name: &String| Recorded::read(&all.join(name), 0).ok();
    Ok(names.iter().filter_map(read).collect())
}

/// One recorded admission.
///
/// # Errors
/// `Damage` where its decision is not the one that the host log names; `Io`.
pub(crate) fn checked(domain: &Domain, number: u32, digest: &Digest) -> Result<Recorded> {
    let dir = domain.dir().join(place::admission(number));
    let damage = |why: &dyn std::fmt::Display| {
        Error::new(
            Kind::Damage,
            "read",
            dir.join(name::DECISION).display(),
            why,
        )
        .next("restore the admission's records from a copy")
    };
    let signed = read_decision(&dir)?;
    if Digest::of(&signed.bytes) != *digest {
        return Err(damage(&"it is not the decision that the host log names"));
    }
    Recorded::read(&dir, number).map_err(|e| match e.kind() {
        Kind::Invalid => damage(&e.why()),
        _ => e,
    })
}

/// Writes the documents of one more admission, which the host log's record then makes count.
///
/// What lies there unrecorded is a crash's remains: the same admission again completes it, another
/// one passes it over, since nothing may be wedged by it and nothing written is replaced.
pub(super) fn write_records(
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
        beside: Some(beside(petition, &decision.sig)),
    }])
}

/// The digest of what lies beside a decision: each document's digest, one after the other.
pub(crate) fn beside(petition: &Petition, decision_sig: &[u8]) -> Digest {
    let documents = petition.files().map(|(_, bytes)| bytes);
    let all = documents.into_iter().chain([decision_sig]);
    let digests: Vec<u8> = all.flat_map(|d| *Digest::of(d).as_bytes()).collect();
    Digest::of(&digests)
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
