//! What is acknowledged, in memory: the invariants as data, which a disk is held against.

use super::verbs::Verb;
use asl_auth::{AdmissionResult, DomainState};
use asl_core::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// A host's word on the domain, as its records say it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Word {
    pub state: DomainState,
    /// Bytes and snapshots of the keeper's lease, and when it ends.
    pub lease: Option<(u64, u32, i64)>,
    /// The recorded decisions, by their numbers.
    pub decisions: BTreeMap<u32, Digest>,
}

/// What anyone can see of a domain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Whether home and keeper are hosts.
    pub hosts: (bool, bool),
    /// The home's word; none where the domain is not there.
    pub home: Option<Word>,
    /// The keeper's.
    pub kept: Option<Word>,
    /// The names of the roots.
    pub roots: BTreeSet<u8>,
    pub snapshots: BTreeSet<u32>,
    /// The pinned snapshots and why.
    pub pins: BTreeMap<u32, String>,
    pub working: BTreeMap<String, Vec<u8>>,
}

/// Everything that was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub seen: Seen,
    /// The pieces of every root that was ever asked for.
    pub pieces: BTreeMap<u8, Vec<u64>>,
    /// The roots that each snapshot keeps.
    pub kept_by: BTreeMap<u32, BTreeSet<u8>>,
    /// Pieces that were committed and that no root names yet.
    pub loose: BTreeSet<u64>,
    /// Working files written or removed since the last commit: either content may be there.
    pub unsure: Vec<(String, Option<Vec<u8>>)>,
    /// The commit that was acknowledged last.
    pub commit: u64,
}

impl Model {
    /// Every piece that must be served.
    pub fn served(&self) -> BTreeSet<u64> {
        let kept = self.kept_by.values().flatten();
        let named = self.seen.roots.iter().chain(kept);
        let of = |name: &u8| self.pieces.get(name).cloned().unwrap_or_default();
        named
            .flat_map(of)
            .chain(self.loose.iter().copied())
            .collect()
    }

    /// A head was acknowledged: what was written before its commit is durable now.
    pub fn committed(&mut self, commit: u64) {
        if commit <= self.commit {
            return;
        }
        self.commit = commit;
        for (name, content) in std::mem::take(&mut self.unsure) {
            match content {
                Some(content) => drop(self.seen.working.insert(name, content)),
                None => drop(self.seen.working.remove(&name)),
            }
        }
    }

    /// A head was acknowledged by another session than the one that writes working files: they are
    /// durable by a commit of their own.
    pub fn headed(&mut self, commit: u64) {
        self.commit = self.commit.max(commit);
    }

    pub fn snapshot_made(&mut self, number: u32) {
        self.seen.snapshots.insert(number);
        self.kept_by.insert(number, self.seen.roots.clone());
    }

    pub fn forgotten(&mut self, snapshots: &[u32], roots: &[u8]) {
        for number in snapshots {
            self.seen.snapshots.remove(number);
            self.kept_by.remove(number);
        }
        self.seen.roots.retain(|name| !roots.contains(name));
    }

    /// Takes what is seen after `flight` was begun and not acknowledged: all of it is there or
    /// nothing. `Err` with what is wrong where it is neither.
    pub fn settle(&mut self, flight: &[Verb], seen: &Seen) -> Result<(), String> {
        self.settle_working(seen)?;
        for verb in flight {
            self.settle_one(verb, seen);
        }
        match self.seen == *seen {
            true => Ok(()),
            false => Err(format!(
                "in flight: {flight:?}\nacknowledged: {:?}\n        seen: {seen:?}",
                self.seen
            )),
        }
    }

    /// Each working file is as the last commit left it, or as it was written since.
    fn settle_working(&mut self, seen: &Seen) -> Result<(), String> {
        for (name, _) in self.unsure.clone() {
            let acknowledged = self.seen.working.get(&name).cloned();
            let mut may = self
                .unsure
                .iter()
                .filter(|(n, _)| *n == name)
                .map(|(_, c)| c.clone());
            let there = seen.working.get(&name).cloned();
            if there != acknowledged && !may.any(|content| content == there) {
                return Err(format!("working file {name} is neither old nor new"));
            }
            match there {
                Some(content) => drop(self.seen.working.insert(name, content)),
                None => drop(self.seen.working.remove(&name)),
            }
        }
        self.unsure.clear();
        Ok(())
    }

