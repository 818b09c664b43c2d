//! What earlier runs knew: parts found, proven, and looked things up in.

use super::part::{Head, Part};
use super::row::{PathHash, Row, Stamp};
use super::{Files, OPEN};
use crate::PieceStore;
use asl_core::{BlockId, Error, Result};
use std::collections::HashMap;
use std::rc::Rc;

/// Where a group stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub dir: PathHash,
    pub part: u32,
    pub head: u32,
    whole: bool,
}

/// The parts of earlier runs. Memory: 24 bytes a group, and [`OPEN`] bytes of parts.
#[derive(Default)]
pub(crate) struct Old {
    files: Option<Files>,
    /// By directory, the newest first.
    groups: Vec<At>,
    open: HashMap<u32, (Rc<Part>, u64)>,
    open_bytes: usize,
    uses: u64,
    /// Blocks asked for, and whether they are known to the store.
    known: HashMap<BlockId, bool>,
    last: Option<((u32, u32), bool)>,
    /// Rows of all parts.
    pub rows: u64,
    /// Bytes of all parts.
    pub bytes: u64,
    /// Numbers of the parts that are there, also of those not believed.
    pub parts: Vec<u32>,
    /// Parts that were not believed, and why.
    pub refused: Vec<(u32, Error)>,
}

impl Old {
    /// Nothing is known, whatever parts are there.
    pub(crate) fn nothing(parts: Vec<u32>) -> Old {
        Old {
            parts,
            ..Old::default()
        }
    }

    /// Reads every part once; one that is not our own, or not whole, is passed over and told.
    ///
    /// # Errors
    /// `Io` where the working files cannot be listed.
    pub(crate) fn load(store: &dyn PieceStore, files: Files, parts: Vec<u32>) -> Old {
        let mut old = Old {
            files: Some(files),
            ..Old::default()
        };
        for number in &parts {
            match old.read(store, *number) {
                Ok(part) => {
                    for head in 0..part.head_count() {
                        let Some(h) = part.head(head) else { continue };
                        old.rows += u64::from(h.count);
                        old.groups.push(At {
                            dir: h.dir.hash,
                            part: *number,
                            head,
                            whole: h.whole,
                        });
                    }
                    old.bytes += part.len() as u64;
                    old.keep(*number, part);
                }
                Err(e) => old.refused.push((*number, e)),
            }
        }
        old.parts = parts;
        let newest = std::cmp::Reverse;
        old.groups
            .sort_unstable_by_key(|at| (at.dir, newest(at.part), newest(at.head)));
        old
    }

    fn read(&self, store: &dyn PieceStore, number: u32) -> Result<Rc<Part>> {
        let name = self.files.as_ref().map(|f| f.name(number));
        let bytes = store.read_working(&name.unwrap_or_default())?;
        Part::decode(bytes).map(Rc::new)
    }

