//! `index/bloom/seg-NNNNNN`: a segment's page values and its filter (FORMATS.md, "Index segments").
//!
//! Derived from the segment, and kept under the epoch's MAC key: a filter that was changed would
//! hide pieces.

use super::filter::Filter;
use crate::names;
use crate::record::SealedSegment;
use crate::sealer::Sealer;
use crate::segment::MAX_SEGMENT;
use crate::store::read_whole;
use crate::trust::PageValue;
use crate::wire::{len32, Reader};
use asl_backend::Backend;
use asl_core::{Kind, Result};

const WHAT: &str = "index filter";
const MAGIC: &[u8; 8] = b"ASLBLOOM";
const VERSION: u16 = 1;
/// Bytes of the MAC at the end.
const TRAILER: usize = 32;

/// Writes the file, in place of an earlier one.
///
/// # Errors
/// `Refused` where the epoch's keys are not at hand; `Io`.
pub(super) fn write(
    backend: &dyn Backend,
    sealer: &dyn Sealer,
    sealed: &SealedSegment,
    pages: &[PageValue],
    filter: &Filter,
) -> Result<()> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(sealed.trust.as_bytes());
    out.extend_from_slice(&len32(WHAT, pages.len())?.to_le_bytes());
    pages.iter().for_each(|value| out.extend_from_slice(value));
    out.extend_from_slice(filter.bytes());
    let mac = sealer.mac(sealed.epoch, &out)?;
    out.extend_from_slice(mac.as_bytes());
    backend.put(&names::bloom(sealed.number)?, &out)
}

/// Reads the file; `None` where it is missing, damaged, or of another segment.
///
/// # Errors
/// `Io`; `Refused` where the epoch's keys are not at hand.
pub(super) fn read(
    backend: &dyn Backend,
    sealer: &dyn Sealer,
    sealed: &SealedSegment,
    pages: u32,
) -> Result<Option<(Vec<PageValue>, Filter)>> {
    if pages < 2 {
        return Ok(None);
    }
    let bytes = match read_whole(backend, &names::bloom(sealed.number)?, MAX_SEGMENT) {
        Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Damage) => return Ok(None),
        read => read?,
    };
    let Ok((values, filter)) = parse(&bytes, sealed) else {
        return Ok(None);
    };
    let said = bytes.len().saturating_sub(TRAILER);
    let (said, mac) = bytes.split_at_checked(said).unwrap_or_default();
    let right = values.len() == pages as usize
        && sealer.mac(sealed.epoch, said)?.as_bytes().as_slice() == mac
        && sealer.merge_macs(sealed.epoch, &values)? == sealed.trust;
    Ok(filter.filter(|_| right).map(|filter| (values, filter)))
}

fn parse(bytes: &[u8], sealed: &SealedSegment) -> Result<(Vec<PageValue>, Option<Filter>)> {
    let mut r = Reader::new(WHAT, bytes);
    r.magic(MAGIC)?;
    r.version(VERSION)?;
    r.zero(2)?;
    if r.array::<32>()? != *sealed.trust.as_bytes() {
        return Err(r.bad("it is of another segment"));
    }
    let pages = r.u32()? as usize;
    let values = r.take(pages.saturating_mul(32))?.chunks_exact(32);
    let values = values.filter_map(|c| PageValue::try_from(c).ok()).collect();
    let filter = r.rest().len().saturating_sub(TRAILER);
    let filter = r.take(filter)?.to_vec();
    Ok((values, Filter::from_bytes(filter)))
}
