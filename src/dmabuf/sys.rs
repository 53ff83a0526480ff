// SPDX-License-Identifier: MPL-2.0
//! The system calls of this floor, each once, none retried. With `mapping` and `window` the
//! only unsafe code of the floor.
#![allow(unsafe_code)]

use super::faults::{self, Call};
use super::uapi;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::CStr;
use std::path::Path;
use std::ptr::NonNull;
use std::time::Duration;

pub(super) type Result<T> = std::result::Result<T, Errno>;

pub(super) fn sync(fd: BorrowedFd<'_>, flags: u64) -> Result<()> {
    let call = if flags & uapi::SYNC_END == 0 {
        Call::SyncStart
    } else {
        Call::SyncEnd
    };
    faults::check(call)?;
    if faults::succeeds(call) {
        return Ok(());
    }
    // SAFETY: the opcode is DMA_BUF_IOCTL_SYNC, whose argument is a `struct dma_buf_sync` that
    // the kernel only reads; unit-tested against the kernel's headers.
    let request =
        unsafe { rustix::ioctl::Setter::<{ uapi::IOCTL_SYNC }, _>::new(uapi::Sync { flags }) };
    // SAFETY: the request matches its opcode, as above, and touches no memory of ours.
    match unsafe { rustix::ioctl::ioctl(fd, request) } {
        // What qemu-user before 8.1 answers to an ioctl that it does not know, where the kernel
        // says ENOTTY ("linux-user: report ENOTTY for unknown ioctls", qemu-devel, April 2023).
        Err(Errno::NOSYS) if !is_dma_buf(fd)? => Err(Errno::NOTTY),
        answer => answer,
    }
}

fn is_dma_buf(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(rustix::fs::fstatfs(fd)?.f_type as u64 == uapi::MAGIC)
}

/// One `poll`; true when one of `events` (or an error state) has come.
pub(super) fn poll(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    limit: Option<Duration>,
) -> Result<PollFlags> {
    faults::check(Call::Poll)?;
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let mut fds = [PollFd::from_borrowed_fd(fd, events)];
    rustix::event::poll(&mut fds, limit.as_ref())?;
    Ok(fds[0].revents())
}

pub(super) fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    faults::check(Call::Duplicate)?;
    rustix::io::fcntl_dupfd_cloexec(fd, 0)
}

/// What the file system tells of a descriptor.
pub(super) struct Stat {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) is_dma_buf: bool,
}

pub(super) fn stat(fd: BorrowedFd<'_>) -> Result<Stat> {
    faults::check(Call::Stat)?;
    let stat = rustix::fs::fstat(fd)?;
    let is_dma_buf = is_dma_buf(fd)?;
    // A dma-buf's st_size is 0; its size is where SEEK_END leads (dma_buf_llseek). Other files
    // have a position that is not ours to move.
    let size = if is_dma_buf {
        rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0))?
    } else {
        u64::try_from(stat.st_size).unwrap_or(0)
    };
    Ok(Stat {
        device: stat.st_dev,
        inode: stat.st_ino,
        size,
        is_dma_buf,
    })
}

/// MAP_SHARED mapping of `length` bytes (not 0) from `offset`, at an address of the kernel's
/// choice.
pub(super) fn map(
    fd: BorrowedFd<'_>,
    offset: u64,
    length: usize,
    writable: bool,
) -> Result<NonNull<u8>> {
    faults::check(Call::Map)?;
    let mut protection = ProtFlags::READ;
    if writable {
        protection |= ProtFlags::WRITE;
    }
    // SAFETY: with no address asked for, the kernel maps where nothing was mapped before, so no
    // memory that anything refers to changes.
    let address = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            length,
            protection,
            MapFlags::SHARED,
            fd,
            offset,
        )
    }?;
    NonNull::new(address.cast()).ok_or(Errno::NOMEM)
}

/// Undoes [`map`].
///
/// # Safety
/// `address` and `length` are those of one call of [`map`], and nothing refers to the memory
/// any more.
pub(super) unsafe fn unmap(address: NonNull<u8>, length: usize) {
    // SAFETY: as the caller promises. It fails only for arguments that `map` never gives.
    let _ = unsafe { rustix::mm::munmap(address.as_ptr().cast(), length) };
}

