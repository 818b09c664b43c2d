//! The data sets of performance.md, section 1: the same bytes each time on one machine.
//!
//! `home` holds real files of this system (its programs, documents and the sources of Rust) beside
//! made logs, notes and media, so it differs between systems; its digest says whether two runs
//! had the same. All other sets are the same everywhere. A share of N makes a set N times smaller.

use crate::content::{Random, Words};
use anyhow::{bail, ensure, Context, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Makes the set in `dir/SET`, whole or not at all, and says what it is. Of `home-v2` and `dup`,
/// what they are made from must lie there.
pub fn make(set: &str, dir: &Path, share: u64) -> Result<()> {
    ensure!(share > 0, "the share is 1 or more");
    let (to, part) = (dir.join(set), dir.join(format!("{set}.part")));
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(&part)?;
    match set {
        "home" => home(&part, share)?,
        "home-v2" => home_v2(&dir.join("home"), &part)?,
        "small" => small(&part, share)?,
        "big" => big(&part, share)?,
        "dup" => dup(&dir.join("big"), &part, share)?,
        _ => bail!("no such data set: {set}"),
    }
    fs::rename(&part, &to)?;
    let (files, bytes, digest) = describe(&to)?;
    println!("{files} files, {bytes} bytes, {}", &digest.to_hex()[..12]);
    Ok(())
}

/// Files, bytes, and a digest of names and sizes.
fn describe(dir: &Path) -> Result<(usize, u64, blake3::Hash)> {
    let (mut bytes, mut hasher) = (0, blake3::Hasher::new());
    let files = files_below(dir)?;
    for (path, size) in &files {
        bytes += size;
        hasher.update(path.strip_prefix(dir)?.as_os_str().as_encoded_bytes());
        hasher.update(&size.to_le_bytes());
    }
    Ok((files.len(), bytes, hasher.finalize()))
}

/// Every regular file below, with its size, in the order of names. What cannot be listed is left out.
pub fn files_below(dir: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut names: Vec<_> = fs::read_dir(dir)
        .with_context(|| format!("cannot list {}", dir.display()))?
        .collect::<io::Result<_>>()?;
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files_below(&entry.path())?);
        } else if kind.is_file() {
            found.push((entry.path(), entry.metadata()?.len()));
        }
    }
    Ok(found)
}

/// Writes one file and the folders above it.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Copies a file with mode and time.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(above) = to.parent() {
        fs::create_dir_all(above)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    let time = fs::metadata(from)?.modified()?;
    // As writable as it is, whoever made it: only its owner sets its time.
    File::open(to)?.set_modified(time)?;
    Ok(())
}

/// What to take of a folder of the system.
struct Take {
    from: &'static str,
    to: &'static str,
    files: u64,
    bytes: u64,
    sizes: std::ops::RangeInclusive<u64>,
}

const TAKEN: [Take; 3] = [
    Take {
        from: "/usr/src",
        to: "src",
        files: 22_000,
        bytes: 350 * MIB,
        sizes: 0..=64 * MIB,
    },
    Take {
        from: "/usr/share",
        to: "share",
        files: 14_000,
        bytes: 300 * MIB,
        sizes: 0..=64 * MIB,
    },
    Take {
        from: "/usr/lib",
        to: "lib",
        files: 2_500,
        bytes: 660 * MIB,
        sizes: 64 * KIB..=40 * MIB,
    },
];

impl Take {
    fn run(&self, to: &Path, share: u64, random: &mut Random) -> Result<()> {
        let from = Path::new(self.from);
        if !from.is_dir() {
            return Ok(());
        }
        let mut files = files_below(from)?;
        files.retain(|(_, size)| self.sizes.contains(size));
        random.shuffle(&mut files);
        let (mut count, mut bytes) = (0, 0);
        for (path, size) in files {
            if count == self.files / share {
                break;
            }
            if bytes + size <= self.bytes / share {
                copy(&path, &to.join(self.to).join(path.strip_prefix(from)?))?;
                (count, bytes) = (count + 1, bytes + size);
            }
        }
        Ok(())
    }
}

