//! Every key of SystemRescue's configuration, and whether this base does it.

use serde_json::Value;

const DONE: bool = true;
const NOT_HERE: bool = false;

/// Scope, key, and whether this base does it.
const KNOWN: &[(&str, &str, bool)] = &[
    ("global", "copytoram", DONE),
    ("global", "checksum", DONE),
    ("global", "loadsrm", DONE),
    ("global", "cow_label", DONE),
    ("global", "cow_directory", DONE),
    ("global", "nofirewall", DONE),
    ("global", "noautologin", DONE),
    ("global", "rootshell", DONE),
    ("global", "rootpass", DONE),
    ("global", "rootcryptpass", DONE),
    ("global", "setkmap", DONE),
    ("global", "dostartx", NOT_HERE),
    ("global", "dovnc", NOT_HERE),
    ("global", "vncpass", NOT_HERE),
    ("global", "late_load_srm", NOT_HERE),
    ("autorun", "ar_disable", DONE),
    ("autorun", "ar_nowait", DONE),
    ("autorun", "ar_nodel", DONE),
    ("autorun", "ar_ignorefail", DONE),
    ("autorun", "ar_suffixes", DONE),
    // Both concern scripts from elsewhere; autorun says so when one is asked for.
    ("autorun", "ar_attempts", DONE),
    ("autorun", "ar_source", DONE),
    ("autorun", "exec", DONE),
    ("sysconfig", "authorized_keys", DONE),
    ("sysconfig", "ssh_known_hosts", DONE),
    ("sysconfig", "hosts", DONE),
    ("sysconfig", "sysctl", DONE),
    ("sysconfig", "timezone", DONE),
    ("sysconfig", "ca-trust", DONE),
    ("sysconfig", "bash_history", NOT_HERE),
    ("sysconfig", "bookmarks", NOT_HERE),
    ("sysconfig", "rclone", NOT_HERE),
    ("autoterminal", "", NOT_HERE),
    ("gui_autostart", "", NOT_HERE),
];

/// A line for each key that has no effect here.
pub fn warnings(config: &Value) -> Vec<String> {
    let mut said = Vec::new();
    for (scope, keys) in config.as_object().into_iter().flatten() {
        let known: Vec<_> = KNOWN.iter().filter(|(s, ..)| s == scope).collect();
        match (known.as_slice(), keys.as_object()) {
            ([], _) => said.push(format!("{scope}: no such scope; it has no effect")),
            ([(_, "", _)], _) => said.push(format!(
                "{scope}: this base does not do it; it has no effect"
            )),
            (_, None) => said.push(format!("{scope}: not a map of keys; it has no effect")),
            (known, Some(keys)) => {
                for (key, value) in keys
                    .iter()
                    .filter(|(_, value)| **value != Value::Bool(false))
                {
                    match known.iter().find(|(_, k, _)| k == key) {
                        Some((_, _, DONE)) => {}
                        Some(_) => said.push(format!(
                            "{scope}.{key}: this base does not do it; it has no effect"
                        )),
                        None => said.push(format!("{scope}.{key}: no such key; it has no effect")),
                    }
                    if value.is_number() && !key.starts_with("ar_") {
                        // Not the number itself: it may be a password.
                        said.push(format!(
                            "{scope}.{key}: a number without quotes may gain a fraction: quote it"
                        ));
                    }
                }
            }
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_that_has_no_effect_is_told_by_name() {
        let said = warnings(
            &json!({"global": {"dovnc": true, "loadsrm": true, "copytoRam": true}, "hosts": {}, "gui_autostart": {"a": {}}, "autorun": []}),
        );
        let said = said.join("\n");
        for word in [
            "global.dovnc",
            "global.copytoRam: no such key",
            "hosts: no such scope",
            "gui_autostart: this base",
            "autorun: not a map",
        ] {
            assert!(said.contains(word), "{word} in {said}");
        }
        assert!(!said.contains("loadsrm"), "{said}");
    }

    #[test]
    fn what_is_switched_off_is_not_missed() {
        assert_eq!(
            warnings(&json!({"global": {"dostartx": false}})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_password_of_digits_is_told_and_not_shown() {
        let said = warnings(&json!({"global": {"rootpass": 12345.0}})).join("");
        assert!(
            said.contains("global.rootpass") && !said.contains("12345"),
            "{said}"
        );
    }
}
