//! The host contract of seed 000: named bytes, put if absent, an atomic append, barriers.
//!
//! [`Backend`] is what a store needs from the place it lies in. This floor knows no meaning of any
//! byte, no keys and no states (architecture.md, "The floors").

mod contract;
mod name;

pub use contract::{Backend, Durability, LogPosition, Space, WriterLock};
pub use name::Name;
