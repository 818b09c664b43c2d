//! A log of commit frames: opened, checked against what is known of it, appended to.

use super::frame::{Found, Frame};
use super::scan::{Window, MAX_PADDING};
use super::{Head, LogForm, Mode};
use asl_backend::{Backend, LogPosition, WriterLock};
use asl_core::{BlockId, Error, FrameHash, Kind, LogSeq, Result, Value};
use std::sync::Arc;

/// A head somebody remembers: the log must reach it and hold that frame there.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The remembered head; `stored_bytes` is not compared.
    pub head: Head,
    /// Who remembers it, for the person: "host/heads", "snap-000003".
    pub from: String,
}

/// A log of commit frames.
///
/// `append.log` and `host.log` are of this form, with their own magic, kind and records.
pub struct FrameLog {
    backend: Arc<dyn Backend>,
    form: LogForm,
    mode: Mode,
    nonce: [u8; 16],
    head: Head,
    /// Hash of each frame and records up to its end.
    marks: Vec<(FrameHash, u64)>,
    /// Bytes of the log, padding included, without a torn tail.
    end: u64,
    torn_bytes: u64,
    damage: Vec<Error>,
    broken: Option<Error>,
    _lock: Option<WriterLock>,
}

impl std::fmt::Debug for FrameLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameLog({}, {:?})", self.form.name, self.head)
    }
}

impl FrameLog {
    /// Reads the log to its end, giving each frame to `visit` with the head after it.
    ///
    /// In [`Mode::Write`] the writer lock is taken first, and a torn tail is cut last, kept below
    /// `form.keep`. A log that does not reach all of `evidence`, or is broken elsewhere than at its end, is
    /// damaged: that refuses [`Mode::Write`], and is told by [`FrameLog::damage`] in
    /// [`Mode::Read`]. A log that is not there is an empty one.
    ///
    /// # Errors
    /// `Damage` as said; `Concurrent` where another writer holds the lock; `Invalid` for a frame
    /// of a later version; `Io`; those of `visit`.
    pub fn open(
        backend: Arc<dyn Backend>,
        form: LogForm,
        mode: Mode,
        nonce: [u8; 16],
        evidence: &[Evidence],
        visit: &mut dyn FnMut(&Frame, &Head) -> Result<()>,
    ) -> Result<FrameLog> {
        let lock = match mode {
            Mode::Write => Some(backend.lock_writer(&form.name)?),
            Mode::Read => None,
        };
        FrameLog::open_with(backend, form, lock, nonce, evidence, visit)
    }

    /// As [`FrameLog::open`], to be written where the writer lock is given: whoever gathers evidence
    /// takes the lock first, so that nothing changes in between.
    pub(crate) fn open_with(
        backend: Arc<dyn Backend>,
        form: LogForm,
        lock: Option<WriterLock>,
        nonce: [u8; 16],
        evidence: &[Evidence],
        visit: &mut dyn FnMut(&Frame, &Head) -> Result<()>,
    ) -> Result<FrameLog> {
        let mode = match lock {
            Some(_) => Mode::Write,
            None => Mode::Read,
        };
        let mut log = FrameLog {
            backend,
            form,
            mode,
            nonce,
            head: Head::empty(),
            marks: Vec::new(),
            end: 0,
            torn_bytes: 0,
            damage: Vec::new(),
            broken: None,
            _lock: lock,
        };
        log.scan(visit)?;
        for known in evidence {
            log.compare(known);
        }
        if mode == Mode::Write {
            if let Some(damage) = log.damage.first() {
                return Err(damage.clone());
            }
            log.cut()?;
        }
        Ok(log)
    }

    fn scan(&mut self, visit: &mut dyn FnMut(&Frame, &Head) -> Result<()>) -> Result<()> {
        let backend = Arc::clone(&self.backend);
        let form = self.form.clone();
        let unit = u64::from(backend.append_unit().max(1));
        let mut window = Window::new(&*backend, &form)?;
        loop {
            let begin = window.skip_zeros(self.end)?;
            if begin == window.size {
                self.close(begin, window.size, unit);
                return Ok(());
            }
            match window.frame(begin)? {
                Found::Frame(frame, hash, length) => {
                    if let Err(why) = self.follows(&frame) {
                        self.damage.push(self.damaged(begin, why));
                        return Ok(());
                    }
                    let head = self.after(&frame, hash, length);
                    visit(&frame, &head)?;
                    self.take(head, begin + length as u64);
                }
                Found::Torn if window.is_torn_tail(begin, unit)? => {
                    self.close(begin, window.size, unit);
                    return Ok(());
                }
                Found::Torn => {
                    let why = "a frame is broken and others follow it";
                    self.damage.push(self.damaged(begin, why));
                    return Ok(());
                }
            }
        }
    }

    /// Ends the log: zeros up to the append unit are padding, what follows is torn.
    fn close(&mut self, begin: u64, size: u64, unit: u64) {
        let padded = self.end.next_multiple_of(unit).min(begin);
        if self.marks.is_empty() {
            self.end = 0;
        } else {
            self.end = padded;
        }
        self.torn_bytes = size - self.end;
    }

