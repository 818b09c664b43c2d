//! P2: the power goes at any moment, and takes with it what the disk's cache held.
//!
//! What the kernel wrote is recorded (`recorder`), and any moment of it is made a disk again: all
//! that was written until then, or what was flushed until then and some of the rest, torn at 512
//! bytes; at 4096 on xfs, which is lost itself where a block of its own is torn (its recovery takes
//! such a block for a newer one: "Metadata CRC error detected", and no mount). What had been told by that moment must be on it. A program whose syncs do nothing is
//! found out by the same test.

use crate::common::loops::{tool, unmount};
use crate::common::{asl, Run};
use crate::life::{along, count, scratch, Dice, Life, Told, Verb};
use crate::recorder::{Event, Recorder};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What was done to a disk, and what was told meanwhile.
struct Recording {
    home: tempfile::TempDir,
    fstype: &'static str,
    life: Life,
    verbs: Vec<Verb>,
    events: Vec<Event>,
}

/// An image with an empty file system. What it holds beyond its first bytes are holes.
fn formatted(image: &Path, fstype: &str) {
    let megabytes = if fstype == "xfs" { 300 } else { 48 };
    File::create(image)
        .unwrap()
        .set_len(megabytes << 20)
        .unwrap();
    let at = image.to_str().unwrap();
    match fstype {
        "ext4" => tool(&["mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0", at]),
        _ => tool(&["mkfs.xfs", "-q", "-K", at]),
    };
}

impl Recording {
    fn of(fstype: &'static str, verbs: usize, syncs: bool) -> Recording {
        let home = scratch();
        let path = |name: &str| home.path().join(name);
        let image = path("recorded.img");
        formatted(&image, fstype);
        tool(&[
            "cp",
            "--sparse=always",
            image.to_str().unwrap(),
            path("empty.img").to_str().unwrap(),
        ]);
        let recorder = Recorder::new(&image, &path("recorder"));
        let at = path("target");
        let mounted = Mounted::new(&recorder.device, &at).unwrap();
        let mut life = Life::begin(&at.join("asl-host"), home.path());
        let mut done = Vec::new();
        for n in 0..verbs {
            // What seals tells most, and so shows most where it was not synced.
            let verb = match syncs {
                true => life.next(),
                false => Verb::Seal(life.change()),
            };
            recorder.begins(n);
            life.told.begins(&verb);
            let mut command = life.command(&verb);
            if !syncs {
                without_syncs(&mut command);
            }
            let ended = command
                .stdout(recorder.told())
                .stderr(Stdio::null())
                .status();
            assert!(ended.unwrap().success(), "{verb:?}");
            life.told.heard_all(&verb, &recorder.said());
            done.push(verb);
        }
        drop(mounted);
        Recording {
            events: recorder.end(),
            verbs: done,
            home,
            fstype,
            life,
        }
    }

    fn counts(&self) -> (usize, usize) {
        let n = |of: fn(&Event) -> bool| self.events.iter().filter(|e| of(e)).count();
        (
            n(|e| matches!(e, Event::Write(..))),
            n(|e| matches!(e, Event::Flush)),
        )
    }

    /// The moments just after something was told, where a missing sync shows most.
    fn tellings(&self) -> Vec<usize> {
        let told = |(_, e): &(usize, &Event)| matches!(e, Event::Told(_));
        let all = self.events.iter().enumerate().filter(told);
        all.map(|(n, _)| n + 1).collect()
    }

    /// Moments to look at: each third one of those, the others any since the first.
    fn moments(&self, dice: &mut Dice, n: usize) -> Vec<usize> {
        let tellings = self.tellings();
        let first = tellings[0];
        let mut any = |n: usize| dice.below(n as u64) as usize;
        let moment = |k| match k % 3 {
            0 => tellings[any(tellings.len())],
            _ => first + any(self.events.len() - first),
        };
        (0..n).map(moment).collect()
    }

    /// The disk as it is after a power cut before event `end`; with a volatile cache, less what
    /// this cache kept to itself.
    fn disk(&self, end: usize, cache: Option<&mut Dice>) -> PathBuf {
        let image = self.home.path().join("cut.img");
        let empty = self.home.path().join("empty.img");
        tool(&[
            "cp",
            "--sparse=always",
            empty.to_str().unwrap(),
            image.to_str().unwrap(),
        ]);
        let disk = OpenOptions::new().write(true).open(&image).unwrap();
        let until = &self.events[..end];
        let flushed = |e: &Event| matches!(e, Event::Flush);
        let kept = until.iter().rposition(flushed).map_or(0, |n| n + 1);
        let atom = if self.fstype == "xfs" { 4096 } else { 512 };
        let put = |events: &[Event], keeps: &mut dyn FnMut() -> bool| {
            for event in events {
                if let Event::Write(at, bytes) = event {
                    for (at, part) in atoms(*at, bytes, atom) {
                        if keeps() {
                            disk.write_all_at(part, at).unwrap();
                        }
                    }
                }
            }
        };
        put(&until[..kept], &mut || true);
        match cache {
            None => put(&until[kept..], &mut || true),
            Some(dice) => {
                // How much of it got out differs from cut to cut, nothing and all among it.
                let share = dice.below(6) * 20;
                put(&until[kept..], &mut || dice.below(100) < share);
            }
        }
        image
    }

