// SPDX-License-Identifier: MPL-2.0
//! A seam for tests: a system call of this floor can be made to fail as the kernel would fail
//! it. Without the `fault-injection` feature (and outside unit tests) it is not there at all:
//! the check is an empty inline function.

/// The system calls that go through the seam.
// Without the feature nobody outside can name them.
#[cfg_attr(not(any(test, feature = "fault-injection")), allow(unreachable_pub))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// `DMA_BUF_IOCTL_SYNC` with START.
    SyncStart,
    /// `DMA_BUF_IOCTL_SYNC` with END.
    SyncEnd,
    /// `poll` for fences.
    Poll,
    /// `mmap`.
    Map,
    /// `fcntl(F_DUPFD_CLOEXEC)`.
    Duplicate,
    /// `fstat`, `fstatfs` and `lseek`.
    Stat,
    /// `open` of a device.
    Open,
    /// What allocates: heap, udmabuf and DRM ioctls, `memfd_create`.
    Allocate,
    /// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`.
    ExportSyncFile,
}

#[cfg(any(test, feature = "fault-injection"))]
pub use active::{Fault, inject, succeed};

#[cfg(any(test, feature = "fault-injection"))]
mod active {
    use super::Call;
    use rustix::io::Errno;
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::thread::ThreadId;

    #[derive(Debug)]
    struct Planned {
        number: u64,
        call: Call,
        skip: u64,
        times: u64,
        /// `None`: success, without asking the kernel.
        errno: Option<Errno>,
        thread: Option<ThreadId>,
    }

    static PLAN: Mutex<(u64, Vec<Planned>)> = Mutex::new((0, Vec::new()));

    fn plan() -> MutexGuard<'static, (u64, Vec<Planned>)> {
        PLAN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fault in force until this is dropped.
    #[derive(Debug)]
    #[must_use]
    pub struct Fault(u64);

    impl Drop for Fault {
        fn drop(&mut self) {
            plan().1.retain(|planned| planned.number != self.0);
        }
    }

    impl Fault {
        /// How many more times the fault would strike.
        pub fn left(&self) -> u64 {
            let plan = plan();
            let mine = plan.1.iter().find(|planned| planned.number == self.0);
            mine.map_or(0, |planned| planned.times)
        }
    }

    /// Fails `call` with `errno`: lets `skip` of them pass, then strikes `times` of them; on
    /// this thread only, or on all.
    pub fn inject(call: Call, skip: u64, times: u64, errno: i32, this_thread: bool) -> Fault {
        let errno = Some(Errno::from_raw_os_error(errno));
        add(call, skip, times, errno, this_thread)
    }

    /// Answers START and END with success, as a dma-buf does, `times` times: a memfd can then
    /// stand in for one. Faults that are injected, too, come first.
    pub fn succeed(call: Call, times: u64, this_thread: bool) -> Fault {
        add(call, 0, times, None, this_thread)
    }

    fn add(call: Call, skip: u64, times: u64, errno: Option<Errno>, this_thread: bool) -> Fault {
        let mut plan = plan();
        plan.0 += 1;
        let number = plan.0;
        plan.1.push(Planned {
            number,
            call,
            skip,
            times,
            errno,
            thread: this_thread.then(|| std::thread::current().id()),
        });
        Fault(number)
    }

    pub(in crate::dmabuf) fn check(call: Call) -> Result<(), Errno> {
        strike(call, |errno| errno).map_or(Ok(()), Err)
    }

    /// Whether the call is answered with success here.
    pub(in crate::dmabuf) fn succeeds(call: Call) -> bool {
        strike(call, |errno| errno.is_none().then_some(())).is_some()
    }

    /// The first fault in force that `wanted` takes.
    fn strike<T>(call: Call, wanted: impl Fn(Option<Errno>) -> Option<T>) -> Option<T> {
        let here = std::thread::current().id();
        let mut plan = plan();
        for planned in &mut plan.1 {
            if planned.call != call || planned.thread.is_some_and(|thread| thread != here) {
                continue;
            }
            let Some(answer) = wanted(planned.errno) else {
                continue;
            };
            if planned.skip > 0 {
                planned.skip -= 1;
            } else if planned.times > 0 {
                planned.times -= 1;
                return Some(answer);
            }
        }
        None
    }
}

#[cfg(any(test, feature = "fault-injection"))]
pub(super) use active::{check, succeeds};

#[cfg(not(any(test, feature = "fault-injection")))]
#[inline(always)]
pub(super) fn check(_call: Call) -> Result<(), rustix::io::Errno> {
    Ok(())
}

#[cfg(not(any(test, feature = "fault-injection")))]
#[inline(always)]
pub(super) fn succeeds(_call: Call) -> bool {
    false
}
