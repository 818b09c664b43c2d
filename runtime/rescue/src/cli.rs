//! The command line as one table: one noun for each concept of the source documents.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// ASL-HOST: storage becomes a domain, and a domain a participant.
#[derive(Parser)]
#[command(
    name = "asl-host",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(after_help = "\
Examples:
  asl-host rescue                                    save a broken machine's data
  asl-host init && asl-host serve                    lend space to others
  asl-host restore --domain alice --identity owner.txt --to /mnt/new

Exit codes: 0 done, 1 failed, 2 usage or no terminal, 3 refused by authority or lease,
4 damage, 5 sealed with holes, 6 concurrent writer, 130 interrupted.")]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Args, Clone)]
pub struct Common {
    /// Where this host keeps everything
    #[arg(
        long,
        global = true,
        env = "ASL_HOST_ROOT",
        default_value = "/asl-host",
        value_name = "DIR"
    )]
    pub root: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

/// The nouns.
#[derive(Subcommand)]
pub enum Command {
    /// Make the root: this machine's identity, its policy and the empty tree
    #[command(after_help = "Example:\n  asl-host init --root /srv/asl-host")]
    Init,
    /// Say what this host is and holds
    #[command(after_help = "Example:\n  asl-host status --json")]
    Status,
    /// Admit domains over the network until stopped
    #[command(after_help = "Example:\n  asl-host serve --listen 0.0.0.0:7643")]
    Serve(Serve),
    /// Save a machine's data, step by step or unattended
    #[command(after_help = "\
Examples:
  asl-host rescue
  asl-host rescue --profile profiles/demo.toml")]
    Rescue(Rescue),
    /// Create and show domains
    #[command(subcommand)]
    Domain(Domain),
    /// Make and check keys and the key stick
    #[command(subcommand)]
    Key(Key),
    /// Write, sign and check a Domain Authority Manifest
    #[command(subcommand)]
    Dam(Dam),
    /// Ask for, decide and apply admission
    #[command(subcommand)]
    Admission(Admission),
    /// Show the lease a domain holds
    #[command(subcommand)]
    Lease(Lease),
    /// Seal a directory tree into a domain
    #[command(after_help = "\
Example:
  asl-host ingest /mnt/victim --domain alice.personal --stick /mnt/keys")]
    Ingest(Ingest),
    /// Bring a sealed tree back
    #[command(after_help = "\
Example:
  asl-host restore --domain alice.personal --identity owner.txt --to /mnt/new")]
    Restore(Restore),
    /// Make and list snapshots
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Check the content log
    #[command(subcommand)]
    Log(Log),
    /// Check a domain: log, blocks, segments, snapshots
    #[command(after_help = "\
Examples:
  asl-host verify --domain alice.personal
  asl-host verify --domain alice.personal --identity owner.txt")]
    Verify(Verify),
    /// The short-lived child that holds the passphrase (used by the other commands)
    #[command(hide = true)]
    UnlockChild {
        /// The order, as hexadecimal CBOR
        order: String,
    },
}

#[derive(Args)]
pub struct Serve {
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:7643", value_name = "ADDR:PORT")]
    pub listen: String,
}

#[derive(Args)]
pub struct Rescue {
    /// Follow this profile instead of the image's, the stick's or the kernel command line's
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
}

/// Which domain.
#[derive(Args, Clone)]
pub struct WhichDomain {
    /// The domain: its label, label~hash or full hash; may be left out where there is one only
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
}

