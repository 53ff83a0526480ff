// SPDX-License-Identifier: MPL-2.0
//! A pool of parked worker threads that run one borrowed closure at a time.
//!
//! A frame arrives every few milliseconds and takes less than one, so threads are created once and
//! parked between frames. Workers never spin. The calling thread starts at once; a late worker
//! takes fewer slices, and [`ThreadPool::run`] does not wait for workers that never started.
#![allow(unsafe_code)] // extends the lifetime of a borrowed closure for the duration of `run`

use crate::dmabuf;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

type Job<'w> = dyn Fn() + Sync + 'w;

/// Worker threads that support the caller of [`run`](Self::run).
#[derive(Debug)]
pub(super) struct ThreadPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Signals new work or shutdown.
    work: Condvar,
    /// Signals that the last running worker has finished.
    finished: Condvar,
}

#[derive(Default)]
struct State {
    /// The closure, and how many more workers may start it.
    work: Option<(&'static Job<'static>, usize)>,
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
        // The state is never left inconsistent; the closure runs without the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_loop(&self) {
        let mut state = self.lock();
        while !state.stop {
            let Some((work, vacancies @ 1..)) = state.work else {
                state = wait(&self.work, state);
                continue;
            };
            state.work = Some((work, vacancies - 1));
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

impl ThreadPool {
    /// Spawns `workers` threads named `name-1`, `name-2`, …; fewer if the system refuses more.
    pub(super) fn new(name: &str, workers: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (1..=workers).map_while(|number| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            dmabuf::spawn(thread, move || shared.work_loop()).ok()
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// Returns the number of worker threads.
    pub(super) fn workers(&self) -> usize {
        self.threads.len()
    }

    /// Calls `work` concurrently on this thread and on the workers, at most once each, and returns
    /// when all calls that began have returned.
    ///
    /// The number of calls is not known in advance: `work` must take slices from a shared source
    /// until none are left.
    ///
    /// # Panics
    /// Resumes the panic of a call of `work`.
    pub(super) fn run(&mut self, work: &(dyn Fn() + Sync)) {
        // SAFETY: only the lifetime changes. `Finish` takes the reference away from the threads,
        // and waits until none of them uses it, before this function returns or unwinds.
        let lent: &'static Job<'static> = unsafe { std::mem::transmute(work) };
        self.shared.lock().work = Some((lent, self.threads.len()));
        self.shared.work.notify_all();
        let finish = FinishGuard(&self.shared);
        work();
        drop(finish);
        let panic = self.shared.lock().panic.take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// Withdraws the closure on drop and waits until no worker runs it.
struct FinishGuard<'s>(&'s Shared);

impl Drop for FinishGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.work = None;
        while state.working > 0 {
            state = wait(&self.0.finished, state);
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // Panics were caught in `work_loop`.
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
    fn workers_run_concurrently() {
        let mut pool = ThreadPool::new("pool-test", 3);
        for _ in 0..50 {
            // Passes only when all four threads wait at once.
            let (all, calls) = (Barrier::new(4), AtomicUsize::new(0));
            pool.run(&|| {
                calls.fetch_add(1, SeqCst);
                all.wait();
            });
            assert_eq!(calls.load(SeqCst), 4);
        }
    }

    #[test]
    fn no_worker_runs_after_run_returns() {
        let mut pool = ThreadPool::new("pool-test", 4);
        for _ in 0..2000 {
            let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
            pool.run(&|| {
                while next.fetch_add(1, SeqCst) < 5 {
                    std::thread::yield_now();
                    done.fetch_add(1, SeqCst);
                }
            });
            assert_eq!(done.load(SeqCst), 5);
        }
    }

    #[test]
    fn worker_panic_reaches_the_caller_and_the_pool_survives() {
        let mut pool = ThreadPool::new("pool-test", 1);
        let caller = std::thread::current().id();
        let both = Barrier::new(2);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            pool.run(&|| {
                both.wait();
                assert_eq!(std::thread::current().id(), caller, "on purpose");
            });
        }));
        assert!(panic.is_err());
        let calls = AtomicUsize::new(0);
        pool.run(&|| {
            calls.fetch_add(1, SeqCst);
            both.wait();
        });
        assert_eq!(calls.load(SeqCst), 2);
    }

    #[test]
    fn pool_without_workers_runs_on_the_caller() {
        let mut pool = ThreadPool::new("pool-test", 0);
        let calls = AtomicUsize::new(0);
        pool.run(&|| {
            calls.fetch_add(1, SeqCst);
        });
        assert_eq!(calls.load(SeqCst), 1);
    }
}
