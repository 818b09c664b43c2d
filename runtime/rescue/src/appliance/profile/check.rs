//! Reading a profile, and refusing what could not be honoured.

use super::{Origin, Profile, Role};
use asl_auth::PublicKey;
use asl_core::{Error, Kind, Label, Result};
use asl_host::keystick;
use std::net::SocketAddr;

/// Types of keys that an `authorized_keys` line may begin with.
const KEY_TYPES: [&str; 5] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Sections that only a machine whose data is saved can honour.
const OF_A_RESCUE: [&str; 7] = [
    "demo",
    "encryption",
    "domain",
    "keys",
    "source",
    "admission",
    "lease",
];

/// Reads a profile's text.
///
/// # Errors
/// `Invalid` with line and column, or with the field that cannot be honoured.
pub fn parse(text: &str, name: &str, origin: Origin) -> Result<Profile> {
    let read = |e: toml::de::Error| {
        let why = e.to_string();
        Error::new(Kind::Invalid, "read profile", name, why.trim_end())
            .next("mend the line that is shown; `asl-host profile check` reads it again")
    };
    let set: toml::Table = text.parse().map_err(read)?;
    let mut profile: Profile = toml::from_str(text).map_err(read)?;
    if let Some((field, why)) = at_odds(&profile, &set) {
        return Err(Error::new(
            Kind::Invalid,
            "follow profile",
            name,
            format!("{field}: {why}"),
        )
        .next("change it; `asl-host profile check` reads the profile again"));
    }
    profile.demo &= origin == Origin::Image;
    Ok(profile)
}

/// The first field that is well written and yet cannot be honoured, and why.
fn at_odds(p: &Profile, set: &toml::Table) -> Option<(String, String)> {
    of_another_role(p, set)
        .or_else(|| keys(p))
        .or_else(|| names(p))
        .or_else(|| network(p))
        .map(|(field, why)| (field.to_string(), why))
}

fn of_another_role<'a>(p: &Profile, set: &'a toml::Table) -> Option<(&'a str, String)> {
    let has = |name: &&str| set.contains_key(*name);
    let (stranger, role) = match p.role {
        Role::Rescue => (["host"].iter().find(|n| has(n)), "rescue"),
        Role::Host => (OF_A_RESCUE.iter().find(|n| has(n)), "host"),
    };
    stranger.map(|field| (*field, format!("it means nothing with role = \"{role}\"")))
}

fn keys(p: &Profile) -> Option<(&'static str, String)> {
    let (file, medium) = (&p.keys.passphrase_file, &p.keys.passphrase_medium);
    if file.is_some() && medium.is_some() {
        return Some((
            "keys.passphrase_medium",
            "keys.passphrase_file names another place; name one".into(),
        ));
    }
    if medium.as_deref() == Some(keystick::LABEL) {
        return Some((
            "keys.passphrase_medium",
            "a passphrase beside the keys guards nothing; name a second medium".into(),
        ));
    }
    let relative = file.as_deref().is_some_and(|f| !f.is_absolute());
    relative.then(|| ("keys.passphrase_file", "give the whole path".into()))
}

fn names(p: &Profile) -> Option<(&'static str, String)> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let odd = |text: &String| text.is_empty() || !text.bytes().all(plain);
    // loadkeys would take a path for a file of keys.
    if p.keyboard.as_ref().is_some_and(odd) {
        return Some((
            "keyboard",
            "not the name of a layout, such as \"de\"".into(),
        ));
    }
    if p.consoles.iter().any(odd) {
        return Some((
            "consoles",
            "not the name of a console, such as \"tty1\"".into(),
        ));
    }
    let bad = |label: &&String| label.parse::<Label>().is_err();
    if let Some(label) = p.domain.labels.iter().find(bad) {
        return Some(("domain.labels", format!("{label:?} is not a label")));
    }
    None
}

fn network(p: &Profile) -> Option<(&'static str, String)> {
    if p.admission.offline && p.admission.host.is_some() {
        return Some((
            "admission.offline",
            "admission.host names one that shall be asked".into(),
        ));
    }
    let authorizes = |line: &&String| {
        let mut words = line.split_ascii_whitespace();
        let known = words.next().is_some_and(|w| KEY_TYPES.contains(&w));
        let base64 = |w: &str| {
            w.starts_with("AAAA")
                && w.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
        };
        known && words.next().is_some_and(base64) && !line.chars().any(char::is_control)
    };
    if let Some(line) = p.ssh.authorized_keys.iter().find(|l| !authorizes(l)) {
        return Some((
            "ssh.authorized_keys",
            format!("{line:?} is not a public key line"),
        ));
    }
    if let Err(e) = p.host.listen.parse::<SocketAddr>() {
        return Some(("host.listen", format!("{e}; give ADDRESS:PORT")));
    }
    let untrusted = p.host.trusted_roots.iter();
    let refused = untrusted.filter_map(|line| PublicKey::from_openssh(line).err());
    refused
        .map(|e| ("host.trusted_roots", e.why().to_string()))
        .next()
}

