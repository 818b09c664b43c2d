//! A rescue session on a terminal of its own, and the table of mishaps that it is held against.

use super::pty::Pty;
use super::*;
use std::collections::BTreeMap;

pub const PROMPT: &str = "Passphrase of the key stick";

/// A session outside of the appliance that follows a profile.
pub struct Session {
    pub world: World,
    pub profile: String,
}

impl Session {
    /// With the world's stick, root and the directory `source`.
    pub fn new(world: World, interactive: bool) -> Session {
        let source = world.path("source");
        let target = world.root();
        Session::between(world, interactive, &target, &[source])
    }

    pub fn between(world: World, interactive: bool, target: &Path, sources: &[PathBuf]) -> Session {
        let profile = format!(
            "interactive = {interactive}\n\
             [keys]\npath = {:?}\n\
             [target]\npath = {target:?}\n\
             [source]\npaths = {sources:?}\n\
             [end]\naction = \"shell\"\n",
            world.stick(),
        );
        Session { world, profile }
    }

    /// It asks the stick's host `home`.
    pub fn asks(mut self, bytes: u64, applies: &str) -> Session {
        let more = format!(
            "[admission]\nhost = \"home\"\n\
             [lease]\nbytes = {bytes}\ndays = 1\napplies = {applies:?}\n"
        );
        self.profile.push_str(&more);
        self
    }

    /// Starts it on a terminal of this size.
    pub fn start(&self, rows: u16, columns: u16) -> Pty {
        let path = self.world.path("profile.toml");
        std::fs::write(&path, &self.profile).unwrap();
        Pty::start(rescue(&self.world, &path), rows, columns)
    }

    /// Starts it on an ordinary terminal, and unlocks it.
    #[track_caller]
    pub fn unlocked(&self) -> Pty {
        let mut pty = self.start(24, 80);
        self.unlock(&mut pty);
        pty
    }

    /// Starts, unlocks, and waits until something is acknowledged.
    #[track_caller]
    pub fn sealing(&self) -> Pty {
        let mut pty = self.unlocked();
        self.wait_until_sealed(&mut pty);
        pty
    }

    /// Waits until something of this session is acknowledged.
    #[track_caller]
    pub fn wait_until_sealed(&self, pty: &mut Pty) {
        pty.expect("Sealing /");
        let before = log_length(&self.world);
        wait_for("something acknowledged", || {
            log_length(&self.world) > before
        });
    }

    /// Compares the card and types the passphrase, as a person does.
    #[track_caller]
    pub fn unlock(&self, pty: &mut Pty) {
        self.world.compare_with_card(pty);
        type_passphrase(pty);
    }

    /// Opens, verifies and restores what is on the target, and compares it with the source.
    #[track_caller]
    pub fn prove(&self, source: &Path) {
        self.world.verify();
        self.world.restore("back").run().ok();
        tree::assert_same(source, &self.world.path("back"));
    }
}

/// Types the passphrase where it is asked for.
#[track_caller]
pub fn type_passphrase(pty: &mut Pty) {
    pty.expect(PROMPT);
    pty.send(&format!("{PASSPHRASE}\r"));
}

/// Waits for the end with this exit code; gives all that was said, which is no panic and no secret.
#[track_caller]
pub fn ends_with(pty: Pty, expected: i32) -> String {
    let (code, said) = pty.end();
    assert_eq!(code, expected, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(!said.contains(PASSPHRASE), "a secret was shown:\n{said}");
    said
}

/// `rescue` by this profile, with a `/run` of the world's own: the lock there is one a machine, and
/// tests run side by side.
pub fn rescue(world: &World, profile: &Path) -> Command {
    assert!(
        nix::unistd::geteuid().is_root(),
        "THIS TEST MUST RUN AS ROOT: the session takes its lock in /run/asl"
    );
    std::fs::create_dir_all(world.path("run")).unwrap();
    let mut command = detached("unshare");
    command
        .args([
            "--mount",
            "sh",
            "-c",
            "mount --bind \"$0\" /run && exec \"$@\"",
        ])
        .arg(world.path("run"))
        .arg(env!("CARGO_BIN_EXE_asl-host"))
        .arg("--root")
        .arg(world.root())
        .args(["rescue", "--profile"])
        .arg(profile)
        .env("TERM", "dumb")
        .env("SHELL", "/bin/sh");
    command
}

/// One line of MISHAPS.md.
pub struct Mishap {
    name: &'static str,
    words: Vec<String>,
    ways: Vec<String>,
}

/// What every menu ends with, as the table's preface says.
const ALWAYS: [&str; 3] = [
    "Start again from the first step (another stick, another target)",
    "A shell; `exit` comes back here",
    "Power off",
];

/// The lines of the table, by name: the words, and the ways on.
pub fn table() -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let text = include_str!("../../MISHAPS.md");
    for always in ALWAYS {
        assert!(text.contains(always), "MISHAPS.md does not name {always:?}");
    }
    let quoted = |cell: &str| -> Vec<String> {
        cell.split('"')
            .skip(1)
            .step_by(2)
            .map(String::from)
            .collect()
    };
    text.lines()
        .filter(|l| l.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            assert_eq!(cells.len(), 5, "not five cells: {line}");
            let name = cells[0].trim_start_matches("| `").trim_end_matches('`');
            let words = quoted(cells[2]);
            assert!(!words.is_empty(), "{name} has no words");
            (name.to_string(), (words, quoted(cells[3])))
        })
        .collect()
}

/// A line of MISHAPS.md, by its name.
#[track_caller]
pub fn mishap(name: &'static str) -> Mishap {
    let (words, ways) = table()
        .remove(name)
        .unwrap_or_else(|| panic!("MISHAPS.md has no line {name}"));
    Mishap { name, words, ways }
}

impl Mishap {
    /// Asserts that a program said the table's words and offered its ways, and no panic.
    #[track_caller]
    pub fn was_said(&self, said: &str) {
        for words in &self.words {
            assert!(
                said.contains(words.as_str()),
                "{}: MISHAPS.md says {words:?}; it said:\n{said}",
                self.name
            );
        }
        assert!(!said.contains("panicked"), "{said}");
        assert!(!said.contains(PASSPHRASE), "a secret was shown:\n{said}");
        let always: &[&str] = if said.contains("What now?") {
            &ALWAYS
        } else {
            &[]
        };
        let ways = self.ways.iter().map(String::as_str);
        for way in ways.chain(always.iter().copied()) {
            assert!(
                said.contains(way),
                "{}: MISHAPS.md offers {way:?}; it said:\n{said}",
                self.name
            );
        }
    }
}
