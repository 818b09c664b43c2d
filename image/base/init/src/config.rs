//! The effective configuration, read with the types that are expected.

use serde_json::{Map, Value};
use std::path::Path;

/// The folder of the effective configuration; `/etc/sysrescue` leads to it.
pub const FOLDER: &str = "/run/archiso/config";
/// Its name there.
pub const FILE: &str = "sysrescue-effective-config.json";

/// The effective configuration.
pub struct Config(Value);

impl Config {
    /// Reads what `merge` wrote.
    pub fn read(folder: &Path) -> Result<Config, String> {
        let path = folder.join(FILE);
        let text =
            std::fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let value = serde_json::from_slice(&text)
            .map_err(|e| format!("{} is no JSON: {e}", path.display()))?;
        Ok(Config(value))
    }

    #[cfg(test)]
    pub fn of(value: Value) -> Config {
        Config(value)
    }

    fn value(&self, scope: &str, key: &str) -> Option<&Value> {
        self.0.get(scope)?.get(key)
    }

    /// The value for a shell: `y`, `n`, the text, or nothing.
    pub fn said(&self, scope: &str, key: &str) -> String {
        match self.value(scope, key) {
            Some(Value::Bool(true)) => "y".into(),
            Some(Value::Bool(false)) => "n".into(),
            Some(value) => text_of(value).unwrap_or_default(),
            None => String::new(),
        }
    }

    /// A switch: a boolean, or one of the words that mean one.
    pub fn flag(&self, scope: &str, key: &str, default: bool) -> Result<bool, String> {
        match self.value(scope, key) {
            None => Ok(default),
            Some(value) => {
                flag_of(value).ok_or_else(|| format!("{scope}.{key} must be true or false"))
            }
        }
    }

    /// A text, when there is one.
    pub fn text(&self, scope: &str, key: &str) -> Result<Option<String>, String> {
        match self.value(scope, key) {
            None => Ok(None),
            Some(value) => text_of(value)
                .map(Some)
                .ok_or_else(|| format!("{scope}.{key} must be a text")),
        }
    }

    /// A map of whatever values; empty when there is none.
    pub fn map(&self, scope: &str, key: &str) -> Result<Map<String, Value>, String> {
        match self.value(scope, key) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(_) => Err(format!("{scope}.{key} must be a map")),
        }
    }

    /// A map of texts; what is none is told by name.
    pub fn texts(&self, scope: &str, key: &str) -> (Vec<(String, String)>, Vec<String>) {
        let (mut texts, mut wrong) = (Vec::new(), Vec::new());
        match self.map(scope, key) {
            Err(why) => wrong.push(why),
            Ok(map) => {
                for (name, value) in map {
                    match text_of(&value) {
                        Some(text) => texts.push((name, text)),
                        None => wrong.push(format!("{scope}.{key}.{name} must be a text")),
                    }
                }
            }
        }
        (texts, wrong)
    }
}

/// True or false, as SystemRescue takes them.
pub fn flag_of(value: &Value) -> Option<bool> {
    if let Value::Bool(flag) = value {
        return Some(*flag);
    }
    match text_of(value)?.to_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Some(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A text, or what stands for one: whole numbers lose their `.0`.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => {
            let text = number.to_string();
            Some(text.strip_suffix(".0").map_or(text.clone(), str::to_string))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Config {
        Config::of(json!({
            "global": {"copytoram": true, "checksum": "off", "loadsrm": "perhaps", "setkmap": "de", "rootpass": 12.0, "cow_label": ["x"]},
            "sysconfig": {"hosts": {"192.0.2.1": "a b", "192.0.2.2": []}, "sysctl": "none"},
            "autorun": "none",
        }))
    }

    #[test]
    fn a_switch_is_a_boolean_or_a_word_for_one() {
        assert_eq!(config().flag("global", "copytoram", false), Ok(true));
        assert_eq!(config().flag("global", "checksum", true), Ok(false));
        assert_eq!(config().flag("global", "nofirewall", true), Ok(true));
        assert!(config().flag("global", "loadsrm", true).is_err());
        assert_eq!(config().flag("autorun", "ar_disable", false), Ok(false));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_by_name() {
        assert_eq!(
            config().text("global", "cow_label"),
            Err("global.cow_label must be a text".into())
        );
        assert_eq!(
            config().map("sysconfig", "sysctl"),
            Err("sysconfig.sysctl must be a map".into())
        );
        let (texts, wrong) = config().texts("sysconfig", "hosts");
        assert_eq!(texts, [("192.0.2.1".to_string(), "a b".to_string())]);
        assert_eq!(wrong, ["sysconfig.hosts.192.0.2.2 must be a text"]);
    }

    #[test]
    fn a_shell_hears_one_word_or_nothing() {
        let said = |key| config().said("global", key);
        assert_eq!(
            [
                said("copytoram"),
                said("setkmap"),
                said("rootpass"),
                said("cow_label"),
                said("absent")
            ],
            ["y", "de", "12", "", ""]
        );
    }

    #[test]
    fn a_configuration_that_is_not_there_or_no_json_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Config::read(folder.path()).is_err_and(|e| e.contains("cannot read")));
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Config::read(folder.path()).is_err_and(|e| e.contains("is no JSON")));
    }
}
