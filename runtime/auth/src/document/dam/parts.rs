//! The parts of a DAM: encryption with its epochs, policy, what each operator may sign.

use super::super::{bad, public_key, AdmissionResult, MAX_KEYS};
use crate::identity::Recipient;
use crate::keys::PublicKey;
use asl_core::{Digest, Error, Fields, KeyId, MapBuilder, Result};
use std::str::FromStr;

/// Epochs that a domain can have; each but the newest takes some 150 bytes of the DAM.
pub const MAX_EPOCHS: u32 = 100;

/// To whom an encrypted domain's data is sealed (architecture.md, "Sealing").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainEncryption {
    /// The epoch in force, from 1 to [`MAX_EPOCHS`].
    pub epoch: u32,
    /// The epoch's data identity, as `age1...`.
    pub data_recipient: String,
    /// The epoch's index identity, as `age1...`.
    pub index_recipient: String,
    /// The owner's recipients, 1 to 16, each in the one spelling of [`Recipient`].
    pub owner_recipients: Vec<String>,
    /// BLAKE3-256 of `epoch-N.age`.
    pub epoch_file: Digest,
    /// BLAKE3-256 of `epoch-N.keys.age`.
    pub keys_file: Digest,
    /// The epochs before, from epoch 1: what was sealed under them stays readable.
    pub earlier: Vec<EarlierEpoch>,
}

/// An epoch that is over: nothing more is sealed under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlierEpoch {
    /// Its data identity, as `age1...`.
    pub data_recipient: String,
    /// BLAKE3-256 of its `epoch-N.age`, as it is wrapped now.
    pub epoch_file: Digest,
    /// BLAKE3-256 of its `epoch-N.keys.age`.
    pub keys_file: Digest,
}

impl DomainEncryption {
    pub(super) fn to_map(&self) -> MapBuilder {
        let earlier = self.earlier.iter().map(|e| {
            MapBuilder::new()
                .put(1, e.data_recipient.as_str())
                .put(2, e.epoch_file)
                .put(3, e.keys_file)
        });
        let map = MapBuilder::new()
            .put(1, self.epoch)
            .put(2, self.data_recipient.as_str())
            .put(3, self.index_recipient.as_str())
            .list(4, self.owner_recipients.iter().map(String::as_str))
            .put(5, self.epoch_file)
            .put(6, self.keys_file);
        if self.earlier.is_empty() {
            map
        } else {
            map.list(7, earlier)
        }
    }

    pub(super) fn from_fields(mut f: Fields) -> Result<DomainEncryption> {
        let earlier = f.opt(7, Fields::list)?.unwrap_or_default();
        let encryption = DomainEncryption {
            epoch: f.uint32(1)?,
            data_recipient: f.text(2)?,
            index_recipient: f.text(3)?,
            owner_recipients: f.texts(4)?,
            epoch_file: f.id(5)?,
            keys_file: f.id(6)?,
            earlier: earlier
                .into_iter()
                .map(|value| {
                    let mut f = Fields::of(value, "DAM, earlier epoch")?;
                    let one = EarlierEpoch {
                        data_recipient: f.text(1)?,
                        epoch_file: f.id(2)?,
                        keys_file: f.id(3)?,
                    };
                    f.finish()?;
                    Ok(one)
                })
                .collect::<Result<_>>()?,
        };
        f.finish()?;
        Ok(encryption)
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(1..=MAX_EPOCHS).contains(&self.epoch) {
            return Err(bad("DAM", "epochs count from 1 to 100"));
        }
        if self.earlier.len() as u64 + 1 != u64::from(self.epoch) {
            return Err(bad("DAM", "it does not name every epoch before its own"));
        }
        if self.owner_recipients.is_empty() || self.owner_recipients.len() > MAX_KEYS {
            return Err(bad("DAM", "not 1 to 16 owner recipients"));
        }
        let own = [&self.data_recipient, &self.index_recipient];
        let earlier = self.earlier.iter().map(|e| &e.data_recipient);
        for text in self.owner_recipients.iter().chain(own).chain(earlier) {
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

    /// The digests of an epoch's two files, where the domain has that epoch.
    pub fn files_of(&self, epoch: u32) -> Option<(Digest, Digest)> {
        if epoch == self.epoch {
            return Some((self.epoch_file, self.keys_file));
        }
        let at = usize::try_from(epoch.checked_sub(1)?).ok()?;
        let earlier = self.earlier.get(at)?;
        Some((earlier.epoch_file, earlier.keys_file))
    }

    /// The data recipient of an epoch, where the domain has it.
    pub fn data_recipient_of(&self, epoch: u32) -> Option<&str> {
        if epoch == self.epoch {
            return Some(&self.data_recipient);
        }
        let at = usize::try_from(epoch.checked_sub(1)?).ok()?;
        self.earlier.get(at).map(|e| e.data_recipient.as_str())
    }

    /// Why this cannot come after `before`: epochs only grow, and none changes whom it is for.
    pub(super) fn contradicts(&self, before: &DomainEncryption) -> Option<String> {
        if self.epoch < before.epoch {
            return Some(format!(
                "it goes back to epoch {}; epoch {} is in force here",
                self.epoch, before.epoch
            ));
        }
        let kept = |n| self.data_recipient_of(n) == before.data_recipient_of(n);
        if let Some(n) = (1..=before.epoch).find(|n| !kept(*n)) {
            return Some(format!("it changes for whom epoch {n} was sealed"));
        }
        if self.epoch == before.epoch && self.index_recipient != before.index_recipient {
            return Some("it changes the index identity within an epoch".into());
        }
        None
    }
}

/// What a domain asks of the hosts that take it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamPolicy {
    /// The domain's blocks are age files; a host may not be given others.
    pub encrypted: bool,
    /// The outcomes the domain can live with: ACCEPTED, ACCEPTED_LIMITED or both.
    pub outcomes: Vec<AdmissionResult>,
    /// The hosts trusted for rehydration, at most 16, ascending: whose receipt lets a block go.
    pub peers: Vec<KeyId>,
}

impl DamPolicy {
    pub(super) fn to_map(&self) -> MapBuilder {
        let map = MapBuilder::new()
            .put(1, self.encrypted)
            .list(2, self.outcomes.iter().map(|o| o.code()));
        if self.peers.is_empty() {
            map
        } else {
            map.list(3, self.peers.iter().copied())
        }
    }

