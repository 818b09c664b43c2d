//! `image verify`: the boot medium, and what runs of it, against what it was made as.

mod places;
mod provenance;

use super::DAMAGE;
use crate::cli::Image;
use crate::out::{size, time, Out};
use crate::progress::bar;
use crate::system;
use asl_core::{words, Error, Kind, Result};
use indicatif::ProgressBar;
use places::{layers, Layer, Medium, BOOTMNT};
use provenance::{Provenance, Sum};
use serde_json::{json, Value};
use sha2::{Digest, Sha512};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the module holds, as files of the running system.
const MANIFEST: &str = "/usr/lib/asl/manifest.sha512";

/// As many additions are shown one by one; `--json` has them all.
const SHOWN: usize = 12;

pub fn run(verb: Image, out: Out) -> Result<ExitCode> {
    let Image::Verify { medium } = verb;
    let check = match &medium {
        Some(dir) => Check::of_medium(dir)?,
        None => Check::of_this_system()?,
    };
    let report = check.run(out)?;
    out.result(&report.text(), &report.json())?;
    Ok(if report.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DAMAGE)
    })
}

/// What is to be read, and what it must be.
struct Check {
    provenance: Provenance,
    /// What a person calls it, where it is read, its hash.
    items: Vec<(String, PathBuf, Sum)>,
    /// Files of the image that are out of reach: the copy in RAM does not have them.
    out_of_reach: Vec<String>,
    /// Layers and files that the image was made without.
    added: Vec<String>,
}

impl Check {
    fn of_medium(dir: &Path) -> Result<Self> {
        let provenance = Provenance::read(dir)?;
        Ok(Self::files(provenance, &Medium::at(dir), &[]))
    }

    fn of_this_system() -> Result<Self> {
        let layers = layers()?;
        let provenance = Provenance::read(Path::new(BOOTMNT))?;
        let mut check = Self::files(provenance, &Medium::at(Path::new(BOOTMNT)), &layers);
        let failed = |kind, why: String| {
            Error::new(kind, "read", MANIFEST, why)
                .next("start the medium again; if it stays so, write it anew from its ISO")
        };
        let manifest =
            std::fs::read_to_string(MANIFEST).map_err(|e| failed(Kind::Damage, e.to_string()))?;
        let manifest =
            provenance::parse_sums(&manifest).map_err(|why| failed(Kind::Damage, why))?;
        for (path, sum) in manifest {
            let place = Path::new("/").join(&path);
            check
                .items
                .push((format!("{} in use", place.display()), place, sum));
        }
        Ok(check)
    }

    /// Every file of the image, in the layer it is mounted as, else where it lies.
    fn files(provenance: Provenance, medium: &Medium, layers: &[Layer]) -> Self {
        let (mut items, mut out_of_reach) = (Vec::new(), Vec::new());
        for (path, sum) in &provenance.files {
            if let Some(layer) = layers.iter().find(|l| l.is(path)) {
                let name = format!("{path} mounted from {}", layer.device.display());
                items.push((name, layer.device.clone(), *sum));
            } else if let Some(place) = medium.place(path) {
                items.push((path.clone(), place, *sum));
            } else {
                out_of_reach.push(path.clone());
            }
        }
        let foreign = layers
            .iter()
            .filter(|l| !provenance.files.keys().any(|path| l.is(path)));
        let mut added: Vec<String> = foreign
            .map(|l| match l.hides_ours() {
                true => format!("{}, mounted above the appliance's module", l.name),
                false => format!("{}, mounted below the appliance's module", l.name),
            })
            .collect();
        added.extend(medium.others(&provenance.files));
        Check {
            provenance,
            items,
            out_of_reach,
            added,
        }
    }

