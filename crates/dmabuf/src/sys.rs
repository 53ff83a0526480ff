// SPDX-License-Identifier: MPL-2.0
//! The system calls of this floor, each once, each through the [seam](super::faults). What waits
//! is made again after a signal; SYNC and `poll` have callers that see to that, and count. With
//! `guard`, `mapping` and `window` the only unsafe code of the floor.
#![allow(unsafe_code)]

use super::faults::{self, Call};
use super::uapi;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// Makes a call again that a signal interrupted, or (ioctls) that asks for it, as `drmIoctl` of
/// libdrm does for every driver; not for ever, in case it always asks.
fn again<T>(ask_again: &[Errno], mut call: impl FnMut() -> Result<T>) -> Result<T> {
    const TRIES: usize = 1000;
    for _ in 1..TRIES {
        match call() {
            Err(errno) if ask_again.contains(&errno) => std::thread::yield_now(),
            answer => return answer,
        }
    }
    call()
}

/// What a signal does to calls that wait.
const INTERRUPTED: &[Errno] = &[Errno::INTR];
/// What drivers answer when an ioctl is to be made again.
const INTERRUPTED_OR_BUSY: &[Errno] = &[Errno::INTR, Errno::AGAIN];

pub(super) fn sync(fd: BorrowedFd<'_>, flags: u64) -> Result<()> {
    let call = if flags & uapi::SYNC_END == 0 {
        Call::SyncStart
    } else {
        Call::SyncEnd
    };
    faults::sync(call, fd, || {
        // SAFETY: the opcode is DMA_BUF_IOCTL_SYNC, whose argument is a `struct dma_buf_sync`
        // that the kernel only reads; unit-tested against the kernel's headers.
        let request =
            unsafe { rustix::ioctl::Setter::<{ uapi::IOCTL_SYNC }, _>::new(uapi::Sync { flags }) };
        // SAFETY: the request matches its opcode, as above, and touches no memory of ours.
        match unsafe { rustix::ioctl::ioctl(fd, request) } {
            // What qemu-user before 8.1 answers to an ioctl that it does not know, where the kernel
            // says ENOTTY ("linux-user: report ENOTTY for unknown ioctls", qemu-devel, April 2023).
            Err(Errno::NOSYS) if !is_dma_buf(fd)? => Err(Errno::NOTTY),
            answer => answer,
        }
    })
}

fn is_dma_buf(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(file_system(fd)?.f_type as u64 == uapi::MAGIC)
}

fn file_system(fd: BorrowedFd<'_>) -> Result<rustix::fs::StatFs> {
    again(INTERRUPTED, || {
        faults::intercept(Call::StatFs, Some(fd), || rustix::fs::fstatfs(fd))
    })
}

/// One `poll`; true when one of `events` (or an error state) has come.
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

/// What the file system tells of a descriptor.
pub(super) struct Stat {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) is_dma_buf: bool,
    pub(super) is_regular_file: bool,
    /// Bytes of a huge page, for files that are mapped by those (`MFD_HUGETLB`).
    pub(super) huge_page: Option<usize>,
}

pub(super) fn stat(fd: BorrowedFd<'_>) -> Result<Stat> {
    let stat = faults::intercept(Call::Stat, Some(fd), || rustix::fs::fstat(fd))?;
    let file_system = file_system(fd)?;
    let is_dma_buf = file_system.f_type as u64 == uapi::MAGIC;
    let is_huge = file_system.f_type as u64 & u64::from(u32::MAX) == uapi::HUGETLBFS_MAGIC;
    // A dma-buf's st_size is 0; its size is where SEEK_END leads (dma_buf_llseek). Other files
    // have a position that is not ours to move.
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
        // What hugetlbfs_statfs says (fs/hugetlbfs/inode.c).
        huge_page: usize::try_from(file_system.f_bsize)
            .ok()
            .filter(|size| is_huge && *size > 0),
    })
}

