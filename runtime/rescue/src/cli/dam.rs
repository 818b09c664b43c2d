//! `dam` and `revocation`: what the root keys sign.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum Dam {
    /// Write an unsigned DAM: the first one with its genesis for a new domain, or the next one
    #[command(after_help = "\
Examples:
  asl-host dam create --keys my-keys --label alice.personal
  asl-host dam create --keys my-keys --label club --root-pub a/root.pub --root-pub b/root.pub \\
      --root-pub c/root.pub --threshold 2
  asl-host dam create --keys my-keys --next --days 365
  asl-host dam create --keys my-keys --next --root-pub new/root.pub
  asl-host dam create --keys my-keys --next --operator bob.pub=admit-request,revoke-device

The next DAM keeps root keys, threshold, outcomes and peers of the one in force where nothing else
is said. Operators are those of operator.pub and those named here.")]
    Create(DamCreate),
    /// Sign the DAM with a root key; several holders sign in turn, each on a machine of their own
    #[command(after_help = "\
Examples:
  asl-host dam sign --keys my-keys
  asl-host dam sign --keys /mnt/stick --root-key ~/.ssh/id_ed25519

Who holds one of several root keys needs only dam.cbor and dam.sig, in any directory: carry these
from holder to holder. Each adds a signature to dam.sig; the command says how many are missing.")]
    Sign {
        /// The directory that holds dam.cbor
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The root key: of `key generate` or `key root`, or an OpenSSH key; root.key in the
        /// directory without it
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
    /// Take up the DAM that follows the one in force here, with its epochs and revocations
    #[command(after_help = "\
Examples:
  asl-host dam apply --keys /mnt/stick
  asl-host dam apply --keys /mnt/mail --root /srv/asl-host

On the machine where the domain is at home it needs the new stick or the key directory: the epochs'
files come with it. A host that keeps a copy needs dam.cbor and dam.sig alone. What is applied
already changes nothing; after a power cut run it again.")]
    Apply {
        /// A key directory, a mounted stick, or a directory with dam.cbor and dam.sig
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
    },
}

#[derive(Args)]
pub struct DamCreate {
    /// The directory that `key generate` filled
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// The new domain's name
    #[arg(long, required_unless_present = "next", conflicts_with = "next")]
    pub label: Option<String>,
    /// The DAM that follows the one in force, of the same domain; the old one is kept
    #[arg(long)]
    pub next: bool,
    /// The DAM ends after this many days; without it, it does not end
    #[arg(long, value_name = "DAYS")]
    pub days: Option<u32>,
    /// Public root keys that sign from now on, in place of all others; may be repeated
    #[arg(long, value_name = "FILE")]
    pub root_pub: Vec<PathBuf>,
    /// How many of the root keys must sign
    #[arg(long, value_name = "N")]
    pub threshold: Option<u8>,
    /// Another operator's public key, and what it may sign where that is not the usual:
    /// FILE=VERB,VERB; may be repeated
    #[arg(long, value_name = "FILE[=VERBS]")]
    pub operator: Vec<String>,
    /// A host trusted for rehydration, by its public key; may be repeated, replaces all others
    #[arg(long, value_name = "FILE")]
    pub peer: Vec<PathBuf>,
    /// An outcome of admission that the domain can live with; may be repeated
    #[arg(long, value_name = "ACCEPTED|ACCEPTED_LIMITED")]
    pub accept: Vec<String>,
}

#[derive(Subcommand)]
pub enum Revocation {
    /// Write an unsigned revocation into the key directory
    #[command(after_help = "\
Examples:
  asl-host revocation create operator old-operator.pub --keys my-keys --reason 'stick stolen'
  asl-host revocation create device /asl-host/domains/NAME/auth/device.pub --keys my-keys \\
      --reason 'machine seized'
  asl-host revocation create snapshot .../snap-000002/manifest.cbor --keys my-keys --reason wrong

A revocation counts for ever. What it says: operator, nothing that key signed counts; device,
the same for a session's key; root, it signs nothing more; admission, the host takes no more;
snapshot, nobody should restore it; peer, that host is not trusted.")]
    Create {
        /// operator, device, root, admission, snapshot or peer
        kind: String,
        /// Which: a public key file, an admission-request.cbor, a manifest.cbor, or 64 hex digits
        what: String,
        /// The directory that `key generate` filled
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// Why, for those who read it one day
        #[arg(long)]
        reason: String,
    },
    /// Sign the newest revocation in turn, with a root key or as the operator
    #[command(after_help = "\
Examples:
  asl-host revocation sign --keys my-keys
  asl-host revocation sign --keys my-keys --number 2 --root-key /mnt/b/root.key
  asl-host revocation sign --keys my-keys --as-operator")]
    Sign {
        /// The directory with dam.cbor and revocations/
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// Which; the newest without it
        #[arg(long)]
        number: Option<u64>,
        /// The root key; root.key in the directory without it
        #[arg(long, value_name = "FILE", conflicts_with = "as_operator")]
        root_key: Option<PathBuf>,
        /// Sign with the operator's key, which is under the passphrase
        #[arg(long)]
        as_operator: bool,
        /// Read the passphrase from this file's first line instead of asking
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Take up what is revoked, from a stick or a directory
    #[command(after_help = "\
Examples:
  asl-host revocation apply --keys /mnt/stick
  asl-host revocation apply --keys /mnt/mail --root /srv/asl-host")]
    Apply {
        /// A key directory, a mounted stick, or a directory with dam.cbor and revocations/
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
    },
    /// List what is revoked in a domain here
    #[command(after_help = "Example:\n  asl-host revocation list --domain alice.personal")]
    List {
        #[command(flatten)]
        which: super::WhichDomain,
    },
}
