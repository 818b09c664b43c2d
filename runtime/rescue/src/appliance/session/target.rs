//! The target: the file system that the person chose for the domain, or memory.

use super::super::disks::{self, Device, FileSystem, TARGET_LABEL};
use super::super::profile::Profile;
use super::super::ui::Ui;
use super::{by_label, is_appliance, Place};
use crate::out::size;
use asl_backend::Limits;
use asl_core::{Error, Kind, Result};
use asl_host::keystick;
use std::path::Path;

pub(super) const TARGET_AT: &str = "/run/asl/target";

const RAM: &str = "This machine's memory (VOLATILE: gone when the power goes)";

/// With less memory than this free, nothing is sealed into memory: 512 MiB.
const SMALLEST_RAM: u64 = 512 << 20;

/// Finds the target and shows its folder at the root.
///
/// # Errors
/// `NotFound` where the profile's target is not there; `Usage` where nobody may be asked.
pub fn find_target(profile: &Profile, root: &Path, ui: Ui) -> Result<Place> {
    if let Some(path) = &profile.target.path {
        return Ok(Place::directory(path));
    }
    if !is_appliance() {
        return Ok(Place::directory(root));
    }
    if let Some(label) = &profile.target.label {
        let devices = targets(&disks::list()?);
        let place = mount_target(by_label(&devices, label, "target")?, root, ui)?;
        return place.ok_or_else(none_chosen);
    }
    loop {
        if let Some(place) = choose(profile, root, ui)? {
            return Ok(place);
        }
    }
}

/// File systems that a domain can live on: neither the key stick nor a part of the boot medium.
fn targets(all: &[Device]) -> Vec<Device> {
    all.iter()
        .filter(|d| d.is_target() && d.label.as_deref() != Some(keystick::LABEL))
        .filter(|d| !disks::is_boot_medium(d, all))
        .cloned()
        .collect()
}

/// Asks once; none where the person thought better of it.
fn choose(profile: &Profile, root: &Path, ui: Ui) -> Result<Option<Place>> {
    let all = disks::list()?;
    let mut offers: Vec<(Device, Vec<String>)> = targets(&all)
        .into_iter()
        .map(|device| {
            let domains = disks::domains_on(&device);
            (device, domains)
        })
        .collect();
    // The first line is the one that Enter takes: where a domain is already, then a disk that was
    // prepared, and never the broken one by itself.
    offers.sort_by_key(|(device, domains)| {
        (
            domains.is_empty(),
            device.label.as_deref() != Some(TARGET_LABEL),
        )
    });
    let mut items: Vec<String> = offers.iter().map(offered).collect();
    let mut others = vec![Other::NewFileSystem];
    if profile.target.memory {
        others.push(Other::Memory);
    }
    others.push(Other::LookAgain);
    items.extend(others.iter().map(|other| other.words().to_owned()));
    let chosen = ui.choose(
        "Where shall the domain live (a folder asl-host/ is made on it)",
        &items,
        "target.label",
    )?;
    let chosen = chosen.ok_or_else(none_chosen)?;
    if let Some((device, _)) = offers.get(chosen) {
        return mount_target(device, root, ui);
    }
    match others.get(chosen - offers.len()) {
        Some(Other::NewFileSystem) => match new_file_system(&all, &profile.source.labels, ui)? {
            Some(device) => mount_target(&device, root, ui),
            None => Ok(None),
        },
        Some(Other::Memory) => in_memory(root, ui),
        Some(Other::LookAgain) | None => Ok(None),
    }
}

/// What is offered beside the file systems that are there.
enum Other {
    NewFileSystem,
    Memory,
    LookAgain,
}

impl Other {
    fn words(&self) -> &'static str {
        match self {
            Other::NewFileSystem => "A new file system on a disk (erases what is on it)",
            Other::Memory => RAM,
            Other::LookAgain => "Look again, after a disk was plugged in",
        }
    }
}

fn offered((device, domains): &(Device, Vec<String>)) -> String {
    match domains.as_slice() {
        [] => device.describe(),
        [one] => format!("{}  holds {one}", device.describe()),
        [first, others @ ..] => format!(
            "{}  holds {first}, and {} more",
            device.describe(),
            others.len()
        ),
    }
}

