//! A small nasty tree, and what a restore must bring back of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes the tree. Needs root, for owners and devices.
pub fn make(at: &Path) {
    assert!(
        nix::unistd::geteuid().is_root(),
        "THIS TEST MUST RUN AS ROOT: owners and devices of a real system are sealed"
    );
    let dir = |name: &str| std::fs::create_dir_all(at.join(name)).unwrap();
    let file = |name: &[u8], bytes: &[u8]| {
        let path = at.join(OsStr::from_bytes(name));
        std::fs::write(&path, bytes).unwrap();
        path
    };
    dir("etc/deep/deeper/deepest");
    dir("empty");
    dir("home/alice");
    file(b"etc/fstab", b"/dev/sda1 / ext4 defaults 0 1\n");
    file(b"nothing", b"");
    let noise: Vec<u8> = (0..1_500_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    file(b"home/alice/large", &noise);
    file(
        b"home/alice/text",
        &b"the same line again and again\n".repeat(40_000),
    );
    file(b"home/not-\xff\xfe-utf8", b"bytes are names");
    file(
        b"home/new\nline and \x1b[31mcolour",
        b"a terminal must not see this raw",
    );
    file(b"home/ leading space", b"x");
    file("home/\u{e9}t\u{e9}".as_bytes(), b"accents");
    file(b"etc/deep/deeper/deepest/leaf", b"leaf");
    let long = "n".repeat(255);
    file(format!("home/{long}").as_bytes(), b"longest name");

    let first = file(b"home/linked", b"one inode, three names");
    std::fs::hard_link(&first, at.join("etc/linked-again")).unwrap();
    std::fs::hard_link(&first, at.join("home/alice/linked-thrice")).unwrap();

    let sparse = std::fs::File::create(at.join("home/sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    sparse.write_all_at(b"island", 13 << 20).unwrap();

    for (name, to) in [
        ("etc/link", "fstab"),
        ("etc/dangling", "/nowhere/at/all"),
        ("etc/loop", "loop"),
        ("home/up", "../../../../../../etc/shadow"),
    ] {
        std::os::unix::fs::symlink(to, at.join(name)).unwrap();
    }
    let mkfifo = nix::unistd::mkfifo(
        &at.join("home/fifo"),
        nix::sys::stat::Mode::from_bits_truncate(0o640),
    );
    mkfifo.unwrap();
    nix::sys::stat::mknod(
        &at.join("etc/null"),
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::from_bits_truncate(0o666),
        nix::sys::stat::makedev(1, 3),
    )
    .unwrap();

    xattr::set(
        at.join("etc/fstab"),
        "user.origin",
        b"a rescued \x00 machine",
    )
    .unwrap();
    xattr::set(at.join("home"), "user.on-a-directory", b"yes").unwrap();

    let chown = |name: &str, uid, gid| {
        std::os::unix::fs::lchown(at.join(name), Some(uid), Some(gid)).unwrap()
    };
    chown("home/alice", 1000, 1000);
    chown("home/alice/text", 1000, 100);
    chown("etc/link", 4_000_000, 5);
    let chmod = |name: &str, mode| {
        std::fs::set_permissions(at.join(name), std::fs::Permissions::from_mode(mode)).unwrap()
    };
    chmod("home/alice/large", 0o4751);
    chmod("nothing", 0o000);
    chmod("etc/deep", 0o1777);
    chmod("empty", 0o500);

    // Times at the end: making names changes the directories'.
    let times = [
        ("etc/fstab", 1_234_567_890, 123_456_789),
        ("nothing", 0, 1),
        ("home/linked", -86_400, 5),
        ("home/sparse", 4_102_444_800, 999_999_999),
        ("empty", 1_000_000_000, 1),
        ("etc/deep", 1_111_111_111, 111_111_111),
        ("etc/link", 999_999_999, 9),
    ];
    for (name, seconds, nanoseconds) in times {
        let time = nix::sys::time::TimeSpec::new(seconds, nanoseconds);
        nix::sys::stat::utimensat(
            std::fs::File::open("/").unwrap(),
            &at.join(name),
            &time,
            &time,
            nix::sys::stat::UtimensatFlags::NoFollowSymlink,
        )
        .unwrap();
    }
}

/// What is compared of one name.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    device: u64,
    links: u64,
    content: Option<blake3::Hash>,
    target: Option<PathBuf>,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub type Tree = BTreeMap<PathBuf, Seen>;

/// Everything below a directory, and which names share an inode.
pub fn look(at: &Path) -> (Tree, BTreeSet<BTreeSet<PathBuf>>) {
    let mut seen = Tree::new();
    let mut inodes: BTreeMap<u64, BTreeSet<PathBuf>> = BTreeMap::new();
    let mut todo = vec![at.to_path_buf()];
    while let Some(path) = todo.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let short = path.strip_prefix(at).unwrap().to_path_buf();
        if kind.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            inodes.entry(meta.ino()).or_default().insert(short.clone());
        }
        let name = match () {
            () if kind.is_dir() => "directory",
            () if kind.is_file() => "file",
            () if kind.is_symlink() => "symlink",
            () if kind.is_fifo() => "fifo",
            () if kind.is_char_device() => "device",
            () => "other",
        };
        let attributes = xattr::list(&path)
            .map(|names| {
                let value = |n: &std::ffi::OsString| xattr::get(&path, n).unwrap().unwrap();
                names.map(|n| (n.as_bytes().to_vec(), value(&n))).collect()
            })
            .unwrap_or_default();
        let one = Seen {
            kind: name,
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            device: meta.rdev(),
            links: if kind.is_dir() { 0 } else { meta.nlink() },
            content: kind
                .is_file()
                .then(|| blake3::hash(&std::fs::read(&path).unwrap())),
            target: kind
                .is_symlink()
                .then(|| std::fs::read_link(&path).unwrap()),
            attributes: if kind.is_symlink() {
                BTreeMap::new()
            } else {
                attributes
            },
        };
        seen.insert(short, one);
    }
    let shared = inodes
        .into_values()
        .filter(|names| names.len() > 1)
        .collect();
    (seen, shared)
}

/// Asserts that two trees are the same in everything that is compared.
#[track_caller]
pub fn assert_same(before: &Path, after: &Path) {
    let ((one, one_links), (two, two_links)) = (look(before), look(after));
    let names = |t: &Tree| t.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&one), names(&two));
    for (name, seen) in &one {
        assert_eq!(Some(seen), two.get(name), "{}", name.display());
    }
    assert_eq!(one_links, two_links);
}
