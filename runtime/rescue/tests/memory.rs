//! P11: secrets stay in the unlocking child. What a session's memory holds is read from outside,
//! page by page, while it seals; what it leaves on media is looked at in `sealed.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use asl_auth::{secrets, OpenIdentity, SigningKey};
use common::session::{ends_with, Session};
use common::*;
use nix::sys::signal::Signal;
use std::os::unix::fs::{FileExt, MetadataExt};

const PAGE: usize = 4096;

/// Bytes of a page's entry in `pagemap`; its two highest bits say where the page lies.
const ENTRY: usize = 8;

struct Secret {
    name: &'static str,
    bytes: Vec<u8>,
}

/// A stretch of a process's memory.
struct Stretch {
    name: String,
    from: u64,
    to: u64,
}

impl Stretch {
    /// The addresses of the pages that lie in memory or in the swap: most of what an allocator
    /// keeps was never touched.
    fn pages_in_memory(&self, pid: u32) -> impl Iterator<Item = u64> + use<'_> {
        let at = self.from / PAGE as u64 * ENTRY as u64;
        let pages = (self.to - self.from) / PAGE as u64;
        let mut entries = vec![0; usize::try_from(pages).unwrap() * ENTRY];
        let map = std::fs::File::open(format!("/proc/{pid}/pagemap")).unwrap();
        map.read_exact_at(&mut entries, at).unwrap();
        (0..pages)
            .filter(move |n| {
                let n = usize::try_from(*n).unwrap() * ENTRY;
                let entry = u64::from_le_bytes(entries[n..n + ENTRY].try_into().unwrap());
                entry >> 62 != 0
            })
            .map(|n| self.from + n * PAGE as u64)
    }
}

/// The readable memory of a process, but for what the kernel itself maps into it.
fn stretches(pid: u32) -> Vec<Stretch> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/maps"))
        .expect("CANNOT READ A PROCESS'S MAPS: this test must run as root");
    let at = |text| u64::from_str_radix(text, 16).unwrap();
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words[1].starts_with('r'))
        .map(|words| {
            let (from, to) = words[0].split_once('-').unwrap();
            let name = words.get(5).unwrap_or(&"anonymous").to_string();
            let (from, to) = (at(from), at(to));
            Stretch { name, from, to }
        })
        .filter(|s| !s.name.starts_with("[v"))
        .collect()
}

/// Each place of a process's memory that holds one of these, as "NAME in STRETCH".
fn sweep(pid: u32, secrets: &[Secret]) -> Vec<String> {
    let memory = std::fs::File::open(format!("/proc/{pid}/mem"))
        .expect("CANNOT READ A PROCESS'S MEMORY: this test must run as root");
    let (mut found, mut read) = (Vec::new(), 0);
    for stretch in stretches(pid) {
        let mut bytes = Vec::new();
        for page in stretch.pages_in_memory(pid) {
            let mut held = [0; PAGE];
            // A page that went meanwhile holds nothing.
            if memory.read_exact_at(&mut held, page).is_ok() {
                bytes.extend_from_slice(&held);
            }
        }
        read += bytes.len();
        for secret in secrets {
            let hits = memchr::memmem::find_iter(&bytes, &secret.bytes).count();
            if hits > 0 {
                found.push(format!("{} in {}, {hits} times", secret.name, stretch.name));
            }
        }
    }
    println!(
        "{} KiB of memory looked through for {} secrets",
        read >> 10,
        secrets.len()
    );
    found
}

