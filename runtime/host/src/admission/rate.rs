//! How often a host decides: so many new requests of a domain, and of all, within a time.

use asl_auth::policy::Rate;
use asl_core::{DomainHash, Error, Kind, Result};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// When requests were decided, by the time since boot; a host that starts anew begins anew.
#[derive(Debug, Default)]
pub(super) struct Decided {
    all: VecDeque<Duration>,
    of: BTreeMap<DomainHash, VecDeque<Duration>>,
    /// Lines of the audit log about requests that nobody stands for.
    idle: VecDeque<Duration>,
    /// Such requests that got no line.
    unwritten: u64,
}

impl Decided {
    /// Counts one more request of a domain, if it may be.
    pub(super) fn one_more(&mut self, of: DomainHash, rate: Rate, now: Duration) -> Result<()> {
        forget(&mut self.all, rate, now);
        self.of.retain(|_, times| {
            forget(times, rate, now);
            !times.is_empty()
        });
        let times = self.of.entry(of).or_default();
        let too_many = |count: usize, most: u32| count >= usize::try_from(most).unwrap_or(count);
        let refuse = |why: String| {
            Err(Error::new(Kind::Refused, "decide", "the request", why)
                .next("ask again later, or ask the keeper of that host"))
        };
        if too_many(times.len(), rate.per_domain) {
            let (most, within) = (rate.per_domain, rate.seconds);
            return refuse(format!(
                "the domain has asked {most} times within {within} s"
            ));
        }
        if too_many(self.all.len(), rate.total) {
            let (most, within) = (rate.total, rate.seconds);
            return refuse(format!(
                "this host was asked {most} times within {within} s"
            ));
        }
        times.push_back(now);
        self.all.push_back(now);
        Ok(())
    }

    /// Whether a request that nobody stands for gets a line of the audit log; if so, how many before
    /// it did not. Strangers must not be able to push the rest out of it.
    pub(super) fn gets_a_line(&mut self, rate: Rate, now: Duration) -> Option<u64> {
        forget(&mut self.idle, rate, now);
        if self.idle.len() >= usize::try_from(rate.total).unwrap_or(usize::MAX) {
            self.unwritten = self.unwritten.saturating_add(1);
            return None;
        }
        self.idle.push_back(now);
        Some(std::mem::take(&mut self.unwritten))
    }
}

fn forget(times: &mut VecDeque<Duration>, rate: Rate, now: Duration) {
    let within = Duration::from_secs(rate.seconds);
    while times
        .front()
        .is_some_and(|t| now.saturating_sub(*t) >= within)
    {
        times.pop_front();
    }
}
