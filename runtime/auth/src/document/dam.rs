//! The Domain Authority Manifest: who speaks for a domain, and to whom its data is sealed.

use super::genesis::RootSet;
use super::{bad, check_keys, public_keys, time, AdmissionResult, Genesis, MAX_KEYS};
use crate::cose;
use crate::identity::Recipient;
use crate::keys::PublicKey;
use asl_core::canon::Limits;
use asl_core::{
    Digest, DomainHash, Error, Fields, KeyId, Kind, MapBuilder, Result, Timestamp, Value,
};

/// To whom an encrypted domain's data is sealed (architecture.md, "Sealing").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainEncryption {
    /// The epoch in force, from 1.
    pub epoch: u32,
    /// The epoch's data identity, as `age1...`.
    pub data_recipient: String,
    /// The epoch's index identity, as `age1...`.
    pub index_recipient: String,
    /// The owner's recipients, 1 to 16: `age1...` or an `ssh-ed25519` line without a comment.
    pub owner_recipients: Vec<String>,
    /// BLAKE3-256 of `epoch-N.age`.
    pub epoch_file: Digest,
    /// BLAKE3-256 of `epoch-N.keys.age`.
    pub keys_file: Digest,
}

/// What a domain asks of the hosts that take it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamPolicy {
    /// The domain's blocks are age files; a host may not be given others.
    pub encrypted: bool,
    /// The outcomes the domain can live with: ACCEPTED, ACCEPTED_LIMITED or both.
    pub outcomes: Vec<AdmissionResult>,
}

/// A Domain Authority Manifest as it is written; [`VerifiedDam`] is one that may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dam {
    /// The domain, by the full hash of its genesis.
    pub domain: DomainHash,
    /// The genesis record's bytes, so that a DAM alone can make the domain.
    pub genesis: Vec<u8>,
    /// From 1, one more with each DAM.
    pub sequence: u64,
    /// The digest of the DAM before; absent in the first.
    pub previous: Option<Digest>,
    /// The keys that sign the next DAM.
    pub roots: RootSet,
    /// The keys that sign requests and delegations, 1 to 16, ascending.
    pub operators: Vec<PublicKey>,
    /// To whom data is sealed; absent in a plain domain.
    pub encryption: Option<DomainEncryption>,
    /// What it asks of hosts.
    pub policy: DamPolicy,
    /// When it was made, as the maker's clock claims.
    pub time: Timestamp,
    /// Not valid before, where given.
    pub not_before: Option<Timestamp>,
    /// Not valid after, where given.
    pub not_after: Option<Timestamp>,
}

impl Dam {
    /// The document's kind.
    pub const KIND: &'static str = "asl.dam/1";