    fn run(self, out: Out) -> Result<Report> {
        let bar = bar(out, "checking");
        let sizes = self.items.iter().map(|(_, place, _)| length(place));
        bar.set_length(sizes.sum());
        let (mut problems, mut bytes) = (BTreeMap::new(), 0);
        for (name, place, want) in &self.items {
            match sum_of(place, &bar) {
                Ok((sum, read)) => {
                    bytes += read;
                    if sum != *want {
                        problems.insert(name.clone(), "differs".to_string());
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {
                    bar.finish_and_clear();
                    return Err(Error::new(
                        Kind::Interrupted,
                        "verify",
                        "the image",
                        "interrupted",
                    )
                    .next("nothing was changed; start it again"));
                }
                Err(e) => {
                    problems.insert(name.clone(), format!("cannot be read: {e}"));
                }
            }
        }
        bar.finish_and_clear();
        Ok(Report {
            checked: self.items.len(),
            bytes,
            problems,
            out_of_reach: self.out_of_reach,
            added: self.added,
            provenance: self.provenance,
        })
    }
}

fn length(place: &Path) -> u64 {
    match std::fs::symlink_metadata(place) {
        Ok(meta) if meta.is_file() => meta.len(),
        Ok(meta) if meta.file_type().is_block_device() => {
            let blocks = place
                .file_name()
                .map(|name| Path::new("/sys/class/block").join(name).join("size"))
                .and_then(|path| std::fs::read_to_string(path).ok());
            blocks.map_or(0, |n| {
                n.trim().parse::<u64>().unwrap_or(0).saturating_mul(512)
            })
        }
        _ => 0,
    }
}

/// The hash of a file or of a layer's device; nothing else is read, and no link is followed.
fn sum_of(place: &Path, bar: &ProgressBar) -> std::io::Result<(Sum, u64)> {
    let mut file: File = std::fs::OpenOptions::new()
        .read(true)
        // A pipe of the same name must not stop us.
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(place)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(std::io::Error::other("it is no file"));
    }
    let (mut hash, mut total) = (Sha512::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        if system::stopped() {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let read = match file.read(&mut buffer) {
            Ok(0) => return Ok((hash.finalize().into(), total)),
            Ok(read) => read,
            // A signal: the question above decides.
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hash.update(buffer.get(..read).unwrap_or_default());
        total += read as u64;
        bar.inc(read as u64);
    }
}

struct Report {
    provenance: Provenance,
    checked: usize,
    bytes: u64,
    problems: BTreeMap<String, String>,
    out_of_reach: Vec<String>,
    added: Vec<String>,
}

impl Report {
    fn words(&self) -> String {
        let mut half = [0; 32];
        half.iter_mut()
            .zip(self.provenance.sum)
            .for_each(|(to, byte)| *to = byte);
        words(&half)
    }

    fn text(&self) -> String {
        let made = &self.provenance;
        let mut text = format!(
            "Image {}, on base version {}, as of {}.\nIts words: {}\n",
            made.label,
            made.base.version,
            time(made.epoch.saturating_mul(1_000_000_000)),
            self.words(),
        );
        for (name, what) in &self.problems {
            text.push_str(&format!("  DAMAGED  {name}: {what}\n"));
        }
        for name in self.added.iter().take(SHOWN) {
            text.push_str(&format!("  not part of the image: {name}\n"));
        }
        if let Some(more) = self.added.len().checked_sub(SHOWN).filter(|n| *n > 0) {
            text.push_str(&format!("  not part of the image: {more} more\n"));
        }
        if !self.out_of_reach.is_empty() {
            text.push_str(&format!(
                "  {} files not checked: the system runs in RAM, without its medium\n",
                self.out_of_reach.len()
            ));
        }
        let said = match self.problems.len() {
            0 => "all as they were made".to_string(),
            n => format!("{n} NOT as they were made: write the medium anew from its ISO"),
        };
        text.push_str(&format!(
            "{} files, {} read: {said}.\n",
            self.checked,
            size(self.bytes)
        ));
        text.push_str(
            "This finds damage, not an attacker: who can change a medium can change its hashes.\n\
             Against that, check it on a machine you trust and compare the words with your own note.",
        );
        text
    }

    fn json(&self) -> Value {
        let made = &self.provenance;
        let sum: String = made.sum.iter().map(|b| format!("{b:02x}")).collect();
        json!({
            "sound": self.problems.is_empty(),
            "image": {
                "label": made.label, "epoch": made.epoch, "sha512": sum, "words": self.words(),
                "base": { "sha512": made.base.sha512, "version": made.base.version },
            },
            "checked": self.checked,
            "bytes": self.bytes,
            "problems": self.problems,
            "out_of_reach": self.out_of_reach,
            "added": self.added,
            "finds": "damage, not an attacker",
        })
    }
}
