//! `key card --split` and `--join`: the owner's secret in shares, some of which give it back.
//!
//! Shamir's scheme over bytes, by `blahaj`. A share is said in words of the BIP-39 list: 12 rows of
//! three, each word with its number in the list (from 1) and each row with the sum of its numbers,
//! which a person can check. What is split are the letters of the identity with age's own checksum:
//! shares that do not belong together give no identity.
//!
//! The bits of a share, in this order: 6 bytes of head (threshold, shares, 3 bytes that name the
//! set, number), 37 bytes of the share, 52 bits of BLAKE3 over these; 396 bits, 36 words.

use crate::commands::context;
use crate::out::Out;
use asl_auth::{OpenIdentity, Recipient};
use asl_backend::files;
use asl_core::{word, word_number, Error, Kind, Result};
use blahaj::{Share, Sharks};
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What every age identity begins with.
const HEAD: &str = "AGE-SECRET-KEY-1";
/// The letters after it: 52 of the secret, 6 of its checksum.
const LETTERS: usize = 58;
/// The alphabet of Bech32: each letter is 5 bits.
const BECH32: &str = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";

const HEAD_BYTES: usize = 6;
const SHARE_BYTES: usize = 37;
const WORDS_OF_SHARE: usize = 36;
const IN_A_ROW: usize = 3;
const CHECK_BITS: usize = WORDS_OF_SHARE * 11 - (HEAD_BYTES + SHARE_BYTES) * 8;

/// How many shares there are, and how many give the secret back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub threshold: u8,
    pub shares: u8,
}

impl std::str::FromStr for Plan {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Plan, String> {
        let plan = text.split_once("of").and_then(|(threshold, shares)| {
            Some(Plan {
                threshold: threshold.parse().ok()?,
                shares: shares.parse().ok()?,
            })
        });
        plan.filter(|p| p.threshold >= 2 && p.threshold <= p.shares && p.shares <= 16)
            .ok_or_else(|| "give 2of3, or another: 2 to 16 shares, of which 2 or more".into())
    }
}

/// Writes the shares of an identity as sheets, one file each.
///
/// # Errors
/// `Refused` where the file does not hold one age identity; `Exists` where a sheet is there; `Io`.
pub fn split(identity: &Path, label: &str, plan: Plan, to: &Path, out: Out) -> Result<()> {
    let secret = secret_of(identity)?;
    let mut set = [0; 3];
    context().entropy.fill(&mut set)?;
    super::generate::make_private_dir(to)?;
    let dealt = Sharks(plan.threshold).dealer(&secret);
    let mut sheets = Vec::new();
    for (number, share) in (1..=plan.shares).zip(dealt) {
        let share = Zeroizing::new(Vec::from(&share));
        // The first byte is the share's number, which the head says.
        let body = share.get(1..).unwrap_or_default();
        let head = [plan.threshold, plan.shares, set[0], set[1], set[2], number];
        let words = words_of(&Zeroizing::new([&head[..], body].concat()));
        let path = to.join(format!("share-{number}.txt"));
        files::write_new(&path, sheet(&words, label, plan, number).as_bytes(), 0o600)?;
        sheets.push(path);
    }
    // Nobody trusts a split that was never joined: every share is read back from its file.
    let all: Vec<PathBuf> = sheets.clone();
    let joined = joined(&all)?;
    if *joined != *read_line(identity)? {
        let why = "the shares do not give it back";
        return Err(Error::new(Kind::Damage, "split", identity.display(), why)
            .next("do not use these shares; look into the medium they lie on"));
    }
    out.result(
        &format!(
            "Wrote {} shares in {}; any {} of them give the owner's key back.\n\
             Print each, give each to somebody else, and remove the files.",
            plan.shares,
            to.display(),
            plan.threshold
        ),
        &json!({ "shares": sheets, "threshold": plan.threshold }),
    )
}

