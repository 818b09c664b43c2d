//! `asl-host rescue --prepare` on a terminal: from nothing to a key stick and a card, left at any
//! question and taken up again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::appliance::at_home;
use common::pty::Pty;
use common::*;
use std::path::{Path, PathBuf};

/// A person at home, with a directory of their own and nothing prepared.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Home {
        Home {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn keys(&self) -> PathBuf {
        self.path("my-keys")
    }

    fn start(&self, words: &[&str]) -> Pty {
        let mut command = asl(&self.path("root")).words(["rescue"]).words(words);
        command.current_dir(self.dir.path()).env("TERM", "dumb");
        Pty::start(command, 24, 80)
    }

    fn show(&self, keys: &Path) -> serde_json::Value {
        let show = asl(&self.path("root")).words(["key", "show", "--json", "--keys"]);
        show.words([keys]).run().ok().json()
    }
}

/// What a person is asked, and answers.
enum Do<'a> {
    Type(&'a str),
    Take(&'a str),
    /// A key that needs no Enter.
    Press(&'a str),
}
use Do::{Press, Take, Type};

fn answer(pty: &mut Pty, question: &str, what: &Do<'_>) {
    if let Take(item) = what {
        return pty.choose(question, item);
    }
    pty.expect(question);
    match what {
        Take(_) => {}
        Type(text) => {
            // A passphrase is taken only once the echo is off.
            if question.contains("assphrase") || question.contains("same again") {
                wait_for("no echo", || !pty.echoes());
            }
            pty.send(&format!("{text}\r"));
        }
        Press(key) => pty.send(key),
    }
}

fn host_line() -> String {
    let seed = [7; 32];
    let key = asl_auth::SigningKey::from_seed(&seed).public();
    format!("home=192.0.2.7:7643={}", key.to_openssh(""))
}

#[test]
fn a_person_prepares_everything_and_is_helped_over_each_wrong_answer() {
    let home = Home::new();
    let (stick, host) = (home.path("stick"), host_line());
    std::fs::create_dir(&stick).unwrap();
    std::fs::create_dir(home.path("taken")).unwrap();
    let mut pty = home.start(&["--prepare"]);
    let stick_text = stick.display().to_string();
    pty.expect("[1/7]");
    answer(&mut pty, "Which directory", &Type("taken"));
    pty.expect("holds no keys. Name a new directory.");
    answer(&mut pty, "Which directory", &Type(""));
    pty.expect("[2/7]");
    answer(&mut pty, "Who shall open the data", &Take("Make an owner"));
    answer(&mut pty, "New passphrase", &Type(PASSPHRASE));
    answer(&mut pty, "The same again", &Type(PASSPHRASE));
    pty.expect("Made keys in my-keys.");
    pty.expect("[3/7]");
    for wrong in ["../up", "Alice Personal", ""] {
        answer(&mut pty, "The domain's name", &Type(wrong));
        pty.expect("is not a label");
    }
    answer(&mut pty, "The domain's name", &Type("alice.personal"));
    for wrong in ["soon", "0", "-1"] {
        answer(&mut pty, "Days until its DAM ends", &Type(wrong));
        pty.expect("no number of days");
    }
    answer(&mut pty, "Days until its DAM ends", &Type("365"));
    pty.expect("DAM number 1 of alice.personal~");
    pty.expect("[4/7]");
    answer(&mut pty, "No host is pinned", &Take("Pin a host"));
    for wrong in ["home", "home=192.0.2.7=ssh-ed25519 AAAA"] {
        answer(&mut pty, "NAME=ADDRESS:PORT=", &Type(wrong));
        pty.expect("give NAME=ADDRESS:PORT=PUBLIC-KEY");
    }
    answer(&mut pty, "NAME=ADDRESS:PORT=", &Type(&host));
    pty.expect("words ");
    answer(&mut pty, "Did the keeper read", &Press("n"));
    pty.expect("Not pinned.");
    answer(&mut pty, "No host is pinned", &Take("Pin a host"));
    answer(&mut pty, "NAME=ADDRESS:PORT=", &Type(&host));
    pty.expect("Did the keeper read");
    pty.send("y");
    answer(&mut pty, "These hosts can be asked", &Take("Go on"));
    pty.expect("[5/7]");
    answer(&mut pty, "The owner's identity file", &Type(""));
    answer(
        &mut pty,
        "Passphrase of the key stick",
        &Type("wrong one here"),
    );
    answer(&mut pty, "Passphrase of the key stick", &Type(PASSPHRASE));
    pty.expect("Proven:");
    pty.expect("[6/7]");
    // The keys' own home is no stick to give away.
    choose_directory(&mut pty, "my-keys");
    pty.expect("the keys at home lie on it");
    answer(&mut pty, "What now?", &Take("Try again"));
    choose_directory(&mut pty, "nowhere");
    pty.expect("is no directory");
    choose_directory(&mut pty, &stick_text);
    pty.expect("and read it back");
    pty.expect("It may be taken out.");
    pty.expect("[7/7]");
    pty.expect("card.txt");
    answer(&mut pty, "Print the owner's secret too", &Press("n"));
    pty.expect("Prepared.");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(
        !said.contains(PASSPHRASE),
        "the passphrase was shown:\n{said}"
    );
    assert!(!said.contains("AGE-SECRET"), "{said}");

    let shown = home.show(&stick);
    assert_eq!(shown["amiss"], serde_json::json!([]), "{shown}");
    assert!(shown["proven"].is_string() && shown["dam"]["not_after"].is_string());
    assert_eq!(shown["hosts"][0]["name"], "home");
    assert_eq!(shown["secrets"], serde_json::json!([]));
    let card = std::fs::read_to_string(home.keys().join("card.txt")).unwrap();
    let words = shown["owner"][0]["words"].as_str().unwrap();
    let last = words.split(' ').next_back().unwrap();
    assert!(card.contains(&format!("12 {last}")), "{card}");
    assert!(!card.contains("AGE-S"), "{card}");
    assert!(!home.path("root").exists(), "no root is made at home");
}

fn choose_directory(pty: &mut Pty, directory: &str) {
    pty.choose("Where shall the key stick be written", "A directory");
    answer(pty, "Which directory", &Type(directory));
}

#[test]
fn left_at_any_question_it_goes_on_where_it_stopped_and_nothing_is_half_done() {
    let home = Home::new();
    let (stick, host) = (home.path("stick"), host_line());
    std::fs::create_dir(&stick).unwrap();
    let stick_text = stick.display().to_string();
    let road: [(&str, Do<'_>); 15] = [
        ("Which directory", Type("")),
        ("Who shall open the data", Take("Make an owner")),
        ("New passphrase", Type(PASSPHRASE)),
        ("The same again", Type(PASSPHRASE)),
        ("The domain's name", Type("alice.personal")),
        ("Days until its DAM ends", Type("")),
        ("No host is pinned", Take("Pin a host")),
        ("NAME=ADDRESS:PORT=", Type(&host)),
        ("Did the keeper read", Press("y")),
        ("These hosts can be asked", Take("Go on")),
        ("The owner's identity file", Type("")),
        ("Passphrase of the key stick", Type(PASSPHRASE)),
        ("Where shall the key stick be written", Take("A directory")),
        ("Which directory", Type(&stick_text)),
        ("Print the owner's secret too", Press("n")),
    ];
    // Each question in its turn is left by Ctrl-C; then all of them up to the next are answered,
    // but for those that are answered for good.
    let done_for_good = |n: usize| match n {
        0..=3 => home.keys().exists(),
        4..=5 => home.keys().join("dam.cbor").exists(),
        6..=8 => home.keys().join("hosts.toml").exists(),
        9 => !home.keys().join("hosts.toml").exists(),
        10..=11 => home.keys().join("proven.sig").exists(),
        _ => false,
    };
    for stop_at in 0..road.len() {
        let mut pty = home.start(&["--prepare"]);
        for (n, (question, what)) in road.iter().enumerate().take(stop_at + 1) {
            if n > 0 && done_for_good(n) {
                continue;
            }
            if n == stop_at {
                pty.expect(question);
                std::thread::sleep(std::time::Duration::from_millis(300));
                pty.send("\x03");
            } else {
                answer(&mut pty, question, what);
                wait_for_effect(&home, n);
            }
        }
        let (code, said) = pty.end();
        let question = road[stop_at].0;
        assert_eq!(code, 130, "at {question}: {said}");
        assert!(
            !said.contains("panicked") && !said.contains(PASSPHRASE),
            "{said}"
        );
        // Keys are there whole or not at all.
        assert!(!home.path(".my-keys.unfinished").exists(), "at {question}");
        if home.keys().exists() {
            home.show(&home.keys());
        }
    }
    // The keys and the DAM of the first runs are the ones that the last run goes on with.
    let before = std::fs::read(home.keys().join("dam.cbor")).unwrap();
    let mut pty = home.start(&["--prepare"]);
    answer(&mut pty, "Which directory", &Type(""));
    pty.expect("Found keys in my-keys.");
    pty.expect("They are made.");
    answer(&mut pty, "These hosts can be asked", &Take("Go on"));
    pty.expect("It is proven.");
    choose_directory(&mut pty, &stick_text);
    pty.expect("It may be taken out.");
    answer(&mut pty, "Print the owner's secret too", &Press("y"));
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert_eq!(std::fs::read(home.keys().join("dam.cbor")).unwrap(), before);
    assert_eq!(home.show(&stick)["amiss"], serde_json::json!([]));
    let sheet = std::fs::read_to_string(home.keys().join("card-with-secret.txt")).unwrap();
    assert!(sheet.contains("AGE-S"), "{sheet}");
}

/// Waits for what an answer brings about, before it is looked at.
fn wait_for_effect(home: &Home, n: usize) {
    match n {
        3 => wait_for("the keys", || home.keys().exists()),
        5 => wait_for("the DAM", || home.keys().join("dam.sig").exists()),
        8 => wait_for("the pin", || home.keys().join("hosts.toml").exists()),
        _ => {}
    }
}

#[test]
fn outside_of_an_appliance_the_first_question_is_what_to_do_and_leaving_does_nothing() {
    let home = Home::new();
    let mut pty = home.start(&[]);
    pty.choose("What shall be done", "Leave");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert_eq!(std::fs::read_dir(home.dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_prepared_is_looked_after_without_the_passphrase() {
    let world = World::offline();
    let home = Home { dir: world.dir };
    let mut pty = home.start(&[]);
    pty.choose("What shall be done", "Look after what is prepared");
    answer(&mut pty, "Which directory", &Type("no-keys"));
    pty.expect("There are no keys in no-keys.");
    answer(&mut pty, "Which directory", &Type("keys"));
    pty.expect("Keys at home of alice.personal~");
    pty.expect("proven");
    // A host is pinned and removed again.
    pty.choose("What shall be done", "Pin or remove a host");
    answer(&mut pty, "No host is pinned", &Take("Pin a host"));
    answer(&mut pty, "NAME=ADDRESS:PORT=", &Type(&host_line()));
    pty.expect("Did the keeper read");
    pty.send("y");
    pty.choose("These hosts can be asked", "Remove home");
    answer(&mut pty, "No host is pinned", &Take("Go on"));
    pty.choose("What shall be done", "Print the card");
    pty.expect("card.txt");
    answer(&mut pty, "Print the owner's secret too", &Press("n"));
    pty.choose("What shall be done", "Leave");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("Passphrase"), "{said}");
    assert!(home.path("keys/card.txt").is_file());
}

#[test]
fn prepare_needs_a_terminal_and_takes_no_profile() {
    let home = Home::new();
    let rescue = || asl(&home.path("root")).words(["rescue", "--prepare"]);
    rescue().run().refused(2, &["no terminal"]);
    rescue().words(["--profile", "x.toml"]).run().ends(2);
    assert_eq!(std::fs::read_dir(home.dir.path()).unwrap().count(), 0);
}

#[test]
fn a_rescuer_without_any_key_stick_can_make_one_there_and_go_on() {
    let home = Home::new();
    let profile = home.path("profile.toml");
    std::fs::write(&profile, "interactive = true\n").unwrap();
    let mut pty = home.start(&["--profile", profile.to_str().unwrap()]);
    pty.choose("What now?", "There is none yet: prepare keys");
    pty.expect("Prepare at home");
    pty.expect("Which directory");
    pty.send("\x03");
    // Leaving it leads back to the rescue, not out of it.
    pty.expect("What now?");
    pty.expect("A shell");
    drop(pty);
    assert!(!home.keys().exists());
}

#[test]
fn a_disk_becomes_the_key_stick_after_its_name_was_typed_and_is_read_back_from() {
    let world = World::offline();
    let disk = loops::Disk::new(&world.path("stick.img"), 300);
    let home = Home { dir: world.dir };
    let name = disk.name().trim_start_matches("/dev/").to_string();
    let item = format!("{}  ", disk.name());
    let alone = || at_home(&disk, home.dir.path());
    let look = || {
        let mut pty = Pty::start(alone().words(["rescue"]), 24, 120);
        pty.choose("What shall be done", "Look after what is prepared");
        answer(&mut pty, "Which directory", &Type("keys"));
        pty.choose("What shall be done", "Write a key stick");
        pty
    };
    let mut pty = look();
    // Another name than the disk's changes nothing.
    pty.choose("Where shall the key stick be written", &item);
    pty.expect("Everything on it is lost.");
    // Nor does leaving where it is asked for.
    pty.expect(&format!("Type {name} to erase it"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    pty.send("\x03");
    assert_eq!(pty.end().0, 130);
    let mut pty = look();
    pty.choose("Where shall the key stick be written", &item);
    answer(&mut pty, &format!("Type {name} to erase it"), &Type("yes"));
    pty.expect("Nothing was changed.");
    assert_eq!(
        loops::tool(&["od", "-An", "-tx1", "-N4096", disk.name()])
            .lines()
            .count(),
        2
    );
    pty.choose("Where shall the key stick be written", &item);
    answer(&mut pty, &format!("Type {name} to erase it"), &Type(&name));
    pty.expect("and read it back");
    pty.expect("It may be taken out.");
    pty.choose("What shall be done", "Leave");
    let (code, said) = pty.end();
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        loops::tool(&["blkid", "-p", "-s", "LABEL", "-o", "value", disk.name()]),
        "ASL-KEYS"
    );

    // It is one now: offered as it is, not to be erased, and written anew with what changed.
    let mut pty = look();
    pty.expect(&item);
    pty.expect("as it is");
    pty.expect("Not now");
    assert!(!pty.said().contains("ERASED"), "{}", pty.said());
    drop(pty);
    let at = home.path("mounted");
    std::fs::create_dir(&at).unwrap();
    // What is given away is no home for secrets.
    let mut command = alone().words(["rescue", "--prepare"]);
    command.env("MOUNTED", &at);
    let mut pty = Pty::start(command, 24, 120);
    answer(&mut pty, "Which directory", &Type("mounted/my-keys"));
    pty.expect("That is a key stick, which is given away");
    pty.expect("Which directory");
    pty.send("\x03");
    assert_eq!(pty.end().0, 130);
    loops::tool(&["mount", disk.name(), at.to_str().unwrap()]);
    let shown = home.show(&at);
    let written = std::fs::read(at.join("asl-keys/asl-host")).unwrap();
    loops::tool(&["umount", at.to_str().unwrap()]);
    assert_eq!(shown["amiss"], serde_json::json!([]));
    assert_eq!(shown["secrets"], serde_json::json!([]));
    assert_eq!(
        written,
        std::fs::read(env!("CARGO_BIN_EXE_asl-host")).unwrap()
    );
}
