//! The real binary in worlds of its own: keys, a serving host, a stick, a root.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each test file uses a part

pub mod appliance;
pub mod disk;
pub mod keys;
pub mod loops;
pub mod medium;
pub mod pty;
pub mod scan;
pub mod session;
pub mod tree;

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const PASSPHRASE: &str = "correct horse battery staple";

/// A command that no terminal of the person who runs the tests can get into.
pub fn detached(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("ASL_HOST_ROOT").stdin(Stdio::null());
    // SAFETY: setsid is async-signal-safe and touches no memory of ours.
    unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into)) };
    command
}

/// `asl-host` with a root.
pub fn asl(root: &Path) -> Command {
    let mut command = detached(env!("CARGO_BIN_EXE_asl-host"));
    command.arg("--root").arg(root);
    command
}

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The one JSON object that was printed.
    pub fn json(&self) -> Value {
        assert_eq!(
            self.out.lines().count(),
            1,
            "not one line: {:?} {}",
            self.out,
            self.err
        );
        let value: Value = serde_json::from_str(&self.out).unwrap();
        assert!(value.is_object());
        value
    }

    #[track_caller]
    pub fn ok(self) -> Ran {
        self.ends(0)
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// A refusal for a person: one line of what and why, one of what to do, nothing else.
    #[track_caller]
    pub fn refused(self, code: i32, words: &[&str]) -> Ran {
        let ran = self.ends(code);
        assert_eq!(ran.out, "", "a refusal prints no result");
        for word in words {
            assert!(ran.err.contains(word), "no {word:?} in {}", ran.err);
        }
        assert!(ran.err.contains("asl-host: cannot "), "{}", ran.err);
        assert!(ran.err.contains("  next: "), "no way on in {}", ran.err);
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }
}

pub trait Run {
    fn words<S: AsRef<std::ffi::OsStr>>(self, words: impl IntoIterator<Item = S>) -> Self;
    fn run(self) -> Ran;
}

impl Run for Command {
    fn words<S: AsRef<std::ffi::OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.args(words);
        self
    }

    fn run(mut self) -> Ran {
        Ran::of(self.output().unwrap())
    }
}

/// Keys that were made and proven once for a whole test file: each passphrase costs time.
fn shared_keys() -> &'static Path {
    static KEYS: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = KEYS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("passphrase"), PASSPHRASE).unwrap();
        let keys = dir.path().join("keys");
        let none = dir.path().join("none");
        let run = |words: &[&str]| {
            let mut command = asl(&none).words(words);
            command.arg(match words[1] {
                "generate" => "--to",
                _ => "--keys",
            });
            command.arg(&keys);
            if words[0] == "key" {
                command
                    .arg("--passphrase-file")
                    .arg(dir.path().join("passphrase"));
            }
            command
        };
        run(&["key", "generate"]).run().ok();
        run(&["dam", "create", "--label", "alice.personal"])
            .run()
            .ok();
        run(&["dam", "sign"]).run().ok();
        let mut check = run(&["key", "check"]);
        check.arg("--identity").arg(keys.join("owner.txt"));
        check.run().ok();
        dir
    });
    dir.path()
}

/// A world of one test: keys at home, a host that serves, a key stick, an empty root.
pub struct World {
    pub dir: tempfile::TempDir,
    pub server: Option<Server>,
}

impl World {
    /// With keys and a stick that names no host.
    pub fn offline() -> World {
        let dir = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .arg(shared_keys().join("keys"))
            .arg(dir.path())
            .status();
        assert!(copied.unwrap().success());
        std::fs::write(dir.path().join("passphrase"), PASSPHRASE).unwrap();
        let world = World { dir, server: None };
        world.bundle("stick", &[]);
        world
    }

    /// With a host that serves and is named `home` on the stick.
    pub fn new() -> World {
        let world = World::offline();
        asl(&world.keeper()).words(["init"]).run().ok();
        world.served()
    }

    /// With the keeper that was made serving, and named `home` on the stick.
    pub fn served(mut self) -> World {
        std::fs::copy(
            self.keys().join("root.pub"),
            self.keeper().join("host/trusted-roots/alice.pub"),
        )
        .unwrap();
        let server = Server::start(&self.keeper());
        let host = format!("home={}={}", server.address, server.key);
        std::fs::remove_dir_all(self.stick()).unwrap();
        self.bundle("stick", &[&host]);
        self.server = Some(server);
        self
    }

