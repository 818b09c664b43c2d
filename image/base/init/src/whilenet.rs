//! `sysrescue-initialize-whilenet`: what can be done while the network comes up, before the logins.

use crate::config::Config;
use crate::machine::{append, is_line, is_word, run as program, Failures};
use std::path::Path;

const ZONES: &str = "/usr/share/zoneinfo";
const CERTIFICATES: &str = "/usr/local/share/ca-certificates";

/// Does it, and returns how much failed.
pub fn run(config: &Config) -> usize {
    let mut failures = Failures::default();
    let steps = [
        keymap,
        shell,
        passwords,
        no_autologin,
        time_zone,
        certificates,
        known_hosts,
        authorized_keys,
    ];
    for step in steps {
        step(config, &mut failures);
    }
    failures.0
}

/// A text of the scope global, when there is one and it is a plain word.
fn word(config: &Config, scope: &str, key: &str, beyond: &str) -> Result<Option<String>, String> {
    match config.text(scope, key)? {
        Some(text) if !is_word(text.trim_start_matches('/'), beyond) => {
            Err(format!("{scope}.{key}: {text:?} is no name"))
        }
        text => Ok(text),
    }
}

fn keymap(config: &Config, failures: &mut Failures) {
    if let Some(Some(name)) = failures.of(word(config, "global", "setkmap", "")) {
        failures.of(program("loadkeys", &["--quiet", &name], ""));
    }
}

fn shell(config: &Config, failures: &mut Failures) {
    if let Some(Some(path)) = failures.of(word(config, "global", "rootshell", "/.")) {
        if Path::new(&path).is_absolute() && Path::new(&path).is_file() {
            failures.of(program("usermod", &["--shell", &path, "root"], ""));
        } else {
            failures.add(&format!("global.rootshell: there is no {path}"));
        }
    }
}

/// The value goes through a pipe: an argument would be seen by everyone, and a message told.
fn passwords(config: &Config, failures: &mut Failures) {
    for (key, how) in [
        ("rootpass", &[][..]),
        ("rootcryptpass", &["--encrypted"][..]),
    ] {
        match failures.of(config.text("global", key)) {
            Some(Some(text)) if is_line(&text) => {
                failures.of(program("chpasswd", how, &format!("root:{text}\n")));
            }
            Some(Some(_)) => failures.add(&format!("global.{key}: not one line of text")),
            _ => {}
        }
    }
}

/// Takes back every drop-in that /etc has for the logins; what lies in /usr stays.
fn no_autologin(config: &Config, failures: &mut Failures) {
    if failures.of(config.flag("global", "noautologin", false)) == Some(true) {
        failures.of(program(
            "systemctl",
            &["revert", "getty@.service", "serial-getty@.service"],
            "",
        ));
    }
}

fn time_zone(config: &Config, failures: &mut Failures) {
    if let Some(Some(name)) = failures.of(word(config, "sysconfig", "timezone", "/+")) {
        failures.of(set_time_zone(
            &name,
            Path::new(ZONES),
            Path::new("/etc/localtime"),
        ));
    }
}

/// No `..` can be in the name: a word does not hold a dot.
fn set_time_zone(name: &str, zones: &Path, link: &Path) -> Result<(), String> {
    let zone = zones.join(name.trim_start_matches('/'));
    if !zone.is_file() {
        return Err(format!(
            "sysconfig.timezone: there is no zone {name}; see timedatectl list-timezones"
        ));
    }
    let part = link.with_extension("part");
    std::os::unix::fs::symlink(&zone, &part)
        .and_then(|()| std::fs::rename(&part, link))
        .map_err(|e| format!("cannot set {}: {e}", link.display()))
}

