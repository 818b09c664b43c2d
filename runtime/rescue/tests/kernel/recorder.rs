//! A disk that keeps every write and every flush in the order in which the kernel made them, and
//! between them what the program told.
//!
//! It is a file system of two files, spoken by hand over /dev/fuse (the kernel's fuse.h, version
//! 7.31): `disk`, which a loop device makes a block device of, and `told`, which is the program's
//! standard output. One thread answers one request after the other, so there is one order.

use crate::common::loops::tool;
use nix::errno::Errno;
use nix::mount::{mount, umount2, MntFlags, MsFlags};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What came to the disk, or to the file beside it.
pub enum Event {
    Write(u64, Vec<u8>),
    Flush,
    Told(Vec<u8>),
    /// A verb of the caller's begins.
    Begins(usize),
}

struct Shared {
    disk: File,
    size: u64,
    events: Mutex<Vec<Event>>,
}

/// The disk, and the block device that is made of it.
pub struct Recorder {
    at: PathBuf,
    pub device: PathBuf,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

const DISK: u64 = 2;
const TOLD: u64 = 3;
/// Bytes of one write at most.
const LARGEST: usize = 128 << 10;

impl Recorder {
    /// A recorder over an image that has its file system already.
    pub fn new(image: &Path, at: &Path) -> Recorder {
        std::fs::create_dir_all(at).unwrap();
        let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let fuse = fuse.unwrap_or_else(|e| panic!("THIS TEST NEEDS /dev/fuse: {e}"));
        let fd = fuse.as_raw_fd();
        let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("recorder"), at, Some("fuse"), flags, Some(&*options)).unwrap();
        let disk = OpenOptions::new().read(true).write(true).open(image);
        let disk = disk.unwrap();
        let shared = Arc::new(Shared {
            size: disk.metadata().unwrap().len(),
            disk,
            events: Mutex::default(),
        });
        let served = shared.clone();
        let server = std::thread::spawn(move || serve(&fuse, &served));
        let disk = at.join("disk");
        let device = tool(&["losetup", "--find", "--show", disk.to_str().unwrap()]);
        Recorder {
            at: at.to_owned(),
            device: device.into(),
            shared,
            server: Some(server),
        }
    }

    /// Where a program's standard output goes to stand in the same order.
    pub fn told(&self) -> File {
        let told = OpenOptions::new().append(true).open(self.at.join("told"));
        told.unwrap()
    }

    pub fn begins(&self, verb: usize) {
        self.shared.events.lock().unwrap().push(Event::Begins(verb));
    }

    /// What was told since the last verb began.
    pub fn said(&self) -> Vec<u8> {
        let mut said = Vec::new();
        for event in self.shared.events.lock().unwrap().iter() {
            match event {
                Event::Begins(_) => said.clear(),
                Event::Told(bytes) => said.extend(bytes),
                _ => {}
            }
        }
        said
    }

    /// Everything that came, after the file system on it was unmounted.
    pub fn end(mut self) -> Vec<Event> {
        self.let_go();
        std::mem::take(&mut *self.shared.events.lock().unwrap())
    }

