//! Keys as the tests of what is prepared at home look at them.

use super::*;
use std::collections::BTreeMap;

/// `asl-host NOUN VERB --keys DIR`.
pub fn on_keys(world: &World, words: &[&str], keys: &Path) -> Command {
    world
        .asl()
        .words(words)
        .words(["--keys".as_ref(), keys.as_os_str()])
}

pub fn bundle(world: &World, keys: &Path, to: &Path) -> Command {
    on_keys(world, &["key", "bundle"], keys).words(["--to".as_ref(), to.as_os_str()])
}

pub fn show(world: &World, keys: &Path) -> serde_json::Value {
    on_keys(world, &["key", "show", "--json"], keys)
        .run()
        .ok()
        .json()
}

/// Other keys, with a DAM that is not signed.
pub fn other_keys(world: &World, name: &str) -> PathBuf {
    let keys = world.path(name);
    world
        .asl()
        .words(["key", "generate", "--to"])
        .words([
            keys.as_path(),
            "--passphrase-file".as_ref(),
            &world.passphrase(),
        ])
        .run()
        .ok();
    on_keys(world, &["dam", "create", "--label", "bob"], &keys)
        .run()
        .ok();
    keys
}

/// Every file below a directory, with its bytes.
pub fn all_files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    found
}

pub fn holds(dir: &Path, secret: &[u8]) -> bool {
    all_files(dir)
        .values()
        .any(|bytes| bytes.windows(secret.len()).any(|w| w == secret))
}

/// A public key that a host could have.
pub fn host_key(world: &World) -> String {
    let text = std::fs::read_to_string(world.keys().join("operator.pub")).unwrap();
    text.split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}
