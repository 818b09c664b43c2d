//! Who may come in: so many connections of one address at once, and so many within a time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are remembered at most; beyond it those that are idle are forgotten.
const REMEMBERED: usize = 8192;

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its address has as many open as it may have.
    TooMany,
    /// Its address has come as often as it may within a time.
    TooOften,
}

/// The door for all addresses.
#[derive(Clone)]
pub(super) struct Gate {
    open: usize,
    a_minute: u32,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    seen: HashMap<IpAddr, Seen>,
    /// When those that are idle were last forgotten: a flood must not make that the work.
    swept: Option<Instant>,
}

struct Seen {
    open: usize,
    /// How often it may come at once; grows back with the time.
    left: f64,
    at: Instant,
}

/// A connection that was let in; its place is free again when this is dropped.
pub(super) struct Inside {
    gate: Gate,
    address: IpAddr,
}

impl Gate {
    pub(super) fn new(open: usize, a_minute: u32) -> Gate {
        Gate {
            open: open.max(1),
            a_minute: a_minute.max(1),
            book: Arc::default(),
        }
    }

    pub(super) fn enter(&self, from: IpAddr, now: Instant) -> Result<Inside, Refusal> {
        let address = household(from);
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let Book { seen, swept } = &mut *book;
        let long_ago = |at: Instant| now.duration_since(at) >= Duration::from_secs(1);
        if seen.len() >= REMEMBERED && swept.is_none_or(long_ago) {
            *swept = Some(now);
            seen.retain(|_, s| s.open > 0 || now.duration_since(s.at) < Duration::from_secs(60));
        }
        let full = seen.len() >= REMEMBERED && !seen.contains_key(&address);
        let most = f64::from(self.a_minute);
        let one = seen.entry(address).or_insert(Seen {
            open: 0,
            left: most,
            at: now,
        });
        let passed = now.duration_since(one.at).as_secs_f64();
        one.left = (one.left + passed * most / 60.0).min(most);
        one.at = now;
        let refusal = match one {
            Seen { open, .. } if *open >= self.open => Some(Refusal::TooMany),
            Seen { left, .. } if *left < 1.0 || full => Some(Refusal::TooOften),
            _ => None,
        };
        if let Some(refusal) = refusal {
            if full {
                seen.remove(&address);
            }
            return Err(refusal);
        }
        one.left -= 1.0;
        one.open += 1;
        let gate = self.clone();
        Ok(Inside { gate, address })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let book = &self.gate.book;
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = book.seen.get_mut(&self.address) {
            one.open = one.open.saturating_sub(1);
        }
    }
}

/// One household has one IPv4 address, or 64 bits of IPv6 addresses.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let (gate, now) = (Gate::new(2, 100), Instant::now());
        let one = gate.enter(address("192.0.2.1"), now);
        let _two = gate.enter(address("192.0.2.1"), now);
        assert_eq!(
            gate.enter(address("192.0.2.1"), now).err(),
            Some(Refusal::TooMany)
        );
        assert_eq!(
            gate.enter(address("::ffff:192.0.2.1"), now).err(),
            Some(Refusal::TooMany)
        );
        assert!(gate.enter(address("192.0.2.2"), now).is_ok());
        drop(one);
        assert!(gate.enter(address("192.0.2.1"), now).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one_household() {
        let (gate, now) = (Gate::new(1, 100), Instant::now());
        let _one = gate.enter(address("2001:db8::1"), now).ok().unwrap();
        let more = gate.enter(address("2001:db8::ffff:2"), now);
        assert_eq!(more.err(), Some(Refusal::TooMany));
        assert!(gate.enter(address("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn who_comes_too_often_waits_and_time_alone_lets_them_in_again() {
        let (gate, now) = (Gate::new(9, 60), Instant::now());
        let enter = |after| {
            gate.enter(address("192.0.2.1"), now + Duration::from_millis(after))
                .err()
        };
        for _ in 0..60 {
            assert_eq!(enter(0), None);
        }
        assert_eq!(enter(0), Some(Refusal::TooOften));
        assert_eq!(enter(900), Some(Refusal::TooOften));
        assert_eq!(enter(1100), None);
        assert_eq!(enter(1200), Some(Refusal::TooOften));
    }

    #[test]
    fn a_flood_of_addresses_is_not_remembered_for_ever_and_open_ones_are() {
        let (gate, now) = (Gate::new(1, 60), Instant::now());
        let _held = gate.enter(address("192.0.2.1"), now).ok().unwrap();
        for n in 0..20_000u32 {
            let from = IpAddr::V4((0x0a00_0000 + n).into());
            drop(gate.enter(from, now));
        }
        assert!(gate.book.lock().unwrap().seen.len() <= REMEMBERED);
        let later = now + Duration::from_secs(61);
        assert!(gate.enter(address("198.51.100.1"), later).is_ok());
        assert_eq!(
            gate.enter(address("192.0.2.1"), later).err(),
            Some(Refusal::TooMany)
        );
    }
}