    fn follows(&self, frame: &Frame) -> std::result::Result<(), &'static str> {
        if frame.commit != self.head.commit || frame.logseq != self.head.logseq {
            return Err("its numbers do not follow the frame before it");
        }
        if frame.previous != self.head.frame {
            return Err("it does not name the frame before it");
        }
        if frame.stored_bytes < self.head.stored_bytes {
            return Err("its stored bytes go back");
        }
        Ok(())
    }

    fn after(&self, frame: &Frame, hash: FrameHash, length: usize) -> Head {
        Head {
            commit: frame.commit.saturating_add(1),
            logseq: LogSeq(frame.logseq.0.saturating_add(frame.records.len() as u64)),
            frame: hash,
            stored_bytes: frame.stored_bytes.saturating_add(length as u64),
        }
    }

    fn take(&mut self, head: Head, end: u64) {
        self.marks.push((head.frame, head.logseq.0));
        self.head = head;
        self.end = end;
    }

    fn damaged(&self, byte: u64, why: &str) -> Error {
        Error::new(
            Kind::Damage,
            "read",
            &self.form.name,
            format!("frame {} at byte {byte}: {why}", self.head.commit),
        )
        .next("open it read-only and repair it from a holder of this domain")
    }

    fn compare(&mut self, known: &Evidence) {
        let why = match self.head_at(known.head.commit) {
            Some(head) if head.frame == known.head.frame => return,
            Some(_) => "the log holds another frame there: it is another history",
            None => "the log is shorter: acknowledged commits are missing",
        };
        let Head { commit, .. } = known.head;
        self.damage.push(
            Error::new(
                Kind::Damage,
                "trust",
                &self.form.name,
                format!(
                    "{} knows commit {commit}, this log ends at {}; {why}",
                    known.from, self.head.commit
                ),
            )
            .next("reading and restoring still work; seal into a new root"),
        );
    }

    fn cut(&mut self) -> Result<()> {
        if self.torn_bytes == 0 {
            return Ok(());
        }
        let keep = self.kept_as()?;
        self.backend
            .create_dirs(std::slice::from_ref(&self.form.keep))?;
        self.backend
            .cut_log(&self.form.name, self.position(), &keep)?;
        self.torn_bytes = 0;
        Ok(())
    }

    /// The name follows from place and bytes, so that a cut repeated after a crash is the same.
    fn kept_as(&self) -> Result<asl_backend::Name> {
        let mut hash = blake3::Hasher::new();
        let end = self.end + self.torn_bytes;
        let mut at = self.end;
        while at < end {
            let part = self
                .backend
                .get(&self.form.name, at..end.min(at + MAX_PADDING))?;
            if part.is_empty() {
                break;
            }
            hash.update(&part);
            at += part.len() as u64;
        }
        let short: String = hash.finalize().to_hex().chars().take(16).collect();
        let log = self.form.name.as_str().rsplit('/').next().unwrap_or("log");
        self.form
            .keep
            .join(&format!("{log}-{:020}-{short}", self.end))
    }

    fn position(&self) -> LogPosition {
        LogPosition {
            commit: self.head.commit,
            byte: self.end,
        }
    }

    /// Appends one frame; it is durable, as far as the backend is, when this returns.
    ///
    /// `named_bytes` are the bytes of the objects this frame brings into the domain.
    ///
    /// # Errors
    /// `Refused` in [`Mode::Read`]; `Invalid` for a frame over 16 MiB; `Concurrent`, `Io`. After
    /// an error of the backend it is not known whether the frame is there, so every later append
    /// is refused until the log is opened again.
    pub fn append(
        &mut self,
        records: Vec<Value>,
        named_bytes: u64,
        relies: Vec<BlockId>,
    ) -> Result<(Frame, Head)> {
        if self.mode == Mode::Read {
            return Err(self.refuse("it was opened read-only"));
        }
        if let Some(earlier) = &self.broken {
            return Err(earlier.clone());
        }
        let frame = Frame {
            commit: self.head.commit,
            logseq: self.head.logseq,
            previous: self.head.frame,
            nonce: self.nonce,
            records,
            stored_bytes: self.head.stored_bytes.saturating_add(named_bytes),
            relies,
        };
        let (bytes, hash) = frame.encode(&self.form)?;
        let unit = u64::from(self.backend.append_unit().max(1));
        let begin = self.end.next_multiple_of(unit);
        let mut padded = vec![0; (begin - self.end) as usize];
        padded.extend_from_slice(&bytes);
        padded.resize(
            (padded.len() as u64 + self.end).next_multiple_of(unit) as usize - self.end as usize,
            0,
        );
        if let Err(e) = self
            .backend
            .append(&self.form.name, self.position(), &padded)
        {
            let later = "an append failed earlier and may be there in part";
            self.broken = Some(
                Error::new(
                    e.kind(),
                    "append to",
                    &self.form.name,
                    format!("{later}: {}", e.why()),
                )
                .next("open the domain again"),
            );
            return Err(e);
        }
        let head = self.after(&frame, hash, bytes.len());
        let end = self.end + padded.len() as u64;
        self.take(head, end);
        Ok((frame, head))
    }

    fn refuse(&self, why: &str) -> Error {
        Error::new(Kind::Refused, "append to", &self.form.name, why)
    }

    /// The log's head.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The head the log had after so many frames; `stored_bytes` is not kept and says 0.
    pub fn head_at(&self, commit: u64) -> Option<Head> {
        if commit == 0 {
            return Some(Head::empty());
        }
        let (frame, logseq) = self.marks.get(usize::try_from(commit - 1).ok()?)?;
        Some(Head {
            commit,
            logseq: LogSeq(*logseq),
            frame: *frame,
            stored_bytes: 0,
        })
    }

    /// Bytes of a torn tail that a writer would cut.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// What is wrong with the log; empty where nothing is.
    pub fn damage(&self) -> &[Error] {
        &self.damage
    }
}
