//! `hosts.toml`: the hosts that may be asked, each with its pin.

use super::{name, KeyStick};
use asl_auth::PublicKey;
use asl_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

/// Hosts on a list at most.
const MOST: usize = 64;

/// A host that may be asked, with its pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPin {
    /// The name a person uses: 1 to 48 letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// `address:port`.
    pub address: String,
    /// The host's public key, as an OpenSSH line.
    pub key: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hosts {
    #[serde(default)]
    host: Vec<HostPin>,
}

impl HostPin {
    /// Takes the three parts of a pin.
    ///
    /// # Errors
    /// `Invalid` for a name, an address or a key that is none; nothing else is ever pinned.
    pub fn new(name: &str, address: &str, key: &str) -> Result<HostPin> {
        let pin = HostPin {
            name: name.trim().to_string(),
            address: address.trim().to_string(),
            key: PublicKey::from_openssh(key)
                .map_or_else(|_| key.trim().to_string(), |k| k.to_openssh("")),
        };
        pin.public_key().map(|_| pin)
    }

    /// Reads `NAME=ADDRESS:PORT=PUBLIC-KEY`.
    ///
    /// # Errors
    /// `Usage`, with the form that is wanted.
    pub fn parse(text: &str) -> Result<HostPin> {
        let bad = |why: &str| {
            Error::new(Kind::Usage, "read host", format!("{text:?}"), why).next(
                "give NAME=ADDRESS:PORT=PUBLIC-KEY, such as 'home=192.0.2.7:7643=ssh-ed25519 AAAA...'",
            )
        };
        let mut parts = text.splitn(3, '=');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(address), Some(key)) => {
                HostPin::new(name, address, key).map_err(|e| bad(e.why()))
            }
            _ => Err(bad("it does not have three parts")),
        }
    }

    /// The host's public key, of a pin whose name and address can be meant.
    ///
    /// # Errors
    /// `Invalid`, naming the host.
    pub fn public_key(&self) -> Result<PublicKey> {
        let bad = |why: &str| {
            Error::new(
                Kind::Invalid,
                "use the pin of host",
                format!("{:?}", self.name),
                why,
            )
            .next("remove it with `asl-host key host remove`, and add it as the host's keeper says it")
        };
        let of_name = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        if self.name.is_empty() || self.name.len() > 48 || !self.name.bytes().all(of_name) {
            return Err(bad(
                "its name is not 1 to 48 letters, digits, '.', '_' and '-'",
            ));
        }
        let (host, port) = self
            .address
            .rsplit_once(':')
            .ok_or_else(|| bad("its address has no port"))?;
        if host.is_empty() || host.len() > 255 || !host.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("its address is none"));
        }
        if !port.parse().is_ok_and(|p: u16| p > 0) {
            return Err(bad("its port is not 1 to 65535"));
        }
        PublicKey::from_openssh(&self.key).map_err(|e| bad(e.why()))
    }
}

impl KeyStick {
    /// The hosts that may be asked; none where there is no list.
    ///
    /// # Errors
    /// As [`KeyStick::read`], and `Invalid` where the list is malformed, with the line, or names a
    /// host twice.
    pub fn hosts(&self) -> Result<Vec<HostPin>> {
        if self.read_optional(name::HOSTS)?.is_none() {
            return Ok(Vec::new());
        }
        let text = self.text(name::HOSTS)?;
        let bad = |why: String| {
            let path = self.dir.join(name::HOSTS);
            Error::new(Kind::Invalid, "read", path.display(), why)
                .next("write the list anew with `asl-host key host add`, after removing the file")
        };
        // The parser's own text repeats the line, and a stick's line may hold anything.
        let hosts: Hosts = toml::from_str(&text).map_err(|e| {
            let before = e.span().and_then(|s| text.get(..s.start)).unwrap_or("");
            let why = e.message().escape_debug();
            bad(format!("line {}: {why}", before.matches('\n').count() + 1))
        })?;
        if hosts.host.len() > MOST {
            return Err(bad(format!("it has more than {MOST} hosts")));
        }
        for (n, host) in hosts.host.iter().enumerate() {
            host.public_key()?;
            if hosts.host.iter().take(n).any(|h| h.name == host.name) {
                return Err(bad(format!("it names {} twice", host.name)));
            }
        }
        Ok(hosts.host)
    }

    /// One host by its name.
    ///
    /// # Errors
    /// `NotFound` with the names there are.
    pub fn host(&self, wanted: &str) -> Result<HostPin> {
        let hosts = self.hosts()?;
        let names: Vec<&str> = hosts.iter().map(|h| h.name.as_str()).collect();
        let none = || {
            let way = match names.as_slice() {
                [] => "none is pinned there: pin one with `asl-host key host add`".to_string(),
                some => format!("the hosts there: {}", some.join(", ")),
            };
            Error::new(
                Kind::NotFound,
                "find host",
                format!("{wanted:?}"),
                "it is not in hosts.toml",
            )
            .next(way)
        };
        hosts
            .iter()
            .find(|h| h.name == wanted)
            .cloned()
            .ok_or_else(none)
    }

