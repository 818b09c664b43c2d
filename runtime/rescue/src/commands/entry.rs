//! One entry of a sealed tree: a line for a person, an object for a script, or its bare path.

use super::sealed::Place;
use crate::cli::EntryType;
use crate::lines::Lines;
use crate::names::{self, shown};
use crate::out::{time, Out};
use asl_core::codec::{Entry, EntryKind};
use asl_core::Result;
use nix::sys::stat::{major, minor};
use serde_json::{json, Map, Value};

/// An entry's type: as it is asked for, as JSON spells it, as `ls -l` does.
pub fn type_of(entry: &Entry) -> (EntryType, &'static str, char) {
    match entry.kind {
        EntryKind::File => (EntryType::File, "file", '-'),
        EntryKind::Directory => (EntryType::Directory, "directory", 'd'),
        EntryKind::Symlink(_) => (EntryType::Symlink, "symlink", 'l'),
        EntryKind::CharDevice(_) => (EntryType::Char, "char", 'c'),
        EntryKind::BlockDevice(_) => (EntryType::Block, "block", 'b'),
        EntryKind::Fifo => (EntryType::Fifo, "fifo", 'p'),
        EntryKind::Socket => (EntryType::Socket, "socket", 's'),
    }
}

/// How entries are printed.
pub struct Printer {
    pub lines: Lines,
    long: bool,
    null: bool,
}

impl Printer {
    /// Short or long lines, or paths ended by NUL; objects where `out` asks for JSON.
    pub fn new(out: Out, long: bool, null: bool) -> Self {
        Printer {
            lines: Lines::new(out),
            long,
            null,
        }
    }

    /// Prints an entry: `path` is its path below the place, `name` what a line calls it.
    ///
    /// # Errors
    /// As [`Lines::text`].
    pub fn entry(
        &mut self,
        place: &Place<'_>,
        path: &[u8],
        name: &[u8],
        entry: &Entry,
    ) -> Result<()> {
        if self.lines.is_json() {
            let object = entry_object(&place.path_of(path), place.source, entry);
            return self.lines.object(&object);
        }
        if self.null {
            self.lines.raw(&place.path_of(path))?;
            return self.lines.raw(b"\0");
        }
        let mut line = shown(name);
        if self.long {
            line = format!("{} {line}", details(entry));
            if let EntryKind::Symlink(target) = &entry.kind {
                line.push_str(&format!(" -> {}", shown(target)));
            }
        }
        // The number alone would not say which disk it was.
        if path.is_empty() && name == place.number.as_bytes() {
            line.push_str(&format!("  ({})", shown(place.source)));
        }
        self.lines.text(&line)
    }
}

/// Mode, owner, group, size and time, as `ls -l` has them.
fn details(entry: &Entry) -> String {
    let m = &entry.meta;
    let owner = |name: &Option<Vec<u8>>, id: u32| match name {
        Some(name) => shown(name),
        None => id.to_string(),
    };
    let size = match (&entry.kind, entry.content) {
        (EntryKind::CharDevice(n) | EntryKind::BlockDevice(n), _) => {
            format!("{}, {}", major(*n), minor(*n))
        }
        (EntryKind::File, Some(content)) => content.size.to_string(),
        // Its content was not readable.
        (EntryKind::File, None) => "?".into(),
        _ => "-".into(),
    };
    format!(
        "{}{} {:8} {:8} {size:>12} {}",
        type_of(entry).2,
        mode_text(m.mode),
        owner(&m.user, m.uid),
        owner(&m.group, m.gid),
        time(m.mtime_s.saturating_mul(1_000_000_000)),
    )
}

/// Permission bits as `ls` writes them.
fn mode_text(mode: u32) -> String {
    let mut text = String::with_capacity(9);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn entry_object(path: &[u8], source: &[u8], entry: &Entry) -> Value {
    let m = &entry.meta;
    let mut object = Map::new();
    names::put(&mut object, "path", path);
    names::put(&mut object, "source", source);
    object.insert("type".into(), json!(type_of(entry).1));
    object.insert("mode".into(), json!(format!("{:04o}", m.mode)));
    object.insert("uid".into(), json!(m.uid));
    object.insert("gid".into(), json!(m.gid));
    for (key, name) in [("user", &m.user), ("group", &m.group)] {
        if let Some(name) = name {
            names::put(&mut object, key, name);
        }
    }
    object.insert("mtime_s".into(), json!(m.mtime_s));
    object.insert("mtime_ns".into(), json!(m.mtime_ns));
    match &entry.kind {
        EntryKind::File => {
            object.insert("size".into(), json!(entry.content.map(|c| c.size)));
        }
        EntryKind::Symlink(target) => names::put(&mut object, "target", target),
        EntryKind::CharDevice(n) | EntryKind::BlockDevice(n) => {
            object.insert("device".into(), json!([major(*n), minor(*n)]));
        }
        _ => {}
    }
    if let Some(key) = entry.key {
        object.insert("key".into(), json!(key.to_string()));
    }
    if let Some(number) = entry.hard_link {
        object.insert("hard_link".into(), json!(number));
    }
    Value::Object(object)
}
