//! `image verify`: a medium that is not what it was made as is told, file by file.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use serde_json::{json, Map, Value};
use sha2::{Digest, Sha512};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

const MODULE: &str = "sysresccd/00-asl-host.srm";
const AIROOTFS: &str = "sysresccd/x86_64/airootfs.sfs";
const KERNEL: &str = "sysresccd/boot/x86_64/vmlinuz";
const MENU: &str = "boot/grub/custom.cfg";
const YAML: &str = "sysrescue.d/500-asl.yaml";

/// A medium with one file of every kind, and its asl-image.json as the remaster writes it.
fn medium() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (n, path) in [MODULE, AIROOTFS, KERNEL, MENU, YAML].iter().enumerate() {
        let to = dir.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, vec![n as u8; 3_000_000 + n]).unwrap();
    }
    write_provenance(dir.path(), |_| ());
    dir
}

fn write_provenance(dir: &Path, change: impl Fn(&mut Map<String, Value>)) {
    let mut files = Map::new();
    for path in [MODULE, AIROOTFS, KERNEL, MENU, YAML] {
        let sum = Sha512::digest(fs::read(dir.join(path)).unwrap());
        let hex: String = sum.iter().map(|b| format!("{b:02x}")).collect();
        files.insert(path.into(), hex.into());
    }
    let document = json!({
        "format": "asl-image/2", "base": { "sha512": "", "version": "12.00" },
        "label": "RESCUE1200", "recipe_sha256": "00", "epoch": 1_700_000_000, "files": files,
    });
    let mut document = document.as_object().unwrap().clone();
    change(&mut document);
    let text = serde_json::to_string_pretty(&document).unwrap();
    fs::write(dir.join("sysrescue.d/asl-image.json"), text).unwrap();
}

fn verify(medium: &Path, more: &[&str]) -> Ran {
    asl(Path::new("/nonexistent"))
        .words(["image", "verify", "--medium"])
        .words([medium])
        .words(more.iter().copied())
        .run()
}

/// The problems of a damaged medium, as JSON has them; the text names them too.
#[track_caller]
fn problems(medium: &Path) -> Map<String, Value> {
    let text = verify(medium, &[]).ends(4);
    let said = verify(medium, &["--json"]).ends(4).json();
    assert_eq!(said["sound"], false);
    let problems = said["problems"].as_object().unwrap().clone();
    for (path, what) in &problems {
        let line = format!("DAMAGED  {path}: {}", what.as_str().unwrap());
        assert!(text.out.contains(&line), "{}", text.out);
    }
    assert!(text.out.contains("NOT as they were made"), "{}", text.out);
    problems
}

#[test]
fn a_medium_that_is_as_it_was_made_is_said_to_be_so_and_what_that_does_not_prove() {
    let medium = medium();
    let text = verify(medium.path(), &[]).ok().out;
    assert!(
        text.contains("5 files, 15.00 MB read: all as they were made"),
        "{text}"
    );
    assert!(
        text.contains("Image RESCUE1200, on base version 12.00, as of 2023-11-14"),
        "{text}"
    );
    assert!(text.contains("not an attacker"), "{text}");
    let said = verify(medium.path(), &["--json"]).ok().json();
    assert_eq!(said["sound"], true);
    assert_eq!(said["checked"], 5);
    assert_eq!(said["bytes"], 15_000_010);
    let words = said["image"]["words"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 12);
    assert!(text.contains(words), "{text}");
}

#[test]
fn one_changed_byte_of_any_file_is_damage_and_the_file_is_named() {
    for path in [MODULE, AIROOTFS, KERNEL, MENU, YAML] {
        for at in [0, 1_500_000, 2_999_999] {
            let medium = medium();
            let file = medium.path().join(path);
            let mut bytes = fs::read(&file).unwrap();
            bytes[at] ^= 0x10;
            fs::write(&file, bytes).unwrap();
            let found = problems(medium.path());
            assert_eq!(found.keys().collect::<Vec<_>>(), [path]);
            assert_eq!(found[path], "differs");
        }
    }
}

