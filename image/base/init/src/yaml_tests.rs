//! Promises about what a file may say.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn read(text: &str) -> Value {
    Value::Object(parse(text.as_bytes()).unwrap().map)
}

fn refused(text: &str) -> String {
    parse(text.as_bytes()).expect_err(text)
}

#[test]
fn only_four_words_are_booleans() {
    let text = "s: {a: true, b: yes, c: false, d: no, e: on, f: True, g: 'true', h: off, i: y}";
    let meant = json!({"s": {"a": true, "b": true, "c": false, "d": false, "e": "on", "f": "True", "g": "true", "h": "off", "i": "y"}});
    assert_eq!(read(text), meant);
}

#[test]
fn every_plain_number_has_a_fraction_and_what_only_looks_like_one_is_a_text() {
    let text = "s: {a: 12345, b: '12345', c: -1.5e3, d: 10.0.0.1, e: 0x10, f: 1e999, g: inf, h: ., i: nan, j: 007, k: '-'}";
    let meant = json!({"s": {
        "a": 12345.0, "b": "12345", "c": -1500.0, "d": "10.0.0.1", "e": "0x10", "f": "1e999", "g": "inf", "h": ".", "i": "nan", "j": 7.0, "k": "-"
    }});
    assert_eq!(read(text), meant);
}

#[test]
fn an_ordinary_file_is_read() {
    let text = "---\n# a comment\nglobal:\n    loadsrm: true\n    setkmap: \"de\"\nautorun:\n  exec:\n    200:\n      path: /bin/true\n      parameters:\n        - \"foo\"\n        - bar baz\nsysconfig:\n  ca-trust:\n    mine: |\n      -----BEGIN\n      AAA\n  empty:\n...\n";
    let meant = json!({
        "global": {"loadsrm": true, "setkmap": "de"},
        "autorun": {"exec": {"200": {"path": "/bin/true", "parameters": ["foo", "bar baz"]}}},
        "sysconfig": {"ca-trust": {"mine": "-----BEGIN\nAAA\n"}, "empty": ""}
    });
    assert_eq!(read(text), meant);
    assert_eq!(read("\u{feff}a: {b: c}"), json!({"a": {"b": "c"}}));
}

#[test]
fn a_file_without_content_says_nothing() {
    for text in ["", "\n", "# only a comment\n", "---\n", "---\n...\n"] {
        assert_eq!(read(text), json!({}), "{text:?}");
    }
}

#[test]
fn keys_one_to_n_are_a_list_and_that_is_told() {
    let parsed = parse(b"autorun:\n  exec:\n    1: a\n    2: b\n").unwrap();
    assert_eq!(parsed.map["autorun"], json!({"exec": ["a", "b"]}));
    assert!(
        parsed.warnings[0].contains("keys 1 to 2"),
        "{:?}",
        parsed.warnings
    );
    for text in [
        "a: {'1': x, '2': y}",
        "a: {1: x, 3: y}",
        "a: {0: x, 1: y}",
        "a: {100: x}",
    ] {
        assert!(read(text)["a"].is_object(), "{text}");
        assert!(parse(text.as_bytes()).unwrap().warnings.is_empty());
    }
}

#[test]
fn a_key_that_stands_twice_counts_last_and_is_told() {
    let parsed = parse(b"a:\n  b: 1\n  b: 2\n").unwrap();
    assert_eq!(parsed.map["a"], json!({"b": 2.0}));
    assert!(
        parsed.warnings[0].starts_with("line 3: b stands here twice"),
        "{:?}",
        parsed.warnings
    );
}

#[test]
fn what_is_not_portable_is_refused_with_its_line() {
    for (text, word) in [
        ("a:\n  b: ~\n", "line 2: ~ is not portable"),
        ("a:\n  b: null\n", "line 2: null"),
        ("a: &x {b: c}\nd: *x\n", "line 1: an anchor"),
        ("a: !!str 1\n", "line 1: a tag"),
        ("a: !x {b: c}\n", "line 1: a tag"),
        ("a: {b: c}\n---\nd: {e: f}\n", "line 3: a second document"),
        ("- a\n- b\n", "line 1: not a map"),
        ("just text", "line 1: not a map"),
        ("12", "line 1: not a map"),
        ("? [a]\n: b\n", "a key must be"),
        ("? {a: b}\n: c\n", "a key must be"),
        ("&k a: b\n", "a key must be"),
        (": b\n", "a key must be"),
    ] {
        let said = refused(text);
        assert!(said.contains(word), "{text:?}: {said}");
    }
}

#[test]
fn broken_text_is_refused_with_its_line() {
    for text in [
        "a:\n b: c\n  d: e\n",
        "a: [b\n",
        "a: {b\n",
        "a: 'b\n",
        "a: \"\\x\"\n",
        "a:\n\tb: c\n",
        "a: b: c\n",
        "a: *nobody\n",
        "%YAML 9\na: b\n",
        "a: @b\n",
    ] {
        assert!(
            refused(text).starts_with("line "),
            "{text:?}: {}",
            refused(text)
        );
    }
    assert_eq!(parse(b"a: b\nc: \xff\n"), Err("line 2: not UTF-8".into()));
    assert!(parse(b"a: \0\n").is_err() || read("a: \0\n") == json!({"a": "\0"}));
}

#[test]
fn bombs_are_refused_before_they_grow() {
    let laughs = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
    assert!(refused(laughs).contains("anchor"));
    assert!(refused(&format!("a: {}", "[".repeat(200))).contains("deeper"));
    assert!(refused(
        &(0..40)
            .map(|i| format!("{}a:\n", " ".repeat(i)))
            .collect::<String>()
    )
    .contains("deeper"));
    assert!(refused(&format!("a: {}", "- ".repeat(1000))).starts_with("line "));
    assert!(refused(&format!("a: [{}]", "x,".repeat(20_000))).contains("values"));
    assert!(refused(&format!("a: '{}'", "x".repeat(300_000))).contains("larger"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever lies on the medium: an answer, no panic.
    #[test]
    fn any_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_text_of_yaml_signs_ends_in_an_answer(text in "[-?:,\\[\\]{}#&*!|>'\"%@` \nab1~.]{0,200}") {
        let _ = parse(text.as_bytes());
    }

    #[test]
    fn quoted_texts_come_back_as_they_are(text in "[ -~]{0,40}") {
        let quoted = format!("s: {{k: '{}'}}", text.replace('\'', "''"));
        prop_assert_eq!(&parse(quoted.as_bytes()).unwrap().map["s"]["k"], &json!(text));
    }
}
