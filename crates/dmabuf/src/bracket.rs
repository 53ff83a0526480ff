// SPDX-License-Identifier: MPL-2.0
//! The CPU-access bracket: a guard that sends START and END.

use super::access::Access;
use super::counters::{Counters, add, add_time};
use super::error::Error;
use super::mapping::{Mapping, Protection};
use super::sigbus::Armed;
use super::window::Windows;
use super::{DmaBuf, Result, fence, sys, uapi};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Options of a bracket.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time limit for fences, and for retries after EINTR and EAGAIN; `None` for no limit.
    pub fence_timeout: Option<Duration>,
    /// The pages that will be accessed, if not all. A hint without effect on exporters of the
    /// mainline kernel: `DMA_BUF_IOCTL_SYNC` has had no range since 2016.
    pub pages: Option<Range<usize>>,
    /// The counters to add to.
    pub counters: Arc<Counters>,
}

impl Default for Options {
    /// Returns options for all pages, with one second for fences and new counters.
    fn default() -> Self {
        Self {
            fence_timeout: Some(Duration::from_secs(1)),
            pages: None,
            counters: Arc::default(),
        }
    }
}

/// An open bracket on one dma-buf.
///
/// [`end`](Self::end) sends END and returns its result. Dropping the bracket, on an early return or
/// a panic, also sends END. A bracket for writing borrows its [`DmaBuf`] exclusively, so it is the
/// only one on the buffer. Brackets for reading nest, each with its own START and END.
#[derive(Debug)]
#[must_use = "a dropped bracket no longer covers any access"]
pub struct Bracket<'b, A: Access> {
    buffer: &'b DmaBuf,
    counters: Arc<Counters>,
    limit: Option<Duration>,
    open: bool,
    /// Of the mapping whose windows were borrowed last.
    armed: Option<Armed>,
    /// Whether a mapping before that one lost memory.
    has_lost: bool,
    access: PhantomData<A>,
}

impl<'b, A: Access> Bracket<'b, A> {
    /// Waits for the fences, then sends START.
    ///
    /// Memory that fails START with ENOTTY, such as a memfd, needs no bracket. This function then
    /// succeeds and adds to [`Counters::unbracketed`]; neither START nor END is sent again for this
    /// handle.
    ///
    /// # Errors
    /// [`Error::FenceTimeout`]; [`Error::Call`] with the exporter's errno (udmabuf: ENOMEM, as it
    /// builds its table at the first START); [`Error::RetriesExhausted`]. The memory is unchanged
    /// then.
    pub fn begin(buffer: A::Borrow<'b, DmaBuf>, options: &Options) -> Result<Self> {
        let buffer = A::shared(buffer);
        let counters = Arc::clone(&options.counters);
        let limit = options.fence_timeout;
        let mut open = false;
        if !buffer.unbracketed.load(Relaxed) {
            let writing = A::FLAGS & uapi::SYNC_WRITE != 0;
            fence::wait(buffer, writing, limit, &counters)?;
            match sync(
                buffer,
                A::START,
                uapi::SYNC_START | A::FLAGS,
                limit,
                &counters,
            ) {
                Ok(()) => {
                    add(&counters.brackets, 1);
                    open = true;
                }
                Err(Error::Call {
                    errno: Errno::NOTTY,
                    ..
                }) => buffer.unbracketed.store(true, Relaxed),
                Err(error) => return Err(error),
            }
        }
        if !open {
            add(&counters.unbracketed, 1);
        }
        Ok(Self {
            buffer,
            counters,
            limit,
            open,
            armed: None,
            has_lost: false,
            access: PhantomData,
        })
    }

    /// Whether the memory needs a bracket.
    pub fn is_needed(&self) -> bool {
        self.open
    }

    /// Returns the pages of `mapping`, which can be borrowed while the bracket is open.
    ///
    /// # Errors
    /// [`Error::WrongMapping`] if the mapping is of another buffer, or read-only in a bracket for
    /// writing.
    pub fn windows<'w>(&'w mut self, mapping: A::Borrow<'w, Mapping>) -> Result<Windows<'w, A>> {
        let reason = if mapping.identity() != self.buffer.identity() {
            "it is of another buffer"
        } else if A::FLAGS & uapi::SYNC_WRITE != 0 && mapping.protection() == Protection::Read {
            "it is read-only"
        } else {
            // The result of a previous mapping is kept for `end`.
            self.has_lost |= self.armed.take().is_some_and(Armed::disarm);
            self.armed = mapping.arm();
            return Ok(Mapping::windows::<A>(mapping));
        };
        Err(Error::WrongMapping {
            buffer: self.buffer.describe(),
            reason,
        })
    }

