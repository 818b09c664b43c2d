//! Segments become fewer (formats.md, "Index segments").

use super::commit::Plan;
use super::{Store, Writer};
use crate::names;
use crate::record::Record;
use asl_core::{Kind, Result};
use std::sync::PoisonError;

impl Store {
    /// Writes the segment that is to stand for several of like size; `None` where it is not time.
    ///
    /// The frame that says so goes with the commit that is under way, behind the same barrier.
    /// Memory: at most two forms of 28 MiB.
    ///
    /// # Errors
    /// `Io`. Where a segment is damaged nothing is merged: `verify` tells of it.
    pub(super) fn plan_merge(&self, writer: &mut Writer) -> Result<Option<Plan>> {
        let epoch = self.sealable()?;
        let current = self.current();
        let merge = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            match index.merge(epoch, &current) {
                Err(e) if matches!(e.kind(), Kind::Damage | Kind::Invalid) => return Ok(None),
                merge => merge?,
            }
        };
        // Readers of CURRENT must not keep the old one alive while it advances.
        drop(current);
        let Some(merge) = merge else {
            return Ok(None);
        };
        let paged = self.put_segment(writer, epoch, merge.body, merge.blocks)?;
        let record = Record::Merge {
            segment: paged.sealed().clone(),
            replaced: merge.replaced.clone(),
        };
        Ok(Some(Plan {
            segment: Some(paged),
            replaced: merge.replaced,
            ..Plan::of(vec![record])
        }))
    }

    /// Lets go of what was derived of segments that are no more; their files are for gc.
    pub(super) fn forget_derived(&self, replaced: &[u32]) {
        for number in replaced {
            // Not there for a segment of one page; left behind, it is in nobody's way.
            drop(names::bloom(*number).and_then(|name| self.backend.remove(&name)));
        }
    }
}
