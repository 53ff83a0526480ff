// SPDX-License-Identifier: MPL-2.0
//! A seam for tests: every system call that the plugin makes goes through here, by name, and can
//! be made to fail at its n-th use as the kernel would fail it, counted, and written down. Without
//! the `fault-injection` feature (and outside unit tests) it is not there at all: what is left is
//! an inline function that calls the kernel.
//!
//! What is not here: `close` (a descriptor is gone whatever it answers, see close(2)), the
//! locks of std (futex), and what GStreamer and GLib call for themselves.

#[cfg(not(any(test, feature = "fault-injection")))]
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

/// The system calls that go through the seam.
// Without the feature nobody outside can name them.
#[cfg_attr(not(any(test, feature = "fault-injection")), allow(unreachable_pub))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Call {
    /// `DMA_BUF_IOCTL_SYNC` with START.
    SyncStart,
    /// `DMA_BUF_IOCTL_SYNC` with END.
    SyncEnd,
    /// `poll` for fences.
    Poll,
    /// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`.
    ExportSyncFile,
    /// `mmap`.
    Map,
    /// `munmap`.
    Unmap,
    /// `fcntl(F_DUPFD_CLOEXEC)`.
    Duplicate,
    /// `fstat`.
    Stat,
    /// `fstatfs`.
    StatFs,
    /// `lseek`.
    Seek,
    /// `fcntl(F_GET_SEALS)`.
    GetSeals,
    /// `fcntl(F_GETFL)`.
    GetFlags,
    /// `open` of a device.
    Open,
    /// `memfd_create`.
    MemfdCreate,
    /// `ftruncate`.
    Truncate,
    /// `fcntl(F_ADD_SEALS)`.
    AddSeals,
    /// `DMA_HEAP_IOCTL_ALLOC`.
    HeapAllocate,
    /// `UDMABUF_CREATE`.
    UdmabufCreate,
    /// `DRM_IOCTL_MODE_CREATE_DUMB`.
    CreateDumb,
    /// `DRM_IOCTL_PRIME_HANDLE_TO_FD`.
    PrimeExport,
    /// `DRM_IOCTL_MODE_DESTROY_DUMB`.
    DestroyDumb,
    /// `DRM_IOCTL_DROP_MASTER`.
    DropMaster,
    /// `DMA_BUF_SET_NAME_B`.
    SetName,
    /// `open` and `read` of a file in `/proc` or `/sys`.
    ReadFile,
    /// `readlink` in `/proc`.
    ReadLink,
    /// `open` and `getdents` of a folder of devices.
    ReadFolder,
    /// `clone`, for a thread.
    Spawn,
    /// `sigaction`.
    Sigaction,
    /// `open` of a file that is made or written anew.
    CreateFile,
    /// `write` to such a file, or to standard error.
    Write,
}