    fn let_go(&mut self) {
        if let Some(server) = self.server.take() {
            let device = self.device.to_str().unwrap();
            let _ = std::process::Command::new("losetup")
                .args(["-d", device])
                .status();
            let _ = umount2(&self.at, MntFlags::MNT_DETACH);
            server.join().unwrap();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Answers the kernel until it is unmounted.
fn serve(mut fuse: &File, shared: &Shared) {
    let mut request = vec![0; LARGEST + 8192];
    loop {
        let length = match fuse.read(&mut request) {
            Ok(length) => length,
            Err(e) if e.raw_os_error() == Some(Errno::ENODEV as i32) => return,
            // A request that was taken back.
            Err(e) if e.raw_os_error() == Some(Errno::ENOENT as i32) => continue,
            Err(e) => panic!("/dev/fuse: {e}"),
        };
        let Some(answer) = answer(&request[..length], shared) else {
            continue;
        };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(errno) => (-(errno as i32), Vec::new()),
        };
        let mut reply = (16 + body.len() as u32).to_le_bytes().to_vec();
        reply.extend(error.to_le_bytes());
        reply.extend(&request[8..16]);
        reply.extend(body);
        // A request that was interrupted wants no answer any more.
        let _ = fuse.write(&reply);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The answer to one request; none where the kernel wants none.
fn answer(request: &[u8], shared: &Shared) -> Option<Result<Vec<u8>, Errno>> {
    let (node, body) = (u64_at(request, 16), &request[40..]);
    let keep = |event| shared.events.lock().unwrap().push(event);
    Some(Ok(match u32_at(request, 4) {
        1 => match body {
            b"disk\0" => entry(DISK, shared),
            b"told\0" => entry(TOLD, shared),
            _ => return Some(Err(Errno::ENOENT)),
        },
        // FORGET and BATCH_FORGET.
        2 | 42 => return None,
        // GETATTR, SETATTR.
        3 | 4 => {
            let mut out = vec![0; 16];
            out.extend(attributes(node, shared));
            out
        }
        // OPEN, OPENDIR: what is told goes past the cache, so that it is told at once.
        14 | 27 => {
            let mut out = vec![0; 16];
            out[8] = u8::from(node == TOLD);
            out
        }
        // READ.
        15 if node == DISK => {
            let (offset, size) = (u64_at(body, 8), u64::from(u32_at(body, 16)));
            let mut bytes = vec![0; size.min(shared.size.saturating_sub(offset)) as usize];
            shared.disk.read_exact_at(&mut bytes, offset).unwrap();
            bytes
        }
        // WRITE.
        16 => {
            let (offset, size) = (u64_at(body, 8), u32_at(body, 16));
            let bytes = body[40..40 + size as usize].to_vec();
            if node == DISK {
                shared.disk.write_all_at(&bytes, offset).unwrap();
                keep(Event::Write(offset, bytes));
            } else {
                keep(Event::Told(bytes));
            }
            u64::from(size).to_le_bytes().to_vec()
        }
        // STATFS: no figures.
        17 => vec![0; 80],
        // FSYNC: what the loop device makes of a flush.
        20 => {
            if node == DISK {
                keep(Event::Flush);
            }
            Vec::new()
        }
        // RELEASE, FLUSH, RELEASEDIR, DESTROY.
        18 | 25 | 29 | 38 => Vec::new(),
        26 => init(body),
        _ => return Some(Err(Errno::ENOSYS)),
    }))
}

fn init(body: &[u8]) -> Vec<u8> {
    const BIG_WRITES: u32 = 1 << 5;
    const MAX_PAGES: u32 = 1 << 22;
    let mut out = Vec::new();
    for word in [7, 31, u32_at(body, 8), BIG_WRITES | MAX_PAGES, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend((LARGEST as u32).to_le_bytes());
    out.extend(1u32.to_le_bytes()); // times in nanoseconds
    out.extend((LARGEST as u32 / 4096).to_le_bytes());
    out.resize(64, 0);
    out
}

fn entry(node: u64, shared: &Shared) -> Vec<u8> {
    let mut out = node.to_le_bytes().to_vec();
    out.resize(40, 0);
    out.extend(attributes(node, shared));
    out
}

fn attributes(node: u64, shared: &Shared) -> Vec<u8> {
    let (mode, size) = match node {
        DISK => (0o100_600u32, shared.size),
        TOLD => (0o100_600, 0),
        _ => (0o040_700, 0),
    };
    let mut out = Vec::new();
    for word in [node, size, size / 512, 0, 0, 0] {
        out.extend(word.to_le_bytes());
    }
    for word in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
        out.extend(word.to_le_bytes());
    }
    out
}
