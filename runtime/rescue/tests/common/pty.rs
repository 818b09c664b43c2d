//! A program on a terminal of its own, typed at as a person would.

use nix::poll::{poll, PollFd, PollFlags};
use nix::pty::{openpty, Winsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

nix::ioctl_none_bad!(set_controlling, nix::libc::TIOCSCTTY);

pub struct Pty {
    /// Until the line is cut.
    master: Option<File>,
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    /// Where the next expectation begins.
    at: usize,
    reader: Option<JoinHandle<()>>,
    cut: Arc<AtomicBool>,
}

impl Pty {
    /// Starts a program on a new terminal of this size.
    pub fn start(mut command: Command, rows: u16, columns: u16) -> Pty {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).expect("NO PSEUDO-TERMINAL can be had here");
        let slave = File::from(pair.slave);
        let side = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(side()).stdout(side()).stderr(side());
        // SAFETY: setsid and an ioctl on descriptor 0 are async-signal-safe; a session that
        // `detached` began already is no error here.
        unsafe {
            command.pre_exec(|| {
                let _ = nix::unistd::setsid();
                set_controlling(0).map(drop).map_err(Into::into)
            });
        }
        let child = command.spawn().unwrap();
        drop(command);
        drop(slave);
        let master = File::from(pair.master);
        let said = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (master.try_clone().unwrap(), Arc::clone(&said));
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = Arc::clone(&cut);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !is_cut.load(Ordering::Relaxed) {
                let mut wait = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
                if poll(&mut wait, 50u16).unwrap_or(0) == 0 {
                    continue;
                }
                // EIO is how a terminal ends whose last program has gone.
                let Ok(n @ 1..) = from.read(&mut buffer) else {
                    break;
                };
                to.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        assert!(master.as_raw_fd() > 2);
        Pty {
            master: Some(master),
            child,
            said,
            at: 0,
            reader: Some(reader),
            cut,
        }
    }

    /// The program's process id.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Cuts the line, as an unplugged serial cable does, and waits for the program's end.
    pub fn hang_up(mut self) {
        self.cut.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        // The last descriptor of this side: the kernel hangs up.
        drop(self.master.take());
        let end = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it does not end without its console");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All that was printed.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    /// Waits for a text after the one expected before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            {
                let said = self.said.lock().unwrap();
                let rest = &said[self.at..];
                if let Some(n) = rest.windows(text.len()).position(|w| w == text.as_bytes()) {
                    self.at += n + text.len();
                    return;
                }
            }
            assert!(
                Instant::now() < end,
                "waited for {text:?} in vain; it said:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn send(&mut self, text: &str) {
        let mut master = self.master.as_ref().unwrap();
        master.write_all(text.as_bytes()).unwrap();
        master.flush().unwrap();
    }

    /// Chooses an item of a menu by its words, as a person does: the cursor is moved to it.
    #[track_caller]
    pub fn choose(&mut self, question: &str, item: &str) {
        self.expect(question);
        self.choose_here(item);
    }

    /// Chooses an item of the menu whose question was just seen.
    #[track_caller]
    pub fn choose_here(&mut self, item: &str) {
        let menu = self.at;
        self.expect(item);
        let shown = String::from_utf8_lossy(&self.said.lock().unwrap()[menu..self.at]).into_owned();
        // The question's own line ends first; the item's is the last one begun.
        let down = shown.lines().count() - 2;
        for _ in 0..down {
            std::thread::sleep(Duration::from_millis(100));
            self.send("j");
        }
        std::thread::sleep(Duration::from_millis(100));
        self.send("\r");
    }

    /// Whether the terminal shows what is typed.
    pub fn echoes(&self) -> bool {
        use nix::sys::termios::{tcgetattr, LocalFlags};
        let mode = tcgetattr(self.master.as_ref().unwrap()).unwrap();
        mode.local_flags.contains(LocalFlags::ECHO)
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        super::signal(&self.child, signal);
    }

    /// Waits for the end; gives the exit code and all that was printed. The terminal is then as it
    /// was: it echoes, and shows its cursor.
    #[track_caller]
    pub fn end(mut self) -> (i32, String) {
        let end = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < end,
                "it does not end; it said:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        // What is still in the terminal is read before it is judged.
        std::thread::sleep(Duration::from_millis(200));
        let said = self.said();
        assert!(self.echoes(), "the terminal is left without echo:\n{said}");
        let last = |sequence| said.rfind(sequence);
        assert!(
            last("\x1b[?25l") <= last("\x1b[?25h"),
            "the terminal is left without a cursor:\n{said}"
        );
        (status.code().unwrap_or(-1), self.said())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
