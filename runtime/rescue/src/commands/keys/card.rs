//! `key card`: the paper an owner prints and keeps with other papers.
//!
//! 80 columns and plain ASCII: any printer, any terminal, any typewriter. On the second sheet, which
//! holds the owner's secret, stand QR codes too.

use super::bundle::require_owner;
use super::holding::Holding;
use super::{key_json, recipient_json, recipient_words, split};
use crate::cli::KeyCard;
use crate::commands::context;
use crate::out::{time, Out};
use crate::qr;
use asl_backend::files;
use asl_core::{Error, Kind, Result};
use serde_json::json;
use std::path::Path;
use zeroize::Zeroizing;

/// Columns of the card.
const WIDTH: usize = 78;

/// Letters of a secret in a group, and groups in a line.
const GROUP: usize = 5;
const GROUPS: usize = 4;

pub fn run(args: &KeyCard, out: Out) -> Result<()> {
    let owner_identity = args.with_owner_identity.as_deref();
    let (keys, to) = (args.keys.as_deref(), args.to.as_deref());
    if let Some(to) = to.filter(|_| !args.join.is_empty()) {
        return split::join(&args.join, to, out);
    }
    let nothing = || {
        let why = "nothing says which keys";
        Error::new(Kind::Usage, "print", "a card", why)
            .next("give --keys DIR, or --join FILE --to FILE")
    };
    let holding = Holding::of(keys.ok_or_else(nothing)?)?;
    if let (Some(plan), Some(identity), Some(to)) = (args.split, owner_identity, to) {
        require_owner(identity, &holding)?;
        let label = holding.whole()?.genesis().label.to_string();
        return split::split(identity, &label, plan, to, out);
    }
    let text = card(&holding, owner_identity)?;
    let object = json!({
        "domain_id": holding.domain(),
        "owner": holding.owners.iter().map(|r| recipient_json(r)).collect::<Vec<_>>(),
        "roots": holding.roots.iter().map(key_json).collect::<Vec<_>>(),
        "operators": holding.operators.iter().map(key_json).collect::<Vec<_>>(),
        "owner_identity_on_it": owner_identity.is_some(),
        "card": *text,
    });
    out.result(&text, &object)
}

/// The card's text; the owner's secret is on it only where its file is given.
///
/// # Errors
/// `Refused` where the keys do not belong together or the identity is not the owner's; those of
/// reading them.
pub fn card(holding: &Holding, owner_identity: Option<&Path>) -> Result<Zeroizing<String>> {
    let dam = holding.whole()?;
    let secret = owner_identity
        .map(|path| require_owner(path, holding).and_then(|()| identity_lines(path)))
        .transpose()?;
    let mut card = Card(Zeroizing::new(String::with_capacity(16 << 10)));
    card.rule();
    card.line(&format!(
        "CARD of {}     printed {}",
        dam.genesis().label,
        time(context().clock.wall_ns())
    ));
    card.line("Keep it with your papers. Not with a stick, not in a computer.");
    if secret.is_some() {
        card.line("A second sheet follows, with the owner's secret: keep it elsewhere.");
    }
    card.rule();
    card.pair("domain", &dam.genesis().domain_id().to_string());
    card.pair("full name", &dam.dam().domain.to_string());
    let ends = dam.dam().not_after.map(|t| time(t.unix_ns));
    card.pair(
        "DAM",
        &format!(
            "number {}; {}",
            dam.dam().sequence,
            ends.map_or("it does not end".into(), |t| format!("it ends {t}"))
        ),
    );
    card.pair(
        "proven",
        &holding.proof.as_ref().map_or_else(
            |_| "NO: run `asl-host key check` with the owner's key".into(),
            |p| format!("{}: the owner's key opened a probe", time(p.time.unix_ns)),
        ),
    );
    card.fingerprints(holding);
    card.meanings();
    if let Some(lines) = &secret {
        card.secret(lines)?;
    }
    card.rule();
    Ok(card.0)
}

struct Card(Zeroizing<String>);

impl Card {
    fn line(&mut self, text: &str) {
        self.0.push_str(text.trim_end());
        self.0.push('\n');
    }

    fn rule(&mut self) {
        self.line(&"=".repeat(WIDTH));
    }

    fn heading(&mut self, text: &str) {
        self.line("");
        self.line(text);
    }

    /// A name and what it stands for, which may need several lines.
    fn pair(&mut self, name: &str, value: &str) {
        let room = WIDTH - 12;
        let letters: Vec<char> = value.chars().collect();
        let mut name = name;
        for part in letters.chunks(room) {
            let part: String = part.iter().collect();
            self.line(&format!("  {name:9} {part}"));
            name = "";
        }
    }

    /// Twelve words with their numbers: the rescue screen asks for one of them.
    fn words(&mut self, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        for (row, four) in words.chunks(4).enumerate() {
            let mut line = " ".repeat(11);
            for (n, word) in four.iter().enumerate() {
                line.push_str(&format!(" {:2} {word:12}", row * 4 + n + 1));
            }
            self.line(&line);
        }
    }

