//! `key` and `dam`: what an owner does at home.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum Key {
    /// Make the owner's, root and operator keys, the first epoch and the locked seal credential
    #[command(after_help = "Example:\n  asl-host key generate --to my-keys")]
    Generate(KeyGenerate),
    /// Say what a stick or key directory holds, in words; needs no passphrase
    #[command(after_help = "Example:\n  asl-host key show --keys /mnt/stick")]
    Show {
        /// A key directory, or a mounted stick
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
    },
    /// Pin the hosts that will be asked for admission
    #[command(subcommand)]
    Host(KeyHost),
    /// Write the key stick: what the appliance needs, never the owner's secret
    #[command(after_help = "\
Examples:
  asl-host key bundle --keys my-keys --to /mnt/stick
  asl-host key bundle --keys my-keys --to /mnt/stick \\
      --host 'home=192.0.2.7:7643=ssh-ed25519 AAAA...'")]
    Bundle(KeyBundle),
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
    /// Print the owner's card: fingerprints as words, what opens what, how to get data back
    #[command(after_help = "\
Examples:
  asl-host key card --keys my-keys | lp
  asl-host key card --keys my-keys --with-owner-identity my-keys/owner.txt")]
    Card {
        /// A key directory, or a mounted stick
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// Print the owner's secret too, from this file, to be typed back one day
        #[arg(long, value_name = "FILE")]
        with_owner_identity: Option<PathBuf>,
    },
}

#[derive(Args)]
pub struct KeyGenerate {
    /// A new directory for the keys
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Seal for this age recipient instead of making an owner's identity; may be repeated
    #[arg(long, value_name = "RECIPIENT")]
    pub owner: Vec<String>,
    /// Read the passphrase from this file's first line instead of asking
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct KeyBundle {
    /// The directory that `key generate` and `dam create` filled
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// The mounted stick; one of the same domain is written anew
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// A host to ask, beside those of `key host add`: NAME=ADDRESS:PORT=PUBLIC-KEY; may be repeated
    #[arg(long, value_name = "HOST")]
    pub host: Vec<String>,
    /// A profile for the stick
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Put the owner's identity on the stick too: whoever holds it then reads everything
    #[arg(long, value_name = "FILE")]
    pub with_owner_identity: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum KeyHost {
    /// Pin a host by its key; its words are shown to be compared with the host's own
    #[command(after_help = "\
Example:
  asl-host key host add 'home=192.0.2.7:7643=ssh-ed25519 AAAA...' --keys my-keys")]
    Add {
        /// NAME=ADDRESS:PORT=PUBLIC-KEY, the key as `asl-host init` or `serve` says it
        host: String,
        /// A key directory, or a mounted stick
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
    },
    /// List the pinned hosts with their words
    #[command(after_help = "Example:\n  asl-host key host list --keys /mnt/stick")]
    List {
        /// A key directory, or a mounted stick
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
    },
    /// Take a pin away
    #[command(after_help = "Example:\n  asl-host key host remove home --keys my-keys")]
    Remove {
        /// The host's name
        name: String,
        /// A key directory, or a mounted stick
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
    },
}

#[derive(Subcommand)]
pub enum Dam {
    /// Write an unsigned DAM: the first one with its genesis for a new domain, or the next one
    #[command(after_help = "\
Examples:
  asl-host dam create --keys my-keys --label alice.personal
  asl-host dam create --keys my-keys --next --days 365")]
    Create {
        /// The directory that `key generate` filled
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The new domain's name
        #[arg(long, required_unless_present = "next", conflicts_with = "next")]
        label: Option<String>,
        /// The DAM that follows the one in force, of the same domain; the old one is kept
        #[arg(long)]
        next: bool,
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
    /// Say what a DAM says, whether or not it may be believed
    #[command(after_help = "Example:\n  asl-host dam show my-keys")]
    Show {
        /// A key directory, a mounted stick, or a dam.cbor with its dam.sig beside it
        #[arg(value_name = "DAM")]
        dam: PathBuf,
    },
    /// Check a DAM's signatures and say what it allows
    #[command(after_help = "Example:\n  asl-host dam verify --keys /mnt/stick")]
    Verify {
        /// A directory or stick with dam.cbor and dam.sig
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
    },
    /// Say what changed from one DAM to another, and whether the new one follows the old
    #[command(after_help = "Example:\n  asl-host dam diff my-keys/dam-1.cbor my-keys")]
    Diff {
        /// The old one: as `dam show` takes it
        old: PathBuf,
        /// The new one
        new: PathBuf,
    },
}
