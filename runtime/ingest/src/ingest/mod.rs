//! Ingest of a directory tree or of one file.
//!
//! One thread walks, reads, cuts and names; sealing and commits go on behind the store in others. Nothing
//! of the source is ever written, no link is followed, and one bad file ends nothing.

mod blob;
mod compare;
mod cutter;
mod entry;
mod file;
mod session;
mod tree;

pub(crate) use blob::{hash_zeros, is_zero};

use crate::os::{stat_at, FileId, NameTable};
use crate::{Acknowledged, PieceStore, Watch};
use asl_core::codec::{Problem, Root};
use asl_core::{ArtifactKey, ChunkId, Error, HostClock, Kind, Result, Timestamp};
use rustix::fs::CWD;
use session::Session;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tree::Walker;

/// How a source is ingested.
pub struct IngestOptions<'a> {
    /// The source's name as it stands in the root; without one, its path as given.
    pub name: Option<Vec<u8>>,
    /// Whether mounts below the source are left out; they are kept as empty directories.
    pub one_file_system: bool,
    /// Directories and files to leave out, such as the store's own. Known by inode, so that they
    /// are found under every name.
    pub exclude: Vec<PathBuf>,
    /// Whether everything is read again, whatever is known from earlier runs.
    pub read_all: bool,
    /// Names of the source's owners.
    pub names: &'a NameTable,
    /// The clock for the root's times.
    pub clock: &'a dyn HostClock,
}

impl<'a> IngestOptions<'a> {
    /// One file system, nothing left out, named by its path.
    pub fn new(names: &'a NameTable, clock: &'a dyn HostClock) -> Self {
        IngestOptions {
            name: None,
            one_file_system: true,
            exclude: Vec::new(),
            read_all: false,
            names,
            clock,
        }
    }
}

/// What an ingest made.
#[derive(Clone, Debug)]
pub struct Ingested {
    /// The root's name in the domain.
    pub root: ChunkId,
    /// The public identity of the tree or file; `None` where the source could not be read at all.
    pub key: Option<ArtifactKey>,
    /// Entries, the top included.
    pub entries: u64,
    /// Logical bytes of files, holes included, hard links once.
    pub bytes: u64,
    /// Bytes of pieces that were new to the store, before compression.
    pub new_bytes: u64,
    /// Files that were known from an earlier run and not read; a hard link counts once.
    pub recalled: u64,
    /// Problems, at most [`Root::PROBLEMS`]; not empty means "sealed with holes" (exit code 5).
    pub problems: Vec<Problem>,
    /// Problems in all.
    pub problem_count: u64,
    /// What was left out because it was asked for (excludes, other mounts), at most as many.
    pub left_out: Vec<Problem>,
    /// How many were left out in all.
    pub left_out_count: u64,
    /// The commit that holds the root.
    pub acknowledged: Acknowledged,
}

/// Ingests a directory or a file: pieces, trees and at last the root (architecture.md, "How data
/// flows").
///
/// A link given as the source itself is followed, none below it is.
///
/// # Errors
/// `NotFound` or `Io` where the source itself cannot be looked at, `Usage` where it is neither a
/// directory nor a file or is excluded, `Interrupted` when the watch says stop (what was
/// acknowledged stays), and the store's errors. Trouble with anything below the source is no
/// error but a problem of the root.
pub fn ingest_tree(
    store: &dyn PieceStore,
    source: &Path,
    options: &IngestOptions,
    watch: &dyn Watch,
) -> Result<Ingested> {
    let real = std::fs::canonicalize(source).map_err(|e| looking(source, &e))?;
    let excluded = excluded(&options.exclude)?;
    let started = Timestamp::claimed(options.clock.wall_ns());
    let mut s = Session::new(store, watch)?;
    store.begin_root()?;
    let mut walker = Walker::new(options, excluded);
    let top = walker.top(&mut s, &real, started)?;
    let (left_out_count, left_out) = (walker.left_out.count(), walker.left_out.into_kept());
    let root = Root {
        source: options
            .name
            .clone()
            .unwrap_or_else(|| source.as_os_str().as_bytes().to_vec()),
        top,
        started,
        ended: Timestamp::claimed(options.clock.wall_ns()),
        entries: s.progress.entries,
        bytes: s.progress.bytes,
        problems: s.problems.kept().to_vec(),
        problem_count: s.problems.count(),
    };
    let (id, acknowledged) = store.finish_root(&root.encode())?;
    s.acknowledged(&acknowledged);
    if let Err(e) = s.cache.end(store) {
        watch.note(&format!("the files cache could not be put in order: {e}"));
    }
    if let Some(why) = &s.cache.record.failed {
        watch.note(&format!("the files cache was not kept to its end: {why}"));
    }
    watch.progress(&s.progress);
    Ok(Ingested {
        root: id,
        key: root.key(),
        entries: root.entries,
        bytes: root.bytes,
        new_bytes: s.progress.new_bytes,
        recalled: s.progress.recalled,
        problems: root.problems,
        problem_count: root.problem_count,
        left_out,
        left_out_count,
        acknowledged,
    })
}

fn looking(path: &Path, e: &std::io::Error) -> Error {
    let kind = match e.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::Io,
    };
    Error::new(kind, "ingest", path.display(), e).next("check the path, and that you may read it")
}

/// The inodes of what is to be left out. A path that is not there is an error: a slip of the pen
/// must not put the store into itself.
fn excluded(paths: &[PathBuf]) -> Result<BTreeSet<FileId>> {
    let id = |p: &PathBuf| {
        let real = std::fs::canonicalize(p).map_err(|e| {
            looking(p, &e).next("an excluded path must exist; take it off or correct it")
        })?;
        stat_at(CWD, real.as_os_str().as_bytes())
            .map(|s| s.id)
            .map_err(|e| looking(p, &e.into()))
    };
    paths.iter().map(id).collect()
}
