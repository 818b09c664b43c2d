//! The Domain Authority Manifest: who speaks for a domain, and to whom its data is sealed.

mod parts;
mod verified;

pub use parts::{DamPolicy, DomainEncryption, EarlierEpoch, OperatorVerb, Role, MAX_EPOCHS};
pub use verified::VerifiedDam;

use super::genesis::RootSet;
use super::{bad, check_keys, public_keys, time, Genesis};
use crate::keys::PublicKey;
use asl_core::canon::Limits;
use asl_core::{Digest, DomainHash, Fields, MapBuilder, Result, Timestamp, Value};

/// What a DAM shows of the chain before it, once the root set has changed: see
/// [`VerifiedDam::lineage_for`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// An earlier DAM of the domain.
    pub bytes: Vec<u8>,
    /// Its signatures.
    pub sig: Vec<u8>,
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
    /// An earlier DAM, by which this one proves itself; there where its root set is not the one
    /// that the genesis names.
    pub lineage: Option<Lineage>,
    /// What single operators may sign, where that is not the usual; ascending by key.
    pub roles: Vec<Role>,
}

impl Dam {
    /// The document's kind.
    pub const KIND: &'static str = "asl.dam/1";

    /// The document's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let lineage = self.lineage.as_ref().map(|l| {
            MapBuilder::new()
                .put(1, Value::Bytes(l.bytes.clone()))
                .put(2, Value::Bytes(l.sig.clone()))
        });
        let map = MapBuilder::document(Self::KIND)
            .put(1, self.domain)
            .put(2, Value::Bytes(self.genesis.clone()))
            .put(3, self.sequence)
            .opt(4, self.previous)
            .put(5, self.roots.to_map())
            .list(6, self.operators.iter().copied())
            .opt(7, self.encryption.as_ref().map(DomainEncryption::to_map))
            .put(8, self.policy.to_map())
            .put(9, self.time)
            .opt(10, self.not_before)
            .opt(11, self.not_after)
            .opt(12, lineage);
        let roles = self.roles.iter().map(Role::to_map);
        if self.roles.is_empty() {
            map.encode()
        } else {
            map.list(13, roles).encode()
        }
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
        let roles = f.opt(13, Fields::list)?;
        if roles.as_ref().is_some_and(Vec::is_empty) {
            return Err(bad(Self::KIND, "an empty list of roles"));
        }
        let roles = roles.unwrap_or_default().into_iter();
        let lineage = f.opt(12, Fields::fields)?.map(|mut f| {
            let lineage = Lineage {
                bytes: f.bytes(1)?,
                sig: f.bytes(2)?,
            };
            f.finish().map(|()| lineage)
        });
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
            lineage: lineage.transpose()?,
            roles: roles
                .map(|value| Role::from_fields(Fields::of(value, "DAM, role")?))
                .collect::<Result<_>>()?,
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
        Role::check_all(&self.roles, &self.operators)?;
        if let (Some(from), Some(to)) = (self.not_before, self.not_after) {
            if from.unix_ns >= to.unix_ns {
                return refuse("it ends before it begins");
            }
        }
        Ok(genesis)
    }
}
