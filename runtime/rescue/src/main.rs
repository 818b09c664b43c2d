//! The one static binary `asl-host`: command line and rescue TUI.

mod appliance;
mod cli;
mod commands;
mod out;
mod progress;
mod system;
mod unlock;

use clap::Parser;
use std::process::ExitCode;

// musl's own allocator costs the chunker half its speed (dependencies.md, section 4).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = parse();
    let out = out::Out::new(cli.common.json);
    let ended = system::catch_signals().and_then(|()| commands::run(cli, out));
    match ended {
        Ok(code) => code,
        Err(e) => {
            out.error(&e);
            ExitCode::from(e.exit_code())
        }
    }
}

/// The command line; called as `asl-rescue`, the program is `asl-host rescue`.
fn parse() -> cli::Cli {
    let mut words: Vec<_> = std::env::args_os().collect();
    let name = words.first().map(std::path::PathBuf::from);
    if name.as_deref().and_then(std::path::Path::file_name) == Some("asl-rescue".as_ref()) {
        words.insert(1, "rescue".into());
    }
    cli::Cli::parse_from(words)
}
