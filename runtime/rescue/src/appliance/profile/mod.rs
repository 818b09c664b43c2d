//! Profiles: what an appliance does by itself and what it asks (flows.md, "The appliance").
//!
//! Here is what a profile may say. A field that nothing honours is not in it, and is refused.

mod check;
mod explain;
mod find;

pub use check::parse;
pub use explain::fields;
pub use find::{chosen, in_force, named, Chosen};

use serde::Deserialize;
use std::path::PathBuf;

/// A profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What this machine is for.
    #[serde(default)]
    pub role: Role,
    /// Admits the example keys; counts only in a profile of the image.
    #[serde(default)]
    pub demo: bool,
    /// Whether questions may be asked.
    #[serde(default = "yes")]
    pub interactive: bool,
    /// Whether what is sealed must be encrypted.
    #[serde(default)]
    pub encryption: Encryption,
    /// The keyboard's layout, as `loadkeys` names it.
    pub keyboard: Option<String>,
    /// Consoles that may own the session, such as `ttyS0`; any where it is empty.
    #[serde(default)]
    pub consoles: Vec<String>,
    #[serde(default)]
    pub domain: Domain,
    #[serde(default)]
    pub keys: Keys,
    #[serde(default)]
    pub target: Target,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub admission: Admission,
    #[serde(default)]
    pub lease: Lease,
    #[serde(default)]
    pub ssh: Ssh,
    #[serde(default)]
    pub host: Host,
    #[serde(default)]
    pub end: End,
}

fn yes() -> bool {
    true
}

/// What a machine is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its data is saved.
    #[default]
    Rescue,
    /// It admits other domains.
    Host,
}

/// Whether what is sealed must be encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// It must; the appliance knows no other way.
    #[default]
    Required,
}

/// Which domains may be sealed into.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// The labels of the domains that the key stick may bring; any where it is empty.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// Where the keys and their passphrase are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// A directory; for a session that runs outside the appliance. A stick is found by its label.
    pub path: Option<PathBuf>,
    /// A file with the passphrase; on the appliance beneath `/run`, where nothing is kept.
    pub passphrase_file: Option<PathBuf>,
    /// The label of a second medium whose file `passphrase` holds it; never the key stick.
    pub passphrase_medium: Option<String>,
}

/// Where state may live.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The file system with this label.
    pub label: Option<String>,
    /// A directory; for a session that runs outside the appliance.
    pub path: Option<PathBuf>,
    /// Whether memory is offered too; it is taken only after a typed word.
    #[serde(default = "yes")]
    pub memory: bool,
}

impl Default for Target {
    fn default() -> Self {
        Target {
            label: None,
            path: None,
            memory: true,
        }
    }
}

/// What to seal.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// File systems with these labels, in this order.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Directories, in this order; for a session that runs outside the appliance.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
}

/// Whom to ask.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// The host's name in hosts.toml.
    pub host: Option<String>,
    /// Whether no host is asked, whatever the key stick names.
    #[serde(default)]
    pub offline: bool,
}

/// What to ask for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Bytes wanted.
    #[serde(default = "wanted_bytes")]
    pub bytes: u64,
    /// Days wanted.
    #[serde(default = "wanted_days")]
    pub days: u32,
    /// Whether the remote lease caps local sealing too.
    #[serde(default)]
    pub applies: Applies,
}

fn wanted_bytes() -> u64 {
    100_000_000_000
}

fn wanted_days() -> u32 {
    30
}

impl Default for Lease {
    fn default() -> Self {
        Lease {
            bytes: wanted_bytes(),
            days: wanted_days(),
            applies: Applies::Remote,
        }
    }
}

/// Where a lease counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Applies {
    /// At the host that granted it.
    #[default]
    Remote,
    /// There and here.
    Both,
}

/// Who may come in over the network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ssh {
    /// Lines as in `authorized_keys`; nobody where it is empty, and no port listens then.
    #[serde(default)]
    pub authorized_keys: Vec<String>,
}

/// How an admitting host serves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Address and port; the firewall is opened for this port only.
    #[serde(default = "everywhere")]
    pub listen: String,
    /// Root public keys, as OpenSSH lines, that the host's policy may admit.
    #[serde(default)]
    pub trusted_roots: Vec<String>,
}

fn everywhere() -> String {
    "0.0.0.0:7643".into()
}

impl Default for Host {
    fn default() -> Self {
        Host {
            listen: everywhere(),
            trusted_roots: Vec::new(),
        }
    }
}

/// What happens when all is snapshotted, or a host was stopped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    #[serde(default)]
    pub action: EndAction,
}

/// The ways to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndAction {
    /// Show the status and wait.
    #[default]
    Wait,
    /// Go to a shell.
    Shell,
    /// Power the machine off.
    Poweroff,
}

/// Where a profile came from, which decides whether its `demo` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The image, by the kernel command line.
    Image,
    /// A key stick, or a file named by hand.
    Stick,
}