/// Whether a file is sealed against getting shorter (`F_SEAL_SHRINK`).
pub(super) fn cannot_shrink(fd: BorrowedFd<'_>) -> bool {
    let seals = faults::intercept(Call::GetSeals, Some(fd), || rustix::fs::fcntl_get_seals(fd));
    seals.is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

/// Whether a file is sealed against new mappings for writing.
pub(super) fn is_sealed_against_writing(fd: BorrowedFd<'_>) -> bool {
    let seals = faults::intercept(Call::GetSeals, Some(fd), || rustix::fs::fcntl_get_seals(fd));
    seals.is_ok_and(|seals| seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE))
}

/// Whether a descriptor was opened for reading only, through which nothing is mapped for writing.
pub(super) fn is_read_only(fd: BorrowedFd<'_>) -> Result<bool> {
    let flags = faults::intercept(Call::GetFlags, Some(fd), || rustix::fs::fcntl_getfl(fd))?;
    Ok(flags & OFlags::ACCMODE == OFlags::RDONLY)
}

/// MAP_SHARED mapping of `length` bytes (not 0) from `offset`, at an address of the kernel's
/// choice. Both are multiples of the file's huge pages, if it has such: the kernel maps whole ones
/// whatever the length, and unmaps only those (hugetlb_vm_op_split in mm/hugetlb.c).
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
        // SAFETY: with no address asked for, the kernel maps where nothing was mapped before, so
        // no memory that anything refers to changes.
        unsafe { rustix::mm::mmap(anywhere, length, protection, shared, fd, offset) }
    })?;
    NonNull::new(address.cast()).ok_or(Errno::NOMEM)
}

/// Undoes [`map`].
///
/// # Safety
/// `address` and `length` are those of one call of [`map`], and nothing refers to the memory
/// any more.
pub(super) unsafe fn unmap(address: NonNull<u8>, length: usize) {
    // SAFETY: as the caller promises.
    if !unsafe { unmap_once(address.as_ptr() as usize, length) } {
        leftovers().push((address.as_ptr() as usize, length));
    }
}

/// Mappings that the kernel did not undo: where it made one of two neighbours, taking the first
/// away leaves pieces, and a process at its limit of them (`vm.max_map_count`) may have no more
/// (ENOMEM). They are tried again when something else is mapped.
static LEFTOVERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

fn leftovers() -> MutexGuard<'static, Vec<(usize, usize)>> {
    // What the mutex guards is whole at every moment.
    LEFTOVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unmap_leftovers() {
    leftovers().retain(|&(address, length)| {
        // SAFETY: `unmap` was promised that nothing refers to it any more, and as the kernel has
        // not undone the mapping, nothing else lies there.
        !unsafe { unmap_once(address, length) }
    });
}

/// False when it is to be tried again.
///
/// # Safety
/// As for [`unmap`].
unsafe fn unmap_once(address: usize, length: usize) -> bool {
    let answer = faults::intercept(Call::Unmap, None, || {
        let address = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: as the caller promises.
        unsafe { rustix::mm::munmap(address, length) }
    });
    // All else it answers to arguments that `map` never gives: huge pages are mapped whole.
    answer != Err(Errno::NOMEM)
}

/// Opens a device for reading and writing, close-on-exec.
pub(super) fn open_device(path: &Path) -> Result<OwnedFd> {
    again(INTERRUPTED, || {
        faults::intercept(Call::Open, None, || {
            rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        })
    })
}

/// A file of `/proc` or `/sys`.
pub fn read_text(path: &str) -> Result<String> {
    again(INTERRUPTED, || {
        faults::intercept(Call::ReadFile, None, || {
            std::fs::read_to_string(path).map_err(|error| errno_of(&error))
        })
    })
}

/// Makes a file, or empties the one that is there, to be written; close-on-exec.
pub fn create_file(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    again(INTERRUPTED, || {
        faults::intercept(Call::CreateFile, None, || {
            // For all, as far as the process's umask lets them.
            rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))
        })
    })
}

