//! What a domain may do on a host: the state table of architecture.md, "State is per domain and
//! host".
//!
//! Two outside rows exist for UNRECOGNIZED: a host where the domain is at home (its content log is
//! written there), and any other.

use asl_auth::DomainState;
use asl_core::{Error, Kind, Result};
use std::fmt;

/// Where a host stands to a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The home copy: the owner or the appliance writes its content log here.
    Home,
    /// A replica.
    Elsewhere,
}

/// What somebody wants to do with a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Start a block.
    AllocateBlock,
    /// Seal a block.
    SealBlock,
    /// Append a commit to the content log.
    AppendLog,
    /// Run a program over artifacts.
    Run,
    /// Make a snapshot.
    SnapshotCreate,
    /// Read, list, verify or restore.
    Read,
    /// Store blocks at the host that granted the lease.
    Push,
    /// Publish a snapshot.
    PublishSnapshot,
    /// Offer the log to peers.
    FederateLog,
    /// Be a source of imports.
    ImportFrom,
    /// Remove a block that others hold.
    Evict,
    /// Collect what nothing refers to.
    Gc,
    /// Give a block to another domain.
    MigrateOut,
    /// Take a block from another domain.
    MigrateIn,
    /// Ask for admission, upgrade, renewal or appeal.
    AdmissionRequest,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 15] = [
        Verb::AllocateBlock,
        Verb::SealBlock,
        Verb::AppendLog,
        Verb::Run,
        Verb::SnapshotCreate,
        Verb::Read,
        Verb::Push,
        Verb::PublishSnapshot,
        Verb::FederateLog,
        Verb::ImportFrom,
        Verb::Evict,
        Verb::Gc,
        Verb::MigrateOut,
        Verb::MigrateIn,
        Verb::AdmissionRequest,
    ];

    /// The capability as the documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::AllocateBlock => "allocate_block",
            Verb::SealBlock => "seal_block",
            Verb::AppendLog => "append_log",
            Verb::Run => "run",
            Verb::SnapshotCreate => "snapshot_create",
            Verb::Read => "read",
            Verb::Push => "push",
            Verb::PublishSnapshot => "publish_snapshot",
            Verb::FederateLog => "federate_log",
            Verb::ImportFrom => "import_from",
            Verb::Evict => "evict",
            Verb::Gc => "gc",
            Verb::MigrateOut => "migrate_block_out",
            Verb::MigrateIn => "migrate_block_in",
            Verb::AdmissionRequest => "admission_request",
        }
    }
}

/// The answer of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Allowed.
    Yes,
    /// Allowed while the lease has room and time.
    WithinLease,
    /// Allowed while the lease's count has room.
    WithinCount,
    /// Allowed to the owner on this machine, to nobody else.
    OwnerOnly,
    /// Allowed to the host itself, to nobody else.
    HostOnly,
    /// Not allowed.
    No,
}

/// Looks the answer up.
pub fn grant(state: DomainState, place: Place, verb: Verb) -> Grant {
    use Grant::{HostOnly, No, OwnerOnly, WithinCount, WithinLease, Yes};
    use Verb as V;
    let row = |unrecognized_home, unrecognized_elsewhere, courtesy, full, suspended, revoked| match (
        state, place,
    ) {
        (DomainState::Unrecognized, Place::Home) => unrecognized_home,
        (DomainState::Unrecognized, Place::Elsewhere) => unrecognized_elsewhere,
        (DomainState::Courtesy, _) => courtesy,
        (DomainState::Full, _) => full,
        (DomainState::Suspended, _) => suspended,
        (DomainState::Revoked, _) => revoked,
    };
    match verb {
        V::AllocateBlock | V::SealBlock | V::AppendLog | V::Run => {
            row(Yes, No, WithinLease, Yes, No, No)
        }
        V::SnapshotCreate => row(Yes, No, WithinCount, Yes, No, No),
        V::Read => row(Yes, No, Yes, Yes, Yes, OwnerOnly),
        V::Push => row(No, No, WithinLease, Yes, No, No),
        V::PublishSnapshot | V::FederateLog | V::ImportFrom => row(No, No, No, Yes, No, No),
        V::Evict | V::Gc => row(Yes, No, Yes, Yes, HostOnly, HostOnly),
        V::MigrateOut => row(Yes, No, Yes, Yes, No, No),
        V::MigrateIn => row(No, No, No, Yes, No, No),
        V::AdmissionRequest => row(Yes, Yes, Yes, Yes, Yes, No),
    }
}

/// Refuses a verb that the state does not allow, naming the capability, the state, and what would
/// lift it.
///
/// # Errors
/// `Refused`.
pub fn require(
    domain: impl fmt::Display,
    state: DomainState,
    place: Place,
    verb: Verb,
) -> Result<Grant> {
    match grant(state, place, verb) {
        Grant::No => {
            let next = match state {
                DomainState::Unrecognized => "ask for admission: `asl-host admission request`",
                DomainState::Courtesy => "ask for full admission: `asl-host admission request`",
                DomainState::Suspended => {
                    "ask the host's keeper, or ask again: `asl-host admission request`"
                }
                DomainState::Full | DomainState::Revoked => "ask the host's keeper",
            };
            Err(Error::new(
                Kind::Refused,
                verb.as_str(),
                format!("in domain {domain}"),
                format!("its state here is {state}"),
            )
            .next(next))
        }
        granted => Ok(granted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_in_every_state_answers_as_the_table_says() {
        // One line a verb: UNRECOGNIZED at home, elsewhere, COURTESY, FULL, SUSPENDED, REVOKED.
        let table = "\
            allocate_block     Y - L Y - -
            seal_block         Y - L Y - -
            append_log         Y - L Y - -
            run                Y - L Y - -
            snapshot_create    Y - C Y - -
            read               Y - Y Y Y O
            push               - - L Y - -
            publish_snapshot   - - - Y - -
            federate_log       - - - Y - -
            import_from        - - - Y - -
            evict              Y - Y Y H H
            gc                 Y - Y Y H H
            migrate_block_out  Y - Y Y - -
            migrate_block_in   - - - Y - -
            admission_request  Y Y Y Y Y -";
        let columns = [
            (DomainState::Unrecognized, Place::Home),
            (DomainState::Unrecognized, Place::Elsewhere),
            (DomainState::Courtesy, Place::Elsewhere),
            (DomainState::Full, Place::Elsewhere),
            (DomainState::Suspended, Place::Elsewhere),
            (DomainState::Revoked, Place::Elsewhere),
        ];
        for (verb, line) in Verb::ALL.iter().zip(table.lines()) {
            let mut words = line.split_whitespace();
            assert_eq!(words.next(), Some(verb.as_str()));
            for ((state, place), letter) in columns.iter().zip(words) {
                let said = match grant(*state, *place, *verb) {
                    Grant::Yes => "Y",
                    Grant::WithinLease => "L",
                    Grant::WithinCount => "C",
                    Grant::OwnerOnly => "O",
                    Grant::HostOnly => "H",
                    Grant::No => "-",
                };
                assert_eq!(said, letter, "{} in {state}", verb.as_str());
            }
        }
    }

    #[test]
    fn a_refusal_names_the_capability_the_state_and_what_would_lift_it() {
        let e = require(
            "alice",
            DomainState::Courtesy,
            Place::Elsewhere,
            Verb::PublishSnapshot,
        )
        .unwrap_err();
        assert_eq!(e.kind(), Kind::Refused);
        assert_eq!(
            e.to_string(),
            "cannot publish_snapshot in domain alice: its state here is COURTESY"
        );
        assert!(e.what_next().contains("admission"));
    }
}
