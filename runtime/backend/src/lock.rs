//! Writer locks, and the advisory word of who holds one.
//!
//! The lock is the system's and goes with its process, so nobody ever unlocks by hand.
//! `tmp/holder.json` only says who it was; nothing depends on it.

use crate::disk::{read_full, Access, Disk, Process};
use crate::name::Name;
use crate::whole::{self, Target};
use asl_core::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const HOLDER: &str = "tmp/holder.json";
/// More than any holder file we write.
const MAX_HOLDER: usize = 4096;
/// How often a holder file is looked for, and how long after one another: who has just taken the
/// lock is about to say so.
const LOOKS: u32 = 20;
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The logs a backend holds, open and locked.
pub(crate) struct Locks<F>(Mutex<HashMap<Name, F>>);

impl<F> Default for Locks<F> {
    fn default() -> Self {
        Locks(Mutex::default())
    }
}

impl<F> Locks<F> {
    pub(crate) fn all(&self) -> MutexGuard<'_, HashMap<Name, F>> {
        // A map of open files is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text of `tmp/holder.json` (FORMATS.md, "Writer lock").
#[derive(Serialize, Deserialize)]
struct Holder {
    layout: u32,
    log: String,
    pid: u32,
    boot_id: String,
    command: String,
}

/// A lock that is let go when this is dropped.
pub(crate) struct HeldLock<D: Disk> {
    disk: Arc<D>,
    locks: Arc<Locks<D::File>>,
    log: Name,
}

impl<D: Disk> HeldLock<D> {
    /// Says who holds a lock that was just taken.
    pub(crate) fn new(disk: Arc<D>, locks: Arc<Locks<D::File>>, log: Name) -> Self {
        let Process {
            pid,
            boot_id,
            command,
        } = disk.process();
        let holder = Holder {
            layout: 1,
            log: log.to_string(),
            pid,
            boot_id,
            command,
        };
        let target = Target {
            temporary: Path::new("tmp"),
            path: Path::new(HOLDER),
            mode: 0o600,
            replace: true,
        };
        if let Ok(text) = serde_json::to_vec(&holder) {
            // Advisory: a full disk must not keep its owner from writing what frees it.
            let _ = whole::write(&*disk, target, |file| {
                crate::disk::write_all(file, &text, 0)
            });
        }
        HeldLock { disk, locks, log }
    }
}

impl<D: Disk> Drop for HeldLock<D> {
    fn drop(&mut self) {
        let mut locks = self.locks.all();
        if read(&*self.disk).is_some_and(|holder| holder.log == self.log.as_str()) {
            // While the lock is still held: after it the file may be the next holder's.
            let _ = self.disk.unlink(Path::new(HOLDER));
        }
        locks.remove(&self.log);
    }
}

fn read<D: Disk>(disk: &D) -> Option<Holder> {
    let file = disk.open(Path::new(HOLDER), Access::Read).ok()?;
    let mut text = vec![0; MAX_HOLDER];
    let len = read_full(&file, &mut text, 0).ok()?;
    serde_json::from_slice(text.get(..len)?).ok()
}

/// The error of a writer that came second. What a dead writer left in the file is nobody's word.
pub(crate) fn busy<D: Disk>(disk: &D, doing: &'static str, log: &Name) -> Error {
    let us = disk.process();
    let says = |h: &Holder| {
        h.log == log.as_str() && h.boot_id == us.boot_id && (h.pid == us.pid || disk.lives(h.pid))
    };
    let mut holder = read(disk).filter(says);
    for _ in 1..LOOKS {
        if holder.is_some() {
            break;
        }
        std::thread::sleep(LOOK_AGAIN);
        holder = read(disk).filter(says);
    }
    let who = match holder {
        Some(holder) if holder.pid == us.pid => "this process holds it already".to_owned(),
        Some(holder) => {
            // The file may have been written by anyone.
            let command: String = holder
                .command
                .chars()
                .take(40)
                .flat_map(char::escape_default)
                .collect();
            format!("process {} ({command}) holds it", holder.pid)
        }
        None => "another process holds it".to_owned(),
    };
    Error::new(Kind::Concurrent, doing, log, who)
        .next("wait until the other process is done, or end it; the lock goes with it")
}