    fn keep(&mut self, number: u32, part: Rc<Part>) {
        self.uses += 1;
        self.open_bytes += part.len();
        self.open.insert(number, (part, self.uses));
        while self.open_bytes > OPEN && self.open.len() > 1 {
            let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used);
            let Some(number) = oldest.map(|(n, _)| *n) else {
                return;
            };
            if let Some((part, _)) = self.open.remove(&number) {
                self.open_bytes -= part.len();
            }
        }
    }

    /// A part; `None` where it can be read no more.
    pub(crate) fn part(&mut self, store: &dyn PieceStore, number: u32) -> Option<Rc<Part>> {
        self.uses += 1;
        if let Some((part, used)) = self.open.get_mut(&number) {
            *used = self.uses;
            return Some(Rc::clone(part));
        }
        let part = self.read(store, number).ok()?;
        self.keep(number, Rc::clone(&part));
        Some(part)
    }

    /// The groups that count, in the order in which they were written: of each directory the newest
    /// whole one, and what is newer than it.
    pub(crate) fn in_use(&self) -> Vec<At> {
        let (mut used, mut done) = (Vec::new(), None);
        for at in &self.groups {
            if done != Some(at.dir) {
                used.push(*at);
            }
            if at.whole {
                done = Some(at.dir);
            }
        }
        used.sort_unstable_by_key(|at| (at.part, at.head));
        used
    }

    /// The groups of a directory that count, the newest first.
    fn groups_of(&self, dir: &PathHash) -> Vec<At> {
        let from = self.groups.partition_point(|at| at.dir < *dir);
        let mut groups = Vec::new();
        for at in self.groups.get(from..).unwrap_or_default() {
            if at.dir != *dir {
                break;
            }
            groups.push(*at);
            if at.whole {
                break;
            }
        }
        groups
    }

    /// What is known of a directory, for a run that knows owners by these names.
    pub(crate) fn known(
        &mut self,
        store: &dyn PieceStore,
        dir: &PathHash,
        names: &[u8; 32],
    ) -> Known {
        let mut known = Known::default();
        for at in self.groups_of(dir) {
            let (number, part) = (at.part, self.part(store, at.part));
            let Some(part) = part else { continue };
            let Some(head) = part.head(at.head) else {
                continue;
            };
            for row in head.first..head.first.saturating_add(head.count) {
                let Some(hash) = part.hash(row) else { break };
                known.rows.push((hash.short(), number, row));
            }
            known.whole =
                (head.whole && part.names() == *names).then_some(Whole { part: number, head });
        }
        // The newest of one name comes first: groups came so, and the sort is stable.
        known.rows.sort_by_key(|(short, ..)| *short);
        known
    }

    /// The content of a file as it looks now, where it is known and all its blocks are.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn recall(
        &mut self,
        store: &dyn PieceStore,
        known: &Known,
        hash: &PathHash,
        stamp: &Stamp,
    ) -> Result<Option<(u32, Row)>> {
        for (number, n) in known.rows_of(hash) {
            let Some(row) = self.part(store, number).and_then(|p| p.row(n)) else {
                continue;
            };
            if row.hash == *hash && row.stamp == *stamp && self.usable(store, number, row.list)? {
                return Ok(Some((number, row)));
            }
        }
        Ok(None)
    }

    /// A name's row in the directory's whole group.
    pub(crate) fn whole_row(
        &mut self,
        store: &dyn PieceStore,
        known: &Known,
        hash: &PathHash,
    ) -> Option<Row> {
        let whole = known.whole?;
        let part = self.part(store, whole.part)?;
        let in_it = |number: u32, n: u32| {
            number == whole.part && n.wrapping_sub(whole.head.first) < whole.head.count
        };
        known
            .rows_of(hash)
            .filter(|(number, n)| in_it(*number, *n))
            .filter_map(|(_, n)| part.row(n))
            .find(|row| row.hash == *hash)
    }

    /// The blocks of a list.
    pub(crate) fn blocks(
        &mut self,
        store: &dyn PieceStore,
        part: u32,
        list: u32,
    ) -> Option<Vec<BlockId>> {
        self.part(store, part)?.blocks(list)
    }

    /// Whether every block of a list is known to the store; they then count for the root under way.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn usable(&mut self, store: &dyn PieceStore, part: u32, list: u32) -> Result<bool> {
        if let Some((at, usable)) = self.last {
            if at == (part, list) {
                return Ok(usable);
            }
        }
        let mut usable = false;
        if let Some(blocks) = self.blocks(store, part, list) {
            usable = true;
            for block in blocks {
                let known = match self.known.get(&block) {
                    Some(known) => *known,
                    None => {
                        let known = store.rely_on(&block)?;
                        self.known.insert(block, known);
                        known
                    }
                };
                usable &= known;
            }
        }
        self.last = Some(((part, list), usable));
        Ok(usable)
    }
}

/// What is known of one directory.
#[derive(Default)]
pub(crate) struct Known {
    /// Half a name's hash, part and row; ascending, the newest of one name first.
    rows: Vec<(u64, u32, u32)>,
    /// The newest group that has all its names, written by a run that knew owners by the same names.
    pub whole: Option<Whole>,
}

/// A whole group.
#[derive(Clone, Copy)]
pub(crate) struct Whole {
    pub part: u32,
    pub head: Head,
}

impl Known {
    fn rows_of(&self, hash: &PathHash) -> impl Iterator<Item = (u32, u32)> + '_ {
        let short = hash.short();
        let from = self.rows.partition_point(|(s, ..)| *s < short);
        let rest = self.rows.get(from..).unwrap_or_default().iter();
        rest.take_while(move |(s, ..)| *s == short)
            .map(|(_, part, row)| (*part, *row))
    }
}
