//! Whom data is sealed to, and who can open it: age recipients and identities as values.
//!
//! Three kinds of identity, so that one is never passed for another: the owner's open identity,
//! an epoch's data identity, an epoch's index identity (architecture.md, "Sealing").

use crate::plugin::{PluginIdentity, PluginRecipient};
use crate::sealing::Opens;
use age::secrecy::ExposeSecret;
use asl_core::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

#[derive(Clone)]
enum Target {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
    Plugin(PluginRecipient),
}

/// Whom a file can be sealed to: an age X25519 key (`age1...`), an OpenSSH `ssh-ed25519` or
/// `ssh-rsa` key, or a plugin's (`age1NAME1...`).
#[derive(Clone)]
pub struct Recipient {
    text: String,
    target: Target,
}

impl Recipient {
    pub(crate) fn as_age(&self) -> &dyn age::Recipient {
        match &self.target {
            Target::X25519(r) => r,
            Target::Ssh(r) => r,
            Target::Plugin(r) => r,
        }
    }

    /// Whether it can be sealed to on this machine: a plugin's tool must be there.
    ///
    /// # Errors
    /// `Refused`, naming the tool that is missing.
    pub fn require_tool(&self) -> Result<()> {
        match &self.target {
            Target::Plugin(r) => r.require_tool(),
            Target::X25519(_) | Target::Ssh(_) => Ok(()),
        }
    }
}

impl FromStr for Recipient {
    type Err = Error;
    fn from_str(text: &str) -> Result<Recipient> {
        let bad = |why: &str| {
            Error::new(Kind::Invalid, "read", "recipient", why)
                .next("give an `age1...` recipient, or an OpenSSH `ssh-ed25519` or `ssh-rsa` line")
        };
        let text = text.trim();
        if text.starts_with("age1") {
            if let Ok(target) = text.parse::<age::x25519::Recipient>() {
                return Ok(target.into());
            }
            let target = PluginRecipient::parse(text).ok_or_else(|| bad("not an age recipient"))?;
            return Ok(Recipient {
                text: target.to_string(),
                target: Target::Plugin(target),
            });
        }
        if !text.starts_with("ssh-ed25519 ") && !text.starts_with("ssh-rsa ") {
            return Err(bad("of a kind that this program does not seal to"));
        }
        let target: std::result::Result<age::ssh::Recipient, _> = text.parse();
        target
            .map(Recipient::from)
            .map_err(|_| bad("not an ssh-ed25519 or ssh-rsa key"))
    }
}

impl From<age::x25519::Recipient> for Recipient {
    fn from(target: age::x25519::Recipient) -> Recipient {
        Recipient {
            text: target.to_string(),
            target: Target::X25519(target),
        }
    }
}

impl From<age::ssh::Recipient> for Recipient {
    fn from(target: age::ssh::Recipient) -> Recipient {
        Recipient {
            text: target.to_string(),
            target: Target::Ssh(target),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.text)
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Recipient) -> bool {
        self.text == other.text
    }
}

impl Eq for Recipient {}

macro_rules! epoch_identity {
    ($(#[$doc:meta])* $name:ident, $called:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(age::x25519::Identity);

        impl $name {
            /// Makes a new identity, from age's own randomness.
            pub fn generate() -> Self {
                $name(age::x25519::Identity::generate())
            }

            /// The public half, to seal to.
            pub fn recipient(&self) -> Recipient {
                self.0.to_public().into()
            }

            /// The secret as one `AGE-SECRET-KEY-1...` line, without a newline.
            pub fn to_text(&self) -> Zeroizing<String> {
                Zeroizing::new(self.0.to_string().expose_secret().to_string())
            }

            /// Reads an age identity file that holds exactly one X25519 identity.
            ///
            /// # Errors
            /// `Invalid` where the text is anything else.
            pub fn parse(text: &str) -> Result<Self> {
                let refuse = |why| Error::new(Kind::Invalid, "read", $called, why);
                let mut lines = identity_lines(text);
                let line = lines.next().ok_or_else(|| refuse("no identity in it"))?;
                if lines.next().is_some() {
                    return Err(refuse("more than one identity in it"));
                }
                line.1.parse().map($name).map_err(|_| refuse("not an X25519 age identity"))
            }
        }

        impl Opens for $name {
            fn identities(&self) -> Vec<&dyn age::Identity> {
                vec![&self.0]
            }
            fn name(&self) -> &'static str {
                $called
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}, secret not shown)", stringify!($name), self.recipient())
            }
        }
    };
}

