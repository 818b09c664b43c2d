//! A log of commit frames: opened, checked against what is known of it, appended to.

use super::frame::{Found, Frame};
use super::scan::{Start, Window, MAX_PADDING};
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
    /// The head from which it was read; what lies before was not looked at.
    base: Head,
    /// Hash of each frame after the base, and records up to its end.
    marks: Vec<(FrameHash, u64)>,
    /// Where the head's frame begins.
    begin: u64,
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
        FrameLog::open_with(backend, form, lock, nonce, None, evidence, visit)
    }

    /// As [`FrameLog::open`], to be written where the writer lock is given: whoever gathers evidence
    /// takes the lock first, so that nothing changes in between.
    ///
    /// From a start the caller has found, only what follows is read, and evidence of what lies
    /// before it is not looked at.
    pub(crate) fn open_with(
        backend: Arc<dyn Backend>,
        form: LogForm,
        lock: Option<WriterLock>,
        nonce: [u8; 16],
        start: Option<Start>,
        evidence: &[Evidence],
        visit: &mut dyn FnMut(&Frame, &Head) -> Result<()>,
    ) -> Result<FrameLog> {
        let base = start.map_or(Head::empty(), |s| s.head);
        let mode = match lock {
            Some(_) => Mode::Write,
            None => Mode::Read,
        };
        let mut log = FrameLog {
            backend,
            form,
            mode,
            nonce,
            head: base,
            base,
            marks: Vec::new(),
            begin: start.map_or(0, |s| s.begin),
            end: start.map_or(0, |s| s.end),
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
                    let head = frame.head(hash, length);
                    visit(&frame, &head)?;
                    self.take(head, begin, begin + length as u64);
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
        if self.head.commit == 0 {
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

    fn take(&mut self, head: Head, begin: u64, end: u64) {
        self.marks.push((head.frame, head.logseq.0));
        self.head = head;
        self.begin = begin;
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
        if known.head.commit < self.base.commit {
            return;
        }
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
        let head = frame.head(hash, bytes.len());
        let end = self.end + padded.len() as u64;
        self.take(head, begin, end);
        Ok((frame, head))
    }

    fn refuse(&self, why: &str) -> Error {
        Error::new(Kind::Refused, "append to", &self.form.name, why)
    }

    /// The log's head.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Where the head's frame begins, and how far the log reaches.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.begin, self.end)
    }

    /// The head the log had after so many frames, as far as it was read; `stored_bytes` is not
    /// kept and says 0.
    pub fn head_at(&self, commit: u64) -> Option<Head> {
        let after = commit.checked_sub(self.base.commit)?;
        let Some(n) = after.checked_sub(1) else {
            return Some(Head {
                stored_bytes: 0,
                ..self.base
            });
        };
        let (frame, logseq) = self.marks.get(usize::try_from(n).ok()?)?;
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
