//! `man` and `completions`, made from the same table that reads the command line.

use crate::cli::{Cli, Completions, Man};
use crate::lines::Lines;
use crate::out::Out;
use asl_core::{Error, Kind, Result};
use clap::{Command, CommandFactory};
use serde_json::json;
use std::path::Path;

/// The manual's section: programs.
const SECTION: &str = "1";

pub fn man(args: &Man, out: Out) -> Result<()> {
    let mut table = Cli::command();
    table.build();
    if let Some(dir) = &args.to {
        let mut pages = Vec::new();
        collect(&table, &mut pages)?;
        return write_all(&pages, dir, out);
    }
    let mut found = &table;
    for word in &args.command {
        found = found
            .get_subcommands()
            .find(|c| c.get_name() == word && !c.is_hide_set())
            .ok_or_else(|| {
                Error::new(
                    Kind::Usage,
                    "print the page of",
                    args.command.join(" "),
                    "there is no such command",
                )
                .next("see `asl-host --help`")
            })?;
    }
    print("page", &page(found)?.1, out)
}

pub fn completions(args: &Completions, out: Out) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "asl-host", &mut script);
    print("script", &script, out)
}

fn print(key: &str, text: &[u8], out: Out) -> Result<()> {
    let mut lines = Lines::new(out);
    let printed = match lines.is_json() {
        true => lines.object(&json!({ key: String::from_utf8_lossy(text) })),
        false => lines.raw(text),
    };
    lines.end(printed).map(drop)
}

/// A command's page: the file's name, and its text.
fn page(command: &Command) -> Result<(String, Vec<u8>)> {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .replace(' ', "-");
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .section(SECTION)
        .render(&mut text)
        .map_err(|e| Error::new(Kind::Io, "write", &name, e))?;
    Ok((format!("{name}.{SECTION}"), text))
}

/// The pages of a command and of all below it, but for what people do not call.
fn collect(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    pages.push(page(command)?);
    let shown = |c: &&Command| !c.is_hide_set() && c.get_name() != "help";
    command
        .get_subcommands()
        .filter(shown)
        .try_for_each(|below| collect(below, pages))
}

fn write_all(pages: &[(String, Vec<u8>)], dir: &Path, out: Out) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::new(Kind::Io, "make", dir.display(), e))?;
    for (name, text) in pages {
        asl_backend::files::replace(&dir.join(name), text, 0o644)?;
    }
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    out.result(
        &format!("Wrote {} pages into {}.", pages.len(), dir.display()),
        &json!({ "directory": dir, "pages": names }),
    )
}
