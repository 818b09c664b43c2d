//! P6: several processes at once. One wins, the others are told who holds it, and nobody ever
//! unlocks by hand.
//!
//! Found here: two `init` at once left a root whose key was not the one that its `host-id` names;
//! who came second was told no one, or a dead one; a `verify` beside a `gc` told what that removed
//! for damage.

use crate::common::loops::Volume;
use crate::common::{asl, contents, signal, Ran, Run, World};
use crate::life::{along, count, scratch, Dice, Life, Verb};
use asl_host::HostRoot;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Starts as many at once, and waits for all.
fn at_once(commands: impl IntoIterator<Item = Command>) -> Vec<Output> {
    let all: Vec<Child> = commands.into_iter().map(start).collect();
    let wait = |child: Child| child.wait_with_output().unwrap();
    all.into_iter().map(wait).collect()
}

const READERS: [&[&str]; 4] = [
    &["status"],
    &["log", "verify"],
    &["snapshot", "list"],
    &["verify", "--data"],
];

#[test]
fn p6_of_two_writers_one_wins_and_the_other_is_told_who() {
    let races = count(20);
    let home = scratch();
    // Pinned snapshots stay: a thousand races need room.
    let medium = Volume::of(1024, home.path(), "ext4", &home.path().join("target"));
    let mut life = Life::begin(&medium.at.join("asl-host"), home.path());
    life.goes_on();
    let (mut both, mut lost, mut killed) = (0, 0, 0);
    let mut words: BTreeMap<&str, u32> = BTreeMap::new();
    for race in 0..races {
        let first = life.next();
        let second = match first {
            Verb::Seal(tree) => Verb::Seal(tree),
            _ => Verb::Seal(life.change()),
        };
        let verbs = [first, second];
        verbs.iter().for_each(|v| life.told.begins(v));
        let mut children = verbs.each_ref().map(|v| Some(start(life.command(v))));
        let pids = children.each_ref().map(|c| c.as_ref().unwrap().id());
        // Who only reads is refused by nobody, and finds no damage where there is none.
        let reads = READERS[life.dice.below(4) as usize];
        let reader = start(asl(&life.root).words(reads));
        // Each third time one of the two is killed at some moment.
        let victim = (race % 3 == 2).then(|| life.dice.below(2) as usize);
        if let Some(victim) = victim {
            std::thread::sleep(Duration::from_millis(life.dice.below(120)));
            signal(children[victim].as_ref().unwrap(), Signal::SIGKILL);
        }
        let read = Ran::of(reader.wait_with_output().unwrap());
        assert_eq!(
            read.code, 0,
            "race {race}, {verbs:?}, {reads:?}: {}{}",
            read.out, read.err
        );
        let mut losers = 0;
        for n in 0..2 {
            let output = children[n].take().unwrap().wait_with_output().unwrap();
            life.told.heard_all(&verbs[n], &output.stdout);
            if output.status.signal() == Some(9) {
                killed += 1;
                continue;
            }
            let ran = Ran::of(output);
            if ran.code == 0 {
                continue;
            }
            losers += 1;
            let said = ran.ends(6).out;
            let named = format!("process {} (asl-host) holds it", pids[1 - n]);
            let how = [&named, "another process holds it"]
                .iter()
                .position(|w| said.contains(*w))
                .unwrap_or_else(|| panic!("race {race}, {verbs:?}: {said}"));
            *words
                .entry(["by its number", "without one"][how])
                .or_default() += 1;
            let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
            assert!(last["error"]["next"]
                .as_str()
                .unwrap()
                .contains("the lock goes with it"));
        }
        assert!(losers < 2, "race {race}, {verbs:?}: nobody won");
        lost += losers;
        both += u32::from(losers == 0 && victim.is_none());
        if victim.is_some() || race % 10 == 9 {
            // Whoever died left nothing that anybody has to unlock.
            life.goes_on();
        }
        if race % 10 == 9 {
            life.check().unwrap();
        }
        along(race, "races");
    }
    life.check().unwrap();
    assert!(lost > 0, "no two of them ever met");
    println!(
        "{races} races: {lost} lost it ({words:?}), {both} came one after the other, {killed} were killed; {} acknowledgements, 0 lost, 0 wedged",
        life.told.count
    );
}

