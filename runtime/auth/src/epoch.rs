//! Epochs: the identities and keys that a stretch of a domain's life is sealed under.

use crate::identity::{DataIdentity, IndexIdentity, OpenIdentity, Recipient};
use crate::sealing::{open_with, seal_to, Opens};
use asl_core::canon::Limits;
use asl_core::{Digest, Entropy, Error, Fields, Kind, MapBuilder, Result, Value};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A new epoch: its two files, and what is needed to seal under it.
///
/// The data identity is not among them: it is made, sealed to the owner, and forgotten.
pub struct NewEpoch {
    /// The epoch's number, from 1.
    pub number: u32,
    /// `epoch-N.age`: the data identity, an age identity file sealed to the owner's recipients.
    pub epoch_age: Vec<u8>,
    /// `epoch-N.keys.age`: [`EpochKeys`], sealed to the index and the data identity.
    pub epoch_keys_age: Vec<u8>,
    /// To whom blocks are sealed.
    pub data_recipient: Recipient,
    /// What opens segments and working files.
    pub index_identity: IndexIdentity,
}

impl NewEpoch {
    /// Makes an epoch for these owners.
    ///
    /// # Errors
    /// `Invalid` for number 0 or no owners; those of the entropy.
    pub fn create(number: u32, owners: &[Recipient], entropy: &dyn Entropy) -> Result<NewEpoch> {
        if number == 0 || owners.is_empty() {
            let why = "an epoch needs a number from 1 and an owner";
            return Err(Error::new(Kind::Invalid, "make", "epoch", why));
        }
        owners.iter().try_for_each(Recipient::require_tool)?;
        let data = DataIdentity::generate();
        let index_identity = IndexIdentity::generate();
        let mut keys = EpochKeys {
            number,
            chunk_id_key: [0; 32],
            mac_key: [0; 32],
        };
        entropy.fill(&mut keys.chunk_id_key)?;
        entropy.fill(&mut keys.mac_key)?;

        let both = [index_identity.recipient(), data.recipient()];
        Ok(NewEpoch {
            number,
            epoch_age: wrap(number, &data, owners)?,
            epoch_keys_age: seal_to(&both, &keys.encode())?,
            data_recipient: data.recipient(),
            index_identity,
        })
    }

    /// What a key stick carries to seal under this epoch.
    pub fn credential(&self) -> SealCredential {
        SealCredential {
            epoch: self.number,
            data_recipient: self.data_recipient.clone(),
            index_identity: self.index_identity.clone(),
        }
    }

    /// The digests of the two files, as the DAM and the EPOCH record name them.
    pub fn digests(&self) -> (Digest, Digest) {
        (
            Digest::of(&self.epoch_age),
            Digest::of(&self.epoch_keys_age),
        )
    }
}

/// An epoch's two symmetric keys, wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct EpochKeys {
    /// The epoch they belong to.
    pub number: u32,
    /// The key of chunk ids: BLAKE3 keyed hash.
    pub chunk_id_key: [u8; 32],
    /// The key of trust values of segments and working files.
    pub mac_key: [u8; 32],
}

impl EpochKeys {
    /// The document's kind.
    pub const KIND: &'static str = "asl.epoch-keys/1";

    /// The document's bytes, before they are sealed.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let doc = MapBuilder::document(Self::KIND)
            .put(1, self.number)
            .put(2, Value::Bytes(self.chunk_id_key.to_vec()))
            .put(3, Value::Bytes(self.mac_key.to_vec()));
        Zeroizing::new(doc.encode())
    }

    /// Reads the opened document.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no such document.
    pub fn decode(bytes: &[u8]) -> Result<EpochKeys> {
        let mut f = Fields::document(bytes, Self::KIND, Limits::DOCUMENT)?;
        let keys = EpochKeys {
            number: f.uint32(1)?,
            chunk_id_key: f.fixed(2)?,
            mac_key: f.fixed(3)?,
        };
        f.finish()?;
        Ok(keys)
    }
}

impl std::fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EpochKeys(epoch {}, not shown)", self.number)
    }
}

/// `epoch-N.age`: an age identity file, sealed to the owner's recipients.
fn wrap(number: u32, data: &DataIdentity, owners: &[Recipient]) -> Result<Vec<u8>> {
    let secret = data.to_text();
    let file = Zeroizing::new(format!(
        "# asl data identity of epoch {number}\n# public key: {}\n{}\n",
        data.recipient(),
        &*secret
    ));
    seal_to(owners, file.as_bytes())
}

/// Wraps an epoch's data identity anew, for other owners: `epoch-N.age` as it is to be from now on.
///
/// Who is left out opens nothing by the new file; by a copy of the old one, everything of this
/// epoch. So a new epoch begins where a key was stolen.
///
/// # Errors
/// `Invalid` without owners; those of [`open_epoch`]; `Refused` where a plugin's tool is missing.
pub fn rewrap(
    number: u32,
    epoch_age: &[u8],
    owner: &OpenIdentity,
    owners: &[Recipient],
) -> Result<Vec<u8>> {
    if owners.is_empty() {
        let why = "nobody would be left to open it";
        return Err(Error::new(Kind::Invalid, "wrap", "epoch", why));
    }
    owners.iter().try_for_each(Recipient::require_tool)?;
    wrap(number, &open_epoch(epoch_age, owner)?, owners)
}

/// Opens `epoch-N.keys.age` with the index identity or the data identity of the epoch.
///
/// # Errors
/// `Refused` for the identity of another epoch; `Damage` for altered bytes; `Invalid` where it
/// holds something else.
pub fn open_keys(epoch_keys_age: &[u8], identity: &dyn Opens) -> Result<EpochKeys> {
    EpochKeys::decode(&open_with(identity, epoch_keys_age)?)
}

/// Opens `epoch-N.age` with the owner's key.
///
/// # Errors
/// `Refused` where the key is not one of the owner's; `Damage` for altered bytes; `Invalid` where
/// it holds something else.
pub fn open_epoch(epoch_age: &[u8], owner: &OpenIdentity) -> Result<DataIdentity> {
    let plain = open_with(owner, epoch_age)?;
    let text = std::str::from_utf8(&plain)
        .map_err(|_| Error::new(Kind::Invalid, "read", "data identity", "not text"))?;
    DataIdentity::parse(text)
}

/// What a key stick carries to seal new data: it can read segments, never content or names.
#[derive(Clone, Debug)]
pub struct SealCredential {
    /// The epoch it seals under.
    pub epoch: u32,
    /// To whom blocks are sealed.
    pub data_recipient: Recipient,
    /// What opens segments and working files.
    pub index_identity: IndexIdentity,
}

impl SealCredential {
    /// The document's kind.
    pub const KIND: &'static str = "asl.seal-credential/1";

    /// The document's bytes, before a passphrase seals them as `seal.age`.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let secret = self.index_identity.to_text();
        let doc = MapBuilder::document(Self::KIND)
            .put(1, self.epoch)
            .put(2, self.data_recipient.to_string())
            .put(3, secret.as_str());
        Zeroizing::new(doc.encode())
    }

    /// Reads the opened document.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no such document.
    pub fn decode(bytes: &[u8]) -> Result<SealCredential> {
        let mut f = Fields::document(bytes, Self::KIND, Limits::DOCUMENT)?;
        let epoch = f.uint32(1)?;
        let data_recipient = f.text(2)?.parse()?;
        let secret = Zeroizing::new(f.text(3)?);
        f.finish()?;
        Ok(SealCredential {
            epoch,
            data_recipient,
            index_identity: IndexIdentity::parse(&secret)?,
        })
    }
}
