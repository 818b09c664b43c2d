//! Looking into a stored tree: one path of it, the entries below it, one file's bytes.

use crate::problems::Problems;
use crate::read::{BlobReader, Part, TreeReader};
use crate::walk::{read_root, shown, walk, Visitor};
use crate::{PieceStore, PAGE};
use asl_core::codec::{blob_key, Entry, EntryKind, Problem, Root};
use asl_core::{ChunkId, Error, Kind, Result};

/// Zeros handed on at once.
static ZEROS: [u8; 16 * PAGE] = [0; 16 * PAGE];

/// Opens a root, or what lies at a path in it: the entry there becomes the root's top.
///
/// Only the directories on the way are read, each as far as the name. The problems are those of
/// what lies there, by paths below it; `problem_count` also counts the ones that the root does not
/// tell. Entries and bytes stay those of the whole root, as bounds.
///
/// # Errors
/// `NotFound` where there is no such path, `Invalid` for a path that leaves the tree, `Damage`
/// where a directory on the way cannot be read, and the store's.
pub fn open_at(store: &dyn PieceStore, root: &ChunkId, path: &[u8]) -> Result<Root> {
    let mut root = read_root(store, root)?;
    let mut way: Vec<u8> = Vec::new();
    let names = path.split(|b| *b == b'/');
    for name in names.filter(|n| !n.is_empty() && *n != b".") {
        if name == b".." {
            return Err(Error::new(
                Kind::Invalid,
                "look up",
                shown(path),
                "it goes up with `..`",
            )
            .next("name what you mean from the top of the tree"));
        }
        root.top = step(store, &root.top, name, &way)?;
        if !way.is_empty() {
            way.push(b'/');
        }
        way.extend_from_slice(name);
    }
    let untold = root
        .problem_count
        .saturating_sub(root.problems.len() as u64);
    let told = std::mem::take(&mut root.problems);
    root.problems = told.into_iter().filter_map(|p| below(p, &way)).collect();
    root.problem_count = untold.saturating_add(root.problems.len() as u64);
    Ok(root)
}

/// The problem by its path below a place; `None` where it is elsewhere.
fn below(mut problem: Problem, way: &[u8]) -> Option<Problem> {
    if way.is_empty() {
        return Some(problem);
    }
    let rest = problem.path.strip_prefix(way)?;
    problem.path = match rest.split_first() {
        None => Vec::new(),
        Some((b'/', rest)) => rest.to_vec(),
        Some(_) => return None,
    };
    Some(problem)
}

/// The entry of a name in a directory.
fn step(store: &dyn PieceStore, dir: &Entry, name: &[u8], way: &[u8]) -> Result<Entry> {
    let no = |why: String| {
        let object = [way, name].join(&b'/');
        let object = object.strip_prefix(b"/").unwrap_or(&object);
        Error::new(Kind::NotFound, "look up", shown(object), why)
    };
    let list = "list what is there with `asl-host ls`";
    match &dir.kind {
        EntryKind::Directory => {}
        EntryKind::Symlink(target) => {
            let why = format!("{} is a symbolic link to {}", shown(way), shown(target));
            return Err(no(why).next("links are not followed: name where it leads"));
        }
        _ => return Err(no(format!("{} is no directory", shown(way))).next(list)),
    }
    let Some(blob) = dir.content else {
        let why = format!("{} could not be read when it was sealed", shown(way));
        return Err(no(why).next("look for it in another snapshot"));
    };
    let mut reader = TreeReader::new(store, blob);
    while let Some(entry) = reader.next()? {
        // Names stand in order.
        if entry.name.as_slice() >= name {
            if entry.name == name {
                return Ok(entry);
            }
            break;
        }
    }
    Err(no("there is no such entry".into()).next(list))
}

/// What a listing could not list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Directories that could not be listed whole, at most [`Root::PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many in all.
    pub problem_count: u64,
}

/// Lists the entries of a root, each directory before what is in it, in the order of their names.
///
/// The path is below the root's top and as bytes, empty for the top itself. Where `visit` answers
/// false for a directory, what is in it is passed over.
///
/// # Errors
/// Those of the store, `Damage` where the root is misshapen, and the visitor's own, which ends the
/// listing. A damaged directory is no error but told in the result.
pub fn list(
    store: &dyn PieceStore,
    root: &Root,
    visit: &mut dyn FnMut(&[u8], &Entry) -> Result<bool>,
) -> Result<Listed> {
    struct Lister<'v> {
        visit: &'v mut dyn FnMut(&[u8], &Entry) -> Result<bool>,
        problems: Problems,
    }
    impl Visitor for Lister<'_> {
        fn enter(&mut self, path: &[u8], entry: &Entry) -> Result<bool> {
            (self.visit)(path, entry)
        }
        fn leave(&mut self, _: &[u8], _: &Entry) -> Result<()> {
            Ok(())
        }
        fn leaf(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
            (self.visit)(path, entry).map(drop)
        }
        fn damage(&mut self, path: &[u8], error: Error) -> Result<()> {
            self.problems.add(path, &error.to_string());
            Ok(())
        }
    }
    let mut lister = Lister {
        visit,
        problems: Problems::default(),
    };
    walk(store, root, &mut lister)?;
    Ok(Listed {
        problem_count: lister.problems.count(),
        problems: lister.problems.into_kept(),
    })
}

/// Gives a file's bytes in their order, its holes as zeros; all of it is checked against its key
/// at the end.
///
/// # Errors
/// `Invalid` where the entry is no file with content, `Damage` at the first range that the store
/// cannot give, or where the bytes do not have their key; the store's, and those of `give`.
pub fn read_file(
    store: &dyn PieceStore,
    file: &Entry,
    give: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let blob = file.content.filter(|_| file.kind == EntryKind::File);
    let Some(blob) = blob else {
        let why = "it is no file with content";
        return Err(Error::new(Kind::Invalid, "read", shown(&file.name), why));
    };
    let damaged = |why: String| {
        Error::new(Kind::Damage, "read", shown(&file.name), why).next(
            "`asl-host restore --path` gives what is left of it, with zeros for the rest; \
             a holder of the domain may have the undamaged blocks",
        )
    };
    let mut hasher = blake3::Hasher::new();
    let mut reader = BlobReader::new(store, blob);
    let mut at = 0u64;
    while let Some(part) = reader.next()? {
        match part {
            Part::Data(bytes) => {
                hasher.update(&bytes);
                give(&bytes)?;
                at = at.saturating_add(bytes.len() as u64);
            }
            Part::Hole(mut left) => {
                at = at.saturating_add(left);
                while left > 0 {
                    let n = left.min(ZEROS.len() as u64);
                    let zeros = ZEROS.get(..n as usize).unwrap_or_default();
                    hasher.update(zeros);
                    give(zeros)?;
                    left -= n;
                }
            }
            Part::Lost(n, e) => {
                let last = at.saturating_add(n).saturating_sub(1);
                return Err(damaged(format!("bytes {at}-{last} are lost ({e})")));
            }
        }
    }
    if file.key == Some(blob_key(&hasher.finalize().into())) {
        return Ok(());
    }
    Err(damaged(
        "its bytes do not have the key they were stored under".into(),
    ))
}
