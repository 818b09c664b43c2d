//! `admission` and `lease`.

use super::{Unlock, WhichDomain};
use clap::Subcommand;
use std::path::PathBuf;

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
