//! What the base does of SystemRescue's contract at boot.
//!
//! The initramfs calls `merge` and `get`; the units `sysrescue-initialize-prenet`,
//! `sysrescue-initialize-whilenet` and `sysrescue-autorun` call the command of their name.
//! Only this base has it: the official medium brings its own. Design: image.md sections 2, 4, 7.

mod autorun;
mod cmdline;
mod config;
mod entries;
mod keys;
mod machine;
mod merge;
mod prenet;
mod script;
mod whilenet;
mod yaml;

use config::Config;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
Usage: asl-base-init COMMAND

  merge [--medium DIR] [--cmdline FILE] [--to DIR]
              merges DIR/sysrescue.d/*.yaml, what sysrescuecfg= names and the kernel
              command line into sysrescue-effective-config.json
  get KEY     says a value of the scope global: y, n or the text; nothing when it is not set
  prenet      what must be done before the network: firewall, sysctl, hosts
  whilenet    the rest: keymap, passwords, logins, time zone, certificates, SSH keys
  autorun     runs the autorun scripts, after the network and before the logins

Without --medium, --cmdline and --to: /run/archiso/bootmnt, /proc/cmdline and
/run/archiso/config. What is not understood is told and left out. Exit 0 when all was
done, 1 when something was not, 2 for wrong use; autorun: the number of scripts that failed.

Example: asl-base-init merge --medium /mnt --cmdline /dev/null --to /tmp/config
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let failures = match words.as_slice() {
        ["-h" | "--help"] => return print(USAGE),
        ["--version"] => return print(concat!("asl-base-init ", env!("CARGO_PKG_VERSION"), "\n")),
        ["merge", rest @ ..] => match merge_places(rest) {
            Some(places) => merge::run(&places),
            None => return wrong_use(),
        },
        ["get", key] => return get(key),
        ["prenet"] => with_config(prenet::run),
        ["whilenet"] => with_config(whilenet::run),
        ["autorun"] => with_config(autorun::run),
        _ => return wrong_use(),
    };
    // Above 125 an exit code means something else to shells.
    ExitCode::from(u8::try_from(failures.min(125)).unwrap_or(125))
}

/// One line for the person who reads the boot messages or the journal.
fn say(text: &str) {
    eprintln!("{text}");
}

fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn wrong_use() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}

fn merge_places(words: &[&str]) -> Option<merge::Places> {
    let mut places = merge::Places {
        medium: PathBuf::from("/run/archiso/bootmnt"),
        cmdline: PathBuf::from("/proc/cmdline"),
        to: PathBuf::from(config::FOLDER),
    };
    for pair in words.chunks(2) {
        match pair {
            ["--medium", at] => places.medium = PathBuf::from(at),
            ["--cmdline", at] => places.cmdline = PathBuf::from(at),
            ["--to", at] => places.to = PathBuf::from(at),
            _ => return None,
        }
    }
    Some(places)
}

fn get(key: &str) -> ExitCode {
    match Config::read(Path::new(config::FOLDER)) {
        Ok(config) => print(&config.said("global", key)),
        Err(why) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}

fn with_config(work: fn(&Config) -> usize) -> usize {
    match Config::read(Path::new(config::FOLDER)) {
        Ok(config) => work(&config),
        Err(why) => {
            say(&why);
            1
        }
    }
}