/// About 2 GB in 39 000 files; nearly a third of the bytes are incompressible.
fn home(to: &Path, share: u64) -> Result<()> {
    let (mut random, words) = (Random::new("home"), Words::new());
    for take in &TAKEN {
        take.run(to, share, &mut random)?;
    }
    for i in 0..60_u64.div_ceil(share) {
        let length = random.between(MIB, 6 * MIB) as usize;
        put(
            &to.join(format!("logs/app-{i:03}.log")),
            &words.text(&mut random, length),
        )?;
    }
    for i in 0..1200 / share {
        let length = random.between(200, 20_000) as usize;
        put(
            &to.join(format!("notes/n{i:04}.txt")),
            &words.text(&mut random, length),
        )?;
    }
    let (mut bytes, mut i) = (0, 0);
    while bytes < 620 * MIB / share {
        let (least, most) = match random.between(0, 2) {
            0 => (20 * KIB, 400 * KIB),
            1 => (MIB, 6 * MIB),
            _ => (2 * MIB, 12 * MIB),
        };
        let length = random.between(least, most);
        let name = format!("media/{:02}/img{i:05}.jpg", i / 100);
        put(&to.join(name), &random.bytes(length as usize))?;
        (bytes, i) = (bytes + length, i + 1);
    }
    Ok(())
}

/// Of every thousand files of `home` ten are changed, five renamed, one removed, and four are new.
fn home_v2(base: &Path, to: &Path) -> Result<()> {
    let (mut random, words) = (Random::new("home-v2"), Words::new());
    let mut files = files_below(base)?;
    random.shuffle(&mut files);
    let count = files.len();
    let (change, rename, remove) = (count / 100, count / 200, count / 1000);
    for (i, (path, _)) in files.iter().enumerate() {
        let new = to.join(path.strip_prefix(base)?);
        if i < change {
            put(&new, &edited(fs::read(path)?, &mut random, &words))?;
        } else if i < change + rename {
            let mut renamed = new.into_os_string();
            renamed.push(".renamed");
            copy(path, Path::new(&renamed))?;
        } else if i >= change + rename + remove {
            copy(path, &new)?;
        }
    }
    for i in 0..count / 250 {
        let bytes = if i % 3 == 0 {
            let length = random.between(1000, 300_000);
            random.bytes(length as usize)
        } else {
            let length = random.between(1000, 60_000);
            words.text(&mut random, length as usize)
        };
        put(&to.join(format!("new/{i:04}")), &bytes)?;
    }
    Ok(())
}

/// Something put in, put at the end, or put over what was there.
fn edited(mut bytes: Vec<u8>, random: &mut Random, words: &Words) -> Vec<u8> {
    let at = random.between(0, bytes.len() as u64) as usize;
    match random.between(0, 2) {
        0 => drop(bytes.splice(at..at, random.bytes(100))),
        1 => bytes.extend(words.text(random, 4000)),
        _ => {
            let end = bytes.len().min(at + 50);
            random.fill(&mut bytes[at..end]);
        }
    }
    bytes
}

/// 100 000 files of 1 to 4 KiB, a thousand a folder; three of four are text.
fn small(to: &Path, share: u64) -> Result<()> {
    let (mut random, words) = (Random::new("small"), Words::new());
    for i in 0..100_000 / share {
        let length = random.between(KIB, 4 * KIB) as usize;
        let bytes = if i % 4 == 3 {
            random.bytes(length)
        } else {
            words.text(&mut random, length)
        };
        put(&to.join(format!("d{:03}/f{i:06}.dat", i / 1000)), &bytes)?;
    }
    Ok(())
}

/// One image of 4 GiB, half incompressible, a quarter zeros, a quarter text, in stretches of
/// 1 to 64 MiB. Its zeros are written: it has no holes.
fn big(to: &Path, share: u64) -> Result<()> {
    let (mut random, words) = (Random::new("big"), Words::new());
    let unit = MIB / share.min(MIB / KIB);
    let mut left = [2 * GIB / share, GIB / share, GIB / share];
    let mut image = BufWriter::with_capacity(MIB as usize, File::create(to.join("disk.img"))?);
    loop {
        let all: u64 = left.iter().sum();
        if all == 0 {
            break;
        }
        let pick = random.between(0, all - 1);
        let kind = if pick < left[0] {
            0
        } else {
            1 + usize::from(pick >= left[0] + left[1])
        };
        let length = left[kind].min(random.between(1, 64) * unit);
        left[kind] -= length;
        match kind {
            0 => drop(io::copy(&mut random.reader(length), &mut image)?),
            1 => drop(io::copy(&mut io::repeat(0).take(length), &mut image)?),
            _ => image.write_all(&words.text(&mut random, length as usize))?,
        }
    }
    image.flush()?;
    Ok(())
}

