// SPDX-License-Identifier: MPL-2.0
//! What was asked of the kernel, counted where it is asked.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts of system calls and the time in them; shared by all who work for the same user.
#[derive(Debug, Default)]
pub struct Counters {
    /// Brackets opened: START calls that succeeded.
    pub brackets: AtomicU64,
    /// Brackets asked for on memory that needs none (`DMA_BUF_IOCTL_SYNC` answers ENOTTY).
    pub unbracketed: AtomicU64,
    /// `DMA_BUF_IOCTL_SYNC` calls that succeeded, START and END.
    pub sync_ioctls: AtomicU64,
    /// `DMA_BUF_IOCTL_SYNC` calls made again after EINTR or EAGAIN.
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

/// Adds to a count; counts are read one by one and order nothing.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}

/// Adds a time in nanoseconds.
pub(crate) fn add_time(counter: &AtomicU64, time: Duration) {
    add(counter, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}
