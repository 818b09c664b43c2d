//! Logs on a POSIX file system: appending at an expected end, cutting a torn tail, one writer.
//!
//! Crash rule: a frame is acknowledged after the sync of its own file, and, for the first one, of
//! every directory on the way. A tail is cut only after its bytes are durable elsewhere.

use super::{PosixBackend, OPEN_BLOCKS, TEMPORARY};
use crate::contract::{LogPosition, WriterLock};
use crate::disk::{read_full, steady, write_all, Access, Disk, DiskFile, Lock};
use crate::errno::explain;
use crate::lock::{busy, HeldLock};
use crate::name::Name;
use crate::whole;
use crate::Backend;
use asl_core::{Error, Kind, Result};
use std::io;
use std::path::Path;

/// What is copied or compared at a time.
const COPY: usize = 1 << 20;

impl<D: Disk> PosixBackend<D> {
    pub(super) fn append_frame(&self, log: &Name, at: LogPosition, frame: &[u8]) -> Result<()> {
        const DOING: &str = "append to";
        self.writable(DOING, log.as_str())?;
        self.with_log(DOING, log, at.byte == 0, |file| {
            let end = file.size().map_err(|e| explain(DOING, log, &e))?;
            if end != at.byte {
                return Err(moved(DOING, log, at, end));
            }
            let grown = end.saturating_add(frame.len() as u64);
            if !file.fits(grown).map_err(|e| explain(DOING, log, &e))? {
                return Err(too_large(DOING, log, grown));
            }
            if let Err(e) = write_all(file, frame, at.byte) {
                // A part of a frame must not stay where the next one belongs.
                let put_back = file.set_len(at.byte).and_then(|()| steady(|| file.sync()));
                if let Err(e) = put_back {
                    return Err(self.latched(DOING, log.as_str(), &e));
                }
                return Err(self.failed(DOING, log, &e));
            }
            let mut synced = steady(|| file.sync());
            if at.byte == 0 {
                synced = synced.and_then(|()| self.sync_way(log));
            }
            synced.map_err(|e| self.latched(DOING, log.as_str(), &e))
        })
    }

    pub(super) fn cut_tail(&self, log: &Name, at: LogPosition, keep: &Name) -> Result<()> {
        const DOING: &str = "cut";
        self.writable(DOING, log.as_str())?;
        self.with_log(DOING, log, false, |file| {
            let told = |e: io::Error| explain(DOING, log, &e);
            let end = file.size().map_err(told)?;
            if end == at.byte {
                return Ok(());
            }
            if end < at.byte {
                return Err(moved(DOING, log, at, end));
            }
            let kept = self.write_whole("keep a log's tail as", keep, false, |to| {
                copy(file, at.byte, end, to)
            });
            if let Err(e) = kept {
                // A crash between keeping and cutting left the same bytes under the same name.
                if e.kind() != Kind::Exists || !self.holds_tail(keep, file, at.byte, end)? {
                    return Err(e);
                }
            }
            self.barrier()?;
            self.sync_way(keep)
                .map_err(|e| self.latched(DOING, log.as_str(), &e))?;
            file.set_len(at.byte)
                .map_err(|e| self.failed(DOING, log, &e))?;
            steady(|| file.sync()).map_err(|e| self.latched(DOING, log.as_str(), &e))
        })
    }

    pub(super) fn lock(&self, log: &Name) -> Result<WriterLock> {
        const DOING: &str = "write to";
        self.writable(DOING, log.as_str())?;
        let mut locks = self.locks.all();
        if locks.contains_key(log) {
            return Err(busy(&*self.disk, DOING, log));
        }
        let told = |e: io::Error| explain(DOING, log, &e);
        let file = self.log_file(log, true).map_err(told)?;
        if !file.try_lock(Lock::Exclusive).map_err(told)? {
            return Err(busy(&*self.disk, DOING, log));
        }
        // At once: who comes second is told who it is.
        let held = HeldLock::new(self.disk.clone(), self.locks.clone(), log.clone());
        let ready = self.ready_to_write(&file, log);
        if ready.is_ok() {
            locks.insert(log.clone(), file);
        }
        // What is held takes them to let go.
        drop(locks);
        ready.map(|()| -> WriterLock { Box::new(held) })
    }