/// Joins shares into an identity file.
///
/// # Errors
/// `Invalid` for a mistyped word, with its row; `Refused` where shares are too few or of different
/// sets; `Exists`, `Io`.
pub fn join(shares: &[PathBuf], to: &Path, out: Out) -> Result<()> {
    let line = joined(shares)?;
    let owner = OpenIdentity::parse(&line)?;
    let public: Vec<String> = owner
        .recipients()
        .iter()
        .map(Recipient::to_string)
        .collect();
    let text = Zeroizing::new(format!("# public key: {}\n{}\n", public.join(" "), &*line));
    files::write_new(to, text.as_bytes(), 0o600)?;
    out.result(
        &format!(
            "Joined the owner's key into {}.\n  {}\nCompare it with the card; then restore with --identity {}.",
            to.display(),
            public.join(" "),
            to.display()
        ),
        &json!({ "identity": to, "owner": public }),
    )
}

fn joined(paths: &[PathBuf]) -> Result<Zeroizing<String>> {
    let refuse = |why: String, next: &str| {
        Err(Error::new(Kind::Refused, "join", "these shares", why).next(next))
    };
    let mut set: Option<[u8; 5]> = None;
    let mut shares = std::collections::BTreeMap::new();
    for path in paths {
        let bytes = read_sheet(path)?;
        let (head, body) = bytes.split_at(HEAD_BYTES.min(bytes.len()));
        let [threshold, count, a, b, c, number] = *head else {
            return refuse("a share is cut off".into(), "type it again");
        };
        if threshold < 2 || number == 0 || number > count {
            return refuse("a share says what no share says".into(), "type it again");
        }
        let own = [threshold, count, a, b, c];
        if *set.get_or_insert(own) != own {
            return refuse(
                format!("{} is of another split than the first", path.display()),
                "use shares that were printed together: the name of the set is on each",
            );
        }
        shares.insert(number, Zeroizing::new([&[number][..], body].concat()));
    }
    let threshold = set.map_or(2, |s| s[0]);
    if shares.len() < usize::from(threshold) {
        return refuse(
            format!(
                "{} different shares are here, {threshold} are needed",
                shares.len()
            ),
            "bring more of them",
        );
    }
    let points = shares
        .values()
        .map(|bytes| Share::try_from(bytes.as_slice()));
    let malformed = |why: &str| Error::new(Kind::Invalid, "join", "these shares", why);
    let points: Vec<Share> = points
        .collect::<std::result::Result<_, _>>()
        .map_err(malformed)?;
    let scheme = Sharks(threshold);
    let secret = scheme.recover(&points).map(Zeroizing::new);
    letters(&secret.map_err(malformed)?)
}

/// The identity's letters as bytes, 5 bits each, and 6 bits of nothing.
fn secret_of(identity: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let line = read_line(identity)?;
    let mut bits = Bits::default();
    for letter in line.trim_start_matches(HEAD).chars() {
        let value = BECH32.find(letter).and_then(|v| u64::try_from(v).ok());
        bits.push(value.unwrap_or(0), 5);
    }
    bits.push(0, SHARE_BYTES * 8 - LETTERS * 5);
    Ok(bits.bytes())
}

fn letters(secret: &[u8]) -> Result<Zeroizing<String>> {
    let bits = Bits::of(secret);
    let mut line = Zeroizing::new(String::with_capacity(HEAD.len() + LETTERS));
    line.push_str(HEAD);
    for n in 0..LETTERS {
        let value = usize::try_from(bits.get(n * 5, 5)).unwrap_or(0);
        line.extend(BECH32.chars().nth(value));
    }
    OpenIdentity::parse(&line).map_err(|_| {
        let why = "together they give no identity: one of them is not what was printed";
        Error::new(Kind::Refused, "join", "these shares", why)
            .next("check the words and sums of each, or bring another share in its place")
    })?;
    Ok(line)
}

/// The one identity line of a file.
fn read_line(identity: &Path) -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(files::read_limited(identity, 64 << 10)?);
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let mut lines = text.lines().map(str::trim);
    let mut lines = lines
        .by_ref()
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) if line.starts_with(HEAD) && line.len() == HEAD.len() + LETTERS => {
            OpenIdentity::parse(line)?;
            Ok(Zeroizing::new(line.to_string()))
        }
        _ => Err(Error::new(
            Kind::Refused,
            "split",
            identity.display(),
            "it does not hold one AGE-SECRET-KEY line",
        )
        .next("split the owner.txt that `key generate` made; keep copies of other keys")),
    }
}

