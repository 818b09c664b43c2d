//! The steps that make something: each does what the plain command of its name does.

use crate::appliance::keyboard;
use crate::appliance::ui::Ui;
use crate::commands::dam::wishes::Wishes;
use crate::commands::dam::{sign, write};
use crate::commands::keys::holding::Holding;
use crate::commands::keys::{card as paper, check, generate, hosts as pins};
use crate::out::{remark, Out};
use crate::prompt::new_passphrase;
use asl_auth::Recipient;
use asl_backend::files;
use asl_core::{Kind, Result};
use asl_host::keystick::{name, HostPin, KeyStick};
use std::path::{Path, PathBuf};

/// `key generate`.
pub fn keys(keys: &Path, ui: Ui) -> Result<()> {
    if KeyStick::open(keys).is_ok() {
        ui.say("They are made.");
        return Ok(());
    }
    let ways = [
        "Make an owner's identity here",
        "Seal for an age recipient that I have",
    ]
    .map(String::from);
    let owners = match ui.choose("Who shall open the data", &ways, "interactive")? {
        Some(1) => vec![until_good(
            ui,
            "The recipient (age1... or ssh-ed25519 ...)",
            |text| text.parse::<Recipient>(),
        )?],
        _ => Vec::new(),
    };
    let own = owners.is_empty();
    ui.say("The passphrase locks the key stick. It opens no data, and it is typed at the broken machine.");
    keyboard::choose(None, ui)?;
    let passphrase = new_passphrase(None)?;
    remark("Making keys; this takes a few seconds ...");
    generate::make(keys, owners, None, &passphrase)?;
    ui.say(&format!("Made keys in {}.", keys.display()));
    if own {
        ui.say("owner.txt opens everything; root.key signs. Neither goes on the key stick.");
    }
    if !is_private(keys) {
        ui.say("warning: this file system keeps no permissions. Whoever holds it reads the keys.");
    }
    Ok(())
}

fn is_private(dir: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    dir.metadata()
        .is_ok_and(|m| m.permissions().mode() & 0o077 == 0)
}

/// `dam create` and `dam sign`.
pub fn dam(keys: &Path, ui: Ui) -> Result<()> {
    let stick = KeyStick::open(keys)?;
    if stick.read_optional(name::DAM)?.is_none() {
        until_good(ui, "The domain's name, such as alice.personal", |label| {
            label.parse::<asl_core::Label>().map(|_| label.to_string())
        })
        .and_then(|label| {
            let days = until_good(ui, "Days until its DAM ends (Enter alone: never)", days)?;
            let wishes = Wishes {
                days,
                ..Wishes::default()
            };
            write::first(keys, &label, &wishes)
        })?;
    }
    if stick.read_optional(name::DAM_SIG)?.is_none() {
        sign::sign_alone(keys)?;
    }
    let holding = Holding::of(keys)?;
    let dam = holding.whole()?;
    ui.say(&format!(
        "DAM number {} of {}, signed by the root key.",
        dam.dam().sequence,
        dam.genesis().domain_id()
    ));
    Ok(())
}

fn days(text: &str) -> Result<Option<u32>> {
    if text.is_empty() {
        return Ok(None);
    }
    let days = text.parse().ok().filter(|d| *d > 0).ok_or_else(|| {
        asl_core::Error::new(
            Kind::Invalid,
            "read",
            format!("{text:?}"),
            "it is no number of days",
        )
        .next("type a number such as 365, or nothing")
    })?;
    Ok(Some(days))
}

/// `key host add` and `key host remove`.
pub fn hosts(keys: &Path, ui: Ui) -> Result<()> {
    loop {
        let pinned = KeyStick::open(keys)?.hosts()?;
        for pin in &pinned {
            ui.say(&pins::in_words(pin));
        }
        let mut ways = vec!["Go on".to_string(), "Pin a host".to_string()];
        ways.extend(pinned.iter().map(|p| format!("Remove {}", p.name)));
        let question = if pinned.is_empty() {
            "No host is pinned: the rescue works offline"
        } else {
            "These hosts can be asked for space"
        };
        match ui.choose(question, &ways, "interactive")? {
            None | Some(0) => return Ok(()),
            Some(1) => pin(keys, ui)?,
            Some(n) => {
                if let Some(pin) = pinned.get(n - 2) {
                    pins::remove(keys, &pin.name)?;
                }
            }
        }
    }
}

fn pin(keys: &Path, ui: Ui) -> Result<()> {
    ui.say("Its keeper tells you address and key: `asl-host status` and `serve` show them.");
    let pin = until_good(
        ui,
        "The host, as NAME=ADDRESS:PORT=ssh-ed25519 AAAA...",
        HostPin::parse,
    )?;
    ui.say(&pins::in_words(&pin));
    if !ui.confirm(
        "Did the keeper read the same twelve words to you, by telephone",
        false,
    )? {
        ui.say("Not pinned. With another key it is another host: ask the keeper again.");
        return Ok(());
    }
    match pins::add(keys, &pin) {
        Err(e) if e.kind() == Kind::Exists => {
            ui.say(&format!("{e}"));
            Ok(())
        }
        done => done,
    }
}

/// `key check`, unless it is done.
pub fn proof(keys: &Path, ui: Ui, out: Out) -> Result<()> {
    if Holding::of(keys)?.proof.is_ok() {
        ui.say("It is proven.");
        return Ok(());
    }
    prove_again(keys, ui, out)
}

/// `key check`.
pub fn prove_again(keys: &Path, ui: Ui, out: Out) -> Result<()> {
    let usual = keys.join(name::OWNER);
    let known = usual.is_file();
    let question = if known {
        "The owner's identity file (Enter alone: owner.txt beside the keys)"
    } else {
        "The owner's identity file (Enter alone: not now)"
    };
    let typed = ui.line(question, "interactive")?;
    let identity = match (typed.is_empty(), known) {
        (true, true) => usual,
        (true, false) => {
            ui.say("Not proven: at the rescue everybody is told so.");
            return Ok(());
        }
        (false, _) => PathBuf::from(typed),
    };
    check::prove(keys, &identity, None, out)?;
    ui.say("Proven: a probe was sealed and opened with the owner's key.");
    Ok(())
}

/// `key card`, into files beside the keys.
pub fn card(keys: &Path, ui: Ui) -> Result<()> {
    let holding = Holding::of(keys)?;
    let write = |file: &str, owner: Option<&Path>| {
        let path = holding.dir.join(file);
        let text = paper::card(&holding, owner)?;
        files::replace(&path, text.as_bytes(), 0o600)?;
        ui.say(&format!("Wrote {}. Print it: lp {0}", path.display()));
        Ok(())
    };
    if holding.is_stick {
        ui.say(&paper::card(&holding, None)?);
        return Ok(());
    }
    write("card.txt", None)?;
    let owner = keys.join(name::OWNER);
    let question = "Print the owner's secret too, on a second sheet to be kept elsewhere";
    if owner.is_file() && ui.confirm(question, false)? {
        write("card-with-secret.txt", Some(&owner))?;
        ui.say("Remove that file once it is printed.");
    }
    Ok(())
}

/// Asks until the answer can be meant; why it cannot is told.
fn until_good<T>(ui: Ui, question: &str, read: impl Fn(&str) -> Result<T>) -> Result<T> {
    loop {
        match read(&ui.line(question, "interactive")?) {
            Err(e) => ui.say(&format!("{e}\n  next: {}", e.what_next())),
            good => return good,
        }
    }
}
