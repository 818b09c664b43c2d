//! Profiles: what an appliance does by itself and what it asks (flows.md, "The appliance").

use asl_core::{Error, Kind, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Profiles of the image.
const IMAGE_PROFILES: &str = "/usr/lib/asl/profiles";

/// A profile.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Admits the example keys; ignored in a profile from a stick.
    #[serde(default)]
    pub demo: bool,
    /// Whether questions may be asked.
    #[serde(default = "yes")]
    pub interactive: bool,
    /// Consoles that may own the session, such as `ttyS0`; any where it is empty.
    #[serde(default)]
    pub consoles: Vec<String>,
    #[serde(default)]
    pub keys: Keys,
    #[serde(default)]
    pub target: Target,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub admission: Admission,
    #[serde(default)]
    pub end: End,
}

fn yes() -> bool {
    true
}

/// Where the keys are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// A directory; for a session that runs outside the appliance. A stick is found by its label.
    pub path: Option<PathBuf>,
    /// A file with the passphrase; never on the medium or the stick.
    pub passphrase_file: Option<PathBuf>,
}

/// Where state may live.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The file system with this label.
    pub label: Option<String>,
    /// A directory; for a session that runs outside the appliance.
    pub path: Option<PathBuf>,
}

/// What to seal.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// File systems with these labels, in this order.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Directories, in this order; for a session that runs outside the appliance.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
}

/// Whom to ask and for what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// The host's name in hosts.toml.
    pub host: Option<String>,
    /// Bytes wanted.
    #[serde(default = "wanted_bytes")]
    pub bytes: u64,
    /// Days wanted.
    #[serde(default = "wanted_days")]
    pub days: u32,
    /// Whether the remote lease caps local sealing too.
    #[serde(default)]
    pub applies: Applies,
}

fn wanted_bytes() -> u64 {
    100_000_000_000
}

fn wanted_days() -> u32 {
    30
}

impl Default for Admission {
    fn default() -> Self {
        Admission {
            host: None,
            bytes: wanted_bytes(),
            days: wanted_days(),
            applies: Applies::Remote,
        }
    }
}

/// Where a lease counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Applies {
    /// At the host that granted it.
    #[default]
    Remote,
    /// There and here.
    Both,
}

/// What happens when all is snapshotted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    #[serde(default)]
    pub action: EndAction,
}

/// The ways to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndAction {
    /// Show the status and wait.
    #[default]
    Wait,
    /// Go to a shell.
    Shell,
    /// Power the machine off.
    Poweroff,
}

/// Where a profile came from, which decides whether its `demo` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The image, by the kernel command line.
    Image,
    /// A key stick, or a file named by hand.
    Stick,
}

/// Reads a profile's text.
///
/// # Errors
/// `Invalid` with line and column.
pub fn parse(text: &str, name: &str, origin: Origin) -> Result<Profile> {
    let mut profile: Profile = toml::from_str(text).map_err(|e| {
        Error::new(
            Kind::Invalid,
            "read profile",
            name,
            e.to_string().trim_end(),
        )
        .next("mend the line that is shown")
    })?;
    profile.demo &= origin == Origin::Image;
    Ok(profile)
}

/// Reads the profile that this boot names: a file given by hand, else `asl.profile=` on the kernel
/// command line; `None` where neither names one.
///
/// # Errors
/// `NotFound` and `Invalid`, naming the profile.
pub fn named(file: Option<&Path>, kernel_command_line: &str) -> Result<Option<Profile>> {
    if let Some(path) = file {
        // A file named by hand may lie on a stick: it cannot admit the example keys either.
        return read(path, Origin::Stick).map(Some);
    }
    let Some(wanted) = kernel_command_line
        .split_whitespace()
        .find_map(|w| w.strip_prefix("asl.profile="))
    else {
        return Ok(None);
    };
    let safe = !wanted.is_empty()
        && wanted
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
    // A name that is not one leads to a file that is not there, and is told so.
    let path = Path::new(IMAGE_PROFILES).join(if safe {
        format!("{wanted}.toml")
    } else {
        "?".into()
    });
    read(&path, Origin::Image).map(Some)
}

fn read(path: &Path, origin: Origin) -> Result<Profile> {
    let bytes = asl_backend::files::read_limited(path, 64 << 10)?;
    parse(
        &String::from_utf8_lossy(&bytes),
        &path.display().to_string(),
        origin,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_of_the_image_are_read() {
        let demo = parse(
            include_str!("../../../../profiles/demo.toml"),
            "demo",
            Origin::Image,
        )
        .unwrap();
        assert!(demo.demo && !demo.interactive);
        assert_eq!(demo.admission.applies, Applies::Both);
        let asked = parse(
            include_str!("../../../../profiles/interactive.toml"),
            "i",
            Origin::Image,
        )
        .unwrap();
        assert!(!asked.demo && asked.interactive);
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
        ] {
            let e = parse(text, "p", Origin::Image).unwrap_err();
            assert!(e.why().contains("line"), "{e}");
        }
    }

    #[test]
    fn a_profile_name_cannot_leave_the_images_folder() {
        let e = named(None, "quiet asl.profile=../../etc/shadow").unwrap_err();
        assert!(e.object().starts_with(IMAGE_PROFILES), "{e}");
        assert!(named(None, "quiet").unwrap().is_none());
    }
}
