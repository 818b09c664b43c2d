//! Promises about which setting counts in the end.

use super::*;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

fn merged(mut base: Value, over: Value) -> Value {
    merge(&mut base, over);
    base
}

#[test]
fn maps_merge_by_key_and_lists_by_index() {
    let base = json!({"g": {"a": true, "l": ["1", "2", "3"]}, "k": {"x": "y"}});
    let over = json!({"g": {"b": "c", "l": ["one"]}});
    assert_eq!(
        merged(base, over),
        json!({"g": {"a": true, "b": "c", "l": ["one", "2", "3"]}, "k": {"x": "y"}})
    );
    assert_eq!(
        merged(json!({"l": [{"a": "b"}]}), json!({"l": [{"c": "d"}, "e"]})),
        json!({"l": [{"a": "b", "c": "d"}, "e"]})
    );
}

#[test]
fn an_empty_text_deletes_wherever_it_stands() {
    assert_eq!(
        merged(
            json!({"a": {"b": "c", "d": "e"}}),
            json!({"a": {"b": ""}, "new": {"x": "", "y": "z"}})
        ),
        json!({"a": {"d": "e"}, "new": {"y": "z"}})
    );
    assert_eq!(
        merged(json!({"l": ["1", "2", "3"]}), json!({"l": ["", "two"]})),
        json!({"l": ["two", "3"]})
    );
    assert_eq!(
        merged(json!({"a": {"b": "c"}}), json!({"a": ""})),
        json!({})
    );
}

#[test]
fn another_kind_of_value_replaces() {
    assert_eq!(
        merged(json!({"a": {"b": "c"}}), json!({"a": ["d"]})),
        json!({"a": ["d"]})
    );
    assert_eq!(
        merged(json!({"a": "b"}), json!({"a": {"c": "d"}})),
        json!({"a": {"c": "d"}})
    );
    assert_eq!(
        merged(json!({"a": ["b"]}), json!({"a": false})),
        json!({"a": false})
    );
}

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("medium/sysrescue.d")).unwrap();
        Scene { folder }
    }

    fn file(&self, name: &str, text: &[u8]) -> &Scene {
        std::fs::write(
            self.folder.path().join("medium/sysrescue.d").join(name),
            text,
        )
        .unwrap();
        self
    }

    fn run(&self, line: &str) -> (Value, String, usize) {
        let cmdline = self.folder.path().join("cmdline");
        std::fs::write(&cmdline, line).unwrap();
        let (value, warnings, left_out) = effective(&self.folder.path().join("medium"), &cmdline);
        (value, warnings.join("\n"), left_out)
    }
}

#[test]
fn files_count_by_name_then_those_named_then_the_command_line() {
    let scene = Scene::new();
    let extra = scene.folder.path().join("extra");
    std::fs::write(&extra, "global: {setkmap: extra, rootshell: extra}").unwrap();
    scene
        .file(
            "500-b.yaml",
            b"global: {setkmap: b, checksum: true, loadsrm: true}",
        )
        .file(
            "100-a.yaml",
            b"global: {setkmap: a, cow_label: a, rootshell: a}",
        )
        .file("900-c.yml", b"global: {setkmap: never}")
        .file("asl-image.json", b"{}");
    let line = format!(
        "quiet sysrescuecfg=100-a.yaml sysrescuecfg={} loadsrm=n",
        extra.display()
    );
    let (value, warnings, left_out) = scene.run(&line);
    assert_eq!(
        value,
        json!({"global": {"setkmap": "extra", "cow_label": "a", "rootshell": "extra", "checksum": true, "loadsrm": false}})
    );
    assert_eq!((warnings.as_str(), left_out), ("", 0));
}

#[test]
fn a_file_with_an_error_is_told_and_left_out_and_the_others_count() {
    let scene = Scene::new();
    scene
        .file("100.yaml", b"global: {setkmap: de}")
        .file("200.yaml", b"global: [")
        .file("300.yaml", b"global: {loadsrm: true}\xff");
    std::fs::create_dir(scene.folder.path().join("medium/sysrescue.d/400.yaml")).unwrap();
    let (value, warnings, left_out) = scene.run("");
    assert_eq!(value, json!({"global": {"setkmap": "de"}}));
    assert_eq!(left_out, 2);
    assert!(
        warnings.contains("200.yaml: line 2") && warnings.contains("300.yaml: line 1: not UTF-8"),
        "{warnings}"
    );
}

#[test]
fn what_cannot_be_had_is_told_by_name() {
    let (value, warnings, left_out) = Scene::new().run("sysrescuecfg=http://192.0.2.1/x.yaml sysrescuecfg=../x.yaml sysrescuecfg= sysrescuecfg=none.yaml nofirewall");
    assert_eq!(value, json!({"global": {"nofirewall": true}}));
    assert_eq!(left_out, 4);
    for word in ["192.0.2.1", "../x.yaml", "none.yaml: No such file"] {
        assert!(warnings.contains(word), "{word} in {warnings}");
    }
}

#[test]
fn a_medium_without_a_folder_leaves_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let (value, warnings, left_out) = effective(folder.path(), &folder.path().join("none"));
    assert_eq!((value, left_out), (json!({}), 0));
    assert!(warnings[0].contains("cannot read"));
}

#[test]
fn the_result_is_for_root_alone_and_replaces_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("run/archiso/config");
    for value in [
        json!({"global": {"rootpass": "one"}}),
        json!({"global": {"rootpass": "two"}}),
    ] {
        write(&value, &to).unwrap();
        let text = std::fs::read(to.join(config::FILE)).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), value);
    }
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&to), mode(&to.join(config::FILE))), (0o700, 0o600));
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
    // What lies in its place is no way out of the folder.
    std::os::unix::fs::symlink(folder.path().join("out"), to.join("part")).unwrap();
    write(&json!({}), &to).unwrap();
    assert!(!folder.path().join("out").exists());
    assert!(write(&json!({}), Path::new("/proc/none")).is_err());
}
