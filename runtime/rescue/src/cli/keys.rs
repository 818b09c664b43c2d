//! `key`: what an owner does at home.

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
    /// Make a root key of its own, for one of several holders
    #[command(after_help = "\
Examples:
  asl-host key root --to bobs-root
  asl-host dam create --keys my-keys --next --root-pub my-keys/root.pub \\
      --root-pub bobs-root/root.pub --threshold 2")]
    Root {
        /// A new directory for root.key and root.pub
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Begin a new epoch, after a stick was stolen: new keys to seal, a new operator, a new passphrase
    #[command(after_help = "\
Example:
  asl-host key new-epoch --keys my-keys
  asl-host dam create --keys my-keys --next
  asl-host dam sign --keys my-keys
  asl-host key check --keys my-keys --identity owner.txt
  asl-host key bundle --keys my-keys --to /mnt/new-stick
  asl-host dam apply --keys /mnt/new-stick

What was sealed before stays readable with the owner's key. Until the new DAM is applied where
the domain is at home, the old stick still seals.")]
    NewEpoch {
        /// The directory that `key generate` filled
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// Use this OpenSSH or root-like key as the new operator's instead of making one
        #[arg(long, value_name = "FILE")]
        operator_key: Option<PathBuf>,
        /// Read the new passphrase from this file's first line instead of asking
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Wrap all epochs anew for other owner's keys: one small file for each epoch
    #[command(after_help = "\
Examples:
  asl-host key rewrap --keys my-keys --identity owner.txt --add age1...
  asl-host key rewrap --keys my-keys --identity new.txt --remove age1...

Then write, sign and apply the next DAM, as after `key new-epoch`. Who is removed can still open
what was sealed so far with an old copy of the epoch's file: after a theft begin a new epoch too.")]
    Rewrap {
        /// The directory that `key generate` filled
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// An identity of an owner that opens the epochs now
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
        /// A recipient to add; may be repeated
        #[arg(long, value_name = "RECIPIENT")]
        add: Vec<String>,
        /// A recipient to take away; may be repeated
        #[arg(long, value_name = "RECIPIENT")]
        remove: Vec<String>,
    },
    /// Print the owner's card: fingerprints as words, what opens what, how to get data back
    #[command(after_help = "\
Examples:
  asl-host key card --keys my-keys | lp
  asl-host key card --keys my-keys --with-owner-identity my-keys/owner.txt
  asl-host key card --keys my-keys --with-owner-identity my-keys/owner.txt --split 2of3 --to shares
  asl-host key card --join share-1.txt share-3.txt --to owner.txt

A share by itself opens nothing. Each says what is lost for ever if too many are lost.")]
    Card(KeyCard),
}

#[derive(Args)]
pub struct KeyCard {
    /// A key directory, or a mounted stick
    #[arg(long, value_name = "DIR", required_unless_present = "join")]
    pub keys: Option<PathBuf>,
    /// Print the owner's secret too, from this file, to be typed back one day
    #[arg(long, value_name = "FILE")]
    pub with_owner_identity: Option<PathBuf>,
    /// Split the owner's secret: so many shares of so many give it back, as 2of3
    #[arg(long, value_name = "KofN", requires_all = ["with_owner_identity", "to"])]
    pub split: Option<crate::commands::keys::split::Plan>,
    /// Join shares, from the files they were printed from or typed into
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "to", conflicts_with_all = ["keys", "split"])]
    pub join: Vec<PathBuf>,
    /// A new directory for the shares, or a new file for the joined identity
    #[arg(long, value_name = "PATH")]
    pub to: Option<PathBuf>,
}

#[derive(Args)]
pub struct KeyGenerate {
    /// A new directory for the keys
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Seal for this age recipient instead of making an owner's identity; may be repeated
    #[arg(long, value_name = "RECIPIENT")]
    pub owner: Vec<String>,
    /// Use this OpenSSH or root-like key as the operator's instead of making one
    #[arg(long, value_name = "FILE")]
    pub operator_key: Option<PathBuf>,
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
