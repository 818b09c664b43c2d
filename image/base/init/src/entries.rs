//! Which scripts autorun runs, in which order and how. Design: image.md section 4.

use crate::config::{flag_of, text_of, Config};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// When to wait for a person after a script.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wait {
    Always,
    OnError,
    Never,
}

/// One script to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// A path, or the name of a program.
    pub program: String,
    pub parameters: Vec<String>,
    /// A shell reads program and parameters as one line.
    pub shell: bool,
    pub wait: Wait,
    /// Seconds to wait for Enter; none waits as long as it takes.
    pub seconds: Option<u64>,
    /// A failure ends autorun.
    pub must_work: bool,
}

/// Every script by its name, which is the order; one that cannot be run says why.
pub type Entries = BTreeMap<String, Result<Entry, String>>;

/// The scripts that the configuration names under `exec`.
pub fn named(config: &Config, must_work: bool) -> Result<Entries, String> {
    let exec = config.map("autorun", "exec")?;
    Ok(exec
        .into_iter()
        .map(|(name, value)| (name, entry(value, must_work)))
        .collect())
}

fn entry(value: Value, must_work: bool) -> Result<Entry, String> {
    let Value::Object(map) = value else {
        return Err("it must be a map with path".into());
    };
    let text = |key: &str| {
        map.get(key)
            .map(|v| text_of(v).ok_or(format!("{key} must be a text")))
            .transpose()
    };
    let unknown = |key: &str, word: String| Err(format!("{key}: {word:?} is no such word"));
    if let Some(key) = map.keys().find(|k| !KEYS.contains(&k.as_str())) {
        return Err(format!("{key}: no such key"));
    }
    if map.contains_key("url") {
        return Err(
            "url: this base fetches no scripts; put it beside sysrescue.d and give its path".into(),
        );
    }
    Ok(Entry {
        program: text("path")?
            .filter(|p| !p.contains('\0'))
            .ok_or("it has no path")?,
        parameters: parameters(&map)?,
        shell: match map.get("shell") {
            Some(value) => flag_of(value).ok_or("shell must be true or false")?,
            None => false,
        },
        wait: match text("wait")?.as_deref() {
            None | Some("on_error") => Wait::OnError,
            Some("always") => Wait::Always,
            Some("never") => Wait::Never,
            Some(other) => return unknown("wait", other.into()),
        },
        seconds: match text("waitmode")?.as_deref() {
            None => Some(30),
            Some("key") => None,
            Some(other) => match other.parse() {
                Ok(seconds) => Some(seconds),
                Err(_) => return unknown("waitmode", other.into()),
            },
        },
        must_work: match text("on_error")?.as_deref() {
            None => must_work,
            Some("break") => true,
            Some("continue") => false,
            Some(other) => return unknown("on_error", other.into()),
        },
    })
}

const KEYS: &[&str] = &[
    "path",
    "url",
    "parameters",
    "shell",
    "wait",
    "waitmode",
    "on_error",
];

