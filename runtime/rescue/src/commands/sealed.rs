//! A snapshot, opened: its roots, and what a path in it means.

use super::{keys, open_domain, open_handle};
use crate::cli::Sealed;
use asl_core::codec::Root;
use asl_core::{ChunkId, Error, Kind, Result, SnapshotId};
use asl_host::{Credentials, Domain, Purpose, StoreHandle};
use asl_store::Manifest;
use std::collections::BTreeMap;
use std::path::Path;

/// A snapshot that can be read.
pub struct Opened {
    pub handle: StoreHandle,
    pub snapshot: SnapshotId,
    pub roots: Vec<Source>,
}

/// The newest root of one source.
pub struct Source {
    /// The source's name, as it was given when it was sealed.
    pub name: Vec<u8>,
    pub root: ChunkId,
}

/// Where a path leads: a root, and the path below it.
pub struct Place<'a> {
    /// The source's name.
    pub source: &'a [u8],
    pub root: ChunkId,
    /// The number before its paths, where the snapshot has several sources; else empty.
    pub number: String,
    /// The path below the root.
    pub path: Vec<u8>,
}

impl Place<'_> {
    /// A path below this place, as it is said from the top of the snapshot.
    pub fn path_of(&self, below: &[u8]) -> Vec<u8> {
        let parts = [self.number.as_bytes(), &self.path, below];
        let parts: Vec<&[u8]> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        parts.join(&b'/')
    }
}

/// Opens a snapshot with what a person brought.
///
/// # Errors
/// `Refused` where the domain is encrypted and no identity is given; `NotFound` where there is no
/// such snapshot; those of the domain and of the identity.
pub fn open_sealed(root: &Path, sealed: &Sealed) -> Result<Opened> {
    let (root, domain) = open_domain(root, &sealed.which)?;
    let credentials = open_credentials(&domain, sealed.identity.as_deref())?;
    let handle = open_handle(&root, &domain, Purpose::Read, credentials)?;
    let (snapshot, manifest) = find_snapshot(&handle, sealed.snapshot)?;
    let roots = newest_roots(&handle, &manifest)?;
    Ok(Opened {
        handle,
        snapshot,
        roots,
    })
}

impl Opened {
    /// Where a path leads. With several sources, each is a directory `01`, `02` ... as `restore`
    /// makes them, and the top is all of them.
    ///
    /// # Errors
    /// `NotFound` where the first name is none of these.
    pub fn places(&self, path: &[u8]) -> Result<Vec<Place<'_>>> {
        let clean: Vec<&[u8]> = path
            .split(|b| *b == b'/')
            .filter(|n| !n.is_empty() && *n != b".")
            .collect();
        let numbered = |n: usize| format!("{:02}", n + 1);
        let sources = self.roots.iter().enumerate();
        match (self.roots.as_slice(), clean.split_first()) {
            ([one], _) => Ok(vec![one.place(String::new(), &clean)]),
            (_, None) => Ok(sources.map(|(n, s)| s.place(numbered(n), &[])).collect()),
            (_, Some((first, rest))) => {
                let mut found = sources.filter(|(n, _)| numbered(*n).as_bytes() == *first);
                let (n, source) = found.next().ok_or_else(|| {
                    let why = format!(
                        "the snapshot has {} sources, and the path does not begin with one",
                        self.roots.len()
                    );
                    Error::new(Kind::NotFound, "look up", crate::names::shown(path), why)
                        .next("`asl-host ls` lists them: a path begins with 01, 02 ...")
                })?;
                Ok(vec![source.place(numbered(n), rest)])
            }
        }
    }
}

impl Source {
    fn place(&self, number: String, path: &[&[u8]]) -> Place<'_> {
        Place {
            source: &self.name,
            root: self.root,
            number,
            path: path.join(&b'/'),
        }
    }
}

/// A snapshot and its manifest; the newest where none is named.
///
/// # Errors
/// `NotFound` where there is no such snapshot; `Damage` where its manifest cannot be read.
pub fn find_snapshot(
    handle: &StoreHandle,
    wanted: Option<SnapshotId>,
) -> Result<(SnapshotId, Manifest)> {
    let mut manifests = handle.manifests().into_iter();
    let found = match wanted {
        Some(id) => manifests.find(|(n, _)| *n == id),
        None => manifests.next_back(),
    };
    let missing = || {
        let object = wanted.map_or("a snapshot".into(), |id| id.to_string());
        let why = format!("there is no such snapshot in domain {}", handle.domain());
        Error::new(Kind::NotFound, "find", object, why)
            .next("list them with `asl-host snapshot list`")
    };
    let (id, manifest) = found.ok_or_else(missing)?;
    Ok((id, manifest?))
}

/// The newest root of each source in a snapshot, by the sources' names: a source that was sealed
/// again is there once.
///
/// # Errors
/// `Refused` where the key is not at hand; `Damage` where a root cannot be read.
pub fn newest_roots(handle: &StoreHandle, manifest: &Manifest) -> Result<Vec<Source>> {
    let mut newest: BTreeMap<Vec<u8>, ChunkId> = BTreeMap::new();
    let within = |id: &&ChunkId| manifest.roots.iter().any(|(root, _)| root == *id);
    for id in handle.current().root_order.iter().filter(within) {
        newest.insert(Root::decode(&handle.get_piece(id)?)?.source, *id);
    }
    let source = |(name, root)| Source { name, root };
    Ok(newest.into_iter().map(source).collect())
}

/// What opens a domain: nothing for a plain one, else the owner's identity.
///
/// # Errors
/// `Refused` where none is given for an encrypted domain; those of reading it.
pub fn open_credentials(domain: &Domain, identity: Option<&Path>) -> Result<Credentials> {
    if !domain.genesis().params.encrypted {
        return Ok(Credentials::None);
    }
    let path = identity.ok_or_else(|| {
        Error::new(
            Kind::Refused,
            "open",
            format!("domain {}", domain.id()),
            "it is sealed for its owner",
        )
        .next("bring the owner's identity file with --identity")
    })?;
    keys::read_identity(path).map(Credentials::Open)
}
