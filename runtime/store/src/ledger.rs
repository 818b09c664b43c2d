//! `log/seal.log`: a derived ledger of block and segment seals (formats.md, "Two logs").
//!
//! Lines of text, each with its own checksum, written after the commit they tell of. Evidence,
//! never truth: it can show that the log is too short, and nothing is ever read from it. It is
//! never shortened; lines that a crash kept from being written are added at the next opening.

use crate::log::{Evidence, Frame, Head};
use crate::record::{Record, RecordKind};
use asl_backend::{Backend, LogPosition, Name};
use asl_core::{FrameHash, Kind, LogSeq, Result, Value};
use std::collections::HashSet;
use std::sync::Arc;

/// A line's identity, short because only equality is asked.
type LineHash = [u8; 16];

fn hash(line: &str) -> LineHash {
    let mut short = [0; 16];
    blake3::Hasher::new()
        .update(line.as_bytes())
        .finalize_xof()
        .fill(&mut short);
    short
}

fn sign(line: String) -> String {
    let crc = crc32c::crc32c(line.as_bytes());
    format!("{line} {crc:08x}")
}

/// The lines that a commit calls for.
pub(crate) fn lines(frame: &Frame, head: &Head) -> Result<Vec<String>> {
    let commit = head.commit;
    let mut lines = Vec::new();
    for value in &frame.records {
        let sealed = [RecordKind::SealSegment as u8, RecordKind::Merge as u8].map(Value::from);
        let kind = value.as_map().and_then(|m| m.first()).map(|(_, kind)| kind);
        if !kind.is_some_and(|kind| sealed.contains(kind)) {
            continue;
        }
        let s = match Record::from_value(value.clone())? {
            Record::SealSegment(s) => {
                for (id, size) in &s.blocks {
                    lines.push(sign(format!("block {commit} {id} {size}")));
                }
                s
            }
            Record::Merge { segment, .. } => segment,
            _ => continue,
        };
        let (number, trust, file) = (s.number, s.trust, s.file);
        lines.push(sign(format!("segment {commit} {number} {trust} {file}")));
    }
    lines.push(head_line(head));
    Ok(lines)
}

fn head_line(head: &Head) -> String {
    sign(format!(
        "head {} {} {}",
        head.commit, head.logseq, head.frame
    ))
}

/// Has the ledger read from the medium from now on: lines whose sync failed may be in the cache alone,
/// and would never be written again.
///
/// # Errors
/// `Io` where what is in the cache cannot be made durable.
pub(crate) fn settle(backend: &dyn Backend, name: &Name) -> Result<()> {
    match backend.read_back(name) {
        Err(e) if e.kind() == Kind::NotFound => Ok(()),
        read => read.map(drop),
    }
}

/// Whether the ledger's line of this head ends at this byte, fill of the append unit apart.
///
/// # Errors
/// `Io`.
pub(crate) fn tells_of(backend: &dyn Backend, name: &Name, end: u64, head: &Head) -> Result<bool> {
    let line = format!("{}\n", head_line(head));
    let room = line.len() as u64 + u64::from(backend.append_unit().max(1));
    let before = match backend.get(name, end.saturating_sub(room)..end) {
        Err(e) if e.kind() == Kind::NotFound => return Ok(false),
        read => read?,
    };
    let whole = before.len() as u64 == end.min(room);
    let kept = before
        .iter()
        .rposition(|b| *b != b'\n')
        .map_or(0, |n| n + 2);
    let text = before.get(..kept.min(before.len())).unwrap_or_default();
    Ok(whole && text.ends_with(line.as_bytes()))
}

/// The ledger as it was found.
pub(crate) struct Ledger {
    backend: Arc<dyn Backend>,
    name: Name,
    held: HashSet<LineHash>,
    /// Lines that could not be written yet.
    owed: Vec<String>,
    heads: Vec<Head>,
    end: u64,
    ends_in_line: bool,
    /// Whether a whole line that is none follows the last head.
    spoiled: bool,
}

