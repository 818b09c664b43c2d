//! Pins: snapshots that this host keeps whatever comes (formats.md, "Snapshots").
//!
//! A pin is what the host log says. The plain files in `snapshots/pinned/` are views of it, for a
//! person who looks with other tools; a crash between the two leaves the log right and the files to
//! be made so by the next pin.

use crate::domain::Domain;
use crate::hostlog::{HostLog, HostRecord};
use crate::root::Context;
use crate::time_text;
use asl_backend::files;
use asl_core::{Digest, Error, Kind, Result, SnapshotId, Timestamp};
use std::collections::BTreeMap;

/// Bytes of a reason at most.
const LONGEST: usize = 200;

/// Where the views lie.
pub(crate) const VIEWS: &str = "snapshots/pinned";

/// A snapshot that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The digest of the snapshot's manifest.
    pub manifest: Digest,
    /// Why, for the keeper.
    pub why: String,
    /// When, by this host's clock.
    pub time: Timestamp,
}

/// The snapshots that are pinned here.
///
/// # Errors
/// `Damage` where the host log is broken: pins are never guessed; `Io`.
pub fn pins(domain: &Domain) -> Result<BTreeMap<SnapshotId, Pin>> {
    pinned(&domain.host_log())
}

/// What a host log says is pinned.
pub(crate) fn pinned(log: &HostLog) -> Result<BTreeMap<SnapshotId, Pin>> {
    log.replay().map(of)
}

/// What is pinned for sure: "pinned already" is an acknowledgement too.
fn settled(domain: &Domain) -> Result<BTreeMap<SnapshotId, Pin>> {
    domain.host_log().settled().map(of)
}

fn of(records: Vec<HostRecord>) -> BTreeMap<SnapshotId, Pin> {
    let mut pins = BTreeMap::new();
    for record in records {
        match record {
            HostRecord::Pin {
                snapshot,
                manifest,
                why,
                time,
            } => {
                let pin = Pin {
                    manifest,
                    why,
                    time,
                };
                pins.insert(snapshot, pin);
            }
            HostRecord::Unpin { snapshot, .. } => {
                pins.remove(&snapshot);
            }
            _ => {}
        }
    }
    pins
}

/// Pins a snapshot; false where it was pinned already, whose reason then stays.
///
/// # Errors
/// `NotFound` where the content log names no such snapshot; `Invalid` for a reason that is longer
/// than 200 bytes or has control characters; `Damage`, `Concurrent`, `Io`.
pub fn pin(
    domain: &mut Domain,
    context: &Context,
    snapshot: SnapshotId,
    why: &str,
) -> Result<bool> {
    if why.len() > LONGEST || why.chars().any(char::is_control) {
        let fault = "it is longer than 200 bytes or has control characters";
        return Err(
            Error::new(Kind::Invalid, "use", "this reason", fault).next("give a short line")
        );
    }
    let current = domain.current()?;
    let entry = current.snapshots.get(&snapshot).ok_or_else(|| {
        let fault = format!("there is no such snapshot in domain {}", domain.id());
        Error::new(Kind::NotFound, "pin", snapshot, fault)
            .next("list them with `asl-host snapshot list`")
    })?;
    let new = !settled(domain)?.contains_key(&snapshot);
    if new {
        let record = HostRecord::Pin {
            snapshot,
            manifest: entry.manifest,
            why: why.to_string(),
            time: Timestamp::claimed(context.clock.wall_ns()),
        };
        domain.record(context, &[record])?;
    }
    write_views(domain)?;
    Ok(new)
}

/// Unpins a snapshot; false where it was not pinned.
///
/// # Errors
/// `Damage`, `Concurrent`, `Io`.
pub fn unpin(domain: &mut Domain, context: &Context, snapshot: SnapshotId) -> Result<bool> {
    let was = settled(domain)?.contains_key(&snapshot);
    if was {
        let time = Timestamp::claimed(context.clock.wall_ns());
        domain.record(context, &[HostRecord::Unpin { snapshot, time }])?;
    }
    write_views(domain)?;
    Ok(was)
}

/// A pin as its plain file says it.
pub(crate) fn view(snapshot: SnapshotId, pin: &Pin) -> String {
    let when = time_text(pin.time.unix_ns);
    format!(
        "{snapshot}\nmanifest {}\npinned {when}\n{}\n",
        pin.manifest, pin.why
    )
}

/// Makes the plain files say what the log says; what is no view of ours is left alone.
pub(crate) fn write_views(domain: &Domain) -> Result<()> {
    let dir = domain.dir().join(VIEWS);
    files::make_dir(&dir)?;
    let pins = pins(domain)?;
    for (snapshot, pin) in &pins {
        let text = view(*snapshot, pin);
        files::replace(&dir.join(snapshot.to_string()), text.as_bytes(), 0o600)?;
    }
    for name in files::names(&dir)? {
        let stale = name
            .parse::<SnapshotId>()
            .is_ok_and(|id| id.to_string() == name && !pins.contains_key(&id));
        if stale {
            files::remove(&dir.join(name))?;
        }
    }
    Ok(())
}