#[cfg(any(test, feature = "fault-injection"))]
impl Call {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::SyncStart,
        Self::SyncEnd,
        Self::Poll,
        Self::ExportSyncFile,
        Self::Map,
        Self::Unmap,
        Self::Duplicate,
        Self::Stat,
        Self::StatFs,
        Self::Seek,
        Self::GetSeals,
        Self::GetFlags,
        Self::Open,
        Self::MemfdCreate,
        Self::Truncate,
        Self::AddSeals,
        Self::HeapAllocate,
        Self::UdmabufCreate,
        Self::CreateDumb,
        Self::PrimeExport,
        Self::DestroyDumb,
        Self::DropMaster,
        Self::SetName,
        Self::ReadFile,
        Self::ReadLink,
        Self::ReadFolder,
        Self::Spawn,
        Self::Sigaction,
        Self::CreateFile,
        Self::Write,
    ];

    /// The errnos that the call can give on a descriptor and arguments like ours, by its manual
    /// page in section 2 or, for ioctls, by the driver's source; EINTR and EAGAIN wherever a
    /// driver may sleep for a signal (`drmIoctl` of libdrm retries both for every one of them).
    pub fn errnos(self) -> &'static [Errno] {
        use Errno as E;
        match self {
            // dma_buf_ioctl, and what begin_cpu_access and end_cpu_access of a driver return.
            Self::SyncStart => &[
                E::INTR,
                E::AGAIN,
                E::NOTTY,
                E::INVAL,
                E::NOMEM,
                E::IO,
                E::BUSY,
                E::NODEV,
                E::FAULT,
            ],
            Self::SyncEnd => &[
                E::INTR,
                E::AGAIN,
                E::INVAL,
                E::NOMEM,
                E::IO,
                E::NODEV,
                E::FAULT,
            ],
            Self::Poll => &[E::INTR, E::AGAIN, E::NOMEM, E::INVAL, E::FAULT],
            Self::ExportSyncFile => &[E::INTR, E::NOTTY, E::MFILE, E::NOMEM, E::INVAL],
            Self::Map => &[
                E::ACCESS,
                E::AGAIN,
                E::INVAL,
                E::NFILE,
                E::NODEV,
                E::NOMEM,
                E::OVERFLOW,
                E::PERM,
            ],
            Self::Unmap => &[E::NOMEM],
            Self::Duplicate => &[E::MFILE, E::BADF, E::NOMEM],
            Self::Stat => &[E::BADF, E::NOMEM, E::OVERFLOW, E::IO],
            Self::StatFs => &[E::BADF, E::NOMEM, E::IO, E::NOSYS, E::INTR],
            Self::Seek => &[E::BADF, E::INVAL, E::SPIPE],
            Self::GetSeals => &[E::INVAL, E::BADF],
            Self::GetFlags => &[E::BADF],
            Self::Open => &[
                E::ACCESS,
                E::BUSY,
                E::INTR,
                E::MFILE,
                E::NFILE,
                E::NODEV,
                E::NOENT,
                E::NOMEM,
                E::NXIO,
                E::PERM,
            ],
            Self::MemfdCreate => &[E::MFILE, E::NFILE, E::NOMEM, E::INVAL, E::ACCESS, E::NOSYS],
            Self::Truncate => &[E::INTR, E::FBIG, E::IO, E::PERM, E::NOSPC, E::NOMEM],
            Self::AddSeals => &[E::BUSY, E::PERM, E::INVAL],
            Self::HeapAllocate => &[
                E::INTR,
                E::AGAIN,
                E::NOMEM,
                E::INVAL,
                E::MFILE,
                E::NOTTY,
                E::FAULT,
            ],
            Self::UdmabufCreate => &[
                E::INTR,
                E::INVAL,
                E::NOMEM,
                E::MFILE,
                E::BADFD,
                E::NOTTY,
                E::FAULT,
            ],
            Self::CreateDumb => &[
                E::INTR,
                E::AGAIN,
                E::NOSYS,
                E::INVAL,
                E::NOMEM,
                E::NOSPC,
                E::ACCESS,
                E::OPNOTSUPP,
                E::NODEV,
            ],
            Self::PrimeExport => &[
                E::INTR,
                E::AGAIN,
                E::NOSYS,
                E::NOENT,
                E::MFILE,
                E::NOMEM,
                E::NODEV,
            ],
            Self::DestroyDumb => &[E::INTR, E::AGAIN, E::INVAL, E::NODEV],
            Self::DropMaster => &[E::INTR, E::INVAL, E::ACCESS, E::NODEV],
            Self::SetName => &[E::INTR, E::NOTTY, E::INVAL, E::NOMEM, E::FAULT],
            Self::ReadFile => &[E::NOENT, E::ACCESS, E::MFILE, E::IO, E::INTR],
            Self::ReadLink => &[E::NOENT, E::ACCESS, E::NOMEM],
            Self::ReadFolder => &[E::NOENT, E::ACCESS, E::MFILE, E::NOTDIR],
            Self::Spawn => &[E::AGAIN, E::NOMEM, E::PERM],
            Self::Sigaction => &[E::INVAL],
            Self::CreateFile => &[
                E::INTR,
                E::ACCESS,
                E::DQUOT,
                E::ISDIR,
                E::LOOP,
                E::MFILE,
                E::NFILE,
                E::NOENT,
                E::NOSPC,
                E::NOTDIR,
                E::ROFS,
            ],
            Self::Write => &[
                E::INTR,
                E::AGAIN,
                E::BADF,
                E::DQUOT,
                E::FBIG,
                E::IO,
                E::NOSPC,
                E::PIPE,
            ],
        }
    }
}

#[cfg(any(test, feature = "fault-injection"))]
pub use active::{Event, Fault, Watch, inject, succeed, watch};

#[cfg(any(test, feature = "fault-injection"))]
mod active {
    use super::Call;
    use rustix::fd::BorrowedFd;
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

    #[derive(Debug)]
    struct Record {
        number: u64,
        thread: Option<ThreadId>,
        events: Vec<Event>,
    }

    #[derive(Debug)]
    struct Plan {
        last_number: u64,
        faults: Vec<Planned>,
        records: Vec<Record>,
    }

