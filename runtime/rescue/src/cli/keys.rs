//! `key` and `dam`: what an owner does at home.

use clap::Subcommand;
use std::path::PathBuf;

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
