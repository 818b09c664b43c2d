//! What a profile sets up on the machine itself before a session: keyboard, SSH, firewall.
//!
//! Only a booted appliance is touched. What fails is told and ends nothing: saving data needs
//! none of it.

use super::keyboard;
use super::profile::Profile;
use super::session::is_appliance;
use super::ui::Ui;
use asl_backend::files;
use asl_core::{Error, Kind, Result};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

/// The flag without which the image's SSH service does not start.
const SSH_ENABLED: &str = "/run/asl/ssh-enabled";

/// Where the SSH service looks for the keys that may come in.
const ROOTS_SSH: &str = "/root/.ssh";

/// The SSH service's name on Debian, and on SystemRescue.
const SSH_SERVICES: [&str; 2] = ["ssh.service", "sshd.service"];

const SSH_PORT: u16 = 22;

/// Sets up what the profile asks for. Called again, it changes nothing more.
pub fn apply(profile: &Profile, ui: Ui) {
    if !is_appliance() {
        return;
    }
    if let Some(layout) = &profile.keyboard {
        told(
            keyboard::load(layout),
            &format!("Keyboard layout: {layout}."),
            ui,
        );
    }
    let keys = &profile.ssh.authorized_keys;
    if !keys.is_empty() {
        let on = authorize(keys, Path::new(ROOTS_SSH), Path::new(SSH_ENABLED))
            .and_then(|()| open_port(SSH_PORT))
            .and_then(|()| start_ssh());
        told(
            on,
            &format!("SSH is on, for {} keys of the profile.", keys.len()),
            ui,
        );
    }
}

fn told(done: Result<()>, success: &str, ui: Ui) {
    match done {
        Ok(()) => ui.say(success),
        Err(e) => ui.say(&format!("warning: {e}")),
    }
}

/// Installs the keys and makes the flag that lets the SSH service start.
fn authorize(keys: &[String], folder: &Path, flag: &Path) -> Result<()> {
    let made = |path: &Path| {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| Error::new(Kind::Io, "make", path.display(), e))
    };
    made(folder)?;
    flag.parent().map_or(Ok(()), made)?;
    let lines = keys.join("\n") + "\n";
    files::replace(&folder.join("authorized_keys"), lines.as_bytes(), 0o600)?;
    files::replace(flag, b"", 0o600)
}

fn start_ssh() -> Result<()> {
    let [first, second] = SSH_SERVICES.map(|s| move || run("systemctl", &["start", s]));
    first().or_else(|_| second())
}

/// Lets connections to one port in; those to others stay out.
///
/// # Errors
/// `Io` where the firewall cannot be changed.
pub fn open_port(port: u16) -> Result<()> {
    rule("-C", port).or_else(|_| rule("-I", port))
}

/// Lets connections to one port in no longer.
///
/// # Errors
/// `Io` where the firewall cannot be changed.
pub fn close_port(port: u16) -> Result<()> {
    rule("-D", port)
}

fn rule(verb: &str, port: u16) -> Result<()> {
    let port = port.to_string();
    let words = [
        "-w", "5", verb, "INPUT", "-p", "tcp", "--dport", &port, "-j", "ACCEPT",
    ];
    run("iptables", &words)?;
    run("ip6tables", &words)
}

/// Runs a program of the system's.
///
/// # Errors
/// `Io` with the first line of its complaint.
pub fn run(program: &str, words: &[&str]) -> Result<()> {
    let failed = |why: &str| {
        Error::new(
            Kind::Io,
            "run",
            format!("{program} {}", words.join(" ")),
            why,
        )
    };
    let ended = Command::new(program)
        .args(words)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| failed(&e.to_string()))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(failed(said.lines().next().unwrap_or("it failed")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_keys_of_the_profile_come_in_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let (ssh, flag) = (dir.path().join("ssh"), dir.path().join("run/ssh-enabled"));
        std::fs::create_dir(&ssh).unwrap();
        std::fs::write(ssh.join("authorized_keys"), "ssh-ed25519 AAAA stranger\n").unwrap();
        let keys = [
            "ssh-ed25519 AAAA a".to_string(),
            "ssh-rsa AAAA b".to_string(),
        ];
        for _ in 0..2 {
            authorize(&keys, &ssh, &flag).unwrap();
            let held = std::fs::read_to_string(ssh.join("authorized_keys")).unwrap();
            assert_eq!(held, "ssh-ed25519 AAAA a\nssh-rsa AAAA b\n");
            assert!(flag.exists());
        }
        let mode = |p: &Path| p.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&ssh.join("authorized_keys")), 0o600);
    }

    #[test]
    fn a_program_that_fails_is_told_by_its_first_line() {
        let e = run("sh", &["-c", "echo no such layout >&2; exit 1"]).unwrap_err();
        assert_eq!(e.why(), "no such layout");
        assert!(run("no-such-program", &[]).is_err());
    }
}