/// The words' numbers of a share, from 0, its check among them.
fn words_of(share: &[u8]) -> Zeroizing<Vec<u16>> {
    let mut bits = Bits::of(share);
    let check = Bits::of(blake3_of(share).as_bytes());
    bits.push(check.get(0, CHECK_BITS), CHECK_BITS);
    let numbers = (0..WORDS_OF_SHARE).map(|n| u16::try_from(bits.get(n * 11, 11)).unwrap_or(0));
    Zeroizing::new(numbers.collect())
}

fn blake3_of(share: &[u8]) -> asl_core::Digest {
    asl_core::Digest::of(share)
}

/// Reads a sheet, or what was typed from it: rows of words, with or without numbers and sums.
fn read_sheet(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = Zeroizing::new(files::read_limited(path, 64 << 10)?);
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let bad = |why: String| {
        Error::new(Kind::Invalid, "read", path.display(), why)
            .next("compare it with the paper: words, numbers and sums")
    };
    let mut numbers = Zeroizing::new(Vec::with_capacity(WORDS_OF_SHARE));
    for (n, line) in text.lines().enumerate() {
        // A row begins with its number; all else is for people.
        let line = line.trim();
        let Some((row, rest)) = line.split_once('.') else {
            continue;
        };
        if row.parse::<usize>().is_err() {
            continue;
        }
        let (said, sum) = match rest.split_once("sum") {
            Some((words, sum)) => (words, sum.trim().parse::<u32>().ok()),
            None => (rest, None),
        };
        let mut total = 0;
        for text in said
            .split_whitespace()
            .filter(|w| w.parse::<u32>().is_err())
        {
            let number = word_number(text)
                .ok_or_else(|| bad(format!("line {}: {text:?} is no word of the list", n + 1)))?;
            total += u32::from(number) + 1;
            numbers.push(number);
        }
        if sum.is_some_and(|sum| sum != total) {
            return Err(bad(format!("row {row}: the sum of its words is {total}")));
        }
    }
    if numbers.len() != WORDS_OF_SHARE {
        let have = numbers.len();
        return Err(bad(format!(
            "it holds {have} words in rows, not {WORDS_OF_SHARE}"
        )));
    }
    let mut bits = Bits::default();
    numbers.iter().for_each(|n| bits.push(u64::from(*n), 11));
    let all = bits.bytes();
    let share = Zeroizing::new(
        all.get(..HEAD_BYTES + SHARE_BYTES)
            .unwrap_or_default()
            .to_vec(),
    );
    if *words_of(&share) != *numbers {
        return Err(bad("its words do not belong together".into()));
    }
    Ok(share)
}

fn sheet(words: &[u16], label: &str, plan: Plan, number: u8) -> Zeroizing<String> {
    let Plan { threshold, shares } = plan;
    let mut text = Zeroizing::new(String::with_capacity(8 << 10));
    text.push_str(&format!(
        "SHARE {number} OF {shares} OF THE OWNER'S KEY of {label}\n\n\
         Any {threshold} of the {shares} shares open all data of this domain. Fewer open nothing.\n\
         LOST FOR EVER: all sealed data, when fewer than {threshold} shares and no copy of the\n\
         owner's key are left. Keep it with your papers; do not tell the words to anybody\n\
         but the owner or the heirs.\n\n\
         Each word has a number; each row ends with the sum of its numbers: check it.\n\
         To join: type rows like these into a file for each share, then\n\
         \x20 asl-host key card --join FILE FILE --to owner.txt\n\n"
    ));
    for (row, three) in words.chunks(IN_A_ROW).enumerate() {
        text.push_str(&format!("{:3}.", row + 1));
        for index in three {
            let said = word(*index).unwrap_or_default();
            text.push_str(&format!("  {said:<8} {:4}", index + 1));
        }
        let sum: u32 = three.iter().map(|n| u32::from(*n) + 1).sum();
        text.push_str(&format!("   sum {sum}\n"));
    }
    text
}

/// Bits, the highest of each byte first.
#[derive(Default)]
struct Bits(Zeroizing<Vec<bool>>);

impl Bits {
    fn of(bytes: &[u8]) -> Bits {
        let mut bits = Bits::default();
        bytes.iter().for_each(|b| bits.push(u64::from(*b), 8));
        bits
    }

