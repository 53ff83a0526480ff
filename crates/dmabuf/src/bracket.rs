// SPDX-License-Identifier: MPL-2.0
//! The CPU-access bracket: START, access, END, as a guard.

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

/// How a bracket is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long fences are waited for, and EINTR and EAGAIN retried; `None`: for ever.
    pub fence_timeout: Option<Duration>,
    /// The pages that will be touched, if not all. A hint: `DMA_BUF_IOCTL_SYNC` has no range
    /// (the kernel dropped it in 2016), so every exporter of the mainline kernel gets the whole
    /// buffer; it stands here for those that may take one.
    pub pages: Option<Range<usize>>,
    /// Where it is counted.
    pub counters: Arc<Counters>,
}

impl Default for Options {
    /// All pages, a second for the fences, counts of its own.
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
/// [`end`](Self::end) sends END and reports how it went; every other way out, an early return
/// or a panic, sends it too. A bracket for writing borrows its [`DmaBuf`] exclusively, so no other
/// is opened beside it; brackets for reading nest, each with a START and an END of its own.
#[derive(Debug)]
#[must_use = "a bracket that is dropped at once protects nothing"]
pub struct Bracket<'b, A: Access> {
    buffer: &'b DmaBuf,
    counters: Arc<Counters>,
    limit: Option<Duration>,
    open: bool,
    /// On the mapping whose windows were lent last.
    armed: Option<Armed>,
    /// One whose windows were lent before lost memory.
    has_lost: bool,
    access: PhantomData<A>,
}

impl<'b, A: Access> Bracket<'b, A> {
    /// Waits for the fences, then sends START.
    ///
    /// Memory that answers ENOTTY (a memfd, say) needs no bracket: this succeeds, is counted in
    /// [`Counters::unbracketed`], and neither START nor END is sent again for this handle.
    ///
    /// # Errors
    /// [`Error::FenceTimeout`]; [`Error::Call`] with what the exporter returned (udmabuf:
    /// ENOMEM, as it builds its table now); [`Error::RetriesExhausted`]. The memory is then as
    /// it was.
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

    /// False when the memory needs no bracket.
    pub fn is_needed(&self) -> bool {
        self.open
    }

    /// The pages of `mapping`, to be borrowed while the bracket is open.
    ///
    /// # Errors
    /// [`Error::WrongMapping`] when the mapping is of another buffer, or for reading only in a
    /// bracket for writing.
    pub fn windows<'w>(&'w mut self, mapping: A::Borrow<'w, Mapping>) -> Result<Windows<'w, A>> {
        let reason = if mapping.identity() != self.buffer.identity() {
            "it is of another buffer"
        } else if A::FLAGS & uapi::SYNC_WRITE != 0 && mapping.protection() == Protection::Read {
            "it is for reading only"
        } else {
            // Of one that is gone by now, `check` was asked.
            self.has_lost |= self.armed.take().is_some_and(Armed::disarm);
            self.armed = mapping.arm();
            return Ok(Mapping::windows::<A>(mapping));
        };
        Err(Error::WrongMapping {
            buffer: self.buffer.describe(),
            reason,
        })
    }

    /// Whether memory was taken away from under a mapping that will not live as long as the
    /// bracket; for the one that is there at the end, [`end`](Self::end) tells.
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

    /// The buffer, for mapping it within the bracket.
    pub fn buffer(&self) -> &DmaBuf {
        self.buffer
    }

    /// Sends END.
    ///
    /// # Errors
    /// [`Error::Call`] with what the exporter returned: what the CPU wrote may not have reached
    /// the memory. [`Error::Lost`] when memory was taken away meanwhile.
    pub fn end(mut self) -> Result<()> {
        self.close()
    }

    fn close(&mut self) -> Result<()> {
        let is_lost = self.armed.take().is_some_and(Armed::disarm) || self.has_lost;
        if std::mem::take(&mut self.open) {
            let flags = uapi::SYNC_END | A::FLAGS;
            // No fences are waited for here: an END that is lost costs more than a late one.
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
        // Somebody is leaving early, with an error or a panic of his own to report.
        let _ = self.close();
    }
}

/// How long END is retried at least, however short the limit for fences.
const END_RETRIES: Duration = Duration::from_secs(5);

/// How often SYNC is tried at least: a limit of zero is for fences, not for signals.
const TRIES: u64 = 100;

/// One SYNC of a handle's buffer, timed.
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

/// One SYNC, made again after EINTR and EAGAIN as `include/uapi/linux/dma-buf.h` asks for, for
/// as long as `limit`.
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

/// START or END for those who cannot hold a [`Bracket`], as C's map and unmap functions cannot.
/// Memory that needs no bracket gives success.
///
/// # Errors
/// What the exporter returned, EINTR and EAGAIN only after a second of retries, or five for END.
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

    // A memfd answers ENOTTY to SYNC, which the seam cannot turn into success: what is tested
    // here is the answer to each failure. Success is tested in the testbed, on real exporters.

    #[test]
    fn memory_that_answers_enotty_needs_no_bracket_and_is_asked_once() {
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
        assert_eq!(fault.left(), 1, "START must not be tried again");
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
    fn retries_end_when_the_time_is_up() {
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
            // The END that is to come is seen by the fault that strikes it.
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
    fn fence_wait_gives_up_in_time_and_survives_interruptions() {
        // The read end of an empty pipe is never readable: a fence that is never signalled.
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
