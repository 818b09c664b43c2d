//! One segment read page by page, each page checked before it is believed.

use super::cache::PageCache;
use super::derived;
use super::filter::Filter;
use crate::block::Located;
use crate::names;
use crate::record::SealedSegment;
use crate::sealer::{OpenParts, Part, Sealer};
use crate::segment::{self, Entry, ENTRY_ROW, HEADER};
use crate::source::{Ahead, Source};
use crate::trust::{PageValue, PAGE};
use crate::wire::{invalid, Reader};
use asl_backend::Backend;
use asl_core::{BlockId, ChunkId, Error, Kind, Result};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

const WHAT: &str = "index segment";

/// A page is asked for whole; smaller reads, as of an age header, are served from so many bytes.
const AHEAD: Ahead = Ahead {
    first: 4096,
    most: 4096,
};

/// An open segment. Memory: 10 bits an entry, 32 bytes a page and 32 a block, and what the sealer
/// needs to read a part (130 KiB in the age form).
pub(crate) struct Paged {
    pub(crate) number: u32,
    pub(crate) epoch: u32,
    /// Bytes of the body.
    length: u64,
    entries: u64,
    blocks: Vec<BlockId>,
    /// Empty where the body is one page: its value is the trust value.
    pages: Vec<PageValue>,
    filter: Filter,
    parts: Mutex<Box<dyn OpenParts>>,
    sealed: SealedSegment,
    sealer: Arc<dyn Sealer>,
}

impl Paged {
    /// Opens a segment that the log names, believing no more of it than its trust value proves.
    ///
    /// Page values and filter are read from their derived file; where that is missing or is
    /// another, they are made of the whole body, and written where `write` says so.
    ///
    /// # Errors
    /// `Damage` where the segment is missing or not what was sealed; `Refused` where its epoch's
    /// keys are not at hand; `Io`.
    pub(crate) fn open(
        backend: &Arc<dyn Backend>,
        sealer: &Arc<dyn Sealer>,
        sealed: &SealedSegment,
        write: bool,
    ) -> Result<Paged> {
        let mut paged = Paged::unread(backend, sealer, sealed)?;
        match derived::read(&**backend, &**sealer, sealed, paged.page_count())? {
            Some((pages, filter)) => {
                paged.pages = pages;
                paged.filter = filter;
                paged.read_table()?;
            }
            None => {
                paged.derive()?;
                if write {
                    drop(paged.keep(&**backend));
                }
            }
        }
        Ok(paged)
    }

    /// Reads a segment from the first byte to the last, by pages, believing nothing that was
    /// derived of it; tells each entry, in order. Answers whether its derived file, where it has
    /// to have one, is there and right.
    ///
    /// # Errors
    /// As [`Paged::open`]; `Invalid` where its entries are not in order.
    pub(crate) fn check(
        backend: &Arc<dyn Backend>,
        sealer: &Arc<dyn Sealer>,
        sealed: &SealedSegment,
        each: &mut dyn FnMut(&BlockId, &Located),
    ) -> Result<bool> {
        let mut paged = Paged::unread(backend, sealer, sealed)?;
        paged.derive()?;
        let (mut walk, mut last) = (paged.walk(), None);
        while let Some(Entry { block, at }) = walk.next()? {
            if last.replace((at.id, block)) >= Some((at.id, block)) {
                return Err(invalid(WHAT, "its entries are not in order"));
            }
            if let Some(block) = paged.blocks.get(block as usize) {
                each(block, &at);
            }
        }
        let derived = derived::read(&**backend, &**sealer, sealed, paged.page_count())?;
        Ok(match derived {
            Some((pages, filter)) => pages == paged.pages && filter == paged.filter,
            None => paged.page_count() < 2,
        })
    }

