//! A domain that the real program works on while something goes wrong, and what the program told.

use crate::common::{asl, contents, Ran, Run};
use asl_auth::{Genesis, RootSet, SigningKey, StoreParams};
use asl_core::{Entropy, HostClock, Timestamp};
use asl_host::{capability::Place, Context, Domain, Founding, HostRoot};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a torture is done.
pub fn count(usual: usize) -> usize {
    usize::try_from(asl_testkit::torture_count(usual as u64)).unwrap()
}

/// Says how far a long one is: who ends it early still knows what it came to.
pub fn along(n: usize, what: &str) {
    if n > 0 && n.is_multiple_of(25) {
        println!("  {n} {what} so far, 0 lost");
    }
}

/// A place in memory for a test's disks: a sync costs nothing there, so that more can be tried. What
/// a sync is worth is for the disks themselves to tell.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("THIS TEST NEEDS /dev/shm")
}

/// Chance, from a seed that is printed: ASL_TORTURE_SEED does the same again.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Dice {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let given = std::env::var("ASL_TORTURE_SEED").ok();
        let seed = given.map_or_else(|| now().as_nanos() as u64, |s| s.parse().unwrap());
        println!("ASL_TORTURE_SEED={seed}");
        Dice(seed)
    }

    /// Dice of their own, from the same seed.
    pub fn others(&mut self) -> Dice {
        Dice(self.below(u64::MAX))
    }

    /// A number below `n` (splitmix64).
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub fn bytes(&mut self, n: u64) -> Vec<u8> {
        (0..n).map(|_| self.below(256) as u8).collect()
    }
}

/// What the program is asked to do.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Seal the source, which is this tree now, and make a snapshot.
    Seal(usize),
    Forget(Vec<String>),
    Gc,
    Repair,
    Pin(String),
    Unpin(String),
}

impl Verb {
    pub fn name(&self) -> &'static str {
        match self {
            Verb::Seal(_) => "ingest",
            Verb::Forget(_) => "forget",
            Verb::Gc => "gc",
            Verb::Repair => "repair",
            Verb::Pin(_) => "pin",
            Verb::Unpin(_) => "unpin",
        }
    }
}

/// What the program said is so, and has to be so ever after.
#[derive(Clone, Default)]
pub struct Told {
    /// The head of the content log that was told last.
    head: Option<String>,
    /// Snapshots, with the tree that each one's newest root is.
    pub snapshots: BTreeMap<String, usize>,
    pins: BTreeSet<String>,
    /// Snapshots that may be pinned, told or not.
    may_be_pinned: BTreeSet<String>,
    /// Acknowledgements.
    pub count: u64,
}

impl Told {
    /// A verb begins: what it may take away is in doubt from now on.
    pub fn begins(&mut self, verb: &Verb) {
        match verb {
            Verb::Forget(ids) => self.snapshots.retain(|id, _| !ids.contains(id)),
            Verb::Pin(id) => drop(self.may_be_pinned.insert(id.clone())),
            Verb::Unpin(id) => drop(self.pins.remove(id)),
            _ => {}
        }
    }

    /// The program said a line.
    pub fn heard(&mut self, verb: &Verb, line: &str) {
        let said: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if said.get("error").is_some() {
            return;
        }
        self.count += 1;
        let head = |at: &Value| at["head"].as_str().map(str::to_owned);
        if let Some(head) = head(&said["commit"]).or_else(|| head(&said["log"])) {
            self.head = Some(head);
        }
        match verb {
            Verb::Seal(tree) => {
                if let Some(id) = said["snapshot"].as_str() {
                    self.snapshots.insert(id.to_owned(), *tree);
                }
            }
            Verb::Pin(id) => drop(self.pins.insert(id.clone())),
            Verb::Unpin(id) => drop(self.may_be_pinned.remove(id)),
            _ => {}
        }
    }

    /// A program that ran alone has ended, having said this.
    pub fn heard_all(&mut self, verb: &Verb, out: &[u8]) {
        // A line that was cut off was not told.
        let whole = out.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        for line in std::str::from_utf8(&out[..whole]).unwrap().lines() {
            self.heard(verb, line);
        }
    }
}

