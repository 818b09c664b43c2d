//! `host/reserve`: room that is kept back, so that a full medium wedges nobody (reliability.md, P6).
//!
//! What frees room needs a little of it first: a frame in a log, a head beside it. Sealing never
//! touches the reserve; where nothing fits any more, who is about to free room lets it go, and it
//! is made again once there is room. Nothing else depends on it: it may be missing, or be deleted
//! like any stranger's file.

use crate::layout::Layout;
use crate::root::Context;
use asl_backend::{files, Backend, PosixBackend};
use asl_core::Result;
use std::path::Path;

/// Bytes of the reserve: an intent and a commit that name 40,000 blocks fit in.
pub const RESERVE: u64 = 4 << 20;

/// The reserve is made only where so many bytes are free: it must not itself fill the medium.
const ENOUGH: u64 = 4 * RESERVE;

/// What has to fit where there is room at all.
const LITTLE: u64 = 64 << 10;

/// Makes the reserve of the root at `root` where it is missing and there is room.
///
/// That it cannot be made is no error: only the day on which it would be missed can tell.
pub fn keep(root: &Path, context: &Context) {
    // Who cannot look takes it for missing, and fails to make it.
    let _ = try_keep(root, context);
}

fn try_keep(root: &Path, context: &Context) -> Result<()> {
    let at = Layout::new(root).reserve();
    let there = files::look(&at)?.is_some();
    if there || PosixBackend::open(root)?.space()?.free < ENOUGH {
        return Ok(());
    }
    files::write_new(&at, &noise(RESERVE, context)?, 0o600)
}

/// Before room is freed: lets the reserve go where not even a small file can be written any more,
/// and says whether it did. A quota counts as a full medium does.
pub fn make_room(root: &Path, context: &Context) -> bool {
    let layout = Layout::new(root);
    let fits = || -> Result<()> {
        let trial = layout.trial();
        files::replace(&trial, &noise(LITTLE, context)?, 0o600)?;
        files::remove(&trial)
    };
    fits().is_err() && files::remove(&layout.reserve()).is_ok()
}

/// Bytes that no file system makes smaller.
fn noise(length: u64, context: &Context) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    context.entropy.fill(&mut bytes)?;
    Ok(bytes)
}