#[cfg(test)]
mod tests {
    use super::super::Applies;
    use super::*;

    #[test]
    fn every_profile_of_the_image_is_read_and_only_the_demo_admits_the_example_keys() {
        for (name, text) in super::super::find::SHIPPED {
            let p = parse(text, name, Origin::Image).unwrap();
            assert_eq!(p.demo, name == "demo", "{name}");
            assert_eq!(p.role == Role::Host, name == "host", "{name}");
            assert!(p.ssh.authorized_keys.is_empty(), "{name} lets somebody in");
        }
    }

    /// P8; its memory is that of a table of 64 KiB, which `asl-host`'s tests count.
    #[test]
    fn p8_spoiled_profiles_are_refused_or_read() {
        let shipped = super::super::find::SHIPPED.iter();
        asl_testkit::Decoder {
            name: "profile",
            good: shipped.map(|(_, text)| text.as_bytes().to_vec()).collect(),
            mend: |bytes| bytes,
            decode: &|bytes| match std::str::from_utf8(bytes) {
                Ok(text) => parse(text, "spoiled", Origin::Stick).map(drop),
                Err(e) => Err(Error::new(Kind::Invalid, "read", "profile", e)),
            },
            encode: None,
        }
        .try_spoiled(1, asl_testkit::torture_count(500));
    }

    #[test]
    fn the_demo_runs_by_itself_and_its_lease_caps_what_is_sealed_here() {
        let text = include_str!("../../../../../profiles/demo.toml");
        let demo = parse(text, "demo", Origin::Image).unwrap();
        assert!(demo.demo && !demo.interactive);
        assert_eq!(demo.lease.applies, Applies::Both);
    }

    #[test]
    fn a_profile_from_a_stick_cannot_admit_the_example_keys() {
        let p = parse("demo = true", "stick", Origin::Stick).unwrap();
        assert!(!p.demo);
    }

    #[test]
    fn a_mistyped_profile_is_refused_with_its_line() {
        for text in [
            "interactive = 'perhaps'",
            "[target]\nlable = 'x'",
            "[end]\naction = 'explode'",
            "passphrase = 'x'",
            "[keys]\npassphrase = 'x'",
            "encryption = 'none'",
            "role = 'pirate'",
            "[admission]\nbytes = 1",
            "[lease]\nbytes = -1",
            "[lease]\ndays = 4294967296",
            "demo = true\ndemo = true",
            "\u{0}",
        ] {
            let e = parse(text, "p", Origin::Image).unwrap_err();
            assert!(e.why().contains("line"), "{text}: {e}");
            assert!(!e.what_next().is_empty());
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_the_name_of_its_field() {
        for (text, field) in [
            ("[host]\nlisten = '0.0.0.0:1'", "host"),
            ("role = 'host'\n[source]\nlabels = ['a']", "source"),
            ("role = 'host'\n[keys]\n", "keys"),
            ("role = 'host'\ndemo = true", "demo"),
            ("role = 'host'\n[host]\nlisten = 'home:7643'", "host.listen"),
            (
                "role = 'host'\n[host]\ntrusted_roots = ['x']",
                "host.trusted_roots",
            ),
            ("keyboard = '/etc/passwd'", "keyboard"),
            ("keyboard = ''", "keyboard"),
            ("consoles = ['tty1 ']", "consoles"),
            ("[domain]\nlabels = ['Alice']", "domain.labels"),
            ("[keys]\npassphrase_file = 'p'", "keys.passphrase_file"),
            (
                "[keys]\npassphrase_medium = 'ASL-KEYS'",
                "keys.passphrase_medium",
            ),
            (
                "[keys]\npassphrase_medium = 'A'\npassphrase_file = '/run/p'",
                "keys.passphrase_medium",
            ),
            (
                "[admission]\noffline = true\nhost = 'home'",
                "admission.offline",
            ),
            ("[ssh]\nauthorized_keys = ['']", "ssh.authorized_keys"),
            (
                "[ssh]\nauthorized_keys = ['ssh-ed25519']",
                "ssh.authorized_keys",
            ),
            (
                "[ssh]\nauthorized_keys = ['command=\"x\" ssh-ed25519 AAAA']",
                "ssh.authorized_keys",
            ),
            (
                "[ssh]\nauthorized_keys = [\"ssh-ed25519 AAAA a\\nssh-ed25519 AAAA b\"]",
                "ssh.authorized_keys",
            ),
        ] {
            let e = parse(text, "p", Origin::Image).unwrap_err();
            assert!(e.why().starts_with(&format!("{field}: ")), "{text}: {e}");
        }
    }
}
