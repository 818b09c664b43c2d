//! Which profile is in force, and why: what is named for this boot, else what the key stick
//! brings, else the one that asks everything.

use super::{parse, Origin, Profile, Role};
use asl_core::{Error, Kind, Result};
use asl_host::keystick::{self, KeyStick};
use std::path::{Path, PathBuf};

/// Profiles of the image.
const IMAGE_PROFILES: &str = "/usr/lib/asl/profiles";

/// Bytes of a profile at most.
const LONGEST: u64 = 64 << 10;

/// The profiles that come with this program, by name; an image's own file comes before them.
pub const SHIPPED: [(&str, &str); 6] = [
    (
        DEFAULT,
        include_str!("../../../../../profiles/interactive.toml"),
    ),
    (
        "courtesy-offline",
        include_str!("../../../../../profiles/courtesy-offline.toml"),
    ),
    (
        "courtesy-online",
        include_str!("../../../../../profiles/courtesy-online.toml"),
    ),
    (
        "unattended",
        include_str!("../../../../../profiles/unattended.toml"),
    ),
    ("host", include_str!("../../../../../profiles/host.toml")),
    ("demo", include_str!("../../../../../profiles/demo.toml")),
];

/// The profile where nothing names one.
const DEFAULT: &str = "interactive";

/// A profile, and why it is this one.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The profile.
    pub profile: Profile,
    /// Its text, by which is told what it says itself.
    pub text: String,
    /// Its name, or its file.
    pub name: String,
    /// Why it is in force.
    pub why: String,
}

/// Reads the profile that this boot names: by hand, else by `asl.profile=` on the kernel command
/// line; `None` where neither names one.
///
/// # Errors
/// `NotFound` and `Invalid`, naming the profile.
pub fn named(by_hand: Option<&Path>, kernel_command_line: &str) -> Result<Option<Profile>> {
    Ok(named_with_why(by_hand, kernel_command_line)?.map(|c| c.profile))
}

/// The profile in force once the stick is known.
///
/// # Errors
/// `Invalid` where the stick's cannot be read.
pub fn in_force(named: Option<&Profile>, stick: Option<&KeyStick>) -> Result<Profile> {
    match named {
        Some(profile) => Ok(profile.clone()),
        None => Ok(unnamed(stick)?.profile),
    }
}

/// The profile that would be in force here, and why.
///
/// # Errors
/// As [`named`] and [`in_force`].
pub fn chosen(
    by_hand: Option<&Path>,
    kernel_command_line: &str,
    stick: Option<&KeyStick>,
) -> Result<Chosen> {
    match named_with_why(by_hand, kernel_command_line)? {
        Some(chosen) => Ok(chosen),
        None => unnamed(stick),
    }
}

fn named_with_why(by_hand: Option<&Path>, kernel_command_line: &str) -> Result<Option<Chosen>> {
    if let Some(wanted) = by_hand {
        // What is named by hand may lie on a stick: it cannot admit the example keys either.
        let named = |name: &&str| !wanted.exists() && is_name(name);
        let (name, text) = match wanted.to_str().filter(named) {
            Some(name) => (name.to_string(), of_image(name)?),
            None => (wanted.display().to_string(), read(wanted)?),
        };
        return choose(text, name, "it was named by hand", Origin::Stick).map(Some);
    }
    let mut words = kernel_command_line.split_whitespace();
    let Some(wanted) = words.find_map(|w| w.strip_prefix("asl.profile=")) else {
        return Ok(None);
    };
    // A name that is not one leads to a file that is not there, and is told so.
    let text = of_image(if is_name(wanted) { wanted } else { "?" })?;
    let why = format!("the kernel command line says asl.profile={wanted}");
    choose(text, wanted.to_string(), &why, Origin::Image).map(Some)
}

