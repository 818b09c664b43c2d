//! The TOML of a host-policy, read so that every mistake has its line.

use super::rule::{is_pattern, Roots, Rule};
use super::{HostPolicy, LeaseBounds, Rate};
use crate::keys::PublicKey;
use asl_core::{Error, Kind, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    layout: Spanned<u64>,
    admission: RawAdmission,
    lease: RawLease,
    rate: Option<RawRate>,
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdmission {
    known_roots: Spanned<String>,
    unknown_roots: Spanned<String>,
    labels: Vec<Spanned<String>>,
    strangers: u32,
    encryption_only: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLease {
    max_bytes: Spanned<Amount>,
    total_bytes: Spanned<Amount>,
    snapshots: Spanned<u32>,
    max_time: Spanned<Amount>,
    grace: Spanned<Amount>,
    reclaim: Spanned<String>,
    renewable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRate {
    per_domain: Spanned<u32>,
    total: Spanned<u32>,
    within: Spanned<Amount>,
}

/// What a policy without `[rate]` means.
const USUAL_RATE: Rate = Rate {
    per_domain: 24,
    total: 1000,
    seconds: 86_400,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: Spanned<String>,
    outcome: Spanned<String>,
    labels: Option<Vec<Spanned<String>>>,
    roots: Option<Spanned<String>>,
    encrypted: Option<bool>,
    bytes_over: Option<Spanned<Amount>>,
    time_over: Option<Spanned<Amount>>,
    lapses_over: Option<u32>,
    suspensions_over: Option<u32>,
    max_bytes: Option<Spanned<Amount>>,
    max_time: Option<Spanned<Amount>>,
    snapshots: Option<u32>,
}

/// Rules in one policy at most.
const MAX_RULES: usize = 256;

#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Number(u64),
    Text(String),
}

const BYTES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const TIMES: &[(&str, u64)] = &[
    ("seconds", 1),
    ("minutes", 60),
    ("hours", 3600),
    ("days", 86400),
];

/// The longest time that can be stated: 100 years, so that no sum of times overflows.
const MAX_TIME: u64 = 100 * 366 * 86400;

impl Amount {
    fn read(&self, units: &[(&str, u64)]) -> Option<u64> {
        match self {
            Amount::Number(n) => Some(*n),
            Amount::Text(text) => {
                let (number, unit) = text.split_once(' ')?;
                let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
                number.parse::<u64>().ok()?.checked_mul(*scale)
            }
        }
    }
}

/// Turns a place in the text into a line number, and errors into ones that name it.
struct Page<'a>(&'a str);

impl Page<'_> {
    fn line(&self, at: usize) -> usize {
        self.0.bytes().take(at).filter(|b| *b == b'\n').count() + 1
    }

    fn error(&self, at: usize, why: &str) -> Error {
        let line = self.line(at);
        Error::new(
            Kind::Invalid,
            "read",
            "host-policy",
            format!("line {line}: {why}"),
        )
        .next("correct that line; `asl-host policy check` reads the file once more")
    }

    fn parsed<T: std::str::FromStr<Err = Error>>(&self, text: &Spanned<String>) -> Result<T> {
        let parsed = text.get_ref().parse();
        parsed.map_err(|e: Error| self.error(text.span().start, e.why()))
    }

    fn patterns(&self, labels: &[Spanned<String>]) -> Result<Vec<String>> {
        for label in labels {
            if !is_pattern(label.get_ref()) {
                let why = "not a label, nor the beginning of one and \"*\"";
                return Err(self.error(label.span().start, why));
            }
        }
        Ok(labels.iter().map(|l| l.get_ref().clone()).collect())
    }

    fn rate(&self, raw: Option<RawRate>) -> Result<Rate> {
        let Some(raw) = raw else {
            return Ok(USUAL_RATE);
        };
        for count in [&raw.per_domain, &raw.total] {
            if *count.get_ref() == 0 {
                let why = "none at all: to take nobody in, reject known and unknown roots";
                return Err(self.error(count.span().start, why));
            }
        }
        Ok(Rate {
            per_domain: *raw.per_domain.get_ref(),
            total: *raw.total.get_ref(),
            seconds: self.amount(&raw.within, TIMES, MAX_TIME)?,
        })
    }

    fn rules(&self, raw: Vec<RawRule>) -> Result<Vec<Rule>> {
        let mut names = BTreeSet::new();
        for (n, rule) in raw.iter().enumerate() {
            let at = rule.name.span().start;
            let name = rule.name.get_ref();
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if name.is_empty() || name.len() > 32 || !name.bytes().all(good) {
                return Err(self.error(at, "a rule's name is 1 to 32 of a-z, 0-9 and -"));
            }
            if !names.insert(name.clone()) {
                return Err(self.error(at, "another rule has that name"));
            }
            if n >= MAX_RULES {
                return Err(self.error(at, "more than 256 rules"));
            }
        }
        raw.iter().map(|rule| self.rule(rule)).collect()
    }

    fn rule(&self, raw: &RawRule) -> Result<Rule> {
        let bytes = |a: &Option<Spanned<Amount>>| self.maybe(a, BYTES, u64::MAX);
        let time = |a: &Option<Spanned<Amount>>| self.maybe(a, TIMES, MAX_TIME);
        Ok(Rule {
            name: raw.name.get_ref().clone(),
            line: self.line(raw.name.span().start),
            outcome: self.parsed(&raw.outcome)?,
            labels: raw
                .labels
                .as_deref()
                .map(|l| self.patterns(l))
                .transpose()?,
            roots: raw.roots.as_ref().map(|r| self.roots(r)).transpose()?,
            encrypted: raw.encrypted,
            bytes_over: bytes(&raw.bytes_over)?,
            seconds_over: time(&raw.time_over)?,
            lapses_over: raw.lapses_over,
            suspensions_over: raw.suspensions_over,
            max_bytes: bytes(&raw.max_bytes)?,
            max_seconds: time(&raw.max_time)?,
            snapshots: raw.snapshots,
        })
    }

    fn roots(&self, raw: &Spanned<String>) -> Result<Roots> {
        match raw.get_ref().as_str() {
            "known" => Ok(Roots::Known),
            "unknown" => Ok(Roots::Unknown),
            line => PublicKey::from_openssh(line).map(Roots::Key).map_err(|e| {
                let why = format!("not known, unknown or an ssh-ed25519 line: {}", e.why());
                self.error(raw.span().start, &why)
            }),
        }
    }

    fn maybe(
        &self,
        raw: &Option<Spanned<Amount>>,
        units: &[(&str, u64)],
        most: u64,
    ) -> Result<Option<u64>> {
        let read = raw.as_ref().map(|raw| self.amount(raw, units, most));
        read.transpose()
    }

    fn amount(&self, raw: &Spanned<Amount>, units: &[(&str, u64)], most: u64) -> Result<u64> {
        match raw.get_ref().read(units) {
            Some(n) if (1..=most).contains(&n) => Ok(n),
            Some(_) => Err(self.error(raw.span().start, "the amount is zero or too large")),
            None => {
                let names: Vec<&str> = units.iter().map(|u| u.0).collect();
                let why = format!(
                    "not a number, or \"N unit\" with one of {}",
                    names.join(", ")
                );
                Err(self.error(raw.span().start, &why))
            }
        }
    }
}

