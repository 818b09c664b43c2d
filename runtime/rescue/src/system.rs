//! What only the binary may take from the system: clock, entropy, interruption.

use asl_core::{Entropy, Error, HostClock, Kind, Result};
use nix::time::{clock_gettime, ClockId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The system's clocks.
pub struct SystemClock;

impl HostClock for SystemClock {
    fn wall_ns(&self) -> i64 {
        // A clock beyond the year 2262 says 2262: it is a claim either way.
        read(ClockId::CLOCK_REALTIME).map_or(0, |t| {
            i64::try_from(i128::from(t.tv_sec()) * 1_000_000_000 + i128::from(t.tv_nsec()))
                .unwrap_or(i64::MAX)
        })
    }

    fn since_boot(&self) -> Duration {
        read(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
    }
}

fn read(clock: ClockId) -> Option<nix::sys::time::TimeSpec> {
    clock_gettime(clock).ok()
}

/// The system's randomness.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer)
            .map_err(|e| Error::new(Kind::Io, "get randomness from", "the system", e))
    }
}

static STOP: AtomicBool = AtomicBool::new(false);
static END: AtomicBool = AtomicBool::new(false);

/// Whether the person pressed Ctrl-C or the system asked us to end.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed) || told_to_end()
}

/// Forgets an earlier interruption, for a session that goes on after it.
pub fn reset_stop() {
    STOP.store(false, Ordering::Relaxed);
}

/// Whether the system, or another console, told the session to end: then nobody is asked any more.
pub fn told_to_end() -> bool {
    END.load(Ordering::Relaxed)
}

/// Turns SIGINT, SIGTERM and SIGHUP into [`stopped`], so that a long work ends between two pieces.
///
/// # Errors
/// `Io` where a handler cannot be set.
pub fn catch_signals() -> Result<()> {
    let flags = [
        (signal_hook::consts::SIGINT, &STOP),
        (signal_hook::consts::SIGTERM, &END),
        (signal_hook::consts::SIGHUP, &END),
    ];
    for (signal, flag) in flags {
        let set = move || flag.store(true, Ordering::Relaxed);
        // SAFETY: the handler stores to one atomic, which is async-signal-safe.
        unsafe { signal_hook::low_level::register(signal, set) }
            .map_err(|e| Error::new(Kind::Io, "watch for", "interruptions", e))?;
    }
    Ok(())
}

/// Keeps this process out of core dumps and debuggers' hands.
///
/// # Errors
/// `Io` where the kernel refuses.
pub fn guard_memory() -> Result<()> {
    nix::sys::prctl::set_dumpable(false).map_err(|e| Error::new(Kind::Io, "guard", "memory", e))
}

/// Ends this process when its parent ends, however that does: nobody else would read its answer.
///
/// # Errors
/// `Io` where the kernel refuses.
pub fn end_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .map_err(|e| Error::new(Kind::Io, "tie to its parent", "the unlocking child", e))
}
