//! The one static binary `asl-host`: command line and rescue TUI.

mod appliance;
mod cli;
mod commands;
mod lines;
mod names;
mod out;
mod progress;
mod prompt;
mod qr;
mod system;
mod terminal;
mod unlock;

use asl_core::{Error, Kind};
use clap::Parser;
use std::process::ExitCode;

// musl's own allocator costs the chunker half its speed (dependencies.md, section 4).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of `mi_option_purge_delay` in mimalloc.h, which the crate gives no name.
const PURGE_DELAY: i32 = 15;

/// Has what is freed go back to the system at once, and not some time later: blocks of megabytes
/// come and go, and a rescue machine has little memory.
fn give_memory_back() {
    // SAFETY: called before any other thread is begun, as the function asks; it changes one number.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) }
}

fn main() -> ExitCode {
    give_memory_back();
    let cli = parse();
    let out = out::Out::new(cli.common.json);
    let ended = system::guard_memory()
        .and_then(|()| system::catch_signals())
        .and_then(|()| commands::run(cli, out));
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
    let refused = match cli::Cli::try_parse_from(&words) {
        Ok(cli) => return cli,
        Err(e) => e,
    };
    // What asks for JSON gets it for this mistake too; help and version stay text.
    if refused.use_stderr() && words.iter().any(|w| w == "--json") {
        let text = refused.to_string();
        let why = text.lines().next().unwrap_or_default();
        let why = why.strip_prefix("error: ").unwrap_or(why);
        let e = Error::new(Kind::Usage, "read", "the command line", why)
            .next("see `asl-host --help`, or the command's own --help");
        out::Out::new(true).error(&e);
        std::process::exit(i32::from(e.exit_code()));
    }
    refused.exit()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_freed_goes_back_to_the_system_at_once() {
        super::give_memory_back();
        let held = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
            let pages = text
                .split_whitespace()
                .nth(1)
                .and_then(|n| n.parse::<u64>().ok());
            pages.unwrap_or_default() * 4096
        };
        let before = held();
        let blocks: Vec<Vec<u8>> = (0..8).map(|_| vec![7; 16 << 20]).collect();
        let (full, sum) = (held(), blocks.iter().map(Vec::len).sum::<usize>());
        drop(blocks);
        let after = held();
        assert!(full >= before + (sum as u64) / 2, "{before} {full}");
        assert!(after < before + (sum as u64) / 4, "{before} {full} {after}");
    }
}