/// Paths below a top, and what they hold.
type Tree = BTreeMap<PathBuf, blake3::Hash>;

fn tree(at: &Path) -> Tree {
    let below = |(path, hash): (PathBuf, _)| (path.strip_prefix(at).unwrap().to_owned(), hash);
    contents(at).into_iter().map(below).collect()
}

/// One host with one plain domain of small blocks, so that a small source takes many commits.
pub struct Life {
    /// The host's root, on the medium that something happens to.
    pub root: PathBuf,
    /// A safe place: the source, and what is restored.
    home: PathBuf,
    pub dice: Dice,
    /// What the source was, each time it was sealed.
    trees: Vec<Tree>,
    pub told: Told,
}

struct Clock;

impl HostClock for Clock {
    fn wall_ns(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos().try_into().unwrap()
    }

    fn since_boot(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
    }
}

struct Chance;

impl Entropy for Chance {
    fn fill(&self, buffer: &mut [u8]) -> asl_core::Result<()> {
        getrandom::fill(buffer).unwrap();
        Ok(())
    }
}

impl Life {
    /// Makes root, domain and source.
    pub fn begin(root: &Path, home: &Path) -> Life {
        let mut life = Life {
            root: root.to_owned(),
            home: home.to_owned(),
            dice: Dice::new(),
            trees: Vec::new(),
            told: Told::default(),
        };
        asl(root).words(["init"]).run().ok();
        let context = Context {
            clock: Arc::new(Clock),
            entropy: Arc::new(Chance),
        };
        let key = SigningKey::generate(&Chance).unwrap();
        let roots = RootSet::new(vec![key.public()], 1).unwrap();
        let host = HostRoot::open(root).unwrap();
        let genesis = Genesis {
            label: "life".parse().unwrap(),
            nonce: context.nonce().unwrap(),
            host: host.id(),
            time: Timestamp::claimed(context.clock.wall_ns()),
            params: StoreParams {
                block_target: 24 << 10,
                chunk_min: 2 << 10,
                chunk_avg: 8 << 10,
                chunk_max: 32 << 10,
                encrypted: false,
            },
            root_set: roots.digest(),
            threshold: roots.threshold(),
        };
        let founding = Founding {
            genesis: &genesis.encode(),
            dam: None,
            epochs: &[],
            place: Place::Home,
        };
        Domain::create(&host, &context, &founding).unwrap();
        std::fs::create_dir_all(life.source()).unwrap();
        for n in 0..12 {
            life.write_file(n);
        }
        life
    }

    pub fn source(&self) -> PathBuf {
        self.home.join("source")
    }

    fn write_file(&mut self, n: u64) {
        let length = 1000 + self.dice.below(60_000);
        let bytes = self.dice.bytes(length);
        std::fs::write(self.source().join(format!("f{n:02}")), bytes).unwrap();
    }

    /// Changes a third of the source; answers its number among the trees.
    pub fn change(&mut self) -> usize {
        for _ in 0..4 {
            let n = self.dice.below(12);
            self.write_file(n);
        }
        self.trees.push(tree(&self.source()));
        self.trees.len() - 1
    }

    /// What is done next: mostly sealing, and enough forgetting that the domain stays small.
    pub fn next(&mut self) -> Verb {
        let old: Vec<String> = self.told.snapshots.keys().rev().skip(2).cloned().collect();
        let newest = self.told.snapshots.keys().next_back().cloned();
        match (self.dice.below(20), newest) {
            (11..=13, _) if !old.is_empty() => {
                let pinned = |id: &String| self.told.may_be_pinned.contains(id);
                Verb::Forget(old.into_iter().filter(|id| !pinned(id)).collect())
            }
            (14..=16, _) => Verb::Gc,
            (17, _) => Verb::Repair,
            (18, Some(newest)) => Verb::Pin(newest),
            (19, _) if !self.told.may_be_pinned.is_empty() => {
                Verb::Unpin(self.told.may_be_pinned.first().unwrap().clone())
            }
            _ => Verb::Seal(self.change()),
        }
    }

