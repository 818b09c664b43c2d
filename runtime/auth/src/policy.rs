//! The host-policy: what a host's keeper grants to domains that ask.

use crate::document::{AdmissionResult, Reclaim};
use asl_core::{Error, Kind, Label, Result};
use serde::Deserialize;
use toml::Spanned;

/// The policy a new host gets: strangers are refused, known roots get a courtesy lease.
pub const DEFAULT_POLICY: &str = r#"# host-policy: what this host grants to domains that ask for admission.
# `asl-host serve` refuses to start with a mistake in it, and names the line.
layout = 1

[admission]
# ACCEPTED, ACCEPTED_LIMITED, DEFERRED or REJECTED.
# A root is known when its key lies in host/trusted-roots/.
known_roots = "ACCEPTED_LIMITED"
unknown_roots = "REJECTED"
# Labels of the domains that are taken in: whole labels, or a beginning and "*".
labels = ["*"]
# The most domains without a known root that are kept here at once, whatever their outcome was;
# a rejected one does not count.
strangers = 64
# Take only domains whose every block is an age file.
encryption_only = true

[lease]
# The most that one lease may hold, and all leases together.
max_bytes = "64 GiB"
total_bytes = "256 GiB"
snapshots = 64
max_time = "30 days"
# Time after the end of a lease before anything is unpinned or reclaimed.
grace = "7 days"
# after-grace, or by-keeper.
reclaim = "after-grace"
renewable = true
"#;

/// What a host's keeper grants (seed 002, section 3; architecture.md, "State").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPolicy {
    /// The outcome where a root key of the DAM is trusted here.
    pub known_roots: AdmissionResult,
    /// The outcome where none is.
    pub unknown_roots: AdmissionResult,
    /// The labels that are taken in; a pattern ends in `*` or is a whole label.
    pub labels: Vec<String>,
    /// Domains without a trusted root that are kept here at most.
    pub strangers: u32,
    /// Only encrypted domains are taken in.
    pub encryption_only: bool,
    /// Bytes of one lease at most.
    pub max_bytes: u64,
    /// Bytes of all leases together at most.
    pub total_bytes: u64,
    /// Snapshots of one lease at most.
    pub snapshots: u32,
    /// Seconds of one lease at most.
    pub max_seconds: u64,
    /// Seconds of grace after the end.
    pub grace_s: u64,
    /// What happens after the grace.
    pub reclaim: Reclaim,
    /// Whether leases can be renewed.
    pub renewable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    layout: Spanned<u64>,
    admission: RawAdmission,
    lease: RawLease,
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
    fn error(&self, at: usize, why: &str) -> Error {
        let line = self.0.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
        Error::new(
            Kind::Invalid,
            "read",
            "host-policy",
            format!("line {line}: {why}"),
        )
        .next("correct that line in host/host-policy and start again")
    }

    fn parsed<T: std::str::FromStr<Err = Error>>(&self, text: &Spanned<String>) -> Result<T> {
        let parsed = text.get_ref().parse();
        parsed.map_err(|e: Error| self.error(text.span().start, e.why()))
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
        for label in &raw.admission.labels {
            if !is_pattern(label.get_ref()) {
                let why = "not a label, nor the beginning of one and \"*\"";
                return Err(page.error(label.span().start, why));
            }
        }
        let lease = &raw.lease;
        Ok(HostPolicy {
            known_roots: page.parsed(&raw.admission.known_roots)?,
            unknown_roots: page.parsed(&raw.admission.unknown_roots)?,
            labels: raw
                .admission
                .labels
                .into_iter()
                .map(Spanned::into_inner)
                .collect(),
            strangers: raw.admission.strangers,
            encryption_only: raw.admission.encryption_only,
            max_bytes: page.amount(&lease.max_bytes, BYTES, u64::MAX)?,
            total_bytes: page.amount(&lease.total_bytes, BYTES, u64::MAX)?,
            snapshots: *lease.snapshots.get_ref(),
            max_seconds: page.amount(&lease.max_time, TIMES, MAX_TIME)?,
            grace_s: page.amount(&lease.grace, TIMES, MAX_TIME)?,
            reclaim: page.parsed(&lease.reclaim)?,
            renewable: lease.renewable,
        })
    }

    /// Whether a domain of this label is taken in.
    pub fn takes_label(&self, label: &Label) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => label.as_str().starts_with(beginning),
            None => label.as_str() == pattern,
        };
        self.labels.iter().any(fits)
    }
}

fn is_pattern(text: &str) -> bool {
    let beginning = text.strip_suffix('*').unwrap_or(text);
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    !text.is_empty() && beginning.len() <= 48 && beginning.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_reads_as_its_comments_say() {
        let p = HostPolicy::parse(DEFAULT_POLICY).unwrap();
        assert_eq!(p.known_roots, AdmissionResult::AcceptedLimited);
        assert_eq!(p.unknown_roots, AdmissionResult::Rejected);
        assert_eq!((p.max_bytes, p.total_bytes), (64 << 30, 256 << 30));
        assert_eq!((p.max_seconds, p.grace_s), (30 * 86400, 7 * 86400));
        assert!(p.encryption_only && p.renewable);
        assert_eq!(p.strangers, 64);
        assert!(p.takes_label(&"anything".parse().unwrap()));
    }

    #[test]
    fn a_policy_that_cannot_be_meant_is_refused_with_its_line() {
        for (from, to, line, why) in [
            ("layout = 1", "layout = 2", 3, "layout"),
            ("\"REJECTED\"", "\"MAYBE\"", 9, "not ACCEPTED"),
            ("[\"*\"]", "[\"a*b\"]", 11, "not a label"),
            ("[\"*\"]", "[\"\"]", 11, "not a label"),
            ("strangers = 64", "strangers = -1", 14, ""),
            ("\"64 GiB\"", "\"64 GB\"", 20, "KiB"),
            ("\"64 GiB\"", "0", 20, "zero or too large"),
            ("\"64 GiB\"", "-5", 20, ""),
            ("\"256 GiB\"", "\"99999999999 TiB\"", 21, "KiB"),
            ("\"30 days\"", "\"99999999 days\"", 23, "zero or too large"),
            ("\"30 days\"", "\"a month\"", 23, "hours"),
            (
                "after-grace\"\n",
                "never\"\n",
                27,
                "after-grace or by-keeper",
            ),
            ("renewable = true", "renewable = 1", 28, ""),
            ("max_bytes", "max_byte", 20, "max_byte"),
            ("grace = ", "grace == ", 25, ""),
        ] {
            let text = DEFAULT_POLICY.replacen(from, to, 1);
            assert_ne!(text, DEFAULT_POLICY, "{from}");
            let e = HostPolicy::parse(&text).unwrap_err();
            assert!(e.why().contains(&format!("line {line}:")), "{to}: {e}");
            assert!(e.why().contains(why), "{to}: {e}");
        }
        let text = DEFAULT_POLICY.replace("snapshots = 64\n", "");
        let e = HostPolicy::parse(&text).unwrap_err();
        assert!(e.why().contains("snapshots"), "{e}");
    }

    #[test]
    fn a_label_pattern_takes_its_beginning_and_nothing_else() {
        let text = DEFAULT_POLICY.replace("[\"*\"]", "[\"alice.*\", \"bob\"]");
        let p = HostPolicy::parse(&text).unwrap();
        let takes = |l: &str| p.takes_label(&l.parse().unwrap());
        assert!(takes("alice.personal") && takes("bob"));
        assert!(!takes("alice") && !takes("bobby") && !takes("eve"));
    }
}
