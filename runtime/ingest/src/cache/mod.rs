//! The files cache: what one run knows of a source, so that the next need not read it again
//! (formats.md, "Working files"; bytes in `runtime/FORMATS.md`, "Files cache").
//!
//! It is the session's journal, kept. While a source is sealed, the rows of files whose pieces are
//! committed are written as parts after each commit; a run that is cut off leaves them, and the
//! next goes on with them. A directory that was gone through whole leaves a *whole* group: its rows
//! and what its own content came to. Where every name of it is as its row says, the directory is
//! what it was, and nothing of it is read or encoded.
//!
//! Nothing here is ever believed beyond what is checked when it is used: the part's proof, the
//! inode's stamp, and that every block of the content is still known to the store.

mod compact;
mod old;
mod part;
mod placing;
mod record;
mod row;

pub(crate) use old::{Known, Old};
pub(crate) use placing::{Places, Placing};
pub(crate) use record::{Draft, Recorder};
pub(crate) use row::{Kept, PathHash, Paths, Row, Stamp};

use crate::os::Stat;
use crate::PieceStore;
use asl_core::Result;
use compact::End;

/// Bytes of one part aimed at, so that parts serve as pages.
const PART: usize = 4 << 20;
/// Bytes of parts kept open for looking things up.
const OPEN: usize = 24 << 20;
/// Rows that wait in memory at most, for their directory's end or their pieces' commit.
const WAITING: usize = 100_000;
/// Rows of one source's parts at most; what is met after that is not remembered.
const MOST: u64 = 4_000_000;

/// An inode changed within this time before the run is not believed unchanged: the clock of its
/// file system may be coarser than what happens to it (as git's "racily clean").
const GRAIN_NS: i128 = 2_000_000_000;

/// One run's cache: what earlier ones knew, and what this one learns.
pub(crate) struct Cache {
    pub old: Old,
    pub record: Recorder,
    pub places: Places,
    pub paths: Paths,
    names: [u8; 32],
    device: u64,
    mount: u64,
    began_ns: i64,
    anew: bool,
}

/// What a cache is begun with.
pub(crate) struct Begin<'a> {
    /// The source by its name.
    pub source: &'a [u8],
    /// The source itself.
    pub stat: &'a Stat,
    /// A digest of the names of owners.
    pub names: [u8; 32],
    pub began_ns: i64,
    /// Whether everything is to be read again.
    pub anew: bool,
}

impl Cache {
    /// One that knows nothing and keeps nothing.
    pub(crate) fn off() -> Cache {
        Cache {
            old: Old::default(),
            record: Recorder::off(),
            places: Places::default(),
            paths: Paths::new([0; 32]),
            names: [0; 32],
            device: 0,
            mount: 0,
            began_ns: 0,
            anew: false,
        }
    }

    /// Loads what is known of a source.
    ///
    /// # Errors
    /// `Refused` where the domain's keys are not at hand; `Io`.
    pub(crate) fn begin(store: &dyn PieceStore, begin: &Begin<'_>) -> Result<Cache> {
        let (files, paths) = Files::of(store, begin.source)?;
        let parts = files.list(store)?;
        let next = parts.last().map_or(1, |n| n.saturating_add(1));
        let old = match begin.anew {
            false => Old::load(store, files.clone(), parts),
            true => Old::nothing(parts),
        };
        Ok(Cache {
            old,
            record: Recorder::new(files, begin.names, next),
            places: Places::default(),
            paths,
            names: begin.names,
            device: begin.stat.id.dev,
            mount: begin.stat.mount,
            began_ns: begin.began_ns,
            anew: begin.anew,
        })
    }

    /// What is known of a directory.
    pub(crate) fn known(&mut self, store: &dyn PieceStore, dir: &PathHash) -> Known {
        self.old.known(store, dir, &self.names)
    }

    /// What an inode looks like.
    pub(crate) fn stamp(&self, stat: &Stat) -> Stamp {
        Stamp::of(stat, self.device)
    }

    /// The row of a name that was gone through; `None` where it could change unseen.
    pub(crate) fn draft(
        &self,
        hash: PathHash,
        stat: &Stat,
        content: Option<Kept>,
        attributes: bool,
        placing: Placing,
    ) -> Option<Draft> {
        let changed_ns = i128::from(stat.ctime_s) * 1_000_000_000 + i128::from(stat.ctime_ns);
        let settled = changed_ns + GRAIN_NS <= i128::from(self.began_ns);
        let row = Row {
            stamp: self.stamp(stat),
            content,
            attributes,
            ..Row::bare(hash)
        };
        (settled && stat.mount == self.mount).then(|| Draft::new(row, placing))
    }

    /// A row that held once more.
    pub(crate) fn again(&mut self, store: &dyn PieceStore, part: u32, row: Row) -> Option<Draft> {
        let blocks = self.old.blocks(store, part, row.list)?;
        let numbers = blocks.into_iter().map(|b| self.places.number(b));
        Some(Draft::new(row, Placing::of(numbers)))
    }

    /// After a commit: writes what it made certain.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn committed(&mut self, store: &dyn PieceStore) -> Result<()> {
        self.record.journal(store, &mut self.places)
    }

    /// After the root: writes the rest and puts the parts in order.
    ///
    /// # Errors
    /// Those of the store; the root stands.
    pub(crate) fn end(&mut self, store: &dyn PieceStore) -> Result<()> {
        let Some(files) = self.record.files().cloned() else {
            return Ok(());
        };
        let end = End {
            store,
            files: &files,
            names: self.names,
            anew: self.anew,
        };
        end.run(&self.old, &mut self.record, &mut self.places)
    }
}

/// The working files of one source's cache.
#[derive(Clone)]
pub(crate) struct Files {
    prefix: String,
}

impl Files {
    /// Those of a source by its name; and the key its paths are hashed with.
    pub(crate) fn of(store: &dyn PieceStore, source: &[u8]) -> Result<(Files, Paths)> {
        let key = store.working_key(&[b"files\0", source].concat())?;
        let name = blake3::keyed_hash(&key, b"name").to_hex();
        let prefix = format!("files-{}-", name.get(..16).unwrap_or_default());
        Ok((Files { prefix }, Paths::new(key)))
    }

    /// The numbers of the parts that are there, ascending.
    pub(crate) fn list(&self, store: &dyn PieceStore) -> Result<Vec<u32>> {
        let number = |name: &String| name.strip_prefix(&self.prefix)?.parse().ok();
        Ok(store.working_files()?.iter().filter_map(number).collect())
    }

    fn name(&self, part: u32) -> String {
        format!("{}{part:08}", self.prefix)
    }
}
