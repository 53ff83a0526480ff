// SPDX-License-Identifier: MPL-2.0
//! The unsafe calls of the tests in the emulated machine: ioctls of vgem, a DRM driver that lets
//! tests attach and signal fences.
#![allow(unsafe_code)]

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, Updater, opcode};

// include/uapi/drm/drm.h, vgem_drm.h
const DRM: u8 = b'd';
const GEM_CLOSE: Opcode = opcode::write::<GemClose>(DRM, 0x09);
const CREATE_DUMB: Opcode = opcode::read_write::<CreateDumb>(DRM, 0xb2);
const PRIME_HANDLE_TO_FD: Opcode = opcode::read_write::<PrimeHandle>(DRM, 0x2d);
const PRIME_FD_TO_HANDLE: Opcode = opcode::read_write::<PrimeHandle>(DRM, 0x2e);
const VGEM_FENCE_ATTACH: Opcode = opcode::read_write::<FenceAttach>(DRM, 0x41);
const VGEM_FENCE_SIGNAL: Opcode = opcode::write::<FenceSignal>(DRM, 0x42);
/// `VGEM_FENCE_WRITE`: the fence of a device that writes.
const FENCE_WRITE: u32 = 1;

#[repr(C)]
struct GemClose {
    handle: u32,
    pad: u32,
}

#[derive(Default)]
#[repr(C)]
struct CreateDumb {
    height: u32,
    width: u32,
    bpp: u32,
    flags: u32,
    handle: u32,
    pitch: u32,
    size: u64,
}

#[repr(C)]
struct PrimeHandle {
    handle: u32,
    flags: u32,
    fd: i32,
}

#[repr(C)]
struct FenceAttach {
    handle: u32,
    flags: u32,
    out_fence: u32,
    pad: u32,
}

#[repr(C)]
struct FenceSignal {
    fence: u32,
    flags: u32,
}

/// Returns an own descriptor of a memory's dma-buf, which may outlive the memory.
pub fn descriptor(memory: &gst::MemoryRef) -> OwnedFd {
    let fd = memory.downcast_memory_ref::<gst_allocators::FdMemory>();
    let fd = fd.unwrap().fd();
    // SAFETY: the memory owns the descriptor and is borrowed for longer.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_dupfd_cloexec(fd, 0).unwrap()
}

/// A dumb buffer of 32 bits a pixel, exported as older programs do it: without `DRM_RDWR`.
pub fn read_only_dumb_buffer(card: BorrowedFd<'_>, (width, height): (u32, u32)) -> OwnedFd {
    let mut dumb = CreateDumb {
        width,
        height,
        bpp: 32,
        ..CreateDumb::default()
    };
    // SAFETY: the opcode's argument is a `struct drm_mode_create_dumb`, which the kernel reads and
    // writes.
    let request = unsafe { Updater::<CREATE_DUMB, _>::new(&mut dumb) };
    // SAFETY: the request matches its opcode.
    unsafe { rustix::ioctl::ioctl(card, request) }.unwrap();
    let mut prime = PrimeHandle {
        handle: dumb.handle,
        flags: OFlags::CLOEXEC.bits(),
        fd: -1,
    };
    // SAFETY: the opcode's argument is a `struct drm_prime_handle`, which the kernel reads and
    // writes.
    let request = unsafe { Updater::<PRIME_HANDLE_TO_FD, _>::new(&mut prime) };
    // SAFETY: the request matches its opcode.
    unsafe { rustix::ioctl::ioctl(card, request) }.unwrap();
    // SAFETY: the kernel has just created it; it has no other owner.
    unsafe { OwnedFd::from_raw_fd(prime.fd) }
}

/// An open vgem node.
pub struct Vgem(OwnedFd);

/// A fence on a buffer. It expires after 10 seconds if it is not signalled.
pub struct Fence {
    fence: u32,
    handle: u32,
}

impl Vgem {
    pub fn open(node: &str) -> Self {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        Self(rustix::fs::open(node, flags, Mode::empty()).unwrap())
    }

    /// Imports a buffer, as a device that will use it does. Returns its handle.
    pub fn import(&self, buffer: BorrowedFd<'_>) -> Result<u32, Errno> {
        let mut prime = PrimeHandle {
            handle: 0,
            flags: 0,
            fd: buffer.as_raw_fd(),
        };
        // SAFETY: the opcode's argument is a `struct drm_prime_handle`, which the kernel reads
        // and writes.
        let request = unsafe { Updater::<PRIME_FD_TO_HANDLE, _>::new(&mut prime) };
        // SAFETY: the request matches its opcode.
        unsafe { rustix::ioctl::ioctl(&self.0, request) }?;
        Ok(prime.handle)
    }

    /// Attaches a fence to a buffer, as a device that will write to it or read it does.
    pub fn attach(&self, buffer: BorrowedFd<'_>, writes: bool) -> Result<Fence, Errno> {
        let handle = self.import(buffer)?;
        let mut attach = FenceAttach {
            handle,
            flags: if writes { FENCE_WRITE } else { 0 },
            out_fence: 0,
            pad: 0,
        };
        // SAFETY: the opcode's argument is a `struct drm_vgem_fence_attach`, which the kernel
        // reads and writes.
        let request = unsafe { Updater::<VGEM_FENCE_ATTACH, _>::new(&mut attach) };
        // SAFETY: the request matches its opcode.
        unsafe { rustix::ioctl::ioctl(&self.0, request) }?;
        Ok(Fence {
            fence: attach.out_fence,
            handle,
        })
    }

    /// Signals a fence, as a device that is done does.
    pub fn signal(&self, fence: &Fence) -> Result<(), Errno> {
        let signal = FenceSignal {
            fence: fence.fence,
            flags: 0,
        };
        // SAFETY: the opcode's argument is a `struct drm_vgem_fence_signal`, which the kernel
        // reads.
        let request = unsafe { Setter::<VGEM_FENCE_SIGNAL, _>::new(signal) };
        // SAFETY: the request matches its opcode.
        unsafe { rustix::ioctl::ioctl(&self.0, request) }
    }

    /// Releases the buffer of a fence.
    pub fn close(&self, fence: &Fence) {
        self.release(fence.handle);
    }

    /// Releases an imported buffer.
    pub fn release(&self, handle: u32) {
        let close = GemClose { handle, pad: 0 };
        // SAFETY: the opcode's argument is a `struct drm_gem_close`, which the kernel reads.
        let request = unsafe { Setter::<GEM_CLOSE, _>::new(close) };
        // SAFETY: the request matches its opcode.
        unsafe { rustix::ioctl::ioctl(&self.0, request) }.unwrap();
    }
}
