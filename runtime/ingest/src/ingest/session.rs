//! One ingest's dealings with the store and the caller.

use crate::problems::Problems;
use crate::{Acknowledged, Chunking, PieceStore, Progress, Watch};
use asl_core::{ChunkId, Error, Kind, Result, TypeTag};

/// The type tags pieces are stored under.
pub(crate) struct Tags {
    /// A chunk of a file.
    pub blob: TypeTag,
    /// A chunk of a directory's sequence of entries.
    pub tree: TypeTag,
    /// A list node of either.
    pub list: TypeTag,
}

/// Puts pieces, keeps count, tells the caller, and hears the wish to stop.
pub(crate) struct Session<'a> {
    pub store: &'a dyn PieceStore,
    pub watch: &'a dyn Watch,
    pub chunking: Chunking,
    pub tags: Tags,
    pub progress: Progress,
    pub problems: Problems,
}

impl<'a> Session<'a> {
    pub(crate) fn new(store: &'a dyn PieceStore, watch: &'a dyn Watch) -> Result<Self> {
        let chunking = store.chunking();
        chunking.check()?;
        Ok(Session {
            store,
            watch,
            chunking,
            tags: Tags {
                blob: asl_core::codec::BLOB.parse()?,
                tree: asl_core::codec::TREE.parse()?,
                list: "asl.list".parse()?,
            },
            progress: Progress::default(),
            problems: Problems::default(),
        })
    }

    /// Puts one piece, then lets the store commit and the caller look.
    pub(crate) fn put(&mut self, tag: Tag, bytes: &[u8]) -> Result<ChunkId> {
        let id = self.store.chunk_id(bytes)?;
        let tag = match tag {
            Tag::Blob => &self.tags.blob,
            Tag::Tree => &self.tags.tree,
            Tag::List => &self.tags.list,
        };
        if self.store.put(id, tag, bytes)? {
            self.progress.new_bytes += bytes.len() as u64;
        }
        self.pulse()?;
        Ok(id)
    }

    /// Between two steps: stop, commit, progress.
    pub(crate) fn pulse(&mut self) -> Result<()> {
        if self.watch.stop() {
            return Err(Error::new(
                Kind::Interrupted,
                "ingest",
                "the source",
                "it was interrupted",
            )
            .next("run the same command again: what was acknowledged is not stored twice"));
        }
        if let Some(ack) = self.store.commit_due()? {
            self.acknowledged(&ack);
        }
        self.watch.progress(&self.progress);
        Ok(())
    }

    pub(crate) fn acknowledged(&self, ack: &Acknowledged) {
        self.watch.acknowledged(ack);
    }

    /// Records something of the source that is not in the artifact as it stood there.
    pub(crate) fn problem(&mut self, path: &[u8], why: &str) {
        self.problems.add(path, why);
        self.progress.problems = self.problems.count();
        self.watch.problem(path, why);
    }
}

/// What a piece is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Blob,
    Tree,
    List,
}