    pub(super) fn from_fields(mut f: Fields) -> Result<DamPolicy> {
        let encrypted = f.flag(1)?;
        let outcomes = f.texts(2)?;
        let peers: Option<Vec<KeyId>> = f.opt(3, Fields::ids)?;
        f.finish()?;
        if peers.as_ref().is_some_and(Vec::is_empty) {
            return Err(bad("DAM", "an empty list of peers"));
        }
        Ok(DamPolicy {
            encrypted,
            outcomes: outcomes.iter().map(|o| o.parse()).collect::<Result<_>>()?,
            peers: peers.unwrap_or_default(),
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        use AdmissionResult::{Accepted, AcceptedLimited};
        match self.outcomes.as_slice() {
            [Accepted] | [AcceptedLimited] | [Accepted, AcceptedLimited] => {}
            _ => {
                return Err(bad(
                    "DAM",
                    "acceptable outcomes are not ACCEPTED, ACCEPTED_LIMITED or both in this order",
                ))
            }
        }
        let ascending = self.peers.windows(2).all(|w| w[0] < w[1]);
        if self.peers.len() > MAX_KEYS || !ascending {
            return Err(bad("DAM", "peers not ascending, or more than 16"));
        }
        Ok(())
    }
}

/// What an operator may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperatorVerb {
    /// Ask a host for admission.
    AdmitRequest,
    /// Delegate a session's device key.
    Delegate,
    /// Say that the owner's key opened a probe.
    Prove,
    /// Revoke a device key.
    RevokeDevice,
    /// Revoke a snapshot.
    RevokeSnapshot,
    /// Revoke an admission and its lease.
    RevokeAdmission,
    /// Revoke a peer.
    RevokePeer,
}

impl OperatorVerb {
    /// All verbs, in the order they are written.
    pub const ALL: [OperatorVerb; 7] = [
        OperatorVerb::AdmitRequest,
        OperatorVerb::Delegate,
        OperatorVerb::Prove,
        OperatorVerb::RevokeDevice,
        OperatorVerb::RevokeSnapshot,
        OperatorVerb::RevokeAdmission,
        OperatorVerb::RevokePeer,
    ];

    /// What an operator may sign of whom the DAM says nothing else.
    pub const USUAL: [OperatorVerb; 3] = [
        OperatorVerb::AdmitRequest,
        OperatorVerb::Delegate,
        OperatorVerb::Prove,
    ];

    /// The verb as documents spell it.
    pub fn code(self) -> &'static str {
        match self {
            OperatorVerb::AdmitRequest => "admit-request",
            OperatorVerb::Delegate => "delegate",
            OperatorVerb::Prove => "prove",
            OperatorVerb::RevokeDevice => "revoke-device",
            OperatorVerb::RevokeSnapshot => "revoke-snapshot",
            OperatorVerb::RevokeAdmission => "revoke-admission",
            OperatorVerb::RevokePeer => "revoke-peer",
        }
    }
}

impl FromStr for OperatorVerb {
    type Err = Error;
    fn from_str(text: &str) -> Result<OperatorVerb> {
        let found = OperatorVerb::ALL.into_iter().find(|v| v.code() == text);
        found.ok_or_else(|| {
            let all: Vec<&str> = OperatorVerb::ALL.iter().map(|v| v.code()).collect();
            bad("operator's role", "a verb that no operator has")
                .next(format!("give some of: {}", all.join(", ")))
        })
    }
}

/// What one operator may sign, where that is not [`OperatorVerb::USUAL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// One of the DAM's operators.
    pub operator: PublicKey,
    /// What it may sign: one or more, in the order of [`OperatorVerb::ALL`].
    pub verbs: Vec<OperatorVerb>,
}

impl Role {
    pub(super) fn to_map(&self) -> MapBuilder {
        MapBuilder::new()
            .put(1, self.operator)
            .list(2, self.verbs.iter().map(|v| v.code()))
    }

    pub(super) fn from_fields(mut f: Fields) -> Result<Role> {
        let role = Role {
            operator: public_key(&mut f, 1)?,
            verbs: f
                .texts(2)?
                .iter()
                .map(|v| v.parse())
                .collect::<Result<_>>()?,
        };
        f.finish()?;
        Ok(role)
    }

    pub(super) fn check_all(roles: &[Role], operators: &[PublicKey]) -> Result<()> {
        let ascending = roles.windows(2).all(|w| w[0].operator < w[1].operator);
        if !ascending || !roles.iter().all(|r| operators.contains(&r.operator)) {
            return Err(bad(
                "DAM",
                "roles not ascending, or of a key that is no operator",
            ));
        }
        let in_order = |r: &Role| !r.verbs.is_empty() && r.verbs.windows(2).all(|w| w[0] < w[1]);
        if !roles.iter().all(in_order) {
            return Err(bad("DAM", "a role without verbs, or not in their order"));
        }
        Ok(())
    }
}