    /// A call that was made, or would have been.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Event {
        /// Which.
        pub call: Call,
        /// Of which file, where the call is on one.
        pub inode: Option<u64>,
        /// What it answered; `None` is success.
        pub errno: Option<i32>,
    }

    static PLAN: Mutex<Plan> = Mutex::new(Plan {
        last_number: 0,
        faults: Vec::new(),
        records: Vec::new(),
    });

    fn plan() -> MutexGuard<'static, Plan> {
        PLAN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    impl Plan {
        fn number(&mut self) -> u64 {
            self.last_number += 1;
            self.last_number
        }
    }

    /// A fault in force until this is dropped.
    #[derive(Debug)]
    #[must_use]
    pub struct Fault(u64);

    impl Drop for Fault {
        fn drop(&mut self) {
            plan().faults.retain(|planned| planned.number != self.0);
        }
    }

    impl Fault {
        /// How many more times the fault would strike.
        pub fn left(&self) -> u64 {
            let plan = plan();
            let mine = plan.faults.iter().find(|planned| planned.number == self.0);
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
        let number = plan.number();
        plan.faults.push(Planned {
            number,
            call,
            skip,
            times,
            errno,
            thread: this_thread.then(|| std::thread::current().id()),
        });
        Fault(number)
    }

    /// Calls written down until this is dropped.
    #[derive(Debug)]
    #[must_use]
    pub struct Watch(u64);

    impl Drop for Watch {
        fn drop(&mut self) {
            plan().records.retain(|record| record.number != self.0);
        }
    }

    impl Watch {
        /// The calls so far, in their order.
        pub fn events(&self) -> Vec<Event> {
            let plan = plan();
            let mine = plan.records.iter().find(|record| record.number == self.0);
            mine.map_or_else(Vec::new, |record| record.events.clone())
        }
    }

    /// Writes down what is called from now on, on this thread only or on all.
    pub fn watch(this_thread: bool) -> Watch {
        let mut plan = plan();
        let number = plan.number();
        plan.records.push(Record {
            number,
            thread: this_thread.then(|| std::thread::current().id()),
            events: Vec::new(),
        });
        Watch(number)
    }

    pub(crate) fn sync(
        call: Call,
        fd: BorrowedFd<'_>,
        kernel: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let answer = match strike(call) {
            Some(Some(errno)) => Err(errno),
            Some(None) => Ok(()),
            None => kernel(),
        };
        write_down(call, Some(fd), answer.err());
        answer
    }

    pub(crate) fn intercept<T>(
        call: Call,
        fd: Option<BorrowedFd<'_>>,
        kernel: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let answer = match strike(call) {
            Some(Some(errno)) => Err(errno),
            Some(None) | None => kernel(),
        };
        write_down(call, fd, answer.as_ref().err().copied());
        answer
    }

    fn write_down(call: Call, fd: Option<BorrowedFd<'_>>, errno: Option<Errno>) {
        let mut plan = plan();
        if plan.records.is_empty() {
            return;
        }
        let stat = fd.and_then(|fd| rustix::fs::fstat(fd).ok());
        let event = Event {
            call,
            inode: stat.map(|stat| stat.st_ino),
            errno: errno.map(Errno::raw_os_error),
        };
        let here = std::thread::current().id();
        for record in &mut plan.records {
            if record.thread.is_none_or(|thread| thread == here) {
                record.events.push(event);
            }
        }
    }

    /// What is planned for this call: an errno, or success; errnos come first.
    fn strike(call: Call) -> Option<Option<Errno>> {
        let here = std::thread::current().id();
        let mut plan = plan();
        for fails in [true, false] {
            for planned in &mut plan.faults {
                if planned.call != call
                    || planned.thread.is_some_and(|thread| thread != here)
                    || planned.errno.is_some() != fails
                {
                    continue;
                }
                if planned.skip > 0 {
                    planned.skip -= 1;
                } else if planned.times > 0 {
                    planned.times -= 1;
                    return Some(planned.errno);
                }
            }
        }
        None
    }
}

#[cfg(any(test, feature = "fault-injection"))]
pub(super) use active::{intercept, sync};

/// Makes a call.
#[cfg(not(any(test, feature = "fault-injection")))]
#[inline(always)]
pub(super) fn intercept<T>(
    _call: Call,
    _fd: Option<BorrowedFd<'_>>,
    kernel: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    kernel()
}

/// Makes one that tests may answer with success in the kernel's place.
#[cfg(not(any(test, feature = "fault-injection")))]
#[inline(always)]
pub(super) fn sync(
    _call: Call,
    _fd: BorrowedFd<'_>,
    kernel: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), Errno> {
    kernel()
}

/// For calls that are std's: fails if a failure is planned.
#[inline(always)]
pub(crate) fn check(call: Call) -> Result<(), Errno> {
    intercept(call, None, || Ok(()))
}
