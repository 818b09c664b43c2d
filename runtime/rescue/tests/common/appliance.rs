//! Machines with these disks and no others, in a mount namespace of their own: one made to look like
//! one that was started from our medium, and one at home.

use super::loops::{tool, Disk};
use super::pty::Pty;
use super::*;

/// Nothing of the machine that runs the tests is there; what udev notes of each disk is noted here.
const APPLIANCE: &str = r#"
set -e
mount -t tmpfs none /run
mkdir -p /run/archiso/bootmnt /run/udev/data
mount -t tmpfs none /sys/block
for disk in $DISKS; do
	name=${disk#/dev/}
	ln -s "../devices/virtual/block/$name" "/sys/block/$name"
	blkid -p -o udev "$disk" | sed 's/^/E:/' >"/run/udev/data/b$(cat "/sys/block/$name/dev")"
done
if [ -n "${SCREEN-}" ]; then
	mount --bind "$(tty)" "$SCREEN"
	exec "$@" <"$SCREEN"
fi
exec "$@"
"#;

/// A session at a serial line of such a machine.
pub fn appliance(world: &World, disks: &[&Disk]) -> Pty {
    Pty::start(command(world, disks), 50, 200)
}

/// A session at the machine's own screen, which has a keyboard of its own.
pub fn appliance_with_screen(world: &World, disks: &[&Disk]) -> Pty {
    let mut command = command(world, disks);
    command.env("SCREEN", "/dev/tty1");
    Pty::start(command, 50, 200)
}

fn command(world: &World, disks: &[&Disk]) -> Command {
    let names: Vec<&str> = disks.iter().map(|d| d.name()).collect();
    let mut command = detached("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", APPLIANCE]);
    command.args(["sh", env!("CARGO_BIN_EXE_asl-host"), "--root"]);
    command.arg(world.root()).arg("rescue");
    command.env("DISKS", names.join(" ")).env("TERM", "dumb");
    command
}

/// This disk alone is there, with what udev notes of it.
const AT_HOME: &str = r#"
set -e
mount -t tmpfs none /run
mkdir -p /run/udev/data
number=$(cat "/sys/block/$DISK/dev")
{ blkid -p -o udev "/dev/$DISK" || true; } | sed 's/^/E:/' >"/run/udev/data/b$number"
mount -t tmpfs none /sys/block
ln -s "../devices/virtual/block/$DISK" "/sys/block/$DISK"
if [ -n "${MOUNTED-}" ]; then mount "/dev/$DISK" "$MOUNTED"; fi
exec "$@"
"#;

/// `asl-host` on a machine at home, in a directory, where `MOUNTED` names where the disk is mounted.
pub fn at_home(disk: &Disk, dir: &Path) -> Command {
    let mut command = detached("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", AT_HOME]);
    command.args(["sh", env!("CARGO_BIN_EXE_asl-host")]);
    command.env("DISK", disk.name().trim_start_matches("/dev/"));
    command.env("TERM", "dumb").current_dir(dir);
    command
}

/// A key stick, without the program: a test's own is large.
pub fn key_stick(world: &World) -> Disk {
    let _ = std::fs::remove_file(world.stick().join("asl-keys/asl-host"));
    let _ = std::fs::remove_file(world.stick().join("asl-host"));
    filled(world, "ASL-KEYS", &world.stick())
}

/// A disk with a file system that holds a directory's files.
pub fn filled(world: &World, label: &str, from: &Path) -> Disk {
    let disk = Disk::new(&world.path(&format!("{label}.img")), 48);
    let from = from.display().to_string();
    let ext4 = ["mke2fs", "-q", "-t", "ext4", "-L", label, "-d"];
    tool(&[&ext4[..], &[&from, disk.name()]].concat());
    disk
}

pub fn digest(disk: &Disk) -> blake3::Hash {
    blake3::hash(&std::fs::read(&disk.device).unwrap())
}
