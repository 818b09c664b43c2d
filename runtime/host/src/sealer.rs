//! The age form of [`Sealer`]: blocks are age files for the epoch's data recipient (architecture.md,
//! "Sealing").
//!
//! Two ways to make one: from the seal credential, which can seal, deduplicate and read segments
//! but open no block; and from the owner's open identity, which opens everything and seals nothing.

use crate::keystick::EpochFiles;
use asl_auth::epoch::{open_epoch, open_keys};
use asl_auth::sealing::{self, has_shape, open_with, Opened, Opens};
use asl_auth::{
    DataIdentity, EpochKeys, IndexIdentity, OpenIdentity, Recipient, SealCredential, VerifiedDam,
};
use asl_core::{ChunkId, Error, Kind, Result, TrustValue};
use asl_store::{OpenParts, PageValue, Part, ReadSeek, Sealer, TrustKey};
use std::ops::Range;

/// An encrypted domain's keys, as far as they were brought.
pub struct AgeSealer {
    epochs: Vec<OpenedEpoch>,
    sealing: Option<Sealing>,
}

/// What one epoch's files gave up.
struct OpenedEpoch {
    keys: EpochKeys,
    data: Option<DataIdentity>,
    index: Option<IndexIdentity>,
}

/// Where new blocks and segments are sealed to.
struct Sealing {
    epoch: u32,
    block: [Recipient; 1],
    segment: [Recipient; 2],
}

impl Sealing {
    fn recipients(&self, part: Part) -> &[Recipient] {
        match part {
            Part::Block => &self.block,
            Part::Segment | Part::Working => &self.segment,
        }
    }
}

impl AgeSealer {
    /// Seals under the credential's epoch, which must be the DAM's.
    ///
    /// # Errors
    /// `Refused` where credential, DAM and epoch files do not belong together: nothing is ever
    /// sealed to a recipient that the owner's card does not show.
    pub fn sealing(
        credential: SealCredential,
        dam: &VerifiedDam,
        epochs: &[EpochFiles],
    ) -> Result<Self> {
        let refuse = |why: &str| {
            Error::new(Kind::Refused, "use", "the seal credential", why)
                .next("bundle the key stick again with `asl-host key bundle`")
        };
        let named = dam
            .dam()
            .encryption
            .as_ref()
            .ok_or_else(|| refuse("the DAM names no encryption"))?;
        let index = credential.index_identity.recipient();
        if credential.epoch < named.epoch {
            let why = format!(
                "it is of epoch {}, which is over: epoch {} is in force",
                credential.epoch, named.epoch
            );
            return Err(
                Error::new(Kind::Refused, "use", "the seal credential", why).next(
                    "use the key stick of the new epoch; what was sealed before stays readable",
                ),
            );
        }
        if credential.epoch != named.epoch
            || credential.data_recipient.to_string() != named.data_recipient
            || index.to_string() != named.index_recipient
        {
            return Err(refuse("it is not for the recipients that the DAM names"));
        }
        let files = epochs.iter().find(|e| e.number == credential.epoch);
        let files = files.ok_or_else(|| refuse("its epoch's files are missing"))?;
        let keys = open_keys(&files.keys, &credential.index_identity)?;
        let data = credential.data_recipient;
        Ok(AgeSealer {
            sealing: Some(Sealing {
                epoch: credential.epoch,
                block: [data.clone()],
                segment: [index, data],
            }),
            epochs: vec![OpenedEpoch {
                keys,
                data: None,
                index: Some(credential.index_identity),
            }],
        })
    }

    /// Opens every epoch with the owner's identity.
    ///
    /// # Errors
    /// `Refused` where an epoch is not wrapped for this identity.
    pub fn opening(owner: &OpenIdentity, epochs: &[EpochFiles]) -> Result<Self> {
        let open = |files: &EpochFiles| {
            let data = open_epoch(&files.identity, owner).map_err(|e| match e.kind() {
                Kind::Refused => Error::new(Kind::Refused, "open", "the domain", e.why())
                    .next("bring the identity of a recipient that the owner's card shows"),
                _ => e,
            })?;
            let keys = open_keys(&files.keys, &data)?;
            Ok(OpenedEpoch {
                keys,
                data: Some(data),
                index: None,
            })
        };
        Ok(AgeSealer {
            epochs: epochs.iter().map(open).collect::<Result<_>>()?,
            sealing: None,
        })
    }

