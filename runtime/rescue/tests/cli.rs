//! The command line as a person and a script meet it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use std::path::Path;

fn help(words: &[String]) -> String {
    let ran = asl(Path::new("/nonexistent"))
        .words(words)
        .words(["--help"])
        .run()
        .ok();
    assert_eq!(ran.err, "");
    ran.out
}

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let after = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
    after
        .lines()
        .take_while(|l| l.starts_with("  "))
        .filter(|l| !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_string)
        .collect()
}

/// Every command, as the words that name it.
fn every_command() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut todo = vec![Vec::new()];
    while let Some(words) = todo.pop() {
        for name in listed(&help(&words)) {
            let mut longer = words.clone();
            longer.push(name);
            todo.push(longer.clone());
            found.push(longer);
        }
    }
    found
}

#[test]
fn every_commands_help_has_an_example_that_begins_with_it() {
    let all = every_command();
    for command in [
        "init",
        "status",
        "serve",
        "rescue",
        "domain create",
        "domain list",
        "domain show",
        "key generate",
        "key show",
        "key host add",
        "key host list",
        "key host remove",
        "key bundle",
        "key check",
        "key card",
        "dam create",
        "dam sign",
        "dam show",
        "dam verify",
        "dam diff",
        "admission request",
        "admission submit",
        "admission decide",
        "admission list",
        "admission show",
        "admission apply",
        "lease show",
        "ingest",
        "restore",
        "ls",
        "find",
        "cat",
        "snapshot create",
        "snapshot list",
        "snapshot show",
        "snapshot diff",
        "snapshot pin",
        "snapshot unpin",
        "log show",
        "log verify",
        "profile check",
        "profile explain",
        "verify",
        "man",
        "completions",
    ] {
        assert!(
            all.iter().any(|w| w.join(" ") == command),
            "{command} is not listed"
        );
    }
    for words in all {
        let text = help(&words);
        let command = words.join(" ");
        assert!(text.contains("--json"), "{command}");
        assert!(text.contains("--root"), "{command}");
        // A noun alone lists its verbs; what can be run shows how.
        if listed(&text).is_empty() {
            assert!(text.contains("Example"), "{command} has no example");
            assert!(
                text.contains(&format!("  asl-host {command}")),
                "{command}:\n{text}"
            );
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{command}: {line}");
        }
    }
    assert!(
        !help(&[]).contains("unlock-child"),
        "what people do not call is not shown"
    );
}

#[test]
fn every_command_has_a_page_in_the_manual_with_its_examples() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = Path::new("/nonexistent");
    let mut man = asl(nowhere).words(["man", "--json", "--to"]);
    man.arg(dir.path());
    let told = man.run().ok().json();
    let pages = told["pages"].as_array().unwrap();
    let all = every_command();
    assert_eq!(
        pages.len(),
        all.len() + 1,
        "the program's own page and one a command"
    );
    for words in all {
        let name = format!("asl-host-{}.1", words.join("-"));
        let page = std::fs::read_to_string(dir.path().join(&name)).expect(&name);
        assert!(
            page.contains(".SH NAME") && page.contains("\\-\\-json"),
            "{name}"
        );
        let runs = format!("asl\\-host {}", words.join(" ").replace('-', "\\-"));
        assert!(page.contains(&runs), "{name}: {page}");
        let one = asl(nowhere).words(["man"]).words(&words).run().ok();
        assert_eq!(one.out, page, "{name}");
    }
    asl(nowhere)
        .words(["man", "no", "such"])
        .run()
        .refused(2, &["no such command"]);
    asl(nowhere)
        .words(["man", "unlock-child"])
        .run()
        .refused(2, &["no such command"]);
}

#[test]
fn every_shell_gets_its_completions_and_they_know_the_commands() {
    let nowhere = Path::new("/nonexistent");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = asl(nowhere).words(["completions", shell]).run().ok().out;
        assert!(
            script.contains("snapshot") && script.contains("passphrase-file"),
            "{shell}"
        );
        let told = asl(nowhere)
            .words(["completions", shell, "--json"])
            .run()
            .ok()
            .json();
        assert_eq!(told["script"], script.as_str());
    }
    asl(nowhere).words(["completions", "tcsh"]).run().ends(2);
}

