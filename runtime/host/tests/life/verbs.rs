//! What may be done in a domain's life, done on the real floors and then in the model.

use super::model::{Model, Seen, Word};
use super::world::{self, Terms, World};
use asl_auth::{AdmissionResult, DomainState};
use asl_backend::disk::Entry;
use asl_backend::files;
use asl_core::{Digest, Error, Kind, Result, SnapshotId, Timestamp};
use asl_host::hostlog::HostRecord;
use asl_host::{Domain, HostRoot, KeptKey, Purpose, Put};
use asl_store::{GcOptions, ReadBack, VerifyOptions};
use std::path::Path;
use std::time::Duration;

/// One thing that somebody does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Makes the home a host.
    Init,
    /// Tries to make the home a host once more.
    InitAgain,
    /// Makes the keeper one.
    InitKeeper,
    /// Makes the domain at home.
    Create,
    /// Seals pieces as a root of that name.
    Seal(u8, Vec<u64>),
    /// Seals pieces that no root names yet, and commits them beside.
    Beside(Vec<u64>),
    Snapshot,
    Pin(u32, String),
    Unpin(u32),
    Forget(Vec<u32>, Vec<u8>),
    Gc {
        unfinished: bool,
    },
    Repair,
    Verify,
    /// Ends the session; the next verb begins another.
    Close,
    /// Writes a working file.
    Working(String, Vec<u8>),
    DropWorking(String),
    /// Asks the keeper, whose policy gives that outcome.
    Ask(Terms, AdmissionResult),
    /// The keeper decides anew what was DEFERRED.
    Decide(Terms, AdmissionResult),
    /// The home takes up the keeper's last decision on that request.
    Apply(Terms),
    /// The home changes its own word on the domain.
    State(DomainState),
    /// Seconds pass.
    Wait(u64),
    /// Sealing that the lease does not allow any more: refused, and that it is over is recorded.
    Refused(u8),
}

impl Verb {
    pub fn asks_the_keeper(&self) -> bool {
        matches!(self, Verb::Ask(..) | Verb::Decide(..) | Verb::Apply(_))
    }
}

