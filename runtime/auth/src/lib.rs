//! Keys, signed documents, admission and lease terms, as values without I/O.
//!
//! Everything here is bytes in, verdict out: Ed25519 keys and COSE signatures, the documents that
//! speak of authority (genesis, DAM, delegation, revocation, request, decision, proof of a bundle), the
//! admission state machine, the host's policy, and secrets (passphrases, age identities, locked
//! memory). No files, no network, no clock; randomness is passed in, age's own apart
//! (architecture.md, "The floors"). This floor never sees block bytes or store paths.

pub mod admission;
pub mod code;
pub mod cose;
pub mod document;
pub mod epoch;
mod identity;
pub mod keys;
pub mod locked;
mod openssh;
mod plugin;
pub mod policy;
pub mod sealing;
pub mod secrets;
mod stream;

pub use admission::{
    admit, amend, check_decision, weigh, AdmitInput, AmendInput, Amendment, DomainState, Said,
    Step, Verdict,
};
pub use document::{
    AdmissionRequest, AdmissionResult, Dam, DamPolicy, Decision, Delegation, DomainEncryption,
    EarlierEpoch, Genesis, LeaseTerms, Lineage, OperatorVerb, Proven, Reclaim, Revocation,
    RevocationTarget, Revoked, Role, RootSet, StoreParams, Verb, VerifiedDam, MAX_EPOCHS,
};
pub use epoch::{EpochKeys, NewEpoch, SealCredential};
pub use identity::{DataIdentity, IndexIdentity, OpenIdentity, Recipient};
pub use keys::{PublicKey, SigningKey};
pub use locked::{LockedBytes, Locking};
pub use policy::{Conduct, HostPolicy, LeaseBounds};
pub use sealing::{Opens, ReadSeek};
