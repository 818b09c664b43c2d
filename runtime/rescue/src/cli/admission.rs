//! `admission` and `lease`.

use super::{Unlock, WhichDomain};
use asl_auth::AdmissionResult;
use clap::{ArgGroup, Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum Admission {
    /// Sign a request for a host
    #[command(after_help = "\
Examples:
  asl-host admission request --stick /mnt/keys --host home --to /mnt/keys/mail/home
  asl-host admission request --stick /mnt/keys --host home --qr")]
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
        #[arg(long, value_name = "DIR", required_unless_present = "qr")]
        to: Option<PathBuf>,
        /// Show the signed request as QR codes, for a telephone to carry to the host's keeper
        #[arg(long)]
        qr: bool,
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
    /// Decide a request that came as files or as a code, or one that waits
    #[command(after_help = "\
Examples:
  asl-host admission decide --request /mnt/stick/mail/home
  asl-host admission decide --code scanned.txt --dam /mnt/stick/asl-keys --to /mnt/stick/mail/home
  asl-host admission decide --domain alice.personal --outcome ACCEPTED_LIMITED")]
    Decide(Decide),
    /// List what was asked of this host, and of whom this host has asked
    #[command(after_help = "Example:\n  asl-host admission list --waiting")]
    List {
        /// Only those of this domain
        #[arg(long, value_name = "DOMAIN")]
        domain: Option<String>,
        /// Only those that wait for the keeper's decision
        #[arg(long)]
        waiting: bool,
    },
    /// Show an admission in words: request, decision, DAM
    #[command(after_help = "\
Examples:
  asl-host admission show --domain alice.personal
  asl-host admission show --request /mnt/stick/mail/home")]
    Show {
        #[command(flatten)]
        which: WhichDomain,
        /// Its number in `admission list`; without it the last one
        #[arg(long)]
        number: Option<u32>,
        /// Show the request in this directory instead of a recorded one
        #[arg(long, value_name = "DIR", conflicts_with_all = ["domain", "number"])]
        request: Option<PathBuf>,
    },
    /// Take an admission back: the lease ends, and the domain may ask anew
    #[command(after_help = "\
Example:
  asl-host admission invalidate --domain alice.personal --why 'asked for the wrong host'")]
    Invalidate {
        #[command(flatten)]
        which: WhichDomain,
        #[command(flatten)]
        why: Why,
    },
    /// Show who asked what of this host, when, and why it was decided so
    #[command(after_help = "\
Examples:
  asl-host admission log --last 20
  asl-host admission log --domain alice.personal --json

With --json each line is one object on a line of its own. Ends with exit code 4 where a line was
changed, cut or taken out.")]
    Log {
        /// Only lines about this domain: its label or label~hash
        #[arg(long, value_name = "DOMAIN")]
        domain: Option<String>,
        /// Only so many of the last
        #[arg(long, value_name = "N")]
        last: Option<usize>,
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

/// What is decided, and how.
#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["request", "code", "domain"])))]
pub struct Decide {
    /// The directory of the request; the decision is written there
    #[arg(long, value_name = "DIR")]
    pub request: Option<PathBuf>,
    /// The scanned parts of a code: as text, in a file, or on standard input (-)
    #[arg(long, value_name = "TEXT|FILE|-")]
    pub code: Option<String>,
    /// The domain whose request was DEFERRED and waits
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Decide so, instead of as host-policy says
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    pub outcome: Option<AdmissionResult>,
    /// A directory with the dam.cbor and dam.sig that the code's request names
    #[arg(long, value_name = "DIR", requires = "code")]
    pub dam: Option<PathBuf>,
    /// A directory for request and decision, to be carried back
    #[arg(long, value_name = "DIR", conflicts_with = "request")]
    pub to: Option<PathBuf>,
}

fn outcome(text: &str) -> Result<AdmissionResult, String> {
    text.parse()
        .map_err(|e: asl_core::Error| e.why().to_string())
}

/// A keeper's own reason.
#[derive(Args, Clone)]
pub struct Why {
    /// Why, for the audit log and for yourself; the domain is not told
    #[arg(long, default_value = "no reason given", value_name = "TEXT")]
    pub why: String,
}

/// What each change of a lease takes.
#[derive(Args, Clone)]
pub struct Change {
    #[command(flatten)]
    pub which: WhichDomain,
    #[command(flatten)]
    pub why: Why,
    /// A directory for request and decision, to be carried to the domain's home
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum Lease {
    /// Show what domains may still store, and until when; all of them where none is named
    #[command(after_help = "\
Examples:
  asl-host lease show
  asl-host lease show --domain alice.personal")]
    Show {
        #[command(flatten)]
        which: WhichDomain,
    },
    /// Lend to a domain that has asked, on your own terms
    #[command(after_help = "\
Example:
  asl-host lease grant --domain alice.personal --bytes 200GiB --days 90

The domain gets the decision when it sends its request again, or by --to.")]
    Grant {
        #[command(flatten)]
        change: Change,
        /// Bytes at most, such as 200GiB
        #[arg(long, value_parser = bytes)]
        bytes: u64,
        /// Days from now
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        days: u32,
        /// Snapshots at most
        #[arg(long, default_value_t = 64)]
        snapshots: u32,
    },
    /// Let a lease last longer; one that has expired runs again
    #[command(after_help = "Example:\n  asl-host lease renew --domain alice.personal --days 30")]
    Renew {
        #[command(flatten)]
        change: Change,
        /// Days from now
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        days: u32,
    },
    /// Lend fewer bytes; what is stored already stays
    #[command(
        after_help = "Example:\n  asl-host lease shrink --domain alice.personal --bytes 50GiB"
    )]
    Shrink {
        #[command(flatten)]
        change: Change,
        /// Bytes at most from now on, such as 50GiB
        #[arg(long, value_parser = bytes)]
        bytes: u64,
    },
    /// End a lease now: the domain is SUSPENDED until you lift that, and the grace begins
    #[command(
        after_help = "Example:\n  asl-host lease revoke --domain alice.personal --why 'the disk is full'"
    )]
    Revoke {
        #[command(flatten)]
        change: Change,
    },
}

/// A number of bytes, alone or with B, KiB, MiB, GiB or TiB.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let power = ["", "KiB", "MiB", "GiB", "TiB"]
        .iter()
        .position(|u| *u == unit.trim());
    let power = power.or((unit.trim() == "B").then_some(0));
    let scale = power
        .and_then(|p| u32::try_from(p).ok())
        .map(|p| 1024u64.pow(p));
    let read = scale.and_then(|scale| number.parse::<u64>().ok()?.checked_mul(scale));
    read.ok_or_else(|| "not a number of bytes, such as 1000000 or 200GiB".to_string())
}