impl HostPolicy {
    /// Reads the TOML text of a host-policy. Every key must be there and no other: a misspelt
    /// limit must not widen anything.
    ///
    /// # Errors
    /// `Invalid`, with the number of the line.
    pub fn parse(text: &str) -> Result<HostPolicy> {
        let page = Page(text);
        let raw: Raw = toml::from_str(text)
            .map_err(|e| page.error(e.span().map_or(0, |s| s.start), e.message()))?;
        if *raw.layout.get_ref() != 1 {
            return Err(page.error(raw.layout.span().start, "a layout this program lacks"));
        }
        let labels = page.patterns(&raw.admission.labels)?;
        let lease = &raw.lease;
        Ok(HostPolicy {
            known_roots: page.parsed(&raw.admission.known_roots)?,
            unknown_roots: page.parsed(&raw.admission.unknown_roots)?,
            labels,
            strangers: raw.admission.strangers,
            encryption_only: raw.admission.encryption_only,
            lease: LeaseBounds {
                bytes: page.amount(&lease.max_bytes, BYTES, u64::MAX)?,
                snapshots: *lease.snapshots.get_ref(),
                seconds: page.amount(&lease.max_time, TIMES, MAX_TIME)?,
            },
            total_bytes: page.amount(&lease.total_bytes, BYTES, u64::MAX)?,
            grace_s: page.amount(&lease.grace, TIMES, MAX_TIME)?,
            reclaim: page.parsed(&lease.reclaim)?,
            renewable: lease.renewable,
            rate: page.rate(raw.rate)?,
            rules: page.rules(raw.rule)?,
        })
    }
}
