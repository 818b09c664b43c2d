//! What reads and checks: `restore`, `log`, `verify`.

use super::WhichDomain;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args)]
pub struct Restore {
    #[command(flatten)]
    pub which: WhichDomain,
    /// The owner's age identity file; not needed for a plain domain
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The snapshot; the newest without it
    #[arg(long)]
    pub snapshot: Option<String>,
    /// An empty or new directory
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

#[derive(Subcommand)]
pub enum Log {
    /// Check every frame of the content log and say its head
    #[command(after_help = "Example:\n  asl-host log verify --domain alice.personal")]
    Verify {
        #[command(flatten)]
        which: WhichDomain,
    },
}

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    pub which: WhichDomain,
    /// The owner's age identity file: also open every block and check every piece
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}
