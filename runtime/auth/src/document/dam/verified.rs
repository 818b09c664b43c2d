//! Whether a DAM may be believed: its signatures, its place in the chain, what was revoked since.
//!
//! The chain: the first DAM stands under the root set that the genesis names. Each next one is
//! signed by the threshold of the set before it, and one that changes the set by the threshold of
//! the new one too. From the first change on a DAM carries its *lineage*: the DAM before the change,
//! or the one that changed, so that each proves itself to who has seen none before. Numbers may be
//! passed over under one set, never over a change of sets that is not shown. Expiry breaks no
//! chain: an expired DAM is still the one that the next follows.

use super::{Dam, Lineage, OperatorVerb};
use crate::cose;
use crate::document::revocation::{Revocation, RevocationTarget, Revoked};
use crate::document::{Genesis, RootSet};
use crate::keys::PublicKey;
use asl_core::{Digest, Error, KeyId, Kind, Result, Timestamp};

/// Changes of the root set that a lineage may tell of, twice: before and after each.
const LONGEST_LINEAGE: u32 = 32;

/// What to do with a DAM that proves nothing.
const UNTRUSTED: &str =
    "nothing of it is trusted; use a key stick whose DAM the root keys signed, \
                         or bundle it again from the keys at home";

fn refuse(why: impl Into<String>) -> Error {
    Error::new(Kind::Refused, "verify", "DAM", why.into()).next(UNTRUSTED)
}

/// A DAM whose signatures and place in the chain were verified.
#[derive(Clone, Debug)]
pub struct VerifiedDam {
    dam: Dam,
    genesis: Genesis,
    digest: Digest,
    signers: Vec<KeyId>,
    revoked: Revoked,
}

impl Dam {
    /// Verifies a DAM and its place in the domain's chain.
    ///
    /// `previous` is the DAM in force here for the same domain, where there is one. What was
    /// revoked under it stays revoked: such a root key signs nothing more. The same DAM again is
    /// accepted by its digest. With none at hand the DAM must prove itself from its genesis: so a
    /// genesis cannot be carried off under other keys.
    /// Time is not judged here: see [`VerifiedDam::check_time`].
    ///
    /// # Errors
    /// `Invalid` for malformed bytes; `Refused` for a wrong domain, a rollback, a fork, a broken
    /// chain, or signatures that do not suffice.
    pub fn verify(
        bytes: &[u8],
        signature: &[u8],
        previous: Option<&VerifiedDam>,
    ) -> Result<VerifiedDam> {
        Dam::verify_within(bytes, signature, previous, LONGEST_LINEAGE)
    }

    fn verify_within(
        bytes: &[u8],
        signature: &[u8],
        previous: Option<&VerifiedDam>,
        depth: u32,
    ) -> Result<VerifiedDam> {
        let (dam, genesis) = Dam::decode_with_genesis(bytes)?;
        let digest = Digest::of(bytes);
        let before = match previous {
            Some(before) if before.digest == digest => return Ok(before.clone()),
            Some(before) => {
                dam.check_chain(before)?;
                let jumps = dam.sequence - before.dam.sequence > 1;
                if jumps && dam.roots != before.dam.roots {
                    Some(dam.forebear(Some(before), depth)?)
                } else {
                    Some(before.clone())
                }
            }
            None if genesis.names(&dam.roots) => None,
            None => Some(dam.forebear(None, depth)?),
        };
        if let Some(before) = &before {
            dam.check_chain(before)?;
            let jumps = dam.sequence - before.dam.sequence > 1;
            if jumps && dam.roots != before.dam.roots {
                return Err(refuse(
                    "the chain is broken: the roots changed in a DAM that is not shown",
                ));
            }
        }
        let of_before = before.as_ref().map(|b| &b.dam.roots);
        // One bad or unknown signature spoils the set.
        let known: Vec<PublicKey> =
            [of_before.map_or(&[][..], RootSet::keys), dam.roots.keys()].concat();
        let signers =
            cose::verify(Self::KIND, bytes, signature, &known).map_err(|e| e.next(UNTRUSTED))?;
        let revoked = before
            .as_ref()
            .map(|b| b.revoked.clone())
            .unwrap_or_default();
        let counted = revoked.without_roots(&signers);
        let spent = signers.len() - counted.len();
        match of_before.filter(|roots| **roots != dam.roots) {
            Some(roots) => {
                enough(roots, &counted, spent, "the old root keys")?;
                enough(&dam.roots, &counted, spent, "its new root keys")?;
            }
            None => enough(&dam.roots, &counted, spent, "the root keys")?,
        }
        Ok(VerifiedDam {
            dam,
            genesis,
            digest,
            signers,
            revoked,
        })
    }

