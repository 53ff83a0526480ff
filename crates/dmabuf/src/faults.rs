// SPDX-License-Identifier: MPL-2.0
//! The fault-injection shim: tests make the n-th use of a system call fail as the kernel would
//! fail it, and record calls.
//!
//! Every system call of the plugin passes through `intercept` or `check`. Without the feature
//! `fault-injection` (and outside unit tests) these are inline functions that call the kernel.
//!
//! Three kinds of calls do not pass through the shim: `close` (it releases the descriptor whatever
//! it returns, see close(2)), the locks of std (futex), and the calls of GStreamer and GLib.

use rustix::io::Errno;

/// Defines [`Call`] from rows of a variant and its errnos.
macro_rules! calls {
    ($($(#[$doc:meta])+ $call:ident: $($errno:ident)+;)+) => {
        /// A system call that passes through the shim.
        // Private without the feature.
        #[cfg_attr(not(any(test, feature = "fault-injection")), allow(unreachable_pub))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Call {
            $($(#[$doc])+ $call,)+
        }

        #[cfg(any(test, feature = "fault-injection"))]
        impl Call {
            /// All system calls that pass through the shim.
            pub const ALL: [Self; [$(Self::$call),+].len()] = [$(Self::$call),+];

            /// Returns the errnos that the call can fail with on the descriptors and arguments of
            /// this crate.
            pub fn errnos(self) -> &'static [Errno] {
                match self {
                    $(Self::$call => &[$(Errno::$errno),+],)+
                }
            }
        }
    };
}

// Errnos are those of the call's manual page in section 2 or, for ioctls, of the driver's source
// (SYNC: dma_buf_ioctl, and what a driver's begin_cpu_access and end_cpu_access return). EINTR and
// EAGAIN are listed wherever a driver may sleep interruptibly: drmIoctl of libdrm retries both for
// every driver.
calls! {
    /// `DMA_BUF_IOCTL_SYNC` with START.
    SyncStart: INTR AGAIN NOTTY INVAL NOMEM IO BUSY NODEV FAULT;
    /// `DMA_BUF_IOCTL_SYNC` with END.
    SyncEnd: INTR AGAIN INVAL NOMEM IO NODEV FAULT;
    /// `poll` for fences.
    Poll: INTR AGAIN NOMEM INVAL FAULT;
    /// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`.
    ExportSyncFile: INTR NOTTY MFILE NOMEM INVAL;
    /// `mmap`.
    Map: ACCESS AGAIN INVAL NFILE NODEV NOMEM OVERFLOW PERM;
    /// `munmap`.
    Unmap: NOMEM;
    /// `fcntl(F_DUPFD_CLOEXEC)`.
    Duplicate: MFILE BADF NOMEM;
    /// `fstat`.
    Stat: BADF NOMEM OVERFLOW IO;
    /// `fstatfs`.
    StatFs: BADF NOMEM IO NOSYS INTR;
    /// `lseek`.
    Seek: BADF INVAL SPIPE;
    /// `fcntl(F_GET_SEALS)`.
    GetSeals: INVAL BADF;
    /// `fcntl(F_GETFL)`.
    GetFlags: BADF;
    /// `open` of a device.
    Open: ACCESS BUSY INTR MFILE NFILE NODEV NOENT NOMEM NXIO PERM;
    /// `memfd_create`.
    MemfdCreate: MFILE NFILE NOMEM INVAL ACCESS NOSYS;
    /// `ftruncate`.
    Truncate: INTR FBIG IO PERM NOSPC NOMEM;
    /// `fcntl(F_ADD_SEALS)`.
    AddSeals: BUSY PERM INVAL;
    /// `DMA_HEAP_IOCTL_ALLOC`.
    HeapAllocate: INTR AGAIN NOMEM INVAL MFILE NOTTY FAULT;
    /// `UDMABUF_CREATE`.
    UdmabufCreate: INTR INVAL NOMEM MFILE BADFD NOTTY FAULT;
    /// `DRM_IOCTL_MODE_CREATE_DUMB`.
    CreateDumb: INTR AGAIN NOSYS INVAL NOMEM NOSPC ACCESS OPNOTSUPP NODEV;
    /// `DRM_IOCTL_PRIME_HANDLE_TO_FD`.
    PrimeExport: INTR AGAIN NOSYS NOENT MFILE NOMEM NODEV;
    /// `DRM_IOCTL_MODE_DESTROY_DUMB`.
    DestroyDumb: INTR AGAIN INVAL NODEV;
    /// `DRM_IOCTL_DROP_MASTER`.
    DropMaster: INTR INVAL ACCESS NODEV;
    /// `DMA_BUF_SET_NAME_B`.
    SetName: INTR NOTTY INVAL NOMEM FAULT;
    /// `open` and `read` of a file in `/proc` or `/sys`.
    ReadFile: NOENT ACCESS MFILE IO INTR;
    /// `readlink` in `/proc`.
    ReadLink: NOENT ACCESS NOMEM;
    /// `open` and `getdents` of a folder of devices.
    ReadFolder: NOENT ACCESS MFILE NOTDIR;
    /// `clone` of a thread.
    Spawn: AGAIN NOMEM PERM;
    /// `sigaction`.
    Sigaction: INVAL;
    /// `open` of a file that is created or truncated.
    CreateFile: INTR ACCESS DQUOT ISDIR LOOP MFILE NFILE NOENT NOSPC NOTDIR ROFS;
    /// `write` to such a file or to standard error.
    Write: INTR AGAIN BADF DQUOT FBIG IO NOSPC PIPE;
}

/// Fails if a test has injected a fault: the shim for calls that std makes.
#[inline(always)]
pub(crate) fn check(call: Call) -> Result<(), Errno> {
    intercept(call, None, || Ok(()))
}

#[cfg(any(test, feature = "fault-injection"))]
pub use active::{Event, Fault, Watch, inject, succeed, watch};
#[cfg(any(test, feature = "fault-injection"))]
pub(super) use active::{intercept, succeeds};
#[cfg(not(any(test, feature = "fault-injection")))]
pub(super) use inactive::{intercept, succeeds};

#[cfg(not(any(test, feature = "fault-injection")))]
mod inactive {
    use super::Call;
    use rustix::fd::BorrowedFd;
    use rustix::io::Errno;

    #[inline(always)]
    pub(crate) fn intercept<T>(
        _: Call,
        _: Option<BorrowedFd<'_>>,
        kernel: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        kernel()
    }

    #[inline(always)]
    pub(crate) fn succeeds(_: Call) -> bool {
        false
    }
}

#[cfg(any(test, feature = "fault-injection"))]
mod active {
    use super::Call;
    use crate::lock::lock;
    use rustix::fd::BorrowedFd;
    use rustix::io::Errno;
    use std::sync::Mutex;
    use std::thread::ThreadId;

    #[derive(Debug)]
    struct PlannedFault {
        id: u64,
        call: Call,
        skip: u64,
        times: u64,
        /// `None`: success, without a call of the kernel.
        errno: Option<Errno>,
        thread: Option<ThreadId>,
    }

    #[derive(Debug)]
    struct Record {
        id: u64,
        thread: Option<ThreadId>,
        events: Vec<Event>,
    }

    #[derive(Debug)]
    struct Plan {
        last_id: u64,
        faults: Vec<PlannedFault>,
        records: Vec<Record>,
    }

    /// A call that was made, or that the shim answered.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Event {
        /// The system call.
        pub call: Call,
        /// The inode of the descriptor that the call was on, if any.
        pub inode: Option<u64>,
        /// The errno that it returned; `None` for success.
        pub errno: Option<i32>,
    }

    static PLAN: Mutex<Plan> = Mutex::new(Plan {
        last_id: 0,
        faults: Vec::new(),
        records: Vec::new(),
    });

    impl Plan {
        fn new_id(&mut self) -> u64 {
            self.last_id += 1;
            self.last_id
        }
    }

    fn this_thread_if(only: bool) -> Option<ThreadId> {
        only.then(|| std::thread::current().id())
    }

    /// An injected fault; removed on drop.
    #[derive(Debug)]
    #[must_use]
    pub struct Fault(u64);

    impl Drop for Fault {
        fn drop(&mut self) {
            lock(&PLAN).faults.retain(|planned| planned.id != self.0);
        }
    }

    impl Fault {
        /// Returns how many more calls the fault will answer.
        pub fn left(&self) -> u64 {
            let plan = lock(&PLAN);
            let own = plan.faults.iter().find(|planned| planned.id == self.0);
            own.map_or(0, |planned| planned.times)
        }
    }

    /// Fails `call` with `errno`: passes `skip` calls to the kernel, then fails the next `times`;
    /// those of this thread only, or of all threads.
    pub fn inject(call: Call, skip: u64, times: u64, errno: i32, this_thread: bool) -> Fault {
        let errno = Some(Errno::from_raw_os_error(errno));
        add(call, skip, times, errno, this_thread)
    }

    /// Answers the next `times` START or END calls with success, as a dma-buf does, so that a
    /// memfd can stand in for one. Injected faults take precedence.
    pub fn succeed(call: Call, times: u64, this_thread: bool) -> Fault {
        add(call, 0, times, None, this_thread)
    }

    fn add(call: Call, skip: u64, times: u64, errno: Option<Errno>, this_thread: bool) -> Fault {
        let mut plan = lock(&PLAN);
        let id = plan.new_id();
        plan.faults.push(PlannedFault {
            id,
            call,
            skip,
            times,
            errno,
            thread: this_thread_if(this_thread),
        });
        Fault(id)
    }

    /// A record of calls, until it is dropped.
    #[derive(Debug)]
    #[must_use]
    pub struct Watch(u64);

    impl Drop for Watch {
        fn drop(&mut self) {
            lock(&PLAN).records.retain(|record| record.id != self.0);
        }
    }

    impl Watch {
        /// Returns the calls so far, in order.
        pub fn events(&self) -> Vec<Event> {
            let plan = lock(&PLAN);
            let own = plan.records.iter().find(|record| record.id == self.0);
            own.map_or_else(Vec::new, |record| record.events.clone())
        }
    }

    /// Records calls from now on, those of this thread only or of all threads.
    pub fn watch(this_thread: bool) -> Watch {
        let mut plan = lock(&PLAN);
        let id = plan.new_id();
        plan.records.push(Record {
            id,
            thread: this_thread_if(this_thread),
            events: Vec::new(),
        });
        Watch(id)
    }

    /// Returns the errno of an injected fault, if there is one, or what `kernel` returns.
    pub(crate) fn intercept<T>(
        call: Call,
        fd: Option<BorrowedFd<'_>>,
        kernel: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let answer = match take(call, |errno| errno) {
            Some(errno) => Err(errno),
            None => kernel(),
        };
        record(call, fd, answer.as_ref().err().copied());
        answer
    }

    /// Whether [`succeed`] answers this call.
    pub(crate) fn succeeds(call: Call) -> bool {
        take(call, |errno| errno.is_none().then_some(())).is_some()
    }

    fn record(call: Call, fd: Option<BorrowedFd<'_>>, errno: Option<Errno>) {
        let mut plan = lock(&PLAN);
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

    /// Uses up one answer of the first planned fault of `call` that `select` accepts.
    fn take<T>(call: Call, select: impl Fn(Option<Errno>) -> Option<T>) -> Option<T> {
        let here = std::thread::current().id();
        let mut plan = lock(&PLAN);
        for planned in &mut plan.faults {
            if planned.call != call || planned.thread.is_some_and(|thread| thread != here) {
                continue;
            }
            let Some(answer) = select(planned.errno) else {
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