    /// The bytes of a list of hosts.
    ///
    /// # Errors
    /// `Exists` where two have one name.
    pub fn hosts_file(hosts: &[HostPin]) -> Result<Vec<u8>> {
        for (n, host) in hosts.iter().enumerate() {
            if hosts.iter().take(n).any(|h| h.name == host.name) {
                return Err(Error::new(
                    Kind::Exists,
                    "pin host",
                    &host.name,
                    "another host of that name is pinned here",
                )
                .next("remove the old pin first with `asl-host key host remove`"));
            }
        }
        toml::to_string(&Hosts {
            host: hosts.to_vec(),
        })
        .map(String::into_bytes)
        .map_err(|e| Error::new(Kind::Invalid, "write", name::HOSTS, e))
    }

    /// Writes the list of hosts.
    ///
    /// # Errors
    /// `Io`; `Exists` where two have one name.
    pub fn set_hosts(&self, hosts: &[HostPin]) -> Result<()> {
        self.write(name::HOSTS, &Self::hosts_file(hosts)?, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIojiAjRMlcp9IT6XlSxVxIV2S0VNTEnaCoRA/sQtgwl of-a-host";

    fn stick(hosts: &str) -> (tempfile::TempDir, KeyStick) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name::SEAL), b"").unwrap();
        std::fs::write(dir.path().join(name::HOSTS), hosts).unwrap();
        let stick = KeyStick::open(dir.path()).unwrap();
        (dir, stick)
    }

    fn entry(name: &str, address: &str, key: &str) -> String {
        format!("[[host]]\nname = {name:?}\naddress = {address:?}\nkey = {key:?}\n")
    }

    #[test]
    fn a_host_line_that_cannot_be_meant_is_refused_with_the_form_that_is() {
        for text in [
            "",
            "home",
            "home=192.0.2.7:7643",
            "=192.0.2.7:7643=ssh-ed25519 AAAA",
            "home=192.0.2.7:7643=ssh-rsa AAAA",
            &format!("home=192.0.2.7={KEY}"),
            &format!("home=192.0.2.7:0={KEY}"),
            &format!("home=192.0.2.7:99999={KEY}"),
            &format!("home=:7643={KEY}"),
            &format!("ho me=192.0.2.7:7643={KEY}"),
            &format!("{}=192.0.2.7:7643={KEY}", "h".repeat(49)),
            &format!("h\x1b[2J=192.0.2.7:7643={KEY}"),
            &format!("home=192.0.2\x1b.7:7643={KEY}"),
        ] {
            let e = HostPin::parse(text).unwrap_err();
            assert_eq!(e.kind(), Kind::Usage, "{text:?}");
            assert!(e.what_next().contains("NAME=ADDRESS:PORT="), "{e}");
            assert!(!e.to_string().contains('\x1b'), "{e:?}");
        }
        let pin = HostPin::parse(&format!("home=[2001:db8::7]:7643={KEY}")).unwrap();
        assert_eq!(pin.address, "[2001:db8::7]:7643");
        assert!(
            !pin.key.contains("of-a-host"),
            "the comment is not the key's"
        );
    }

    #[test]
    fn a_hostile_list_is_refused_and_cannot_write_to_the_terminal() {
        for (text, why) in [
            (
                "[[host]]\nname = 'a'\n\n\u{1b}[2Jx = 1\n".to_string(),
                "line 4",
            ),
            ("[[hots]]\n".into(), "line 1"),
            (entry("a b", "a:1", KEY), "name"),
            (
                entry("ESC", "a:1", KEY).replace("ESC", "\\u001b[2J"),
                "name",
            ),
            (entry("a", "b", KEY), "no port"),
            (entry("a", "b:1", "ssh-ed25519 AAAA"), "key"),
            (entry("a", "b:1", KEY) + &entry("a", "c:1", KEY), "twice"),
            (
                (0..65)
                    .map(|n| entry(&format!("h{n}"), "b:1", KEY))
                    .collect(),
                "64",
            ),
        ] {
            let e = stick(&text).1.hosts().unwrap_err();
            assert!(e.to_string().contains(why), "{why}: {e}");
            assert!(!e.to_string().contains('\x1b'), "{e:?}");
            assert_eq!(e.to_string().lines().count(), 1, "{e}");
            assert!(!e.what_next().is_empty(), "{e}");
        }
    }

    #[test]
    fn two_hosts_of_one_name_are_not_pinned_and_the_list_stays_as_it_was() {
        let (_dir, stick) = stick("");
        let pin = HostPin::new("home", "a:1", KEY).unwrap();
        stick.set_hosts(std::slice::from_ref(&pin)).unwrap();
        let other = HostPin::new("home", "b:1", KEY).unwrap();
        let e = stick.set_hosts(&[pin.clone(), other]).unwrap_err();
        assert_eq!(e.kind(), Kind::Exists);
        assert_eq!(stick.hosts().unwrap(), [pin]);
        assert!(stick
            .host("hom\u{1b}e")
            .unwrap_err()
            .what_next()
            .contains("home"));
    }
}
