//! Admission without a network: the request goes out on the key stick, the decision comes back
//! there (flows.md, steps 3 and 4). Nothing but `mail/` is written.

use super::super::profile::Profile;
use super::super::session::{mail_on_stick, MAIL};
use super::super::ui::Ui;
use crate::commands::admission::{in_words, pinned};
use crate::commands::{boot_id, context};
use asl_auth::AdmissionRequest;
use asl_core::{Error, Kind, Result};
use asl_host::admission::{apply, read_decision, Petition};
use asl_host::keystick::{HostPin, KeyStick, Signed};
use asl_host::Domain;
use std::path::{Path, PathBuf};

/// Folders looked at in `mail/` at most, and requests to one host that may wait there.
const FOLDERS: usize = 99;

/// A decision that lies on the stick, with the petition it answers.
pub struct Brought {
    folder: PathBuf,
    pin: HostPin,
    petition: Petition,
    decision: Signed,
}

/// The decisions on a mounted stick that answer requests of this domain to hosts it names.
///
/// What is malformed there is said and left: sealing needs none of it.
pub fn brought(stick_at: &Path, stick: &KeyStick, domain: &Domain, ui: Ui) -> Vec<Brought> {
    let Ok(entries) = std::fs::read_dir(stick_at.join(MAIL)) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries
        .take(FOLDERS)
        .filter_map(|e| e.ok().map(|e| e.path()))
        .collect();
    folders.sort();
    let mut found = Vec::new();
    for folder in folders {
        match read(&folder, stick, domain) {
            Ok(brought) => found.extend(brought),
            Err(e) => ui.say(&format!(
                "{e}\n  It is left alone; sealing does not need it."
            )),
        }
    }
    found
}

fn read(folder: &Path, stick: &KeyStick, domain: &Domain) -> Result<Option<Brought>> {
    let decision = match read_decision(folder) {
        Ok(decision) => decision,
        // A request that waits for its answer.
        Err(e) if e.kind() == Kind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let petition = Petition::read(folder)?;
    let request = AdmissionRequest::decode(&petition.request.bytes)?;
    if request.dam != domain.require_dam()?.digest() {
        return Ok(None);
    }
    for pin in stick.hosts()? {
        if pinned(&pin)?.id() == request.host {
            let folder = folder.to_path_buf();
            return Ok(Some(Brought {
                folder,
                pin,
                petition,
                decision,
            }));
        }
    }
    Err(Error::new(
        Kind::Refused,
        "take",
        folder.display(),
        "it is of a host that this key stick does not name",
    )
    .next("pin the host at home with `asl-host key bundle --host`"))
}

/// Takes up the decisions that came with the stick; one that does not hold is said and left.
///
/// # Errors
/// `Io` where the boot's name cannot be had.
pub fn take_up(brought: Vec<Brought>, domain: &mut Domain, ui: Ui) -> Result<()> {
    let boot = boot_id()?;
    for b in brought {
        let before = domain.admissions();
        let taken = pinned(&b.pin)
            .and_then(|host| apply(domain, &context(), &host, &b.petition, &b.decision, boot));
        match taken {
            Ok((decision, _)) if domain.admissions() > before => ui.say(&format!(
                "The key stick brings a decision of {}.\n{}",
                b.pin.name,
                in_words(&decision)
            )),
            Ok(_) => {}
            Err(e) => ui.say(&format!(
                "{e}\n  It lies in {}; sealing goes on without it.",
                b.folder.display()
            )),
        }
    }
    Ok(())
}

/// Writes a request into `mail/` of the key stick, which is asked for again.
///
/// # Errors
/// `NotFound` where no stick is in; `Io`, and `Exists` where too many requests wait there.
pub fn post(pin: &HostPin, petition: &Petition, profile: &Profile, ui: Ui) -> Result<()> {
    mail_on_stick(profile, ui, |mail| {
        let folder = free_folder(mail, &pin.name)?;
        petition.write(&folder)?;
        ui.say(&format!(
            "The request lies in {MAIL}/{} of the key stick. Carry it to {}, run\n\
             `asl-host admission decide --request DIR` there, and bring the stick back: the next\n\
             session takes the decision up.",
            folder.file_name().unwrap_or_default().display(),
            pin.name
        ));
        Ok(())
    })
}

/// Makes a folder for one more request to this host; those that wait there stay.
fn free_folder(mail: &Path, host: &str) -> Result<PathBuf> {
    let safe: String = host
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(60)
        .collect();
    let failed = |path: &Path, e: std::io::Error| {
        Error::new(Kind::Io, "write the request to", path.display(), e)
            .next("look whether the stick is full or write-protected, or take another")
    };
    std::fs::create_dir_all(mail).map_err(|e| failed(mail, e))?;
    for n in 1..=FOLDERS {
        let name = match n {
            1 => safe.clone(),
            n => format!("{safe}-{n}"),
        };
        let folder = mail.join(name);
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(&folder, e)),
        }
    }
    Err(Error::new(
        Kind::Exists,
        "write the request to",
        mail.display(),
        format!("{FOLDERS} requests to {host} wait there"),
    )
    .next("remove old ones from the stick's mail folder"))
}
