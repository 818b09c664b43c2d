//! `domain`: what makes and shows a domain.

use super::{WhichDomain, Why};
use clap::{Args, Subcommand};
use std::path::PathBuf;

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
    /// List the domains here: state, bytes, snapshots, lease left, last seen
    #[command(after_help = "Example:\n  asl-host domain list --json")]
    List,
    /// Show a domain: state, lease, log head, snapshots
    #[command(after_help = "Example:\n  asl-host domain show --domain alice.personal")]
    Show {
        #[command(flatten)]
        which: WhichDomain,
    },
    /// Take nothing more of a domain on this host, until it is resumed
    #[command(after_help = "\
Example:
  asl-host domain suspend --domain alice.personal --why 'sends garbage'

What is sealed stays and can be read. No request and no policy lifts it.")]
    Suspend {
        #[command(flatten)]
        which: WhichDomain,
        #[command(flatten)]
        why: Why,
    },
    /// Lift a suspension; a lease that ended meanwhile stays ended
    #[command(after_help = "Example:\n  asl-host domain resume --domain alice.personal")]
    Resume {
        #[command(flatten)]
        which: WhichDomain,
        #[command(flatten)]
        why: Why,
    },
    /// Refuse a domain on this host for good; its owner can still read what lies here
    #[command(after_help = "\
Example:
  asl-host domain revoke --domain alice.personal --for-good --why 'its key was stolen'")]
    Revoke {
        #[command(flatten)]
        which: WhichDomain,
        #[command(flatten)]
        why: Why,
        /// Say that you know: nothing lifts it
        #[arg(long)]
        for_good: bool,
    },
}