    /// The DAM that the lineage shows, verified.
    fn forebear(&self, previous: Option<&VerifiedDam>, depth: u32) -> Result<VerifiedDam> {
        let lineage = self.lineage.as_ref().ok_or_else(|| {
            refuse("its root set is not the one its genesis names, and it shows no lineage")
        })?;
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| refuse("its lineage is too long"))?;
        let shown = Dam::verify_within(&lineage.bytes, &lineage.sig, previous, depth)?;
        if shown.dam.domain != self.domain {
            return Err(refuse("its lineage is of another domain"));
        }
        if shown.dam.sequence >= self.sequence {
            return Err(refuse("its lineage is not older than itself"));
        }
        Ok(shown)
    }

    /// Whether this can come after `before`.
    fn check_chain(&self, before: &VerifiedDam) -> Result<()> {
        let (have, now) = (before.dam.sequence, self.sequence);
        let why = if self.domain != before.dam.domain {
            "it is of another domain than the DAM in force here".to_string()
        } else if now < have {
            format!("number {now} is older than number {have}, which is in force here")
        } else if now == have {
            format!("another DAM of number {have} is in force here")
        } else if (now - have == 1) != (self.previous == Some(before.digest)) {
            if now - have == 1 {
                "the chain is broken: it does not name the DAM in force here".into()
            } else {
                format!("the chain is broken: number {now} follows number {have}")
            }
        } else {
            let pair = self.encryption.as_ref().zip(before.dam.encryption.as_ref());
            match pair.and_then(|(new, old)| new.contradicts(old)) {
                Some(why) => why,
                None => return Ok(()),
            }
        };
        Err(refuse(why))
    }
}

fn enough(roots: &RootSet, signers: &[KeyId], revoked: usize, whose: &str) -> Result<()> {
    let (have, need) = (roots.count(signers), usize::from(roots.threshold()));
    if have >= need {
        return Ok(());
    }
    let beside = match revoked {
        0 => String::new(),
        n => format!(" and by {n} that are revoked"),
    };
    Err(refuse(format!(
        "signed by {have} of {whose}{beside}, {need} are needed"
    )))
}

impl VerifiedDam {
    /// The document.
    pub fn dam(&self) -> &Dam {
        &self.dam
    }

    /// The genesis it carries.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Its identity: BLAKE3-256 of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The keys that signed it, ascending.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// What was revoked under it and under the DAMs before.
    pub fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// The same DAM with one more thing revoked; `revocation` was verified.
    pub fn revoke(&mut self, revocation: Revocation) {
        self.revoked.add(revocation);
    }

