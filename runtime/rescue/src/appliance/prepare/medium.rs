//! A medium for keys: a stick that is there, one that is erased first, or a directory.
//!
//! What is given away and what stays at home never share a medium.

use crate::appliance::disks::{self, Device};
use crate::appliance::session::Place;
use crate::appliance::ui::Ui;
use asl_core::Result;
use asl_host::keystick;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the medium is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The key stick, which is given away.
    Stick,
    /// The secrets, which stay.
    Home,
}

/// A way that is offered.
enum Way {
    /// It is mounted already.
    Mounted(PathBuf),
    /// Its file system is mounted for it.
    Mount(Device),
    /// It gets a new file system.
    Erase(Device),
    /// A directory is named.
    Directory,
    /// Looks for media again.
    Look,
}

/// Asks for a medium; none where the person puts it off.
///
/// # Errors
/// Of mounting or making the file system; `Interrupted` on Ctrl-C.
pub fn choose(purpose: Purpose, at: &Path, ui: Ui) -> Result<Option<Place>> {
    let question = match purpose {
        Purpose::Stick => "Where shall the key stick be written",
        Purpose::Home => "Which disk shall hold the keys",
    };
    loop {
        let (mut items, ways): (Vec<String>, Vec<Way>) = ways(purpose).into_iter().unzip();
        items.push("Not now".into());
        let chosen = ui.choose(question, &items, "interactive")?;
        match chosen.and_then(|n| ways.into_iter().nth(n)) {
            None => return Ok(None),
            Some(Way::Look) => {}
            Some(Way::Mounted(path)) => return Ok(Some(Place::directory(&path))),
            Some(Way::Mount(device)) => return mount(&device, at).map(Some),
            Some(Way::Erase(device)) => {
                if let Some(device) = erase(&device, ui)? {
                    return mount(&device, at).map(Some);
                }
            }
            Some(Way::Directory) => {
                let typed = ui.line("Which directory (it must be there)", "interactive")?;
                if Path::new(&typed).is_dir() {
                    return Ok(Some(Place::directory(Path::new(&typed))));
                }
                ui.say(&format!("{typed:?} is no directory."));
            }
        }
    }
}

/// The ways there are now, key sticks first.
fn ways(purpose: Purpose) -> Vec<(String, Way)> {
    // Without `lsblk` or the right to mount, a directory is what is left.
    let all = disks::list().unwrap_or_default();
    let may_mount = nix::unistd::geteuid().is_root();
    let mut ways = Vec::new();
    for device in &all {
        let is_stick = device.label.as_deref() == Some(keystick::LABEL);
        let mounted = device.mountpoints.iter().flatten().next();
        let as_it_is = match purpose {
            Purpose::Stick => is_stick,
            Purpose::Home => !is_stick && device.is_target() && mounted.is_none(),
        };
        match mounted {
            Some(path) if as_it_is => {
                let item = format!("{}  as it is, at {path}", device.describe());
                ways.push((item, Way::Mounted(path.into())));
            }
            None if as_it_is && may_mount => {
                let item = format!("{}  as it is", device.describe());
                ways.push((item, Way::Mount(device.clone())));
            }
            _ => {}
        }
    }
    if purpose == Purpose::Stick {
        for device in all.iter().filter(|d| may_mount && can_be_erased(d, &all)) {
            let item = format!("{}  ERASED, a new file system is made", device.describe());
            ways.push((item, Way::Erase(device.clone())));
        }
    }
    ways.push(("A directory".into(), Way::Directory));
    ways.push(("Look again".into(), Way::Look));
    ways
}

/// Whether a directory lies on a mounted key stick.
pub fn is_on_key_stick(dir: &Path) -> bool {
    let there = dir.ancestors().find_map(|p| {
        let p = if p.as_os_str().is_empty() {
            Path::new(".")
        } else {
            p
        };
        p.canonicalize().ok()
    });
    let Some(there) = there else { return false };
    let all = disks::list().unwrap_or_default();
    let of_sticks = all
        .iter()
        .filter(|d| d.label.as_deref() == Some(keystick::LABEL))
        .flat_map(|d| d.mountpoints.iter().flatten());
    of_sticks.into_iter().any(|at| there.starts_with(at))
}

/// Only what is plugged in is offered for erasing: a built-in disk is nobody's key stick.
fn can_be_erased(device: &Device, all: &[Device]) -> bool {
    let plugged_in = matches!(device.tran.as_deref(), Some("usb" | "mmc"));
    let whole = matches!(device.kind.as_str(), "disk" | "loop");
    whole && (plugged_in || device.kind == "loop") && disks::refusal(device, all, &[]).is_none()
}

/// Makes the file system, once the disk's name was typed.
fn erase(device: &Device, ui: Ui) -> Result<Option<Device>> {
    let name = device.name();
    ui.say(&format!("{}\nEverything on it is lost.", device.describe()));
    if !ui.typed(&format!("Type {name} to erase it"), name, "interactive")? {
        ui.say("That is not its name. Nothing was changed.");
        return Ok(None);
    }
    let (fstype, options) = file_system();
    disks::erase(device, fstype, &options)?;
    Ok(Some(Device {
        fstype: Some(fstype.into()),
        label: Some(keystick::LABEL.into()),
        ..device.clone()
    }))
}

/// FAT, which any PC reads; ext4 where this machine's kernel has no driver for it.
fn file_system() -> (&'static str, [&'static str; 5]) {
    let loaded = || std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known = || loaded().lines().any(|l| l.trim() == "vfat");
    if !known() {
        // Where it is a module that is not there, the list tells.
        let _ = Command::new("modprobe").args(["-q", "vfat"]).status();
    }
    if known() {
        ("vfat", ["-I", "-F", "32", "-n", keystick::LABEL])
    } else {
        ("ext4", ["-q", "-F", "-F", "-L", keystick::LABEL])
    }
}

fn mount(device: &Device, at: &Path) -> Result<Place> {
    let mounted = disks::mount_for_writing(device, at)?;
    Ok(Place::mounted(device, at, vec![mounted]))
}
