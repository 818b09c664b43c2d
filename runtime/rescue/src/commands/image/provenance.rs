//! What an image was made as: `sysrescue.d/asl-image.json`, written by the remaster.

use asl_core::{Error, Kind, Result};
use serde::Deserialize;
use sha2::{Digest, Sha512};
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// Where it lies on a medium.
pub const PATH: &str = "sysrescue.d/asl-image.json";
/// Where our module lies on a medium.
pub const MODULE: &str = "sysresccd/00-asl-host.srm";
/// Where the root file system lies on a medium.
pub const AIROOTFS: &str = "sysresccd/x86_64/airootfs.sfs";

/// What the document does not name: itself, and the boot records of BIOS, which every writing of
/// an ISO patches.
pub const UNNAMED: [&str; 3] = [PATH, "isolinux/isolinux.bin", "isolinux/boot.cat"];

const FORMAT: &str = "asl-image/2";
/// An official ISO has some hundred files; each takes less than 300 bytes here.
const MAX_BYTES: u64 = 4 << 20;

/// A SHA-512.
pub type Sum = [u8; 64];

/// What the image was made as.
pub struct Provenance {
    pub label: String,
    pub epoch: i64,
    pub base: Base,
    /// Every file of the medium, by its path from the medium's root.
    pub files: BTreeMap<String, Sum>,
    /// The hash of this document itself.
    pub sum: Sum,
}

/// The ISO it was made of.
#[derive(Deserialize)]
pub struct Base {
    /// Empty where the image was made by a tool that does not know it.
    pub sha512: String,
    pub version: String,
}

#[derive(Deserialize)]
struct Format {
    format: String,
}

#[derive(Deserialize)]
struct Document {
    label: String,
    epoch: i64,
    base: Base,
    files: BTreeMap<String, String>,
}

impl Provenance {
    /// Reads the document of the medium mounted at `medium`.
    ///
    /// # Errors
    /// `NotFound` where it has none, `Invalid` where it is not in the form of this version.
    pub fn read(medium: &Path) -> Result<Self> {
        let path = medium.join(PATH);
        let failed = |kind, why: String| Error::new(kind, "read", path.display(), why);
        let meta = std::fs::symlink_metadata(&path).map_err(|e| {
            failed(Kind::NotFound, e.to_string())
                .next("is this a medium with the appliance, and mounted whole?")
        })?;
        if !meta.is_file() || meta.len() > MAX_BYTES {
            let why = "it is no file of a reasonable size".to_string();
            return Err(failed(Kind::Invalid, why).next(MAKE_AGAIN));
        }
        let bytes = std::fs::read(&path).map_err(|e| failed(Kind::Io, e.to_string()))?;
        Self::parse(&bytes).map_err(|why| failed(Kind::Invalid, why).next(MAKE_AGAIN))
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let format: Format = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if format.format != FORMAT {
            return Err(format!("its format is not {FORMAT}"));
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let mut files = BTreeMap::new();
        for (path, sum) in document.files {
            if !is_plain(&path) {
                return Err(format!("{path:?} is not a path on a medium"));
            }
            let sum = sum_of_hex(&sum).ok_or_else(|| format!("the hash of {path} is not one"))?;
            files.insert(path, sum);
        }
        for needed in [MODULE, AIROOTFS] {
            if !files.contains_key(needed) {
                return Err(format!("it does not name {needed}"));
            }
        }
        if !is_printable(&document.label) || !is_printable(&document.base.version) {
            return Err("a name in it is not plain text".into());
        }
        Ok(Provenance {
            label: document.label,
            epoch: document.epoch,
            base: document.base,
            files,
            sum: Sha512::digest(bytes).into(),
        })
    }
}

const MAKE_AGAIN: &str = "write the medium anew from its ISO, or make the ISO again";

/// Reads the lines of `sha512sum`, as the module's own manifest has them.
pub fn parse_sums(text: &str) -> std::result::Result<BTreeMap<String, Sum>, String> {
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let (sum, path) = line
            .split_once("  ")
            .ok_or_else(|| format!("{line:?} is not the line of a hash"))?;
        let sum = sum_of_hex(sum).ok_or_else(|| format!("the hash of {path:?} is not one"))?;
        if !is_plain(path) {
            return Err(format!("{path:?} is not a path of the module"));
        }
        sums.insert(path.to_string(), sum);
    }
    Ok(sums)
}

/// A relative path that leads nowhere else, in letters a terminal shows as they are.
fn is_plain(path: &str) -> bool {
    is_printable(path)
        && !path.is_empty()
        && Path::new(path)
            .components()
            .all(|c| matches!(c, Component::Normal(_)))
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

fn sum_of_hex(hex: &str) -> Option<Sum> {
    let mut sum = [0; 64];
    if hex.len() != 128 || !hex.is_ascii() {
        return None;
    }
    for (i, byte) in sum.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn document(files: &str) -> String {
        let sum = "ab".repeat(64);
        format!(
            r#"{{"format": "asl-image/2", "label": "RESCUE0001", "epoch": 7, "base": {{"sha512": "", "version": "1"}},
            "files": {{"{MODULE}": "{sum}", "{AIROOTFS}": "{sum}"{files}}}}}"#
        )
    }

    fn refused(text: &str, why: &str) {
        let said = Provenance::parse(text.as_bytes()).err().unwrap();
        assert!(said.contains(why), "{said}");
    }

    #[test]
    fn a_document_of_the_remaster_is_read() {
        let read = Provenance::parse(document("").as_bytes()).unwrap();
        assert_eq!(read.files.len(), 2);
        assert_eq!(read.files[MODULE], [0xab; 64]);
        assert_eq!((read.label.as_str(), read.epoch), ("RESCUE0001", 7));
    }

    #[test]
    fn a_document_that_leads_elsewhere_or_is_not_whole_is_refused() {
        let sum = "cd".repeat(64);
        for path in [
            "/etc/shadow",
            "../x",
            "a/../../x",
            "",
            "a\\nb",
            "\\u0007x",
            "é",
        ] {
            refused(
                &document(&format!(r#", "{path}": "{sum}""#)),
                "is not a path",
            );
        }
        refused(&document(r#", "a": "cd""#), "the hash of a");
        let wide = "é".repeat(64);
        refused(&document(&format!(r#", "a": "{wide}""#)), "the hash of a");
        refused(&document("").replace(MODULE, "other"), "does not name");
        refused(&document("").replace(AIROOTFS, "other"), "does not name");
        refused(&document("").replace("image/2", "image/3"), "its format");
        refused(&document("").replace("RESCUE0001", "\\u001b[2J"), "plain");
        refused(&document("")[..100], "EOF");
        refused("[]", "");
        refused("", "EOF");
    }

    #[test]
    fn the_lines_of_sha512sum_are_read_and_no_others() {
        let sum = "01".repeat(64);
        let read = parse_sums(&format!("{sum}  usr/bin/a\n{sum}  usr/lib/b c\n")).unwrap();
        assert_eq!(
            read.keys().collect::<Vec<_>>(),
            ["usr/bin/a", "usr/lib/b c"]
        );
        for bad in ["x", "x  y", &format!("{sum}  ../y"), &format!("{sum} y")] {
            assert!(parse_sums(bad).is_err(), "{bad}");
        }
    }
}