fn unnamed(stick: Option<&KeyStick>) -> Result<Chosen> {
    let on_stick = match stick {
        Some(stick) => stick.read_optional(keystick::name::PROFILE)?,
        None => None,
    };
    match on_stick {
        Some(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let why = "nothing names one for this boot, and the key stick brings it";
            let chosen = choose(text, "of the key stick".into(), why, Origin::Stick)?;
            // Its keys are asked for in order to seal: it comes too late to make a host of this.
            if chosen.profile.role == Role::Host {
                let why = "role: a key stick cannot make this machine a host";
                return Err(Error::new(Kind::Invalid, "follow profile", chosen.name, why)
                    .next("start with asl.profile=host on the kernel command line, or `asl-host rescue --profile`"));
            }
            Ok(chosen)
        }
        None => {
            let why = "nothing names one, and the key stick brings none";
            choose(of_image(DEFAULT)?, DEFAULT.into(), why, Origin::Image)
        }
    }
}

fn choose(text: String, name: String, why: &str, origin: Origin) -> Result<Chosen> {
    Ok(Chosen {
        profile: parse(&text, &name, origin)?,
        text,
        name,
        why: why.to_string(),
    })
}

fn is_name(word: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !word.is_empty() && word.bytes().all(plain)
}

/// A profile by name: the image's own file, else the one that comes with this program.
fn of_image(name: &str) -> Result<String> {
    let path = PathBuf::from(IMAGE_PROFILES).join(format!("{name}.toml"));
    match read(&path) {
        Err(e) if e.kind() == Kind::NotFound => {
            let shipped = SHIPPED.iter().find(|(known, _)| *known == name);
            shipped.map(|(_, text)| (*text).to_string()).ok_or_else(|| {
                let known: Vec<&str> = SHIPPED.iter().map(|(known, _)| *known).collect();
                let why = "there is no profile of that name";
                Error::new(Kind::NotFound, "read profile", path.display(), why)
                    .next(format!("name a file, or one of: {}", known.join(", ")))
            })
        }
        read => read,
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = asl_backend::files::read_limited(path, LONGEST)?;
    String::from_utf8(bytes).map_err(|_| {
        Error::new(
            Kind::Invalid,
            "read profile",
            path.display(),
            "it is not text",
        )
        .next("a profile is a TOML file; see the ones in profiles/")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_name_cannot_leave_the_images_folder() {
        let e = named(None, "quiet asl.profile=../../etc/shadow").unwrap_err();
        assert!(e.object().starts_with(IMAGE_PROFILES), "{e}");
        assert!(e.what_next().contains("courtesy-offline"), "{e:?}");
        assert!(named(None, "quiet").unwrap().is_none());
    }

    #[test]
    fn the_demo_by_hand_does_not_admit_the_example_keys_but_by_the_kernel_does() {
        assert!(!named(Some(Path::new("demo")), "").unwrap().unwrap().demo);
        assert!(named(None, "asl.profile=demo").unwrap().unwrap().demo);
    }

    #[test]
    fn what_is_named_for_this_boot_comes_first_and_the_one_that_asks_comes_last() {
        let by_hand = chosen(Some(Path::new("unattended")), "asl.profile=demo", None).unwrap();
        assert_eq!(by_hand.name, "unattended");
        let by_kernel = chosen(None, "asl.profile=demo", None).unwrap();
        assert!(by_kernel.why.contains("asl.profile=demo"));
        let last = chosen(None, "quiet", None).unwrap();
        assert_eq!(last.name, DEFAULT);
        assert!(last.profile.interactive);
    }

    #[test]
    fn every_file_of_the_folder_is_shipped() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../profiles");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|f| f.unwrap().file_name().into_string().ok())
            .filter_map(|f| f.strip_suffix(".toml").map(str::to_string))
            .collect();
        files.sort();
        let mut shipped: Vec<String> = SHIPPED.iter().map(|(n, _)| n.to_string()).collect();
        shipped.sort();
        assert_eq!(files, shipped);
    }
}
