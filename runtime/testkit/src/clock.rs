//! A clock that says what a test told it.

use asl_core::HostClock;
use std::sync::Mutex;
use std::time::Duration;

/// A clock whose wall time and time since boot are set apart, so that either can be wrong.
#[derive(Debug)]
pub struct FakeClock(Mutex<(i64, Duration)>);

impl FakeClock {
    /// A clock at a wall time in unix nanoseconds, freshly booted.
    pub fn at(wall_ns: i64) -> Self {
        FakeClock(Mutex::new((wall_ns, Duration::ZERO)))
    }

    /// Sets the wall time alone, to any value, also back.
    pub fn set_wall_ns(&self, wall_ns: i64) {
        self.with(|now| now.0 = wall_ns);
    }

    /// Lets time pass for both clocks.
    pub fn advance(&self, time: Duration) {
        let ns = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        self.with(|now| *now = (now.0.saturating_add(ns), now.1.saturating_add(time)));
    }

    /// Boots again: the time since boot is zero, the wall time stays.
    pub fn reboot(&self) {
        self.with(|now| now.1 = Duration::ZERO);
    }

    fn with<T>(&self, act: impl FnOnce(&mut (i64, Duration)) -> T) -> T {
        let mut now = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        act(&mut now)
    }
}

impl HostClock for FakeClock {
    fn wall_ns(&self) -> i64 {
        self.with(|now| now.0)
    }

    fn since_boot(&self) -> Duration {
        self.with(|now| now.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_can_jump_while_the_time_since_boot_only_passes() {
        let clock = FakeClock::at(1_000);
        clock.advance(Duration::from_nanos(5));
        clock.set_wall_ns(-7);
        assert_eq!(
            (clock.wall_ns(), clock.since_boot()),
            (-7, Duration::from_nanos(5))
        );
        clock.reboot();
        assert_eq!((clock.wall_ns(), clock.since_boot()), (-7, Duration::ZERO));
        clock.set_wall_ns(i64::MAX);
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.wall_ns(), i64::MAX);
    }
}
