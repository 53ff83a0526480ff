// SPDX-License-Identifier: MPL-2.0
//! What of `GstAllocator` and `GstMemory` the bindings do not have: instance functions and flags.
#![allow(unsafe_code)]

use super::alloc::{self, CAT};
use crate::dmabuf::sync_interruptible;
use gst::ffi;
use gst::glib::ffi::gpointer;
use gst::glib::translate::{IntoGlib, IntoGlibPtr, ToGlibPtr};
use gst_allocators::FdMemoryFlags;
use gst_allocators::prelude::*;
use rustix::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::panic::catch_unwind;

/// Lets `gst_allocator_alloc` use the allocator, and `gst_memory_copy` with it: the parent class
/// only wraps descriptors that others made. GStreamer's own copy takes for granted that there is
/// memory for it.
pub(super) fn set_up(allocator: &gst::Allocator) {
    let pointer: *mut ffi::GstAllocator = allocator.to_glib_none().0;
    // SAFETY: the allocator is being constructed: nobody else has it yet.
    let object = unsafe { &mut (*pointer).object };
    object.flags &= !ffi::GST_ALLOCATOR_FLAG_CUSTOM_ALLOC;
    // SAFETY: as above.
    let functions = unsafe { &mut *pointer };
    functions.mem_copy = Some(copy);
}

/// Puts brackets that retry and report around maps, in place of the parent's.
pub(super) fn bracket_maps(allocator: &gst::Allocator) {
    let pointer: *mut ffi::GstAllocator = allocator.to_glib_none().0;
    // SAFETY: the allocator is being constructed: nobody else has it yet.
    let functions = unsafe { &mut *pointer };
    functions.mem_map_full = Some(map);
    functions.mem_unmap_full = Some(unmap);
}

/// Adds to a memory's flags.
pub(super) fn set_flags(memory: &mut gst::MemoryRef, flags: gst::MemoryFlags) {
    // SAFETY: an exclusive borrow of a GstMemory, which begins with its GstMiniObject.
    let object = unsafe { &mut (*memory.as_mut_ptr()).mini_object };
    object.flags |= flags.into_glib();
}

/// Memory that takes the descriptor over.
pub(super) fn dma_buf_memory(
    allocator: &gst_allocators::DmaBufAllocator,
    fd: OwnedFd,
    size: usize,
) -> Option<gst::Memory> {
    let fd = fd.into_raw_fd();
    // SAFETY: the descriptor is open, `size` bytes long, and nobody else's.
    unsafe { allocator.alloc_dmabuf_with_flags(fd, size, FdMemoryFlags::KEEP_MAPPED) }.ok()
}

/// Memory that takes the descriptor over.
pub(super) fn fd_memory(
    allocator: &gst_allocators::FdAllocator,
    fd: OwnedFd,
    size: usize,
) -> Option<gst::Memory> {
    let fd = fd.into_raw_fd();
    // SAFETY: the descriptor is open, `size` bytes long, and nobody else's.
    unsafe { allocator.alloc_fd(fd, size, FdMemoryFlags::KEEP_MAPPED) }.ok()
}

/// The memory that was mapped first, of which all others are shares.
fn root(memory: *mut ffi::GstMemory) -> *mut ffi::GstMemory {
    // SAFETY: GStreamer gives a live memory, whose parent lives as long as it does.
    let parent = unsafe { (*memory).parent };
    if parent.is_null() {
        memory
    } else {
        root(parent)
    }
}

/// `mem_copy`: NULL where there is no memory for it. A panic must not cross into C.
unsafe extern "C" fn copy(
    memory: *mut ffi::GstMemory,
    offset: isize,
    size: isize,
) -> *mut ffi::GstMemory {
    let copied = catch_unwind(|| {
        // SAFETY: GStreamer gives a live memory.
        let memory = unsafe { gst::MemoryRef::from_ptr(memory) };
        alloc::copy(memory, offset, size)
    });
    match copied {
        Ok(Some(copy)) => return copy.into_glib_ptr(),
        Ok(None) => {}
        Err(_) => gst::error!(CAT, "copying memory panicked"),
    }
    std::ptr::null_mut()
}

/// `mem_map_full`: the parent's mapping, then START.
unsafe extern "C" fn map(
    memory: *mut ffi::GstMemory,
    info: *mut ffi::GstMapInfo,
    size: usize,
) -> gpointer {
    // SAFETY: GStreamer gives a live memory and the info of this map.
    let flags = unsafe { (*info).flags };
    // SAFETY: as above.
    let allocator = unsafe { (*memory).allocator };
    // SAFETY: the allocator outlives its memory.
    let map_memory = unsafe { (*allocator).mem_map };
    let Some(map_memory) = map_memory else {
        return std::ptr::null_mut();
    };
    // SAFETY: mem_map is gst_fd_mem_map, which takes these arguments.
    let data = unsafe { map_memory(memory, size, flags) };
    if data.is_null() || bracket(memory, flags, false) {
        return data;
    }
    unmap_only(memory);
    std::ptr::null_mut()
}

/// `mem_unmap_full`: END, then the parent's unmapping.
unsafe extern "C" fn unmap(memory: *mut ffi::GstMemory, info: *mut ffi::GstMapInfo) {
    // SAFETY: GStreamer gives the info that `map` had.
    let flags = unsafe { (*info).flags };
    bracket(memory, flags, true);
    unmap_only(memory);
}

fn unmap_only(memory: *mut ffi::GstMemory) {
    // SAFETY: GStreamer gives a live memory.
    let allocator = unsafe { (*memory).allocator };
    // SAFETY: the allocator outlives its memory.
    let unmap_memory = unsafe { (*allocator).mem_unmap };
    if let Some(unmap_memory) = unmap_memory {
        // SAFETY: mem_unmap is gst_fd_mem_unmap, and the memory is mapped.
        unsafe { unmap_memory(memory) };
    }
}

/// START or END for a map; false, and a line in the log, when the exporter refuses.
fn bracket(memory: *mut ffi::GstMemory, flags: ffi::GstMapFlags, end: bool) -> bool {
    let done = catch_unwind(|| {
        // SAFETY: the root lives as long as the memory that was mapped.
        let root = unsafe { gst::MemoryRef::from_ptr(root(memory)) };
        let Some(fd) = root.downcast_memory_ref::<gst_allocators::FdMemory>() else {
            return Ok(());
        };
        // SAFETY: the memory owns the descriptor and is borrowed for longer.
        let fd = unsafe { BorrowedFd::borrow_raw(fd.fd()) };
        let read = flags & ffi::GST_MAP_READ != 0;
        let write = flags & ffi::GST_MAP_WRITE != 0;
        sync_interruptible(fd, read, write, end)
    });
    match done {
        Ok(Ok(())) => true,
        Ok(Err(errno)) => {
            let call = if end { "END" } else { "START" };
            gst::error!(CAT, "DMA_BUF_IOCTL_SYNC({call}) of a map failed: {errno}");
            false
        }
        Err(_) => false,
    }
}