/// Writes all of these bytes.
pub fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let written = again(INTERRUPTED_OR_BUSY, || {
            faults::intercept(Call::Write, None, || rustix::io::write(file, bytes))
        })?;
        if written == 0 {
            return Err(Errno::IO);
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Writes to standard error, in one piece as far as this process goes.
pub fn write_stderr(bytes: &[u8]) -> Result<()> {
    let _others_wait = std::io::stderr().lock();
    write_all(rustix::stdio::stderr(), bytes)
}

/// Where a link of `/proc` leads.
pub(super) fn link_target(path: &str) -> Result<PathBuf> {
    faults::intercept(Call::ReadLink, None, || {
        std::fs::read_link(path).map_err(|error| errno_of(&error))
    })
}

/// The names in a folder; those that are no UTF-8 are nobody's devices.
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

/// A memory file of `size` bytes that can neither shrink nor grow. Nor can it be sealed any
/// further: `F_SEAL_FUTURE_WRITE` by another holder of the file would end our own mapping of it
/// for writing.
pub(super) fn sealed_memfd(name: &CStr, size: u64) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let create = |flags| {
        faults::intercept(Call::MemfdCreate, None, || {
            rustix::fs::memfd_create(name, flags)
        })
    };
    // With vm.memfd_noexec=2 the kernel refuses files that can be executed (EACCES); before 6.3 it
    // does not know the flag (memfd_create(2)).
    let fd = match create(flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => create(flags),
        made => made,
    }?;
    let file = fd.as_fd();
    again(INTERRUPTED, || {
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
    again(INTERRUPTED_OR_BUSY, || {
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
    again(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::UdmabufCreate, Some(device), || {
            let request = CreateUdmabuf(uapi::UdmabufCreate {
                memfd,
                flags: uapi::UDMABUF_CLOEXEC,
                offset: 0,
                size,
            });
            // SAFETY: the request is one of UDMABUF_CREATE with the structure that belongs to it.
            own(unsafe { rustix::ioctl::ioctl(device, request) }?)
        })
    })
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
    again(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::SetName, Some(fd), || {
            // SAFETY: the kernel takes the argument itself as the address of a string, which it
            // copies before it returns.
            let request =
                unsafe { rustix::ioctl::IntegerSetter::<{ uapi::SET_NAME }>::new_usize(address) };
            // SAFETY: the request matches its opcode, and the string outlives the call.
            unsafe { rustix::ioctl::ioctl(fd, request) }
        })
    })
}

/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`: a file that becomes readable when the fences that are
/// attached now are signalled.
pub(super) fn export_sync_file(fd: BorrowedFd<'_>, flags: u64) -> Result<OwnedFd> {
    let flags = u32::try_from(flags).map_err(|_| Errno::INVAL)?;
    again(INTERRUPTED_OR_BUSY, || {
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
    again(INTERRUPTED_OR_BUSY, || {
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
    again(INTERRUPTED_OR_BUSY, || {
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
    again(INTERRUPTED_OR_BUSY, || {
        faults::intercept(Call::DestroyDumb, Some(card), || {
            // SAFETY: the opcode is DRM_IOCTL_MODE_DESTROY_DUMB, whose argument is the handle
            // alone.
            let request =
                unsafe { rustix::ioctl::Updater::<{ uapi::DESTROY_DUMB }, _>::new(&mut handle) };
            // SAFETY: the request matches its opcode.
            unsafe { rustix::ioctl::ioctl(card, request) }
        })
    })
}

/// `DRM_IOCTL_PRIME_HANDLE_TO_FD`.
pub(super) fn prime_export(card: BorrowedFd<'_>, handle: u32) -> Result<OwnedFd> {
    again(INTERRUPTED_OR_BUSY, || {
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

/// Takes over a descriptor that an ioctl returned.
fn own(fd: RawFd) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the kernel has just made it for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