    /// Has a log that was just locked be what the medium holds.
    fn ready_to_write(&self, file: &D::File, log: &Name) -> Result<()> {
        // A writer that died may have left a frame in the cache alone. Either it is durable before
        // anyone builds on it, or its sync fails here and the cache must not be believed.
        steady(|| file.sync())
            .and_then(|()| self.sync_way(log))
            .map_err(|e| self.latched("write to", log.as_str(), &e))?;
        file.drop_cache();
        whole::sweep(&*self.disk, Path::new(TEMPORARY));
        whole::sweep(&*self.disk, Path::new(OPEN_BLOCKS.0));
        Ok(())
    }

    /// Runs `write` on a log that this backend holds, or takes for as long as that runs.
    fn with_log<T>(
        &self,
        doing: &'static str,
        log: &Name,
        create: bool,
        write: impl FnOnce(&D::File) -> Result<T>,
    ) -> Result<T> {
        let locks = self.locks.all();
        if let Some(file) = locks.get(log) {
            return write(file);
        }
        let file = self
            .log_file(log, create)
            .map_err(|e| explain(doing, log, &e))?;
        match file.try_lock(Lock::Exclusive) {
            Ok(true) => write(&file),
            Ok(false) => Err(busy(&*self.disk, doing, log)),
            Err(e) => Err(explain(doing, log, &e)),
        }
    }

    fn log_file(&self, log: &Name, create: bool) -> io::Result<D::File> {
        match self.disk.open(log.as_path(), Access::Write) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && create => {
                match self.disk.create(log.as_path(), 0o600) {
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                        self.disk.open(log.as_path(), Access::Write)
                    }
                    other => other,
                }
            }
            other => other,
        }
    }

    /// Whether an object holds exactly the bytes of a log from an offset to its end.
    fn holds_tail(&self, name: &Name, log: &D::File, from: u64, end: u64) -> Result<bool> {
        let (file, len) = self.reader("compare", name)?;
        if len != end.saturating_sub(from) {
            return Ok(false);
        }
        let same = || {
            let (mut ours, mut theirs) = (vec![0; COPY], vec![0; COPY]);
            let mut at = 0;
            loop {
                let n = read_full(&file, &mut ours, at)?;
                let m = read_full(log, &mut theirs, from.saturating_add(at))?;
                if ours.get(..n) != theirs.get(..m) {
                    return Ok(false);
                }
                if n == 0 {
                    return Ok(true);
                }
                at = at.saturating_add(n as u64);
            }
        };
        same().map_err(|e| explain("compare", name, &e))
    }
}

fn copy<F: DiskFile>(from: &F, start: u64, end: u64, to: &F) -> io::Result<()> {
    let mut buffer = vec![0; COPY];
    let mut at = start;
    while at < end {
        let n = read_full(from, &mut buffer, at)?;
        let part = buffer.get(..n).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        write_all(to, part, at - start)?;
        at = at.saturating_add(n as u64);
    }
    Ok(())
}

fn moved(doing: &'static str, log: &Name, at: LogPosition, end: u64) -> Error {
    Error::new(
        Kind::Concurrent,
        doing,
        log,
        format!(
            "commit {} was to end it at byte {}, but it ends at byte {end}",
            at.commit, at.byte
        ),
    )
    .next("open the store again: another writer was here")
}

fn too_large(doing: &'static str, log: &Name, grown: u64) -> Error {
    Error::new(
        Kind::Io,
        doing,
        log,
        format!("it would grow to {grown} bytes, more than this file system lets a file have"),
    )
    .next("nothing is lost: copy the whole folder to ext4, xfs or btrfs, and go on there")
}