#[test]
fn the_exit_codes_are_in_the_help_and_are_the_ones_used() {
    let text = help(&[]).replace('\n', " ");
    for said in [
        "0 done",
        "1 failed",
        "2 usage or no terminal",
        "3 refused by authority or lease",
        "4 damage",
        "5 sealed with holes",
        "6 concurrent writer",
        "130 interrupted",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(text.contains("Example"));
    let nowhere = Path::new("/nonexistent/root");
    asl(nowhere).words(["status"]).run().ends(1);
    asl(nowhere).words(["no-such-command"]).run().ends(2);
    asl(nowhere).words(["ingest"]).run().ends(2);
    asl(nowhere).run().ends(2);
    asl(nowhere).words(["--version"]).run().ok();
}

/// The one object an error is, for a script.
fn refused_json(root: &Path, words: &[&str], exit: i32) -> serde_json::Value {
    let ran = asl(root).words(words).words(["--json"]).run().ends(exit);
    assert_eq!(ran.err, "", "{words:?} says more than the object");
    let json = ran.json();
    assert_eq!(json.as_object().unwrap().len(), 1);
    let error = json["error"].clone();
    assert_eq!(error["exit"], exit, "{words:?}");
    for part in ["message", "next"] {
        let text = error[part]
            .as_str()
            .unwrap_or_else(|| panic!("{words:?}: no {part}"));
        assert!(
            !text.is_empty() && !text.contains('\n'),
            "{words:?} {part}: {text}"
        );
    }
    error
}

#[test]
fn an_error_is_one_json_object_with_message_next_and_exit() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let none = refused_json(&root, &["status"], 1);
    assert_eq!(none["status"], "STORE_NOT_FOUND");
    asl(&root).words(["init"]).run().ok();
    let twice = refused_json(&root, &["init"], 1);
    assert_eq!(twice["status"], "STORE_EXISTS");
    for words in [
        &["domain", "show"][..],
        &["lease", "show", "--domain", "nobody"],
        &["admission", "show"],
        &["log", "verify"],
        &["snapshot", "list", "--domain", "nobody"],
        &["verify"],
        &[
            "key",
            "bundle",
            "--keys",
            "/nonexistent",
            "--to",
            "/nonexistent",
        ],
        &["dam", "verify", "--keys", "/nonexistent"],
    ] {
        assert_eq!(
            refused_json(&root, words, 1)["status"],
            "STORE_NOT_FOUND",
            "{words:?}"
        );
    }
    for words in [
        &["domain", "create"][..],
        &["rescue"],
        &["no-such-command"],
        &["ingest"],
        &["ingest", "/", "--no-such-flag"],
        &["serve", "--listen", "somewhere"],
        &[
            "admission",
            "request",
            "--host",
            "x",
            "--days",
            "many",
            "--to",
            "/x",
        ],
    ] {
        assert_eq!(
            refused_json(&root, words, 2)["status"],
            serde_json::Value::Null,
            "{words:?}"
        );
    }
}

#[test]
fn an_error_for_a_person_is_two_lines_and_nothing_on_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let ran = asl(&root)
        .words(["status"])
        .run()
        .refused(1, &["asl-host init"]);
    assert_eq!(ran.err.lines().count(), 2, "{}", ran.err);
}

#[test]
fn labels_that_are_none_are_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    asl(&root).words(["init"]).run().ok();
    let long = "a".repeat(49);
    for label in [
        "", "Alice", "../up", "a/b", ".a", "a.", "-a", "a b", "a~b", "\u{e9}", &long,
    ] {
        let words = ["domain", "create", "--plain", "--label"];
        let mut command = asl(&root).words(words);
        command
            .arg(label)
            .arg("--new-root")
            .arg(root.join("unused.key"));
        let ran = command.run();
        assert!(
            [1, 2].contains(&ran.code),
            "{label:?}: {} {}",
            ran.code,
            ran.out
        );
        assert_eq!(
            std::fs::read_dir(root.join("domains")).unwrap().count(),
            0,
            "{label:?}"
        );
    }
    // A root key that nobody keeps would leave a domain that nobody can ever speak for.
    let words = ["domain", "create", "--plain", "--label", "a.b-c9"];
    asl(&root).words(words).run().refused(2, &["--new-root"]);
    let key = root.join("root.key");
    asl(&root)
        .words(words)
        .words(["--new-root".as_ref(), key.as_os_str()])
        .run()
        .ok();
    assert!(key.is_file());
}

#[test]
fn the_root_comes_from_the_flag_then_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let mut init = detached(env!("CARGO_BIN_EXE_asl-host"));
    init.arg("init").env("ASL_HOST_ROOT", &one);
    init.run().ok();
    assert!(one.join("host/host-id").is_file());
    let mut init = detached(env!("CARGO_BIN_EXE_asl-host"));
    init.arg("init")
        .arg("--root")
        .arg(&two)
        .env("ASL_HOST_ROOT", &one);
    init.run().ok();
    assert!(two.join("host/host-id").is_file());
}

#[test]
fn a_reader_that_is_gone_is_a_failure_and_not_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    asl(&root).words(["init"]).run().ok();
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut status = asl(&root).words(["status"]);
    status.stdout(full);
    let ran = status.run().ends(1);
    assert!(ran.err.contains("cannot write"), "{}", ran.err);
    for json in [&["--json"][..], &[]] {
        let mut wrong = asl(&root).words(["domain", "show"]).words(json);
        wrong.stdout(std::fs::File::create("/dev/full").unwrap());
        let ran = wrong.run().ends(1);
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
    }
}

#[test]
fn a_damaged_host_id_or_an_unknown_layout_is_refused_by_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    asl(&root).words(["init"]).run().ok();
    std::fs::write(root.join("host/host-id"), r#"{"layout": 7}"#).unwrap();
    for words in [
        &["status"][..],
        &["serve"],
        &["domain", "show"],
        &["verify"],
    ] {
        asl(&root).words(words).run().refused(1, &["layout is 7"]);
    }
    asl(&root).words(["init"]).run().ends(1);
}

#[test]
fn the_hidden_child_takes_no_nonsense() {
    let dir = tempfile::tempdir().unwrap();
    for order in ["", "zz", "a1", &"00".repeat(3000)] {
        let ran = detached(env!("CARGO_BIN_EXE_asl-host"))
            .words(["unlock-child", order])
            .output();
        let ran = ran.unwrap();
        assert!(!String::from_utf8_lossy(&ran.stderr).contains("panicked"));
        assert!(!ran.stdout.is_empty(), "the parent is told");
    }
    drop(dir);
}