/// What the world's keys hold that a session has no need of. The seal credential, which it needs, is
/// not among it.
fn secrets_of(world: &World) -> Vec<Secret> {
    let read = |name: &str| std::fs::read(world.keys().join(name)).unwrap();
    let unlocked = |name: &str| {
        secrets::passphrase_unlock(&read(name), PASSPHRASE, secrets::MAX_WORK_FACTOR).unwrap()
    };
    let seed = |key: &[u8]| SigningKey::decode(key).unwrap().to_seed().to_vec();
    let owner = String::from_utf8(read("owner.txt")).unwrap();
    let open = OpenIdentity::parse(&owner).unwrap();
    let data = asl_auth::epoch::open_epoch(&read("epoch-1.age"), &open).unwrap();
    let line = owner
        .lines()
        .find(|l| l.starts_with("AGE-SECRET-KEY"))
        .unwrap();
    let secret = |name, bytes: &[u8]| Secret {
        name,
        bytes: bytes.to_vec(),
    };
    vec![
        secret("the passphrase", PASSPHRASE.as_bytes()),
        secret("the operator's seed", &seed(&unlocked("operator.age"))),
        secret("the root's seed", &seed(&read("root.key"))),
        secret("the owner's key", line.as_bytes()),
        secret("the data identity", data.to_text().as_bytes()),
    ]
}

#[track_caller]
fn assert_clean(pid: u32, secrets: &[Secret]) {
    let wrong = sweep(pid, secrets);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn p11_a_session_unlocked_on_a_terminal_holds_no_secret_that_is_the_child_s_alone() {
    let world = World::new();
    write_random(&world.path("source/a"), 48);
    let secrets = secrets_of(&world);
    let session = Session::new(world, true).asks(1 << 30, "remote");
    let pty = session.sealing();
    signal(pty.child(), Signal::SIGSTOP);
    let at = format!("/proc/{}/exe", pty.child().id());
    assert!(std::fs::read_link(at).unwrap().ends_with("asl-host"));
    assert_clean(pty.child().id(), &secrets);
    signal(pty.child(), Signal::SIGCONT);
    ends_with(pty, 0);
}

#[test]
fn p11_a_command_unlocked_from_a_file_holds_no_secret_that_is_the_child_s_alone() {
    let world = World::offline().with_domain();
    write_random(&world.path("source/a"), 48);
    let secrets = secrets_of(&world);
    let before = log_length(&world);
    let mut child = world.ingest(&world.path("source")).spawn().unwrap();
    wait_for("something acknowledged", || log_length(&world) > before);
    signal(&child, Signal::SIGSTOP);
    assert_clean(child.id(), &secrets);
    signal(&child, Signal::SIGCONT);
    assert!(child.wait().unwrap().success());
}

#[test]
fn p11_the_sweep_finds_a_secret_that_is_there() {
    let world = World::offline();
    let held = secrets_of(&world);
    let found = sweep(std::process::id(), &held);
    for secret in &held {
        assert!(
            found.iter().any(|at| at.starts_with(secret.name)),
            "{}",
            secret.name
        );
    }
}

/// The owner of a process's files in /proc is root where its memory is kept from core dumps and
/// from debuggers of the same user.
#[test]
fn p11_no_command_s_memory_is_dumped_or_debugged() {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let world = World::offline();
    let root = world.path("root-of-nobody");
    std::fs::create_dir(&root).unwrap();
    std::os::unix::fs::chown(&root, Some(NOBODY), Some(NOBODY)).unwrap();
    for at in [world.dir.path().parent().unwrap(), world.dir.path()] {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::metadata(at).unwrap().permissions().mode() | 0o011;
        std::fs::set_permissions(at, PermissionsExt::from_mode(open)).unwrap();
    }
    let program = world.path("asl-host");
    std::fs::copy(env!("CARGO_BIN_EXE_asl-host"), &program).unwrap();
    let as_nobody = |words: &[&str]| {
        let mut command = detached(&program);
        command.arg("--root").arg(&root).args(words);
        command.uid(NOBODY).gid(NOBODY);
        command
    };
    as_nobody(&["init"]).run().ok();
    let mut serving = as_nobody(&["serve", "--listen", "127.0.0.1:0"]);
    let mut child = serving
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    let at = format!("/proc/{}/environ", child.id());
    let owner = std::fs::metadata(at).map(|m| m.uid());
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(owner.unwrap(), 0, "{line}");
}
