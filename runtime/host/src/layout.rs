//! The tree of ENC-ASL-HOST/1: where everything lives below the root.
//!
//! This file names places; it reads and writes nothing but directories' existence.

use asl_core::{DomainId, KeyId};
use std::path::{Path, PathBuf};

/// The major version of the layout, in `host-id` and `domain.json`; an unknown one is refused.
pub const LAYOUT: u32 = 1;

/// Directories of a root (seed 003, section 2), parents first.
pub const ROOT_DIRS: [&str; 9] = [
    "host",
    "host/trusted-roots",
    "host/heads",
    "domains",
    "federation",
    "federation/peers",
    "federation/exports",
    "federation/imports",
    "quarantine",
];

/// Directories of a domain (seeds 002 and 003), parents first; the store adds its own below them.
pub const DOMAIN_DIRS: [&str; 22] = [
    "admission",
    "auth",
    "auth/operators",
    "auth/dams",
    "auth/delegations",
    "auth/revocations",
    "store",
    "store/blocks",
    "store/blocks/open",
    "store/blocks/sealed",
    "store/blocks/gc",
    "store/objects",
    "store/encryption",
    "index",
    "index/segments",
    "index/bloom",
    "index/tmp",
    "index/working",
    "log",
    "log/checkpoints",
    "snapshots",
    "snapshots/pinned",
];

/// Directories of a domain that may be emptied at any moment, and the leases.
pub const DOMAIN_DIRS_BESIDE: [&str; 2] = ["leases", "tmp"];

/// The places below a root.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout at this root.
    pub fn new(root: &Path) -> Self {
        Layout {
            root: root.to_path_buf(),
        }
    }

    /// The root itself, `/asl-host` by default.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The public record of this host.
    pub fn host_id(&self) -> PathBuf {
        self.root.join("host/host-id")
    }

    /// The host's key, 0600.
    pub fn identity_key(&self) -> PathBuf {
        self.root.join("host/identity.key")
    }

    /// The host's key on an appliance: sealed to the domain's index identity.
    pub fn identity_key_age(&self) -> PathBuf {
        self.root.join("host/identity.key.age")
    }

    /// The keeper's rules.
    pub fn host_policy(&self) -> PathBuf {
        self.root.join("host/host-policy")
    }

    /// Room that is kept back for what frees room.
    pub fn reserve(&self) -> PathBuf {
        self.root.join("host/reserve")
    }

    /// A file that is written only to see whether anything still fits.
    pub fn trial(&self) -> PathBuf {
        self.root.join("host/.new-trial")
    }

    /// Roots that the keeper trusts.
    pub fn trusted_roots(&self) -> PathBuf {
        self.root.join("host/trusted-roots")
    }

    /// The highest head of a domain's content log that was ever acknowledged here.
    pub fn head(&self, id: &DomainId) -> PathBuf {
        self.root.join("host/heads").join(id.to_string())
    }

    /// The highest head of a domain's host log that was ever written here; no domain's name ends
    /// so.
    pub fn host_head(&self, id: &DomainId) -> PathBuf {
        self.root.join("host/heads").join(format!("{id}.host"))
    }

    /// What the keeper's host decided and why, line by line.
    pub fn audit(&self) -> PathBuf {
        self.root.join("host/audit")
    }

    /// The directory that is held by who acts for this host alone: nothing of ours is ever written
    /// into it. Where a file system has no links, what is put into a directory holds that itself,
    /// and would wait for its own process for ever.
    pub fn turn(&self) -> PathBuf {
        self.trusted_roots()
    }

    /// All domains.
    pub fn domains(&self) -> PathBuf {
        self.root.join("domains")
    }

    /// One domain.
    pub fn domain(&self, id: &DomainId) -> PathBuf {
        self.domains().join(id.to_string())
    }

    /// What was refused, with its evidence.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }
}

/// The places of one domain, relative to its directory, where asl-host itself reads and writes.
pub mod domain {
    use super::{KeyId, PathBuf};

    /// The derived view.
    pub const DESCRIPTOR: &str = "domain.json";
    /// The host's own record of the domain.
    pub const HOST_LOG: &str = "log/host.log";
    /// The domain's history.
    pub const CONTENT_LOG: &str = "log/append.log";
    /// DAMs that came after the founding one, but for those of admissions.
    pub const DAMS: &str = "auth/dams";
    /// What is revoked.
    pub const REVOCATIONS: &str = "auth/revocations";
    /// The active lease's file name.
    pub const ACTIVE_LEASE: &str = "leases/active";

    /// The wrapped data identity of an epoch.
    pub fn epoch_identity(number: u32) -> String {
        format!("store/encryption/epoch-{number}.age")
    }

    /// The wrapped chunk-id and MAC keys of an epoch.
    pub fn epoch_keys(number: u32) -> String {
        format!("store/encryption/epoch-{number}.keys.age")
    }

    /// A delegation and its signature, by the device's fingerprint.
    pub fn delegation(device: &KeyId, extension: &str) -> PathBuf {
        PathBuf::from(format!("auth/delegations/{device}.{extension}"))
    }

    /// The directory of an admission's records: the first lies in `admission/` itself.
    pub fn admission(number: u32) -> PathBuf {
        match number {
            0 | 1 => PathBuf::from("admission"),
            n => PathBuf::from(format!("admission/{n:04}")),
        }
    }
}
