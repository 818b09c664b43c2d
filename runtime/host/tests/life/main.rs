//! A domain's whole life on a simulated disk, held against a model of what was acknowledged
//! (reliability.md, P1, P3, P4 and P12).
//!
//! `verbs` are what may be done; `flows` are scripts of them; `model` is what was acknowledged, and
//! `judge` holds a disk against it. `power` takes the power, `faults` fails calls, `syncs` fails
//! syncs, `random` does anything in any order. The long forms are in `scripts/torture`;
//! ASL_FLOW takes the flows alone whose name has that in it, ASL_SEED one life of `random`.
//!
//! What it found, each mended where it lay:
//! - A pin, a decision or a lease whose record's sync failed was still in the cache: asked again,
//!   the host said "so it is already", and the power then took it. Records are settled before they
//!   are answered with ("pinned", sync 42; "admitted", sync 73).
//! - A name that a killed or failing writer left in the cache was answered with "it exists", and the
//!   power then took the root or the domain ("a host is made", call 99 of 99, NoSpace).
//! - A domain whose directory's name a failed sync had left in the cache was decided on and sealed to,
//!   and the power then took it whole ("admitted", sync 44).
//! - After the sync of `host/heads` failed, the same handle acknowledged a root ("the first seal").
//! - Lines of `seal.log` whose sync failed were believed at the next opening and so never written.
//! - A repair set a good block aside that could not be read once ("repaired", sync 9).
//! - An init that could not look at `host-id` took it for missing and replaced the host's key (seen
//!   while reading for it; the flow "a host is made twice" holds it).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;

mod faults;
mod flows;
mod judge;
mod model;
mod power;
mod random;
mod syncs;
mod verbs;
mod world;
