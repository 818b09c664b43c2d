//! The end of a run: parts that serve no more go, and where half of the rest does not, it is
//! written anew.

use super::old::{At, Old};
use super::placing::{Places, Placing};
use super::record::{Draft, Recorder};
use super::row::Row;
use super::Files;
use crate::PieceStore;
use asl_core::Result;

/// Rows that may be out of use without a word.
const SLACK: u64 = 20_000;

/// What a run that came to its end leaves behind.
pub(crate) struct End<'a> {
    pub store: &'a dyn PieceStore,
    pub files: &'a Files,
    pub names: [u8; 32],
    /// Whether what was there before is to go.
    pub anew: bool,
}

impl End<'_> {
    /// Writes what is still to be written and puts the parts in order.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn run(
        &self,
        old: &Old,
        recorder: &mut Recorder,
        places: &mut Places,
    ) -> Result<()> {
        recorder.journal(self.store, places)?;
        if !recorder.is_on() {
            return Ok(());
        }
        if self.anew {
            return self.remove(&old.parts);
        }
        let refused: Vec<u32> = old.refused.iter().map(|(n, _)| *n).collect();
        self.remove(&refused)?;
        let rows = old.rows + recorder.written;
        let parts = old.parts.len() as u64 + recorder.parts;
        if rows > 2 * recorder.live + SLACK || parts > 64 + rows / 1000 {
            self.compact(recorder, places)?;
        }
        Ok(())
    }

    /// Writes every directory that was gone through into new parts, and removes the others.
    fn compact(&self, run: &Recorder, places: &mut Places) -> Result<()> {
        let parts = self.files.list(self.store)?;
        let next = parts.last().map_or(1, |n| n.saturating_add(1));
        let mut old = Old::load(self.store, self.files.clone(), parts);
        let mut new = Recorder::new(self.files.clone(), self.names, next);
        for at in old.in_use() {
            if run.seen.contains(&at.dir) {
                self.copy(&at, &mut old, &mut new, places)?;
            }
        }
        new.journal(self.store, places)?;
        match new.failed {
            None => self.remove(&old.parts),
            Some(_) => Ok(()),
        }
    }

    fn copy(&self, at: &At, old: &mut Old, new: &mut Recorder, places: &mut Places) -> Result<()> {
        let part = old.part(self.store, at.part);
        let head = part.as_ref().and_then(|p| p.head(at.head));
        let (Some(part), Some(head)) = (part, head) else {
            return Ok(());
        };
        let mut draft = |row: Row| {
            let blocks = part.blocks(row.list)?;
            let numbers = blocks.into_iter().map(|b| places.number(b));
            Some(Draft::new(row, Placing::of(numbers)))
        };
        let whole = head.whole && part.names() == self.names;
        let content = whole.then(|| draft(head.dir)).flatten();
        let rows = head.first..head.first.saturating_add(head.count);
        let rows = rows.map(|n| part.row(n).and_then(&mut draft));
        let rows: Vec<Option<Draft>> = rows.collect();
        new.enter(at.dir);
        for row in rows {
            new.add(row, self.store, places)?;
        }
        new.leave(content, self.store, places);
        Ok(())
    }

    fn remove(&self, parts: &[u32]) -> Result<()> {
        let mut names = parts.iter().map(|n| self.files.name(*n));
        names.try_for_each(|name| self.store.remove_working(&name))
    }
}
