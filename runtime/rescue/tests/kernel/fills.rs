//! P6: a medium that is full to the last byte wedges nobody.
//!
//! ext4 of 64 MiB; xfs of 320, since mkfs.xfs makes none below 300.

use crate::common::loops::{tool, Volume};
use crate::common::{asl, write_random, Ran, Run};
use crate::life::{along, count, scratch, Life, Verb};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Leaves so many free megabytes, by a stranger's file.
fn ballast(medium: &Volume, leaves: u64) -> PathBuf {
    let free = nix::sys::statvfs::statvfs(&medium.at).unwrap();
    let free = free.blocks_available() * free.fragment_size();
    let path = medium.at.join("ballast");
    let mut file = File::create(&path).unwrap();
    let chunk = vec![0x5a; 1 << 20];
    for _ in leaves..(free >> 20) {
        file.write_all(&chunk).unwrap();
    }
    path
}

/// How the medium gets full.
#[derive(Debug, PartialEq)]
enum How {
    /// A stranger fills it while nothing goes on.
    Stranger,
    /// It is sealed into until nothing fits.
    Sealing,
    /// Both at once.
    Both,
}

/// Seals more than there is room for; that is told, and nothing else.
fn overfill(life: &mut Life, medium: &Volume, how: &How) -> Option<PathBuf> {
    let more = life.source().join("more");
    let verb = Verb::Seal(life.change());
    // Root may use what ext4 keeps from others, too.
    write_random(&more, 16);
    let mut command = life.command(&verb);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let filler = (*how == How::Both).then(|| {
        let wait = life.dice.below(150);
        std::thread::sleep(std::time::Duration::from_millis(wait));
        medium.fill()
    });
    let ran = Ran::of(child.wait_with_output().unwrap());
    std::fs::remove_file(more).unwrap();
    let commits = ran.out.lines().filter(|l| l.contains("\"commit\":"));
    commits.for_each(|line| life.told.heard(&Verb::Gc, line));
    let last = ran.out.lines().last().unwrap_or_default();
    assert!(
        ran.code == 1 && last.contains("no space is left"),
        "{how:?} {}: {last}",
        ran.code
    );
    filler
}

/// What has to work where not one byte fits any more.
fn works_when_full(life: &mut Life) -> Result<(), String> {
    let root = life.root.clone();
    let run = |words: &[&str]| {
        let ran = asl(&root).words(words).run();
        match ran.code {
            0 => Ok(()),
            code => Err(format!("{words:?} ends with {code}: {}", ran.err)),
        }
    };
    run(&["status"])?;
    run(&["lease", "show"])?;
    run(&["domain", "list"])?;
    let newest = life.told.snapshots.keys().next_back().unwrap().clone();
    run(&["snapshot", "pin", &newest, "--why", "the medium is full"])?;
    run(&["snapshot", "unpin", &newest])?;
    life.check()?;
    let old: Vec<String> = life.told.snapshots.keys().rev().skip(1).cloned().collect();
    let forget = Verb::Forget(old);
    life.told.begins(&forget);
    if let Verb::Forget(old) = &forget {
        if !old.is_empty() {
            let words: Vec<&str> = ["snapshot", "forget"]
                .into_iter()
                .chain(old.iter().map(String::as_str))
                .collect();
            run(&words)?;
        }
    }
    run(&["gc", "--unfinished"])?;
    run(&["repair"])?;
    life.check()
}

fn fill_and_go_on(fstype: &'static str, fills: usize) -> (u64, usize) {
    let home = scratch();
    let medium = Volume::of(64, home.path(), fstype, &home.path().join("target"));
    let mut life = Life::begin(&medium.at.join("asl-host"), home.path());
    let reserve = |root: &Path| root.join("host/reserve").exists();
    assert!(reserve(&life.root));
    life.goes_on();
    let mut let_go = 0;
    let mut heavy = ballast(&medium, 7);
    for n in 0..fills {
        life.goes_on();
        let how = match life.dice.below(3) {
            0 => How::Stranger,
            1 => How::Sealing,
            _ => How::Both,
        };
        let filler = match how {
            How::Stranger => Some(medium.fill()),
            _ => overfill(&mut life, &medium, &how),
        };
        if let Err(wedged) = works_when_full(&mut life) {
            panic!("{fstype}, fill {n} ({how:?}): {wedged}");
        }
        let_go += usize::from(!reserve(&life.root));
        // A little room, and sealing goes on.
        filler.map(std::fs::remove_file).transpose().unwrap();
        life.goes_on();
        // Much room, and the reserve is there again.
        if !reserve(&life.root) {
            std::fs::remove_file(&heavy).unwrap();
            life.goes_on();
            assert!(
                reserve(&life.root),
                "{fstype}, fill {n}: no reserve was made again"
            );
            heavy = ballast(&medium, 7);
        }
        life.check().unwrap();
        along(n, "fills");
    }
    (life.told.count, let_go)
}

/// The proof that it is the reserve which does it.
#[test]
fn p6_without_its_reserve_a_full_medium_is_wedged_and_says_so() {
    let home = scratch();
    let medium = Volume::of(64, home.path(), "ext4", &home.path().join("target"));
    let mut life = Life::begin(&medium.at.join("asl-host"), home.path());
    life.goes_on();
    std::fs::remove_file(life.root.join("host/reserve")).unwrap();
    let filler = medium.fill();
    let wedged = works_when_full(&mut life).unwrap_err();
    assert!(wedged.contains("no space is left"), "{wedged}");
    std::fs::remove_file(filler).unwrap();
    works_when_full(&mut life).unwrap();
}

/// A quota is met like a full medium: the same words, the same reserve.
#[test]
fn p6_a_quota_on_btrfs_wedges_nobody() {
    let home = scratch();
    let medium = Volume::of(256, home.path(), "btrfs", &home.path().join("target"));
    let mut life = Life::begin(&medium.at.join("asl-host"), home.path());
    life.goes_on();
    life.goes_on();
    let at = medium.at.to_str().unwrap();
    tool(&["btrfs", "quota", "enable", at]);
    tool(&["btrfs", "quota", "rescan", "-w", at]);
    tool(&["btrfs", "qgroup", "limit", "16M", "0/5", at]);
    let none = overfill(&mut life, &medium, &How::Sealing);
    assert!(none.is_none());
    works_when_full(&mut life).unwrap();
    life.goes_on();
    life.check().unwrap();
}

#[test]
fn p6_a_medium_filled_to_the_last_byte_wedges_nobody() {
    let each = count(4).div_ceil(2);
    for fstype in ["ext4", "xfs"] {
        let (told, let_go) = fill_and_go_on(fstype, each);
        println!("{fstype}: {each} fills, the reserve was needed {let_go} times, {told} acknowledgements, 0 lost, 0 wedged");
    }
}
