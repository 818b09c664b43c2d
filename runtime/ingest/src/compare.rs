//! Two stored trees side by side: what was added, removed and changed.
//!
//! What has the same key is the same and is not read, so the work goes with the difference.

use crate::problems::Problems;
use crate::read::{ends_all, TreeReader};
use crate::walk::{shown, HELD};
use crate::{Listed, PieceStore, DEEPEST};
use asl_core::codec::{Entry, EntryKind, Root};
use asl_core::{Error, Kind, Result};
use std::cmp::Ordering;

/// How an entry differs.
#[derive(Debug)]
pub enum Change<'a> {
    /// It is in the new tree only.
    Added(&'a Entry),
    /// It was in the old tree only.
    Removed(&'a Entry),
    /// It is in both, and not the same.
    Changed {
        /// As it was.
        old: &'a Entry,
        /// As it is.
        new: &'a Entry,
        /// Whether its content differs; else only its metadata do.
        content: bool,
    },
}

/// Compares two trees in the order of their names; a tree that is not given is an empty one.
///
/// The path is below the tops, empty for the top itself. Of a directory that is in one tree only,
/// everything below it is told too. A directory whose entries alone differ is not told itself.
///
/// # Errors
/// Those of the store, `Damage` where a tree has more entries than it states, and the visitor's.
/// A directory that cannot be read is no error but told in the result, and not compared further.
pub fn compare(
    store: &dyn PieceStore,
    old: Option<&Root>,
    new: Option<&Root>,
    visit: &mut dyn FnMut(&[u8], Change<'_>) -> Result<()>,
) -> Result<Listed> {
    let bound = |root: Option<&Root>| root.map_or(0, |r| r.entries);
    let mut all = Comparison {
        store,
        visit,
        left: bound(old).saturating_add(bound(new)),
        path: Vec::new(),
        problems: Problems::default(),
    };
    let mut stack = Vec::new();
    let tops = (old.map(|r| r.top.clone()), new.map(|r| r.top.clone()));
    stack.extend(all.meet(tops.0, tops.1, 0)?);
    while let Some(level) = stack.last_mut() {
        all.path.truncate(level.path);
        let (a, b) = match level.next() {
            Ok((None, None)) => {
                stack.pop();
                continue;
            }
            Ok(pair) => pair,
            Err(e) if ends_all(&e) => return Err(e),
            Err(e) => {
                all.problems.add(&all.path, &e.to_string());
                stack.pop();
                continue;
            }
        };
        if let Some(entry) = a.as_ref().or(b.as_ref()) {
            if !all.path.is_empty() {
                all.path.push(b'/');
            }
            all.path.extend_from_slice(&entry.name);
        }
        let depth = stack.len();
        if let Some(below) = all.meet(a, b, depth)? {
            park(&mut stack);
            stack.push(below);
        }
    }
    Ok(Listed {
        problem_count: all.problems.count(),
        problems: all.problems.into_kept(),
    })
}

/// Gives back what directories above have read ahead, where it is more than may be held.
fn park(stack: &mut [Level<'_>]) {
    let held: usize = stack.iter().map(Level::held).sum();
    if held > HELD {
        for side in stack.iter_mut().flat_map(|l| [&mut l.old, &mut l.new]) {
            if let Some(reader) = &mut side.reader {
                reader.park();
            }
        }
    }
}

struct Comparison<'a, 'v> {
    store: &'a dyn PieceStore,
    visit: &'v mut dyn FnMut(&[u8], Change<'_>) -> Result<()>,
    left: u64,
    path: Vec<u8>,
    problems: Problems,
}

impl<'a> Comparison<'a, '_> {
    /// Tells how two entries of one name differ; directories to go into come back.
    fn meet(
        &mut self,
        old: Option<Entry>,
        new: Option<Entry>,
        depth: usize,
    ) -> Result<Option<Level<'a>>> {
        let met = u64::from(old.is_some()) + u64::from(new.is_some());
        let Some(left) = self.left.checked_sub(met) else {
            let why = "the tree has more entries than its root states";
            return Err(Error::new(Kind::Damage, "compare", shown(&self.path), why)
                .next("run `asl-host verify`"));
        };
        self.left = left;
        match (&old, &new) {
            (Some(a), Some(b)) => {
                let content = a.kind != b.kind || a.key != b.key;
                let both_dirs = a.kind == EntryKind::Directory && b.kind == EntryKind::Directory;
                let meta = a.meta != b.meta || a.hard_link.is_some() != b.hard_link.is_some();
                // The difference of two directories is told by their entries.
                if meta || (content && !both_dirs) {
                    let content = content && !both_dirs;
                    let change = Change::Changed {
                        old: a,
                        new: b,
                        content,
                    };
                    (self.visit)(&self.path, change)?;
                }
                if !content {
                    return Ok(None);
                }
            }
            (Some(a), None) => (self.visit)(&self.path, Change::Removed(a))?,
            (None, Some(b)) => (self.visit)(&self.path, Change::Added(b))?,
            (None, None) => return Ok(None),
        }
        if depth >= DEEPEST {
            let why = "it lies deeper than any tree that is stored";
            self.problems.add(&self.path, why);
            return Ok(None);
        }
        let level = Level {
            old: Side::of(self.store, old),
            new: Side::of(self.store, new),
            path: self.path.len(),
        };
        let nothing = level.old.reader.is_none() && level.new.reader.is_none();
        Ok((!nothing).then_some(level))
    }
}

struct Level<'a> {
    old: Side<'a>,
    new: Side<'a>,
    path: usize,
}

impl Level<'_> {
    /// The next name of the two directories: its entry in the one, in the other, or in both.
    fn next(&mut self) -> Result<(Option<Entry>, Option<Entry>)> {
        let order = match (self.old.peek()?, self.new.peek()?) {
            (Some(a), Some(b)) => a.name.cmp(&b.name),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        Ok(match order {
            Ordering::Less => (self.old.ahead.take(), None),
            Ordering::Equal => (self.old.ahead.take(), self.new.ahead.take()),
            Ordering::Greater => (None, self.new.ahead.take()),
        })
    }

    fn held(&self) -> usize {
        let held = |side: &Side<'_>| side.reader.as_ref().map_or(0, TreeReader::held);
        held(&self.old) + held(&self.new)
    }
}

/// One of two directories; nothing where it is not one, or has no content.
struct Side<'a> {
    reader: Option<TreeReader<'a>>,
    ahead: Option<Entry>,
    last: Vec<u8>,
}

impl<'a> Side<'a> {
    fn of(store: &'a dyn PieceStore, entry: Option<Entry>) -> Self {
        let dir = entry.filter(|e| e.kind == EntryKind::Directory);
        let reader = dir
            .and_then(|e| e.content)
            .map(|blob| TreeReader::new(store, blob));
        Side {
            reader,
            ahead: None,
            last: Vec::new(),
        }
    }

    fn peek(&mut self) -> Result<Option<&Entry>> {
        if let (None, Some(reader)) = (&self.ahead, &mut self.reader) {
            self.ahead = reader.next()?;
            if let Some(entry) = &self.ahead {
                if entry.name <= self.last {
                    let why = "its names are out of order or stand twice";
                    return Err(Error::new(Kind::Damage, "read", "a directory", why));
                }
                self.last.clone_from(&entry.name);
            }
        }
        Ok(self.ahead.as_ref())
    }
}
