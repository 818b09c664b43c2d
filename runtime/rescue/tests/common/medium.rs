//! Media that fail in the ways that media do: full, write-protected, gone in mid-write.

use super::*;

fn done(command: &mut Command) {
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(
        ran.code, 0,
        "THIS TEST MUST RUN AS ROOT, with mount and mkfs.ext4: {command:?}: {}",
        ran.err
    );
}

/// A file system of its own, unmounted when dropped.
pub struct Medium {
    at: PathBuf,
    below: Option<Box<Medium>>,
}

impl Medium {
    /// In memory, with the options of tmpfs.
    pub fn memory(at: PathBuf, options: &str) -> Medium {
        std::fs::create_dir_all(&at).unwrap();
        let mut mount = Command::new("mount");
        done(mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at));
        Medium { at, below: None }
    }

    /// An ext4 that says it has room, on a device that takes `megabytes` and no more: writing
    /// beyond them fails as on a stick that was pulled out.
    pub fn failing_after(at: PathBuf, megabytes: u32) -> Medium {
        let device = Medium::memory(at.with_extension("device"), &format!("size={megabytes}m"));
        let image = device.path().join("image");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(400 << 20).unwrap();
        let mut mkfs = Command::new("mkfs.ext4");
        done(
            mkfs.args(["-q", "-O", "^has_journal", "-E", "lazy_itable_init=1"])
                .arg(&image),
        );
        std::fs::create_dir_all(&at).unwrap();
        done(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(&at),
        );
        Medium {
            at,
            below: Some(Box::new(device)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Closes or opens the write protection.
    pub fn protect(&self, closed: bool) {
        let options = if closed { "remount,ro" } else { "remount,rw" };
        done(Command::new("mount").args(["-o", options]).arg(&self.at));
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        drop(self.below.take());
    }
}
