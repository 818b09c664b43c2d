//! Step 2: the owner's words compared, the keys unlocked, the request signed.

use super::super::ui::Ui;
use super::super::way::{Stop, Way};
use super::super::{compare, keyboard, session};
use super::admission::{Asked, Road};
use super::domain::Place;
use super::Step;
use crate::commands::admission::pinned;
use crate::commands::context;
use crate::commands::seal::{session_of, Session};
use crate::out::Out;
use crate::unlock::{unlock, Order, RequestTerms};
use asl_auth::{Proven, SealCredential, SigningKey};
use asl_core::{Error, Kind, Result};
use asl_host::admission::Petition;
use asl_host::handle::Device;
use asl_host::keystick::{name, HostPin};

/// What a session holds once its keys are loaded.
pub struct Keys {
    /// The right to seal.
    pub seal: SealCredential,
    /// The session's key and its delegation.
    pub device: Device,
    /// The signed request, and the road it takes.
    pub petition: Option<Asked>,
}

/// Shows whose key will open the data, and unlocks.
///
/// # Errors
/// A `Stop`: another stick is another session.
pub fn load(place: &Place, ui: Ui, out: Out) -> Step<Keys> {
    if let Err(e) = recipients(place, ui) {
        ui.way_on(e, &[Way::Stick], out)?;
        return Err(Stop::FromTheFirst);
    }
    let asked = loop {
        match host_to_ask(place, ui) {
            Ok(asked) => break asked,
            Err(e) => match ui.way_on(e, &[Way::Again, Way::Without], out)? {
                Way::Without => break None,
                _ => continue,
            },
        }
    };
    loop {
        let pin = asked.as_ref().map(|(pin, _)| pin);
        match load_keys(place, pin, ui, out) {
            Ok((session, petition)) => {
                return Ok(Keys {
                    seal: session.seal,
                    device: session.device,
                    petition: asked.zip(petition).map(|((pin, road), petition)| Asked {
                        pin,
                        petition,
                        road,
                    }),
                })
            }
            Err(e) => ui.way_on(e, &[Way::Again], out)?,
        };
    }
}

fn recipients(place: &Place, ui: Ui) -> Result<()> {
    let dam = place.domain.require_dam()?;
    if let Some(encryption) = &dam.dam().encryption {
        compare::with_the_card(&encryption.owner_recipients, ui)?;
    }
    let proof = place
        .stick
        .read_optional(name::PROVEN)?
        .zip(place.stick.read_optional(name::PROVEN_SIG)?);
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

/// The host that is asked for admission, if any, and the road there.
fn host_to_ask(place: &Place, ui: Ui) -> Result<Option<(HostPin, Road)>> {
    if place.profile.admission.offline {
        return Ok(None);
    }
    if let Some(wanted) = &place.profile.admission.host {
        let pin = place.stick.host(wanted)?;
        return Ok(Some((pin, Road::Network)));
    }
    let hosts = place.stick.hosts()?;
    if hosts.is_empty() || !ui.may_ask() {
        return Ok(None);
    }
    let roads: Vec<(&HostPin, Road)> = hosts
        .iter()
        .flat_map(|h| [(h, Road::Network), (h, Road::Mail)])
        .collect();
    let mut items: Vec<String> = roads
        .iter()
        .map(|(h, road)| match road {
            Road::Network => format!("{} at {}", h.name, h.address),
            Road::Mail => format!("{} by mail: on the key stick, or as a QR code", h.name),
        })
        .collect();
    items.push("None: work offline".to_string());
    let chosen = ui.choose(
        "Which host shall be asked for admission",
        &items,
        "admission.host",
    )?;
    let road = chosen.and_then(|i| roads.get(i));
    Ok(road.map(|(pin, road)| ((*pin).clone(), *road)))
}

/// Unlocks in the short-lived child; the passphrase never enters this process.
fn load_keys(
    place: &Place,
    asked: Option<&HostPin>,
    ui: Ui,
    out: Out,
) -> Result<(Session, Option<Petition>)> {
    let profile = &place.profile;
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
    if passphrase.is_none() {
        keyboard::choose(profile.keyboard.as_deref(), ui)?;
    }
    let order = Order {
        stick: place.keys_at.path().to_path_buf(),
        passphrase_file: passphrase.as_ref().map(|p| p.file().to_path_buf()),
        device: Some(device.public()),
        requests,
        proven: None,
        revocation: None,
    };
    let unlocked = unlock(&order, out)?;
    passphrase.map_or(Ok(()), |p| p.release())?;
    let (session, mut requests) = session_of(unlocked, device, &place.domain)?;
    let petition = match requests.pop() {
        Some(request) => Some(Petition {
            dam: place.stick.dam()?,
            request,
        }),
        None => None,
    };
    Ok((session, petition))
}
