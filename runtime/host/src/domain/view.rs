//! What the host log's replay says of a domain, and how that is shown.

use super::Domain;
use crate::capability::Place;
use crate::hostlog::{HostRecord, LEASE_OVER};
use crate::layout::{domain as place, LAYOUT};
use crate::leases::Leases;
use crate::root::Context;
use crate::time_text;
use asl_auth::{Conduct, DomainState, PublicKey};
use asl_backend::files;
use asl_core::{Digest, Result};
use serde_json::{json, Value};
use std::collections::BTreeMap;

/// Bytes of a view at most.
const LONGEST_VIEW: u64 = 1 << 20;

/// Public keys as a file of OpenSSH lines.
fn key_lines(keys: &[PublicKey]) -> Vec<u8> {
    let lines: String = keys.iter().map(|k| k.to_openssh("") + "\n").collect();
    lines.into_bytes()
}

/// What replaying the host log says.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) place: Place,
    pub(super) state: DomainState,
    /// The state that a suspension took the place of.
    pub(super) before: DomainState,
    /// Suspended by the keeper's own hand, which alone lifts that.
    pub(super) held: bool,
    pub(super) conduct: Conduct,
    pub(super) leases: Leases,
    /// The recorded admissions: number and decision.
    pub(super) admissions: BTreeMap<u32, Digest>,
}

impl View {
    pub(super) fn of(records: Vec<HostRecord>) -> View {
        let mut view = View {
            place: Place::Elsewhere,
            state: DomainState::Unrecognized,
            before: DomainState::Unrecognized,
            held: false,
            conduct: Conduct::default(),
            leases: Leases::default(),
            admissions: BTreeMap::new(),
        };
        records.into_iter().for_each(|r| view.take(r));
        view
    }

    /// What is left where the host log is damaged: reading.
    pub(super) fn distrusted() -> View {
        View {
            place: Place::Elsewhere,
            state: DomainState::Suspended,
            before: DomainState::Unrecognized,
            held: false,
            conduct: Conduct::default(),
            leases: Leases::default(),
            admissions: BTreeMap::new(),
        }
    }

    fn enter(&mut self, state: DomainState, why: &str) {
        let suspended = state == DomainState::Suspended;
        if suspended && self.state != DomainState::Suspended {
            self.before = self.state;
        }
        let lapsed = suspended && why == LEASE_OVER;
        self.held = suspended && !lapsed;
        self.conduct.lapses += u32::from(lapsed);
        self.conduct.suspensions += u32::from(self.held);
        self.state = state;
    }

    pub(super) fn take(&mut self, record: HostRecord) {
        match record {
            HostRecord::Role(place) => self.place = place,
            HostRecord::State { state, why, .. } => self.enter(state, &why),
            HostRecord::Lease(lease) => self.leases.take(lease),
            HostRecord::InFull { host, .. } => self.leases.drop_of(&host),
            HostRecord::Admission {
                number, decision, ..
            } => {
                self.admissions.insert(number, decision);
            }
            HostRecord::Evidence { decision, floor_ns } => self.leases.see(&decision, floor_ns),
            // They give no right; `pins` and `repair` read them.
            HostRecord::Pin { .. } | HostRecord::Unpin { .. } | HostRecord::Damaged { .. } => {}
        }
    }
}

impl Domain {
    /// Writes `domain.json` and the lease files anew from the records; they are views, never
    /// inputs to a decision about rights (formats.md, "domain.json").
    ///
    /// # Errors
    /// `Io`.
    pub fn write_descriptor(&self, _: &Context) -> Result<()> {
        self.write_views()
    }

    pub(crate) fn write_views(&self) -> Result<()> {
        for (name, bytes) in self.views()? {
            let path = self.dir.join(name);
            let is_so = files::read_limited(&path, LONGEST_VIEW).is_ok_and(|there| there == bytes);
            if !is_so {
                files::replace(&path, &bytes, 0o600)?;
            }
        }
        Ok(())
    }

    /// What is derived of the records for a person to read, by names below the domain.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub(crate) fn views(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut views = vec![(
            place::DESCRIPTOR.to_string(),
            crate::json(&self.describe())?,
        )];
        if let Some(dam) = self.dam() {
            let dam = dam.dam();
            views.push(("auth/root.pub".into(), key_lines(dam.roots.keys())));
            for key in &dam.operators {
                let name = format!("auth/operators/{}.pub", key.id());
                views.push((name, key_lines(std::slice::from_ref(key))));
            }
        }
        let mut active = String::new();
        for lease in self.leases().all() {
            let file = json!({
                "layout": LAYOUT,
                "lease_id": lease.terms.lease_id.to_string(),
                "granted_by": lease.granted_by.to_string(),
                "storage_bytes": lease.terms.storage_bytes,
                "snapshots": lease.terms.snapshots,
                "expires_at": time_text(lease.terms.expires_at.unix_ns),
                "decided_at": time_text(lease.decided_at_ns),
            });
            let mut recorded = self.recorded().iter();
            let number = recorded.find(|(_, d)| **d == lease.decision);
            let number = number.map_or(self.admissions().max(1), |(n, _)| *n);
            let name = format!("lease-{number:03}.json");
            active.push_str(&name);
            active.push('\n');
            views.push((format!("leases/{name}"), crate::json(&file)?));
        }
        if !active.is_empty() {
            views.push((place::ACTIVE_LEASE.to_string(), active.into_bytes()));
        }
        Ok(views)
    }

    /// The domain as `domain.json` and `domain show` say it.
    pub fn describe(&self) -> Value {
        let root_key = self.dam().map(|d| d.dam().roots.digest().to_string());
        let policy = self.dam().map(|d| d.digest().to_string());
        let revoked = self.dam().map_or(0, |d| d.revoked().all().count());
        let leases = self.leases().all().map(|l| {
            json!({
                "storage_bytes": l.terms.storage_bytes,
                "snapshots": l.terms.snapshots,
                "expires_at": time_text(l.terms.expires_at.unix_ns),
                "granted_by": l.granted_by.to_string(),
            })
        });
        let leases: Vec<Value> = leases.collect();
        let admitted_ns = self.leases().all().map(|l| l.decided_at_ns).max();
        let current = self.current().ok();
        json!({
            "layout": LAYOUT,
            "domain_id": self.id.to_string(),
            "domain_hash": self.hash.to_string(),
            "state": self.state().code(),
            "damage": self.damage.as_ref().or(self.spoilt.as_ref()).map(ToString::to_string),
            "home": self.place() == Place::Home,
            "encrypted": self.genesis.params.encrypted,
            "created_at": time_text(self.genesis.time.unix_ns),
            "admitted_at": admitted_ns.map(time_text),
            "root_key_fingerprint": root_key,
            "policy_hash": policy,
            "dam_number": self.dam().map(|d| d.dam().sequence),
            "revoked": revoked,
            "current_snapshot": current.as_ref().and_then(|c| c.newest_snapshot().map(|(id, _)| id.to_string())),
            "current_logseq": current.as_ref().map(|c| c.head.logseq.0),
            "leases": leases,
        })
    }
}
