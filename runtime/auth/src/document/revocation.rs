//! Revocations: what a domain takes back, once and for ever.
//!
//! They make a set that only grows: each stands for itself, in any order and as often as it comes,
//! by network or on a stick, and the result is the same. Numbers order them for people and show
//! that one is missing; a number is never a reason not to believe one.

use super::{bad, time, OperatorVerb, RootSet, VerifiedDam};
use crate::cose;
use crate::document::decision::printable;
use crate::keys::PublicKey;
use asl_core::canon::Limits;
use asl_core::{
    Digest, DomainHash, Error, Fields, KeyId, Kind, MapBuilder, Result, Timestamp, Value,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RevocationTarget {
    /// An operator's key: nothing it signed counts any more.
    Operator(KeyId),
    /// A session's device key: what it signed does not count any more.
    Device(KeyId),
    /// A root key: it signs no DAM and no revocation any more.
    Root(KeyId),
    /// An admission and the lease that came with it, by the digest of the request.
    Admission(Digest),
    /// A snapshot, by the digest of its manifest.
    Snapshot(Digest),
    /// A peer, by its host key: not trusted for rehydration, nor federated with.
    Peer(KeyId),
}

impl RevocationTarget {
    /// The kinds, as documents spell them.
    pub const KINDS: [&'static str; 6] = [
        "operator",
        "device",
        "root",
        "admission",
        "snapshot",
        "peer",
    ];

    /// The target of this kind with this id.
    ///
    /// # Errors
    /// `Invalid` where there is no such kind.
    pub fn new(kind: &str, id: [u8; 32]) -> Result<RevocationTarget> {
        Ok(match kind {
            "operator" => RevocationTarget::Operator(id.into()),
            "device" => RevocationTarget::Device(id.into()),
            "root" => RevocationTarget::Root(id.into()),
            "admission" => RevocationTarget::Admission(id.into()),
            "snapshot" => RevocationTarget::Snapshot(id.into()),
            "peer" => RevocationTarget::Peer(id.into()),
            _ => return Err(bad(Revocation::KIND, "it revokes what nobody knows")),
        })
    }

    /// The kind, as documents spell it.
    pub fn kind(&self) -> &'static str {
        match self {
            RevocationTarget::Operator(_) => "operator",
            RevocationTarget::Device(_) => "device",
            RevocationTarget::Root(_) => "root",
            RevocationTarget::Admission(_) => "admission",
            RevocationTarget::Snapshot(_) => "snapshot",
            RevocationTarget::Peer(_) => "peer",
        }
    }

    /// The id of what is revoked.
    pub fn id(&self) -> [u8; 32] {
        match self {
            RevocationTarget::Operator(id)
            | RevocationTarget::Device(id)
            | RevocationTarget::Root(id)
            | RevocationTarget::Peer(id) => *id.as_bytes(),
            RevocationTarget::Admission(id) | RevocationTarget::Snapshot(id) => *id.as_bytes(),
        }
    }

    /// What an operator's role must say to revoke it; `None` where only roots may.
    pub fn operator_verb(&self) -> Option<OperatorVerb> {
        match self {
            RevocationTarget::Operator(_) | RevocationTarget::Root(_) => None,
            RevocationTarget::Device(_) => Some(OperatorVerb::RevokeDevice),
            RevocationTarget::Admission(_) => Some(OperatorVerb::RevokeAdmission),
            RevocationTarget::Snapshot(_) => Some(OperatorVerb::RevokeSnapshot),
            RevocationTarget::Peer(_) => Some(OperatorVerb::RevokePeer),
        }
    }
}

impl fmt::Display for RevocationTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), Digest::from(self.id()))
    }
}

/// A domain's word that something of it does not count any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The domain.
    pub domain: DomainHash,
    /// From 1, one more with each.
    pub number: u64,
    /// The DAM under which it is made.
    pub dam: Digest,
    /// What is revoked.
    pub target: RevocationTarget,
    /// Why, in printable ASCII of 1 to 300 bytes.
    pub reason: String,
    /// When, as the maker's clock claims; judged by nobody.
    pub time: Timestamp,
}

impl Revocation {
    /// The document's kind.
    pub const KIND: &'static str = "asl.revocation/1";
    /// Bytes of the reason at most.
    pub const MAX_REASON: usize = 300;

