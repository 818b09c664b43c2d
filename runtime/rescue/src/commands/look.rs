//! `ls`, `find` and `cat`: a look into a sealed domain, reading only what is asked for.

use super::entry::{type_of, Printer};
use super::sealed::{open_sealed, Opened, Place};
use super::{DAMAGE, SEALED_WITH_HOLES};
use crate::cli::{Cat, Find, Ls};
use crate::lines::Lines;
use crate::names::shown;
use crate::out::{remark, Out};
use asl_core::codec::{Entry, EntryKind, Root};
use asl_core::{Error, Kind, Result};
use asl_ingest::{list, open_at, read_file, Listed};
use serde_json::json;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

pub fn ls(root: &Path, args: &Ls, out: Out) -> Result<ExitCode> {
    let opened = open_sealed(root, &args.sealed)?;
    let places = opened.places(args.path.as_bytes())?;
    let mut printer = Printer::new(out, args.long, args.null);
    let several = places.len() > 1;
    let done = places.iter().try_fold(Told::default(), |told, place| {
        let root = open_at(&opened.handle, &place.root, &place.path)?;
        let listed = list(&opened.handle, &root, &mut |path, entry| {
            let is_dir = entry.kind == EntryKind::Directory;
            // The top stands for itself where it is no directory, or one of several sources.
            if !path.is_empty() || several || !is_dir {
                let own = if path.is_empty() {
                    place.number.as_bytes()
                } else {
                    &entry.name
                };
                let name = if own.is_empty() { &entry.name } else { own };
                printer.entry(place, path, name, entry)?;
            }
            Ok(path.is_empty() && !several)
        })?;
        Ok(told.and(place, &listed))
    });
    end(printer.lines, done)
}

pub fn find(root: &Path, args: &Find, out: Out) -> Result<ExitCode> {
    let opened = open_sealed(root, &args.sealed)?;
    let places = opened.places(args.path.as_bytes())?;
    let wanted = Wanted::of(args);
    let mut printer = Printer::new(out, args.long, args.null);
    let done = places.iter().try_fold(Told::default(), |told, place| {
        let root = open_at(&opened.handle, &place.root, &place.path)?;
        let listed = list(&opened.handle, &root, &mut |path, entry| {
            if crate::system::stopped() {
                return Err(Error::new(
                    Kind::Interrupted,
                    "search",
                    "the snapshot",
                    "it was interrupted",
                ));
            }
            if wanted.fits(entry) {
                let whole = place.path_of(path);
                let name = if whole.is_empty() {
                    b"."
                } else {
                    whole.as_slice()
                };
                printer.entry(place, path, name, entry)?;
            }
            Ok(true)
        })?;
        Ok(told.and(place, &listed))
    });
    end(printer.lines, done)
}

/// Damage met while listing.
#[derive(Default)]
struct Told(Vec<String>, u64);

impl Told {
    fn and(mut self, place: &Place<'_>, listed: &Listed) -> Told {
        let line =
            |p: &asl_core::codec::Problem| format!("{}: {}", shown(&place.path_of(&p.path)), p.why);
        self.0.extend(listed.problems.iter().map(line));
        self.1 += listed.problem_count;
        self
    }
}

/// Ends a listing: what could not be listed is told, and is damage.
fn end(lines: Lines, done: Result<Told>) -> Result<ExitCode> {
    match lines.end(done)? {
        Some(Told(damage, count)) if count > 0 => {
            for line in &damage {
                remark(&format!("DAMAGE: {line}"));
            }
            remark(&format!(
                "  next: run `asl-host verify`; {count} directories are not listed whole"
            ));
            Ok(ExitCode::from(DAMAGE))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// What `find` looks for.
struct Wanted<'a> {
    args: &'a Find,
    name: Option<Vec<u8>>,
}

impl<'a> Wanted<'a> {
    fn of(args: &'a Find) -> Self {
        let cased = |glob: &std::ffi::OsString| match args.ignore_case {
            true => glob.as_bytes().to_ascii_lowercase(),
            false => glob.as_bytes().to_vec(),
        };
        Wanted {
            args,
            name: args.name.as_ref().map(cased),
        }
    }

    fn fits(&self, entry: &Entry) -> bool {
        let args = self.args;
        let named = self
            .name
            .as_ref()
            .is_none_or(|glob| match args.ignore_case {
                true => fast_glob::glob_match(glob, entry.name.to_ascii_lowercase()),
                false => fast_glob::glob_match(glob, &entry.name),
            });
        let size = entry.content.map_or(0, |c| c.size);
        let is_file = entry.kind == EntryKind::File;
        let at = entry.meta.mtime_s;
        named
            && args.kind.is_none_or(|kind| kind == type_of(entry).0)
            && args.larger.is_none_or(|n| is_file && size > n)
            && args.smaller.is_none_or(|n| is_file && size < n)
            && args.newer.is_none_or(|t| at >= t)
            && args.older.is_none_or(|t| at < t)
    }
}

pub fn cat(root: &Path, args: &Cat, out: Out) -> Result<ExitCode> {
    let opened = open_sealed(root, &args.sealed)?;
    let path = args.path.as_bytes();
    let file = one_file(&opened, path)?;
    let unread = file.top.content.is_none();
    let mut lines = Lines::new(out);
    let json = lines.is_json();
    let done = match unread {
        true => Ok(()),
        // With --json the bytes are read and checked, and not printed.
        false => read_file(&opened.handle, &file.top, &mut |bytes| match json {
            true => Ok(()),
            false => lines.raw(bytes),
        }),
    };
    if lines.end(done)?.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut holes: Vec<&str> = file.problems.iter().map(|p| p.why.as_str()).collect();
    if unread && holes.is_empty() {
        holes.push("its content could not be read when it was sealed");
    }
    let untold = file.problem_count - file.problems.len() as u64;
    if json {
        let object = json!({
            "path": String::from_utf8_lossy(path),
            "bytes": file.top.content.map_or(0, |c| c.size),
            "checked": !unread,
            "holes": holes,
            "problems_not_told": untold,
        });
        out.result("", &object)?;
    }
    for why in &holes {
        out.note(&format!(
            "asl-host: {} was sealed with holes: {why}",
            shown(path)
        ));
        out.note("  next: look for it in another snapshot, or in another copy of the source");
    }
    if untold > 0 {
        out.note(&format!("note: {untold} problems of this root are counted and not told; some may be of this file"));
    }
    Ok(ExitCode::from(if holes.is_empty() {
        0
    } else {
        SEALED_WITH_HOLES
    }))
}

/// The file at a path, as the top of a root with its own problems.
fn one_file(opened: &Opened, path: &[u8]) -> Result<Root> {
    let no = |why: &str, next: &str| {
        Err(Error::new(Kind::Invalid, "print", shown(path), why).next(next))
    };
    let places = opened.places(path)?;
    let [place] = places.as_slice() else {
        return no(
            "it is the top of several sources",
            "list it with `asl-host ls`",
        );
    };
    let root = open_at(&opened.handle, &place.root, &place.path)?;
    match &root.top.kind {
        EntryKind::File => Ok(root),
        EntryKind::Directory => no(
            "it is a directory",
            "list it with `asl-host ls`, or bring it back with `asl-host restore --path`",
        ),
        EntryKind::Symlink(target) => no(
            &format!("it is a symbolic link to {}", shown(target)),
            "links are not followed: name where it leads",
        ),
        _ => no(
            "it is a device, a pipe or a socket",
            "only files have bytes",
        ),
    }
}
