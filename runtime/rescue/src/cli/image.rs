//! The boot image: `image`.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum Image {
    /// Check the running appliance, or a medium, against what it was made as
    #[command(
        after_help = "\
Examples:
  asl-host image verify                     in the booted appliance
  asl-host image verify --medium /mnt       a mounted stick or ISO, from a healthy machine",
        long_about = "\
Check the running appliance, or a medium, against what it was made as.

Every file is compared with its hash in sysrescue.d/asl-image.json. In the booted appliance the
module and the root file system are read from where they are really mounted, and the files of
the module from where they are used.

This finds damage. It does not find an attacker: whoever can change a medium can change
asl-image.json too, and this program. Against that, check on a machine that you trust, and
compare the words with those that you wrote down when the image was made."
    )]
    Verify {
        /// Check this mounted stick or unpacked ISO instead of the running appliance
        #[arg(long, value_name = "DIR")]
        medium: Option<PathBuf>,
    },
}
