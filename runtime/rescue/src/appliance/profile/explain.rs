//! Every field of a profile in words, with its value and where it came from.

use super::{Applies, Encryption, EndAction, Profile, Role};
use crate::out::size;

/// One field, explained.
pub struct Field {
    /// Its name, with its section: `target.label`.
    pub name: &'static str,
    /// Its value in force.
    pub value: String,
    /// Whether the profile itself sets it; else it is the default.
    pub set: bool,
    /// What that does.
    pub means: String,
}

/// Every field, in the order of a profile's file.
pub fn fields(p: &Profile, text: &str) -> Vec<Field> {
    let set: toml::Table = text.parse().unwrap_or_default();
    let field = |(name, value, means): (&'static str, String, String)| {
        let (section, key) = name.split_once('.').unwrap_or((name, ""));
        let held = set.get(section);
        let set = held.is_some_and(|v| key.is_empty() || v.get(key).is_some());
        Field {
            name,
            value,
            set,
            means,
        }
    };
    let mut rows = machine(p);
    match p.role {
        Role::Rescue => rows.extend(rescue(p)),
        Role::Host => rows.extend(host(p)),
    }
    rows.extend(ways(p));
    rows.into_iter().map(field).collect()
}

type Row = (&'static str, String, String);

fn row(name: &'static str, value: impl Into<String>, means: impl Into<String>) -> Row {
    (name, value.into(), means.into())
}

/// A list's value, and one of two meanings: that of an empty one, that of a full one.
fn list(name: &'static str, values: &[String], none: &str, some: &str) -> Row {
    let means = if values.is_empty() { none } else { some };
    row(name, format!("{values:?}"), means)
}

/// A value that may be missing, and one of two meanings.
fn maybe(name: &'static str, value: Option<String>, none: &str, some: &str) -> Row {
    let means = if value.is_some() { some } else { none };
    row(name, value.map_or("-".into(), |v| format!("{v:?}")), means)
}

fn choice(name: &'static str, value: bool, no: &str, yes: &str) -> Row {
    row(name, value.to_string(), if value { yes } else { no })
}

fn shown(path: &Option<std::path::PathBuf>) -> Option<String> {
    path.as_ref().map(|p| p.display().to_string())
}

fn machine(p: &Profile) -> Vec<Row> {
    let (role, means) = match p.role {
        Role::Rescue => ("rescue", "this machine's data is saved"),
        Role::Host => ("host", "this machine admits other domains"),
    };
    vec![
        row("role", role, means),
        choice(
            "interactive",
            p.interactive,
            "nothing is asked; what is missing here ends the run with its name",
            "what the profile does not answer is asked",
        ),
        maybe(
            "keyboard",
            p.keyboard.clone(),
            "the keyboard stays as it is",
            "this layout is loaded before anything is typed",
        ),
        list(
            "consoles",
            &p.consoles,
            "the first console that comes has the session",
            "only these may have the session; others wait",
        ),
        maybe(
            "target.label",
            p.target.label.clone(),
            "the disk is asked for",
            "the file system with this label; all is kept in its folder asl-host/",
        ),
        maybe(
            "target.path",
            shown(&p.target.path),
            "no directory; outside the appliance --root is the target",
            "this directory; for a session outside the appliance",
        ),
        choice(
            "target.memory",
            p.target.memory,
            "memory is not offered: what is sealed always lies on a disk",
            "memory is offered too, and taken only after the word volatile is typed",
        ),
    ]
}

fn rescue(p: &Profile) -> Vec<Row> {
    let Encryption::Required = p.encryption;
    let (applies, where_it_counts) = match p.lease.applies {
        Applies::Remote => ("remote", "the lease bounds what is stored at the host only"),
        Applies::Both => ("both", "the lease bounds what is sealed here too"),
    };
    vec![
        choice(
            "demo",
            p.demo,
            "the published example keys are refused",
            "the published example keys are admitted: anybody can open what they seal",
        ),
        row(
            "encryption",
            "required",
            "only encrypted domains are sealed into",
        ),
        list(
            "domain.labels",
            &p.domain.labels,
            "whatever domain the key stick brings",
            "the key stick must bring one of these domains",
        ),
        maybe(
            "keys.path",
            shown(&p.keys.path),
            "the key stick is found by its label ASL-KEYS",
            "this directory; for a session outside the appliance",
        ),
        maybe(
            "keys.passphrase_file",
            shown(&p.keys.passphrase_file),
            "no file holds the passphrase",
            "the passphrase is this file's first line; on the appliance beneath /run",
        ),
        maybe(
            "keys.passphrase_medium",
            p.keys.passphrase_medium.clone(),
            "no second medium holds the passphrase",
            "the passphrase is the first line of the file passphrase on this medium",
        ),
        list(
            "source.labels",
            &p.source.labels,
            "what to seal is asked",
            "these file systems are sealed, in this order",
        ),
        list(
            "source.paths",
            &p.source
                .paths
                .iter()
                .map(|p| p.display().to_string())
                .collect::<Vec<_>>(),
            "no directories",
            "these directories are sealed; for a session outside the appliance",
        ),
        maybe(
            "admission.host",
            p.admission.host.clone(),
            "no host by name: one of the key stick's is asked for, if it has any",
            "this host of the key stick is asked",
        ),
        choice(
            "admission.offline",
            p.admission.offline,
            "a host may be asked over the network",
            "no host is asked over the network",
        ),
        row(
            "lease.bytes",
            p.lease.bytes.to_string(),
            format!("{} are asked for", size(p.lease.bytes)),
        ),
        row("lease.days", p.lease.days.to_string(), "for so many days"),
        row("lease.applies", applies, where_it_counts),
    ]
}

fn host(p: &Profile) -> Vec<Row> {
    vec![
        row(
            "host.listen",
            p.host.listen.clone(),
            "requests are taken here; the firewall opens this port only",
        ),
        list(
            "host.trusted_roots",
            &p.host.trusted_roots,
            "only roots in host/trusted-roots on the target are trusted",
            "these roots are trusted beside those on the target",
        ),
    ]
}

fn ways(p: &Profile) -> Vec<Row> {
    let (action, means) = match p.end.action {
        EndAction::Wait => ("wait", "the status stays on the screen"),
        EndAction::Shell => ("shell", "a shell"),
        EndAction::Poweroff => ("poweroff", "the machine is switched off"),
    };
    vec![
        list(
            "ssh.authorized_keys",
            &p.ssh.authorized_keys,
            "no SSH: no port listens",
            "SSH is on, for these keys",
        ),
        row("end.action", action, format!("at the end: {means}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{parse, Origin};
    use super::*;

    /// The fields of a section, as the parser itself names them when it refuses another.
    fn known(section: &str) -> Vec<String> {
        let head = if section.is_empty() {
            String::new()
        } else {
            format!("[{section}]\n")
        };
        let e = parse(&format!("{head}no_such_field = 1"), "p", Origin::Image).unwrap_err();
        let why = e.why().to_string();
        let list = why
            .split_once("expected ")
            .map(|(_, list)| list.to_string())
            .expect(&why);
        list.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_string)
            .collect()
    }

    #[test]
    fn every_field_that_is_accepted_is_explained_and_no_other() {
        let sections = [
            "domain",
            "keys",
            "target",
            "source",
            "admission",
            "lease",
            "ssh",
            "host",
            "end",
        ];
        let mut accepted: Vec<String> = known("");
        accepted.retain(|name| !sections.contains(&name.as_str()));
        for section in sections {
            accepted.extend(known(section).into_iter().map(|f| format!("{section}.{f}")));
        }
        let mut explained = Vec::new();
        for text in ["", "role = 'host'"] {
            let p = parse(text, "p", Origin::Image).unwrap();
            explained.extend(fields(&p, text).into_iter().map(|f| f.name.to_string()));
        }
        for list in [&mut accepted, &mut explained] {
            list.sort();
            list.dedup();
        }
        assert_eq!(accepted, explained);
    }

    #[test]
    fn what_the_profile_says_itself_is_told_from_the_defaults() {
        let text = "[target]\nlabel = 'DISK'";
        let all = fields(&parse(text, "p", Origin::Image).unwrap(), text);
        for f in all {
            assert_eq!(f.set, f.name == "target.label", "{}", f.name);
            assert!(!f.means.is_empty());
        }
    }
}