/// Makes a folder on a file system, after saying what that cannot do.
fn mount_target(device: &Device, root: &Path, ui: Ui) -> Result<Option<Place>> {
    if disks::is_unclean(device)? {
        let question = format!(
            "{} was in use when it was last seen, and has no journal. Make its checker's safe repairs",
            device.path.display()
        );
        if !ui.confirm(&question, true)? {
            return Ok(None);
        }
        disks::repair(device)?;
    }
    let mount = disks::mount_for_writing(device, Path::new(TARGET_AT))?;
    let folder = mount.path().join(disks::FOLDER);
    std::fs::create_dir_all(&folder).map_err(|e| {
        Error::new(Kind::Io, "make", folder.display(), e)
            .next("the target may be full or damaged; choose another")
    })?;
    let limits = Limits::probe(&folder)?;
    limits.check()?;
    let words = limits.words();
    for said in &words {
        ui.say(&format!("  {said}"));
    }
    if !words.is_empty() {
        let answer = ui.confirm("Use it all the same", true);
        if !matches!(answer, Ok(true)) {
            // Whoever thinks better of it keeps no folder of ours, unless there was something in it.
            let _ = std::fs::remove_dir(&folder);
            return answer.map(|_| None);
        }
    }
    let shown = disks::bind(&folder, root)?;
    Ok(Some(Place::mounted(device, root, vec![mount, shown])))
}

/// Makes a file system on the disk whose name is typed; none where it is not.
fn new_file_system(all: &[Device], sources: &[String], ui: Ui) -> Result<Option<Device>> {
    const LINE: &str = "target.label";
    let mut free = Vec::new();
    for device in all {
        match disks::refusal(device, all, sources) {
            None => free.push(device),
            Some(why) => ui.say(&format!("  not {}: {why}", device.path.display())),
        }
    }
    if free.is_empty() {
        ui.say("No disk is here that may be erased.");
        return Ok(None);
    }
    let items: Vec<String> = free.iter().map(|d| d.describe()).collect();
    let chosen = ui.choose("Which disk or partition shall be erased", &items, LINE)?;
    let Some(device) = chosen.and_then(|i| free.get(i).copied()) else {
        return Ok(None);
    };
    ui.say("On it is now, and would be lost:");
    let parts = all
        .iter()
        .filter(|d| d.pkname.as_ref() == Some(&device.path));
    for part in std::iter::once(device).chain(parts) {
        ui.say(&format!("  {}", part.describe()));
        for domain in disks::domains_on(part) {
            ui.say(&format!("    holds {domain}"));
        }
    }
    let kinds = FileSystem::available();
    let kind = match kinds.as_slice() {
        [] => {
            return Err(
                Error::new(Kind::NotFound, "make", "a file system", "no mkfs is here")
                    .next("use a disk that has one already"),
            )
        }
        [one] => *one,
        several => {
            let names: Vec<String> = several.iter().map(|k| k.name().to_string()).collect();
            let chosen = ui.choose("Which file system", &names, LINE)?;
            let Some(kind) = chosen.and_then(|i| several.get(i).copied()) else {
                return Ok(None);
            };
            kind
        }
    };
    let question = format!("To erase it, type its name ({})", device.name());
    if !ui.typed(&question, device.name(), LINE)? {
        ui.say("That is not its name. Nothing was changed.");
        return Ok(None);
    }
    let made = kind.make(device, all, sources)?;
    ui.say(&format!(
        "Made {} on {}.",
        kind.name(),
        device.path.display()
    ));
    Ok(Some(made))
}

/// Takes memory for the domain, once the word for it was typed.
fn in_memory(root: &Path, ui: Ui) -> Result<Option<Place>> {
    let free = free_memory();
    enough_memory(free)?;
    let question = format!(
        "{} of memory are free. Everything sealed into memory is lost at power-off. Type volatile to go on",
        size(free)
    );
    if !ui.typed(&question, "volatile", "target.label")? {
        return Ok(None);
    }
    std::fs::create_dir_all(root).map_err(|e| Error::new(Kind::Io, "make", root.display(), e))?;
    Ok(Some(Place::named(root, RAM)))
}

/// Bytes that programs can still take, as the kernel estimates it; none where it does not say.
fn free_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}

fn enough_memory(free: u64) -> Result<()> {
    if free >= SMALLEST_RAM {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        "seal into",
        "memory",
        format!(
            "{} are free, and below {} sealing would end this session",
            size(free),
            size(SMALLEST_RAM)
        ),
    )
    .next("plug in a disk or a stick and look again; only the small skeleton fits here"))
}

fn none_chosen() -> Error {
    Error::new(Kind::Interrupted, "choose", "a target", "none was chosen")
        .next("start the session again when a disk is at hand")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_refused_before_a_word_is_typed() {
        let error = enough_memory(SMALLEST_RAM - 1).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.what_next().contains("plug in a disk"));
        enough_memory(SMALLEST_RAM).unwrap();
        assert!(free_memory() > 0);
    }
}
