//! What seals: `ingest` and `snapshot`.

use super::{Unlock, WhichDomain};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args)]
pub struct Ingest {
    /// The directory tree
    pub source: PathBuf,
    #[command(flatten)]
    pub which: WhichDomain,
    #[command(flatten)]
    pub unlock: Unlock,
    /// Do not read sealed blocks back from the medium afterwards (the snapshot records it)
    #[arg(long)]
    pub no_read_back: bool,
    /// Make a snapshot afterwards
    #[arg(long)]
    pub snapshot: bool,
}

#[derive(Subcommand)]
pub enum Snapshot {
    /// Make a snapshot of what is sealed
    #[command(after_help = "Example:\n  asl-host snapshot create --stick /mnt/keys")]
    Create {
        #[command(flatten)]
        which: WhichDomain,
        #[command(flatten)]
        unlock: Unlock,
        /// Do not read the blocks back from the medium first
        #[arg(long)]
        no_read_back: bool,
    },
    /// List snapshots
    #[command(after_help = "Example:\n  asl-host snapshot list --domain alice.personal --json")]
    List {
        #[command(flatten)]
        which: WhichDomain,
    },
}
