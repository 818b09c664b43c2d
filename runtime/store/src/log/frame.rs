//! One commit frame: the atomic unit of a log.

use super::{Head, LogForm};
use crate::wire::{newer, Reader};
use asl_core::canon::{self, Limits};
use asl_core::{BlockId, Error, Fields, FrameHash, Kind, LogSeq, MapBuilder, Result, Value};

/// Bytes of a frame at most, header and trailer included: 16 MiB.
pub const MAX_FRAME: usize = 16 << 20;

pub(super) const HEADER: usize = 20;
const TRAILER: usize = 32;
const VERSION: u16 = 1;
const WHAT: &str = "log frame";

/// The body of a commit frame: several records, made durable by one sync.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Frames before it.
    pub commit: u64,
    /// Records before it.
    pub logseq: LogSeq,
    /// The hash of the frame before it; zero in the first.
    pub previous: FrameHash,
    /// The nonce of the writer's session, by which a writer knows its own frame.
    pub nonce: [u8; 16],
    /// The records, in the form of the log's owner.
    pub records: Vec<Value>,
    /// Bytes stored: all frames before this one, and all objects named up to and in it.
    pub stored_bytes: u64,
    /// Existing blocks that this frame newly relies on, ascending.
    pub relies: Vec<BlockId>,
}

impl Frame {
    /// The log's head with this frame in it, whose hash and length these are.
    pub(super) fn head(&self, hash: FrameHash, length: usize) -> Head {
        Head {
            commit: self.commit.saturating_add(1),
            logseq: LogSeq(self.logseq.0.saturating_add(self.records.len() as u64)),
            frame: hash,
            stored_bytes: self.stored_bytes.saturating_add(length as u64),
        }
    }

    /// The frame's bytes and hash.
    ///
    /// # Errors
    /// `Invalid` where it would exceed [`MAX_FRAME`] or hold more items than a reader accepts.
    pub(crate) fn encode(&self, form: &LogForm) -> Result<(Vec<u8>, FrameHash)> {
        let mut map = MapBuilder::document(form.kind)
            .put(1, self.commit)
            .put(2, self.logseq.0)
            .put(3, self.previous)
            .put(4, Value::Bytes(self.nonce.to_vec()))
            .list(5, self.records.iter().cloned())
            .put(6, self.stored_bytes);
        if !self.relies.is_empty() {
            map = map.list(7, self.relies.iter().copied());
        }
        let body = map.encode();
        canon::check(&body, WHAT, Limits::FRAME)?;
        if HEADER + body.len() + TRAILER > MAX_FRAME {
            return Err(Error::new(
                Kind::Invalid,
                "append to",
                &form.name,
                "the frame would be longer than 16 MiB",
            ));
        }
        let mut out = Vec::with_capacity(HEADER + body.len() + TRAILER);
        out.extend_from_slice(&form.magic);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        // The check above bounds the length far below 32 bits.
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&body);
        let hash = blake3::hash(&out);
        out.extend_from_slice(hash.as_bytes());
        Ok((out, hash.into()))
    }
}

/// What lies at a place of a log.
pub(crate) enum Found {
    /// A frame whose checks hold, its hash, and its length in bytes.
    Frame(Box<Frame>, FrameHash, usize),
    /// Not a frame, or not all of one.
    Torn,
}

/// The length of the whole frame that this header begins; `None` where it is no header.
///
/// # Errors
/// `Invalid` where the header is whole and of a version that is not known.
pub(super) fn length(form: &LogForm, header: &[u8]) -> Result<Option<usize>> {
    let mut r = Reader::new(WHAT, header);
    let (Ok(magic), Ok(version), Ok(reserved), Ok(length), Ok(crc)) =
        (r.array::<8>(), r.u16(), r.u16(), r.u32(), r.u32())
    else {
        return Ok(None);
    };
    let covered = header.get(..HEADER - 4).unwrap_or_default();
    if magic != form.magic || crc32c::crc32c(covered) != crc {
        return Ok(None);
    }
    if version != VERSION || reserved != 0 {
        return Err(newer(
            form.name.as_str(),
            &format!("frame version {version}"),
        ));
    }
    let whole = length as usize + HEADER + TRAILER;
    Ok(Some(whole).filter(|n| *n <= MAX_FRAME))
}

/// Reads the frame that fills `bytes` from the first to the last.
///
/// # Errors
/// `Invalid` where its hash holds but its body breaks a rule: it was not torn, it was written so.
pub(crate) fn read(form: &LogForm, bytes: &[u8]) -> Result<Found> {
    let Some((covered, trailer)) = bytes
        .len()
        .checked_sub(TRAILER)
        .and_then(|at| bytes.split_at_checked(at))
    else {
        return Ok(Found::Torn);
    };
    let hash = blake3::hash(covered);
    if trailer != hash.as_bytes().as_slice() {
        return Ok(Found::Torn);
    }
    let body = covered.get(HEADER..).unwrap_or_default();
    let mut f = Fields::document(body, form.kind, Limits::FRAME)?;
    let has_relies = f.has(7);
    let frame = Frame {
        commit: f.uint(1)?,
        logseq: LogSeq(f.uint(2)?),
        previous: f.id(3)?,
        nonce: f.fixed(4)?,
        records: f.list(5)?,
        stored_bytes: f.uint(6)?,
        relies: f.opt(7, Fields::ids)?.unwrap_or_default(),
    };
    f.finish()?;
    // "None" has one spelling: the key is absent.
    let spelled = has_relies != frame.relies.is_empty()
        && frame
            .relies
            .windows(2)
            .all(|w| matches!(w, [a, b] if a < b));
    if !spelled {
        return Err(Error::new(
            Kind::Invalid,
            "read",
            &form.name,
            format!(
                "frame {}: its relied-on blocks are not in order",
                frame.commit
            ),
        ));
    }
    Ok(Found::Frame(Box::new(frame), hash.into(), bytes.len()))
}
