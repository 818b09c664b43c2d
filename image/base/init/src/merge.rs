//! Merges the medium's files and the kernel command line into the effective configuration.

use crate::{cmdline, config, keys, say, yaml};
use serde_json::{Map, Value};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the configuration comes from and goes to.
pub struct Places {
    pub medium: PathBuf,
    pub cmdline: PathBuf,
    pub to: PathBuf,
}

/// Merges and writes; the number of files left out or, when nothing could be written, 1.
pub fn run(places: &Places) -> usize {
    let (effective, warnings, left_out) = effective(&places.medium, &places.cmdline);
    for warning in warnings {
        say(&warning);
    }
    match write(&effective, &places.to) {
        Ok(()) => left_out,
        Err(why) => {
            say(&format!(
                "cannot write the configuration to {}: {why}",
                places.to.display()
            ));
            left_out.max(1)
        }
    }
}

/// The effective configuration, what a person should know, and how many files were left out.
fn effective(medium: &Path, cmdline: &Path) -> (Value, Vec<String>, usize) {
    let folder = medium.join("sysrescue.d");
    let (mut warnings, mut left_out) = (Vec::new(), 0);
    let mut whole = Value::Object(Map::new());
    let words = std::fs::read(cmdline).map_or_else(
        |e| {
            warnings.push(format!("cannot read {}: {e}", cmdline.display()));
            Vec::new()
        },
        |line| cmdline::words(&String::from_utf8_lossy(&line)),
    );
    let named = cmdline::configs(&words).map(|name| named_file(name, &folder));
    for file in listed(&folder).into_iter().map(Ok).chain(named) {
        let read = file.and_then(|path| match read_file(&path) {
            Ok(parsed) => Ok((path, parsed)),
            Err(why) => Err(format!("{}: {why}; this file is left out", path.display())),
        });
        match read {
            Ok((path, parsed)) => {
                warnings.extend(
                    parsed
                        .warnings
                        .iter()
                        .map(|w| format!("{}: {w}", path.display())),
                );
                merge(&mut whole, Value::Object(parsed.map));
            }
            Err(why) => {
                warnings.push(why);
                left_out += 1;
            }
        }
    }
    merge(&mut whole, Value::Object(cmdline::settings(&words)));
    warnings.extend(keys::warnings(&whole));
    (whole, warnings, left_out)
}

/// The files of the folder that count, by name.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = paths
        .filter(|p| p.extension().is_some_and(|e| e == "yaml") && p.is_file())
        .collect();
    files.sort();
    files
}

/// What one `sysrescuecfg=` means: an absolute path, or a name in the folder.
fn named_file(name: &str, folder: &Path) -> Result<PathBuf, String> {
    if name.contains("://") {
        return Err(format!("sysrescuecfg={name}: this base reads no configuration from the network; it is left out"));
    }
    if name.starts_with('/') {
        return Ok(PathBuf::from(name));
    }
    if name.is_empty() || name.split('/').any(|part| part == "..") {
        return Err(format!(
            "sysrescuecfg={name}: not a name in sysrescue.d; it is left out"
        ));
    }
    Ok(folder.join(name))
}

fn read_file(path: &Path) -> Result<yaml::Parsed, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(yaml::MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    yaml::parse(&bytes)
}

/// Maps merge by key, lists by index; an empty text deletes; anything else replaces.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                if value == "" {
                    base.remove(&key);
                } else if let Some(old) = base.get_mut(&key) {
                    merge(old, value);
                } else {
                    base.insert(key, without_empty(value));
                }
            }
        }
        (Value::Array(base), Value::Array(over)) => {
            for (index, value) in over.into_iter().enumerate() {
                match base.get_mut(index) {
                    Some(old) if value == "" => *old = Value::Null,
                    Some(old) => merge(old, value),
                    None => base.push(without_empty(value)),
                }
            }
            base.retain(|item| !item.is_null() && item != "");
        }
        (base, over) => *base = without_empty(over),
    }
}

/// A value that is new, with the same rule for what is empty inside it.
fn without_empty(value: Value) -> Value {
    let mut fresh = match value {
        Value::Object(_) => Value::Object(Map::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        plain => return plain,
    };
    merge(&mut fresh, value);
    fresh
}

/// For root alone: it may hold passwords. The file is whole or not there.
fn write(value: &Value, folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder.parent().unwrap_or(folder))?;
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let part = folder.join("part");
    match std::fs::remove_file(&part) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(format!("{value:#}\n").as_bytes())?;
    std::fs::rename(&part, folder.join(config::FILE))
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
