//! Which blocks a check looks at, and how far it has come.
//!
//! Blocks found good are noted in `tmp/` as a block set, so that a check of many hours that was
//! interrupted can go on. Derived: where the note is missing or spoiled, more is looked at again.

use super::VerifyOptions;
use crate::store::read_whole;
use crate::{names, BlockSet, MAX_BLOCK_SET};
use asl_backend::{Backend, Name};
use asl_core::{BlockId, Kind, Result};
use std::sync::Arc;

/// A share of the blocks, drawn by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// So many of a million blocks.
    pub per_million: u32,
    /// A fresh random number for each check, so that in time every block has its turn.
    pub seed: [u8; 32],
}

impl Sample {
    fn takes(&self, id: &BlockId) -> bool {
        let mut drawn = [0; 8];
        blake3::Hasher::new_keyed(&self.seed)
            .update(id.as_bytes())
            .finalize_xof()
            .fill(&mut drawn);
        u64::from_le_bytes(drawn) % 1_000_000 < u64::from(self.per_million)
    }
}

/// The note is written again after so many bytes of good blocks.
const NOTED: u64 = 1 << 30;

/// One check on its way.
pub(super) struct Course {
    backend: Arc<dyn Backend>,
    options: VerifyOptions,
    note: Name,
    /// What an earlier check found good.
    before: BlockSet,
    good: BlockSet,
    since: u64,
    /// Blocks passed over because an earlier check found them good.
    pub(super) earlier: u64,
    /// Blocks passed over because the sample does not hold them.
    pub(super) left_out: u64,
}

impl Course {
    pub(super) fn begin(backend: Arc<dyn Backend>, options: VerifyOptions) -> Result<Course> {
        let note = names::verified(options.data)?;
        let mut before = BlockSet::default();
        if options.resume {
            before = match read_whole(&*backend, &note, MAX_BLOCK_SET) {
                Ok(bytes) => BlockSet::decode(&bytes).unwrap_or_default(),
                Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Damage) => before,
                Err(e) => return Err(e),
            };
        }
        Ok(Course {
            backend,
            options,
            note,
            good: before.clone(),
            before,
            since: 0,
            earlier: 0,
            left_out: 0,
        })
    }

    /// Whether this block is to be looked at.
    pub(super) fn takes(&mut self, id: &BlockId) -> bool {
        if self.before.0.contains(id) {
            self.earlier += 1;
            return false;
        }
        let drawn = self.options.sample.is_none_or(|s| s.takes(id));
        self.left_out += u64::from(!drawn);
        drawn
    }

    /// Notes that a block was found good.
    pub(super) fn good(&mut self, id: BlockId, bytes: u64) {
        if !self.options.remember {
            return;
        }
        self.good.0.insert(id);
        self.since = self.since.saturating_add(bytes);
        if self.since >= NOTED {
            self.keep();
        }
    }

    /// Writes the note. It saves work and is nothing to fail for: on a medium that is read-only, or
    /// full, the next check begins anew.
    pub(super) fn keep(&mut self) {
        if self.options.remember {
            self.since = 0;
            drop(
                self.good
                    .encode()
                    .and_then(|b| self.backend.put(&self.note, &b)),
            );
        }
    }

    /// The check is done: the next one begins anew.
    pub(super) fn end(&self) {
        if self.options.remember {
            drop(self.backend.remove(&self.note));
        }
    }
}
