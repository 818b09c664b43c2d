//! Segments against the log, and against what their blocks were found to hold. Read by pages: none
//! is held whole.

use super::VerifyReport;
use crate::block::Located;
use crate::index::Paged;
use crate::names;
use crate::record::SealedSegment;
use crate::store::Store;
use asl_core::{BlockId, Error, Kind, Result};
use std::collections::BTreeMap;

/// Bytes of a segment's file that are hashed at once.
const PART: u64 = 1 << 20;

/// What is said of a block's pieces, told in the order of their ids: their number, and a hash in
/// which each is bound to those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) pieces: u64,
    chain: [u8; 32],
}

impl Said {
    /// What a block says of itself.
    pub(super) fn of(mut pieces: Vec<Located>) -> Said {
        pieces.sort_unstable_by_key(|p| p.id);
        let mut said = Said::default();
        pieces.iter().for_each(|at| said.say(at));
        said
    }

    fn say(&mut self, at: &Located) {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.chain).update(at.id.as_bytes());
        for n in [at.offset, at.stored, at.inner, at.length, at.codec as u32] {
            hash.update(&n.to_le_bytes());
        }
        self.chain = *hash.finalize().as_bytes();
        self.pieces += 1;
    }
}

impl Store {
    /// Checks a segment as far as the key allows, and that it says what the blocks that were opened
    /// hold.
    pub(super) fn check_segment(
        &self,
        sealed: &SealedSegment,
        opened: BTreeMap<BlockId, Said>,
        report: &mut VerifyReport,
    ) -> Result<()> {
        report.segments += 1;
        let name = names::segment(sealed.number)?;
        if let Err(e) = self.check_file(sealed) {
            return report.judge(&name, e);
        }
        let Some(sealer) = &self.sealer else {
            let note = format!("{name}: its trust value, for no key is at hand");
            report.not_checked.push(note);
            return Ok(());
        };
        let mut listed: BTreeMap<BlockId, Said> =
            opened.keys().map(|id| (*id, Said::default())).collect();
        let mut each = |block: &BlockId, at: &Located| {
            if let Some(said) = listed.get_mut(block) {
                said.say(at);
            }
        };
        match Paged::check(&self.backend, sealer, sealed, &mut each) {
            Err(e) => return report.judge(&name, e),
            Ok(true) => {}
            Ok(false) => report.notes.push(format!(
                "{}: it is not that of its segment; it is derived, and made anew by the next writer",
                names::bloom(sealed.number)?
            )),
        }
        report.trusted += 1;
        if listed != opened {
            report.damaged(name, "it does not say what its blocks hold");
        }
        Ok(())
    }

    /// Whether a segment is what was sealed, as far as the key at hand allows to say.
    ///
    /// # Errors
    /// `Damage`, `Invalid` where it is not; `Io`.
    pub(crate) fn judge_segment(&self, sealed: &SealedSegment) -> Result<()> {
        self.check_file(sealed)?;
        let Some(sealer) = &self.sealer else {
            return Ok(());
        };
        match Paged::check(&self.backend, sealer, sealed, &mut |_, _| ()) {
            Err(e) if e.kind() != Kind::Refused => Err(e),
            _ => Ok(()),
        }
    }

    /// Checks a segment's file against the log; needs no key.
    fn check_file(&self, sealed: &SealedSegment) -> Result<()> {
        let name = names::segment(sealed.number)?;
        let bad = |why: &str| Err(Error::new(Kind::Damage, "read", &name, why));
        match self.backend.size(&name) {
            Err(e) if e.kind() == Kind::NotFound => return bad("it is missing"),
            size => match size? == sealed.bytes {
                true => {}
                false => return bad("its bytes are not those the log names"),
            },
        }
        let mut hash = blake3::Hasher::new();
        for from in (0..sealed.bytes).step_by(PART as usize) {
            let part = from..sealed.bytes.min(from + PART);
            hash.update(&self.backend.get(&name, part)?);
        }
        match hash.finalize().as_bytes() == sealed.file.as_bytes() {
            true => Ok(()),
            false => bad("its bytes are not those the log names"),
        }
    }
}