/// `big` with one byte before it and 64 insertions of 1 to 4096 bytes.
fn dup(base: &Path, to: &Path, share: u64) -> Result<()> {
    let mut random = Random::new("dup");
    let mut cuts: Vec<u64> = (0..64)
        .map(|_| random.between(0, 4 * GIB / share - 1))
        .collect();
    cuts.sort_unstable();
    let from = base.join("disk.img");
    let old = File::open(&from).with_context(|| format!("cannot open {}", from.display()))?;
    let mut image = BufWriter::with_capacity(MIB as usize, File::create(to.join("disk.img"))?);
    image.write_all(b"X")?;
    let mut at = 0;
    for cut in cuts {
        io::copy(&mut (&old).take(cut - at), &mut image)?;
        at = cut;
        let length = random.between(1, 4096) as usize;
        image.write_all(&random.bytes(length))?;
    }
    io::copy(&mut &old, &mut image)?;
    image.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of every file's bytes.
    fn contents(dir: &Path) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for (path, _) in files_below(dir).unwrap() {
            hasher.update(&fs::read(path).unwrap());
        }
        hasher.finalize()
    }

    #[test]
    fn a_set_is_the_same_each_time() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for set in ["small", "big", "dup"] {
            for dir in [&one, &two] {
                make(set, dir.path(), 2000).unwrap();
            }
            let [one, two] = [&one, &two].map(|dir| contents(&dir.path().join(set)));
            assert_eq!(one, two, "{set}");
        }
        assert_eq!(files_below(&one.path().join("small")).unwrap().len(), 50);
        let size = |set: &str| {
            fs::metadata(one.path().join(set).join("disk.img"))
                .unwrap()
                .len()
        };
        let (big, dup) = (size("big"), size("dup"));
        assert_eq!(big, 2 * GIB / 2000 + 2 * (GIB / 2000));
        assert!((big + 65..big + 1 + 64 * 4096).contains(&dup), "{dup}");
    }

    #[test]
    fn the_next_version_of_home_changes_a_few_files() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        for i in 0..1000 {
            put(
                &home.join(format!("f{i:03}")),
                format!("file {i}").as_bytes(),
            )
            .unwrap();
        }
        make("home-v2", dir.path(), 1).unwrap();
        let next = dir.path().join("home-v2");
        let files = files_below(&next).unwrap();
        assert_eq!(files.len(), 1000 - 1 + 4);
        let name = |path: &Path| path.to_string_lossy().into_owned();
        assert_eq!(
            files
                .iter()
                .filter(|(p, _)| name(p).ends_with(".renamed"))
                .count(),
            5
        );
        let same = files.iter().filter(|(path, _)| {
            let old = home.join(path.strip_prefix(&next).unwrap());
            let times = |p: &Path| fs::metadata(p).and_then(|m| m.modified()).unwrap();
            old.exists()
                && fs::read(&old).unwrap() == fs::read(path).unwrap()
                && times(&old) == times(path)
        });
        assert_eq!(same.count(), 1000 - 10 - 5 - 1);
    }

    #[test]
    fn half_a_set_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        put(
            &dir.path().join("small.part/left"),
            b"by an end in the middle",
        )
        .unwrap();
        make("small", dir.path(), 10_000).unwrap();
        assert!(!dir.path().join("small/left").exists() && !dir.path().join("small.part").exists());
    }

    #[test]
    fn an_unknown_set_and_a_missing_base_are_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(make("tar", dir.path(), 1)
            .unwrap_err()
            .to_string()
            .contains("no such data set"));
        assert!(make("dup", dir.path(), 1)
            .unwrap_err()
            .to_string()
            .contains("disk.img"));
        assert!(!dir.path().join("dup").exists());
    }
}
