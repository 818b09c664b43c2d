//! The words every floor of the ASL rescue appliance shares.
//!
//! Ids that validate at parse and are safe as a path component, deterministic CBOR with limits,
//! the codecs of blob, tree and root with their links, status codes, the one error shape, and
//! clock and entropy as traits. This floor knows no files, keys or states
//! (architecture.md, "The floors").

pub mod canon;
pub mod codec;
mod error;
mod fields;
mod id;
mod time;
mod words;

pub use ciborium::Value;
pub use error::{Error, Kind, Result, Status};
pub use fields::{Fields, MapBuilder};
pub use id::{
    ArtifactKey, BlockId, ChunkId, Digest, DomainHash, DomainId, FrameHash, KeyId, Label, LogSeq,
    SnapshotId, TrustValue, TypeTag,
};
pub use time::{Entropy, HostClock, Timestamp};
pub use words::{word, word_number, words, WORDS};