    /// What the DAM that follows this one shows of the chain, when its root set is `roots`.
    ///
    /// `bytes` and `sig` are those of this DAM.
    ///
    /// # Errors
    /// `Refused` where these are another DAM's.
    pub fn lineage_for(
        &self,
        roots: &RootSet,
        bytes: &[u8],
        sig: &[u8],
    ) -> Result<Option<Lineage>> {
        if Digest::of(bytes) != self.digest {
            return Err(refuse("these are another DAM's bytes"));
        }
        let own = Lineage {
            bytes: bytes.to_vec(),
            sig: sig.to_vec(),
        };
        if *roots != self.dam.roots {
            return Ok(Some(own));
        }
        if self.genesis.names(roots) {
            return Ok(None);
        }
        // The set is an old one by now: the DAM that brought it is shown.
        match &self.dam.lineage {
            Some(shown) if Dam::decode(&shown.bytes)?.roots == *roots => Ok(Some(shown.clone())),
            _ => Ok(Some(own)),
        }
    }

    /// Judges the DAM's stated bounds by a clock.
    ///
    /// # Errors
    /// `Refused` where it is not valid yet, or no longer.
    pub fn check_time(&self, now: Timestamp) -> Result<()> {
        let refuse = |why, next: &str| Err(Error::new(Kind::Refused, "use", "DAM", why).next(next));
        if self.dam.not_before.is_some_and(|t| now.unix_ns < t.unix_ns) {
            return refuse("it is not valid yet", "check the clock, or wait");
        }
        self.check_end(now.unix_ns)
    }

    /// Judges the DAM's stated end alone, by a time that has passed for certain.
    ///
    /// # Errors
    /// `Refused` where it is no longer valid: who shows it may be keeping back the one that
    /// follows.
    pub fn check_end(&self, passed_ns: i64) -> Result<()> {
        if self.dam.not_after.is_some_and(|t| passed_ns >= t.unix_ns) {
            let why = "it has expired";
            return Err(Error::new(Kind::Refused, "use", "DAM", why).next(
                "check the clock, bring the DAM that follows it, or have the root keys sign a new DAM",
            ));
        }
        Ok(())
    }

    /// Whether this operator may sign such a thing: its role says so, and it is not revoked.
    pub fn operator_may(&self, operator: &PublicKey, verb: OperatorVerb) -> bool {
        let revoked = self.revoked.of(&RevocationTarget::Operator(operator.id()));
        revoked.is_none() && self.role_allows(operator, verb)
    }

    fn role_allows(&self, operator: &PublicKey, verb: OperatorVerb) -> bool {
        match self.dam.roles.iter().find(|r| r.operator == *operator) {
            Some(role) => role.verbs.contains(&verb),
            None => self.dam.operators.contains(operator) && OperatorVerb::USUAL.contains(&verb),
        }
    }

    /// Whether the domain trusts this host for rehydration: named by the policy, and not revoked.
    pub fn trusts_peer(&self, host: &KeyId) -> bool {
        let revoked = self.revoked.of(&RevocationTarget::Peer(*host));
        self.dam.policy.peers.contains(host) && revoked.is_none()
    }

    /// Verifies a signature by one or more operators of this DAM, each of whom may sign such a
    /// thing and is not revoked, and returns them.
    ///
    /// # Errors
    /// As [`cose::verify`]; `Refused` for an operator who may not.
    pub fn verify_operator(
        &self,
        verb: OperatorVerb,
        kind: &str,
        document: &[u8],
        signature: &[u8],
    ) -> Result<Vec<KeyId>> {
        let signers = cose::verify(kind, document, signature, &self.dam.operators)?;
        for id in &signers {
            let no = |why: String| {
                Error::new(Kind::Refused, "verify", format!("signature of {kind}"), why)
            };
            if let Some(revocation) = self.revoked.of(&RevocationTarget::Operator(*id)) {
                return Err(
                    no(format!("operator {id} is revoked: {}", revocation.reason))
                        .next("use a key stick of an operator that is not"),
                );
            }
            let key = self.dam.operators.iter().find(|k| k.id() == *id);
            if !key.is_some_and(|k| self.role_allows(k, verb)) {
                return Err(no(format!(
                    "operator {id} has not the role to sign: {}",
                    verb.code()
                ))
                .next("have an operator sign whose role in the DAM says so"));
            }
        }
        Ok(signers)
    }
}
