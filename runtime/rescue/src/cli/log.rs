//! `log`: a domain's history.

use super::WhichDomain;
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Log {
    /// Say every record of the content log in words; needs no key
    #[command(after_help = "\
Examples:
  asl-host log show --domain alice.personal
  asl-host log show --from 120 --json

With --json each record is one object on a line of its own.")]
    Show {
        #[command(flatten)]
        which: WhichDomain,
        /// Begin with this record
        #[arg(long, value_name = "LOGSEQ", default_value_t = 0)]
        from: u64,
    },
    /// Check every frame of the content log and say its head
    #[command(after_help = "Example:\n  asl-host log verify --domain alice.personal")]
    Verify {
        #[command(flatten)]
        which: WhichDomain,
    },
}
