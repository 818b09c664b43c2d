//! The host contract of seed 000: named bytes, put if absent, an atomic append, barriers.
//!
//! [`Backend`] is what a store needs from the place it lies in. This floor knows no meaning of any
//! byte, no keys and no states (architecture.md, "The floors").
//!
//! [`PosixBackend`] is its form over a directory, through the narrow trait [`disk::Disk`] that
//! [`OsDisk`] implements and a simulator replaces. [`create_whole`] and [`files`] are for what a
//! host keeps outside a store location. [`Limits`] is what the file system below cannot do.

mod contract;
mod create;
pub mod disk;
pub mod errno;
pub mod files;
mod limits;
mod lines;
mod lock;
mod medium;
mod name;
mod os;
mod os_file;
mod posix;
#[cfg(feature = "stand-in")]
pub mod stand_in;
mod whole;

pub use contract::{Backend, Durability, LogPosition, Space, WriterLock};
pub use create::{create_whole, create_whole_on};
pub use limits::Limits;
pub use lines::Lines;
pub use name::Name;
pub use os::OsDisk;
pub use os_file::OsFile;
pub use posix::PosixBackend;

/// The disk that a path of the system leads to.
#[cfg(not(feature = "stand-in"))]
pub type SystemDisk = OsDisk;
/// The disk that a path leads to: the system's, or one in its place.
#[cfg(feature = "stand-in")]
pub type SystemDisk = stand_in::AnyDisk;
