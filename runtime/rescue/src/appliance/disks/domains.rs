//! The domains that lie on a disk already, found without changing a byte of it.

use super::{mount_read_only, printable, Device};
use asl_host::layout::Layout;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Where a disk is looked at.
const LOOK_AT: &str = "/run/asl/look";

/// The folder of ours on a target.
pub const FOLDER: &str = "asl-host";

/// A word for each domain on a file system; none where it cannot be read.
pub fn found(device: &Device) -> Vec<String> {
    let Ok(mounted) = mount_read_only(device, Path::new(LOOK_AT)) else {
        return Vec::new();
    };
    below(&mounted.path().join(FOLDER))
}

/// What lies there was written by anyone: it is shown as far as it prints, and believed nowhere.
fn below(root: &Path) -> Vec<String> {
    let layout = Layout::new(root);
    let Ok(entries) = std::fs::read_dir(layout.domains()) else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut words: Vec<String> = names
        .filter_map(|name| Some(name.to_str()?.to_owned()))
        .filter(|name| name.contains('~') && !name.starts_with('.'))
        .map(|name| {
            let log = layout.domains().join(&name).join("log/append.log");
            let sealed = std::fs::symlink_metadata(log).and_then(|log| log.modified());
            let since = sealed
                .ok()
                .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let when = since.map_or_else(
                || "never sealed".to_owned(),
                |since| {
                    let ns = i64::try_from(since.as_nanos()).unwrap_or_default();
                    format!("last sealed {}", asl_host::time_text(ns))
                },
            );
            let name: String = printable(&name).chars().take(64).collect();
            format!("domain {name}, {when}")
        })
        .collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_ours_holds_no_domain() {
        let dir = tempfile::tempdir().unwrap();
        assert!(below(dir.path()).is_empty());
        assert!(below(&dir.path().join("none")).is_empty());
    }

    #[test]
    fn a_domain_is_told_with_its_last_seal_and_a_hostile_name_cannot_write_to_the_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let domains = Layout::new(dir.path()).domains();
        let alice = domains.join("alice~0123456789ab");
        std::fs::create_dir_all(alice.join("log")).unwrap();
        std::fs::write(alice.join("log/append.log"), b"x").unwrap();
        for other in ["b\x1b[2Job~000000000000", ".new-1~2", "lost+found"] {
            std::fs::create_dir_all(domains.join(other)).unwrap();
        }
        let words = below(dir.path());
        assert_eq!(words.len(), 2, "{words:?}");
        assert!(words[0].starts_with("domain alice~0123456789ab, last sealed 20"));
        assert!(words[1].contains("never sealed") && !words[1].contains('\x1b'));
    }
}
