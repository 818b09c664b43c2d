//! The pages of segments that were read last.

use std::collections::HashMap;
use std::sync::Arc;

/// Pages a store holds at most: 8 MiB of them, the index of 150,000 pieces.
const MOST: usize = 128;

/// A page of a segment: the segment's number, and its own in it.
pub(crate) type PageName = (u32, u32);

/// Pages in memory, the one not asked for the longest going first.
pub(crate) struct PageCache {
    held: HashMap<PageName, (Arc<Vec<u8>>, u64)>,
    asked: u64,
    most: usize,
}

impl Default for PageCache {
    fn default() -> Self {
        PageCache::holding(MOST)
    }
}

impl PageCache {
    /// A cache of so many pages.
    pub(crate) fn holding(most: usize) -> Self {
        PageCache {
            held: HashMap::new(),
            asked: 0,
            most,
        }
    }

    pub(crate) fn get(&mut self, name: PageName) -> Option<Arc<Vec<u8>>> {
        self.asked += 1;
        let (page, asked) = self.held.get_mut(&name)?;
        *asked = self.asked;
        Some(Arc::clone(page))
    }

    pub(crate) fn keep(&mut self, name: PageName, page: &Arc<Vec<u8>>) {
        self.asked += 1;
        self.held.insert(name, (Arc::clone(page), self.asked));
        if self.held.len() > self.most {
            // A walk over them all costs nothing beside the reading of one.
            let oldest = self.held.iter().min_by_key(|(_, (_, asked))| *asked);
            if let Some(name) = oldest.map(|(name, _)| *name) {
                self.held.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_memory_is_bounded() {
        let mut cache = PageCache::default();
        let page = Arc::new(vec![1]);
        for n in 0..10 * MOST as u32 {
            cache.keep((1, n), &page);
            assert!(cache.get((1, 0)).is_some(), "page {n}");
        }
        assert_eq!(cache.held.len(), MOST);
        assert!(cache.get((1, 1)).is_none());
    }
}