/// Opens a device for reading and writing, close-on-exec.
pub(super) fn open_device(path: &Path) -> Result<OwnedFd> {
    faults::check(Call::Open)?;
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// A memory file of `size` bytes that can neither shrink nor grow.
pub(super) fn sealed_memfd(name: &CStr, size: u64) -> Result<OwnedFd> {
    faults::check(Call::Allocate)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create(name, flags)?;
    rustix::fs::ftruncate(&fd, size)?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(fd)
}

/// `DMA_HEAP_IOCTL_ALLOC`.
pub(super) fn heap_allocate(heap: BorrowedFd<'_>, len: u64) -> Result<OwnedFd> {
    faults::check(Call::Allocate)?;
    let mut data = uapi::HeapAllocation {
        len,
        fd_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
        ..Default::default()
    };
    // SAFETY: the opcode is DMA_HEAP_IOCTL_ALLOC, whose argument is this structure.
    let request = unsafe { rustix::ioctl::Updater::<{ uapi::HEAP_ALLOC }, _>::new(&mut data) };
    // SAFETY: the request matches its opcode.
    unsafe { rustix::ioctl::ioctl(heap, request) }?;
    own(RawFd::try_from(data.fd).map_err(|_| Errno::BADF)?)
}

/// `UDMABUF_CREATE` of a whole memory file.
pub(super) fn udmabuf_create(
    device: BorrowedFd<'_>,
    memfd: BorrowedFd<'_>,
    size: u64,
) -> Result<OwnedFd> {
    use rustix::fd::AsRawFd;
    faults::check(Call::Allocate)?;
    let request = CreateUdmabuf(uapi::UdmabufCreate {
        memfd: u32::try_from(memfd.as_raw_fd()).map_err(|_| Errno::BADF)?,
        flags: uapi::UDMABUF_CLOEXEC,
        offset: 0,
        size,
    });
    // SAFETY: the request is one of UDMABUF_CREATE with the structure that belongs to it.
    own(unsafe { rustix::ioctl::ioctl(device, request) }?)
}

/// An ioctl whose result is in its return value.
struct CreateUdmabuf(uapi::UdmabufCreate);

// SAFETY: the opcode takes a `struct udmabuf_create` that the kernel only reads, and returns a
// descriptor.
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
    // SAFETY: the kernel takes the argument itself as the address of a string, which it copies
    // before it returns.
    let request = unsafe { rustix::ioctl::IntegerSetter::<{ uapi::SET_NAME }>::new_usize(address) };
    // SAFETY: the request matches its opcode, and the string outlives the call.
    unsafe { rustix::ioctl::ioctl(fd, request) }
}

/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`: a file that becomes readable when the fences that are
/// attached now are signalled.
pub(super) fn export_sync_file(fd: BorrowedFd<'_>, flags: u64) -> Result<OwnedFd> {
    faults::check(Call::ExportSyncFile)?;
    let mut data = uapi::ExportSyncFile {
        flags: u32::try_from(flags).map_err(|_| Errno::INVAL)?,
        fd: -1,
    };
    // SAFETY: the opcode is DMA_BUF_IOCTL_EXPORT_SYNC_FILE, whose argument is this structure.
    let request =
        unsafe { rustix::ioctl::Updater::<{ uapi::EXPORT_SYNC_FILE }, _>::new(&mut data) };
    // SAFETY: the request matches its opcode.
    unsafe { rustix::ioctl::ioctl(fd, request) }?;
    own(data.fd)
}

/// `DRM_IOCTL_DROP_MASTER`.
pub(super) fn drop_master(card: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the opcode is DRM_IOCTL_DROP_MASTER, which has no argument.
    let request = unsafe { rustix::ioctl::NoArg::<{ uapi::DROP_MASTER }>::new() };
    // SAFETY: the request matches its opcode.
    unsafe { rustix::ioctl::ioctl(card, request) }
}

/// `DRM_IOCTL_MODE_CREATE_DUMB`.
pub(super) fn create_dumb(card: BorrowedFd<'_>, dumb: &mut uapi::CreateDumb) -> Result<()> {
    faults::check(Call::Allocate)?;
    // SAFETY: the opcode is DRM_IOCTL_MODE_CREATE_DUMB, whose argument is this structure.
    let request = unsafe { rustix::ioctl::Updater::<{ uapi::CREATE_DUMB }, _>::new(dumb) };
    // SAFETY: the request matches its opcode.
    unsafe { rustix::ioctl::ioctl(card, request) }
}

/// `DRM_IOCTL_MODE_DESTROY_DUMB`.
pub(super) fn destroy_dumb(card: BorrowedFd<'_>, mut handle: u32) -> Result<()> {
    // SAFETY: the opcode is DRM_IOCTL_MODE_DESTROY_DUMB, whose argument is the handle alone.
    let request = unsafe { rustix::ioctl::Updater::<{ uapi::DESTROY_DUMB }, _>::new(&mut handle) };
    // SAFETY: the request matches its opcode.
    unsafe { rustix::ioctl::ioctl(card, request) }
}

/// `DRM_IOCTL_PRIME_HANDLE_TO_FD`.
pub(super) fn prime_export(card: BorrowedFd<'_>, handle: u32) -> Result<OwnedFd> {
    faults::check(Call::Allocate)?;
    let mut data = uapi::PrimeHandle {
        handle,
        flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
        fd: -1,
    };
    // SAFETY: the opcode is DRM_IOCTL_PRIME_HANDLE_TO_FD, whose argument is this structure.
    let request =
        unsafe { rustix::ioctl::Updater::<{ uapi::PRIME_HANDLE_TO_FD }, _>::new(&mut data) };
    // SAFETY: the request matches its opcode.
    unsafe { rustix::ioctl::ioctl(card, request) }?;
    own(data.fd)
}

/// Takes over a descriptor that an ioctl returned.
fn own(fd: RawFd) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the kernel has just made it for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
