// SPDX-License-Identifier: MPL-2.0
//! Waiting for a buffer to come back to a pool.
//!
//! `GstBufferPool` waits by itself, but without a limit, so that a thread that waits for good cannot
//! report it, and only at the pool's own bound, not at the exporter's.

use crate::dmabuf::lock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst, fence};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Wakes the threads that wait for a buffer.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// Threads that wait. Without any, a buffer that comes back costs no lock.
    waiting: AtomicUsize,
    count: Mutex<u64>,
    changed: Condvar,
}

/// A thread that waits until this is dropped.
#[derive(Debug)]
pub(super) struct Waiter<'r>(&'r Returns);

impl Returns {
    /// Wakes all that wait, after a buffer came back, room for one was made, or the pool began to
    /// flush.
    pub(super) fn notify(&self) {
        // What came back is visible before the waiters are counted; a waiter counts itself before
        // it looks. So one of the two sees the other.
        fence(SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            *lock(&self.count) += 1;
            self.changed.notify_all();
        }
    }

    pub(super) fn waiter(&self) -> Waiter<'_> {
        self.waiting.fetch_add(1, SeqCst);
        fence(SeqCst);
        Waiter(self)
    }
}

impl Waiter<'_> {
    /// What [`wait`](Self::wait) compares with; to be read before looking for a buffer.
    pub(super) fn now(&self) -> u64 {
        *lock(&self.0.count)
    }

    /// Waits until something has changed since `seen`, or the time is up; no limit with `None`.
    pub(super) fn wait(&self, seen: u64, limit: Option<Duration>) {
        let count = lock(&self.0.count);
        let unchanged = |count: &mut u64| *count == seen;
        // As in `lock`: a panic leaves the number whole.
        match limit {
            Some(limit) => {
                let waited = self.0.changed.wait_timeout_while(count, limit, unchanged);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
            None => {
                let waited = self.0.changed.wait_while(count, unchanged);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Instant;

    #[test]
    fn change_before_the_wait_is_not_missed() {
        let returns = Returns::default();
        let waiter = returns.waiter();
        let seen = waiter.now();
        returns.notify();
        waiter.wait(seen, None);
        assert_ne!(waiter.now(), seen);
    }

    #[test]
    fn change_during_the_wait_wakes() {
        let returns = Arc::new(Returns::default());
        let (ready, is_ready) = channel();
        let thread = {
            let returns = Arc::clone(&returns);
            std::thread::spawn(move || {
                let waiter = returns.waiter();
                let seen = waiter.now();
                ready.send(()).unwrap();
                waiter.wait(seen, None);
            })
        };
        is_ready.recv().unwrap();
        returns.notify();
        thread.join().unwrap();
        assert_eq!(returns.waiting.load(SeqCst), 0);
    }

    #[test]
    fn wait_without_a_change_ends_in_time() {
        let returns = Returns::default();
        let waiter = returns.waiter();
        let begin = Instant::now();
        let limit = Duration::from_millis(20);
        waiter.wait(waiter.now(), Some(limit));
        assert!(begin.elapsed() >= limit);
    }
}
