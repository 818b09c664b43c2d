//! The kernel command line, as SystemRescue reads it.

use serde_json::{json, Map, Value};

const GLOBAL: &[&str] = &[
    "copytoram",
    "cow_label",
    "cow_directory",
    "checksum",
    "loadsrm",
    "dostartx",
    "dovnc",
    "noautologin",
    "nofirewall",
    "rootshell",
    "rootpass",
    "rootcryptpass",
    "setkmap",
    "vncpass",
];
const AUTORUN: &[&str] = &[
    "ar_disable",
    "ar_nowait",
    "ar_nodel",
    "ar_ignorefail",
    "ar_attempts",
    "ar_source",
    "ar_suffixes",
];

/// The words of the line: double quotes hold a word together, as for the kernel.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Every value of `sysrescuecfg=`, in order.
pub fn configs(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().filter_map(|w| w.strip_prefix("sysrescuecfg="))
}

/// What the line says about configuration, in the shape of a file; of a repeated word the last counts.
pub fn settings(words: &[String]) -> Map<String, Value> {
    let mut scopes = Map::new();
    for (scope, keys) in [("global", GLOBAL), ("autorun", AUTORUN)] {
        let mut found = Map::new();
        for word in words {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, meaning(value)),
                None => (word.as_str(), json!(true)),
            };
            if keys.contains(&key) {
                found.insert(key.to_string(), value);
            }
        }
        if !found.is_empty() {
            scopes.insert(scope.to_string(), Value::Object(found));
        }
    }
    scopes
}

fn meaning(value: &str) -> Value {
    match value {
        "y" | "yes" | "true" => json!(true),
        "n" | "no" | "false" => json!(false),
        text => json!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Value {
        Value::Object(settings(&words(line)))
    }

    #[test]
    fn a_bare_word_is_yes_and_the_last_one_counts() {
        assert_eq!(
            read("quiet copytoram nofirewall=n nofirewall=yes"),
            json!({"global": {"copytoram": true, "nofirewall": true}})
        );
        assert_eq!(
            read("loadsrm=n ar_nowait=false"),
            json!({"global": {"loadsrm": false}, "autorun": {"ar_nowait": false}})
        );
    }

    #[test]
    fn what_is_no_word_of_the_configuration_stays_out() {
        assert_eq!(
            read("BOOT_IMAGE=/vmlinuz ro late_load_srm=/x cow_spacesize=1G Loadsrm init=/bin/sh"),
            json!({})
        );
        assert_eq!(read(""), json!({}));
    }

    #[test]
    fn quotes_hold_a_value_together_and_an_open_one_ends_with_the_line() {
        assert_eq!(
            read("rootpass=\"two words\" setkmap=de"),
            json!({"global": {"rootpass": "two words", "setkmap": "de"}})
        );
        assert_eq!(
            read("rootpass=\"never closed"),
            json!({"global": {"rootpass": "never closed"}})
        );
        assert_eq!(read("rootpass=a=b"), json!({"global": {"rootpass": "a=b"}}));
    }

    #[test]
    fn files_are_named_in_order() {
        let words = words("sysrescuecfg=b.yaml x sysrescuecfg=/a.yaml sysrescuecfg");
        assert_eq!(configs(&words).collect::<Vec<_>>(), ["b.yaml", "/a.yaml"]);
    }
}
