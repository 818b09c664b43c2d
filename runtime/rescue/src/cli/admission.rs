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
}
