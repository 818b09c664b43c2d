//! Runs one script: its output to the console and to a log, its input from the console.

use crate::entries::Entry;
use crate::say;
use nix::fcntl::OFlag;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};

/// After a script ended, its output is read on for as long: a service it left behind may hold the pipe.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs it to its end and returns its exit code; `log` gets its output, `log`.return the code.
pub fn run(entry: &Entry, log: &Path, console: &Path) -> Result<i32, String> {
    let mut output =
        File::create(log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
    let ended = spawn(entry, console).and_then(|(mut child, pipe)| {
        let copied = copy(pipe, output.try_clone()?, open_console(console, true));
        let status = child.wait()?;
        let _ = copied.recv_timeout(LAST_WORDS);
        Ok(code_of(status))
    });
    let code = match &ended {
        Ok(code) => *code,
        Err(e) => e.raw_os_error().unwrap_or(1),
    };
    let mut name = log.as_os_str().to_owned();
    name.push(".return");
    std::fs::write(&name, format!("{code}\n"))
        .map_err(|e| format!("cannot write {}: {e}", name.to_string_lossy()))?;
    ended.map_err(|e| {
        let _ = writeln!(output, "cannot run {}: {e}", entry.program);
        format!("cannot run {}: {e}", entry.program)
    })
}

/// The child, and the pipe that its two outputs share.
fn spawn(
    entry: &Entry,
    console: &Path,
) -> std::io::Result<(std::process::Child, std::io::PipeReader)> {
    let (pipe, end) = std::io::pipe()?;
    let mut command = if entry.shell {
        let mut line = entry.program.clone();
        for parameter in &entry.parameters {
            line.push(' ');
            line.push_str(parameter);
        }
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(line);
        shell
    } else {
        let mut program = Command::new(&entry.program);
        program.args(&entry.parameters);
        program
    };
    let input = open_console(console, false).map_or_else(Stdio::null, Stdio::from);
    let child = command
        .current_dir("/")
        .stdin(input)
        .stderr(end.try_clone()?)
        .stdout(end)
        .spawn()?;
    Ok((child, pipe))
}

/// Copies on a thread of its own, which ends with the pipe.
fn copy(mut pipe: std::io::PipeReader, mut log: File, mut console: Option<File>) -> Receiver<()> {
    let (done, wait) = channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            let read = bytes.get(..count).unwrap_or_default();
            // A full file system or a console that is gone must not stop the script.
            let _ = log.write_all(read);
            if let Some(console) = &mut console {
                let _ = console.write_all(read);
            }
        }
        let _ = done.send(());
    });
    wait
}

fn code_of(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The console, never as the controlling terminal.
fn open_console(console: &Path, write: bool) -> Option<File> {
    let mut options = std::fs::OpenOptions::new();
    options
        .read(!write)
        .write(write)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(console)
        .ok()
}

/// Waits for Enter on the console, for so many seconds or for as long as it takes.
pub fn wait_for_enter(seconds: Option<u64>, console: &Path) {
    match seconds {
        Some(seconds) => say(&format!("Enter goes on, else it goes on in {seconds} s")),
        None => say("Press Enter to go on"),
    }
    let Some(input) = open_console(console, false) else {
        std::thread::sleep(Duration::from_secs(seconds.unwrap_or(30)));
        return;
    };
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(
            &mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)],
            timeout,
        ) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return,
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => {
                let _ = BufReader::new(input).read_until(b'\n', &mut Vec::new());
                return;
            }
            Err(_) => return,
        }
    }
}

/// Held by each test that writes or starts a program: while one test writes a file, the child that
/// another starts beside it would hold it open, and it could not be run.
#[cfg(test)]
pub(crate) static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::{old_style, Wait};

    fn shell(line: &str) -> Entry {
        Entry {
            shell: true,
            wait: Wait::Never,
            ..old_style(Path::new(line), true)
        }
    }

    fn try_out(entry: &Entry) -> (Result<i32, String>, String, String) {
        let _alone = ONE_AT_A_TIME.lock();
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("it");
        let ended = run(entry, &log, Path::new("/dev/null"));
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        (ended, read("it"), read("it.return"))
    }

    #[test]
    fn output_and_exit_code_are_kept() {
        assert_eq!(
            try_out(&shell("echo out; echo err >&2; exit 3")),
            (Ok(3), "out\nerr\n".into(), "3\n".into())
        );
        assert_eq!(
            try_out(&shell("kill -9 $$")),
            (Ok(137), String::new(), "137\n".into())
        );
    }

    #[test]
    fn parameters_stay_apart_without_a_shell_and_are_its_line_with_one() {
        let mut entry = Entry {
            parameters: vec!["%s|".into(), "a b".into(), "$HOME".into()],
            ..old_style(Path::new("printf"), true)
        };
        assert_eq!(try_out(&entry).1, "a b|$HOME|");
        entry.shell = true;
        entry.parameters = vec!["'%s|'".into(), "a b".into(), "$((1 + 1))".into()];
        assert_eq!(try_out(&entry).1, "a|b|2|");
    }

    #[test]
    fn a_program_that_is_not_there_or_is_none_is_told() {
        let (ended, log, code) = try_out(&old_style(Path::new("/no/such"), true));
        assert!(ended.is_err_and(|e| e.contains("cannot run /no/such")));
        assert!(log.contains("cannot run"), "{log}");
        assert_eq!(code, "2\n");
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text");
        std::fs::write(&text, "no program").unwrap();
        std::fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        assert!(try_out(&old_style(&text, true)).0.is_err());
    }

    #[test]
    fn a_service_left_behind_does_not_hold_the_boot() {
        let started = Instant::now();
        let (ended, log, _) = try_out(&shell("sleep 30 & echo started"));
        assert_eq!((ended, log), (Ok(0), "started\n".into()));
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_wait_ends_by_itself_or_with_the_input() {
        let started = Instant::now();
        wait_for_enter(Some(30), Path::new("/dev/null"));
        wait_for_enter(None, Path::new("/dev/null"));
        wait_for_enter(Some(0), Path::new("/no/such"));
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
