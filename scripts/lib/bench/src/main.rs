//! The tools of `scripts/bench`: one program, so that it is built once.
//!
//! `asl-bench data SET DIR SHARE` makes a data set, `asl-bench probe SOURCE OUT` runs the probe,
//! `asl-bench commits DIR GROUP COUNT` commits small pieces,
//! `asl-bench relock KEYS WORDS` makes keys whose passphrase costs no time, and
//! `asl-bench report ROWS FACTS [--json]` makes tables of what was measured.

mod commits;
mod content;
mod data;
mod goals;
mod probe;
mod relock;
mod report;
mod rows;

use anyhow::{bail, Result};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: asl-bench data home|home-v2|small|big|dup DIR SHARE
       asl-bench probe SOURCE OUT
       asl-bench commits DIR GROUP COUNT
       asl-bench relock KEYS WORDS
       asl-bench report ROWS FACTS [--json]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("asl-bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        ["data", set, dir, share] => data::make(set, Path::new(dir), share.parse()?),
        ["probe", source, out] => probe::run(Path::new(source), Path::new(out)),
        ["commits", dir, group, count] => {
            commits::run(Path::new(dir), group.parse()?, count.parse()?)
        }
        ["relock", keys, words] => relock::run(Path::new(keys), Path::new(words)),
        ["report", rows, facts] => report::print(Path::new(rows), Path::new(facts), false),
        ["report", rows, facts, "--json"] => report::print(Path::new(rows), Path::new(facts), true),
        _ => bail!("{USAGE}"),
    }
}
