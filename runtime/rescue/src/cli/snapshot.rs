//! `snapshot`: states that are kept.

use super::{Unlock, WhichDomain};
use asl_core::SnapshotId;
use clap::Subcommand;
use std::path::PathBuf;

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
    /// Say what a snapshot's manifest says, and whose word it is; needs no key
    #[command(after_help = "\
Examples:
  asl-host snapshot show
  asl-host snapshot show snap-000002 --json")]
    Show {
        /// The snapshot; the newest without it
        snapshot: Option<SnapshotId>,
        #[command(flatten)]
        which: WhichDomain,
    },
    /// Say how two snapshots differ: roots and blocks, with the identity the paths too
    #[command(after_help = "\
Examples:
  asl-host snapshot diff snap-000001 snap-000002
  asl-host snapshot diff 1 2 --identity owner.txt

With the identity: + added, - removed, M other content, m other metadata only. With --json each
line is one object, the numbers first.")]
    Diff {
        /// The one before
        old: SnapshotId,
        /// The one after
        new: SnapshotId,
        #[command(flatten)]
        which: WhichDomain,
        /// The owner's age identity file: also compare the paths
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Keep a snapshot whatever comes
    #[command(
        after_help = "Example:\n  asl-host snapshot pin snap-000001 --why 'before the repair'"
    )]
    Pin {
        /// The snapshot
        snapshot: SnapshotId,
        #[command(flatten)]
        which: WhichDomain,
        /// The reason, for who comes later
        #[arg(
            long,
            default_value = "",
            hide_default_value = true,
            value_name = "TEXT"
        )]
        why: String,
    },
    /// Keep a snapshot no longer
    #[command(after_help = "Example:\n  asl-host snapshot unpin snap-000001")]
    Unpin {
        /// The snapshot
        snapshot: SnapshotId,
        #[command(flatten)]
        which: WhichDomain,
    },
    /// Keep snapshots no longer; `gc` then frees what only they reached
    #[command(after_help = "\
Examples:
  asl-host snapshot forget snap-000001 snap-000002
  asl-host snapshot forget --keep-last 7 --identity owner.txt && asl-host gc

A pinned snapshot and the newest are never forgotten. With the owner's identity (a plain
domain needs none) also those roots are let go that a newer root of the same source has
replaced and no kept snapshot shows.")]
    Forget {
        /// The snapshots
        #[arg(required_unless_present = "keep_last", conflicts_with = "keep_last")]
        snapshots: Vec<SnapshotId>,
        /// Forget all but the last so many, and the pinned ones
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        keep_last: Option<u32>,
        #[command(flatten)]
        which: WhichDomain,
        /// The owner's age identity file
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
}