    fn fingerprints(&mut self, h: &Holding) {
        self.heading(
            "OWNER: for this key data is sealed. The rescue screen asks for one of its words.",
        );
        for recipient in &h.owners {
            self.pair("key", recipient);
            self.words(&recipient_words(recipient));
        }
        self.heading("DATA: the key of the blocks, which only the owner's key unlocks");
        if let Some(recipient) = &h.data_recipient {
            self.words(&recipient_words(recipient));
        }
        self.heading("ROOT: signs who speaks for the domain");
        for key in &h.roots {
            self.words(&key.words());
        }
        self.heading("OPERATOR: speaks for the domain at a host");
        for key in &h.operators {
            self.words(&key.words());
        }
        for host in h.hosts.iter().flatten() {
            self.heading(&format!("HOST {} at {}", host.name, host.address));
            if let Ok(key) = host.public_key() {
                self.words(&key.words());
            }
        }
    }

    fn meanings(&mut self) {
        for text in MEANINGS.lines() {
            self.line(text);
        }
    }

    fn secret(&mut self, lines: &[Zeroizing<String>]) -> Result<()> {
        // A sheet of its own, to be kept apart from the card.
        self.line("\u{c}");
        self.rule();
        self.line("THE OWNER'S SECRET (owner.txt): whoever reads this sheet reads everything.");
        self.rule();
        for text in HOW_TO_TYPE.lines() {
            self.line(text);
        }
        for line in lines {
            self.line("");
            let letters: Zeroizing<Vec<char>> = Zeroizing::new(line.chars().collect());
            for (n, part) in letters.chunks(GROUP * GROUPS).enumerate() {
                self.0.push_str(&format!("  {:2}   ", n + 1));
                for n in 0..GROUPS {
                    let group = part.chunks(GROUP).nth(n).unwrap_or_default();
                    self.0.extend(group);
                    let blank = GROUP - group.len() + 2;
                    self.0.push_str(&" ".repeat(blank));
                }
                self.line(&format!("  sum {}", sum(part)));
            }
            self.heading("The same for a camera:");
            let drawing = Zeroizing::new(qr::draw_for_paper(line)?);
            for row in drawing.lines() {
                self.line(&format!("  {row}"));
            }
        }
        Ok(())
    }
}

const MEANINGS: &str = "
WHAT OPENS WHAT
  owner's identity   reads, lists and restores everything, alone, for ever.
  (owner.txt)        It lies at ___________________ and at ___________________
  root key           signs the next DAM: other keys, a later end. Reads nothing.
  (root.key)         It lies at ___________________ and at ___________________
  key stick and      seal new data and ask a host for admission. Read nothing.
  its passphrase     The stick lies at ___________________

WHAT IS LOST FOR EVER
  owner's identity   ALL SEALED DATA. Nobody can help. Keep two copies apart.
  root key           the DAM stays as it is until it ends. Data still opens.
  passphrase         nothing that is sealed. Make new keys to seal again.
  key stick          nothing: write another from the keys at home. A thief reads
                     nothing; who has the passphrase too seals in your name.
  this card          nothing: print another.

HOW TO GET IT BACK
  Take the disk that was sealed to (folder asl-host), and owner.txt. With the
  program on the key stick, on any PC with Linux:
    ./asl-host restore --root /media/DISK/asl-host --identity owner.txt --to NEW
  Without it, RECOVER.txt on the key stick needs age, zstd and Python alone:
    python3 RECOVER.txt /media/DISK/asl-host/domains/NAME owner.txt NEW
";

const HOW_TO_TYPE: &str =
    "  To have owner.txt again, type the letters of these lines, without blanks, as
  one line into a file. Check each line: the sum of its letters (A=1 to Z=26)
  and digits, - being 0. `age-keygen -y owner.txt` must then print the owner's
  key of this card: it refuses any mistake that the sums let through.";

/// The sum a person can check: letters by their place in the alphabet, digits as they are.
fn sum(part: &[char]) -> u32 {
    let value = |c: &char| match c {
        'A'..='Z' => u32::from(*c) - u32::from('A') + 1,
        digit => digit.to_digit(10).unwrap_or(0),
    };
    part.iter().map(value).sum()
}

/// The lines of an age identity file that are secret; capitals, digits and dashes alone.
fn identity_lines(path: &Path) -> Result<Vec<Zeroizing<String>>> {
    let bytes = Zeroizing::new(files::read_limited(path, 64 << 10)?);
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let lines: Vec<Zeroizing<String>> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|l| Zeroizing::new(l.to_string()))
        .collect();
    let can_be_typed = |l: &Zeroizing<String>| {
        l.bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
    };
    if !lines.is_empty() && lines.len() <= 4 && lines.iter().all(can_be_typed) {
        return Ok(lines);
    }
    Err(Error::new(
        Kind::Refused,
        "print",
        path.display(),
        "only one to four AGE-SECRET-KEY lines can be typed back from paper",
    )
    .next("print the card without it, and keep copies of the file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_one_a_person_makes() {
        let letters: Vec<char> = "AGE-SECRET-KEY-1QZ9".chars().collect();
        // A1 G7 E5, S19 E5 C3 R18 E5 T20, K11 E5 Y25, 1, Q17 Z26 9
        assert_eq!(sum(&letters), 13 + 70 + 41 + 1 + 17 + 26 + 9);
    }

    #[test]
    fn two_letters_that_change_places_are_found_by_age_and_one_mistyped_by_the_sum() {
        let (right, wrong): (Vec<char>, Vec<char>) =
            ("ABC".chars().collect(), "ABD".chars().collect());
        assert_ne!(sum(&right), sum(&wrong));
    }

    #[test]
    fn the_printed_words_fit_a_terminal() {
        for text in [MEANINGS, HOW_TO_TYPE] {
            for line in text.lines() {
                assert!(line.len() <= 80 && line.is_ascii(), "{line}");
            }
        }
    }
}
