//! Real file systems on loop devices, unmounted and let go with the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs a tool and fails by its name where that is missing.
#[track_caller]
pub fn tool(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|e| panic!("THIS TEST NEEDS {}: {e}", words[0]));
    assert!(
        output.status.success(),
        "{words:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Unmounts a file system. A program that another thread is just starting has, until it is
/// another program, every file open that this one has: so it may be busy for a moment.
pub fn unmount(at: &Path) {
    let mut said = String::new();
    for _ in 0..200 {
        let ran = Command::new("umount").arg(at).output().unwrap();
        if ran.status.success() {
            return;
        }
        said = String::from_utf8_lossy(&ran.stderr).into_owned();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{said}");
}

/// A loop device over a file of its own.
pub struct Disk {
    pub device: PathBuf,
    image: PathBuf,
}

impl Disk {
    pub fn new(image: &Path, megabytes: u64) -> Disk {
        assert!(
            nix::unistd::geteuid().is_root(),
            "THIS TEST MUST RUN AS ROOT: it makes loop devices and mounts"
        );
        let file = std::fs::File::create(image).unwrap();
        file.set_len(megabytes << 20).unwrap();
        let device = tool(&["losetup", "--find", "--show", &image.display().to_string()]);
        Disk {
            device: device.into(),
            image: image.to_owned(),
        }
    }

    pub fn name(&self) -> &str {
        self.device.to_str().unwrap()
    }

    /// Makes a file system with a label.
    pub fn format(self, fstype: &str, label: &str) -> Disk {
        let mkfs = format!("mkfs.{fstype}");
        let words: &[&str] = match fstype {
            "ntfs" => &["mkntfs", "-Q", "-F", "-q", "-L", label],
            "exfat" | "ext4" | "ext2" | "xfs" | "btrfs" => &[&mkfs, "-L", label],
            other => panic!("no {other} here"),
        };
        let mut words = words.to_vec();
        words.push(self.name());
        tool(&words);
        self
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
        let _ = std::fs::remove_file(&self.image);
    }
}

nix::ioctl_read!(
    /// FS_IOC_SHUTDOWN: it reads the flags through the pointer, whatever its direction says.
    shutdown,
    b'X',
    125,
    u32
);

/// A mounted file system; this machine's kernel need have no driver for NTFS and exFAT.
pub struct Volume {
    pub at: PathBuf,
    pub driver: Option<Child>,
    pub disk: Disk,
    fstype: &'static str,
}

impl Volume {
    pub fn new(dir: &Path, fstype: &'static str, at: &Path) -> Volume {
        Volume::of(80, dir, fstype, at)
    }

    /// One of so many megabytes, or of the fewest that its mkfs makes one of.
    pub fn of(megabytes: u64, dir: &Path, fstype: &'static str, at: &Path) -> Volume {
        let megabytes = match fstype {
            "xfs" => megabytes.max(320),
            "btrfs" => megabytes.max(160),
            _ => megabytes,
        };
        let disk = Disk::new(&dir.join(format!("{fstype}.img")), megabytes);
        let mut medium = Volume {
            at: at.to_owned(),
            driver: None,
            disk: disk.format(fstype, "ASL-TARGET"),
            fstype,
        };
        medium.mount();
        medium
    }

    pub fn mount(&mut self) {
        std::fs::create_dir_all(&self.at).unwrap();
        let (device, at) = (self.disk.name(), self.at.to_str().unwrap());
        let driver = match self.fstype {
            "ntfs" => Some(("ntfs-3g", "norecover,umask=0077,no_detach")),
            "exfat" => Some(("mount.exfat-fuse", "umask=0077")),
            _ => None,
        };
        let Some((driver, options)) = driver else {
            tool(&["mount", device, at]);
            return;
        };
        let mut command = Command::new(driver);
        if driver == "mount.exfat-fuse" {
            command.arg("-d"); // stays in the foreground
        }
        command.args(["-o", options, device, at]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        self.driver = Some(child.unwrap_or_else(|e| panic!("THIS TEST NEEDS {driver}: {e}")));
        super::wait_for(driver, || is_mounted(&self.at));
    }

    pub fn unmount(&mut self) {
        unmount(&self.at);
        if let Some(mut driver) = self.driver.take() {
            driver.wait().unwrap();
        }
    }

    /// Ends it as a disk that is pulled does: nothing reaches it any more. `how` are the flags of
    /// FS_IOC_SHUTDOWN: 0 flushes everything before, 1 the log, 2 nothing.
    pub fn shut_down(&self, mut how: u32) {
        use std::os::fd::AsRawFd;
        let dir = std::fs::File::open(&self.at).unwrap();
        // SAFETY: the kernel reads one u32 through the pointer, which lives across the call.
        unsafe { shutdown(dir.as_raw_fd(), &mut how) }.unwrap();
    }

    /// Fills it until not one byte fits any more.
    pub fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.at.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let chunk = vec![0xa5; 1 << 20];
        let mut size = chunk.len();
        while size > 0 {
            match file.write(&chunk[..size]) {
                Ok(n) if n > 0 => {}
                _ => size /= 2,
            }
            // What is only promised is asked for.
            if size < 4096 || file.sync_data().is_err() {
                size /= 2;
            }
        }
        path
    }
}

fn is_mounted(at: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|l| l.split(' ').nth(1) == at.to_str())
}

impl Drop for Volume {
    fn drop(&mut self) {
        let at = self.at.clone();
        let _ = Command::new("umount").arg("-l").arg(at).output();
        if let Some(mut driver) = self.driver.take() {
            let _ = driver.wait();
        }
    }
}
