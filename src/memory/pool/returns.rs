// SPDX-License-Identifier: MPL-2.0
//! Waits for a buffer to return to a pool.
//!
//! `GstBufferPool` waits without a time limit, so a stall cannot be reported, and only at the maximum
//! of the pool, not if the exporter has no more memory.

use crate::dmabuf::lock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst, fence};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A condition variable that is notified when a buffer may be available.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// Number of waiting threads. While it is 0, a returned buffer takes no lock.
    waiting: AtomicUsize,
    /// Number of notifications.
    count: Mutex<u64>,
    changed: Condvar,
}

/// Registers the current thread as waiting until it is dropped.
#[derive(Debug)]
pub(super) struct Waiter<'r>(&'r Returns);

impl Returns {
    /// Wakes all waiting threads, after a buffer returned or was freed, or the pool began to flush.
    pub(super) fn notify(&self) {
        // The buffer is visible before the waiters are counted, and a waiter is counted before it
        // looks for a buffer. So one of the two sees the other.
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
    /// Returns the number of notifications, for [`wait`](Self::wait); to be read before looking for
    /// a buffer.
    pub(super) fn now(&self) -> u64 {
        *lock(&self.0.count)
    }

    /// Waits until the number of notifications differs from `seen`, or for `limit` if it is `Some`.
    pub(super) fn wait(&self, seen: u64, limit: Option<Duration>) {
        let count = lock(&self.0.count);
        let unchanged = |count: &mut u64| *count == seen;
        // As in `lock`, poisoning is ignored.
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
    fn notification_before_the_wait_is_not_missed() {
        let returns = Returns::default();
        let waiter = returns.waiter();
        let seen = waiter.now();
        returns.notify();
        waiter.wait(seen, None);
        assert_ne!(waiter.now(), seen);
    }

    #[test]
    fn notification_during_the_wait_wakes() {
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
    fn wait_without_a_notification_times_out() {
        let returns = Returns::default();
        let waiter = returns.waiter();
        let begin = Instant::now();
        let limit = Duration::from_millis(20);
        waiter.wait(waiter.now(), Some(limit));
        assert!(begin.elapsed() >= limit);
    }
}