    /// A segment of which only the head was looked at.
    fn unread(
        backend: &Arc<dyn Backend>,
        sealer: &Arc<dyn Sealer>,
        sealed: &SealedSegment,
    ) -> Result<Paged> {
        let name = names::segment(sealed.number)?;
        match backend.size(&name) {
            Ok(size) if size == sealed.bytes => {}
            Ok(_) => return Err(untrusted(sealed, "its bytes are not those the log names")),
            Err(e) if e.kind() == Kind::NotFound => return Err(untrusted(sealed, "it is missing")),
            Err(e) => return Err(e),
        }
        let (epoch, _) = segment::open_file(&backend.get(&name, 0..HEADER as u64)?)?;
        if epoch != sealed.epoch {
            return Err(untrusted(sealed, "it says another epoch than the log"));
        }
        let body = HEADER as u64..sealed.bytes.max(HEADER as u64);
        let body = Source::new(Arc::clone(backend), name, body, AHEAD);
        let parts = sealer.open_parts(Part::Segment, epoch, Box::new(body))?;
        Ok(Paged {
            number: sealed.number,
            epoch,
            length: parts.plain_len(),
            entries: 0,
            blocks: Vec::new(),
            pages: Vec::new(),
            filter: Filter::for_ids(0),
            parts: Mutex::new(parts),
            sealed: sealed.clone(),
            sealer: Arc::clone(sealer),
        })
    }

    /// Writes the derived file; where that fails the next opening takes longer.
    pub(super) fn keep(&self, backend: &dyn Backend) -> Result<()> {
        match self.pages.is_empty() {
            true => Ok(()),
            false => derived::write(
                backend,
                &*self.sealer,
                &self.sealed,
                &self.pages,
                &self.filter,
            ),
        }
    }

    /// Makes page values and filter of the body, having read all of it.
    fn derive(&mut self) -> Result<()> {
        if self.page_count() > 1 {
            for number in 0..self.page_count() {
                let page = self.read(number)?;
                self.pages
                    .push(self.sealer.page_mac(self.epoch, number, &page)?);
            }
            if self.sealer.merge_macs(self.epoch, &self.pages)? != self.sealed.trust {
                return Err(self.untrusted("its trust value is not the one the log names"));
            }
        }
        self.read_table()?;
        let mut filter = Filter::for_ids(self.entries);
        let mut walk = self.walk();
        while let Some(entry) = walk.next()? {
            filter.add(&entry.at.id);
        }
        self.filter = filter;
        Ok(())
    }

    /// Reads head and block table, which must be those that the log names.
    fn read_table(&mut self) -> Result<()> {
        let cache = Mutex::new(PageCache::holding(1));
        let head = self.bytes(&cache, 0..HEADER as u64)?;
        let mut r = Reader::new(WHAT, &head);
        let (epoch, blocks, entries) = (r.u32()?, u64::from(r.u32()?), u64::from(r.u32()?));
        r.zero(4)?;
        let table = HEADER as u64..HEADER as u64 + 32 * blocks;
        if epoch != self.epoch || table.end + entries * ENTRY_ROW as u64 != self.length {
            return Err(invalid(WHAT, "its tables do not fill it"));
        }
        let table = self.bytes(&cache, table)?;
        let listed = table
            .chunks_exact(32)
            .filter_map(|c| <[u8; 32]>::try_from(c).ok())
            .map(BlockId::from);
        if !listed.eq(self.sealed.blocks.iter().map(|(id, _)| *id)) {
            return Err(self.untrusted("it lists other blocks than the log"));
        }
        self.blocks = self.sealed.blocks.iter().map(|(id, _)| *id).collect();
        self.entries = entries;
        Ok(())
    }

    /// The record that names it.
    pub(crate) fn sealed(&self) -> &SealedSegment {
        &self.sealed
    }

