//! The six steps, in order; each is what a plain command does too.

use super::profile::{in_force, Applies, EndAction, Profile};
use super::session::{self, Place};
use super::ui::Ui;
use super::{compare, disks, refuse_example_keys, setup};
use crate::commands::admission::{in_words, pinned, send};
use crate::commands::domain::create_from_stick;
use crate::commands::seal::{read_back, seal_tree, sealed_in_words, session_of, Session};
use crate::commands::{boot_id, context};
use crate::out::Out;
use crate::progress::Screen;
use crate::unlock::{unlock, Order, RequestTerms};
use asl_auth::{Dam, Proven, SigningKey};
use asl_backend::Durability;
use asl_core::{words, Error, Kind, Result};
use asl_host::admission::{apply, Petition};
use asl_host::keystick::{name, HostPin, KeyStick, Signed};
use asl_host::{Credentials, Domain, HostRoot, KeptKey, LeaseScope, StoreHandle};
use asl_store::{Mode, ReadBack};
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tries to reach the host, with a pause between: a network may come up late.
const TRIES: u32 = 24;
const PAUSE: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long the decision is waited for before sealing starts without it.
const SHORT_WAIT: Duration = Duration::from_secs(5);

/// Takes all six steps.
///
/// # Errors
/// Of the step that could not be taken; what was acknowledged before stays.
pub fn all(root: &Path, named: Option<&Profile>, ui: Ui, out: Out) -> Result<EndAction> {
    if session::is_appliance() {
        disks::protect_all()?;
    }

    ui.step(1, "Create a local domain");
    let keys_at = session::find_keys(named, ui)?;
    let stick = KeyStick::open(keys_at.path())?;
    let profile = in_force(named, Some(&stick))?;
    let ui = Ui::new(profile.interactive);
    setup::apply(&profile, ui);
    refuse_example_keys(&stick, profile.demo)?;
    refuse_other_domain(&stick, &profile.domain.labels)?;
    let target = session::find_target(&profile, root, ui)?;
    let (host, mut domain) = domain_on(target.path(), &stick, ui)?;

    ui.step(2, "Load DAM and keys");
    say_recipients(&domain, &stick, ui)?;
    let asked = host_to_ask(&profile, &stick, ui)?;
    let (session, petition) = load_keys(&profile, &stick, &keys_at, &domain, asked.as_ref(), out)?;
    drop(stick);
    keys_at.release()?;
    ui.say("The keys are loaded. The key stick may be taken out.");

    ui.step(3, "Submit the admission request");
    let mut answer = submit(asked, petition, ui)?;

    ui.step(4, "Receive the decision");
    let scope = if profile.lease.applies == Applies::Both {
        LeaseScope::Both
    } else {
        LeaseScope::Remote
    };
    let boot = boot_id()?;
    if let Some(answer) = &mut answer {
        answer.wait(SHORT_WAIT, &mut domain, boot, ui)?;
    }

    ui.step(5, "Sealed ingestion");
    let handle = StoreHandle::open(
        &host,
        &domain,
        Mode::Write,
        Credentials::Seal(session.seal),
        scope,
        boot,
        &context(),
    )?;
    let beside = Mutex::new((answer, domain));
    let holes = seal_all(&profile, &handle, &target, &beside, boot, ui, out)?;
    let (answer, mut domain) = beside.into_inner().unwrap_or_else(PoisonError::into_inner);
    let read_back = read_back(&handle, out)?;

    ui.step(6, "Snapshot and wait");
    let asked = answer.is_some();
    if let Some(mut answer) = answer {
        if let Some(lease) = answer.wait(SHORT_WAIT, &mut domain, boot, ui)? {
            handle.attach_lease(lease);
        }
    }
    let snapshot = handle.snapshot(Some(&session.device), read_back, holes)?;
    domain.write_descriptor(&context())?;
    let head = handle.head();
    ui.say(&format!(
        "Snapshot {snapshot}, signed by this session's device key."
    ));
    ui.say(&format!(
        "Log head, commit {}: {}",
        head.commit,
        words(head.frame.as_bytes())
    ));
    say_remains(&handle, &domain, &target, holes, read_back, asked, ui);
    drop(handle);
    drop(domain);
    target.release()?;
    Ok(profile.end.action)
}

