// SPDX-License-Identifier: MPL-2.0
//! Waits for a buffer's implicit fences, with a time limit.
//!
//! START also waits for them, but without a limit (`dma_buf_begin_cpu_access`,
//! `__dma_buf_begin_cpu_access` in `drivers/dma-buf/dma-buf.c`), so a stuck device would hang the
//! caller. `poll` reports POLLIN once the writers are done, POLLOUT once all users are ("Implicit
//! Fence Poll Support" in `Documentation/driver-api/dma-buf.rst`).

use super::counters::{Counters, add_time};
use super::error::Error;
use super::{DmaBuf, Result, sys, uapi};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// Waits until the CPU may read or, with `writing`, write.
///
/// # Errors
/// [`Error::FenceTimeout`] after `limit`; [`Error::Call`] when `poll` fails.
pub(super) fn wait(
    buffer: &DmaBuf,
    writing: bool,
    limit: Option<Duration>,
    counters: &Counters,
) -> Result<()> {
    let begin = Instant::now();
    // With both events, poll returns at the first of them.
    let events = if writing {
        PollFlags::OUT
    } else {
        PollFlags::IN
    };
    let answer = poll_until(buffer, buffer.as_fd(), events, limit, begin);
    add_time(&counters.fence_time, begin.elapsed());
    answer
}

impl DmaBuf {
    /// Waits until all devices that use the buffer now, for reading or writing, are done with it.
    /// Returns at once for memory that is not a dma-buf, which has no fences.
    ///
    /// # Errors
    /// [`Error::FenceTimeout`] after `limit` (`None`: never); [`Error::Call`] when `poll` fails.
    pub fn wait_until_unused(&self, limit: Option<Duration>, counters: &Counters) -> Result<()> {
        wait_for_all(self, limit, counters)
    }
}

/// Waits until all devices that use the buffer now are done with it, so that it can be rewritten.
///
/// An unused buffer, the common case, costs one `poll`. Otherwise the present fences are exported
/// as a sync file (since Linux 6.0), so that fences attached later do not extend the wait.
///
/// # Errors
/// As [`wait`].
fn wait_for_all(buffer: &DmaBuf, limit: Option<Duration>, counters: &Counters) -> Result<()> {
    if !buffer.is_dma_buf() {
        return Ok(());
    }
    let begin = Instant::now();
    let answer = match sys::poll(buffer.as_fd(), PollFlags::OUT, Some(Duration::ZERO)) {
        Ok(ready) if !ready.is_empty() => Ok(()),
        _ => match sys::export_sync_file(buffer.as_fd(), uapi::SYNC_WRITE) {
            Ok(fences) => poll_until(buffer, fences.as_fd(), PollFlags::IN, limit, begin),
            Err(_) => poll_until(buffer, buffer.as_fd(), PollFlags::OUT, limit, begin),
        },
    };
    add_time(&counters.fence_time, begin.elapsed());
    answer
}

fn poll_until(
    buffer: &DmaBuf,
    fences: BorrowedFd<'_>,
    events: PollFlags,
    limit: Option<Duration>,
    begin: Instant,
) -> Result<()> {
    let mut left = limit;
    loop {
        match sys::poll(fences, events, left) {
            Ok(got) if got.contains(PollFlags::NVAL) => {
                return Err(buffer.call_failed("poll for fences", Errno::BADF));
            }
            // In an error state there is nothing to wait for; START reports the error.
            Ok(got) if !got.is_empty() => return Ok(()),
            Ok(_) => {}
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(buffer.call_failed("poll for fences", errno)),
        }
        if let Some(limit) = limit {
            let rest = limit.saturating_sub(begin.elapsed());
            if rest.is_zero() {
                return Err(Error::FenceTimeout {
                    buffer: buffer.describe(),
                    limit,
                });
            }
            left = Some(rest);
        }
    }
}
