//! One rule of a keeper's own: conditions, an outcome, and the terms that go with it.

use crate::document::AdmissionResult;
use crate::keys::PublicKey;
use asl_core::Label;

/// How a domain has behaved on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// Leases that ran out here.
    pub lapses: u32,
    /// Suspensions by the keeper's own hand.
    pub suspensions: u32,
}

/// Whose roots a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those that the keeper trusts.
    Known,
    /// Those of which none is trusted.
    Unknown,
    /// Those with this key among them.
    Key(PublicKey),
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The domain's label.
    pub label: &'a Label,
    /// The root keys of its DAM.
    pub roots: &'a [PublicKey],
    /// Whether one of them is trusted here.
    pub known: bool,
    /// Whether all that it holds is encrypted.
    pub encrypted: bool,
    /// Bytes asked for.
    pub bytes: u64,
    /// Seconds asked for.
    pub seconds: u64,
    /// How it has behaved.
    pub conduct: Conduct,
}

/// A rule: where every condition that is there fits, its outcome is the policy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in the policy.
    pub name: String,
    /// The line of its name in the file.
    pub line: usize,
    /// The outcome it gives.
    pub outcome: AdmissionResult,
    /// Labels it is about.
    pub labels: Option<Vec<String>>,
    /// Roots it is about.
    pub roots: Option<Roots>,
    /// Encrypted domains, or plain ones.
    pub encrypted: Option<bool>,
    /// More bytes asked for than these.
    pub bytes_over: Option<u64>,
    /// More seconds asked for than these.
    pub seconds_over: Option<u64>,
    /// More leases that ran out than these.
    pub lapses_over: Option<u32>,
    /// More suspensions than these.
    pub suspensions_over: Option<u32>,
    /// Bytes of a lease at most, in the place of the policy's.
    pub max_bytes: Option<u64>,
    /// Seconds of a lease at most, in the place of the policy's.
    pub max_seconds: Option<u64>,
    /// Snapshots of a lease at most, in the place of the policy's.
    pub snapshots: Option<u32>,
}

impl Rule {
    /// Why it is not about what is asked; `None` where it is.
    pub fn misses(&self, asked: &Asked<'_>) -> Option<String> {
        let over = |name: &str, limit: Option<u64>, is: u64| {
            let within = limit.filter(|limit| is <= *limit);
            within.map(|limit| format!("{name} is {is}, not over {limit}"))
        };
        let labels = self.labels.as_ref();
        let label = labels.filter(|all| !fits_any(all, asked.label));
        label
            .map(|_| format!("the label {} is not among its labels", asked.label))
            .or_else(|| self.roots.as_ref().and_then(|roots| roots.misses(asked)))
            .or_else(|| {
                let other = self.encrypted.filter(|wanted| *wanted != asked.encrypted);
                other.map(|wanted| match wanted {
                    true => "the domain is not encrypted".to_string(),
                    false => "the domain is encrypted".to_string(),
                })
            })
            .or_else(|| {
                over(
                    "the number of bytes asked for",
                    self.bytes_over,
                    asked.bytes,
                )
            })
            .or_else(|| {
                over(
                    "the number of seconds asked for",
                    self.seconds_over,
                    asked.seconds,
                )
            })
            .or_else(|| {
                let limit = self.lapses_over.map(u64::from);
                over(
                    "the number of leases that ran out",
                    limit,
                    asked.conduct.lapses.into(),
                )
            })
            .or_else(|| {
                let limit = self.suspensions_over.map(u64::from);
                over(
                    "the number of suspensions",
                    limit,
                    asked.conduct.suspensions.into(),
                )
            })
    }
}

impl Roots {
    fn misses(&self, asked: &Asked<'_>) -> Option<String> {
        let (fits, why) = match self {
            Roots::Known => (asked.known, "none of its roots is trusted here"),
            Roots::Unknown => (!asked.known, "its root is trusted here"),
            Roots::Key(key) => (asked.roots.contains(key), "the key is not among its roots"),
        };
        (!fits).then(|| why.to_string())
    }
}

/// Whether a label is one of these, or begins as one that ends in `*`.
pub(super) fn fits_any(patterns: &[String], label: &Label) -> bool {
    let fits = |pattern: &String| match pattern.strip_suffix('*') {
        Some(beginning) => label.as_str().starts_with(beginning),
        None => label.as_str() == pattern,
    };
    patterns.iter().any(fits)
}

/// Whether a text is a label, or the beginning of one and `*`.
pub(super) fn is_pattern(text: &str) -> bool {
    let beginning = text.strip_suffix('*').unwrap_or(text);
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    !text.is_empty() && beginning.len() <= 48 && beginning.bytes().all(good)
}
