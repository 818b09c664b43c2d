//! Quarantine: what was refused or put aside, with its reason and its evidence (seed 002, section
//! 15). Nothing here is read as a domain's, executes or publishes; a keeper looks at it, takes it
//! out, or lets it go.

use crate::admission::Recorded;
use crate::audit::Audit;
use crate::root::{Context, HostRoot};
use asl_backend::disk::Entry;
use asl_backend::files;
use asl_core::{Digest, DomainId, Error, Kind, Result};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Where repair puts what it replaces, below a domain.
const REPLACED: &str = "store/quarantine";

/// Where a log's torn tail is kept, below a domain.
const CUT_TAILS: &str = "log/cut-tails";

/// Bytes of one piece of evidence at most: a sealed block, or what stood behind a log's end.
const LONGEST: u64 = 1 << 30;

/// Why something lies in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A petition that was rejected, in the decision's words.
    Rejected(String),
    /// An object of a store that a repair replaced or set aside.
    Replaced,
    /// Bytes behind the last whole frame of a log.
    CutTail,
    /// Something that no asl-host puts here.
    Unknown,
}

impl Reason {
    /// The reason as a person reads it.
    pub fn words(&self) -> String {
        match self {
            Reason::Rejected(why) => format!("rejected: {why}"),
            Reason::Replaced => "not what was written, or replaced by a repair".into(),
            Reason::CutTail => "behind the last whole frame of a log".into(),
            Reason::Unknown => "not put here by asl-host".into(),
        }
    }

    /// The reason as a script reads it.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::Rejected(_) => "rejected-admission",
            Reason::Replaced => "replaced",
            Reason::CutTail => "cut-tail",
            Reason::Unknown => "unknown",
        }
    }
}

/// One thing in quarantine: a file, or a directory of files.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its name: as it lies in the root's quarantine, or `DOMAIN/NAME` of what is a domain's.
    pub name: String,
    /// The domain it was taken from; a rejected petition's is proven by nothing and not told here.
    pub domain: Option<DomainId>,
    /// Why it is here.
    pub reason: Reason,
    /// Where it lies.
    pub path: PathBuf,
    /// Its files below `path` with their bytes; of a single file one, without a name.
    pub files: Vec<(String, u64)>,
}

impl Held {
    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Each file's path and digest: the evidence, to be shown and handed to a third party.
    ///
    /// # Errors
    /// `NotFound` where it went meanwhile; `Io`; `Invalid` for more than 1 GiB.
    pub fn digests(&self) -> Result<Vec<(PathBuf, Digest)>> {
        let one = |path: PathBuf| {
            let digest = Digest::of(&files::read_limited(&path, LONGEST)?);
            Ok((path, digest))
        };
        self.paths().map(one).collect()
    }

    /// The paths of its files.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.files.iter().map(|(name, _)| match name.as_str() {
            "" => self.path.clone(),
            name => self.path.join(name),
        })
    }

    /// Takes it out of the quarantine for good, told by the audit log before it goes.
    ///
    /// # Errors
    /// `Io`; what was removed by then stays removed.
    pub fn remove(&self, root: &HostRoot, context: &Context, act: &str) -> Result<()> {
        let told = json!({ "by": "the keeper", "name": self.name, "bytes": self.bytes(),
            "why": self.reason.words() });
        Audit::at(root.layout().audit()).note(context, act, told)?;
        for path in self.paths() {
            files::remove(&path)?;
        }
        match files::look(&self.path)? {
            Some(Entry::Dir) => files::remove_dir(&self.path),
            _ => Ok(()),
        }
    }
}

/// All that lies in quarantine: the host's own first, then each domain's, by name.
///
/// # Errors
/// `Io`. A domain whose records are damaged is looked at all the same.
pub fn all(root: &HostRoot) -> Result<Vec<Held>> {
    let layout = root.layout();
    let mut found = within(&layout.quarantine(), None, |path| {
        match Recorded::read(path, 0) {
            Ok(recorded) => Reason::Rejected(recorded.decision.reason),
            Err(_) => Reason::Unknown,
        }
    })?;
    for id in root.domains()? {
        let dir = layout.domain(&id);
        found.extend(within(&dir.join(REPLACED), Some(&id), |_| {
            Reason::Replaced
        })?);
        found.extend(within(&dir.join(CUT_TAILS), Some(&id), |_| {
            Reason::CutTail
        })?);
    }
    Ok(found)
}

/// The one thing in quarantine that a name means, or the beginning of one.
///
/// # Errors
/// `NotFound`; `Usage` where several begin so; those of [`all`].
pub fn find(root: &HostRoot, wanted: &str) -> Result<Held> {
    let mut fitting: Vec<Held> = all(root)?;
    if let Some(at) = fitting.iter().position(|held| held.name == wanted) {
        return Ok(fitting.swap_remove(at));
    }
    fitting.retain(|held| !wanted.is_empty() && held.name.starts_with(wanted));
    match (fitting.pop(), fitting.len()) {
        (Some(held), 0) => Ok(held),
        (None, _) => Err(Error::new(
            Kind::NotFound,
            "find in quarantine",
            wanted,
            "nothing there has that name",
        )
        .next("see `asl-host quarantine list`")),
        (Some(_), more) => Err(Error::new(
            Kind::Usage,
            "choose in quarantine",
            wanted,
            format!("{} names begin so", more + 1),
        )
        .next("give more of the name")),
    }
}

/// What lies in one directory; nothing where it is missing.
fn within(
    dir: &Path,
    domain: Option<&DomainId>,
    reason: impl Fn(&Path) -> Reason,
) -> Result<Vec<Held>> {
    let names = match files::names(dir) {
        Err(e) if e.kind() == Kind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    let mut found = Vec::new();
    for name in names {
        let path = dir.join(&name);
        let files = match files::look(&path)? {
            Some(Entry::File(bytes)) => vec![(String::new(), bytes)],
            Some(Entry::Dir) => plain_files(&path)?,
            // What is gone, or is no file of ours, is nothing to show.
            _ => continue,
        };
        found.push(Held {
            name: domain.map_or(name.clone(), |id| format!("{id}/{name}")),
            domain: domain.cloned(),
            reason: reason(&path),
            path,
            files,
        });
    }
    Ok(found)
}

fn plain_files(dir: &Path) -> Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for name in files::names(dir)? {
        if let Some(Entry::File(bytes)) = files::look(&dir.join(&name))? {
            found.push((name, bytes));
        }
    }
    Ok(found)
}