epoch_identity! {
    /// An epoch's data identity: it opens every block of the epoch.
    DataIdentity, "data identity"
}
epoch_identity! {
    /// An epoch's index identity: it opens segments and working files, never a block.
    IndexIdentity, "index identity"
}

fn identity_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, l)| (n + 1, l.trim()));
    lines.filter(|(_, l)| !l.is_empty() && !l.starts_with('#'))
}

enum OwnerKey {
    X25519(age::x25519::Identity),
    Ssh(Box<age::ssh::Identity>),
    Plugin(PluginIdentity),
}

impl OwnerKey {
    fn as_age(&self) -> &dyn age::Identity {
        match self {
            OwnerKey::X25519(k) => k,
            OwnerKey::Ssh(k) => &**k,
            OwnerKey::Plugin(k) => k,
        }
    }
}

/// The open identity: the owner's age identities, offline with the owner.
pub struct OpenIdentity(Vec<OwnerKey>);

impl OpenIdentity {
    /// Makes a new X25519 identity, from age's own randomness, and the identity file that holds it.
    pub fn generate() -> (OpenIdentity, Zeroizing<String>) {
        let key = age::x25519::Identity::generate();
        let file = Zeroizing::new(format!(
            "# public key: {}\n{}\n",
            key.to_public(),
            key.to_string().expose_secret()
        ));
        (OpenIdentity(vec![OwnerKey::X25519(key)]), file)
    }

    /// Reads an age identity file (`AGE-SECRET-KEY-1...` and `AGE-PLUGIN-...` lines) or an
    /// unencrypted OpenSSH private key, Ed25519 or RSA.
    ///
    /// # Errors
    /// `Invalid` where it is neither, with the line; `Refused` for a key under a passphrase and
    /// for a plugin whose tool is not here.
    pub fn parse(text: &str) -> Result<OpenIdentity> {
        let bad = |why: String| Error::new(Kind::Invalid, "read", "open identity", why);
        let refuse = |why: &str, next: &str| {
            Error::new(Kind::Refused, "read", "open identity", why).next(next)
        };
        if text.trim_start().starts_with("-----BEGIN") {
            let key = age::ssh::Identity::from_buffer(text.as_bytes(), None)
                .map_err(|_| bad("not an OpenSSH private key".into()))?;
            return match key {
                age::ssh::Identity::Unencrypted(_) => {
                    Ok(OpenIdentity(vec![OwnerKey::Ssh(Box::new(key))]))
                }
                age::ssh::Identity::Encrypted(_) => Err(refuse(
                    "the OpenSSH key is under a passphrase",
                    "give a copy without one (`ssh-keygen -p` on a copy), on a machine you trust",
                )),
                age::ssh::Identity::Unsupported(_) => {
                    Err(bad("an OpenSSH key of a kind age does not use".into()))
                }
            };
        }
        let mut keys = Vec::new();
        for (n, line) in identity_lines(text) {
            if line.starts_with("AGE-PLUGIN-") {
                keys.push(OwnerKey::Plugin(PluginIdentity::parse(line)?));
                continue;
            }
            let key = line
                .parse()
                .map_err(|_| bad(format!("line {n} is no age identity")))?;
            keys.push(OwnerKey::X25519(key));
        }
        if keys.is_empty() {
            return Err(bad("no identity in it".into()));
        }
        Ok(OpenIdentity(keys))
    }

    /// Whether a plugin opens for it: its public half is not told by the identity.
    pub fn has_plugin(&self) -> bool {
        self.0.iter().any(|k| matches!(k, OwnerKey::Plugin(_)))
    }

    /// The public halves, to seal to; a plugin's is not among them.
    pub fn recipients(&self) -> Vec<Recipient> {
        let one = |key: &OwnerKey| match key {
            OwnerKey::X25519(k) => Some(k.to_public().into()),
            OwnerKey::Ssh(k) => age::ssh::Recipient::try_from((**k).clone())
                .ok()
                .map(Recipient::from),
            OwnerKey::Plugin(_) => None,
        };
        self.0.iter().filter_map(one).collect()
    }
}

impl Opens for OpenIdentity {
    fn identities(&self) -> Vec<&dyn age::Identity> {
        self.0.iter().map(OwnerKey::as_age).collect()
    }
    fn name(&self) -> &'static str {
        "open identity"
    }
}

impl fmt::Debug for OpenIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenIdentity({} keys, not shown)", self.0.len())
    }
}
