//! `policy`: the keeper's rules.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum Policy {
    /// Read a host-policy and name the line of a mistake
    #[command(after_help = "\
Examples:
  asl-host policy check
  asl-host policy check my-policy.toml && cp my-policy.toml /asl-host/host/host-policy")]
    Check {
        /// A file; without it, the host-policy of this host
        #[arg(value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Say what would be decided on a request now, which rule decides, and why the others do not
    #[command(after_help = "\
Example:
  asl-host policy explain /mnt/stick/mail/home

Nothing is decided or recorded. A request that was decided already keeps its decision; this says
what a new one like it would get.")]
    Explain {
        /// The directory of a request
        #[arg(value_name = "REQUEST")]
        request: PathBuf,
    },
}