    /// The document's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let target = MapBuilder::new()
            .put(1, self.target.kind())
            .put(2, Value::Bytes(self.target.id().to_vec()));
        MapBuilder::document(Self::KIND)
            .put(1, self.domain)
            .put(2, self.number)
            .put(3, self.dam)
            .put(4, target)
            .put(5, self.reason.as_str())
            .put(6, self.time)
            .encode()
    }

    /// Reads the document; not yet who signed it.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no revocation of this version.
    pub fn decode(bytes: &[u8]) -> Result<Revocation> {
        let mut f = Fields::document(bytes, Self::KIND, Limits::DOCUMENT)?;
        let mut target = f.fields(4)?;
        let kind = target.text(1)?;
        let id = target.fixed(2)?;
        target.finish()?;
        let revocation = Revocation {
            domain: f.id(1)?,
            number: f.uint(2)?,
            dam: f.id(3)?,
            target: RevocationTarget::new(&kind, id)?,
            reason: f.text(5)?,
            time: time(&mut f, 6)?,
        };
        f.finish()?;
        if revocation.number == 0 {
            return Err(bad(Self::KIND, "revocations count from 1"));
        }
        // The reason is shown on a terminal; nobody must be able to drive that.
        let reason = &revocation.reason;
        let length = 1..=Self::MAX_REASON;
        if !length.contains(&reason.len()) || !reason.bytes().all(printable) {
            return Err(bad(
                Self::KIND,
                "the reason is missing, too long or not printable ASCII",
            ));
        }
        Ok(revocation)
    }

    /// Verifies a revocation that is kept here: its signers could make it under the DAM that it
    /// names. Whether they could later is not asked: what is revoked stays revoked.
    ///
    /// # Errors
    /// `Invalid` for malformed bytes; `Refused` for another domain or DAM, and where those who
    /// signed may not revoke this.
    pub fn verify(bytes: &[u8], signature: &[u8], named: &VerifiedDam) -> Result<Revocation> {
        let revocation = Revocation::decode(bytes)?;
        if revocation.domain != named.dam().domain {
            return Err(refuse("it is of another domain"));
        }
        if revocation.dam != named.digest() {
            return Err(refuse("it names a DAM that is not known here")
                .next("bring the DAM first: `asl-host dam apply`"));
        }
        revocation.authorised(bytes, signature, named)?;
        Ok(revocation)
    }

    /// Verifies a revocation that comes in: as [`Revocation::verify`], and its signers could still
    /// make it under the DAM in force, with all that is revoked by now.
    ///
    /// # Errors
    /// As [`Revocation::verify`]; `Refused` where a root key is revoked that is needed to sign the
    /// next DAM.
    pub fn accept(
        bytes: &[u8],
        signature: &[u8],
        named: &VerifiedDam,
        in_force: &VerifiedDam,
    ) -> Result<Revocation> {
        let revocation = Revocation::verify(bytes, signature, named)?;
        revocation
            .authorised(bytes, signature, in_force)
            .map_err(|e| {
                let why = format!("under the DAM in force: {}", e.why());
                Error::new(e.kind(), "verify", "revocation", why)
                    .next("have those sign it who may under the DAM in force")
            })?;
        if let RevocationTarget::Root(id) = revocation.target {
            let roots = &in_force.dam().roots;
            let left = roots.keys().iter().map(PublicKey::id);
            let left: Vec<KeyId> = left.filter(|k| *k != id).collect();
            let left = in_force.revoked().without_roots(&left);
            if roots.count(&left) < usize::from(roots.threshold()) {
                return Err(
                    refuse("the root keys left could not sign the next DAM").next(
                        "change the root keys instead: `asl-host dam create --next --root-pub FILE`",
                    ),
                );
            }
        }
        Ok(revocation)
    }

    /// Whether the threshold of this DAM's roots signed, or an operator whose role says so.
    fn authorised(&self, bytes: &[u8], signature: &[u8], dam: &VerifiedDam) -> Result<()> {
        let roots: &RootSet = &dam.dam().roots;
        let known = [roots.keys(), &dam.dam().operators].concat();
        let signers = cose::verify(Self::KIND, bytes, signature, &known)?;
        let counted = dam.revoked().without_roots(&signers);
        let (have, need) = (roots.count(&counted), usize::from(roots.threshold()));
        let may = |verb| {
            let mut operators = dam.dam().operators.iter();
            operators.any(|k| signers.contains(&k.id()) && dam.operator_may(k, verb))
        };
        if have >= need || self.target.operator_verb().is_some_and(may) {
            return Ok(());
        }
        if have > 0 {
            let why = format!("signed by {have} of the root keys, {need} are needed");
            return Err(refuse(why).next("have more holders of root keys sign it"));
        }
        Err(refuse(format!(
            "no operator who signed it may revoke: {}",
            self.target.kind()
        ))
        .next("have the root keys sign it"))
    }
}

fn refuse(why: impl fmt::Display) -> Error {
    Error::new(Kind::Refused, "verify", "revocation", why)
}

/// All that is revoked in a domain, as far as it is known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    by_target: BTreeMap<RevocationTarget, Revocation>,
    numbers: BTreeSet<u64>,
}

impl Revoked {
    /// The revocation of this, where there is one; of several the one with the lowest number.
    pub fn of(&self, target: &RevocationTarget) -> Option<&Revocation> {
        self.by_target.get(target)
    }

    /// Every revocation, by what is revoked.
    pub fn all(&self) -> impl Iterator<Item = &Revocation> {
        self.by_target.values()
    }

    /// The numbers below the highest that are not known here, at most a hundred: what they revoke
    /// still counts here.
    pub fn missing(&self) -> Vec<u64> {
        let mut missing = Vec::new();
        let mut next = 1u64;
        for number in &self.numbers {
            let room = 100usize.saturating_sub(missing.len());
            missing.extend((next..*number).take(room));
            next = number.saturating_add(1);
        }
        missing
    }

    pub(super) fn add(&mut self, revocation: Revocation) {
        self.numbers.insert(revocation.number);
        match self.by_target.get(&revocation.target) {
            Some(there) if there.number <= revocation.number => {}
            _ => drop(self.by_target.insert(revocation.target, revocation)),
        }
    }

    /// These signers but for revoked root keys.
    pub(super) fn without_roots(&self, signers: &[KeyId]) -> Vec<KeyId> {
        let counts = |id: &&KeyId| self.of(&RevocationTarget::Root(**id)).is_none();
        signers.iter().filter(counts).copied().collect()
    }
}
