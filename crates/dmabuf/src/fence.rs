// SPDX-License-Identifier: MPL-2.0
//! Waiting for a buffer's implicit fences, with a limit.
//!
//! START waits for them too, but without a bound (`dma_buf_begin_cpu_access`, `__dma_buf_begin_cpu_access`
//! in `drivers/dma-buf/dma-buf.c`), so that a stuck device would hang the caller. `poll` is the
//! kernel's own way to ask first: POLLIN when the writers are done, POLLOUT when everybody is
//! ("Implicit Fence Poll Support" in `Documentation/driver-api/dma-buf.rst`).

use super::counters::{Counters, add_time};
use super::error::Error;
use super::{DmaBuf, Result, sys, uapi};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// Waits until the CPU may read, or (`writing`) may write.
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
    // Both at once would be two questions; the first answer would end the wait.
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
    /// Waits until every device that uses the buffer now, reading or writing, is done with it.
    /// Memory that is no dma-buf has no fences and costs nothing.
    ///
    /// # Errors
    /// [`Error::FenceTimeout`] after `limit` (`None`: never); [`Error::Call`] when `poll` fails.
    pub fn wait_until_unused(&self, limit: Option<Duration>, counters: &Counters) -> Result<()> {
        wait_for_all(self, limit, counters)
    }
}

/// Waits until every device that uses the buffer now is done with it, so that it can be given
/// to a new writer.
///
/// The common case, nobody there, costs one `poll`. Otherwise the fences of this moment are
/// waited for as a sync file, where the kernel has that (Linux 6.0): fences that are attached
/// meanwhile belong to somebody else's turn.
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
            // An error state means that there is nothing to wait for; START tells what is wrong.
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
