//! The root: one machine's identity, policy and domains (seed 003, sections 2 and 3).
//!
//! Crash rule: `host-id` is written last; a root without it does not exist and is made again. Two
//! processes that made one at once each wrote a key of their own, and one of them a `host-id` of
//! its own, which then was damage: so the host's turn is taken meanwhile.

use crate::layout::{Layout, LAYOUT, ROOT_DIRS};
use crate::time_text;
use asl_auth::{sealing, HostPolicy, IndexIdentity, PublicKey, SigningKey};
use asl_backend::{files, Limits};
use asl_core::{Digest, DomainHash, DomainId, Entropy, Error, HostClock, KeyId, Kind, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The clock and the randomness that the floors below the binary are given.
#[derive(Clone)]
pub struct Context {
    /// The host's clock.
    pub clock: Arc<dyn HostClock>,
    /// Randomness fit for keys.
    pub entropy: Arc<dyn Entropy>,
}

impl Context {
    /// Sixteen random bytes, for nonces.
    ///
    /// # Errors
    /// `Io` where the system has no randomness.
    pub fn nonce(&self) -> Result<[u8; 16]> {
        let mut nonce = [0; 16];
        self.entropy.fill(&mut nonce)?;
        Ok(nonce)
    }
}

/// `host/host-id`: the public record of this host.
#[derive(Serialize, Deserialize)]
struct HostRecord {
    layout: u32,
    host: String,
    public_key: String,
    created_at: String,
    /// The digest of the file that holds this host's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_file: Option<String>,
    /// The digest of the values before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

impl HostRecord {
    fn digest(&self) -> String {
        let key_file = self.key_file.clone().unwrap_or_default();
        let said = [&self.host, &self.public_key, &self.created_at, &key_file];
        let text: String = said.into_iter().flat_map(|t| [t.as_str(), "\n"]).collect();
        Digest::of(text.as_bytes()).to_string()
    }
}

/// What every version's `host-id` says.
#[derive(Deserialize)]
struct Major {
    layout: u32,
}

/// How the host's key is kept.
pub enum KeptKey<'a> {
    /// In clear, readable by root alone: a home server that must start by itself.
    Plain,
    /// Sealed to a domain's index identity: an appliance, whose disk a thief may take.
    SealedTo(&'a str),
}

/// An open root.
pub struct HostRoot {
    layout: Layout,
    public_key: PublicKey,
}

impl HostRoot {
    /// Makes a root with a new identity, or completes one that a crash left without `host-id`.
    ///
    /// # Errors
    /// `Exists` where a root is there; `Refused` where the file system could not keep what is
    /// acknowledged; `Io`.
    pub fn init(path: &Path, context: &Context, kept: KeptKey<'_>) -> Result<HostRoot> {
        let layout = Layout::new(path);
        let must_be_new = || match files::look(&layout.host_id())? {
            None => Ok(()),
            Some(_) => {
                files::settle(&layout.host_id())?;
                let why = "there is one already";
                Err(
                    Error::new(Kind::Exists, "make a root at", path.display(), why)
                        .next("look at it with `asl-host status`"),
                )
            }
        };
        must_be_new()?;
        for dir in std::iter::once("").chain(ROOT_DIRS) {
            files::make_dir(&path.join(dir))?;
        }
        // Of several who make it at once, one does; else the key of one would meet the host-id of
        // another.
        let _alone = files::hold(&layout.turn())?;
        must_be_new()?;
        Limits::probe(path)?.check()?;
        let key = SigningKey::generate(&*context.entropy)?;
        let secret = key.encode();
        // A crash may have left a key of the other form, which would be read as this host's.
        let key_file = match kept {
            KeptKey::Plain => {
                remove_leftover(&layout.identity_key_age())?;
                files::replace(&layout.identity_key(), &secret, 0o600)?;
                Digest::of(&secret)
            }
            KeptKey::SealedTo(recipient) => {
                let sealed = sealing::seal_to(&[recipient.parse()?], &secret)?;
                remove_leftover(&layout.identity_key())?;
                files::replace(&layout.identity_key_age(), &sealed, 0o600)?;
                Digest::of(&sealed)
            }
        };
        if files::look(&layout.host_policy())?.is_none() {
            files::write_new(
                &layout.host_policy(),
                asl_auth::policy::DEFAULT_POLICY.as_bytes(),
                0o600,
            )?;
        }
        let mut record = HostRecord {
            layout: LAYOUT,
            host: key.public().id().to_string(),
            public_key: key.public().to_openssh("asl-host"),
            created_at: time_text(context.clock.wall_ns()),
            key_file: Some(key_file.to_string()),
            check: None,
        };
        record.check = Some(record.digest());
        files::write_new(&layout.host_id(), &crate::json(&record)?, 0o644)?;
        Ok(HostRoot {
            layout,
            public_key: key.public(),
        })
    }

    /// Opens a root.
    ///
    /// # Errors
    /// `NotFound`, and `Invalid` where its layout is of an unknown major version.
    pub fn open(path: &Path) -> Result<HostRoot> {
        let layout = Layout::new(path);
        let bytes =
            files::read_limited(&layout.host_id(), 64 << 10).map_err(|e| match e.kind() {
                Kind::NotFound => Error::new(
                    Kind::NotFound,
                    "open the root",
                    path.display(),
                    "there is none",
                )
                .next("make one with `asl-host init`, or name another with --root"),
                _ => e,
            })?;
        let bad = |why: String| Error::new(Kind::Invalid, "open the root", path.display(), why);
        // The layout comes first: another major may hold quite another record.
        let major: Major =
            serde_json::from_slice(&bytes).map_err(|e| bad(format!("host-id: {e}")))?;
        if major.layout != LAYOUT {
            return Err(bad(format!(
                "its layout is {}, and this program knows {LAYOUT}",
                major.layout
            ))
            .next("use the version of asl-host that wrote it"));
        }
        let record: HostRecord =
            serde_json::from_slice(&bytes).map_err(|e| bad(format!("host-id: {e}")))?;
        let public_key = PublicKey::from_openssh(&record.public_key)?;
        Ok(HostRoot { layout, public_key })
    }

    /// Checks `host-id` and the file that holds this host's key against each other, as far as that
    /// needs no key; tells of what is not what was written.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn check_own(&self, tell: &mut dyn FnMut(&str, &str)) -> Result<()> {
        let bytes = files::read_limited(&self.layout.host_id(), 64 << 10)?;
        let read = serde_json::from_slice::<HostRecord>(&bytes).ok();
        let read = read.filter(|r| crate::json(r).is_ok_and(|same| same == bytes));
        let whole = |r: &HostRecord| {
            r.check.as_ref().is_none_or(|check| *check == r.digest())
                && r.host == self.id().to_string()
                && r.check.is_some() == r.key_file.is_some()
        };
        let Some(record) = read.filter(whole) else {
            tell("host/host-id", "it is not what was written");
            return Ok(());
        };
        let own = [
            ("host/identity.key", self.layout.identity_key()),
            ("host/identity.key.age", self.layout.identity_key_age()),
        ];
        let mut found = false;
        for (name, path) in own {
            let bytes = match files::read_limited(&path, 64 << 10) {
                Err(e) if e.kind() == Kind::NotFound => continue,
                read => Zeroizing::new(read?),
            };
            found = true;
            let named = record.key_file.as_ref();
            if named.is_some_and(|named| *named != Digest::of(&bytes).to_string()) {
                tell(name, "it is not the file that host-id names");
            }
        }
        if !found {
            tell("host/identity.key", "it is missing");
        }
        Ok(())
    }

    /// Where things are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// This host's public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// This host's fingerprint.
    pub fn id(&self) -> KeyId {
        self.public_key.id()
    }

    /// This host's key. An appliance's needs the index identity.
    ///
    /// # Errors
    /// `Refused` where the key is sealed and no identity is given; `Damage` where the key is not
    /// the one that `host-id` names.
    pub fn identity(&self, index: Option<&IndexIdentity>) -> Result<SigningKey> {
        let limit = 64 << 10;
        let secret = match files::read_limited(&self.layout.identity_key(), limit) {
            Ok(secret) => Zeroizing::new(secret),
            Err(e) if e.kind() != Kind::NotFound => return Err(e),
            Err(_) => {
                let sealed = files::read_limited(&self.layout.identity_key_age(), limit)?;
                let index = index.ok_or_else(|| {
                    Error::new(
                        Kind::Refused,
                        "use",
                        "this host's key",
                        "it is sealed to the domain",
                    )
                    .next("unlock the key stick first")
                })?;
                sealing::open_with(index, &sealed)?
            }
        };
        let key = SigningKey::decode(&secret)?;
        if key.public() != self.public_key {
            return Err(Error::new(
                Kind::Damage,
                "use",
                "this host's key",
                "host-id names another",
            )
            .next("restore host/ from a copy; a changed identity needs a new root"));
        }
        Ok(key)
    }

    /// The keeper's rules.
    ///
    /// # Errors
    /// `Invalid` with the line; `Io`.
    pub fn policy(&self) -> Result<HostPolicy> {
        HostRoot::policy_at(&self.layout.host_policy())
    }

    /// The host-policy in a file, wherever it lies.
    ///
    /// # Errors
    /// As [`HostRoot::policy`].
    pub fn policy_at(path: &Path) -> Result<HostPolicy> {
        let bytes = files::read_limited(path, 64 << 10)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::new(Kind::Invalid, "read", "host-policy", "it is not text"))?;
        HostPolicy::parse(&text)
    }

    /// The root keys that the keeper trusts, from every file in `trusted-roots/`.
    ///
    /// # Errors
    /// `Invalid` naming the file; `Io`.
    pub fn trusted_roots(&self) -> Result<Vec<PublicKey>> {
        let dir = self.layout.trusted_roots();
        let mut keys = Vec::new();
        for name in names_in(&dir)? {
            let path = dir.join(&name);
            let bytes = files::read_limited(&path, 64 << 10)?;
            let text = String::from_utf8_lossy(&bytes);
            let found = PublicKey::parse_file(&text)
                .map_err(|e| Error::new(Kind::Invalid, "read", path.display(), e.why()))?;
            keys.extend(found);
        }
        Ok(keys)
    }

    /// All domains, by directory name. What is not a domain's name is passed over.
    ///
    /// # Errors
    /// `Io`.
    pub fn domains(&self) -> Result<Vec<DomainId>> {
        let names = names_in(&self.layout.domains())?;
        Ok(names.iter().filter_map(|n| n.parse().ok()).collect())
    }

    /// Finds the domain a person means: label, label~hash, full hash, or the only one there is.
    ///
    /// # Errors
    /// `NotFound`, or `Usage` where the name is not unique.
    pub fn find(&self, wanted: Option<&str>) -> Result<DomainId> {
        let all = self.domains()?;
        let list = all
            .iter()
            .map(DomainId::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let matches = |id: &&DomainId| match wanted {
            None => true,
            Some(w) => {
                id.to_string() == w
                    || id.label().as_str() == w
                    || w.parse::<DomainHash>().is_ok_and(|hash| id.names(&hash))
            }
        };
        let mut found = all.iter().filter(matches);
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id.clone()),
            (Some(_), Some(_)) => Err(Error::new(Kind::Usage, "choose", "a domain", "several fit")
                .next(format!("name one with --domain: {list}"))),
            (None, _) => Err(Error::new(
                Kind::NotFound,
                "find domain",
                wanted.unwrap_or_default(),
                "there is none here of that name",
            )
            .next(if list.is_empty() {
                "make one with `asl-host domain create`".to_string()
            } else {
                format!("the domains here: {list}")
            })),
        }
    }
}

fn remove_leftover(path: &Path) -> Result<()> {
    match files::remove(path) {
        Err(e) if e.kind() == Kind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The names in a directory, sorted, dot names left out.
fn names_in(dir: &Path) -> Result<Vec<String>> {
    let mut names = files::names(dir)?;
    names.retain(|name| !name.starts_with('.'));
    Ok(names)
}