impl Ledger {
    /// Reads the ledger from a line's begin on; a missing one is empty, a line whose checksum fails
    /// is no line.
    pub(crate) fn read(backend: Arc<dyn Backend>, name: Name, from: u64) -> Result<Ledger> {
        let mut ledger = Ledger {
            backend,
            name,
            held: HashSet::new(),
            owed: Vec::new(),
            heads: Vec::new(),
            end: from,
            ends_in_line: false,
            spoiled: false,
        };
        let size = match ledger.backend.size(&ledger.name) {
            Err(e) if e.kind() == Kind::NotFound => return Ok(ledger),
            other => other?,
        };
        let mut rest = Vec::new();
        while ledger.end < size {
            let part = ledger
                .backend
                .get(&ledger.name, ledger.end..size.min(ledger.end + (1 << 20)))?;
            if part.is_empty() {
                break;
            }
            ledger.end += part.len() as u64;
            rest.extend_from_slice(&part);
            let whole = rest.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
            let lines: Vec<u8> = rest.drain(..whole).collect();
            for line in lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                ledger.spoiled |= !ledger.hold(line);
            }
            // No line is this long; what is, is not kept in memory.
            if rest.len() > 4096 {
                rest.truncate(1);
            }
        }
        ledger.ends_in_line = !rest.is_empty();
        ledger.hold(&rest);
        Ok(ledger)
    }

    /// Takes a line in; says whether it is one.
    fn hold(&mut self, line: &[u8]) -> bool {
        let Ok(line) = std::str::from_utf8(line) else {
            return false;
        };
        let Some((said, _)) = line.rsplit_once(' ') else {
            return false;
        };
        if sign(said.to_string()) != line {
            return false;
        }
        self.held.insert(hash(line));
        let mut words = said.split(' ');
        if words.next() != Some("head") {
            return true;
        }
        self.spoiled = false;
        let mut number = || words.next()?.parse::<u64>().ok();
        if let (Some(commit), Some(logseq)) = (number(), number()) {
            if let Some(Ok(frame)) = words.next().map(str::parse::<FrameHash>) {
                self.heads.push(Head {
                    commit,
                    logseq: LogSeq(logseq),
                    frame,
                    stored_bytes: 0,
                });
            }
        }
        true
    }

    /// Whether lines after the last head were changed, and not only owed or torn by a crash.
    pub(crate) fn is_spoiled(&self) -> bool {
        self.spoiled
    }

    /// What the ledger knows of the log.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = Evidence> + '_ {
        self.heads.iter().map(|head| Evidence {
            head: *head,
            from: self.name.to_string(),
        })
    }

    /// How far it reaches, where it lacks nothing that it should hold.
    pub(crate) fn complete(&self) -> Option<u64> {
        (self.owed.is_empty() && !self.ends_in_line).then_some(self.end)
    }

    /// Those of the lines that it does not hold.
    pub(crate) fn lacks(&self, lines: Vec<String>) -> Vec<String> {
        lines
            .into_iter()
            .filter(|l| !self.held.contains(&hash(l)))
            .collect()
    }

    /// Adds lines; those that cannot be written now are owed, and go with the next.
    pub(crate) fn add(&mut self, lines: Vec<String>, commit: u64) -> Result<()> {
        self.owed.extend(lines);
        if self.owed.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        // What a torn append left behind is closed, so that it spoils no line of ours.
        if self.ends_in_line {
            text.push('\n');
        }
        for line in &self.owed {
            text.push_str(line);
            text.push('\n');
        }
        let unit = u64::from(self.backend.append_unit().max(1));
        let end = (self.end + text.len() as u64).next_multiple_of(unit);
        let fill = end - self.end - text.len() as u64;
        text.extend(std::iter::repeat_n('\n', fill as usize));
        let at = LogPosition {
            commit,
            byte: self.end,
        };
        self.backend.append(&self.name, at, text.as_bytes())?;
        self.end = end;
        self.ends_in_line = false;
        self.owed.clear();
        Ok(())
    }
}