impl World {
    /// Does it, and on success lets the model know that it is acknowledged.
    pub fn run(&mut self, verb: &Verb, model: &mut Model) -> Result<()> {
        match verb {
            Verb::Init => {
                HostRoot::init(&self.home_path(), &self.context, KeptKey::Plain)?;
                model.seen.hosts.0 = true;
            }
            Verb::InitAgain => {
                let again = HostRoot::init(&self.home_path(), &self.context, KeptKey::Plain);
                match again.map(drop) {
                    Err(e) if e.kind() == Kind::Exists => {}
                    Err(e) => return Err(e),
                    Ok(()) => panic!("a host was made in the place of another"),
                }
            }
            Verb::InitKeeper => {
                HostRoot::init(&self.keeper_path(), &self.context, KeptKey::Plain)?;
                model.seen.hosts.1 = true;
            }
            Verb::Create => {
                model.commit = self.create()?.current()?.head.commit;
                model.seen.home = Some(Word::default());
            }
            Verb::Seal(name, pieces) => {
                let handle = self.handle(Purpose::Seal)?;
                handle.begin_root()?;
                pieces
                    .iter()
                    .try_for_each(|n| world::put(handle, *n).map(drop))?;
                let (_, ack) = handle.finish_root(&world::root_piece(*name))?;
                model.pieces.insert(*name, pieces.clone());
                model.seen.roots.insert(*name);
                model.committed(ack.head.commit);
            }
            Verb::Beside(pieces) => {
                let commit = self.put_beside(pieces)?;
                model.loose.extend(pieces);
                model.committed(commit);
            }
            Verb::Snapshot => {
                let handle = self.handle(Purpose::Seal)?;
                let id = handle.snapshot(None, ReadBack::Skipped, 0)?;
                let commit = handle.head().commit;
                model.snapshot_made(id.number());
                model.committed(commit);
            }
            Verb::Pin(number, why) => {
                let (mut domain, id) = (self.domain()?, SnapshotId::new(*number)?);
                if asl_host::pins::pin(&mut domain, &self.context, id, why)? {
                    model.seen.pins.insert(*number, why.clone());
                }
            }
            Verb::Unpin(number) => {
                let (mut domain, id) = (self.domain()?, SnapshotId::new(*number)?);
                asl_host::pins::unpin(&mut domain, &self.context, id)?;
                model.seen.pins.remove(number);
            }
            Verb::Forget(snapshots, roots) => {
                let handle = self.handle(Purpose::Upkeep)?;
                let ids = snapshots.iter().map(|n| SnapshotId::new(*n));
                let ids = ids.collect::<Result<Vec<_>>>()?;
                let name = |n: &u8| handle.chunk_id(&world::root_piece(*n));
                let tops = roots.iter().map(name).collect::<Result<Vec<_>>>()?;
                let ack = handle.forget(&ids, &tops)?;
                model.forgotten(snapshots, roots);
                model.headed(ack.head.commit);
            }
            Verb::Gc { unfinished } => {
                let options = GcOptions {
                    unfinished: *unfinished,
                    ..GcOptions::default()
                };
                // What nothing names may go from the first step on.
                model.loose.clear();
                let handle = self.handle(Purpose::Upkeep)?;
                handle.gc(options, &|| false)?;
                let commit = handle.head().commit;
                model.headed(commit);
            }
            Verb::Repair => {
                let report = self
                    .handle(Purpose::Upkeep)?
                    .repair(&|_, _| (), &|| false)?;
                if (&report.remains[..], &report.lost[..]) != (&[], &[]) {
                    let why = format!("{:?} {:?}", report.remains, report.lost);
                    return Err(Error::new(Kind::Damage, "repair", "the domain", why));
                }
            }
            Verb::Verify => self.verify()?,
            Verb::Close => self.close(),
            Verb::Working(name, content) => {
                model.unsure.push((name.clone(), Some(content.clone())));
                self.handle(Purpose::Seal)?.write_working(name, content)?;
            }
            Verb::DropWorking(name) => {
                model.unsure.push((name.clone(), None));
                self.handle(Purpose::Seal)?.remove_working(name)?;
            }
            Verb::Ask(terms, outcome) => {
                self.set_policy(*outcome)?;
                let petition = self.petition(terms)?;
                self.keeper()?.admit(&petition)?;
                model.seen.kept = Some(word(&self.kept()?));
            }
            Verb::Decide(terms, outcome) => {
                let petition = self.petition(terms)?;
                self.keeper()?.decide(&petition, Some(*outcome))?;
                model.seen.kept = Some(word(&self.kept()?));
            }
            Verb::Apply(terms) => {
                self.close();
                let petition = self.petition(terms)?;
                let keeper = self.keeper()?;
                let decision = keeper.admit(&petition)?;
                let (pin, mut domain) = (keeper.key().public(), self.domain()?);
                let boot = self.boot;
                let context = &self.context;
                asl_host::admission::apply(&mut domain, context, &pin, &petition, &decision, boot)?;
                model.seen.home = Some(word(&self.domain()?));
            }
            Verb::Wait(seconds) => self.clock.advance(Duration::from_secs(*seconds)),
            Verb::Refused(name) => match self.run(&Verb::Seal(*name, vec![1]), model) {
                Err(e) if e.kind() == Kind::Refused => {}
                Err(e) => return Err(e),
                Ok(()) => panic!("sealed without a right to"),
            },
            Verb::State(state) => {
                self.close();
                let record = HostRecord::State {
                    state: *state,
                    why: "the keeper of the home decided so".into(),
                    time: Timestamp::claimed(0),
                };
                self.domain()?.record(&self.context, &[record])?;
                if let Some(word) = &mut model.seen.home {
                    word.state = *state;
                }
            }
        }
        Ok(())
    }