/// Refuses a stick whose domain is none of those the profile names; none named means any.
fn refuse_other_domain(stick: &KeyStick, labels: &[String]) -> Result<()> {
    let dam = stick.dam()?;
    let genesis = Dam::verify(&dam.bytes, &dam.sig, None)?.genesis().clone();
    let label = genesis.label.as_str();
    if labels.is_empty() || labels.iter().any(|l| l == label) {
        return Ok(());
    }
    let why = format!(
        "its domain is {label}; the profile allows {}",
        labels.join(", ")
    );
    Err(Error::new(Kind::Refused, "use", "this key stick", why)
        .next("put in the stick of one of these domains, or change domain.labels in the profile"))
}

/// Opens or makes the root and the domain of the stick's DAM; nothing is sealed before step 2.
fn domain_on(root: &Path, stick: &KeyStick, ui: Ui) -> Result<(HostRoot, Domain)> {
    let dam = stick.dam()?;
    let verified = Dam::verify(&dam.bytes, &dam.sig, None)?;
    let encryption = verified.dam().encryption.as_ref().ok_or_else(|| {
        Error::new(
            Kind::Refused,
            "use",
            "this key stick",
            "its domain is not encrypted",
        )
        .next("the appliance seals into encrypted domains; use `asl-host ingest` for plain ones")
    })?;
    let host = match HostRoot::open(root) {
        Ok(host) => host,
        Err(e) if e.kind() == Kind::NotFound => HostRoot::init(
            root,
            &context(),
            KeptKey::SealedTo(&encryption.index_recipient),
        )?,
        Err(e) => return Err(e),
    };
    let id = verified.genesis().domain_id();
    let domain = match Domain::open(&host, &id) {
        Ok(domain) => {
            ui.say(&format!(
                "Found domain {id} here; it goes on where it stopped."
            ));
            domain
        }
        Err(e) if e.kind() == Kind::NotFound => {
            let domain = create_from_stick(&host, stick)?;
            ui.say(&format!("Created domain {id}."));
            domain
        }
        Err(e) => return Err(e),
    };
    Ok((host, domain))
}

/// Shows whose key will open the data, before the first byte is sealed.
fn say_recipients(domain: &Domain, stick: &KeyStick, ui: Ui) -> Result<()> {
    let dam = domain.require_dam()?;
    if let Some(encryption) = &dam.dam().encryption {
        compare::with_the_card(&encryption.owner_recipients, ui)?;
    }
    let proof = stick
        .read_optional(name::PROVEN)?
        .zip(stick.read_optional(name::PROVEN_SIG)?);
    let proven = match proof {
        Some((doc, sig)) => Proven::verify(&doc, &sig, dam).map(drop),
        None => Err(Error::new(
            Kind::Refused,
            "trust",
            "these keys",
            "nobody has proven that the owner's key opens them",
        )
        .next("run `asl-host key check` at home and bundle the stick again")),
    };
    match proven {
        Err(e) if !ui.confirm(&format!("{e}. Seal all the same",), false)? => Err(e),
        _ => Ok(()),
    }
}

/// The host that is asked for admission, if any.
fn host_to_ask(profile: &Profile, stick: &KeyStick, ui: Ui) -> Result<Option<HostPin>> {
    if profile.admission.offline {
        return Ok(None);
    }
    if let Some(wanted) = &profile.admission.host {
        return stick.host(wanted).map(Some);
    }
    let hosts = stick.hosts()?;
    if hosts.is_empty() || !ui.may_ask() {
        return Ok(None);
    }
    let mut items: Vec<String> = hosts
        .iter()
        .map(|h| format!("{} at {}", h.name, h.address))
        .collect();
    items.push("None: work offline".to_string());
    let chosen = ui.choose(
        "Which host shall be asked for admission",
        &items,
        "admission.host",
    )?;
    Ok(chosen.and_then(|i| hosts.get(i)).cloned())
}

/// Unlocks in the short-lived child; the passphrase never enters this process.
fn load_keys(
    profile: &Profile,
    stick: &KeyStick,
    keys_at: &Place,
    domain: &Domain,
    asked: Option<&HostPin>,
    out: Out,
) -> Result<(Session, Option<Petition>)> {
    let device = SigningKey::generate(&*context().entropy)?;
    let mut requests = Vec::new();
    if let Some(pin) = asked {
        requests.push(RequestTerms {
            host: pinned(pin)?.id(),
            bytes: profile.lease.bytes,
            seconds: u64::from(profile.lease.days) * 86_400,
        });
    }
    let passphrase = session::find_passphrase(profile)?;
    let order = Order {
        stick: keys_at.path().to_path_buf(),
        passphrase_file: passphrase.as_ref().map(|p| p.file().to_path_buf()),
        device: Some(device.public()),
        requests,
        proven: None,
    };
    let unlocked = unlock(&order, out)?;
    passphrase.map_or(Ok(()), |p| p.release())?;
    let (session, mut requests) = session_of(unlocked, device, domain)?;
    let petition = match requests.pop() {
        Some(request) => Some(Petition {
            dam: stick.dam()?,
            request,
        }),
        None => None,
    };
    Ok((session, petition))
}

