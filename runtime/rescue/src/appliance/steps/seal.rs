//! Step 5: every source in the order chosen, then every block read back.

use super::super::profile::{Applies, Profile};
use super::super::session::{self, Place, Source};
use super::super::ui::Ui;
use super::super::way::Way;
use super::admission::Answer;
use super::Step;
use crate::commands::seal::{read_back, seal_tree, sealed_in_words};
use crate::commands::{boot_id, context};
use crate::out::Out;
use crate::progress::Screen;
use asl_auth::SealCredential;
use asl_core::{Error, Kind, Result};
use asl_host::{Credentials, Domain, HostRoot, LeaseScope, Opening, Purpose, StoreHandle};
use asl_ingest::Ingested;
use asl_store::ReadBack;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Opens the domain's store, as often as a mishap asks for it.
pub struct Opener<'a> {
    host: &'a HostRoot,
    seal: SealCredential,
    scope: LeaseScope,
    boot: [u8; 16],
}

impl<'a> Opener<'a> {
    /// With the session's right to seal.
    ///
    /// # Errors
    /// `Io` where the boot's name cannot be had.
    pub fn new(host: &'a HostRoot, seal: SealCredential, profile: &Profile) -> Result<Self> {
        let scope = match profile.lease.applies {
            Applies::Both => LeaseScope::Both,
            Applies::Remote => LeaseScope::Remote,
        };
        Ok(Opener {
            host,
            seal,
            scope,
            boot: boot_id()?,
        })
    }

    fn open(&self, domain: &Domain) -> Result<StoreHandle> {
        StoreHandle::open(Opening {
            root: self.host,
            domain,
            purpose: Purpose::Seal,
            credentials: Credentials::Seal(self.seal.clone()),
            scope: self.scope,
            boot: self.boot,
            context: &context(),
        })
    }
}

/// What step 5 leaves to step 6.
pub struct Sealed {
    /// The open store.
    pub handle: StoreHandle,
    /// The domain.
    pub domain: Domain,
    /// The request that is under way.
    pub answer: Option<Answer>,
    /// Problems of all sources.
    pub holes: u64,
    /// Whether every block was read back.
    pub read_back: ReadBack,
    /// What was left out of an unattended session, to be told at its end.
    pub left_out: Option<Error>,
}

/// The domain and what a decision does to it, beside sealing.
struct Beside {
    answer: Option<Answer>,
    domain: Domain,
}

/// Seals every source and reads every block back.
///
/// # Errors
/// A `Stop`.
pub fn all(
    opener: Opener<'_>,
    domain: Domain,
    answer: Option<Answer>,
    profile: &Profile,
    target: &Place,
    ui: Ui,
    out: Out,
) -> Step<Sealed> {
    let handle = opener.open(&domain)?;
    let mut run = Run {
        opener,
        handle: Some(handle),
        beside: Mutex::new(Beside { answer, domain }),
        holes: 0,
        left_out: None,
        target,
        ui,
        out,
    };
    run.sources(profile)?;
    let read_back = run.read_back()?;
    let Beside { answer, domain } = run
        .beside
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(Sealed {
        handle: run.handle.ok_or_else(closed)?,
        domain,
        answer,
        holes: run.holes,
        read_back,
        left_out: run.left_out,
    })
}

struct Run<'a> {
    opener: Opener<'a>,
    handle: Option<StoreHandle>,
    beside: Mutex<Beside>,
    holes: u64,
    left_out: Option<Error>,
    target: &'a Place,
    ui: Ui,
    out: Out,
}