/// Of several that make the same thing, one made it; the others say that it is there.
fn one_made_it(outputs: Vec<Output>, words: &[&str]) {
    let mut made = 0;
    for output in outputs {
        let ran = Ran::of(output);
        if ran.code == 0 {
            made += 1;
            continue;
        }
        assert!(
            words.iter().any(|w| ran.err.contains(w)) && ran.err.contains("next: "),
            "{} {}",
            ran.code,
            ran.err
        );
    }
    assert_eq!(made, 1);
}

fn no_leftovers(root: &Path) {
    let left: Vec<_> = contents(root).into_keys().collect();
    let left: Vec<_> = left
        .iter()
        .filter(|p| p.to_string_lossy().contains("/.new-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn p6_a_root_and_a_domain_that_several_make_at_once_are_made_once() {
    let races = count(6).div_ceil(2);
    let world = World::offline();
    let mut dice = Dice::new();
    let mut killed = 0;
    for race in 0..races {
        let root = world.path(&format!("root-{race}"));
        let init = || asl(&root).words(["init"]);
        let create = || {
            asl(&root)
                .words(["domain", "create", "--stick"])
                .words([world.stick()])
        };
        if race % 3 == 2 {
            // Killed while it is made, it is made by whoever comes next.
            for command in [init(), create()] {
                let child = start(command);
                std::thread::sleep(Duration::from_millis(dice.below(60)));
                signal(&child, Signal::SIGKILL);
                killed += u32::from(child.wait_with_output().unwrap().status.signal() == Some(9));
                if !root.join("host/host-id").exists() {
                    init().run().ok();
                }
            }
        }
        if !root.join("host/host-id").exists() {
            one_made_it(
                at_once([init(), init(), init()]),
                &["there is one already", "holds it"],
            );
        }
        HostRoot::open(&root).unwrap().identity(None).unwrap();
        let made = asl(&root).words(["domain", "show"]).run().code == 0;
        if !made {
            let words = ["it is here already", "exists already"];
            one_made_it(at_once([create(), create(), create()]), &words);
            if race % 3 != 2 {
                no_leftovers(&root);
            }
        }
        asl(&root).words(["log", "verify"]).run().ok();
        asl(&root).words(["status"]).run().ok();
        std::fs::remove_dir_all(root).unwrap();
    }
    println!("{races} roots and domains made by three at once, {killed} makers killed before");
}

#[test]
fn p6_a_request_that_two_decide_at_once_is_decided_once() {
    let races = count(6).div_ceil(3);
    let world = World::new().with_domain();
    let mail = world.path("mail");
    let mut request = world
        .asl()
        .words(["admission", "request", "--host", "home", "--stick"]);
    request.arg(world.stick()).arg("--passphrase-file");
    request.arg(world.passphrase()).arg("--to").arg(&mail);
    request.run().ok();
    let copy = |from: &Path, to: &Path| {
        let done = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(done.unwrap().success());
    };
    for race in 0..races {
        let keeper = world.path(&format!("keeper-{race}"));
        copy(&world.keeper(), &keeper);
        let mails = ["a", "b"].map(|n| world.path(&format!("mail-{race}-{n}")));
        mails.iter().for_each(|to| copy(&mail, to));
        let decide = |mail: &Path| {
            let mut command = asl(&keeper).words(["admission", "decide", "--json", "--request"]);
            command.arg(mail);
            command
        };
        let said: Vec<Ran> = at_once(mails.iter().map(|m| decide(m)))
            .into_iter()
            .map(Ran::of)
            .collect();
        for ran in &said {
            assert!(
                [0, 6].contains(&ran.code) || ran.out.contains("it is here already"),
                "{} {}",
                ran.out,
                ran.err
            );
        }
        assert!(
            said.iter().any(|r| r.code == 0),
            "{} {}",
            said[0].out,
            said[1].out
        );
        // Whoever asks again hears the one decision.
        let again: Vec<Value> = mails.iter().map(|m| decide(m).run().ok().json()).collect();
        assert_eq!(again[0], again[1]);
        let decisions = mails
            .each_ref()
            .map(|m| std::fs::read(m.join("admission-decision.cbor")).unwrap());
        assert_eq!(decisions[0], decisions[1]);
        let list = asl(&keeper)
            .words(["admission", "list", "--json"])
            .run()
            .ok()
            .json();
        assert_eq!(
            list["domains"].as_array().map(Vec::len).unwrap_or(1),
            1,
            "{list}"
        );
        asl(&keeper).words(["domain", "show"]).run().ok();
        std::fs::remove_dir_all(keeper).unwrap();
    }
    println!("{races} requests decided by two at once");
}