/// Where the seal credential comes from.
#[derive(Args, Clone)]
pub struct Unlock {
    /// The mounted key stick, or a directory that `key generate` made
    #[arg(long, value_name = "DIR")]
    pub stick: Option<PathBuf>,
    /// Read the passphrase from this file's first line instead of asking
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Whose a plain domain is.
#[derive(Args)]
pub struct PlainRoots {
    /// Root public keys (OpenSSH lines) of a plain domain
    #[arg(long, value_name = "FILE", requires = "plain")]
    pub roots: Option<PathBuf>,
    /// Make a root key for a plain domain and keep its secret in this new file
    #[arg(
        long,
        value_name = "FILE",
        requires = "plain",
        conflicts_with = "roots"
    )]
    pub new_root: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Domain {
    /// Make a domain on this host, from a DAM or as a plain local one
    #[command(after_help = "\
Examples:
  asl-host domain create --stick /mnt/keys
  asl-host domain create --label common --plain --new-root common-root.key")]
    Create {
        /// Take genesis, DAM and epoch files from this key stick
        #[arg(long, value_name = "DIR", conflicts_with_all = ["label", "plain"])]
        stick: Option<PathBuf>,
        /// Name of a new plain domain
        #[arg(long, requires = "plain")]
        label: Option<String>,
        /// Make a domain without encryption, for public artifacts
        #[arg(long, requires = "label")]
        plain: bool,
        #[command(flatten)]
        roots: PlainRoots,
    },
    /// Show a domain: state, lease, log head, snapshots
    #[command(after_help = "Example:\n  asl-host domain show --domain alice.personal")]
    Show {
        #[command(flatten)]
        which: WhichDomain,
    },
}

#[derive(Subcommand)]
pub enum Key {
    /// Make the owner's, root and operator keys, the first epoch and the locked seal credential
    #[command(after_help = "Example:\n  asl-host key generate --to my-keys")]
    Generate {
        /// A new directory for the keys
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Seal for this age recipient instead of making an owner's identity; may be repeated
        #[arg(long, value_name = "RECIPIENT")]
        owner: Vec<String>,
        /// Read the passphrase from this file's first line instead of asking
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Write the key stick: what the appliance needs, never the owner's secret
    #[command(after_help = "\
Example:
  asl-host key bundle --keys my-keys --to /mnt/stick \\
      --host 'home=192.0.2.7:7643=ssh-ed25519 AAAA...'")]
    Bundle {
        /// The directory that `key generate` and `dam create` filled
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The mounted stick
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// A host to ask: NAME=ADDRESS:PORT=PUBLIC-KEY; may be repeated
        #[arg(long, value_name = "HOST")]
        host: Vec<String>,
        /// A profile for the stick
        #[arg(long, value_name = "FILE")]
        profile: Option<PathBuf>,
    },
    /// Seal and open a probe with the owner's real key, and mark the keys as proven
    #[command(
        after_help = "Example:\n  asl-host key check --keys my-keys --identity my-keys/owner.txt"
    )]
    Check {
        /// The directory that `key generate` filled, or a mounted stick
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The owner's age identity file
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
        /// Read the passphrase from this file's first line instead of asking
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub enum Dam {
    /// Write an unsigned DAM with its genesis for a new domain
    #[command(
        after_help = "Example:\n  asl-host dam create --keys my-keys --label alice.personal"
    )]
    Create {
        /// The directory that `key generate` filled
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The new domain's name
        #[arg(long)]
        label: String,
        /// The DAM ends after this many days; without it, it does not end
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Sign the DAM with a root key
    #[command(after_help = "Example:\n  asl-host dam sign --keys my-keys")]
    Sign {
        /// The directory that holds dam.cbor
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The root key; root.key in the directory without it
        #[arg(long, value_name = "FILE")]
        root_key: Option<PathBuf>,
    },
    /// Check a DAM's signatures and say what it allows
    #[command(after_help = "Example:\n  asl-host dam verify --keys /mnt/stick")]
    Verify {
        /// A directory or stick with dam.cbor and dam.sig
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
    },
}

