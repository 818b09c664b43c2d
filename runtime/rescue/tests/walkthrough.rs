//! The walkthrough is true: every line of it runs, in the order in which a person reads it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../WALKTHROUGH.md");

/// One line of a block: the command, and the exit code it must end with.
struct Line {
    command: &'static str,
    code: i32,
}

/// The chapters with their lines; what is no block is for people alone.
fn chapters() -> Vec<(&'static str, Vec<Line>)> {
    let mut chapters: Vec<(&str, Vec<Line>)> = Vec::new();
    let mut within = false;
    for text in PAGE.lines() {
        if let Some(heading) = text.strip_prefix("## ") {
            chapters.push((heading, Vec::new()));
        } else if text.starts_with("```") {
            within = !within;
        } else if within && !text.trim().is_empty() {
            let (command, code) = match text.rsplit_once("# exit ") {
                Some((command, code)) => (command.trim(), code.trim().parse().unwrap()),
                None => (text, 0),
            };
            chapters.last_mut().unwrap().1.push(Line { command, code });
        }
    }
    chapters
}

fn run(line: &str, dir: &Path) -> Ran {
    let program = Path::new(env!("CARGO_BIN_EXE_asl-host")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command: Command = detached("sh");
    command
        .args(["-c", line])
        .current_dir(dir)
        .env("ASL_HOST_ROOT", dir.join("home"))
        .env("PATH", format!("{}:{path}", program.display()));
    Ran::of(command.output().unwrap())
}

#[test]
fn every_line_of_the_walkthrough_does_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos/2026");
    std::fs::create_dir_all(&photos).unwrap();
    for n in 0..20u8 {
        std::fs::write(
            photos.join(format!("{n}.jpg")),
            vec![n; 3000 + usize::from(n)],
        )
        .unwrap();
    }
    std::fs::write(dir.path().join("pass"), format!("{PASSPHRASE}\n")).unwrap();
    for medium in ["stick", "new-stick"] {
        std::fs::create_dir(dir.path().join(medium)).unwrap();
    }
    let (mut lines, mut refused) = (0, 0);
    for (chapter, commands) in chapters() {
        for Line { command, code } in commands {
            let ran = run(command, dir.path());
            assert_eq!(
                ran.code, code,
                "{chapter}: {command}\nout: {}\nerr: {}",
                ran.out, ran.err
            );
            // What is refused says why, and what to do.
            assert!(
                code == 0 || ran.err.contains("next: "),
                "{command}: {}",
                ran.err
            );
            lines += 1;
            refused += usize::from(code != 0);
        }
    }
    println!("{lines} lines of the walkthrough, {refused} of them refused as they say");
    assert!(lines > 60 && refused >= 4, "{lines} {refused}");
}