    /// The same, sealing too, for the recipients that the DAM names: a repair seals segments anew.
    ///
    /// # Errors
    /// `Refused` where the DAM's data recipient is not the one that was opened: nothing is ever
    /// sealed to a recipient whose identity is not at hand.
    pub fn sealing_again(mut self, dam: &VerifiedDam) -> Result<Self> {
        let refuse = |why: &str| Error::new(Kind::Refused, "seal to", "the domain", why);
        let named = dam
            .dam()
            .encryption
            .as_ref()
            .ok_or_else(|| refuse("the DAM names no encryption"))?;
        let data = self
            .epochs
            .iter()
            .find(|e| e.keys.number == named.epoch)
            .and_then(|e| e.data.as_ref().map(DataIdentity::recipient))
            .filter(|data| data.to_string() == named.data_recipient)
            .ok_or_else(|| refuse("the DAM names another data recipient"))?;
        let index: Recipient = named.index_recipient.parse()?;
        self.sealing = Some(Sealing {
            epoch: named.epoch,
            block: [data.clone()],
            segment: [index, data],
        });
        Ok(self)
    }

    fn epoch(&self, number: u32) -> Result<&OpenedEpoch> {
        self.epochs
            .iter()
            .find(|e| e.keys.number == number)
            .ok_or_else(|| {
                Error::new(
                    Kind::Refused,
                    "open",
                    format!("epoch {number}"),
                    "its keys are not at hand",
                )
                .next("bring the owner's open identity")
            })
    }

    fn trust(&self, number: u32) -> Result<TrustKey<'_>> {
        Ok(TrustKey::Keyed(&self.epoch(number)?.keys.mac_key))
    }

    fn sealing_to(&self) -> Result<&Sealing> {
        self.sealing.as_ref().ok_or_else(|| {
            Error::new(
                Kind::Refused,
                "seal",
                "",
                "the seal credential is not at hand",
            )
            .next("unlock the key stick")
        })
    }

    fn identity(&self, part: Part, epoch: u32) -> Result<&dyn Opens> {
        let epoch = self.epoch(epoch)?;
        let data = epoch.data.as_ref().map(|d| d as &dyn Opens);
        let index = epoch.index.as_ref().map(|i| i as &dyn Opens);
        let found = if part == Part::Block {
            data
        } else {
            data.or(index)
        };
        found.ok_or_else(|| {
            Error::new(
                Kind::Refused,
                "open",
                "a block",
                "only the owner's open identity opens blocks",
            )
            .next("give it with --identity")
        })
    }
}

impl Sealer for AgeSealer {
    fn epoch(&self) -> u32 {
        self.sealing
            .as_ref()
            .map(|s| s.epoch)
            .or(self.epochs.last().map(|e| e.keys.number))
            .unwrap_or(0)
    }

    fn seal(&self, part: Part, plain: &[u8]) -> Result<Vec<u8>> {
        sealing::seal_to(self.sealing_to()?.recipients(part), plain)
    }

    fn seal_in_place(&self, part: Part, bytes: &mut Vec<u8>) -> Result<()> {
        sealing::seal_in_place(self.sealing_to()?.recipients(part), bytes)
    }

    fn open(&self, part: Part, epoch: u32, sealed: &[u8]) -> Result<Vec<u8>> {
        open_with(self.identity(part, epoch)?, sealed).map(|mut plain| std::mem::take(&mut *plain))
    }

    fn open_parts<'a>(
        &self,
        part: Part,
        epoch: u32,
        sealed: Box<dyn ReadSeek + 'a>,
    ) -> Result<Box<dyn OpenParts + 'a>> {
        Ok(Box::new(AgeParts(Opened::new(
            self.identity(part, epoch)?,
            sealed,
        )?)))
    }

    fn mac(&self, epoch: u32, plain: &[u8]) -> Result<TrustValue> {
        Ok(self.trust(epoch)?.whole(plain))
    }

    fn page_mac(&self, epoch: u32, number: u32, page: &[u8]) -> Result<PageValue> {
        self.trust(epoch)?.page(number, page)
    }

    fn merge_macs(&self, epoch: u32, pages: &[PageValue]) -> Result<TrustValue> {
        self.trust(epoch)?.merge(pages)
    }

    fn chunk_id(&self, epoch: u32, bytes: &[u8]) -> Result<ChunkId> {
        Ok(blake3::keyed_hash(&self.epoch(epoch)?.keys.chunk_id_key, bytes).into())
    }

    fn has_shape(&self, _: Part, epoch: u32, sealed: &[u8]) -> bool {
        epoch != 0 && has_shape(sealed)
    }
}

/// An age file whose header was unwrapped once.
struct AgeParts<R>(Opened<R>);

impl<R: ReadSeek> OpenParts for AgeParts<R> {
    fn plain_len(&self) -> u64 {
        self.0.plain_len()
    }

    fn read_range(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        self.0
            .read(range)
            .map(|mut plain| std::mem::take(&mut *plain))
    }
}