    /// Whoever asks the keeper has it record first that its lease has ended, answered or not.
    pub fn lapse(&mut self, seen: &Seen) {
        if let Some(old) = &mut self.seen.kept {
            let lapsed = Word {
                state: DomainState::Suspended,
                ..old.clone()
            };
            if old.state == DomainState::Courtesy && seen.kept.as_ref() == Some(&lapsed) {
                *old = lapsed;
            }
        }
    }

    /// Takes one verb as done where what is seen shows it, whole.
    fn settle_one(&mut self, verb: &Verb, seen: &Seen) {
        if verb.asks_the_keeper() {
            self.lapse(seen);
        }
        match verb {
            Verb::Init => self.seen.hosts.0 = seen.hosts.0,
            Verb::InitKeeper => self.seen.hosts.1 = seen.hosts.1,
            Verb::Create if seen.home == Some(Word::default()) => {
                self.seen.home.clone_from(&seen.home)
            }
            Verb::Seal(name, pieces) if seen.roots.contains(name) => {
                self.seen.roots.insert(*name);
                self.pieces.insert(*name, pieces.clone());
            }
            Verb::Snapshot => {
                let before = self.seen.snapshots.last().copied().unwrap_or_default();
                let new: Vec<u32> = seen.snapshots.range(before + 1..).copied().collect();
                if let [number] = new[..] {
                    self.snapshot_made(number);
                }
            }
            Verb::Forget(snapshots, roots) => {
                let gone = |n: &u32| !seen.snapshots.contains(n);
                let root_gone = |n: &u8| !seen.roots.contains(n);
                // What is asked to go goes in one step.
                if snapshots.iter().all(gone) && roots.iter().all(root_gone) {
                    self.forgotten(snapshots, roots);
                }
                // An unfinished collection may follow: the pieces of what went are nobody's now.
            }
            Verb::Pin(number, why) if seen.pins.get(number) == Some(why) => {
                self.seen.pins.insert(*number, why.clone());
            }
            Verb::Unpin(number) if !seen.pins.contains_key(number) => {
                self.seen.pins.remove(number);
            }
            Verb::Gc { .. } => self.loose.clear(),
            Verb::Ask(terms, outcome) | Verb::Decide(terms, outcome) => {
                // The domain is made at the keeper's, and then the decision recorded.
                let lends = |old: &Word, new: &Word| match outcome {
                    AdmissionResult::AcceptedLimited => {
                        new.lease.map(|l| (l.0, l.1)) == Some((terms.bytes, terms.snapshots))
                    }
                    AdmissionResult::Accepted => new.lease.is_none(),
                    _ => new.lease == old.lease,
                };
                let one_more = |old: &Word, new: &Word| {
                    new.decisions.len() == old.decisions.len() + 1
                        && old
                            .decisions
                            .iter()
                            .all(|(n, d)| new.decisions.get(n) == Some(d))
                        // Before it decides, the keeper records that its lease has ended.
                        && (new.state == old.state.after(*outcome)
                            || new.state == DomainState::Suspended.after(*outcome))
                        && lends(old, new)
                };
                let old = self.seen.kept.clone().unwrap_or_default();
                let fits = |new: &Word| *new == old || one_more(&old, new);
                if seen.kept.as_ref().is_some_and(fits) {
                    self.seen.kept.clone_from(&seen.kept);
                }
            }
            Verb::Apply(..) => {
                let old = self.seen.home.clone().unwrap_or_default();
                let fits = |new: &Word| {
                    let last = |w: &Word| w.decisions.values().next_back().copied();
                    let kept = self.seen.kept.as_ref();
                    // A decision that only defers leaves the lease here as it was (seed 2190).
                    let lends = |k: &Word| k.lease == new.lease || old.lease == new.lease;
                    new.state == old.state
                        && new.decisions.len() == old.decisions.len() + 1
                        && kept.is_some_and(|k| lends(k) && last(k) == last(new))
                };
                if seen.home.as_ref().is_some_and(fits) {
                    self.seen.home.clone_from(&seen.home);
                }
            }
            Verb::State(state) => {
                if let (Some(word), Some(new)) = (&mut self.seen.home, &seen.home) {
                    if new.state == *state {
                        word.state = *state;
                    }
                }
            }
            _ => {}
        }
    }
}