    fn push(&mut self, value: u64, count: usize) {
        self.0.extend((0..count).rev().map(|n| value >> n & 1 == 1));
    }

    fn get(&self, at: usize, count: usize) -> u64 {
        let bits = self.0.get(at..at + count).unwrap_or_default();
        bits.iter().fold(0, |n, bit| n << 1 | u64::from(*bit))
    }

    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let whole = self.0.chunks(8);
        Zeroizing::new(
            whole
                .map(|b| b.iter().fold(0, |n, bit| n << 1 | u8::from(*bit)))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Split {
        dir: tempfile::TempDir,
        identity: PathBuf,
        sheets: Vec<PathBuf>,
    }

    fn split_of(plan: &str) -> Split {
        let dir = tempfile::tempdir().unwrap();
        let identity = dir.path().join("owner.txt");
        std::fs::write(&identity, &*OpenIdentity::generate().1).unwrap();
        let to = dir.path().join("shares");
        let plan: Plan = plan.parse().unwrap();
        split(&identity, "alice", plan, &to, Out::new(true)).unwrap();
        let sheets = (1..=plan.shares).map(|n| to.join(format!("share-{n}.txt")));
        let sheets = sheets.collect();
        Split {
            dir,
            identity,
            sheets,
        }
    }

    #[test]
    fn any_two_of_three_shares_give_the_key_back_and_one_gives_nothing() {
        let s = split_of("2of3");
        let secret = read_line(&s.identity).unwrap();
        for pair in [[0, 1], [1, 2], [2, 0]] {
            let pair = pair.map(|n: usize| s.sheets[n].clone());
            assert_eq!(*joined(&pair).unwrap(), *secret);
        }
        assert_eq!(*joined(&s.sheets).unwrap(), *secret);
        let e = joined(&s.sheets[..1]).unwrap_err();
        assert!(e.why().contains("2 are needed"), "{e}");
        let twice = [s.sheets[0].clone(), s.sheets[0].clone()];
        assert!(joined(&twice).unwrap_err().why().contains("1 different"));
    }

    #[test]
    fn a_mistyped_word_is_told_with_its_row_and_never_gives_another_key() {
        let s = split_of("2of2");
        let text = std::fs::read_to_string(&s.sheets[0]).unwrap();
        let rows: Vec<&str> = text.lines().filter(|l| l.contains("sum ")).collect();
        let row = *rows.last().unwrap();
        let said = row.split_whitespace().nth(1).unwrap();
        let other = if said == "zoo" { "zone" } else { "zoo" };
        let typed = s.dir.path().join("typed.txt");
        let with = |row_now: String| {
            std::fs::write(&typed, text.replace(row, &row_now)).unwrap();
            joined(&[typed.clone(), s.sheets[1].clone()]).unwrap_err()
        };
        let wrong = row.replacen(said, other, 1);
        assert!(with(wrong.clone()).why().contains("row 12: the sum"));
        // Without the sums the check over all words finds it.
        let bare = wrong.split("sum").next().unwrap().to_string();
        assert!(with(bare).why().contains("do not belong together"));
        assert!(with(row.replacen(said, "hollandaise", 1))
            .why()
            .contains("no word"));
        assert!(with(String::new()).why().contains("33 words"));
    }

    #[test]
    fn shares_of_two_splits_are_not_mixed() {
        let (a, b) = (split_of("2of3"), split_of("2of3"));
        let e = joined(&[a.sheets[0].clone(), b.sheets[1].clone()]).unwrap_err();
        assert!(e.why().contains("another split"), "{e}");
    }

    #[test]
    fn a_sheet_fits_a_terminal() {
        let s = split_of("3of5");
        let text = std::fs::read_to_string(&s.sheets[4]).unwrap();
        assert!(
            text.lines().all(|l| l.len() <= 80 && l.is_ascii()),
            "{text}"
        );
        assert!(text.contains("LOST FOR EVER"));
    }

    #[test]
    fn a_plan_that_is_none_is_refused() {
        for text in ["", "1of3", "4of3", "2of17", "2", "aofb", "2 of 3"] {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
    }
}
