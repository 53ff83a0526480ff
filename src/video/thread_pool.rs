// SPDX-License-Identifier: MPL-2.0
//! Threads that wait, parked, for a frame's shares of work.
//!
//! A frame is there every few milliseconds and takes less than one: threads are made once and
//! parked between frames, and nobody spins. The frame's own thread begins at once; who wakes up
//! late finds less to do, and who does not wake up before all is dealt out is not waited for.
#![allow(unsafe_code)] // what is borrowed for a call is worked on by threads that outlive it

use crate::dmabuf;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

type Work<'w> = dyn Fn() + Sync + 'w;

/// Threads that help the one that calls [`run`](Self::run).
#[derive(Debug)]
pub(super) struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is work, or it is time to go home.
    work: Condvar,
    /// The last one who works has finished.
    finished: Condvar,
}

#[derive(Default)]
struct State {
    /// What there is to do, and how many more may join in.
    work: Option<(&'static Work<'static>, usize)>,
    working: usize,
    panic: Option<Box<dyn Any + Send>>,
    stop: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("working", &self.working)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What the mutex guards is whole at every moment; work is done outside of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn park(&self) {
        let mut state = self.lock();
        while !state.stop {
            let Some((work, places @ 1..)) = state.work else {
                state = wait(&self.work, state);
                continue;
            };
            state.work = Some((work, places - 1));
            state.working += 1;
            drop(state);
            let result = catch_unwind(AssertUnwindSafe(work));
            state = self.lock();
            state.panic = state.panic.take().or(result.err());
            state.working -= 1;
            if state.working == 0 {
                self.finished.notify_all();
            }
        }
    }
}

fn wait<'s>(condition: &Condvar, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
    condition
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    /// A crew of `helpers` threads, named after `name`; fewer where the system gives no more.
    pub(super) fn new(name: &str, helpers: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (1..=helpers).map_while(|number| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            dmabuf::spawn(thread, move || shared.park()).ok()
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Threads that help.
    pub(super) fn helpers(&self) -> usize {
        self.threads.len()
    }

    /// Calls `work` on this thread and on helpers, at the same time, once each, and returns when
    /// all who began have finished. How often it was called is not known before: it must take
    /// its shares from somewhere until there are none left.
    ///
    /// # Panics
    /// With what a call of `work` panicked with.
    pub(super) fn run(&mut self, work: &(dyn Fn() + Sync)) {
        // SAFETY: only the lifetime changes. `Finish` takes the reference away from the threads,
        // and waits until none of them uses it, before this function returns or unwinds.
        let lent: &'static Work<'static> = unsafe { std::mem::transmute(work) };
        self.shared.lock().work = Some((lent, self.threads.len()));
        self.shared.work.notify_all();
        let finish = Finish(&self.shared);
        work();
        drop(finish);
        let panic = self.shared.lock().panic.take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// Waits for everybody.
struct Finish<'s>(&'s Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.work = None;
        while state.working > 0 {
            state = wait(&self.0.finished, state);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // Its panics were caught.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    #[test]
    fn helpers_work_at_the_same_time() {
        let mut crew = Crew::new("crew-test", 3);
        for _ in 0..50 {
            // Passed only when all four are there at once.
            let (all, calls) = (Barrier::new(4), AtomicUsize::new(0));
            crew.run(&|| {
                calls.fetch_add(1, SeqCst);
                all.wait();
            });
            assert_eq!(calls.load(SeqCst), 4);
        }
    }

    #[test]
    fn nobody_is_still_at_work_afterwards() {
        let mut crew = Crew::new("crew-test", 4);
        for _ in 0..2000 {
            let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
            crew.run(&|| {
                while next.fetch_add(1, SeqCst) < 5 {
                    std::thread::yield_now();
                    done.fetch_add(1, SeqCst);
                }
            });
            assert_eq!(done.load(SeqCst), 5);
        }
    }

    #[test]
    fn panic_of_a_helper_reaches_the_caller_and_the_crew_lives_on() {
        let mut crew = Crew::new("crew-test", 1);
        let caller = std::thread::current().id();
        let both = Barrier::new(2);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            crew.run(&|| {
                both.wait();
                assert_eq!(std::thread::current().id(), caller, "on purpose");
            });
        }));
        assert!(panic.is_err());
        let calls = AtomicUsize::new(0);
        crew.run(&|| {
            calls.fetch_add(1, SeqCst);
            both.wait();
        });
        assert_eq!(calls.load(SeqCst), 2);
    }

    #[test]
    fn crew_of_nobody_is_the_caller() {
        let mut crew = Crew::new("crew-test", 0);
        let calls = AtomicUsize::new(0);
        crew.run(&|| {
            calls.fetch_add(1, SeqCst);
        });
        assert_eq!(calls.load(SeqCst), 1);
    }
}