    /// Puts pieces and waits for the commit that is made of them beside the putting.
    fn put_beside(&mut self, pieces: &[u64]) -> Result<u64> {
        let clock = self.clock.clone();
        let handle = self.handle(Purpose::Seal)?;
        handle.begin_root()?;
        let mut added = false;
        for n in pieces {
            added |= world::put(handle, *n)? == Put::Added;
        }
        if !added {
            return Ok(handle.head().commit);
        }
        let mut commit = handle.commit_due()?;
        clock.advance(Duration::from_secs(31));
        // It is told at a later call, a few milliseconds on.
        for _ in 0..100_000 {
            commit = handle.commit_due()?;
            if commit.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        let ack = commit.ok_or_else(|| Error::new(Kind::Io, "commit", "", "it was never told"))?;
        Ok(ack.head.commit)
    }

    /// Verifies everything, every piece of it.
    pub fn verify(&mut self) -> Result<()> {
        let options = VerifyOptions {
            data: true,
            ..VerifyOptions::default()
        };
        let handle = self.handle(Purpose::Read)?;
        let report = handle.verify(options, &|_, _| (), &|| false)?;
        for (_, manifest) in handle.manifests() {
            manifest?;
        }
        match (&report.damage[..], &report.not_checked[..]) {
            ([], []) => Ok(()),
            (damage, unchecked) => {
                let why = format!("{damage:?} {unchecked:?}");
                Err(Error::new(Kind::Damage, "verify", "the domain", why))
            }
        }
    }

    /// What anyone can see now, without writing.
    pub fn look(&mut self, model: &Model, flight: &[Verb]) -> Result<Seen> {
        let id = self.owner.genesis.domain_id();
        let is_host = |path: &Path| -> Result<bool> {
            let there = files::look(&path.join("host/host-id"))?.is_some();
            if there {
                // With the key that it names.
                HostRoot::open(path)?.identity(None)?;
            }
            Ok(there)
        };
        let is_dir = |path: &Path| files::look(path).map(|e| e == Some(Entry::Dir));
        let mut seen = Seen {
            hosts: (is_host(&self.home_path())?, is_host(&self.keeper_path())?),
            ..Seen::default()
        };
        let below = Path::new("domains").join(id.to_string());
        if seen.hosts.1 && is_dir(&self.keeper_path().join(&below))? {
            seen.kept = Some(word(&self.kept()?));
        }
        if !seen.hosts.0 || !is_dir(&self.home_path().join(&below))? {
            return Ok(seen);
        }
        let domain = self.domain()?;
        domain.require_sound()?;
        seen.home = Some(word(&domain));
        let pins = asl_host::pins::pins(&domain)?;
        seen.pins = pins
            .into_iter()
            .map(|(id, pin)| (id.number(), pin.why))
            .collect();
        let asked = flight.iter().filter_map(|v| match v {
            Verb::Seal(name, _) => Some(*name),
            _ => None,
        });
        let names: Vec<u8> = model.pieces.keys().copied().chain(asked).collect();
        let handle = self.handle(Purpose::Read)?;
        let current = handle.current();
        for name in names {
            if current
                .roots
                .contains_key(&handle.chunk_id(&world::root_piece(name))?)
            {
                seen.roots.insert(name);
            }
        }
        assert_eq!(
            current.roots.len(),
            seen.roots.len(),
            "a root that nobody asked for"
        );
        seen.snapshots = current.snapshots.keys().map(|id| id.number()).collect();
        for name in handle.working_files()? {
            let content = handle.read_working(&name)?;
            seen.working.insert(name, content);
        }
        Ok(seen)
    }
}

/// A host's word on the domain, as its records say it.
fn word(domain: &Domain) -> Word {
    let lease = domain.leases().all().next();
    Word {
        state: domain.state(),
        lease: lease.map(|l| {
            let terms = &l.terms;
            (
                terms.storage_bytes,
                terms.snapshots,
                terms.expires_at.unix_ns,
            )
        }),
        decisions: domain
            .recorded()
            .iter()
            .map(|(n, d): (&u32, &Digest)| (*n, *d))
            .collect(),
    }
}
