//! Roots: what one ingest made, with its names, times and what could not be read.
//!
//! A root is a piece of its own. In the log and in manifests only its keyed id stands, so a host
//! learns neither the source's name nor what was unreadable.

use super::{BlobRef, Entry};
use crate::canon::Limits;
use crate::{ArtifactKey, ChunkId, Error, Fields, Kind, MapBuilder, Result, Timestamp, Value};

const KIND: &str = "asl.root/1";

/// Something of the source that is not in the artifact as it stood there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path below the source's root, as bytes.
    pub path: Vec<u8>,
    /// What went wrong, in words.
    pub why: String,
}

/// The top of one ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The source's name as the person gave it, as bytes.
    pub source: Vec<u8>,
    /// The top entry: the ingested directory or file itself, its name being the last of its path.
    pub top: Entry,
    /// When the ingest began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Entries below and with the top.
    pub entries: u64,
    /// Logical bytes of all files.
    pub bytes: u64,
    /// Problems met, at most [`Root::PROBLEMS`] in full.
    pub problems: Vec<Problem>,
    /// Problems met in all.
    pub problem_count: u64,
}

impl Root {
    /// Problems told in full; further ones are counted.
    pub const PROBLEMS: usize = 1000;

    /// The public identity of the top.
    pub fn key(&self) -> Option<ArtifactKey> {
        self.top.key
    }

    /// The pieces the root refers to.
    pub fn links(&self) -> Option<ChunkId> {
        self.top.content.and_then(|c: BlobRef| c.links())
    }

    /// Encodes the root.
    pub fn encode(&self) -> Vec<u8> {
        let problem = |p: &Problem| {
            Value::from(
                MapBuilder::new()
                    .put(0, p.path.clone())
                    .put(1, p.why.as_str()),
            )
        };
        MapBuilder::document(KIND)
            .put(1, self.source.clone())
            .put(2, self.top.encode())
            .put(3, self.started)
            .put(4, self.ended)
            .put(5, self.entries)
            .put(6, self.bytes)
            .list(7, self.problems.iter().take(Root::PROBLEMS).map(problem))
            .put(8, self.problem_count)
            .encode()
    }

    /// Decodes a root.
    ///
    /// # Errors
    /// `Invalid` where it is malformed or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Root> {
        let limits = Limits {
            bytes: 16 << 20,
            ..Limits::ENTRY
        };
        let mut f = Fields::document(bytes, KIND, limits)?;
        let source = f.bytes(1)?;
        let top_bytes = f.bytes(2)?;
        let (top, used) = Entry::decode_first(&top_bytes)?;
        if used != top_bytes.len() {
            return Err(Error::new(
                Kind::Invalid,
                "read",
                KIND,
                "trailing bytes after its entry",
            ));
        }
        let problem = |v: Value| {
            let mut p = Fields::of(v, "problem")?;
            let problem = Problem {
                path: p.bytes(0)?,
                why: p.text(1)?,
            };
            p.finish()?;
            Ok(problem)
        };
        let root = Root {
            source,
            top,
            started: Timestamp::from_value(&f.value(3)?)?,
            ended: Timestamp::from_value(&f.value(4)?)?,
            entries: f.uint(5)?,
            bytes: f.uint(6)?,
            problems: f.list(7)?.into_iter().map(problem).collect::<Result<_>>()?,
            problem_count: f.uint(8)?,
        };
        f.finish()?;
        Ok(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{EntryKind, Meta};

    fn root(problems: usize) -> Root {
        let problem = |i| Problem {
            path: format!("a/{i}").into_bytes(),
            why: "EIO".into(),
        };
        Root {
            source: b"/mnt/victim".to_vec(),
            top: Entry {
                name: b"victim".to_vec(),
                kind: EntryKind::Directory,
                meta: Meta::default(),
                hard_link: None,
                content: Some(BlobRef {
                    size: 9,
                    depth: 1,
                    top: Some(ChunkId::from([1; 32])),
                }),
                key: None,
            },
            started: Timestamp::claimed(1),
            ended: Timestamp::claimed(2),
            entries: 3,
            bytes: 4,
            problems: (0..problems).map(problem).collect(),
            problem_count: problems as u64,
        }
    }

    #[test]
    fn a_root_is_read_back_with_its_problems() {
        let r = root(Root::PROBLEMS);
        assert_eq!(Root::decode(&r.encode()).unwrap(), r);
    }

    #[test]
    fn problems_beyond_the_limit_are_counted() {
        let r = Root::decode(&root(Root::PROBLEMS + 5).encode()).unwrap();
        assert_eq!(r.problems.len(), Root::PROBLEMS);
        assert_eq!(r.problem_count, Root::PROBLEMS as u64 + 5);
    }

    #[test]
    fn a_root_cut_short_is_refused_at_every_byte() {
        let bytes = root(2).encode();
        for cut in 0..bytes.len() {
            assert!(Root::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