#[derive(Subcommand)]
pub enum Admission {
    /// Sign a request for a host
    #[command(after_help = "\
Example:
  asl-host admission request --stick /mnt/keys --host home --to /mnt/keys/mail/home")]
    Request {
        #[command(flatten)]
        unlock: Unlock,
        /// The host's name in hosts.toml
        #[arg(long)]
        host: String,
        /// Bytes wanted
        #[arg(long, default_value_t = 100 << 30)]
        bytes: u64,
        /// Days wanted
        #[arg(long, default_value_t = 30)]
        days: u32,
        /// A new directory for dam.cbor, dam.sig, admission-request.cbor and .sig
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Send a request to its host and write down the decision
    #[command(after_help = "\
Example:
  asl-host admission submit --stick /mnt/keys --host home --request /mnt/keys/mail/home")]
    Submit {
        /// The mounted key stick, for the host's address and pin
        #[arg(long, value_name = "DIR")]
        stick: PathBuf,
        /// The host's name in hosts.toml
        #[arg(long)]
        host: String,
        /// The directory of the request; the decision is written there
        #[arg(long, value_name = "DIR")]
        request: PathBuf,
        /// Seconds to wait
        #[arg(long, default_value_t = 30)]
        timeout: u64,
    },
    /// Decide a request that came as files
    #[command(after_help = "Example:\n  asl-host admission decide --request /mnt/stick/mail/home")]
    Decide {
        /// The directory of the request; the decision is written there
        #[arg(long, value_name = "DIR")]
        request: PathBuf,
    },
    /// Take a decision into the domain's records
    #[command(after_help = "\
Example:
  asl-host admission apply --stick /mnt/keys --host home --request /mnt/keys/mail/home")]
    Apply {
        #[command(flatten)]
        which: WhichDomain,
        /// The mounted key stick, for the host's pin
        #[arg(long, value_name = "DIR")]
        stick: PathBuf,
        /// The host's name in hosts.toml
        #[arg(long)]
        host: String,
        /// The directory with the request and its decision
        #[arg(long, value_name = "DIR")]
        request: PathBuf,
    },
}

#[derive(Subcommand)]
pub enum Lease {
    /// Show what a domain may still store, and until when
    #[command(after_help = "Example:\n  asl-host lease show --domain alice.personal")]
    Show {
        #[command(flatten)]
        which: WhichDomain,
    },
}

#[derive(Args)]
pub struct Ingest {
    /// The directory tree
    pub source: PathBuf,
    #[command(flatten)]
    pub which: WhichDomain,
    #[command(flatten)]
    pub unlock: Unlock,
    /// Do not read sealed blocks back from the medium afterwards (the snapshot records it)
    #[arg(long)]
    pub no_read_back: bool,
    /// Make a snapshot afterwards
    #[arg(long)]
    pub snapshot: bool,
}

#[derive(Args)]
pub struct Restore {
    #[command(flatten)]
    pub which: WhichDomain,
    /// The owner's age identity file; not needed for a plain domain
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The snapshot; the newest without it
    #[arg(long)]
    pub snapshot: Option<String>,
    /// An empty or new directory
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

#[derive(Subcommand)]
pub enum Snapshot {
    /// Make a snapshot of what is sealed
    #[command(after_help = "Example:\n  asl-host snapshot create --stick /mnt/keys")]
    Create {
        #[command(flatten)]
        which: WhichDomain,
        #[command(flatten)]
        unlock: Unlock,
        /// Do not read the blocks back from the medium first
        #[arg(long)]
        no_read_back: bool,
    },
    /// List snapshots
    #[command(after_help = "Example:\n  asl-host snapshot list --domain alice.personal --json")]
    List {
        #[command(flatten)]
        which: WhichDomain,
    },
}

#[derive(Subcommand)]
pub enum Log {
    /// Check every frame of the content log and say its head
    #[command(after_help = "Example:\n  asl-host log verify --domain alice.personal")]
    Verify {
        #[command(flatten)]
        which: WhichDomain,
    },
}

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    pub which: WhichDomain,
    /// The owner's age identity file: also open every block and check every piece
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}
