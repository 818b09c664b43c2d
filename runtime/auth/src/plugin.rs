//! age plugins: other people's tools that keep an owner's key in hardware or elsewhere.
//!
//! A plugin is a program named `age-plugin-NAME` in the PATH. It is looked for when it is needed,
//! not when a recipient is read: a host reads a DAM that names a plugin it never had. A plugin that
//! asks the person something is refused here: only the `age` tool has the terminal for that.

use age::{DecryptError, EncryptError, NoCallbacks};
use age_core::format::{FileKey, Stanza};
use asl_core::{Error, Kind, Result};
use std::collections::HashSet;

/// A recipient that a plugin seals to.
#[derive(Clone)]
pub(crate) struct PluginRecipient(age::plugin::Recipient);

impl PluginRecipient {
    /// Reads `age1NAME1...`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(PluginRecipient)
    }

    fn run(&self) -> Result<age::plugin::RecipientPluginV1<NoCallbacks>> {
        let name = self.0.plugin();
        age::plugin::RecipientPluginV1::new(name, std::slice::from_ref(&self.0), &[], NoCallbacks)
            .map_err(|_| missing(name))
    }

    /// Whether the tool is here.
    pub(crate) fn require_tool(&self) -> Result<()> {
        self.run().map(drop)
    }
}

impl std::fmt::Display for PluginRecipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl age::Recipient for PluginRecipient {
    fn wrap_file_key(
        &self,
        key: &FileKey,
    ) -> std::result::Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let plugin = self
            .run()
            .map_err(|e| EncryptError::Io(std::io::Error::other(e)))?;
        plugin.wrap_file_key(key)
    }
}

/// An identity that a plugin opens with.
pub(crate) struct PluginIdentity(age::plugin::IdentityPluginV1<NoCallbacks>);

impl PluginIdentity {
    /// Reads an `AGE-PLUGIN-NAME-1...` line.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let bad = |why: &str| Error::new(Kind::Invalid, "read", "open identity", why);
        let identity: age::plugin::Identity = line.parse().map_err(bad)?;
        let name = identity.plugin();
        age::plugin::IdentityPluginV1::new(name, std::slice::from_ref(&identity), NoCallbacks)
            .map(PluginIdentity)
            .map_err(|_| missing(name))
    }
}

impl age::Identity for PluginIdentity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<std::result::Result<FileKey, DecryptError>> {
        self.0.unwrap_stanza(stanza)
    }

    fn unwrap_stanzas(
        &self,
        stanzas: &[Stanza],
    ) -> Option<std::result::Result<FileKey, DecryptError>> {
        self.0.unwrap_stanzas(stanzas)
    }
}

fn missing(name: &str) -> Error {
    let tool = format!("age-plugin-{name}");
    Error::new(Kind::Refused, "use", &tool, "this tool is not in the PATH").next(format!(
        "install {tool}, or open `epoch-N.age` where it is, as RECOVER.txt shows"
    ))
}
