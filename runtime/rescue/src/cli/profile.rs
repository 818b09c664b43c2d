//! `profile`: what an appliance would do.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum Profile {
    /// Read a profile and say whether an appliance can follow it
    #[command(after_help = "\
Examples:
  asl-host profile check /mnt/keys/asl-keys/profile.toml
  asl-host profile check unattended")]
    Check {
        /// A file, or the name of a profile that comes with this program
        #[arg(value_name = "FILE|NAME")]
        profile: PathBuf,
    },
    /// Say which profile is in force and why, and what each of its fields does
    #[command(after_help = "\
Examples:
  asl-host profile explain
  asl-host profile explain --stick /mnt/keys
  asl-host profile explain courtesy-online")]
    Explain {
        /// A file or a name; without it, what this boot and the key stick say
        #[arg(value_name = "FILE|NAME")]
        profile: Option<PathBuf>,
        /// The mounted key stick, which may bring a profile
        #[arg(long, value_name = "DIR", conflicts_with = "profile")]
        stick: Option<PathBuf>,
    },
}
