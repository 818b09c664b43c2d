//! What reads and checks everything: `restore`, `verify`.

use super::{Sealed, WhichDomain};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Args)]
pub struct Restore {
    #[command(flatten)]
    pub sealed: Sealed,
    /// Only what lies at this path of the snapshot
    #[arg(long, default_value = "", hide_default_value = true)]
    pub path: OsString,
    /// An empty or new directory
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    pub which: WhichDomain,
    /// The owner's age identity file: also open every block and check every piece
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}
