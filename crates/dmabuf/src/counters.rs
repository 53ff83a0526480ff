// SPDX-License-Identifier: MPL-2.0
//! Counters of system calls.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Numbers of system calls and their time, shared by everything that works for one user.
#[derive(Debug, Default)]
pub struct Counters {
    /// Brackets opened: START calls that succeeded.
    pub brackets: AtomicU64,
    /// Brackets on memory that needs none (`DMA_BUF_IOCTL_SYNC` fails with ENOTTY).
    pub unbracketed: AtomicU64,
    /// `DMA_BUF_IOCTL_SYNC` calls that succeeded, START and END.
    pub sync_ioctls: AtomicU64,
    /// `DMA_BUF_IOCTL_SYNC` calls repeated after EINTR or EAGAIN.
    pub sync_retries: AtomicU64,
    /// `mmap` calls that succeeded.
    pub maps: AtomicU64,
    /// `munmap` calls.
    pub unmaps: AtomicU64,
    /// Nanoseconds in `DMA_BUF_IOCTL_SYNC`.
    pub sync_time: AtomicU64,
    /// Nanoseconds in `poll` for fences.
    pub fence_time: AtomicU64,
}

/// Adds to a counter. Counters do not order other memory accesses.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}

/// Adds a time to a counter of nanoseconds.
pub(crate) fn add_time(counter: &AtomicU64, time: Duration) {
    add(counter, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}
