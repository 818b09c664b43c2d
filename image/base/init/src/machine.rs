//! The few ways in which the units change the machine, and the words they accept.

use crate::say;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// Counts what failed, and says each.
#[derive(Default)]
pub struct Failures(pub usize);

impl Failures {
    /// Hands on what worked.
    pub fn of<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|why| self.add(&why)).ok()
    }

    pub fn add(&mut self, why: &str) {
        say(why);
        self.0 += 1;
    }
}

/// Runs a program to its end, with `input` on its standard input.
pub fn run(program: &str, args: &[&str], input: &str) -> Result<(), String> {
    let said = || format!("{program} {}", args.join(" "));
    let mut command = Command::new(program);
    let mut child = command
        .args(args)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run {}: {e}", said()))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that did not read its input says so by its exit code.
        let _ = pipe.write_all(input.as_bytes());
    }
    let status = child
        .wait()
        .map_err(|e| format!("cannot wait for {}: {e}", said()))?;
    status
        .success()
        .then_some(())
        .ok_or_else(|| format!("{} failed: {status}", said()))
}

/// Adds lines to a file; it and its folder are made with these modes when they are not there.
pub fn append(path: &str, lines: &[String], mode: u32, folder_mode: u32) -> Result<(), String> {
    let add = || {
        if let Some(folder) = Path::new(path).parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(folder_mode)
                .create(folder)?;
        }
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(mode)
            .open(path)?;
        file.write_all(
            lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>()
                .as_bytes(),
        )
    };
    if lines.is_empty() {
        return Ok(());
    }
    add().map_err(|e| format!("cannot add to {path}: {e}"))
}

/// A word of these characters: nothing in it means anything to a shell, a path or a file's syntax.
pub fn is_word(text: &str, beyond: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '.'])
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-' || beyond.contains(c))
}

/// One line of printable text.
pub fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_nothing_that_means_anything() {
        assert!(
            is_word("de-latin1", "")
                && is_word("net.ipv4.ip_forward", ".")
                && is_word("Europe/Vienna", "/")
        );
        for text in ["", "-x", "../etc", ".x", "a b", "a;b", "a\nb", "a=b", "ü"] {
            assert!(!is_word(text, "./"), "{text}");
        }
        assert!(
            is_line("ssh-ed25519 AAAA me") && !is_line(" ") && !is_line("a\nb") && !is_line("a\0")
        );
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_is_told() {
        assert_eq!(run("true", &[], "unread"), Ok(()));
        assert!(run("false", &["x"], "").is_err_and(|e| e.starts_with("false x failed")));
        assert!(run("/no/such", &[], "").is_err_and(|e| e.contains("cannot run /no/such")));
    }

    #[test]
    fn lines_are_added_and_a_new_file_has_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ssh/keys");
        let text = path.to_str().unwrap();
        append(text, &[], 0o600, 0o700).unwrap();
        assert!(!path.exists());
        append(text, &["a".into()], 0o600, 0o700).unwrap();
        append(text, &["b".into()], 0o600, 0o700).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            path.parent()
                .unwrap()
                .metadata()
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o700
        );
    }
}
