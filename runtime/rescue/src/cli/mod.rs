//! The command line as one table: one noun for each concept of the source documents, its verbs in
//! a file of their own.

mod admission;
mod dam;
mod domain;
mod image;
mod keys;
mod log;
mod look;
mod open;
mod policy;
mod profile;
mod quarantine;
mod seal;
mod snapshot;
mod upkeep;
mod words;

pub use admission::{Admission, Decide, Lease, Why};
pub use dam::{Dam, DamCreate, Revocation};
pub use domain::{Domain, PlainRoots};
pub use image::Image;
pub use keys::{Key, KeyBundle, KeyCard, KeyGenerate, KeyHost};
pub use log::Log;
pub use look::{Cat, EntryType, Find, Ls, Sealed};
pub use open::Restore;
pub use policy::Policy;
pub use profile::Profile;
pub use quarantine::Quarantine;
pub use seal::Ingest;
pub use snapshot::Snapshot;
pub use upkeep::{Gc, Repair, Verify};
pub use words::{Completions, Man};

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
    #[command(after_help = "\
Examples:
  asl-host serve --listen 0.0.0.0:7643
  asl-host serve --listen 0.0.0.0:7643 --metrics --log json

A changed host-policy is taken up at once; one with a mistake is told, and the old one stays.")]
    Serve(Serve),
    /// Save a machine's data, step by step or unattended
    #[command(after_help = "\
Examples:
  asl-host rescue
  asl-host rescue --prepare
  asl-host rescue --profile profiles/demo.toml")]
    Rescue(Rescue),
    /// Create, list, show, suspend and revoke domains
    #[command(subcommand)]
    Domain(Domain),
    /// Make and check keys and the key stick
    #[command(subcommand)]
    Key(Key),
    /// Write, sign and check a Domain Authority Manifest
    #[command(subcommand)]
    Dam(Dam),
    /// Take back for ever what a key signed, an admission, a snapshot or a peer
    #[command(subcommand)]
    Revocation(Revocation),
    /// Ask for, decide, list, apply and take back admission
    #[command(subcommand)]
    Admission(Admission),
    /// Show and change the leases that domains hold
    #[command(subcommand)]
    Lease(Lease),
    /// Look at what was refused or put aside, hand it out, or let it go
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Check the rules by which this host admits, and explain what they say to a request
    #[command(subcommand)]
    Policy(Policy),
    /// Seal a directory tree into a domain
    #[command(after_help = "\
Examples:
  asl-host ingest /mnt/victim --domain alice.personal --stick /mnt/keys
  asl-host ingest /mnt/victim --stick /mnt/keys --snapshot --commits --json

With --json and --commits each commit is one object on a line of its own, the result the last.")]
    Ingest(Ingest),
    /// Bring a sealed tree back
    #[command(after_help = "\
Examples:
  asl-host restore --domain alice.personal --identity owner.txt --to /mnt/new
  asl-host restore --path home/alice --identity owner.txt --to /mnt/alice")]
    Restore(Restore),
    /// List a directory of a sealed tree
    #[command(after_help = "\
Examples:
  asl-host ls --domain alice.personal --identity owner.txt
  asl-host ls -l home/alice --identity owner.txt --snapshot snap-000002

With --json each entry is one object on a line of its own.")]
    Ls(Ls),
    /// Find entries of a sealed tree
    #[command(after_help = "\
Examples:
  asl-host find --name '*.jpg' -i --larger 1M --identity owner.txt
  asl-host find home/alice --type file --newer 2026-01-31 -0 --identity owner.txt

With --json each entry is one object on a line of its own.")]
    Find(Find),
    /// Print a file of a sealed tree, reading only the blocks that hold it
    #[command(after_help = "\
Example:
  asl-host cat home/alice/letter.txt --identity owner.txt > letter.txt

What is damaged ends it with exit code 4, what was sealed with holes with 5; a hole prints as
zeros. With --json the file is read and checked, and what it is is printed instead of its bytes.")]
    Cat(Cat),
    /// Make, show, compare and keep snapshots
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Show and check the content log
    #[command(subcommand)]
    Log(Log),
    /// Check and explain what an appliance does by itself and what it asks
    #[command(subcommand)]
    Profile(Profile),
    /// Check a domain: log, blocks, segments, snapshots
    #[command(after_help = "\
Examples:
  asl-host verify --domain alice.personal
  asl-host verify --domain alice.personal --identity owner.txt
  asl-host verify --sample 5%

Without --data and --identity: every file against its digest, and nothing is opened. Ends with exit
code 4 where something is damaged.")]
    Verify(Verify),
    /// Make good what can be made good from what is here, and say what is lost
    #[command(after_help = "\
Examples:
  asl-host repair --domain alice.personal
  asl-host repair --identity owner.txt --json

What is replaced, and blocks that are not what was written, go to store/quarantine/. Lost blocks are
sealed again by the next ingest of the same data. Ends with exit code 4 where something stays lost.")]
    Repair(Repair),
    /// Free what no root and no snapshot reaches; needs no key
    #[command(after_help = "\
Examples:
  asl-host gc --dry-run
  asl-host snapshot forget --keep-last 7 && asl-host gc")]
    Gc(Gc),
    /// Check the boot medium
    #[command(subcommand)]
    Image(Image),
    /// Print the manual page of a command, or write all of them
    #[command(after_help = "\
Examples:
  asl-host man snapshot diff | man -l -
  asl-host man --to /usr/local/share/man/man1")]
    Man(Man),
    /// Print the completions for a shell
    #[command(after_help = "\
Example:
  asl-host completions bash > /etc/bash_completion.d/asl-host")]
    Completions(Completions),
    /// The short-lived child that holds the passphrase (used by the other commands)
    #[command(hide = true)]
    UnlockChild {
        /// The order, as hexadecimal CBOR
        order: String,
    },
}

impl Command {
    /// Whether it frees room, or says who may use it: then it is to work on a full medium too.
    pub fn works_when_full(&self) -> bool {
        match self {
            Command::Gc(_) | Command::Repair(_) | Command::Admission(_) | Command::Lease(_) => true,
            Command::Domain(verb) => matches!(
                verb,
                Domain::Suspend { .. } | Domain::Resume { .. } | Domain::Revoke { .. }
            ),
            Command::Snapshot(verb) => matches!(
                verb,
                Snapshot::Forget { .. } | Snapshot::Pin { .. } | Snapshot::Unpin { .. }
            ),
            _ => false,
        }
    }
}

#[derive(Args)]
pub struct Serve {
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:7643", value_name = "ADDR:PORT")]
    pub listen: String,
    /// Give metrics in the Prometheus text format at http://ADDR:PORT/metrics, without TLS
    #[arg(long, num_args = 0..=1, default_missing_value = "127.0.0.1:7644", value_name = "ADDR:PORT")]
    pub metrics: Option<String>,
    /// How what happens is told on standard error: as text, as JSON lines, or not
    #[arg(long, value_enum, default_value_t = LogForm::Text)]
    pub log: LogForm,
}

/// How a serving host tells what happens.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogForm {
    /// Lines for a person; none with --json.
    Text,
    /// One JSON object a line.
    Json,
    /// Nothing.
    None,
}

#[derive(Args)]
pub struct Rescue {
    /// Follow this profile instead of the image's, the stick's or the kernel command line's
    #[arg(long, value_name = "FILE|NAME")]
    pub profile: Option<PathBuf>,
    /// Prepare at home: make keys, pin a host, write the key stick, print the card
    #[arg(long, conflicts_with = "profile")]
    pub prepare: bool,
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