    /// What had been told before event `end`.
    fn told(&self, end: usize) -> Told {
        let mut told = Told::default();
        let mut verb = None;
        let mut line = Vec::new();
        for event in &self.events[..end] {
            match event {
                Event::Begins(n) => {
                    verb = Some(&self.verbs[*n]);
                    told.begins(&self.verbs[*n]);
                }
                Event::Told(bytes) => {
                    line.extend(bytes);
                    if line.ends_with(b"\n") {
                        told.heard_all(verb.unwrap(), &line);
                        line.clear();
                    }
                }
                Event::Write(..) | Event::Flush => {}
            }
        }
        told
    }

    /// Whether everything told before event `end` is on the disk that a cut leaves then.
    fn survives(&self, end: usize, cache: Option<&mut Dice>, goes_on: bool) -> Result<(), String> {
        let image = self.disk(end, cache);
        let at = self.home.path().join("after");
        let disk = Loop::of(&image);
        let mounted = Mounted::new(&disk.0, &at)?;
        let root = at.join("asl-host");
        let told = self.told(end);
        if told.count > 0 {
            if !root.join("host/host-id").exists() {
                return Err("there is no root at all".into());
            }
            self.life.check_at(&root, &told)?;
            if goes_on {
                let mut seal = asl(&root).words(["ingest", "--snapshot"]);
                seal.arg(self.life.source());
                let ran = seal.run();
                if ran.code != 0 {
                    return Err(format!("no more can be sealed: {}", ran.err));
                }
                self.life.check_at(&root, &told)?;
            }
        }
        drop(mounted);
        Ok(())
    }
}

/// A write as the atoms that a disk writes whole.
fn atoms(at: u64, mut bytes: &[u8], atom: u64) -> Vec<(u64, &[u8])> {
    let mut all = Vec::new();
    let mut at = at;
    while !bytes.is_empty() {
        let (part, rest) = bytes.split_at(bytes.len().min((atom - at % atom) as usize));
        all.push((at, part));
        at += part.len() as u64;
        bytes = rest;
    }
    all
}

/// A loop device over an image.
struct Loop(PathBuf);

impl Loop {
    fn of(image: &Path) -> Loop {
        Loop(tool(&["losetup", "--find", "--show", image.to_str().unwrap()]).into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        tool(&["losetup", "-d", self.0.to_str().unwrap()]);
    }
}

/// A mounted file system, unmounted in good order.
struct Mounted(PathBuf);

impl Mounted {
    fn new(device: &Path, at: &Path) -> Result<Mounted, String> {
        std::fs::create_dir_all(at).unwrap();
        let ran = Command::new("mount").arg(device).arg(at).output().unwrap();
        match ran.status.success() {
            true => Ok(Mounted(at.to_owned())),
            false => Err(format!("the kernel does not mount it: {ran:?}")),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Makes every sync of a program do nothing, and tell it that all went well.
fn without_syncs(command: &mut Command) {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equals = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let ends = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    // The number of the system call is the first word of what a filter sees.
    let mut filter = vec![step(load, 0, 0)];
    let syncs = [
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_syncfs,
        libc::SYS_sync,
    ];
    for (n, call) in syncs.iter().enumerate() {
        filter.push(step(equals, (syncs.len() - n) as u8, *call as u32));
    }
    filter.push(step(ends, 0, libc::SECCOMP_RET_ALLOW));
    filter.push(step(ends, 0, libc::SECCOMP_RET_ERRNO)); // with the error 0: it went well
    let set = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: prctl is a plain system call; the kernel reads `program` and the steps that it
        // points to, all of which live across the call.
        let set = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
        };
        nix::errno::Errno::result(set).map(drop).map_err(Into::into)
    };
    // SAFETY: what runs between fork and exec makes two system calls and allocates nothing.
    unsafe { command.pre_exec(set) };
}

#[test]
fn p2_after_any_cut_of_the_power_everything_told_is_on_the_disk() {
    let cuts = count(12).div_ceil(2);
    for fstype in ["ext4", "xfs"] {
        let verbs = (cuts / 8).clamp(3, 24);
        let mut recording = Recording::of(fstype, verbs, true);
        let mut dice = recording.life.dice.others();
        let moments = recording.moments(&mut dice, cuts);
        for (n, end) in moments.iter().enumerate() {
            // By turns as a disk without a cache leaves it, and as one with a cache does.
            let cache = (n % 2 == 1).then_some(&mut dice);
            if let Err(lost) = recording.survives(*end, cache, n % 4 == 3) {
                panic!("{fstype}, cut {n}, before event {end}: {lost}");
            }
            along(n, "cuts");
        }
        let (writes, flushes) = recording.counts();
        println!(
            "{}: {writes} writes and {flushes} flushes recorded, {} acknowledgements; {cuts} cuts, half of them with a volatile cache: 0 lost",
            recording.fstype,
            recording.life.told.count,
        );
    }
}

/// The proof that the test above would find a missing sync.
#[test]
fn p2_a_program_whose_syncs_do_nothing_is_found_out() {
    for fstype in ["ext4", "xfs"] {
        let mut recording = Recording::of(fstype, 2, false);
        let mut dice = recording.life.dice.others();
        let tellings = recording.tellings();
        let mut check = |end: &usize| recording.survives(*end, Some(&mut dice), false).err();
        let lost: Vec<String> = tellings.iter().filter_map(&mut check).collect();
        assert!(
            !lost.is_empty(),
            "{fstype}: no sync was made, and nothing was missed"
        );
        println!(
            "{fstype} without syncs: {} of {} tellings lost something, such as: {}",
            lost.len(),
            tellings.len(),
            lost[0]
        );
    }
}
