//! What seals: `ingest`.

use super::{Unlock, WhichDomain};
use clap::Args;
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
    /// Read every file again, also those that look as they did when they were sealed last
    #[arg(long)]
    pub no_cache: bool,
    /// Make a snapshot afterwards
    #[arg(long)]
    pub snapshot: bool,
    /// Print a line for each commit, as soon as what it holds is kept
    #[arg(long)]
    pub commits: bool,
}
