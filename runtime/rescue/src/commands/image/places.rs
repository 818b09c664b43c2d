//! Where the files of an image lie: on a medium, in a copy in RAM, or mounted.

use super::provenance::{Sum, AIROOTFS, MODULE, UNNAMED};
use asl_core::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where SystemRescue's start leaves the medium.
pub const BOOTMNT: &str = "/run/archiso/bootmnt";
const SFS: &str = "/run/archiso/sfs/";

/// A medium holds some hundred files; a stick that is used for more is not listed to its end.
const MOST_OTHERS: usize = 1000;

/// A medium, or what is left of it in RAM.
pub struct Medium {
    root: PathBuf,
    /// A copy in RAM holds the root file system and the modules at its top, and no boot files.
    flat: bool,
}

impl Medium {
    /// Looks at the folder where a medium is mounted.
    pub fn at(root: &Path) -> Self {
        let flat = !root.join("sysresccd").exists() && root.join(name_of(AIROOTFS)).exists();
        Medium {
            root: root.to_path_buf(),
            flat,
        }
    }

    /// Where a file of the image should be; `None` for what a copy in RAM never has.
    pub fn place(&self, path: &str) -> Option<PathBuf> {
        if !self.flat || path.starts_with("sysrescue.d/") || path.starts_with("autorun") {
            Some(self.root.join(path))
        } else if path == AIROOTFS || (path.starts_with("sysresccd/") && path.ends_with(".srm")) {
            Some(self.root.join(name_of(path)))
        } else {
            None
        }
    }

    /// The files on the medium that the image was made without. Links are not followed.
    pub fn others(&self, files: &BTreeMap<String, Sum>) -> Vec<String> {
        let known: BTreeSet<PathBuf> = files
            .keys()
            .map(String::as_str)
            .chain(UNNAMED)
            .filter_map(|path| self.place(path))
            .collect();
        let (mut others, mut folders) = (Vec::new(), vec![self.root.clone()]);
        while let Some(folder) = folders.pop() {
            // What cannot be listed is told by the files in it that cannot be read.
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if !known.contains(&path) && others.len() < MOST_OTHERS {
                    let name = path.strip_prefix(&self.root).unwrap_or(&path);
                    others.push(name.to_string_lossy().replace(char::is_control, "?"));
                }
            }
            if others.len() == MOST_OTHERS {
                break;
            }
        }
        others.sort();
        others
    }
}

/// One squashfs of the running system.
#[derive(Debug, PartialEq, Eq)]
pub struct Layer {
    /// The device that is mounted.
    pub device: PathBuf,
    /// The name of the file behind it.
    pub name: String,
}

impl Layer {
    /// Whether this is the layer that is made of a file of the image.
    pub fn is(&self, path: &str) -> bool {
        self.name == name_of(path)
    }

    /// Whether it lies above our module: the first by name is the top.
    pub fn hides_ours(&self) -> bool {
        !self.is(AIROOTFS) && self.name.as_str() < name_of(MODULE)
    }
}

/// The layers that the running system is stacked of.
///
/// # Errors
/// `Io` where the kernel does not say; `NotFound` where this is no booted appliance.
pub fn layers() -> Result<Vec<Layer>> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read_to_string(path).map_err(|e| Error::new(Kind::Io, "read", path, e))?;
    let layers = layers_in(&text, Path::new("/sys/block"));
    if layers.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            "verify",
            "this system",
            "it was not started from a medium in SystemRescue's layout",
        )
        .next("check a mounted medium: asl-host image verify --medium /mnt"));
    }
    Ok(layers)
}

/// `mountinfo` has the mount point as its fifth word, and the device as the second after " - ".
fn layers_in(mountinfo: &str, sys_block: &Path) -> Vec<Layer> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let at = before.split(' ').nth(4)?;
            let mut after = after.split(' ');
            if !at.starts_with(SFS) || after.next()? != "squashfs" {
                return None;
            }
            let device = after.next()?.strip_prefix("/dev/")?;
            let file = sys_block.join(device).join("loop/backing_file");
            // A file that was deleted since keeps its name, with a remark.
            let file = std::fs::read_to_string(file).ok()?;
            let file = file.trim_end().trim_end_matches(" (deleted)");
            Some(Layer {
                device: Path::new("/dev").join(device),
                name: name_of(file).to_string(),
            })
        })
        .collect()
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
25 1 0:22 / / rw,relatime - overlay airootfs rw,lowerdir=/run/archiso/sfs/srm1
31 25 7:0 / /run/archiso/sfs/airootfs ro,relatime - squashfs /dev/loop0 ro
32 25 7:1 / /run/archiso/sfs/srm1 ro,relatime shared:5 - squashfs /dev/loop1 ro,errors=continue
33 25 7:2 / /mnt/other ro,relatime - squashfs /dev/loop2 ro
34 25 11:0 / /run/archiso/bootmnt ro,relatime - iso9660 /dev/sr0 ro
cut short
";

    #[test]
    fn the_layers_are_those_that_the_start_mounted_by_the_name_of_the_file_behind() {
        let sys = tempfile::tempdir().unwrap();
        for (loop_device, file) in [
            ("loop0", "/run/archiso/copytoram/airootfs.sfs\n"),
            ("loop1", "/bootmnt/sysresccd/00-asl-host.srm (deleted)\n"),
            ("loop2", "/else/00-asl-host.srm\n"),
        ] {
            let dir = sys.path().join(loop_device).join("loop");
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("backing_file"), file).unwrap();
        }
        let layers = layers_in(MOUNTS, sys.path());
        let seen: Vec<_> = layers
            .iter()
            .map(|l| (l.device.to_str().unwrap(), l.name.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("/dev/loop0", "airootfs.sfs"),
                ("/dev/loop1", "00-asl-host.srm")
            ]
        );
        assert!(layers[0].is(AIROOTFS) && layers[1].is(MODULE));
        assert!(!layers[0].hides_ours() && !layers[1].hides_ours());
        let other = Layer {
            device: "/dev/loop3".into(),
            name: "00-a.srm".into(),
        };
        assert!(other.hides_ours());
    }

    #[test]
    fn a_copy_in_ram_has_its_squashfs_files_at_its_top_and_no_boot_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("airootfs.sfs"), "").unwrap();
        let copy = Medium::at(dir.path());
        let place = |path| {
            copy.place(path)
                .map(|p| p.strip_prefix(dir.path()).unwrap().to_path_buf())
        };
        assert_eq!(place(AIROOTFS), Some("airootfs.sfs".into()));
        assert_eq!(place(MODULE), Some("00-asl-host.srm".into()));
        assert_eq!(
            place("sysrescue.d/500-asl.yaml"),
            Some("sysrescue.d/500-asl.yaml".into())
        );
        assert_eq!(place("sysresccd/boot/x86_64/vmlinuz"), None);
        std::fs::create_dir(dir.path().join("sysresccd")).unwrap();
        // What stood at the top of the copy is not part of a whole medium.
        let whole = Medium::at(dir.path());
        assert_eq!(whole.others(&BTreeMap::new()), ["airootfs.sfs"]);
        assert_eq!(
            copy.others(&[(AIROOTFS.to_string(), [0; 64])].into()),
            [""; 0]
        );
        assert!(whole.place("sysresccd/boot/x86_64/vmlinuz").is_some());
    }
}