impl Run<'_> {
    fn sources(&mut self, profile: &Profile) -> Step<()> {
        let sources = loop {
            match session::find_sources(profile, self.ui) {
                Ok(sources) => break sources,
                Err(e) => match self.ui.way_on(e, &[Way::Again, Way::Enough], self.out)? {
                    Way::Enough => return Ok(()),
                    _ => continue,
                },
            }
        };
        let mut places = Vec::new();
        for (n, source) in sources.iter().enumerate() {
            if let Some(place) = self.open_source(source, n + 1)? {
                places.push((n + 1, source, place));
            }
        }
        session::say_fit(places.iter().map(|(_, _, p)| p), self.target, self.ui)?;
        for (number, source, place) in places {
            if !self.source(source, number, place)? {
                break;
            }
        }
        Ok(())
    }

    /// Opens one source; `None` where it is left out.
    fn open_source(&mut self, source: &Source, number: usize) -> Step<Option<Place>> {
        loop {
            let e = match source.open(number) {
                Ok(place) => return Ok(Some(place)),
                Err(e) => e,
            };
            if !self.ui.may_ask() {
                self.leave_out(e);
                return Ok(None);
            }
            if self.ui.way_on(e, &[Way::Again, Way::Skip], self.out)? == Way::Skip {
                return Ok(None);
            }
        }
    }

    /// Nobody can be asked: the other sources are sealed, and this is told at the end.
    fn leave_out(&mut self, e: Error) {
        self.out.error(&e);
        self.ui
            .say("This source is left out; the others are sealed.");
        self.left_out.get_or_insert(e);
    }

    /// Seals one source; false where the person wants no more sealed.
    fn source(&mut self, source: &Source, number: usize, place: Place) -> Step<bool> {
        let mut place = place;
        loop {
            self.ui.say(&format!("Sealing {}", place.name()));
            let e = match self.seal(&place) {
                Ok(sealed) if !self.again_for_holes(&sealed, &place)? => {
                    self.holes += sealed.problem_count;
                    place.release()?;
                    return Ok(true);
                }
                Ok(_) => None,
                Err(e) if gone(&place) => Some(e),
                Err(e) => Some(of_target(e)),
            };
            if let Some(e) = e {
                let ways: &[Way] = if gone(&place) {
                    if !self.ui.may_ask() {
                        self.leave_out(e);
                        return Ok(true);
                    }
                    &[Way::Again, Way::Skip, Way::Enough]
                } else if is_full(&e) {
                    &[Way::Room, Way::Enough]
                } else {
                    &[Way::Again, Way::Skip, Way::Enough]
                };
                match self.ui.way_on(e, ways, self.out)? {
                    Way::Skip => return Ok(true),
                    Way::Enough => return self.reopen().map(|()| false),
                    _ => self.reopen()?,
                }
            }
            drop(place);
            place = match self.open_source(source, number)? {
                Some(place) => place,
                None => return Ok(true),
            };
        }
    }

    fn handle(&self) -> Result<&StoreHandle> {
        self.handle.as_ref().ok_or_else(closed)
    }

    fn seal(&self, place: &Place) -> Result<Ingested> {
        let handle = self.handle()?;
        let screen = Screen::new(self.out, "sealing", |_| self.take_up_answer(handle))
            // What cannot be measured is sealed all the same.
            .of(session::used_of(place.path()).ok().flatten())
            .within(|| handle.lease_left());
        let sealed = seal_tree(
            handle,
            place.path(),
            place.name(),
            self.target.path(),
            false,
            &screen,
        );
        screen.finish();
        let sealed = sealed?;
        self.ui.say(&format!(
            "  {}",
            sealed_in_words(&sealed, handle.durability())
        ));
        Ok(sealed)
    }

    /// Whether a source that has holes is sealed once more: a cable may have been loose.
    fn again_for_holes(&self, sealed: &Ingested, place: &Place) -> Step<bool> {
        if sealed.problem_count == 0 || !self.ui.may_ask() {
            return Ok(false);
        }
        let e = Error::new(
            Kind::Damage,
            "read all of",
            place.name(),
            format!("{} problems, each named above", sealed.problem_count),
        )
        .next("attach the source again and try it again, or go on: the holes are recorded");
        Ok(self.ui.way_on(e, &[Way::Without, Way::Again], self.out)? == Way::Again)
    }

    /// After a failure nothing is believed that was in memory: domain and store are opened anew.
    fn reopen(&mut self) -> Step<()> {
        loop {
            // The old one goes first: it holds the log's lock.
            self.handle = None;
            let beside = self
                .beside
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            let opened = Domain::open(self.opener.host, &beside.domain.id().clone())
                .and_then(|domain| self.opener.open(&domain).map(|handle| (domain, handle)));
            match opened {
                Ok((domain, handle)) => {
                    beside.domain = domain;
                    self.handle = Some(handle);
                    return Ok(());
                }
                Err(e) => self.ui.way_on(of_target(e), &[Way::Again], self.out)?,
            };
        }
    }

    /// Takes up a decision that came while sealing.
    fn take_up_answer(&self, handle: &StoreHandle) {
        let mut held = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let Beside { answer, domain } = &mut *held;
        let Some(answer) = answer else {
            return;
        };
        match answer.wait(Duration::ZERO, domain, self.ui) {
            Ok(Some(lease)) => handle.attach_lease(lease),
            Ok(None) => {}
            Err(e) => self.ui.say(&format!("{e}")),
        }
    }

    fn read_back(&mut self) -> Step<ReadBack> {
        loop {
            match self.handle().and_then(|h| read_back(h, self.out)) {
                Ok(done) => return Ok(done),
                Err(e) => {
                    match self
                        .ui
                        .way_on(of_target(e), &[Way::Again, Way::Without], self.out)?
                    {
                        Way::Without => return Ok(ReadBack::Skipped),
                        _ => self.reopen()?,
                    }
                }
            }
        }
    }
}

fn closed() -> Error {
    Error::new(Kind::Io, "go on with", "the target", "it is not open")
        .next("attach it again and start from the first step")
}

/// One sentence for a target that fails, whichever call met it first: what a source does is told as
/// its problems, so what is left of input and output is the target's.
pub fn of_target(e: Error) -> Error {
    if e.kind() != Kind::Io || is_full(&e) {
        return e;
    }
    Error::new(Kind::Io, "go on with", "the target", e)
        .next("attach it again and try again, or start from the first step with another")
}

/// Whether the source itself can no longer be looked at.
fn gone(place: &Place) -> bool {
    std::fs::read_dir(place.path()).is_err()
}

/// Whether the target has no room for more.
fn is_full(e: &Error) -> bool {
    e.kind() == Kind::Io && e.why().contains("no space is left")
}
