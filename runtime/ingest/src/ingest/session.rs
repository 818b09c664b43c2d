//! One ingest's dealings with the store and the caller.

use crate::cache::{Begin, Cache, Draft, Placing};
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
    /// What is known of the source, and what is learnt of it.
    pub cache: Cache,
    /// The buffer that the last file was cut in, for the next one.
    pub room: Vec<u8>,
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
            cache: Cache::off(),
            room: Vec::new(),
        })
    }

    /// Puts one piece of a content, then lets the store commit and the caller look.
    pub(crate) fn put(&mut self, tag: Tag, bytes: &[u8], placing: &mut Placing) -> Result<ChunkId> {
        let id = self.store.chunk_id(bytes)?;
        let tag = match tag {
            Tag::Blob => &self.tags.blob,
            Tag::Tree => &self.tags.tree,
            Tag::List => &self.tags.list,
        };
        let new = self.store.put(id, tag, bytes)?;
        if new {
            self.progress.new_bytes += bytes.len() as u64;
        }
        if self.cache.record.is_on() {
            placing.piece(id, new, self.store, &mut self.cache.places)?;
        }
        self.pulse()?;
        Ok(id)
    }

    /// Takes up what earlier runs knew of the source; without it everything is read.
    pub(crate) fn begin_cache(&mut self, begin: &Begin<'_>) {
        match Cache::begin(self.store, begin) {
            Ok(cache) => self.cache = cache,
            Err(e) => self.watch.note(&format!("there is no files cache: {e}")),
        }
        let refused = &self.cache.old.refused;
        if let Some((_, e)) = refused.first() {
            let parts = refused.len();
            let told = format!("{parts} parts of the files cache are not believed, and what they knew is read again: {e}");
            self.watch.note(&told);
        }
    }

    /// Keeps a name of the directory under way in the files cache.
    pub(crate) fn keep(&mut self, draft: Option<Draft>) -> Result<()> {
        let Cache { record, places, .. } = &mut self.cache;
        record.add(draft, self.store, places)
    }

    /// Ends the directory under way in the files cache.
    pub(crate) fn leave(&mut self, content: Option<Draft>) {
        let Cache { record, places, .. } = &mut self.cache;
        record.leave(content, self.store, places);
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
            self.cache.committed(self.store)?;
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
