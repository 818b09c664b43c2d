//! Names are bytes: how they are shown on a terminal, and told in JSON with nothing lost.

use serde_json::{json, Map, Value};

/// A name or path for a terminal: what could steer it, and what is no UTF-8, is escaped.
///
/// `\xNN` is a byte that is no UTF-8, `\u{N}` a character that is not printed, `\\` a backslash.
pub fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for part in name.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                ' '..='~' => text.push(c),
                // A mark that combines is printed behind the letter it belongs to, as it stands.
                c => {
                    let pair = String::from_iter(['a', c]);
                    text.extend(pair.escape_debug().skip(1));
                }
            }
        }
        for byte in part.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Puts a name into a JSON object: as text, and as hexadecimal too where the text loses something.
pub fn put(object: &mut Map<String, Value>, key: &str, name: &[u8]) {
    object.insert(key.to_string(), json!(String::from_utf8_lossy(name)));
    if std::str::from_utf8(name).is_err() {
        let hex: String = name.iter().map(|b| format!("{b:02x}")).collect();
        object.insert(format!("{key}_hex"), json!(hex));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_steer_a_terminal_and_no_two_look_the_same() {
        for (name, text) in [
            (&b"plain name.txt"[..], "plain name.txt"),
            (
                "Stra\u{df}e \u{65e5}\u{672c}".as_bytes(),
                "Stra\u{df}e \u{65e5}\u{672c}",
            ),
            ("e\u{301}".as_bytes(), "e\u{301}"),
            (b"it's \"it\"", "it's \"it\""),
            (b"\x1b[2J", "\\u{1b}[2J"),
            (b"a\nb\tc", "a\\nb\\tc"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"\\xff", "\\\\xff"),
            ("evil\u{202e}gpj.exe".as_bytes(), "evil\\u{202e}gpj.exe"),
            (b"\x9b31m", "\\x9b31m"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
        ] {
            assert_eq!(shown(name), text);
        }
    }

    #[test]
    fn json_tells_every_byte() {
        let mut object = Map::new();
        put(&mut object, "path", b"a\xff");
        put(&mut object, "name", b"plain");
        assert_eq!(
            Value::from(object),
            json!({ "path": "a\u{fffd}", "path_hex": "61ff", "name": "plain" })
        );
    }
}
