//! Commits beside the caller's own work: putting goes on while the medium syncs.

use asl_core::{Error, Kind, Result};
use asl_store::Ack;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A thread that commits when told to.
pub(super) struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    turn: Mutex<Turn>,
    called: Condvar,
}

#[derive(Default)]
struct Turn {
    at: At,
    stop: bool,
}

#[derive(Default)]
enum At {
    #[default]
    Rest,
    /// A commit is due or under way.
    Work,
    /// What came of it, not yet told.
    Done(Result<Option<Ack>>),
}

impl Committer {
    /// Starts the thread, which runs `commit` each time one is due.
    ///
    /// # Errors
    /// `Io` where there can be no more threads.
    pub(super) fn start(
        commit: impl Fn() -> Result<Option<Ack>> + Send + 'static,
    ) -> Result<Committer> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("commit".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.work(&commit)
        });
        Ok(Committer {
            shared,
            thread: Some(
                thread.map_err(|e| Error::new(Kind::Io, "start", "the committing thread", e))?,
            ),
        })
    }

    /// Tells what came of the last commit, or has the next one made where it is due; never waits
    /// for one.
    ///
    /// # Errors
    /// Those of `is_due` and of the commit that was made.
    pub(super) fn tend(&self, is_due: impl FnOnce() -> Result<bool>) -> Result<Option<Ack>> {
        let mut turn = self.shared.turn();
        match std::mem::take(&mut turn.at) {
            At::Done(told) => return told,
            At::Work => turn.at = At::Work,
            At::Rest if is_due()? => {
                turn.at = At::Work;
                self.shared.called.notify_one();
            }
            At::Rest => {}
        }
        Ok(None)
    }

    /// Lets go what was not told yet, after a commit of everything that the caller waited for.
    pub(super) fn forget(&self) {
        let mut turn = self.shared.turn();
        if matches!(turn.at, At::Done(_)) {
            turn.at = At::Rest;
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.turn().stop = true;
        self.shared.called.notify_one();
        if let Some(thread) = self.thread.take() {
            // It catches its own panics.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, commit: &dyn Fn() -> Result<Option<Ack>>) {
        let mut turn = self.turn();
        while !turn.stop {
            if !matches!(turn.at, At::Work) {
                let woken = self.called.wait(turn);
                turn = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(turn);
            let guarded = std::panic::AssertUnwindSafe(commit);
            let told = std::panic::catch_unwind(guarded).unwrap_or_else(|_| {
                let why = "the committing thread panicked";
                Err(Error::new(Kind::Io, "commit to", "the domain", why)
                    .next("open the domain again; what was acknowledged is there"))
            });
            turn = self.turn();
            turn.at = match told {
                Ok(None) => At::Rest,
                told => At::Done(told),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asl_backend::Durability;
    use asl_store::Head;
    use std::sync::mpsc::{channel, Receiver, Sender};
    use std::time::Duration;

    /// A committer whose every commit ends as it is told here, and says when it begins.
    fn committer() -> (Committer, Sender<Result<Option<Ack>>>, Receiver<()>) {
        let (tell, told) = channel::<Result<Option<Ack>>>();
        let (began, begins) = channel();
        let told = Mutex::new(told);
        let committer = Committer::start(move || {
            began.send(()).unwrap();
            // A sender that is gone is a commit that panics.
            told.lock().unwrap().recv().unwrap()
        });
        (committer.unwrap(), tell, begins)
    }

    fn ack() -> Ack {
        Ack {
            head: Head::empty(),
            durability: Durability::Volatile,
        }
    }

    /// Asks until the commit under way is told.
    fn outcome(committer: &Committer) -> Result<Option<Ack>> {
        loop {
            match committer.tend(|| Ok(false)) {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                told => return told,
            }
        }
    }

    #[test]
    fn nobody_waits_for_a_commit_under_way_and_it_is_told_once() {
        let (committer, tell, begins) = committer();
        assert_eq!(committer.tend(|| Ok(false)).unwrap(), None);
        assert_eq!(committer.tend(|| Ok(true)).unwrap(), None);
        begins.recv().unwrap();
        for _ in 0..100 {
            let second = committer.tend(|| panic!("asked while one is under way"));
            assert_eq!(second.unwrap(), None);
        }
        tell.send(Ok(Some(ack()))).unwrap();
        assert_eq!(outcome(&committer).unwrap(), Some(ack()));
        assert_eq!(committer.tend(|| Ok(false)).unwrap(), None);
        assert!(begins.try_recv().is_err(), "no commit that was not due");
    }

    #[test]
    fn a_commit_that_failed_is_told_and_the_next_is_made() {
        let (committer, tell, begins) = committer();
        committer.tend(|| Ok(true)).unwrap();
        begins.recv().unwrap();
        let full = Error::new(Kind::Io, "put", "a segment", "no space left");
        tell.send(Err(full)).unwrap();
        assert!(outcome(&committer).unwrap_err().why().contains("no space"));
        committer.tend(|| Ok(true)).unwrap();
        begins.recv().unwrap();
        tell.send(Ok(Some(ack()))).unwrap();
        assert_eq!(outcome(&committer).unwrap(), Some(ack()));
    }

    #[test]
    fn a_failure_that_a_later_commit_made_good_is_not_told() {
        let (committer, tell, begins) = committer();
        committer.tend(|| Ok(true)).unwrap();
        begins.recv().unwrap();
        tell.send(Err(Error::new(
            Kind::Io,
            "put",
            "a segment",
            "no space left",
        )))
        .unwrap();
        while !matches!(committer.shared.turn().at, At::Done(_)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        committer.forget();
        assert_eq!(committer.tend(|| Ok(false)).unwrap(), None);
    }

    #[test]
    fn a_commit_that_panics_is_an_error_and_not_silence() {
        let (committer, tell, _begins) = committer();
        drop(tell);
        committer.tend(|| Ok(true)).unwrap();
        let e = outcome(&committer).unwrap_err();
        assert!(e.what_next().contains("open the domain again"), "{e}");
    }

    #[test]
    fn an_end_waits_for_the_commit_under_way() {
        let (committer, tell, begins) = committer();
        committer.tend(|| Ok(true)).unwrap();
        begins.recv().unwrap();
        let ending = std::thread::spawn(move || drop(committer));
        std::thread::sleep(Duration::from_millis(30));
        assert!(!ending.is_finished());
        tell.send(Ok(None)).unwrap();
        ending.join().unwrap();
    }
}