    /// With a root and the stick's domain in it.
    pub fn with_domain(self) -> World {
        self.asl().words(["init"]).run().ok();
        self.asl()
            .words(["domain", "create", "--stick"])
            .words([self.stick()])
            .run()
            .ok();
        self
    }

    /// Writes a key stick.
    pub fn bundle(&self, name: &str, hosts: &[&str]) {
        let at = self.dir.path().join(name);
        std::fs::create_dir_all(&at).unwrap();
        let mut command = self.asl().words(["key", "bundle", "--keys"]);
        command.arg(self.keys()).arg("--to").arg(&at);
        for host in hosts {
            command.arg("--host").arg(host);
        }
        command.run().ok();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn keys(&self) -> PathBuf {
        self.path("keys")
    }

    pub fn stick(&self) -> PathBuf {
        self.path("stick")
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub fn keeper(&self) -> PathBuf {
        self.path("keeper")
    }

    pub fn passphrase(&self) -> PathBuf {
        self.path("passphrase")
    }

    pub fn owner(&self) -> PathBuf {
        self.keys().join("owner.txt")
    }

    pub fn asl(&self) -> Command {
        asl(&self.root())
    }

    /// The words of the owner's recipient, as the card shows them.
    pub fn owner_words(&self) -> String {
        let recipient = std::fs::read_to_string(self.keys().join("owner.pub")).unwrap();
        asl_core::words(asl_core::Digest::of(recipient.trim().as_bytes()).as_bytes())
    }

    /// Fills in the word that the session left out, from the card.
    pub fn compare_with_card(&self, pty: &mut pty::Pty) {
        pty.expect("Type word ");
        pty.expect(" of the owner's card");
        pty.send(&format!("{}\r", self.owner_words()));
    }

    /// `asl-host ingest` of a source, unlocked from the stick.
    pub fn ingest(&self, source: &Path) -> Command {
        let mut command = self.asl().words(["ingest"]);
        command.arg(source).arg("--stick").arg(self.stick());
        command.arg("--passphrase-file").arg(self.passphrase());
        command
    }

    pub fn restore(&self, to: &str) -> Command {
        let mut command = self.asl().words(["restore", "--identity"]);
        command.arg(self.owner()).arg("--to").arg(self.path(to));
        command
    }

    /// Asserts that nothing is damaged, and gives the number of blocks.
    pub fn verify(&self) -> u64 {
        self.asl().words(["log", "verify"]).run().ok();
        let report = self
            .asl()
            .words(["verify", "--json", "--identity"])
            .words([self.owner()])
            .run()
            .ok()
            .json();
        assert_eq!(report["damage"], serde_json::json!([]));
        assert_eq!(report["not_checked"], serde_json::json!([]));
        assert_eq!(report["pieces_opened"], true);
        report["blocks"].as_u64().unwrap()
    }
}

/// A real `asl-host serve`, ended with the test.
pub struct Server {
    child: Child,
    pub address: String,
    pub key: String,
}

impl Server {
    pub fn start(root: &Path) -> Server {
        let mut child = asl(root)
            .words(["serve", "--json", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: Value = serde_json::from_str(&line).expect(&line);
        Server {
            child,
            address: said["listening"].as_str().unwrap().to_string(),
            key: said["key"].as_str().unwrap().trim().to_string(),
        }
    }

    /// Ends it as Ctrl-C does, and gives its exit code.
    pub fn stop(mut self) -> i32 {
        signal(&self.child, nix::sys::signal::Signal::SIGINT);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

/// Waits until something holds, and fails loudly where it never does.
#[track_caller]
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes bytes that do not compress.
pub fn write_random(path: &Path, megabytes: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut from = std::io::Read::take(
        std::fs::File::open("/dev/urandom").unwrap(),
        megabytes << 20,
    );
    std::io::copy(&mut from, &mut std::fs::File::create(path).unwrap()).unwrap();
}

/// The content log's length, by which a test sees that something was acknowledged.
pub fn log_length(world: &World) -> u64 {
    let domains = std::fs::read_dir(world.root().join("domains")).unwrap();
    let domain = domains.map(|d| d.unwrap().path()).next().unwrap();
    std::fs::metadata(domain.join("log/append.log"))
        .unwrap()
        .len()
}

/// Every file below a place with its digest, but for the advisory ones.
pub fn contents(at: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let mut found = BTreeMap::new();
    let mut todo = vec![at.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(path.clone(), blake3::hash(&std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}