/// A request that is under way.
struct Answer {
    pin: HostPin,
    petition: Petition,
    channel: Receiver<Result<Signed>>,
    settled: bool,
}

/// Sends the request in a thread of its own: nothing waits for a network.
fn submit(asked: Option<HostPin>, petition: Option<Petition>, ui: Ui) -> Result<Option<Answer>> {
    let (Some(pin), Some(petition)) = (asked, petition) else {
        ui.say("No host is asked; the domain stays this machine's own.");
        return Ok(None);
    };
    ui.say(&format!(
        "Asking {} at {}, beside sealing.",
        pin.name, pin.address
    ));
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
    Ok(Some(Answer {
        pin,
        petition,
        channel,
        settled: false,
    }))
}

impl Answer {
    /// Waits a while for the decision, says it and records it.
    fn wait(
        &mut self,
        how_long: Duration,
        domain: &mut Domain,
        boot: [u8; 16],
        ui: Ui,
    ) -> Result<Option<asl_host::hostlog::LeaseRecord>> {
        if self.settled {
            return Ok(None);
        }
        let answer = match self.channel.recv_timeout(how_long) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if !how_long.is_zero() {
                    ui.say("No answer yet; it is taken up when it comes. Sealing does not wait for it.");
                }
                return Ok(None);
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(None),
        };
        self.settled = true;
        match answer {
            Ok(signed) => {
                let (decision, lease) = apply(
                    domain,
                    &context(),
                    &pinned(&self.pin)?,
                    &self.petition,
                    &signed,
                    boot,
                )?;
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

/// Seals every source; returns how many problems they had.
fn seal_all(
    profile: &Profile,
    handle: &StoreHandle,
    target: &Place,
    beside: &Mutex<(Option<Answer>, Domain)>,
    boot: [u8; 16],
    ui: Ui,
    out: Out,
) -> Result<u64> {
    let sources = session::find_sources(profile, ui)?;
    let places = sources
        .iter()
        .enumerate()
        .map(|(n, s)| s.open(n + 1))
        .collect::<Result<Vec<_>>>()?;
    session::say_fit(&places, target, ui)?;
    let mut holes = 0;
    for place in places {
        ui.say(&format!("Sealing {}", place.name()));
        let screen = Screen::new(out, "sealing", |_| take_up_answer(handle, beside, boot, ui));
        let sealed = seal_tree(handle, place.path(), place.name(), target.path(), &screen);
        screen.finish();
        let sealed = sealed?;
        ui.say(&format!(
            "  {}",
            sealed_in_words(&sealed, handle.durability())
        ));
        holes += sealed.problem_count;
        place.release()?;
    }
    Ok(holes)
}

/// Takes up a decision that came while sealing.
fn take_up_answer(
    handle: &StoreHandle,
    beside: &Mutex<(Option<Answer>, Domain)>,
    boot: [u8; 16],
    ui: Ui,
) {
    let mut held = beside.lock().unwrap_or_else(PoisonError::into_inner);
    let (answer, domain) = &mut *held;
    let Some(answer) = answer else {
        return;
    };
    match answer.wait(Duration::ZERO, domain, boot, ui) {
        Ok(Some(lease)) => handle.attach_lease(lease),
        Ok(None) => {}
        Err(e) => ui.say(&format!("{e}")),
    }
}

/// Says before power-off what remains where.
fn say_remains(
    handle: &StoreHandle,
    domain: &Domain,
    target: &Place,
    holes: u64,
    read_back: ReadBack,
    asked: bool,
    ui: Ui,
) {
    let durable = handle.durability() == Durability::Durable;
    let kept = if durable {
        "durable"
    } else {
        "VOLATILE: gone when the power goes"
    };
    let checked = if read_back == ReadBack::Done {
        "every block read back and checked"
    } else {
        "not read back"
    };
    ui.say(&format!(
        "On {}: domain {}, {kept}, {checked}.",
        target.name(),
        domain.id()
    ));
    if holes > 0 {
        ui.say(&format!(
            "SEALED WITH HOLES: {holes} problems, listed in the sealed root."
        ));
    }
    ui.say(match (asked, domain.lease()) {
        (true, Some(_)) => "The host lends space; no sealed block has left this machine yet.",
        (true, None) => "No lease; nothing has left this machine but the request.",
        (false, _) => "Nothing has left this machine.",
    });
}
