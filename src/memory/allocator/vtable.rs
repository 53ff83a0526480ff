// SPDX-License-Identifier: MPL-2.0
//! Functions and flags of `GstAllocator` and `GstMemory` that the bindings lack.
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

/// Makes `gst_allocator_alloc` and `gst_memory_copy` use the allocator, whose parent class only wraps
/// existing descriptors. GStreamer's own copy function does not check whether its allocation failed.
pub(super) fn set_up(allocator: &gst::Allocator) {
    let pointer: *mut ffi::GstAllocator = allocator.to_glib_none().0;
    // SAFETY: the allocator is being constructed, so this is the only reference.
    let object = unsafe { &mut (*pointer).object };
    object.flags &= !ffi::GST_ALLOCATOR_FLAG_CUSTOM_ALLOC;
    // SAFETY: as above.
    let functions = unsafe { &mut *pointer };
    functions.mem_copy = Some(copy);
}

/// Replaces the map functions of the parent by ones whose brackets retry and report errors.
pub(super) fn bracket_maps(allocator: &gst::Allocator) {
    let pointer: *mut ffi::GstAllocator = allocator.to_glib_none().0;
    // SAFETY: the allocator is being constructed, so this is the only reference.
    let functions = unsafe { &mut *pointer };
    functions.mem_map_full = Some(map);
    functions.mem_unmap_full = Some(unmap);
}

/// Adds flags to a memory.
pub(super) fn set_flags(memory: &mut gst::MemoryRef, flags: gst::MemoryFlags) {
    // SAFETY: an exclusive borrow of a GstMemory, which begins with its GstMiniObject.
    let object = unsafe { &mut (*memory.as_mut_ptr()).mini_object };
    object.flags |= flags.into_glib();
}

/// Returns memory that owns the descriptor.
pub(super) fn dma_buf_memory(
    allocator: &gst_allocators::DmaBufAllocator,
    fd: OwnedFd,
    size: usize,
) -> Option<gst::Memory> {
    let fd = fd.into_raw_fd();
    // SAFETY: the descriptor is open, owned and `size` bytes long.
    unsafe { allocator.alloc_dmabuf_with_flags(fd, size, FdMemoryFlags::KEEP_MAPPED) }.ok()
}

/// Returns memory that owns the descriptor.
pub(super) fn fd_memory(
    allocator: &gst_allocators::FdAllocator,
    fd: OwnedFd,
    size: usize,
) -> Option<gst::Memory> {
    let fd = fd.into_raw_fd();
    // SAFETY: the descriptor is open, owned and `size` bytes long.
    unsafe { allocator.alloc_fd(fd, size, FdMemoryFlags::KEEP_MAPPED) }.ok()
}

/// Returns the memory that is not a share of another.
fn root(memory: *mut ffi::GstMemory) -> *mut ffi::GstMemory {
    // SAFETY: GStreamer passes a valid memory, which keeps its parent alive.
    let parent = unsafe { (*memory).parent };
    if parent.is_null() {
        memory
    } else {
        root(parent)
    }
}

/// `mem_copy`: NULL if the allocation fails. A panic must not cross into C.
unsafe extern "C" fn copy(
    memory: *mut ffi::GstMemory,
    offset: isize,
    size: isize,
) -> *mut ffi::GstMemory {
    let copied = catch_unwind(|| {
        // SAFETY: GStreamer passes a valid memory.
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

/// `mem_map_full`: maps as the parent, then sends START.
unsafe extern "C" fn map(
    memory: *mut ffi::GstMemory,
    info: *mut ffi::GstMapInfo,
    size: usize,
) -> gpointer {
    // SAFETY: GStreamer passes a valid memory and the info of this map.
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

/// `mem_unmap_full`: sends END, then unmaps as the parent.
unsafe extern "C" fn unmap(memory: *mut ffi::GstMemory, info: *mut ffi::GstMapInfo) {
    // SAFETY: GStreamer passes the info that `map` got.
    let flags = unsafe { (*info).flags };
    bracket(memory, flags, true);
    unmap_only(memory);
}

fn unmap_only(memory: *mut ffi::GstMemory) {
    // SAFETY: GStreamer passes a valid memory.
    let allocator = unsafe { (*memory).allocator };
    // SAFETY: the allocator outlives its memory.
    let unmap_memory = unsafe { (*allocator).mem_unmap };
    if let Some(unmap_memory) = unmap_memory {
        // SAFETY: mem_unmap is gst_fd_mem_unmap, and the memory is mapped.
        unsafe { unmap_memory(memory) };
    }
}

/// Sends START or END for a map. If the exporter refuses, logs an error and returns false.
fn bracket(memory: *mut ffi::GstMemory, flags: ffi::GstMapFlags, end: bool) -> bool {
    let done = catch_unwind(|| {
        // SAFETY: the mapped memory keeps the root alive.
        let root = unsafe { gst::MemoryRef::from_ptr(root(memory)) };
        let Some(fd) = root.downcast_memory_ref::<gst_allocators::FdMemory>() else {
            return Ok(());
        };
        // SAFETY: the memory owns the descriptor and outlives the borrow.
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
