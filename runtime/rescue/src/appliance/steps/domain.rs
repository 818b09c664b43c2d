//! Step 1: the key stick, the target, and the domain that is opened or made there.

use super::super::profile::{in_force, Profile};
use super::super::session::{self, Place as Medium};
use super::super::ui::Ui;
use super::super::way::Way;
use super::super::{prepare, refuse_example_keys, setup};
use super::Step;
use crate::commands::context;
use crate::commands::dam::apply;
use crate::commands::domain::create_from_stick;
use crate::out::Out;
use crate::system;
use asl_auth::{Dam, VerifiedDam};
use asl_core::{Error, Kind, Result, Timestamp};
use asl_host::keystick::KeyStick;
use asl_host::{Domain, HostRoot, KeptKey};
use std::path::Path;

/// What step 1 found and made.
pub struct Place {
    /// Where the key stick is mounted.
    pub keys_at: Medium,
    /// The key stick.
    pub stick: KeyStick,
    /// The profile in force.
    pub profile: Profile,
    /// Where the domain lives.
    pub target: Medium,
    /// The host root on the target.
    pub host: HostRoot,
    /// The stick's domain in it.
    pub domain: Domain,
}

/// Finds stick and target, and opens or makes the domain; nothing is sealed before step 2.
///
/// # Errors
/// A `Stop`.
pub fn find(root: &Path, named: Option<&Profile>, ui: Ui, out: Out) -> Step<Place> {
    let (keys_at, stick, profile) = loop {
        match stick_in(named, ui) {
            Ok(found) => break found,
            Err(e) => {
                if ui.way_on(e, &[Way::Stick, Way::Prepare], out)? == Way::Prepare {
                    // What could not be prepared was told, and this question comes again.
                    let _ = prepare::run(ui, out);
                    system::reset_stop();
                }
            }
        }
    };
    let ui = Ui::new(profile.interactive);
    let (target, host, domain) = loop {
        match domain_on_target(&profile, root, &stick, ui) {
            Ok(found) => break found,
            Err(e) => ui.way_on(e, &[Way::Target], out)?,
        };
    };
    Ok(Place {
        keys_at,
        stick,
        profile,
        target,
        host,
        domain,
    })
}

/// A key stick whose DAM holds and whose keys may be used here, with the profile in force.
fn stick_in(named: Option<&Profile>, ui: Ui) -> Result<(Medium, KeyStick, Profile)> {
    let keys_at = session::find_keys(named, ui)?;
    let stick = KeyStick::open(keys_at.path())?;
    let profile = in_force(named, Some(&stick))?;
    setup::apply(&profile, Ui::new(profile.interactive));
    refuse_example_keys(&stick, profile.demo)?;
    let dam = verified(&stick)?;
    refuse_other_domain(dam.genesis().label.as_str(), &profile.domain.labels)?;
    if let Err(e) = dam.check_time(Timestamp::claimed(context().clock.wall_ns())) {
        // The clock of a broken machine proves nothing: saving data does not wait for it.
        ui.say(&format!(
            "warning: {e}.\nSealing goes on; no host will admit it until the root keys sign a new one."
        ));
    }
    Ok((keys_at, stick, profile))
}

/// Refuses a stick whose domain is none of those the profile names; none named means any.
fn refuse_other_domain(label: &str, allowed: &[String]) -> Result<()> {
    if allowed.is_empty() || allowed.iter().any(|l| l == label) {
        return Ok(());
    }
    let why = format!(
        "its domain is {label}; the profile allows {}",
        allowed.join(", ")
    );
    Err(Error::new(Kind::Refused, "use", "this key stick", why)
        .next("put in the stick of one of these domains, or change domain.labels in the profile"))
}

fn verified(stick: &KeyStick) -> Result<VerifiedDam> {
    let dam = stick.dam()?;
    let verified = Dam::verify(&dam.bytes, &dam.sig, None)?;
    if verified.dam().encryption.is_none() {
        return Err(Error::new(
            Kind::Refused,
            "use",
            "this key stick",
            "its domain is not encrypted",
        )
        .next("the appliance seals into encrypted domains; use `asl-host ingest` for plain ones"));
    }
    Ok(verified)
}

fn domain_on_target(
    profile: &Profile,
    root: &Path,
    stick: &KeyStick,
    ui: Ui,
) -> Result<(Medium, HostRoot, Domain)> {
    let target = session::find_target(profile, root, ui)?;
    let dam = verified(stick)?;
    let host = match HostRoot::open(target.path()) {
        Ok(host) => host,
        Err(e) if e.kind() == Kind::NotFound => {
            let kept = match &dam.dam().encryption {
                Some(encryption) => KeptKey::SealedTo(&encryption.index_recipient),
                None => KeptKey::Plain,
            };
            HostRoot::init(target.path(), &context(), kept)?
        }
        Err(e) => return Err(e),
    };
    let id = dam.genesis().domain_id();
    let domain = match Domain::open(&host, &id) {
        Ok(mut domain) => {
            ui.say(&format!(
                "Found domain {id} here; it goes on where it stopped."
            ));
            // A stick of a later DAM brings it along; one of an older DAM is refused.
            if let Some(words) = apply::from(&host, &mut domain, stick)?.in_words() {
                ui.say(&words);
            }
            domain
        }
        Err(e) if e.kind() == Kind::NotFound => {
            let domain = create_from_stick(&host, stick)?;
            ui.say(&format!("Created domain {id}."));
            domain
        }
        Err(e) => return Err(e),
    };
    Ok((target, host, domain))
}
