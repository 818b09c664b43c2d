//! What a server tells of its connections: one event each, and numbers in the Prometheus text format.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// It went without asking.
    Left,
    /// It was too slow, and was cut.
    Slow,
    /// It made no TLS connection.
    NoTls,
    /// What it sent is no HTTP request.
    Malformed,
    /// It broke.
    Broken,
    /// Its address has too many connections; it was cut at once.
    TooMany,
    /// Its address came too often; it was cut at once.
    TooOften,
}

impl Outcome {
    /// The outcome as logs and metrics spell it.
    pub fn code(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Left => "left",
            Outcome::Slow => "slow",
            Outcome::NoTls => "no-tls",
            Outcome::Malformed => "malformed",
            Outcome::Broken => "broken",
            Outcome::TooMany => "too-many",
            Outcome::TooOften => "too-often",
        }
    }
}

/// One connection, once it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who it was.
    pub from: SocketAddr,
    /// What became of it.
    pub outcome: Outcome,
    /// Method and path that were asked for, at most 80 printable characters.
    pub asked: Option<String>,
    /// The status of the answer.
    pub status: Option<u16>,
    /// How long it lasted.
    pub lasted: Duration,
}

/// Numbers since the server was started.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    open: AtomicU64,
    over: Mutex<BTreeMap<Outcome, u64>>,
    /// By status alone: what strangers ask for must not make names without end.
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl Metrics {
    pub(super) fn begun(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, seen: &Seen) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        *over.entry(seen.outcome).or_default() += 1;
        if let Some(status) = seen.status {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            *answers.entry(status).or_default() += 1;
        }
    }

    /// The text, with what the service adds.
    pub(super) fn text(&self, more: &str) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, rows: Vec<(String, u64)>| {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for (labels, value) in rows {
                text.push_str(&format!("{name}{labels} {value}\n"));
            }
        };
        let open = vec![(String::new(), self.open.load(Ordering::Relaxed))];
        family(
            "asl_connections_open",
            "gauge",
            "Connections that are being served.",
            open,
        );
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let over = over
            .iter()
            .map(|(o, n)| (format!("{{outcome=\"{}\"}}", o.code()), *n));
        let over = over.collect();
        family(
            "asl_connections_total",
            "counter",
            "Connections that are over.",
            over,
        );
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = answers
            .iter()
            .map(|(s, n)| (format!("{{status=\"{s}\"}}"), *n));
        let answers = answers.collect();
        family(
            "asl_answers_total",
            "counter",
            "Answers that were given.",
            answers,
        );
        text.push_str(more);
        text
    }
}
