// SPDX-License-Identifier: MPL-2.0
//! Reports a window function that exceeds its deadline while it is still running.
//!
//! A window cannot be revoked from a function that blocks: END must wait until it returns. The
//! report does not. The watched thread only stores a start time; the watchdog thread checks it
//! several times within the limit, and sleeps while nothing is watched.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Checks within a limit.
const CHECKS: u32 = 8;

/// Lower bound of the limit from which the interval of checks is computed.
const MIN_LIMIT: Duration = Duration::from_millis(20);

type Report = dyn Fn(Duration) + Send + Sync;

/// Reports work that exceeds its time limit.
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Time 0.
    epoch: Instant,
    /// Start time and limit of the current work in nanoseconds; a start of 0 means none.
    began: AtomicU64,
    limit: AtomicU64,
    /// Whether the current work was reported.
    reported: AtomicBool,
    parked: AtomicBool,
    stop: Mutex<bool>,
    wake: Condvar,
    report: Box<Report>,
}

impl std::fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchdog").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns nanoseconds since the epoch, never 0.
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// Reports the current work once if it has exceeded its limit, and returns whether it has.
    fn check(&self) -> bool {
        let (began, limit) = (self.began.load(SeqCst), self.limit.load(SeqCst));
        let is_late = began != 0 && self.now().saturating_sub(began) > limit;
        if is_late && !self.reported.swap(true, SeqCst) {
            (self.report)(Duration::from_nanos(limit));
        }
        is_late
    }

    fn watch(&self) {
        let mut stop = self.lock();
        while !*stop {
            if self.began.load(SeqCst) == 0 {
                self.parked.store(true, SeqCst);
                // Work may have begun before `parked` was set.
                if self.began.load(SeqCst) == 0 {
                    stop = self.wake.wait(stop).unwrap_or_else(PoisonError::into_inner);
                }
                self.parked.store(false, SeqCst);
                continue;
            }
            let limit = Duration::from_nanos(self.limit.load(SeqCst));
            let rest = limit.max(MIN_LIMIT) / CHECKS;
            let waited = self.wake.wait_timeout(stop, rest);
            stop = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !*stop {
                drop(stop);
                self.check();
                stop = self.lock();
            }
        }
    }
}

impl Watchdog {
    /// Calls `report` with the limit, once for each work that exceeds it, on the watchdog thread or
    /// on the watched one.
    pub fn new(report: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            epoch: Instant::now(),
            began: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            reported: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            stop: Mutex::new(false),
            wake: Condvar::new(),
            report: Box::new(report),
        });
        let thread = std::thread::Builder::new().name("dmabufcpu-watch".to_owned());
        let watched = Arc::clone(&shared);
        // Without a watchdog thread, the watched one reports after the work.
        let thread = crate::dmabuf::spawn(thread, move || watched.watch()).ok();
        Self { shared, thread }
    }

    /// Watches until the guard is dropped; `None` is no limit.
    pub(super) fn watch(&self, limit: Option<Duration>) -> WatchGuard<'_> {
        let shared = &self.shared;
        if let Some(limit) = limit {
            let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            shared.reported.store(false, SeqCst);
            shared.limit.store(limit, SeqCst);
            shared.began.store(shared.now(), SeqCst);
            if shared.parked.load(SeqCst) {
                let _there = shared.lock();
                shared.wake.notify_all();
            }
        }
        WatchGuard(shared)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.shared.lock() = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take()
            // `report` may drop the last reference to the watchdog on its own thread.
            && thread.thread().id() != std::thread::current().id()
        {
            // `report` may have panicked; this cannot be reported.
            let _ = thread.join();
        }
    }
}

/// Watches work until dropped.
pub(super) struct WatchGuard<'w>(&'w Shared);

impl WatchGuard<'_> {
    /// Returns whether the work has exceeded its limit; it is reported then.
    pub(super) fn is_late(&self) -> bool {
        self.0.check()
    }

    /// Prevents a report; returns whether there was none.
    pub(super) fn suppress_report(&self) -> bool {
        !self.0.reported.swap(true, SeqCst)
    }
}

impl Drop for WatchGuard<'_> {
    fn drop(&mut self) {
        self.0.began.store(0, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const LIMIT: Duration = Duration::from_millis(50);

    #[test]
    fn blocked_work_is_reported_once_while_it_blocks() {
        let (sender, reported) = channel();
        let watchdog = Watchdog::new(move |limit| sender.send(limit).unwrap());
        for _ in 0..3 {
            let work = watchdog.watch(Some(LIMIT));
            assert_eq!(reported.recv_timeout(Duration::from_secs(10)), Ok(LIMIT));
            std::thread::sleep(2 * LIMIT);
            assert!(work.is_late());
            drop(work);
            assert!(reported.try_recv().is_err(), "reported twice");
        }
    }

    #[test]
    fn work_in_time_or_without_limit_is_not_reported() {
        let (sender, reported) = channel();
        let watchdog = Watchdog::new(move |limit| sender.send(limit).unwrap());
        for _ in 0..200 {
            let work = watchdog.watch(Some(Duration::from_secs(100)));
            assert!(!work.is_late());
        }
        let work = watchdog.watch(None);
        std::thread::sleep(2 * LIMIT);
        assert!(!work.is_late());
        drop(work);
        // Time between works does not count.
        drop(watchdog.watch(Some(LIMIT)));
        std::thread::sleep(3 * LIMIT);
        assert!(reported.try_recv().is_err());
    }
}
