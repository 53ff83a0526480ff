// SPDX-License-Identifier: MPL-2.0
//! All system calls of this crate but those of `sigbus`, routed through the
//! [fault-injection shim](super::faults). Blocking calls are retried on EINTR here, except SYNC and
//! `poll`, which their callers retry and count.
#![allow(unsafe_code)]

use super::faults::{self, Call};
use super::uapi;
use crate::lock::lock;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::time::Duration;

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// Repeats a call while it fails with one of these errnos, as `drmIoctl` of libdrm does for every
/// driver, but only 1000 times.
fn retry<T>(errnos: &[Errno], mut call: impl FnMut() -> Result<T>) -> Result<T> {
    const TRIES: usize = 1000;
    for _ in 1..TRIES {
        match call() {
            Err(errno) if errnos.contains(&errno) => std::thread::yield_now(),
            answer => return answer,
        }
    }
    call()
}

/// The errno of a blocking call that a signal interrupted.
const INTERRUPTED: &[Errno] = &[Errno::INTR];
/// The errnos of an ioctl that must be repeated.
const INTERRUPTED_OR_BUSY: &[Errno] = &[Errno::INTR, Errno::AGAIN];

pub(super) fn sync(fd: BorrowedFd<'_>, flags: u64) -> Result<()> {
    let call = if flags & uapi::SYNC_END == 0 {
        Call::SyncStart
    } else {
        Call::SyncEnd
    };
    faults::intercept(call, Some(fd), || {
        if faults::succeeds(call) {
            return Ok(());
        }
        // SAFETY: the opcode is DMA_BUF_IOCTL_SYNC, whose argument is a `struct dma_buf_sync`
        // that the kernel only reads; unit-tested against the kernel's headers.
        let request =
            unsafe { rustix::ioctl::Setter::<{ uapi::IOCTL_SYNC }, _>::new(uapi::Sync { flags }) };
        // SAFETY: the request matches its opcode, as above, and touches no memory of ours.
        match unsafe { rustix::ioctl::ioctl(fd, request) } {
            // qemu-user before 8.1 fails unknown ioctls with ENOSYS, where the kernel returns ENOTTY
            // ("linux-user: report ENOTTY for unknown ioctls", qemu-devel, April 2023).
            Err(Errno::NOSYS) if !is_dma_buf(fd)? => Err(Errno::NOTTY),
            answer => answer,
        }
    })
}

fn is_dma_buf(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(file_system(fd)?.f_type as u64 == uapi::MAGIC)
}

fn file_system(fd: BorrowedFd<'_>) -> Result<rustix::fs::StatFs> {
    retry(INTERRUPTED, || {
        faults::intercept(Call::StatFs, Some(fd), || rustix::fs::fstatfs(fd))
    })
}

/// Polls once; returns the events (or error states) that are set, none after `limit`.
pub(super) fn poll(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    limit: Option<Duration>,
) -> Result<PollFlags> {
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let mut fds = [PollFd::from_borrowed_fd(fd, events)];
    faults::intercept(Call::Poll, Some(fd), || {
        rustix::event::poll(&mut fds, limit.as_ref())
    })?;
    Ok(fds[0].revents())
}

pub(super) fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    faults::intercept(Call::Duplicate, Some(fd), || {
        rustix::io::fcntl_dupfd_cloexec(fd, 0)
    })
}

/// Properties of the file of a descriptor.
pub(super) struct Stat {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) is_dma_buf: bool,
    pub(super) is_regular_file: bool,
    /// The huge-page size in bytes of files that consist of huge pages (`MFD_HUGETLB`).
    pub(super) huge_page: Option<usize>,
}

pub(super) fn stat(fd: BorrowedFd<'_>) -> Result<Stat> {
    let stat = faults::intercept(Call::Stat, Some(fd), || rustix::fs::fstat(fd))?;
    let file_system = file_system(fd)?;
    let is_dma_buf = file_system.f_type as u64 == uapi::MAGIC;
    let is_huge = file_system.f_type as u64 & u64::from(u32::MAX) == uapi::HUGETLBFS_MAGIC;
    // The st_size of a dma-buf is 0; SEEK_END returns its size (dma_buf_llseek). The position of
    // other files must not change.
    let size = if is_dma_buf {
        faults::intercept(Call::Seek, Some(fd), || {
            rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0))
        })?
    } else {
        u64::try_from(stat.st_size).unwrap_or(0)
    };
    Ok(Stat {
        device: stat.st_dev,
        inode: stat.st_ino,
        size,
        is_dma_buf,
        is_regular_file: !is_dma_buf && FileType::from_raw_mode(stat.st_mode).is_file(),
        // As hugetlbfs_statfs sets it (fs/hugetlbfs/inode.c).
        huge_page: usize::try_from(file_system.f_bsize)
            .ok()
            .filter(|size| is_huge && *size > 0),
    })
}

