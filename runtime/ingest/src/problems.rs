//! Problems of a run, counted without bound and kept within one.

use asl_core::codec::{Problem, Root};

/// Bytes of kept problems at most, so that a root stays within what its reader takes.
const KEPT_BYTES: usize = 8 << 20;
/// Bytes of one explanation at most.
const WHY_BYTES: usize = 8 << 10;

/// Counts every problem and keeps the first ones.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    kept: Vec<Problem>,
    bytes: usize,
    count: u64,
}

impl Problems {
    /// Adds a problem.
    pub(crate) fn add(&mut self, path: &[u8], why: &str) {
        self.count += 1;
        let cut = (0..=WHY_BYTES.min(why.len()))
            .rev()
            .find(|i| why.is_char_boundary(*i));
        let why = why.get(..cut.unwrap_or(0)).unwrap_or_default();
        let bytes = path.len() + why.len();
        if self.kept.len() < Root::PROBLEMS && self.bytes + bytes <= KEPT_BYTES {
            self.bytes += bytes;
            self.kept.push(Problem {
                path: path.to_vec(),
                why: why.to_string(),
            });
        }
    }

    /// Problems in all.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The kept ones.
    pub(crate) fn into_kept(self) -> Vec<Problem> {
        self.kept
    }

    /// The kept ones, lent.
    pub(crate) fn kept(&self) -> &[Problem] {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asl_core::codec::{Entry, EntryKind, Meta};
    use asl_core::Timestamp;

    #[test]
    fn the_worst_problems_still_make_a_root_that_can_be_read() {
        let mut p = Problems::default();
        for _ in 0..3000 {
            p.add(&[b'p'; 100_000], &"é".repeat(10_000));
            p.add(b"a", "EIO");
        }
        assert_eq!(p.count(), 6000);
        let kept = p.into_kept();
        assert!(kept.len() > 100 && kept.iter().all(|k| k.why.len() <= WHY_BYTES));
        let root = Root {
            source: b"s".to_vec(),
            top: Entry {
                name: b"s".to_vec(),
                kind: EntryKind::Directory,
                meta: Meta::default(),
                hard_link: None,
                content: None,
                key: None,
            },
            started: Timestamp::claimed(0),
            ended: Timestamp::claimed(0),
            entries: 1,
            bytes: 0,
            problems: kept,
            problem_count: 6000,
        };
        assert_eq!(Root::decode(&root.encode()).unwrap(), root);
    }
}
