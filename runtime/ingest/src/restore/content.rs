//! A file's bytes, written with their holes and hashed as they are.

use crate::ingest::{hash_zeros, is_zero};
use crate::os::retry;
use crate::read::{BlobReader, Part};
use crate::{PieceStore, PAGE};
use asl_core::codec::{blob_key, BlobRef};
use asl_core::{ArtifactKey, Result};
use rustix::fd::BorrowedFd;
use rustix::fs::ftruncate;
use rustix::io::{pwrite, Errno};

/// Lost ranges of one file told with their offsets; further ones are counted.
const RANGES: usize = 100;

/// How writing a file ended.
pub(crate) enum Content {
    /// All that the store gave is written.
    Written {
        /// The key of the bytes that were written.
        key: ArtifactKey,
        /// The ranges the store could not give, in words; they are holes. Empty where none.
        lost: String,
    },
    /// The target said no.
    Failed(Errno),
}

/// Writes a blob into an empty file.
///
/// Zero pages are not written, so the file takes no more room than its source did. `step` is told
/// of the logical bytes done and may end it.
///
/// # Errors
/// Those of `step`, and of the store where they end everything.
pub(crate) fn write(
    store: &dyn PieceStore,
    blob: BlobRef,
    file: BorrowedFd<'_>,
    step: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Content> {
    let mut reader = BlobReader::new(store, blob);
    let mut hasher = blake3::Hasher::new();
    let (mut at, mut end) = (0u64, 0u64);
    let (mut lost, mut first, mut more) = (Vec::new(), String::new(), 0u64);
    while let Some(part) = reader.next()? {
        let length = match part {
            Part::Data(bytes) => {
                hasher.update(&bytes);
                match write_data(file, &bytes, at) {
                    Ok(written) => end = written.unwrap_or(end),
                    Err(e) => return Ok(Content::Failed(e)),
                }
                bytes.len() as u64
            }
            Part::Hole(n) => {
                hash_zeros(&mut hasher, n, &mut || step(0))?;
                n
            }
            Part::Lost(n, e) => {
                if lost.is_empty() {
                    first = e.to_string();
                }
                if lost.len() < RANGES {
                    lost.push(format!("{at}-{}", at.saturating_add(n) - 1));
                } else {
                    more += 1;
                }
                n
            }
        };
        at = at.saturating_add(length);
        step(length)?;
    }
    if end < blob.size {
        if let Err(e) = retry(|| ftruncate(file, blob.size)) {
            return Ok(Content::Failed(e));
        }
    }
    let mut text = String::new();
    if !lost.is_empty() {
        text = format!("left as zeros: bytes {}", lost.join(", "));
        if more > 0 {
            text.push_str(&format!(" and {more} more ranges"));
        }
        text.push_str(&format!(" ({first})"));
    }
    let key = blob_key(&hasher.finalize().into());
    Ok(Content::Written { key, lost: text })
}

/// Writes all but the zero pages; answers where the last written byte ends.
fn write_data(
    file: BorrowedFd<'_>,
    bytes: &[u8],
    offset: u64,
) -> std::result::Result<Option<u64>, Errno> {
    let mut end = None;
    let mut run = (0, 0);
    // Pages lie on the file's grid, which a chunk need not begin on.
    let lead = (PAGE as u64 - offset % PAGE as u64) as usize % PAGE;
    let (head, pages) = bytes.split_at(lead.min(bytes.len()));
    for page in std::iter::once(head).chain(pages.chunks(PAGE)) {
        let next = run.1 + page.len();
        if is_zero(page) {
            end = write_run(file, bytes, run, offset)?.or(end);
            run = (next, next);
        } else {
            run.1 = next;
        }
    }
    Ok(write_run(file, bytes, run, offset)?.or(end))
}

fn write_run(
    file: BorrowedFd<'_>,
    bytes: &[u8],
    (from, to): (usize, usize),
    offset: u64,
) -> std::result::Result<Option<u64>, Errno> {
    let mut at = from;
    while at < to {
        let rest = bytes.get(at..to).unwrap_or_default();
        match retry(|| pwrite(file, rest, offset + at as u64))? {
            0 => return Err(Errno::IO),
            n => at += n,
        }
    }
    Ok((to > from).then_some(offset + to as u64))
}