/// Whether a file is sealed against shrinking (`F_SEAL_SHRINK`).
pub(super) fn cannot_shrink(fd: BorrowedFd<'_>) -> bool {
    let seals = faults::intercept(Call::GetSeals, Some(fd), || rustix::fs::fcntl_get_seals(fd));
    seals.is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

/// Whether a file is sealed against new mappings for writing.
pub(super) fn is_sealed_against_writing(fd: BorrowedFd<'_>) -> bool {
    let seals = faults::intercept(Call::GetSeals, Some(fd), || rustix::fs::fcntl_get_seals(fd));
    seals.is_ok_and(|seals| seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE))
}

/// Whether a descriptor was opened read-only, which prevents mappings for writing.
pub(super) fn is_read_only(fd: BorrowedFd<'_>) -> Result<bool> {
    let flags = faults::intercept(Call::GetFlags, Some(fd), || rustix::fs::fcntl_getfl(fd))?;
    Ok(flags & OFlags::ACCMODE == OFlags::RDONLY)
}

/// Maps `length` bytes (not 0) from `offset` with MAP_SHARED, at an address that the kernel chooses.
/// Both must be multiples of the huge-page size, if the file has huge pages: the kernel maps whole
/// ones for any length, and only unmaps whole ones (hugetlb_vm_op_split in mm/hugetlb.c).
pub(super) fn map(
    fd: BorrowedFd<'_>,
    offset: u64,
    length: usize,
    writable: bool,
) -> Result<NonNull<u8>> {
    unmap_leftovers();
    let mut protection = ProtFlags::READ;
    if writable {
        protection |= ProtFlags::WRITE;
    }
    let address = faults::intercept(Call::Map, Some(fd), || {
        let anywhere = std::ptr::null_mut();
        let shared = MapFlags::SHARED;
        // SAFETY: without an address, the kernel maps where nothing was mapped before, so no
        // memory in use changes.
        unsafe { rustix::mm::mmap(anywhere, length, protection, shared, fd, offset) }
    })?;
    NonNull::new(address.cast()).ok_or(Errno::NOMEM)
}

/// Undoes [`map`].
///
/// # Safety
/// `address` and `length` are those of one call of [`map`], and no reference to the memory exists.
pub(super) unsafe fn unmap(address: NonNull<u8>, length: usize) {
    // SAFETY: the caller guarantees it.
    if !unsafe { unmap_once(address.as_ptr() as usize, length) } {
        lock(&LEFTOVERS).push((address.as_ptr() as usize, length));
    }
}

/// Mappings whose `munmap` failed with ENOMEM, retried at the next [`map`]. The kernel merges adjacent
/// mappings, so unmapping one may split a merged one, which fails at the limit of
/// `vm.max_map_count`.
static LEFTOVERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

fn unmap_leftovers() {
    lock(&LEFTOVERS).retain(|&(address, length)| {
        // SAFETY: the caller of `unmap` guaranteed that no reference exists; as the mapping still
        // exists, nothing else is mapped there.
        !unsafe { unmap_once(address, length) }
    });
}

/// Returns false if it must be retried.
///
/// # Safety
/// As for [`unmap`].
unsafe fn unmap_once(address: usize, length: usize) -> bool {
    let answer = faults::intercept(Call::Unmap, None, || {
        let address = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: the caller guarantees it.
        unsafe { rustix::mm::munmap(address, length) }
    });
    // The other errnos are for arguments that `map` does not return: huge pages are mapped whole.
    answer != Err(Errno::NOMEM)
}

/// Opens a device for reading and writing, close-on-exec.
pub(super) fn open_device(path: &Path) -> Result<OwnedFd> {
    retry(INTERRUPTED, || {
        faults::intercept(Call::Open, None, || {
            rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        })
    })
}

/// Reads a file of `/proc` or `/sys`.
pub fn read_text(path: &str) -> Result<String> {
    retry(INTERRUPTED, || {
        faults::intercept(Call::ReadFile, None, || {
            std::fs::read_to_string(path).map_err(|error| errno_of(&error))
        })
    })
}

