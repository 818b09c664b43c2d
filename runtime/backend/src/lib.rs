//! The host contract of seed 000: named bytes, atomic append, snapshots.
