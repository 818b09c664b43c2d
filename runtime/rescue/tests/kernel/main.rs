//! P2 and P6 of the design's reliability table, on real kernels: whatever ends a run, what was told
//! is there, and nothing is ever wedged.
//!
//! The real program works on real file systems and is killed, shut down, cut off from its disk's
//! cache, raced and filled up. `scripts/torture` runs the same with the counts of the table.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;
mod fills;
mod kills;
mod life;
mod races;
mod recorder;
mod shutdowns;
mod writes;
