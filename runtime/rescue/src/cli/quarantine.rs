//! `quarantine`.

use clap::{ArgGroup, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum Quarantine {
    /// List what was refused or put aside, and why
    #[command(after_help = "Example:\n  asl-host quarantine list --json")]
    List,
    /// Show one thing in quarantine: its reason, its files and their digests
    #[command(after_help = "\
Example:
  asl-host quarantine show admission-3f0d70f1")]
    Show {
        /// Its name, or the beginning of it
        name: String,
    },
    /// Hand one thing out of quarantine: copied to a new directory, compared, then gone from here
    #[command(after_help = "\
Example:
  asl-host quarantine release admission-3f0d70f1 --to /root/evidence

What is released is no part of any domain: `ingest` it to keep it, or hand it to whom it concerns. A
rejected petition may then be decided anew.")]
    Release {
        /// Its name, or the beginning of it
        name: String,
        /// A new directory for its files
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Remove things from quarantine for good
    #[command(
        group = ArgGroup::new("which").required(true),
        after_help = "\
Examples:
  asl-host quarantine purge admission-3f0d70f1
  asl-host quarantine purge --all --dry-run"
    )]
    Purge {
        /// Their names, or the beginnings of them
        #[arg(group = "which")]
        names: Vec<String>,
        /// Everything that is there
        #[arg(long, group = "which")]
        all: bool,
        /// Say what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}
