//! What was done, what of it was promised, and what a disk may therefore hold after a crash.

use asl_backend::disk::Disk;
use asl_backend::{Backend, LogPosition, Name, PosixBackend};
use asl_core::{Kind, Result};
use std::collections::BTreeMap;

pub const LOG: &str = "log/append.log";
pub const DIRS: [&str; 6] = [
    "log",
    "tmp",
    "store/blocks/open",
    "store/blocks/sealed/ab",
    "snapshots",
    "quarantine",
];

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Bytes that tell where they belong, so that a mix-up shows; none of them zero.
pub fn bytes(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| seed.wrapping_mul(7).wrapping_add((i / 512) as u8) | 1)
        .collect()
}

/// What a name may hold: one of its versions, from the newest promised one on.
#[derive(Clone)]
struct Versions {
    all: Vec<Option<Vec<u8>>>,
    promised: usize,
}

#[derive(Clone, Default)]
pub struct Ledger {
    names: BTreeMap<String, Versions>,
    /// Names that come into being together.
    pub together: Vec<String>,
    /// The log as far as it was promised.
    pub log: Vec<u8>,
    /// What may follow it, whole or torn.
    pub tail: Vec<u8>,
    pub promises: usize,
}

impl Ledger {
    fn versions(&mut self, name: &str) -> &mut Versions {
        self.names.entry(name.to_owned()).or_insert(Versions {
            all: vec![None],
            promised: 0,
        })
    }

    pub fn may_hold(&mut self, name: &str, bytes: Option<Vec<u8>>) {
        self.versions(name).all.push(bytes);
    }

    /// Its newest version is promised.
    pub fn holds(&mut self, name: &str) {
        let versions = self.versions(name);
        versions.promised = versions.all.len() - 1;
        self.promises += 1;
    }

    pub fn put_new(&mut self, to: &dyn Backend, at: &str, bytes: &[u8]) -> Result<()> {
        self.may_hold(at, Some(bytes.to_vec()));
        to.put_new(&name(at), bytes)
    }

    pub fn put(&mut self, to: &dyn Backend, at: &str, bytes: &[u8]) -> Result<()> {
        self.may_hold(at, Some(bytes.to_vec()));
        to.put(&name(at), bytes)
    }

    pub fn remove(&mut self, from: &dyn Backend, at: &str) -> Result<()> {
        self.may_hold(at, None);
        from.remove(&name(at))
    }

    pub fn barrier(&mut self, on: &dyn Backend) -> Result<()> {
        on.barrier()?;
        let names: Vec<String> = self.names.keys().cloned().collect();
        names.iter().for_each(|name| self.holds(name));
        Ok(())
    }

    pub fn end(&self) -> LogPosition {
        LogPosition {
            commit: 0,
            byte: self.log.len() as u64,
        }
    }

    pub fn append(&mut self, to: &dyn Backend, frame: &[u8]) -> Result<()> {
        self.tail = frame.to_vec();
        to.append(&name(LOG), self.end(), frame)?;
        self.tail_promised();
        Ok(())
    }

    pub fn tail_promised(&mut self) {
        self.log.append(&mut self.tail);
        self.promises += 1;
    }

    /// Holds a disk against the ledger; answers what is wrong.
    pub fn check<D: Disk>(&self, disk: D) -> std::result::Result<(), String> {
        let backend = PosixBackend::with_disk(disk);
        for (at, versions) in &self.names {
            let found = found(&backend, at)?;
            if !versions.all[versions.promised..].contains(&found) {
                let len = found.map(|b| b.len());
                return Err(format!("{at} holds {len:?} bytes, which it never may"));
            }
        }
        let mut there = self
            .together
            .iter()
            .map(|at| backend.size(&name(at)).is_ok());
        if let Some(first) = there.next() {
            if !there.all(|other| other == first) {
                return Err("a directory is there in part".to_owned());
            }
        }
        let log = found(&backend, LOG)?.unwrap_or_default();
        if !log.starts_with(&self.log) {
            let (promised, there) = (self.log.len(), log.len());
            return Err(format!("{promised} bytes of log were promised, of {there}"));
        }
        if log.len() > self.log.len() + self.tail.len() {
            return Err("the log goes on with bytes that nobody wrote".to_owned());
        }
        for dir in DIRS {
            let names = backend.list(&name(dir)).map_err(|e| e.to_string())?;
            if names.iter().any(|name| name.starts_with('.')) {
                return Err(format!("a temporary name is shown in {dir}"));
            }
        }
        Ok(())
    }

    /// What one does with a disk after a crash: the lock, the cut, and the unfinished work again.
    pub fn recover<D: Disk>(&mut self, disk: D) -> Result<()> {
        let backend = PosixBackend::with_disk(disk);
        let lock = backend.lock_writer(&name(LOG))?;
        let log = backend.get(&name(LOG), 0..u64::MAX)?;
        if !self.tail.is_empty() && log.ends_with(&self.tail) {
            // The frame had made it after all, and the lock vouches for it.
            self.tail_promised();
        }
        self.tail = log.get(self.log.len()..).unwrap_or_default().to_vec();
        // Other bytes go under another name; the same ones may be found there already.
        let sum = self.tail.iter().fold(7u64, |sum, b| {
            sum.wrapping_mul(31).wrapping_add(u64::from(*b))
        });
        let keep = format!("quarantine/tail-{sum:x}");
        if !self.tail.is_empty() {
            self.may_hold(&keep, Some(self.tail.clone()));
        }
        backend.cut_log(&name(LOG), self.end(), &name(&keep))?;
        if !self.tail.is_empty() {
            self.tail.clear();
            self.holds(&keep);
        }
        for (at, wanted) in self.unsure() {
            let Some(bytes) = wanted else {
                match self.remove(&backend, &at) {
                    Err(e) if e.kind() == Kind::NotFound => continue,
                    other => other?,
                }
                continue;
            };
            match backend.put_new(&name(&at), &bytes) {
                Err(e) if e.kind() == Kind::Exists => self.put(&backend, &at, &bytes)?,
                other => other?,
            }
        }
        self.barrier(&backend)?;
        self.append(&backend, &bytes(77, 700))?;
        drop(lock);
        Ok(())
    }

    /// Names whose newest version is not promised, with that version; those that the flow itself
    /// must make whole, and what was cut off, left out.
    fn unsure(&self) -> Vec<(String, Option<Vec<u8>>)> {
        self.names
            .iter()
            .filter(|(at, v)| {
                v.promised + 1 < v.all.len()
                    && !self.together.contains(at)
                    && !at.starts_with("quarantine")
            })
            .filter_map(|(at, v)| Some((at.clone(), v.all.last()?.clone())))
            .collect()
    }

    /// Forgets what might have been: a disk that was found holds what it holds.
    pub fn settle<D: Disk>(&mut self, disk: D) -> std::result::Result<(), String> {
        let backend = PosixBackend::with_disk(disk);
        let wanted = self.unsure();
        let names: Vec<String> = self.names.keys().cloned().collect();
        for at in names {
            let found = found(&backend, &at)?;
            let versions = self.versions(&at);
            *versions = Versions {
                all: vec![found],
                promised: 0,
            };
        }
        for (at, version) in wanted {
            if self.versions(&at).all.last() != Some(&version) {
                self.may_hold(&at, version);
            }
        }
        Ok(())
    }
}

fn found(backend: &dyn Backend, at: &str) -> std::result::Result<Option<Vec<u8>>, String> {
    match backend.get(&name(at), 0..u64::MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == Kind::NotFound => Ok(None),
        Err(e) => Err(format!("{at}: {e}")),
    }
}