    /// Checks whether `mapping` lost memory, for a mapping that is dropped before the bracket.
    /// [`end`](Self::end) checks the last one.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub fn check(&self, mapping: &Mapping) -> Result<()> {
        match mapping.has_lost_memory() {
            true => Err(self.lost()),
            false => Ok(()),
        }
    }

    fn lost(&self) -> Error {
        Error::Lost {
            buffer: self.buffer.describe(),
        }
    }

    /// Returns the buffer, to map it within the bracket.
    pub fn buffer(&self) -> &DmaBuf {
        self.buffer
    }

    /// Sends END.
    ///
    /// # Errors
    /// [`Error::Call`] with the exporter's errno; bytes that the CPU wrote may not have reached the
    /// memory. [`Error::Lost`] if pages disappeared during the access.
    pub fn end(mut self) -> Result<()> {
        self.close()
    }

    fn close(&mut self) -> Result<()> {
        let is_lost = self.armed.take().is_some_and(Armed::disarm) || self.has_lost;
        if std::mem::take(&mut self.open) {
            let flags = uapi::SYNC_END | A::FLAGS;
            // END waits for no fences, and a missing END is worse than a late one.
            let limit = self.limit.map(|limit| limit.max(END_RETRIES));
            sync(self.buffer, A::END, flags, limit, &self.counters)?;
        }
        match is_lost {
            true => Err(self.lost()),
            false => Ok(()),
        }
    }
}

impl<A: Access> Drop for Bracket<'_, A> {
    fn drop(&mut self) {
        // Early return or unwinding: the original error takes precedence.
        let _ = self.close();
    }
}

/// The minimum time for which END is retried.
const END_RETRIES: Duration = Duration::from_secs(5);

/// The minimum number of SYNC calls, as a time limit of zero is meant for fences, not for signals.
const TRIES: u64 = 100;

/// Sends START or END with retries, and measures the time.
fn sync(
    buffer: &DmaBuf,
    call: &'static str,
    flags: u64,
    limit: Option<Duration>,
    counters: &Counters,
) -> Result<()> {
    let begin = Instant::now();
    let answer = retry(buffer.as_fd(), flags, limit, begin, counters);
    add_time(&counters.sync_time, begin.elapsed());
    match answer {
        Ok(()) => {
            add(&counters.sync_ioctls, 1);
            Ok(())
        }
        Err(errno @ (Errno::INTR | Errno::AGAIN)) => Err(Error::RetriesExhausted {
            call,
            buffer: buffer.describe(),
            errno,
            limit: limit.unwrap_or_default(),
        }),
        Err(errno) => Err(buffer.call_failed(call, errno)),
    }
}

/// Sends START or END, repeated until `limit` after EINTR and EAGAIN, as
/// `include/uapi/linux/dma-buf.h` requires.
fn retry(
    fd: BorrowedFd<'_>,
    flags: u64,
    limit: Option<Duration>,
    begin: Instant,
    counters: &Counters,
) -> std::result::Result<(), Errno> {
    let mut tries = 0_u64;
    loop {
        match sys::sync(fd, flags) {
            Err(errno @ (Errno::INTR | Errno::AGAIN)) => {
                add(&counters.sync_retries, 1);
                tries += 1;
                if tries >= TRIES && limit.is_some_and(|limit| begin.elapsed() >= limit) {
                    return Err(errno);
                }
                std::thread::yield_now();
            }
            answer => return answer,
        }
    }
}

