// SPDX-License-Identifier: MPL-2.0
//! Notices a window function that does not come back, while it has not.
//!
//! Nobody can take a window away from a function that blocks: END must wait until it returns. But
//! the application is told in time. The watched thread only stores a time; the one that watches
//! looks at it several times within the limit, and sleeps for good while there is nothing to watch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Looks taken within a limit.
const LOOKS: u32 = 8;

/// Limits shorter than this are looked at as often as if they were so long.
const SHORTEST: Duration = Duration::from_millis(20);

type Tell = dyn Fn(Duration) + Send + Sync;

/// Tells of work that takes too long.
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// What times are counted from.
    epoch: Instant,
    /// When the work began, in nanoseconds, and its limit; 0: there is none.
    began: AtomicU64,
    limit: AtomicU64,
    /// Whether this work has been told of.
    told: AtomicBool,
    parked: AtomicBool,
    stop: Mutex<bool>,
    wake: Condvar,
    tell: Box<Tell>,
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

    /// Nanoseconds since the epoch, never 0.
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// Tells of the work at hand, once, if it takes too long; whether it does.
    fn look(&self) -> bool {
        let (began, limit) = (self.began.load(SeqCst), self.limit.load(SeqCst));
        let is_late = began != 0 && self.now().saturating_sub(began) > limit;
        if is_late && !self.told.swap(true, SeqCst) {
            (self.tell)(Duration::from_nanos(limit));
        }
        is_late
    }

    fn watch(&self) {
        let mut stop = self.lock();
        while !*stop {
            if self.began.load(SeqCst) == 0 {
                self.parked.store(true, SeqCst);
                // Work that began before it could see that is not missed.
                if self.began.load(SeqCst) == 0 {
                    stop = self.wake.wait(stop).unwrap_or_else(PoisonError::into_inner);
                }
                self.parked.store(false, SeqCst);
                continue;
            }
            let limit = Duration::from_nanos(self.limit.load(SeqCst));
            let rest = limit.max(SHORTEST) / LOOKS;
            let waited = self.wake.wait_timeout(stop, rest);
            stop = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !*stop {
                drop(stop);
                self.look();
                stop = self.lock();
            }
        }
    }
}

impl Watchdog {
    /// `tell` is called with the limit, once for each work that takes longer, by a thread of its
    /// own or by the one that works.
    pub fn new(tell: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            epoch: Instant::now(),
            began: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            told: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            stop: Mutex::new(false),
            wake: Condvar::new(),
            tell: Box::new(tell),
        });
        let thread = std::thread::Builder::new().name("dmabufcpu-watch".to_owned());
        let watched = Arc::clone(&shared);
        // Without a thread the one that works tells of it, late.
        let thread = crate::dmabuf::spawn(thread, move || watched.watch()).ok();
        Self { shared, thread }
    }

    /// Watches until what is returned is dropped; `None` for ever.
    pub(super) fn watch(&self, limit: Option<Duration>) -> Watched<'_> {
        let shared = &self.shared;
        if let Some(limit) = limit {
            let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            shared.told.store(false, SeqCst);
            shared.limit.store(limit, SeqCst);
            shared.began.store(shared.now(), SeqCst);
            if shared.parked.load(SeqCst) {
                let _there = shared.lock();
                shared.wake.notify_all();
            }
        }
        Watched(shared)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.shared.lock() = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take()
            // It may be the one that lets go of the last reference to what it tells.
            && thread.thread().id() != std::thread::current().id()
        {
            // What it calls may panic; there is nobody to tell.
            let _ = thread.join();
        }
    }
}

/// Work that is watched.
pub(super) struct Watched<'w>(&'w Shared);

impl Watched<'_> {
    /// Whether it has taken too long, of which has been told then.
    pub(super) fn is_late(&self) -> bool {
        self.0.look()
    }

    /// Whether nothing has been told of it; nothing will be any more.
    pub(super) fn has_been_silent(&self) -> bool {
        !self.0.told.swap(true, SeqCst)
    }
}

impl Drop for Watched<'_> {
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
    fn work_that_blocks_is_told_of_while_it_blocks_and_once() {
        let (sender, told) = channel();
        let watchdog = Watchdog::new(move |limit| sender.send(limit).unwrap());
        for _ in 0..3 {
            let work = watchdog.watch(Some(LIMIT));
            assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(LIMIT));
            std::thread::sleep(2 * LIMIT);
            assert!(work.is_late());
            drop(work);
            assert!(told.try_recv().is_err(), "told twice");
        }
    }

    #[test]
    fn nothing_is_told_of_work_that_is_done_in_time_or_may_take_for_ever() {
        let (sender, told) = channel();
        let watchdog = Watchdog::new(move |limit| sender.send(limit).unwrap());
        for _ in 0..200 {
            let work = watchdog.watch(Some(Duration::from_secs(100)));
            assert!(!work.is_late());
        }
        let work = watchdog.watch(None);
        std::thread::sleep(2 * LIMIT);
        assert!(!work.is_late());
        drop(work);
        // The pause between works is nobody's.
        drop(watchdog.watch(Some(LIMIT)));
        std::thread::sleep(3 * LIMIT);
        assert!(told.try_recv().is_err());
    }
}