    /// The document's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let outcomes = self.policy.outcomes.iter().map(|o| o.code());
        MapBuilder::document(Self::KIND)
            .put(1, self.domain)
            .put(2, Value::Bytes(self.genesis.clone()))
            .put(3, self.sequence)
            .opt(4, self.previous)
            .put(5, self.roots.to_map())
            .list(6, self.operators.iter().copied())
            .opt(7, self.encryption.as_ref().map(DomainEncryption::to_map))
            .put(
                8,
                MapBuilder::new()
                    .put(1, self.policy.encrypted)
                    .list(2, outcomes),
            )
            .put(9, self.time)
            .opt(10, self.not_before)
            .opt(11, self.not_after)
            .encode()
    }

    /// Reads the document: its form and its inner agreement, not who signed it.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no DAM of this version, or where its parts contradict each
    /// other.
    pub fn decode(bytes: &[u8]) -> Result<Dam> {
        Dam::decode_with_genesis(bytes).map(|(dam, _)| dam)
    }

    fn decode_with_genesis(bytes: &[u8]) -> Result<(Dam, Genesis)> {
        let mut f = Fields::document(bytes, Self::KIND, Limits::DOCUMENT)?;
        let dam = Dam {
            domain: f.id(1)?,
            genesis: f.bytes(2)?,
            sequence: f.uint(3)?,
            previous: f.opt(4, Fields::id)?,
            roots: RootSet::from_fields(f.fields(5)?)?,
            operators: public_keys(&mut f, 6, "operators")?,
            encryption: f
                .opt(7, Fields::fields)?
                .map(DomainEncryption::from_fields)
                .transpose()?,
            policy: DamPolicy::from_fields(f.fields(8)?)?,
            time: time(&mut f, 9)?,
            not_before: f.opt(10, time)?,
            not_after: f.opt(11, time)?,
        };
        f.finish()?;
        let genesis = dam.check()?;
        Ok((dam, genesis))
    }

    /// Checks the agreement of the parts, for a DAM that was just composed.
    ///
    /// # Errors
    /// `Invalid`, with the parts that contradict each other.
    pub fn check(&self) -> Result<Genesis> {
        let refuse = |why| Err(bad(Self::KIND, why));
        if Genesis::hash_of(&self.genesis) != self.domain {
            return refuse("the domain it names is not that of its genesis");
        }
        let genesis = Genesis::decode(&self.genesis)?;
        if self.sequence == 0 || (self.sequence == 1) != self.previous.is_none() {
            return refuse("only the first DAM, number 1, has none before it");
        }
        check_keys("operators", &self.operators)?;
        if self.policy.encrypted != self.encryption.is_some() {
            return refuse("its policy and its recipients disagree about encryption");
        }
        if genesis.params.encrypted != self.policy.encrypted {
            return refuse("its policy and its genesis disagree about encryption");
        }
        if let Some(encryption) = &self.encryption {
            encryption.check()?;
        }
        self.policy.check()?;
        if let (Some(from), Some(to)) = (self.not_before, self.not_after) {
            if from.unix_ns >= to.unix_ns {
                return refuse("it ends before it begins");
            }
        }
        Ok(genesis)
    }

    /// Verifies a DAM and its place in the domain's chain.
    ///
    /// `previous` is the DAM in force here for the same domain, where there is one. The next DAM
    /// must then name it and be signed by the threshold of its root set; the same DAM again is
    /// accepted by its digest. With none at hand, the DAM must stand under the root set named in
    /// its genesis and be signed by that set: so a genesis cannot be carried off under other keys.
    /// (A domain whose root set was replaced is believed only along its chain.)
    /// Time is not judged here: see [`VerifiedDam::check_time`].
    ///
    /// # Errors
    /// `Invalid` for malformed bytes; `Refused` for a wrong domain, a rollback, a broken chain, or
    /// signatures that do not suffice.
    pub fn verify(
        bytes: &[u8],
        signature: &[u8],
        previous: Option<&VerifiedDam>,
    ) -> Result<VerifiedDam> {
        let (dam, genesis) = Dam::decode_with_genesis(bytes)?;
        let digest = Digest::of(bytes);
        let refuse =
            |why: String| Err(Error::new(Kind::Refused, "verify", "DAM", why).next(UNTRUSTED));

        let authority = match previous {
            Some(before) => {
                if before.digest == digest {
                    return Ok(before.clone());
                }
                if let Some(why) = dam.breaks_chain(before) {
                    return refuse(why);
                }
                &before.dam.roots
            }
            None => {
                if dam.roots.digest() != genesis.root_set
                    || dam.roots.threshold() != genesis.threshold
                {
                    return refuse("its root set is not the one its genesis names".into());
                }
                &dam.roots
            }
        };
        // The next root set may sign as well; only the set in authority counts.
        let known: Vec<PublicKey> = [authority.keys(), dam.roots.keys()].concat();
        let signers =
            cose::verify(Self::KIND, bytes, signature, &known).map_err(|e| e.next(UNTRUSTED))?;
        let (have, need) = (
            authority.count(&signers),
            usize::from(authority.threshold()),
        );
        if have < need {
            return refuse(format!(
                "signed by {have} of the root keys, {need} are needed"
            ));
        }
        Ok(VerifiedDam {
            dam,
            genesis,
            digest,
            signers,
        })
    }

    fn breaks_chain(&self, before: &VerifiedDam) -> Option<String> {
        let (have, now) = (before.dam.sequence, self.sequence);
        if self.domain != before.dam.domain {
            Some("it is of another domain than the DAM in force here".into())
        } else if now < have {
            Some(format!(
                "number {now} is older than number {have}, which is in force here"
            ))
        } else if now == have {
            Some(format!("another DAM of number {have} is in force here"))
        } else if now - have != 1 {
            Some(format!(
                "the chain is broken: number {now} follows number {have}"
            ))
        } else if self.previous != Some(before.digest) {
            Some("the chain is broken: it does not name the DAM in force here".into())
        } else {
            None
        }
    }
}

