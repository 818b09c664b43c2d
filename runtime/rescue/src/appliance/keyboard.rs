//! The keyboard's layout, before a passphrase is typed on a foreign machine (flows.md, step 2).

use super::session::is_appliance;
use super::setup;
use super::ui::Ui;
use asl_core::{Error, Kind, Result};
use std::sync::atomic::{AtomicBool, Ordering};

/// Layouts that are offered by name; any other is typed.
const OFFERED: [&str; 6] = ["us", "uk", "de-latin1", "fr-latin9", "es", "it"];

/// A person is asked once in a session.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Asks for the layout, on a console that has a keyboard of its own.
///
/// A serial line and an SSH session bring theirs; a profile that names one has set it up already.
///
/// # Errors
/// `Interrupted` on Ctrl-C.
pub fn choose(of_profile: Option<&str>, ui: Ui) -> Result<()> {
    let needless = of_profile.is_some() || !ui.may_ask() || !is_appliance() || !on_screen();
    if needless || ASKED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let mut items = vec!["As it is now".to_string()];
    items.extend(OFFERED.map(String::from));
    items.push("Another, by its name".into());
    loop {
        let chosen = ui.choose("Keyboard layout", &items, "keyboard")?;
        let layout = match chosen {
            None | Some(0) => return Ok(()),
            Some(n) => match OFFERED.get(n - 1) {
                Some(layout) => (*layout).to_string(),
                None => ui.line("Its name, such as pl2 or ch-de", "keyboard")?,
            },
        };
        match load(&layout) {
            Err(e) => ui.say(&format!("{e}\n  next: {}", e.what_next())),
            Ok(()) => {
                let seen = ui.line("Type what is hard on this keyboard, to see it", "keyboard")?;
                if ui.confirm(&format!("Is {seen:?} what you meant"), true)? {
                    return Ok(());
                }
            }
        }
    }
}

/// Whether this is a console of the machine's own screen and keyboard.
fn on_screen() -> bool {
    let name = nix::unistd::ttyname(std::io::stdin()).unwrap_or_default();
    let number = name.to_str().and_then(|n| n.strip_prefix("/dev/tty"));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Loads a layout by its name. The kernel has one for all its consoles.
///
/// # Errors
/// `Invalid` where it is none.
pub fn load(layout: &str) -> Result<()> {
    let of_name = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    let bad = |why: &str| {
        Error::new(Kind::Invalid, "load the layout", format!("{layout:?}"), why)
            .next("choose another; `localectl list-keymaps` in a shell lists them")
    };
    if layout.is_empty() || layout.starts_with(['-', '.']) || !layout.bytes().all(of_name) {
        return Err(bad("it is no layout's name"));
    }
    setup::run("loadkeys", &["-q", "-C", "/dev/tty1", layout]).map_err(|e| bad(e.why()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_layouts_name_is_not_given_to_a_program() {
        for name in [
            "",
            "-h",
            "../x",
            "a b",
            "/etc/passwd",
            "de;reboot",
            "\u{1b}",
        ] {
            let e = load(name).unwrap_err();
            assert!(e.why().contains("no layout"), "{name:?}: {e}");
        }
    }
}