    /// Every place of a piece, in the order of its blocks.
    ///
    /// # Errors
    /// `Damage` where a page is not what was sealed; `Io`.
    pub(crate) fn find(
        &self,
        cache: &Mutex<PageCache>,
        id: &ChunkId,
    ) -> Result<Vec<(BlockId, Located)>> {
        let mut found = Vec::new();
        if !self.filter.may_hold(id) {
            return Ok(found);
        }
        let mut row = self.lower_bound(cache, id)?;
        while row < self.entries {
            let run = self.run(cache, row)?;
            for bytes in run.rows().skip((row - run.first) as usize) {
                if id_of(bytes) != *id {
                    return Ok(found);
                }
                found.push(self.place(bytes)?);
            }
            row = run.end();
        }
        Ok(found)
    }

    /// The block and place that a row says.
    fn place(&self, row: &[u8]) -> Result<(BlockId, Located)> {
        let Entry { block, at } = segment::read_entry(row, self.blocks.len())?;
        let block = self.blocks.get(block as usize);
        block
            .map(|block| (*block, at))
            .ok_or_else(|| invalid(WHAT, "an entry names no block"))
    }

    /// Entries it holds.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Every entry in order.
    pub(super) fn walk(&self) -> Walk<'_> {
        Walk {
            segment: self,
            cache: Mutex::new(PageCache::holding(1)),
            run: None,
            row: 0,
        }
    }

    /// The first row whose id is not below this one.
    ///
    /// Ids are uniform, so the first guess is mostly the right page, and the next the one beside
    /// it. Where they are not, steps double and halve: never more than some 40.
    fn lower_bound(&self, cache: &Mutex<PageCache>, id: &ChunkId) -> Result<u64> {
        let (mut low, mut high) = (0, self.entries);
        let first = id.as_bytes().iter().take(8);
        let first = first.fold(0u64, |n, b| n << 8 | u64::from(*b));
        let mut guess = ((u128::from(first) * u128::from(high)) >> 64) as u64;
        let mut step = 1u64;
        while low < high {
            let run = self.run(cache, guess.clamp(low, high - 1))?;
            let below = run.below(id);
            if below > 0 && below < run.count() {
                return Ok(run.first + below);
            }
            match below {
                0 => high = run.first,
                _ => low = run.end(),
            }
            guess = match (low, high) {
                (0, high) => high.saturating_sub(step),
                (low, high) if high == self.entries => low.saturating_add(step - 1),
                (low, high) => low + (high.saturating_sub(low)) / 2,
            };
            step = step.saturating_mul(2).max(2048);
        }
        Ok(low)
    }

    /// The rows that lie whole in the page of this row; it alone, where it lies in two.
    fn run(&self, cache: &Mutex<PageCache>, row: u64) -> Result<Run> {
        let (size, page) = (ENTRY_ROW as u64, PAGE as u64);
        let table = self.length - self.entries * size;
        let at = table + row * size;
        let begin = at - at % page;
        let end = (begin + page).min(self.length);
        if at + size > end {
            let bytes = Arc::new(self.bytes(cache, at..at + size)?);
            let within = 0..ENTRY_ROW;
            return Ok(Run {
                first: row,
                bytes,
                within,
            });
        }
        let first = begin.saturating_sub(table).div_ceil(size);
        let last = (end - table) / size;
        let within =
            (table + first * size - begin) as usize..(table + last * size - begin) as usize;
        let bytes = self.page(cache, (begin / page) as u32)?;
        Ok(Run {
            first,
            bytes,
            within,
        })
    }

    fn bytes(&self, cache: &Mutex<PageCache>, range: Range<u64>) -> Result<Vec<u8>> {
        if range.end > self.length {
            return Err(invalid(WHAT, "ends too early"));
        }
        let mut out = Vec::with_capacity((range.end - range.start) as usize);
        let mut at = range.start;
        while at < range.end {
            let page = self.page(cache, (at / PAGE as u64) as u32)?;
            let from = (at % PAGE as u64) as usize;
            let to = page.len().min(from + (range.end - at) as usize);
            let part = page.get(from..to).filter(|part| !part.is_empty());
            let part = part.ok_or_else(|| invalid(WHAT, "ends too early"))?;
            out.extend_from_slice(part);
            at += part.len() as u64;
        }
        Ok(out)
    }

    fn page_count(&self) -> u32 {
        // A file is at most 128 MiB, a backend's read 256.
        self.length.div_ceil(PAGE as u64) as u32
    }

    /// A page, checked.
    fn page(&self, cache: &Mutex<PageCache>, number: u32) -> Result<Arc<Vec<u8>>> {
        let name = (self.number, number);
        if let Some(page) = lock(cache).get(name) {
            return Ok(page);
        }
        let page = self.read(number)?;
        let right = match self.pages.get(number as usize) {
            Some(value) => self.sealer.page_mac(self.epoch, number, &page)? == *value,
            None => self.sealer.mac(self.epoch, &page)? == self.sealed.trust,
        };
        if !right {
            return Err(self.untrusted("its trust value is not the one the log names"));
        }
        let page = Arc::new(page);
        lock(cache).keep(name, &page);
        Ok(page)
    }

    fn read(&self, number: u32) -> Result<Vec<u8>> {
        let begin = u64::from(number) * PAGE as u64;
        let end = self.length.min(begin + PAGE as u64);
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.read_range(begin..end).map_err(|e| match e.kind() {
            Kind::Damage | Kind::Invalid => self.untrusted(e.why()),
            _ => e,
        })
    }

    fn untrusted(&self, why: &str) -> Error {
        untrusted(&self.sealed, why)
    }
}

