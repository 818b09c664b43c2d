//! Steps 3 and 4: the request goes out beside sealing, the decision is taken up when it comes.

use super::super::profile::Profile;
use super::super::ui::Ui;
use super::super::way::Way;
use super::{mail, Step};
use crate::commands::admission::{in_words, pinned, send, show_request};
use crate::commands::{boot_id, context};
use crate::out::Out;
use asl_core::{Error, Kind, Result};
use asl_host::admission::{apply, Petition};
use asl_host::keystick::{HostPin, Signed};
use asl_host::leases::LeaseRecord;
use asl_host::Domain;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// Tries to reach the host, with a pause between: a network may come up late.
const TRIES: u32 = 24;
const PAUSE: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long the decision is waited for before sealing starts without it.
pub const SHORT_WAIT: Duration = Duration::from_secs(5);

/// How a request goes to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// Over the network, at once.
    Network,
    /// On the key stick, or as a QR code on the screen.
    Mail,
}

/// A signed request on its way.
pub struct Asked {
    /// The host it is for.
    pub pin: HostPin,
    /// The DAM and the request.
    pub petition: Petition,
    /// Its road.
    pub road: Road,
}

/// A request that is under way.
pub struct Answer {
    pin: HostPin,
    petition: Petition,
    /// Where the answer comes in; none while nobody was asked over the network.
    channel: Option<Receiver<Result<Signed>>>,
    decided: bool,
    posted: bool,
}

/// Sends the request on its road, over the network in a thread of its own: nothing waits for it.
///
/// # Errors
/// A `Stop`; `Io` where no thread can be had.
pub fn submit(asked: Option<Asked>, profile: &Profile, ui: Ui, out: Out) -> Step<Option<Answer>> {
    let Some(Asked {
        pin,
        petition,
        road,
    }) = asked
    else {
        ui.say("No host is asked; the domain stays this machine's own.");
        return Ok(None);
    };
    let mut answer = Answer {
        pin,
        petition,
        channel: None,
        decided: false,
        posted: false,
    };
    match road {
        Road::Network => answer.ask(ui)?,
        Road::Mail => answer.by_mail(profile, ui, out)?,
    }
    Ok(Some(answer))
}

fn ask(pin: &HostPin, petition: &Petition) -> Result<Receiver<Result<Signed>>> {
    let (sender, channel) = mpsc::channel();
    let (to, what) = (pin.clone(), petition.clone());
    let work = move || {
        let mut answer = send(&to, &what, TIMEOUT);
        for _ in 1..TRIES {
            if !matches!(&answer, Err(e) if e.kind() == Kind::Io) {
                break;
            }
            std::thread::sleep(PAUSE);
            answer = send(&to, &what, TIMEOUT);
        }
        // Nobody listens any more when the session has ended.
        let _ = sender.send(answer);
    };
    std::thread::Builder::new()
        .name("admission".into())
        .spawn(work)
        .map_err(|e| Error::new(Kind::Io, "start", "the admission request", e))?;
    Ok(channel)
}

/// What a person may do with a request that has no answer.
const ROADS: [&str; 4] = [
    "Later: go on without it",
    "Write it to the key stick (put the stick in first)",
    "Show it as QR codes, for a telephone to carry",
    "Ask over the network",
];

impl Answer {
    /// Whether the request has gone out of this machine on any road.
    pub fn has_gone_out(&self) -> bool {
        self.channel.is_some() || self.posted
    }

    fn ask(&mut self, ui: Ui) -> Result<()> {
        let (name, address) = (&self.pin.name, &self.pin.address);
        ui.say(&format!("Asking {name} at {address}, beside sealing."));
        self.channel = Some(ask(&self.pin, &self.petition)?);
        Ok(())
    }

    /// Lets the person choose how the request goes out, until it has, or later.
    fn by_mail(&mut self, profile: &Profile, ui: Ui, out: Out) -> Step<()> {
        let question = format!("The request for {}", self.pin.name);
        let items = ROADS.map(String::from);
        loop {
            let sent = match ui.choose(&question, &items, "admission.host")? {
                Some(1) => mail::post(&self.pin, &self.petition, profile, ui),
                Some(2) => show_request(&self.petition.request, out),
                Some(3) => return Ok(self.ask(ui)?),
                _ => return Ok(()),
            };
            match sent {
                Ok(()) => {
                    self.posted = true;
                    return Ok(());
                }
                Err(e) => match ui.way_on(e, &[Way::Again, Way::Without], out)? {
                    Way::Without => return Ok(()),
                    _ => continue,
                },
            }
        }
    }

    /// Takes up a late decision; where none came, the person may send the request another way.
    ///
    /// # Errors
    /// A `Stop`.
    pub fn at_the_end(
        &mut self,
        domain: &mut Domain,
        profile: &Profile,
        ui: Ui,
        out: Out,
    ) -> Step<Option<LeaseRecord>> {
        let mut lease = self.wait(SHORT_WAIT, domain, ui)?;
        while !self.decided && !self.posted && ui.may_ask() {
            ui.say(&format!("{} has not answered.", self.pin.name));
            let before = self.channel.take().is_some();
            self.by_mail(profile, ui, out)?;
            if self.channel.is_none() {
                // It went out before, though nobody listens for the answer any more.
                self.posted |= before;
                break;
            }
            lease = self.wait(TIMEOUT, domain, ui)?;
        }
        Ok(lease)
    }

    /// Waits a while for the decision, says it and records it; what is wrong with it is said, and
    /// sealing goes on without it.
    ///
    /// # Errors
    /// `Io` where the boot's name cannot be had.
    pub fn wait(
        &mut self,
        how_long: Duration,
        domain: &mut Domain,
        ui: Ui,
    ) -> Result<Option<LeaseRecord>> {
        let Some(channel) = self.channel.as_ref().filter(|_| !self.decided) else {
            return Ok(None);
        };
        let answer = match channel.recv_timeout(how_long) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if !how_long.is_zero() {
                    ui.say("No answer yet; it is taken up when it comes. Sealing does not wait for it.");
                }
                return Ok(None);
            }
            // It was answered before, and the answer was told.
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(None),
        };
        let boot = boot_id()?;
        let pin = pinned(&self.pin)?;
        let taken = answer
            .and_then(|signed| apply(domain, &context(), &pin, &self.petition, &signed, boot));
        match taken {
            Ok((decision, lease)) => {
                self.decided = true;
                ui.say(&in_words(&decision));
                Ok(lease)
            }
            Err(e) => {
                ui.say(&format!(
                    "{e}\n  next: {}\nSealing goes on without the host.",
                    e.what_next()
                ));
                Ok(None)
            }
        }
    }
}