/// Sends START or END for callers that cannot hold a [`Bracket`], such as map and unmap functions
/// in C. Succeeds on memory that needs no bracket.
///
/// # Errors
/// The exporter's errno; EINTR and EAGAIN after retries of one second, or five seconds for END.
pub fn sync_interruptible(
    fd: BorrowedFd<'_>,
    read: bool,
    write: bool,
    end: bool,
) -> std::result::Result<(), Errno> {
    let mut flags = if end {
        uapi::SYNC_END
    } else {
        uapi::SYNC_START
    };
    if read {
        flags |= uapi::SYNC_READ;
    }
    if write {
        flags |= uapi::SYNC_WRITE;
    }
    let limit = Some(if end {
        END_RETRIES
    } else {
        Duration::from_secs(1)
    });
    match retry(fd, flags, limit, Instant::now(), &Counters::default()) {
        Err(Errno::NOTTY) => Ok(()),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::super::faults::{self, Call};
    use super::super::{ReadOnly, ReadWrite};
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    const EINTR: i32 = 4;
    const ENOMEM: i32 = 12;
    const EAGAIN: i32 = 11;
    const EIO: i32 = 5;

    fn buffer() -> DmaBuf {
        let fd = memfd_create("bracket-test", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, 4096).unwrap();
        DmaBuf::new(fd).unwrap()
    }

    fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
        counter.load(Relaxed)
    }

    // SYNC fails with ENOTTY on a memfd, so these tests cover failures. The tests in the testbed
    // cover success, on real exporters.

    #[test]
    fn enotty_means_no_bracket_and_no_second_start() {
        let mut buffer = buffer();
        let options = Options::default();
        for _ in 0..3 {
            let bracket = Bracket::<ReadWrite>::begin(&mut buffer, &options).unwrap();
            assert!(!bracket.is_needed());
            bracket.end().unwrap();
        }
        assert_eq!(count(&options.counters.unbracketed), 3);
        assert_eq!(count(&options.counters.sync_ioctls), 0);
        let fault = faults::inject(Call::SyncStart, 0, 1, EIO, true);
        let _open = Bracket::<ReadWrite>::begin(&mut buffer, &options).unwrap();
        assert_eq!(fault.left(), 1, "START was sent again");
    }

    #[test]
    fn interrupted_start_is_retried() {
        let mut buffer = buffer();
        let options = Options::default();
        for errno in [EINTR, EAGAIN] {
            buffer.unbracketed.store(false, Relaxed);
            let _fault = faults::inject(Call::SyncStart, 0, 5, errno, true);
            drop(Bracket::<ReadWrite>::begin(&mut buffer, &options).unwrap());
        }
        assert_eq!(count(&options.counters.sync_retries), 10);
    }

    #[test]
    fn retries_end_at_the_time_limit() {
        let buffer = buffer();
        let options = Options {
            fence_timeout: Some(Duration::from_millis(20)),
            ..Options::default()
        };
        let _fault = faults::inject(Call::SyncStart, 0, u64::MAX, EAGAIN, true);
        let error = Bracket::<ReadOnly>::begin(&buffer, &options).unwrap_err();
        assert!(matches!(error, Error::RetriesExhausted { .. }), "{error}");
    }

    #[test]
    fn failed_start_names_call_buffer_and_errno() {
        let mut buffer = buffer();
        let _fault = faults::inject(Call::SyncStart, 0, 1, ENOMEM, true);
        let error = Bracket::<ReadWrite>::begin(&mut buffer, &Options::default()).unwrap_err();
        let text = error.to_string();
        for part in ["START|READ|WRITE", "memfd", "4096 bytes", "memory"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }

    #[test]
    fn every_way_out_sends_end_once() {
        let buffer = buffer();
        let options = Options::default();
        let opened = |how: &dyn Fn(Bracket<'_, ReadWrite>)| {
            // The fault counts the END calls.
            let fault = faults::inject(Call::SyncEnd, 0, 2, EIO, true);
            let bracket = Bracket::<ReadWrite> {
                buffer: &buffer,
                counters: Arc::clone(&options.counters),
                limit: None,
                open: true,
                armed: None,
                has_lost: false,
                access: PhantomData,
            };
            how(bracket);
            2 - fault.left()
        };
        assert_eq!(opened(&|bracket| assert!(bracket.end().is_err())), 1);
        assert_eq!(opened(&|bracket| drop(bracket)), 1);
        assert_eq!(
            opened(&|bracket| {
                let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let _bracket = bracket;
                    panic!("on purpose");
                }));
                assert!(unwound.is_err());
            }),
            1
        );
    }

    #[test]
    fn fence_wait_ends_at_its_limit_despite_interruptions() {
        // The read end of an empty pipe is never readable, like a fence that is never signalled.
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let buffer = DmaBuf::new(reader).unwrap();
        let options = Options {
            fence_timeout: Some(Duration::from_millis(50)),
            ..Options::default()
        };
        let interrupted = faults::inject(Call::Poll, 0, 3, EINTR, true);
        let begin = Instant::now();
        let error = Bracket::<ReadOnly>::begin(&buffer, &options).unwrap_err();
        assert!(matches!(error, Error::FenceTimeout { .. }), "{error}");
        assert!(begin.elapsed() >= Duration::from_millis(50));
        assert_eq!(interrupted.left(), 0);
    }

    #[test]
    fn mapping_of_another_buffer_is_refused() {
        let mut first = buffer();
        let second = buffer();
        let mut mapping = Mapping::whole(&second, Protection::ReadWrite, &Arc::default()).unwrap();
        let mut bracket = Bracket::<ReadWrite>::begin(&mut first, &Options::default()).unwrap();
        let error = bracket.windows(&mut mapping).unwrap_err();
        assert!(matches!(error, Error::WrongMapping { .. }), "{error}");
    }
}
