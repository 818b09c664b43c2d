//! The same image as an admitting host: it serves from a target's root until Ctrl-C.

use super::profile::{EndAction, Profile};
use super::ui::Ui;
use super::{disks, session, setup};
use crate::cli::{LogForm, Serve};
use crate::commands::{context, host, serve};
use crate::out::Out;
use asl_backend::files;
use asl_core::{Error, Kind, Result};
use asl_host::{HostRoot, KeptKey};
use std::net::SocketAddr;
use std::path::Path;

/// The trusted roots that a profile names, beside those that the keeper put there.
const OF_PROFILE: &str = "profile.pub";

/// Serves until Ctrl-C.
///
/// # Errors
/// As `find_target`, `init` and `serve`.
pub fn run(profile: &Profile, root: &Path, ui: Ui, out: Out) -> Result<EndAction> {
    if session::is_appliance() {
        disks::protect_all()?;
    }
    let target = session::find_target(profile, root, ui)?;
    let home = open_or_make(target.path(), ui)?;
    trust(&home, &profile.host.trusted_roots)?;
    ui.say(&format!("Kept on {}.", target.name()));
    host::status(target.path(), out)?;
    let port = profile.host.listen.parse::<SocketAddr>().map_err(|e| {
        Error::new(Kind::Invalid, "listen on", &profile.host.listen, e)
            .next("give ADDRESS:PORT in the profile")
    })?;
    let opened = session::is_appliance() && port.port() != 0;
    if opened {
        setup::open_port(port.port())?;
    }
    let order = Serve {
        listen: profile.host.listen.clone(),
        metrics: None,
        log: LogForm::Text,
    };
    let served = serve::serve(target.path(), &order, out);
    if opened {
        // A port that stays open leads nowhere once nothing listens.
        let _ = setup::close_port(port.port());
    }
    served?;
    target.release()?;
    Ok(profile.end.action)
}

fn open_or_make(root: &Path, ui: Ui) -> Result<HostRoot> {
    match HostRoot::open(root) {
        Err(e) if e.kind() == Kind::NotFound => {
            let made = HostRoot::init(root, &context(), KeptKey::Plain)?;
            ui.say("Made this host's identity; it stays on the target.");
            Ok(made)
        }
        opened => opened,
    }
}

/// Makes the profile's roots the ones in its file: one that it names no longer is trusted no
/// longer.
fn trust(home: &HostRoot, lines: &[String]) -> Result<()> {
    let path = home.layout().trusted_roots().join(OF_PROFILE);
    if lines.is_empty() {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::new(Kind::Io, "remove", path.display(), e))
            }
            _ => Ok(()),
        };
    }
    files::replace(&path, (lines.join("\n") + "\n").as_bytes(), 0o600)
}
