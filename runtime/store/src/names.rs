//! The names of the store's objects below its domain (formats.md, "The tree").

use asl_backend::Name;
use asl_core::{BlockId, Digest, Result, SnapshotId};

fn fixed(text: &str) -> Result<Name> {
    Name::new(text)
}

pub(crate) fn content_log() -> Result<Name> {
    fixed("log/append.log")
}

pub(crate) fn seal_log() -> Result<Name> {
    fixed("log/seal.log")
}

/// Where cut tails of logs are kept.
pub(crate) fn cut_tails() -> Result<Name> {
    fixed("log/cut-tails")
}

pub(crate) fn checkpoint_dir(number: u32) -> Result<Name> {
    fixed("log/checkpoints")?.join(&format!("chk-{number:06}"))
}

pub(crate) fn checkpoint(number: u32) -> Result<Name> {
    checkpoint_dir(number)?.join("checkpoint")
}

pub(crate) fn segments() -> Result<Name> {
    fixed("index/segments")
}

pub(crate) fn segment_dir(number: u32) -> Result<Name> {
    segments()?.join(&format!("seg-{number:06}"))
}

pub(crate) fn segment(number: u32) -> Result<Name> {
    segment_dir(number)?.join("segment")
}

/// What is derived of a segment.
pub(crate) fn bloom(number: u32) -> Result<Name> {
    fixed("index/bloom")?.join(&format!("seg-{number:06}"))
}

/// Where sessions leave what the next one goes on with.
pub(crate) fn working() -> Result<Name> {
    fixed("index/working")
}

pub(crate) fn sealed_dir(first: u8) -> Result<Name> {
    fixed("store/blocks/sealed")?.join(&format!("{first:02x}"))
}

pub(crate) fn block(id: &BlockId) -> Result<Name> {
    let [first, ..] = *id.as_bytes();
    sealed_dir(first)?.join(&format!("{id}.blk"))
}

pub(crate) fn sets() -> Result<Name> {
    fixed("store/objects")
}

pub(crate) fn block_set(digest: &Digest) -> Result<Name> {
    sets()?.join(&format!("{digest}.set"))
}

/// What a repair has set aside.
pub(crate) fn quarantine() -> Result<Name> {
    fixed("store/quarantine")
}

/// The note of the blocks that an unfinished check found good.
pub(crate) fn verified(data: bool) -> Result<Name> {
    match data {
        true => fixed("tmp/verified-data"),
        false => fixed("tmp/verified-structure"),
    }
}

pub(crate) fn snapshots() -> Result<Name> {
    fixed("snapshots")
}

pub(crate) fn snapshot_dir(id: SnapshotId) -> Result<Name> {
    snapshots()?.join(&id.to_string())
}

pub(crate) fn manifest(id: SnapshotId) -> Result<Name> {
    snapshot_dir(id)?.join("manifest.cbor")
}

pub(crate) fn snapshot_blocks(id: SnapshotId) -> Result<Name> {
    snapshot_dir(id)?.join("blocks")
}

/// Every directory a new store needs, the 256 block directories included.
pub(crate) fn all_dirs() -> Result<Vec<Name>> {
    let mut dirs = [
        "store/blocks/open",
        "store/blocks/gc",
        "store/objects",
        "store/encryption",
        "index/segments",
        "index/bloom",
        "index/tmp",
        "index/working",
        "log/checkpoints",
        "log/cut-tails",
        "snapshots/pinned",
        "tmp",
    ]
    .into_iter()
    .map(fixed)
    .collect::<Result<Vec<Name>>>()?;
    for first in 0..=u8::MAX {
        dirs.push(sealed_dir(first)?);
    }
    Ok(dirs)
}
