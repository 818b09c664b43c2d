//! What reads everything: `restore`.

use super::Sealed;
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
