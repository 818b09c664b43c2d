//! Disks that can be pulled: a file system on a loop device, whose file lies on another one that
//! is shut down in mid-work. From then on every read and write of the device fails.

use super::*;

nix::ioctl_read_bad!(
    /// EXT4_IOC_SHUTDOWN of linux/ext4.h.
    shutdown,
    nix::request_code_read!(b'X', 125, 4),
    u32
);

fn done(command: &mut Command) -> String {
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(
        ran.code, 0,
        "THIS TEST MUST RUN AS ROOT, with mkfs.ext4, filefrag and loop devices: {command:?}: {}",
        ran.err
    );
    ran.out
}

/// Mounts an image by a loop device of its own: `mount -o loop` stumbles over one that is on its
/// way out.
fn mount(image: &Path, at: &Path, options: &str) {
    std::fs::create_dir_all(at).unwrap();
    let device = done(
        Command::new("losetup")
            .args(["--find", "--show"])
            .arg(image),
    );
    let device = device.trim();
    done(Command::new("mount").args(["-o", options, device]).arg(at));
    // It goes when the last mount of it goes.
    done(Command::new("losetup").args(["--detach", device]));
}

fn let_go(at: &Path) {
    let _ = Command::new("umount").arg("--lazy").arg(at).output();
}

fn make_ext4(image: &Path, megabytes: u64) {
    std::fs::File::create(image)
        .and_then(|f| f.set_len(megabytes << 20))
        .unwrap();
    done(Command::new("mkfs.ext4").arg("-q").arg(image));
}

/// A disk in a port that it can be pulled out of.
pub struct Disk {
    /// Where its file system is mounted.
    at: PathBuf,
    port: PathBuf,
    options: &'static str,
}

impl Disk {
    /// An empty disk, plugged in.
    pub fn new(at: PathBuf, megabytes: u64) -> Disk {
        let port = at.with_extension("port");
        make_ext4(&port.with_extension("image"), megabytes * 5 / 4 + 32);
        mount(&port.with_extension("image"), &port, "rw");
        make_ext4(&port.join("image"), megabytes);
        mount(&port.join("image"), &at, "rw");
        Disk {
            at,
            port,
            options: "rw",
        }
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Mounts it anew for reading, with nothing of it in memory.
    pub fn read_only(mut self) -> Disk {
        // Another test's session may hold this mount in a namespace of its own, so that it does not
        // end here: what is in its journal is replayed by the next one.
        done(Command::new("sync").arg("--file-system").arg(&self.at));
        done(Command::new("umount").arg(&self.at));
        self.options = "ro";
        mount(&self.port.join("image"), &self.at, self.options);
        self
    }

    /// Pulls it out: what was not flushed to it is lost.
    pub fn pull(&self) {
        use std::os::fd::AsRawFd;
        let port = std::fs::File::open(&self.port).unwrap();
        // Without flushing anything, not even the journal.
        let mut how = 2u32;
        // SAFETY: the kernel reads one u32 through the pointer, which lives across the call.
        unsafe { shutdown(port.as_raw_fd(), &mut how) }.expect("NO EXT4 SHUTDOWN on this kernel");
    }

    /// Plugs it in again, at the same place.
    pub fn plug_in(&self) {
        let_go(&self.at);
        let_go(&self.port);
        mount(&self.port.with_extension("image"), &self.port, "rw");
        mount(&self.port.join("image"), &self.at, self.options);
    }

    /// Makes the second half of a file's blocks unreadable; asserts that the file lies last.
    pub fn spoil(&self, file: &str) {
        let map = done(
            Command::new("filefrag")
                .args(["-v", "-b1"])
                .arg(self.at.join(file)),
        );
        let extent = map
            .lines()
            .find(|l| l.trim_start().starts_with("0:"))
            .unwrap();
        let numbers: Vec<u64> = extent
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse().ok())
            .collect();
        // "0: first..last: first..last: length": the file's, then the disk's.
        let (first, length) = (numbers[3], numbers[5]);
        let image = std::fs::File::options()
            .write(true)
            .open(self.port.join("image"))
            .unwrap();
        image.set_len(first + length / 2).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let_go(&self.at);
        let_go(&self.port);
    }
}
