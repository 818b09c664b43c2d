//! Directories that come into being whole, such as a root or a domain.
//!
//! Crash rule: the directory is built under `.new-<nonce>`, everything in it is synced, and only
//! then does it get its name. A crash leaves the name free and maybe a `.new-` directory beside.

use crate::disk::{steady, Access, Disk, DiskFile, Entry};
use crate::errno::explain;
use crate::name::is_component;
use crate::whole::TEMPORARY;
use crate::SystemDisk;
use asl_core::{Error, Kind, Result};
use std::io;
use std::path::Path;

const DOING: &str = "make directory";

/// Makes a directory, whole or not at all, even if the power goes.
///
/// `fill` is given the path of the directory under construction (mode 0700) and puts everything
/// into it; nothing needs to be synced there. When it fails, nothing stays. `nonce` tells apart
/// two who make the same directory at once. Durable on return.
///
/// formats.md, "The tree".
///
/// # Errors
/// `Exists` where `parent` has that name already; `Invalid` where `name` is not one component of a
/// [`Name`](crate::Name); what `fill` answers.
pub fn create_whole(
    parent: &Path,
    name: &str,
    nonce: &[u8; 16],
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let disk = SystemDisk::open(parent)
        .map_err(|e| explain("open", format!("directory {}", parent.display()), &e))?;
    create_whole_on(&disk, name, nonce, |building| fill(&parent.join(building)))
}

/// The same at the root of any [`Disk`]; `fill` is given a path on that disk.
///
/// # Errors
/// As [`create_whole`].
pub fn create_whole_on<D: Disk>(
    disk: &D,
    name: &str,
    nonce: &[u8; 16],
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if !is_component(name) || name.len() > 255 {
        let shown: String = name
            .chars()
            .take(80)
            .flat_map(char::escape_default)
            .collect();
        return Err(Error::new(
            Kind::Invalid,
            DOING,
            format!("\"{shown}\""),
            "this cannot be a name",
        ));
    }
    let told = |e: io::Error| explain(DOING, name, &e);
    match disk.entry(Path::new(name)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Ok(_) => {
            // Whoever made it may not have made its name durable; the caller will rely on it.
            steady(|| disk.sync_dir(Path::new(""))).map_err(told)?;
            return Err(told(io::ErrorKind::AlreadyExists.into()));
        }
        Err(e) => return Err(told(e)),
    }
    let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    let building = format!("{TEMPORARY}{nonce}");
    let building = Path::new(&building);
    disk.make_dir(building, 0o700).map_err(told)?;
    let mut naming = false;
    let outcome = fill(building).and_then(|()| {
        sync_tree(disk, building).map_err(told)?;
        naming = true;
        name_dir(disk, building, Path::new(name)).map_err(told)
    });
    if let Err(e) = outcome {
        // Where a rename is two steps, what lies under the one name may lie under the other too.
        if disk.renames_whole() || !naming {
            // The first error is the one to tell; what cannot be removed has no name that counts.
            let _ = remove_tree(disk, building);
        }
        return Err(e);
    }
    steady(|| disk.sync_dir(Path::new(""))).map_err(told)
}

fn name_dir<D: Disk>(disk: &D, from: &Path, to: &Path) -> io::Result<()> {
    match disk.rename_new(from, to) {
        // A directory never replaces a file, nor a directory that holds something.
        Err(e) if e.kind() == io::ErrorKind::Unsupported => disk.rename(from, to),
        other => other,
    }
}

fn sync_tree<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    let mut synced = false;
    steady(|| disk.sync_all().map(|done| synced = done))?;
    if synced {
        return Ok(());
    }
    sync_each(disk, dir)
}

fn sync_each<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    for name in disk.list(dir)? {
        let path = dir.join(name);
        match disk.entry(&path)? {
            Entry::Dir => sync_each(disk, &path)?,
            Entry::File(_) => {
                let file = disk.open(&path, Access::Read)?;
                steady(|| file.sync())?;
            }
            Entry::Other => {}
        }
    }
    steady(|| disk.sync_dir(dir))
}

fn remove_tree<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    for name in disk.list(dir)? {
        let path = dir.join(name);
        if disk.entry(&path)? == Entry::Dir {
            remove_tree(disk, &path)?;
        } else {
            disk.unlink(&path)?;
        }
    }
    disk.remove_dir(dir)
}