#[test]
fn a_file_that_is_missing_short_long_or_no_file_is_damage() {
    type Spoil = fn(&Path);
    let spoil: [(&str, Spoil); 6] = [
        ("cannot be read", |f| fs::remove_file(f).unwrap()),
        ("differs", |f| truncate(f, 2_000_000)),
        ("differs", |f| truncate(f, 4_000_000)),
        ("cannot be read", |f| {
            fs::remove_file(f).unwrap();
            fs::create_dir(f).unwrap();
        }),
        // The same bytes, but elsewhere than on the medium.
        ("cannot be read", |f| {
            let other = f.with_extension("other");
            fs::rename(f, &other).unwrap();
            symlink(&other, f).unwrap();
        }),
        // Opening a pipe would wait for ever.
        ("cannot be read", |f| {
            fs::remove_file(f).unwrap();
            nix::unistd::mkfifo(f, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
    ];
    for (what, spoil) in spoil {
        let medium = medium();
        spoil(&medium.path().join(AIROOTFS));
        let found = problems(medium.path());
        assert_eq!(found.len(), 1);
        assert!(
            found[AIROOTFS].as_str().unwrap().starts_with(what),
            "{found:?}"
        );
    }
}

fn truncate(file: &Path, len: u64) {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(len).unwrap();
}

#[test]
fn all_damage_is_found_not_only_the_first() {
    let medium = medium();
    fs::write(medium.path().join(KERNEL), "x").unwrap();
    fs::remove_file(medium.path().join(MENU)).unwrap();
    assert_eq!(problems(medium.path()).len(), 2);
}

#[test]
fn what_the_image_was_made_without_is_named_and_is_no_damage() {
    let medium = medium();
    for path in [
        "sysrescue.d/900-mine.yaml",
        "autorun/autorun1",
        "sysresccd/00-a.srm",
    ] {
        let to = medium.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, "mine").unwrap();
    }
    symlink("/", medium.path().join("link\u{1b}[2J")).unwrap();
    fs::create_dir(medium.path().join("isolinux")).unwrap();
    fs::write(medium.path().join("isolinux/isolinux.bin"), "patched").unwrap();
    let text = verify(medium.path(), &[]).ok().out;
    assert!(
        text.contains("not part of the image: sysresccd/00-a.srm"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
    let said = verify(medium.path(), &["--json"]).ok().json();
    let added = json!([
        "autorun/autorun1",
        "link?[2J",
        "sysresccd/00-a.srm",
        "sysrescue.d/900-mine.yaml"
    ]);
    assert_eq!(said["added"], added);
    for n in 0..40 {
        fs::write(medium.path().join(format!("photo{n}")), "mine").unwrap();
    }
    let text = verify(medium.path(), &[]).ok().out;
    assert!(text.contains("not part of the image: 32 more"), "{text}");
}

#[test]
fn a_copy_in_ram_is_checked_where_its_files_lie_and_what_it_lacks_is_said() {
    let medium = medium();
    let root = medium.path();
    for path in [MODULE, AIROOTFS] {
        fs::rename(root.join(path), root.join(path.rsplit('/').next().unwrap())).unwrap();
    }
    for gone in ["sysresccd", "boot"] {
        fs::remove_dir_all(root.join(gone)).unwrap();
    }
    let text = verify(root, &[]).ok().out;
    assert!(text.contains("2 files not checked"), "{text}");
    let said = verify(root, &["--json"]).ok().json();
    assert_eq!(said["out_of_reach"], json!([MENU, KERNEL]));
    assert_eq!(said["checked"], 3);
    fs::write(root.join("00-asl-host.srm"), "another").unwrap();
    assert_eq!(problems(root)[MODULE], "differs");
}

#[test]
fn what_is_no_medium_of_ours_is_refused_with_what_to_do() {
    let nothing = tempfile::tempdir().unwrap();
    verify(nothing.path(), &[]).refused(1, &["asl-image.json", "next:"]);
    verify(&nothing.path().join("not-there"), &[]).refused(1, &["next:"]);
    let medium = medium();
    type Change = fn(&mut Map<String, Value>);
    let changes: [Change; 5] = [
        |d| drop(d.insert("format".into(), "asl-image/3".into())),
        |d| drop(d.remove("files")),
        |d| drop(d["files"].as_object_mut().unwrap().remove(MODULE)),
        |d| {
            drop(
                d["files"]
                    .as_object_mut()
                    .unwrap()
                    .insert("../../etc/shadow".into(), "00".repeat(64).into()),
            )
        },
        |d| {
            drop(
                d["files"]
                    .as_object_mut()
                    .unwrap()
                    .insert(KERNEL.into(), "12".into()),
            )
        },
    ];
    for change in changes {
        write_provenance(medium.path(), change);
        verify(medium.path(), &[]).refused(1, &["asl-image.json", "next:"]);
    }
    let document = medium.path().join("sysrescue.d/asl-image.json");
    for bytes in [&b"{"[..], b"", b"\xff\xfe", b"null"] {
        fs::write(&document, bytes).unwrap();
        verify(medium.path(), &[]).refused(1, &["asl-image.json", "next:"]);
    }
    truncate(&document, 1 << 40);
    verify(medium.path(), &[]).refused(1, &["reasonable size"]);
    fs::remove_file(&document).unwrap();
    symlink("/dev/zero", &document).unwrap();
    verify(medium.path(), &[]).refused(1, &["reasonable size"]);
}

#[test]
fn a_system_that_is_no_appliance_is_told_how_to_check_a_medium() {
    if Path::new("/run/archiso/sfs").exists() {
        panic!("this test is not for a booted appliance");
    }
    asl(Path::new("/nonexistent"))
        .words(["image", "verify"])
        .run()
        .refused(1, &["SystemRescue's layout", "--medium"]);
}

#[test]
fn an_interruption_ends_the_check_at_once() {
    let medium = medium();
    // Minutes of reading, and no room: a file of nothing but a hole.
    truncate(&medium.path().join(AIROOTFS), 1 << 40);
    let child = asl(Path::new("/nonexistent"))
        .words(["image", "verify", "--medium"])
        .args([medium.path()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    Ran::of(child.wait_with_output().unwrap()).refused(130, &["interrupted", "next:"]);
}