/// Creates or truncates a file for writing, close-on-exec.
pub fn create_file(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    retry(INTERRUPTED, || {
        faults::intercept(Call::CreateFile, None, || {
            // Limited by the umask of the process.
            rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))
        })
    })
}

/// Writes all bytes.
pub fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let written = retry(INTERRUPTED_OR_BUSY, || {
            faults::intercept(Call::Write, None, || rustix::io::write(file, bytes))
        })?;
        if written == 0 {
            return Err(Errno::IO);
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Writes all bytes to standard error, uninterrupted by other writes of this process.
pub fn write_stderr(bytes: &[u8]) -> Result<()> {
    let _lock = std::io::stderr().lock();
    write_all(rustix::stdio::stderr(), bytes)
}

/// Returns the target of a link in `/proc`.
pub(super) fn link_target(path: &str) -> Result<PathBuf> {
    faults::intercept(Call::ReadLink, None, || {
        std::fs::read_link(path).map_err(|error| errno_of(&error))
    })
}

/// Returns the names in a folder that are UTF-8; no device has another.
pub(super) fn names_in(folder: &str) -> Result<Vec<String>> {
    let entries = faults::intercept(Call::ReadFolder, None, || {
        std::fs::read_dir(folder).map_err(|error| errno_of(&error))
    })?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.collect())
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Creates a memory file of `size` bytes, sealed against changes of size and against further seals:
/// with `F_SEAL_FUTURE_WRITE`, set by another process, it could no longer be mapped for writing.
pub(super) fn sealed_memfd(name: &CStr, size: u64) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let create = |flags| {
        faults::intercept(Call::MemfdCreate, None, || {
            rustix::fs::memfd_create(name, flags)
        })
    };
    // With vm.memfd_noexec=2 the kernel refuses executable files (EACCES). Before 6.3 the flag is
    // unknown (memfd_create(2)).
    let fd = match create(flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => create(flags),
        made => made,
    }?;
    let file = fd.as_fd();
    retry(INTERRUPTED, || {
        faults::intercept(Call::Truncate, Some(file), || {
            rustix::fs::ftruncate(file, size)
        })
    })?;
    faults::intercept(Call::AddSeals, Some(file), || {
        rustix::fs::fcntl_add_seals(file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
    })?;
    Ok(fd)
}

/// `DMA_HEAP_IOCTL_ALLOC`.
pub(super) fn heap_allocate(heap: BorrowedFd<'_>, len: u64) -> Result<OwnedFd> {
    retry(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::HeapAllocate, Some(heap), || {
            let mut data = uapi::HeapAllocation {
                len,
                fd_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
                ..Default::default()
            };
            // SAFETY: the opcode is DMA_HEAP_IOCTL_ALLOC, whose argument is this structure.
            let request =
                unsafe { rustix::ioctl::Updater::<{ uapi::HEAP_ALLOC }, _>::new(&mut data) };
            // SAFETY: the request matches its opcode.
            unsafe { rustix::ioctl::ioctl(heap, request) }?;
            own(RawFd::try_from(data.fd).map_err(|_| Errno::BADF)?)
        })
    })
}

/// `UDMABUF_CREATE` of a whole memory file.
pub(super) fn udmabuf_create(
    device: BorrowedFd<'_>,
    memfd: BorrowedFd<'_>,
    size: u64,
) -> Result<OwnedFd> {
    use rustix::fd::AsRawFd;
    let memfd = u32::try_from(memfd.as_raw_fd()).map_err(|_| Errno::BADF)?;
    retry(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::UdmabufCreate, Some(device), || {
            let request = CreateUdmabuf(uapi::UdmabufCreate {
                memfd,
                flags: uapi::UDMABUF_CLOEXEC,
                offset: 0,
                size,
            });
            // SAFETY: the request is UDMABUF_CREATE with its structure.
            own(unsafe { rustix::ioctl::ioctl(device, request) }?)
        })
    })
}

/// `UDMABUF_CREATE`, whose result is its return value.
struct CreateUdmabuf(uapi::UdmabufCreate);

// SAFETY: the argument of the opcode is a `struct udmabuf_create`, which the kernel only reads; the
// return value is a descriptor.
unsafe impl rustix::ioctl::Ioctl for CreateUdmabuf {
    type Output = RawFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> rustix::ioctl::Opcode {
        uapi::UDMABUF_CREATE
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        std::ptr::from_mut(&mut self.0).cast()
    }