    pub fn command(&self, verb: &Verb) -> Command {
        let words = |words: &[&str]| asl(&self.root).words(words).words(["--json"]);
        match verb {
            Verb::Seal(_) => {
                let mut command = words(&["ingest", "--snapshot", "--commits"]);
                command.arg(self.source());
                command
            }
            Verb::Forget(ids) if ids.is_empty() => words(&["status"]),
            Verb::Forget(ids) => words(&["snapshot", "forget"]).words(ids),
            Verb::Gc => words(&["gc", "--unfinished"]),
            Verb::Repair => words(&["repair"]),
            Verb::Pin(id) => words(&["snapshot", "pin", id]),
            Verb::Unpin(id) => words(&["snapshot", "unpin", id]),
        }
    }

    /// Does a verb that nothing comes between.
    #[track_caller]
    pub fn does(&mut self, verb: &Verb) {
        self.told.begins(verb);
        let output = self.command(verb).output().unwrap();
        self.told.heard_all(verb, &output.stdout);
        Ran::of(output).ok();
    }

    /// Seals once more, as whoever comes next would.
    #[track_caller]
    pub fn goes_on(&mut self) {
        let verb = Verb::Seal(self.change());
        self.does(&verb);
    }

    /// Whether everything that was told is there, and nothing is damaged.
    pub fn check(&self) -> Result<(), String> {
        self.check_at(&self.root, &self.told)
    }

    /// The same for what was told up to some moment, at a root that is what was left of it.
    pub fn check_at(&self, root: &Path, told: &Told) -> Result<(), String> {
        ran(root, &["log", "verify"])?;
        if let Some(head) = &told.head {
            // Each frame ends with its own hash, and the next one names it.
            let log = std::fs::read(domain_dir(root).join("log/append.log")).unwrap();
            let hash = blake3::Hash::from_hex(head).unwrap();
            if !log.windows(32).any(|w| w == hash.as_bytes()) {
                return Err(format!(
                    "the head {head} was told, and the log has no such frame"
                ));
            }
        }
        ran(root, &["verify", "--data"])?;
        let list = ran(root, &["snapshot", "list"])?;
        let kept: BTreeMap<&str, bool> = list["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| (s["snapshot"].as_str().unwrap(), !s["pinned"].is_null()))
            .collect();
        for id in told.snapshots.keys() {
            if !kept.contains_key(id.as_str()) {
                return Err(format!("{id} was told, and is not there: {list}"));
            }
        }
        for id in &told.pins {
            if !matches!(kept.get(id.as_str()), Some(true)) {
                return Err(format!("{id} was told to be pinned, and is not: {list}"));
            }
        }
        // The newest, and by turns another one.
        let newest = told.snapshots.iter().next_back();
        let turn = told.count as usize % told.snapshots.len().max(1);
        let other = told
            .snapshots
            .iter()
            .nth(turn)
            .filter(|o| Some(*o) != newest);
        let mut two = newest.into_iter().chain(other);
        two.try_for_each(|(id, tree)| self.restores(root, id, &self.trees[*tree]))
    }

    fn restores(&self, root: &Path, id: &str, wanted: &Tree) -> Result<(), String> {
        let to = self.home.join("back");
        let _ = std::fs::remove_dir_all(&to);
        let at = to.to_str().unwrap();
        let said = ran(root, &["restore", "--snapshot", id, "--to", at])?;
        // Of several roots of the one source, the last is the newest.
        let newest = said["restored"].as_array().unwrap().last().unwrap();
        let back = tree(Path::new(newest["to"].as_str().unwrap()));
        match back == *wanted {
            true => Ok(()),
            false => Err(format!("{id} does not hold what was sealed")),
        }
    }
}

/// Runs a command that has to succeed.
fn ran(root: &Path, words: &[&str]) -> Result<Value, String> {
    let ran = asl(root).words(words).words(["--json"]).run();
    match ran.code {
        0 => Ok(ran.json()),
        code => Err(format!(
            "{words:?} ended with {code}: {}{}",
            ran.out, ran.err
        )),
    }
}

fn domain_dir(root: &Path) -> PathBuf {
    let all = std::fs::read_dir(root.join("domains")).unwrap();
    let named = |p: &PathBuf| !p.file_name().unwrap().to_string_lossy().starts_with('.');
    all.map(|d| d.unwrap().path()).find(named).unwrap()
}
