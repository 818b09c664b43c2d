//! What tests stand on in place of the world: a disk that loses power, a clock that is set by
//! hand, randomness from a seed.
//!
//! Used by tests only (architecture.md, "The floors").

mod clock;
mod entropy;
mod hostile;
mod memory;
mod sim;
mod torture;

pub use clock::FakeClock;
pub use entropy::{Random, SeededEntropy};
pub use hostile::{spoil, Decoder, Encode, Tried, MOST_HELD};
pub use memory::{most_held, Counted};
pub use sim::{Fault, Mount, SimDisk, SimFile};
pub use torture::{is_torture, torture_count};