fn certificates(config: &Config, failures: &mut Failures) {
    let (texts, wrong) = config.texts("sysconfig", "ca-trust");
    wrong.iter().for_each(|why| failures.add(why));
    let mut added = false;
    for (name, pem) in texts {
        if is_word(&name, ".") && pem.starts_with("-----BEGIN CERTIFICATE-----") {
            let lines: Vec<String> = pem.lines().map(str::to_string).collect();
            added |= failures
                .of(append(
                    &format!("{CERTIFICATES}/{name}.crt"),
                    &lines,
                    0o644,
                    0o755,
                ))
                .is_some();
        } else {
            failures.add(&format!(
                "sysconfig.ca-trust: {name:?} needs a plain name and a PEM certificate"
            ));
        }
    }
    if added {
        failures.of(program("update-ca-certificates", &[], ""));
    }
}

fn known_hosts(config: &Config, failures: &mut Failures) {
    let (lines, wrong) = key_lines(config, "ssh_known_hosts", |host, key| {
        format!("{host} {key}")
    });
    wrong.iter().for_each(|why| failures.add(why));
    failures.of(append("/etc/ssh/ssh_known_hosts", &lines, 0o644, 0o755));
}

fn authorized_keys(config: &Config, failures: &mut Failures) {
    let (lines, wrong) = key_lines(config, "authorized_keys", |comment, key| {
        format!("{key} {comment}")
    });
    wrong.iter().for_each(|why| failures.add(why));
    failures.of(append("/root/.ssh/authorized_keys", &lines, 0o600, 0o700));
}

/// One line for each name with a key; a line break in either would be a second, unseen one.
fn key_lines(
    config: &Config,
    key: &str,
    line: fn(&str, &str) -> String,
) -> (Vec<String>, Vec<String>) {
    let (texts, mut wrong) = config.texts("sysconfig", key);
    let mut lines = Vec::new();
    for (name, text) in texts {
        let text = text.trim();
        if is_line(&name) && is_line(text) && text.split_whitespace().count() >= 2 {
            lines.push(line(&name, text));
        } else {
            wrong.push(format!(
                "sysconfig.{key}: {name:?} needs \"type key\" in one line"
            ));
        }
    }
    (lines, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_ssh_key_is_one_line_with_a_type() {
        let config = Config::of(json!({"sysconfig": {"authorized_keys": {
            "me@home": "ssh-ed25519 AAAA\n", "two": "ssh-ed25519 AAAA\nssh-ed25519 BBBB", "a\nb": "ssh-ed25519 AAAA", "none": "AAAA"
        }}}));
        let (lines, wrong) = key_lines(&config, "authorized_keys", |comment, key| {
            format!("{key} {comment}")
        });
        assert_eq!(lines, ["ssh-ed25519 AAAA me@home"]);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
    }

    #[test]
    fn a_time_zone_that_is_not_there_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let (zones, link) = (folder.path().join("zones"), folder.path().join("localtime"));
        std::fs::create_dir_all(zones.join("Europe")).unwrap();
        std::fs::write(zones.join("Europe/Vienna"), "").unwrap();
        set_time_zone("Europe/Vienna", &zones, &link).unwrap();
        assert!(set_time_zone("Europe/Nowhere", &zones, &link).is_err());
        assert!(set_time_zone("Europe", &zones, &link).is_err());
        assert_eq!(
            std::fs::read_link(&link).unwrap(),
            zones.join("Europe/Vienna")
        );
    }

    #[test]
    fn a_name_that_is_a_path_or_an_option_is_refused() {
        for name in ["../x", "-C", "a b", "x;y"] {
            let config =
                Config::of(json!({"global": {"setkmap": name}, "sysconfig": {"timezone": name}}));
            assert!(word(&config, "global", "setkmap", "").is_err(), "{name}");
            assert!(
                word(&config, "sysconfig", "timezone", "/+").is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_password_of_two_lines_is_refused_and_not_shown() {
        let mut failures = Failures::default();
        passwords(
            &Config::of(json!({"global": {"rootpass": "a\nroot2:b", "rootcryptpass": " "}})),
            &mut failures,
        );
        assert_eq!(failures.0, 2);
    }
}