fn untrusted(sealed: &SealedSegment, why: &str) -> Error {
    let name = names::segment(sealed.number).map_or(WHAT.to_string(), |n| n.to_string());
    Error::new(Kind::Damage, "trust", name, why)
        .next("rebuild the index from the blocks, or fetch the segment from a holder")
}

fn lock(cache: &Mutex<PageCache>) -> std::sync::MutexGuard<'_, PageCache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entries of a segment from the first to the last, one page in memory at a time.
pub(super) struct Walk<'a> {
    segment: &'a Paged,
    cache: Mutex<PageCache>,
    run: Option<Run>,
    row: u64,
}

impl Walk<'_> {
    /// The next entry, its block as the row of this segment's table.
    ///
    /// # Errors
    /// `Damage` where its page is not what was sealed; `Io`.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        if self.row >= self.segment.entries {
            return Ok(None);
        }
        let run = match self.run.take() {
            Some(run) if self.row < run.end() => run,
            _ => self.segment.run(&self.cache, self.row)?,
        };
        let entry = run
            .row(self.row - run.first)
            .map(|row| segment::read_entry(row, self.segment.blocks.len()))
            .transpose()?;
        self.row += 1;
        self.run = Some(run);
        Ok(entry)
    }
}

/// Rows back to back in one page.
struct Run {
    /// The number of the first.
    first: u64,
    bytes: Arc<Vec<u8>>,
    within: Range<usize>,
}

impl Run {
    fn count(&self) -> u64 {
        (self.within.len() / ENTRY_ROW) as u64
    }

    fn end(&self) -> u64 {
        self.first + self.count()
    }

    fn row(&self, nth: u64) -> Option<&[u8]> {
        let from = self.within.start + nth as usize * ENTRY_ROW;
        self.bytes.get(from..from + ENTRY_ROW)
    }

    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let rows = self.bytes.get(self.within.clone()).unwrap_or_default();
        rows.chunks_exact(ENTRY_ROW)
    }

    /// How many of its first rows have an id below this one.
    fn below(&self, id: &ChunkId) -> u64 {
        let rows: Vec<&[u8]> = self.rows().collect();
        rows.partition_point(|row| id_of(row) < *id) as u64
    }
}

/// The id at the begin of a row.
fn id_of(row: &[u8]) -> ChunkId {
    let id = row.first_chunk::<32>().copied();
    ChunkId::from(id.unwrap_or_default())
}
