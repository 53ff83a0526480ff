// SPDX-License-Identifier: MPL-2.0
//! The unsafe calls that the tests need, and no others.
#![allow(unsafe_code)]

use gst::glib::translate::from_glib_full;
use gst_allocators::prelude::*;
use gst_allocators::{DmaBufAllocator, FdAllocator, FdMemoryFlags};
use rustix::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

/// A `GstDmaBufMemory` of the stock allocator, which takes whatever descriptor it is given.
pub fn dma_buf_memory(fd: OwnedFd, size: usize) -> gst::Memory {
    // SAFETY: the descriptor is open and given away; the memory closes it.
    unsafe { DmaBufAllocator::new().alloc_dmabuf(fd, size) }.unwrap()
}

/// A `GstFdMemory` of the stock allocator.
pub fn fd_memory(fd: OwnedFd, size: usize) -> gst::Memory {
    fd_memory_with_flags(fd, size, FdMemoryFlags::NONE)
}

/// The same, with flags (not DONT_CLOSE).
pub fn fd_memory_with_flags(fd: OwnedFd, size: usize, flags: FdMemoryFlags) -> gst::Memory {
    let allocator = FdAllocator::new();
    // SAFETY: the descriptor is open and given away; the memory closes it.
    unsafe { allocator.alloc_fd(fd.into_raw_fd(), size, flags) }.unwrap()
}

/// A `GstDmaBufMemory` whose descriptor was closed by other code.
pub fn dma_buf_memory_of_closed_fd(fd: &OwnedFd, size: usize) -> gst::Memory {
    // A high number, which no descriptor opened meanwhile by another test can get.
    let high = rustix::io::fcntl_dupfd_cloexec(fd, 900).unwrap();
    let flags = FdMemoryFlags::DONT_CLOSE;
    let allocator = DmaBufAllocator::new();
    // SAFETY: the memory does not close the descriptor, so it may be closed here.
    unsafe { allocator.alloc_dmabuf_with_flags(high.as_raw_fd(), size, flags) }.unwrap()
}

/// The descriptor of a memory that has one.
pub fn borrow(memory: &gst::MemoryRef) -> BorrowedFd<'_> {
    let fd = crate::device::fd_of(memory);
    // SAFETY: the memory owns the descriptor and lives for as long as the result.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// `gst_memory_copy`, of which the bindings have no form for ranges that may be refused.
pub fn copy(memory: &gst::MemoryRef, offset: isize, size: isize) -> Option<gst::Memory> {
    let pointer = memory.as_ptr().cast_mut();
    // SAFETY: the memory is live; GStreamer itself takes copies of memory that others hold.
    let copy = unsafe { gst::ffi::gst_memory_copy(pointer, offset, size) };
    // SAFETY: a new memory without another owner, or NULL.
    unsafe { from_glib_full(copy) }
}

/// The bytes that a handler of `window` was given.
pub fn bytes_at<'b>(address: u64, size: u64) -> &'b mut [u8] {
    let address = std::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: the element lends them until the handler returns, as the tests use them.
    unsafe { std::slice::from_raw_parts_mut(address, size as usize) }
}

/// Writes a whole buffer's bytes through a mapping of the test's own.
pub fn write(fd: OwnedFd, bytes: &[u8]) {
    mapped(fd, bytes.len(), |memory| memory.copy_from_slice(bytes));
}

/// Reads a buffer's bytes through a mapping of the test's own.
pub fn read(fd: OwnedFd, size: usize) -> Vec<u8> {
    mapped(fd, size, |memory| memory.to_vec())
}

fn mapped<R>(fd: OwnedFd, size: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
    let anywhere = std::ptr::null_mut();
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, where nothing was.
    let memory = unsafe { mmap(anywhere, size, access, MapFlags::SHARED, &fd, 0) }.unwrap();
    // SAFETY: `size` bytes are mapped, and no other code writes to them meanwhile.
    let result = work(unsafe { std::slice::from_raw_parts_mut(memory.cast(), size) });
    // SAFETY: it is the mapping above, whose slice is gone.
    unsafe { munmap(memory, size) }.unwrap();
    result
}

/// Returns a buffer as C code sees it: writable through any pointer to it.
pub fn as_mut(buffer: &gst::Buffer) -> &mut gst::BufferRef {
    // SAFETY: the buffer is live. What is done with its memories is for their locks to decide; the
    // buffer itself is left as it is.
    unsafe { gst::BufferRef::from_mut_ptr(buffer.as_ptr().cast_mut()) }
}