    unsafe fn output_from_ptr(
        out: rustix::ioctl::IoctlOutput,
        _: *mut rustix::ffi::c_void,
    ) -> Result<RawFd> {
        Ok(out)
    }
}

/// `DMA_BUF_SET_NAME_B`.
pub(super) fn set_name(fd: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let address = name.as_ptr() as usize;
    retry(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::SetName, Some(fd), || {
            // SAFETY: the argument is the address of a string, which the kernel copies before it
            // returns.
            let request =
                unsafe { rustix::ioctl::IntegerSetter::<{ uapi::SET_NAME }>::new_usize(address) };
            // SAFETY: the request matches its opcode, and the string outlives the call.
            unsafe { rustix::ioctl::ioctl(fd, request) }
        })
    })
}

/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`: returns a file that becomes readable once the fences attached
/// now are signalled.
pub(super) fn export_sync_file(fd: BorrowedFd<'_>, flags: u64) -> Result<OwnedFd> {
    let flags = u32::try_from(flags).map_err(|_| Errno::INVAL)?;
    retry(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::ExportSyncFile, Some(fd), || {
            let mut data = uapi::ExportSyncFile { flags, fd: -1 };
            // SAFETY: the opcode is DMA_BUF_IOCTL_EXPORT_SYNC_FILE, whose argument is this
            // structure.
            let request =
                unsafe { rustix::ioctl::Updater::<{ uapi::EXPORT_SYNC_FILE }, _>::new(&mut data) };
            // SAFETY: the request matches its opcode.
            unsafe { rustix::ioctl::ioctl(fd, request) }?;
            own(data.fd)
        })
    })
}

/// `DRM_IOCTL_DROP_MASTER`.
pub(super) fn drop_master(card: BorrowedFd<'_>) -> Result<()> {
    retry(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::DropMaster, Some(card), || {
            // SAFETY: the opcode is DRM_IOCTL_DROP_MASTER, which has no argument.
            let request = unsafe { rustix::ioctl::NoArg::<{ uapi::DROP_MASTER }>::new() };
            // SAFETY: the request matches its opcode.
            unsafe { rustix::ioctl::ioctl(card, request) }
        })
    })
}

/// `DRM_IOCTL_MODE_CREATE_DUMB`.
pub(super) fn create_dumb(card: BorrowedFd<'_>, dumb: &mut uapi::CreateDumb) -> Result<()> {
    retry(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::CreateDumb, Some(card), || {
            // SAFETY: the opcode is DRM_IOCTL_MODE_CREATE_DUMB, whose argument is this structure.
            let request = unsafe { rustix::ioctl::Updater::<{ uapi::CREATE_DUMB }, _>::new(dumb) };
            // SAFETY: the request matches its opcode.
            unsafe { rustix::ioctl::ioctl(card, request) }
        })
    })
}

/// `DRM_IOCTL_MODE_DESTROY_DUMB`.
pub(super) fn destroy_dumb(card: BorrowedFd<'_>, mut handle: u32) -> Result<()> {
    retry(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::DestroyDumb, Some(card), || {
            // SAFETY: the opcode is DRM_IOCTL_MODE_DESTROY_DUMB, whose argument is the handle.
            let request =
                unsafe { rustix::ioctl::Updater::<{ uapi::DESTROY_DUMB }, _>::new(&mut handle) };
            // SAFETY: the request matches its opcode.
            unsafe { rustix::ioctl::ioctl(card, request) }
        })
    })
}

/// `DRM_IOCTL_PRIME_HANDLE_TO_FD`.
pub(super) fn prime_export(card: BorrowedFd<'_>, handle: u32) -> Result<OwnedFd> {
    retry(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::PrimeExport, Some(card), || {
            let mut data = uapi::PrimeHandle {
                handle,
                flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
                fd: -1,
            };
            // SAFETY: the opcode is DRM_IOCTL_PRIME_HANDLE_TO_FD, whose argument is this
            // structure.
            let request = unsafe {
                rustix::ioctl::Updater::<{ uapi::PRIME_HANDLE_TO_FD }, _>::new(&mut data)
            };
            // SAFETY: the request matches its opcode.
            unsafe { rustix::ioctl::ioctl(card, request) }?;
            own(data.fd)
        })
    })
}

/// Takes ownership of a descriptor that an ioctl returned.
fn own(fd: RawFd) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the kernel has just created it, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
