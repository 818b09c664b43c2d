//! Work on several threads, told in order.

use super::interrupted;
use asl_core::Result;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{sync_channel, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Threads at most: each holds a sealed block.
const MOST: usize = 4;
/// How often the caller is asked whether to stop, while nothing else happens.
const ASK: Duration = Duration::from_millis(100);

/// Looks at all items on as many threads as there are cores, and tells what was seen on the
/// caller's thread, in the items' own order.
///
/// # Errors
/// `Interrupted` where `stop` says so between items, and those of `tell`, which end the work.
pub(super) fn in_order<T: Sync, R: Send>(
    items: &[T],
    look: impl Fn(&T) -> R + Sync,
    stop: &dyn Fn() -> bool,
    mut tell: impl FnMut(&T, R) -> Result<()>,
) -> Result<()> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = cores.min(MOST).min(items.len());
    let (next, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (seen, looked) = sync_channel(workers);
    thread::scope(|scope| {
        for _ in 0..workers {
            let (seen, look, next, ended) = (seen.clone(), &look, &next, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    if seen.send((at, look(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(seen);
        // Taken in here, so that it is gone, and no thread waits to send, when the scope ends.
        let looked = looked;
        let mut early = BTreeMap::new();
        let mut told = 0;
        let mut run = || loop {
            if stop() {
                return Err(interrupted());
            }
            match looked.recv_timeout(ASK) {
                Ok((at, answer)) => {
                    early.insert(at, answer);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            while let Some((item, answer)) = items.get(told).zip(early.remove(&told)) {
                told += 1;
                tell(item, answer)?;
            }
        };
        let answer = run();
        ended.store(true, Ordering::Relaxed);
        answer
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use asl_core::{Error, Kind};

    #[test]
    fn what_is_seen_late_is_told_in_its_place() {
        let items: Vec<u64> = (0..200).collect();
        let look = |n: &u64| {
            if n.is_multiple_of(7) {
                thread::sleep(Duration::from_millis(3));
            }
            n * 2
        };
        let mut told = Vec::new();
        in_order(&items, look, &|| false, |n, twice| {
            assert_eq!(twice, n * 2);
            told.push(*n);
            Ok(())
        })
        .unwrap();
        assert_eq!(told, items);
        in_order(&[], |_: &u64| (), &|| false, |_, ()| Ok(())).unwrap();
    }

    #[test]
    fn a_stop_and_an_error_of_the_teller_end_it() {
        let items = [0u8; 1000];
        let looked = AtomicUsize::new(0);
        let look = |_: &u8| looked.fetch_add(1, Ordering::SeqCst);
        let e = in_order(&items, look, &|| true, |_, _| Ok(())).unwrap_err();
        assert_eq!(e.kind(), Kind::Interrupted);
        let broken = |_: &u8, _| Err(Error::new(Kind::Io, "tell", "", "broken"));
        let e = in_order(&items, look, &|| false, broken).unwrap_err();
        assert_eq!(e.kind(), Kind::Io);
        assert!(looked.load(Ordering::SeqCst) < 100, "it went on");
    }
}
