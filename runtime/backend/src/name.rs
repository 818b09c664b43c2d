//! Object names: relative paths that cannot leave the location they are used in.

use asl_core::{Error, Kind, Result};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The longest name, in bytes, separators included.
const MAX_NAME: usize = 255;

/// The name of an object below a store location, such as `log/append.log`.
///
/// Components of `[A-Za-z0-9_~.-]`, none of them empty or starting with a dot, joined by `/`; at
/// most 255 bytes. The same text is a relative path on a file system and a key under a prefix on
/// an object store (formats.md, "Object store mapping").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// `Invalid` where the text is not a name.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        match fault(&text) {
            None => Ok(Name(text)),
            Some(why) => {
                // A hostile name is shown cut and escaped, never echoed raw to a terminal.
                let shown: String = text
                    .chars()
                    .take(80)
                    .flat_map(char::escape_default)
                    .collect();
                Err(Error::new(
                    Kind::Invalid,
                    "use",
                    "object name",
                    format!("\"{shown}\" {why}"),
                ))
            }
        }
    }

    /// The name of something below this one.
    ///
    /// # Errors
    /// `Invalid` where `below` is not a name, or the whole is too long.
    pub fn join(&self, below: &str) -> Result<Self> {
        Name::new(format!("{}/{below}", self.0))
    }

    /// The name of the directory it lies in; none directly below the location.
    pub fn parent(&self) -> Option<Name> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| Name(parent.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a relative path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

/// Whether a text may stand as one component of a name.
pub(crate) fn is_component(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_~.-".contains(&b))
}

fn fault(text: &str) -> Option<&'static str> {
    if text.len() > MAX_NAME {
        return Some("is longer than 255 bytes");
    }
    if text.split('/').all(is_component) {
        None
    } else {
        Some("has a part that is empty, starts with a dot, or holds a character outside A-Z a-z 0-9 _ ~ . -")
    }
}

impl FromStr for Name {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Name::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        let long = "a".repeat(256);
        for text in [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "a/",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/.hidden",
            ".new-1",
            "a\\b",
            "a b",
            "a\0b",
            "a\nb",
            "\u{1b}[2J",
            "caf\u{e9}",
            "a:b",
            "-/../x",
            long.as_str(),
        ] {
            let error = Name::new(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{text:?}");
            assert!(error.to_string().is_ascii(), "{text:?} is shown raw");
        }
    }

    #[test]
    fn a_join_cannot_leave_its_parent() {
        let log = Name::new("log").unwrap();
        for below in ["..", "/etc", "", "a/../../b", &"x".repeat(252)] {
            assert_eq!(log.join(below).unwrap_err().kind(), Kind::Invalid);
        }
        assert_eq!(log.join("append.log").unwrap().as_str(), "log/append.log");
    }

    #[test]
    fn the_names_of_the_layout_are_names() {
        for text in [
            "log/append.log",
            "snapshots/snap-000043/manifest",
            "alice~0123456789ab",
            "store/objects/x.set",
        ] {
            assert_eq!(Name::new(text).unwrap().to_string(), text);
        }
        let name = Name::new("a/b/c").unwrap();
        assert_eq!(name.parent().unwrap().as_str(), "a/b");
        assert_eq!(Name::new("a").unwrap().parent(), None);
    }
}