/// What to do with a DAM that proves nothing.
const UNTRUSTED: &str =
    "nothing of it is trusted; use a key stick whose DAM the root keys signed, \
                         or bundle it again from the keys at home";

impl DomainEncryption {
    fn to_map(&self) -> MapBuilder {
        MapBuilder::new()
            .put(1, self.epoch)
            .put(2, self.data_recipient.as_str())
            .put(3, self.index_recipient.as_str())
            .list(4, self.owner_recipients.iter().map(String::as_str))
            .put(5, self.epoch_file)
            .put(6, self.keys_file)
    }

    fn from_fields(mut f: Fields) -> Result<DomainEncryption> {
        let encryption = DomainEncryption {
            epoch: f.uint32(1)?,
            data_recipient: f.text(2)?,
            index_recipient: f.text(3)?,
            owner_recipients: f.texts(4)?,
            epoch_file: f.id(5)?,
            keys_file: f.id(6)?,
        };
        f.finish()?;
        Ok(encryption)
    }

    fn check(&self) -> Result<()> {
        if self.epoch == 0 {
            return Err(bad("DAM", "epochs count from 1"));
        }
        if self.owner_recipients.is_empty() || self.owner_recipients.len() > MAX_KEYS {
            return Err(bad("DAM", "not 1 to 16 owner recipients"));
        }
        let all = self.owner_recipients.iter();
        for text in all.chain([&self.data_recipient, &self.index_recipient]) {
            if text.parse::<Recipient>()?.to_string() != *text {
                return Err(bad("DAM", "a recipient is not in its one spelling"));
            }
        }
        Ok(())
    }

    /// The owner's recipients as values to seal to.
    ///
    /// # Errors
    /// `Invalid` where one is of a kind this program does not seal to.
    pub fn owners(&self) -> Result<Vec<Recipient>> {
        self.owner_recipients.iter().map(|r| r.parse()).collect()
    }
}

impl DamPolicy {
    fn from_fields(mut f: Fields) -> Result<DamPolicy> {
        let encrypted = f.flag(1)?;
        let outcomes = f.texts(2)?;
        f.finish()?;
        Ok(DamPolicy {
            encrypted,
            outcomes: outcomes.iter().map(|o| o.parse()).collect::<Result<_>>()?,
        })
    }

    fn check(&self) -> Result<()> {
        use AdmissionResult::{Accepted, AcceptedLimited};
        match self.outcomes.as_slice() {
            [Accepted] | [AcceptedLimited] | [Accepted, AcceptedLimited] => Ok(()),
            _ => Err(bad(
                "DAM",
                "acceptable outcomes are not ACCEPTED, ACCEPTED_LIMITED or both in this order",
            )),
        }
    }
}

/// A DAM whose signatures and place in the chain were verified.
#[derive(Clone, Debug)]
pub struct VerifiedDam {
    dam: Dam,
    genesis: Genesis,
    digest: Digest,
    signers: Vec<KeyId>,
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
    /// `Refused` where it is no longer valid.
    pub fn check_end(&self, passed_ns: i64) -> Result<()> {
        if self.dam.not_after.is_some_and(|t| passed_ns >= t.unix_ns) {
            let why = "it has expired";
            return Err(Error::new(Kind::Refused, "use", "DAM", why)
                .next("check the clock, or have the root keys sign a new DAM"));
        }
        Ok(())
    }

    /// Verifies a signature by one or more operators of this DAM and returns them.
    ///
    /// # Errors
    /// As [`cose::verify`].
    pub fn verify_operator(
        &self,
        kind: &str,
        document: &[u8],
        signature: &[u8],
    ) -> Result<Vec<KeyId>> {
        cose::verify(kind, document, signature, &self.dam.operators)
    }
}