/// One text, or a list of them.
fn parameters(map: &Map<String, Value>) -> Result<Vec<String>, String> {
    let texts = match map.get("parameters") {
        None => Some(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(text_of).collect(),
        Some(value) => text_of(value).map(|text| vec![text]),
    };
    texts
        .filter(|texts| texts.iter().all(|t| !t.contains('\0')))
        .ok_or_else(|| "parameters must be texts".into())
}

/// The names of old-style scripts that count: `autorun`, and one for each allowed suffix.
pub fn old_names(suffixes: &str) -> (Vec<String>, Vec<String>) {
    let (mut names, mut wrong) = (vec!["autorun".to_string()], Vec::new());
    for suffix in suffixes
        .split(',')
        .filter(|s| !s.is_empty() && suffixes != "no")
    {
        match suffix.as_bytes() {
            [b'0'..=b'9' | b'A'..=b'F'] => names.push(format!("autorun{suffix}")),
            _ => wrong.push(format!(
                "autorun.ar_suffixes: {suffix:?} is none of 0 to 9 and A to F"
            )),
        }
    }
    (names, wrong)
}

/// The scripts with these names in the first folder that has one.
pub fn first_found(folders: &[&Path], names: &[String]) -> Vec<PathBuf> {
    let in_folder = |folder: &&Path| -> Vec<PathBuf> {
        names
            .iter()
            .map(|name| folder.join(name))
            .filter(|path| path.is_file())
            .collect()
    };
    folders
        .iter()
        .map(in_folder)
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// The name an old-style script is ordered by among the others: 1000-autorun, 1010-autorun0, 1020-autorunA.
pub fn ordered_name(name: &str) -> String {
    let number = match name.strip_prefix("autorun").map(str::as_bytes) {
        Some([digit @ b'0'..=b'9']) => 1010 + u32::from(digit - b'0'),
        Some([letter @ b'A'..=b'F']) => 1020 + u32::from(letter - b'A'),
        _ => 1000,
    };
    format!("{number}-{name}")
}

/// An old-style script, with every setting at its default.
pub fn old_style(path: &Path, must_work: bool) -> Entry {
    Entry {
        program: path.to_string_lossy().into_owned(),
        parameters: Vec::new(),
        shell: false,
        wait: Wait::OnError,
        seconds: Some(30),
        must_work,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(value: Value) -> Result<Entry, String> {
        let config = Config::of(json!({"autorun": {"exec": {"it": value}}}));
        named(&config, true).unwrap().remove("it").unwrap()
    }

    #[test]
    fn an_entry_says_what_to_run_and_how() {
        let full = one(
            json!({"path": "rclone", "parameters": ["copy", 5.0, true], "shell": "yes", "wait": "always", "waitmode": "key", "on_error": "continue"}),
        );
        let expected = Entry {
            program: "rclone".into(),
            parameters: vec!["copy".into(), "5".into(), "true".into()],
            shell: true,
            wait: Wait::Always,
            seconds: None,
            must_work: false,
        };
        assert_eq!(full, Ok(expected));
        assert_eq!(
            one(json!({"path": "/x"})),
            Ok(old_style(Path::new("/x"), true))
        );
    }

    #[test]
    fn an_entry_that_cannot_be_meant_says_why() {
        for (value, word) in [
            (json!("x"), "map with path"),
            (json!({}), "no path"),
            (json!({"path": []}), "path must be"),
            (json!({"path": "a\u{0}b"}), "no path"),
            (json!({"path": "/x", "url": "http://x"}), "url"),
            (json!({"path": "/x", "wait": "sometimes"}), "sometimes"),
            (json!({"path": "/x", "waitmode": -1.0}), "waitmode"),
            (json!({"path": "/x", "waitmode": 1.5}), "waitmode"),
            (json!({"path": "/x", "on_error": true}), "on_error"),
            (json!({"path": "/x", "shell": "bash"}), "shell"),
            (
                json!({"path": "/x", "parameters": {"a": "b"}}),
                "parameters",
            ),
            (json!({"path": "/x", "parameters": [["a"]]}), "parameters"),
            (json!({"path": "/x", "Wait": "never"}), "no such key"),
        ] {
            let said = one(value.clone()).expect_err(&value.to_string());
            assert!(said.contains(word), "{value}: {said}");
        }
        assert!(named(&Config::of(json!({"autorun": {"exec": ["/x"]}})), true).is_err());
    }

    #[test]
    fn only_allowed_suffixes_count() {
        let (names, wrong) = old_names("0,F,g,10,,/");
        assert_eq!(names, ["autorun", "autorun0", "autorunF"]);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert_eq!(old_names("no").0, ["autorun"]);
        assert_eq!(old_names("").0, ["autorun"]);
    }

    #[test]
    fn the_first_folder_with_a_script_is_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a", "b", "c"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::create_dir(at("a/autorun")).unwrap();
        std::fs::write(at("a/autorun9"), "").unwrap();
        std::fs::write(at("b/autorun0"), "").unwrap();
        std::fs::write(at("b/autorun"), "").unwrap();
        std::fs::write(at("c/autorun"), "").unwrap();
        let (a, b, c) = (at("a"), at("b"), at("c"));
        let found = first_found(&[&a, &b, &c], &old_names("0,1").0);
        assert_eq!(found, [at("b/autorun"), at("b/autorun0")]);
        assert!(first_found(&[&a], &["autorun".into()]).is_empty());
    }

    #[test]
    fn old_names_are_ordered_by_number() {
        let names: Vec<_> = ["autorun", "autorun0", "autorun9", "autorunA", "autorunF"]
            .map(ordered_name)
            .into();
        assert_eq!(
            names,
            [
                "1000-autorun",
                "1010-autorun0",
                "1019-autorun9",
                "1020-autorunA",
                "1025-autorunF"
            ]
        );
    }
}
