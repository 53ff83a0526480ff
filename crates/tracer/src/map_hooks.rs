// SPDX-License-Identifier: MPL-2.0
//! Counts maps by replacing functions of allocators, as GStreamer has no hook for `gst_memory_map`.
//!
//! `gst_memory_map` and `gst_memory_unmap` call functions in the instance of the allocator:
//! `mem_map_full` and `mem_unmap_full` if they are set, else `mem_map` and `mem_unmap`
//! (`gstmemory.c`). [`watch`] replaces the first two by functions that call the original ones with
//! the same arguments and return their results. So a memory that is mapped before and unmapped
//! after a replacement reaches the right function. [`stop`] puts the original functions back. The
//! library stays loaded, as all plugins do, so a call in progress can return.
#![allow(unsafe_code)]

use super::memory::MemoryKind;
use super::qdata;
use super::stats::MapCounts;
use super::threads;
use dmabufcpu_dmabuf::lock;
use gst::ffi;
use gst::glib;
use gst::glib::ffi::gpointer;
use gst::glib::translate::{IntoGlib, ToGlibPtr};
use gst::prelude::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{LazyLock, Mutex};

type Map = unsafe extern "C" fn(*mut ffi::GstMemory, *mut ffi::GstMapInfo, usize) -> gpointer;
type Unmap = unsafe extern "C" fn(*mut ffi::GstMemory, *mut ffi::GstMapInfo);

const MAP: Map = map;
const UNMAP: Unmap = unmap;

/// The original functions of an allocator.
#[derive(Clone, Copy, Debug, Default)]
struct Originals {
    map: Option<Map>,
    unmap: Option<Unmap>,
}

/// The data of an allocator.
struct Attached {
    originals: Originals,
    /// The previous data, which another thread may be reading.
    _previous: Option<Box<Attached>>,
}

static ORIGINALS: LazyLock<glib::Quark> =
    LazyLock::new(|| glib::Quark::from_str("zerocopy-originals"));
static ENABLED: AtomicBool = AtomicBool::new(false);
/// Allocators whose functions are replaced. The lock serialises replacements.
static WATCHED: Mutex<Vec<glib::WeakRef<gst::Allocator>>> = Mutex::new(Vec::new());

/// Starts counting, with the default allocator.
pub(super) fn start() {
    ENABLED.store(true, Relaxed);
    if let Some(system) = gst::Allocator::find(None) {
        watch(&system);
    }
}

/// Counts the maps of an allocator's memory from now on.
pub(super) fn watch(allocator: &gst::Allocator) {
    if !ENABLED.load(Relaxed) {
        return;
    }
    let pointer: *mut ffi::GstAllocator = allocator.to_glib_none().0;
    let mut watched = lock(&WATCHED);
    let mut originals = Originals {
        // SAFETY: the caller holds the allocator.
        map: unsafe { (*pointer).mem_map_full },
        // SAFETY: as above.
        unmap: unsafe { (*pointer).mem_unmap_full },
    };
    if originals
        .map
        .is_some_and(|map| map as usize == MAP as usize)
    {
        return;
    }
    if originals
        .unmap
        .is_some_and(|it| it as usize == UNMAP as usize)
    {
        // The allocator has set only its map function since.
        originals.unmap = self::originals(pointer).unmap;
    }
    attach(pointer, originals);
    unmap_slot(pointer).store(UNMAP as *mut (), SeqCst);
    map_slot(pointer).store(MAP as *mut (), SeqCst);
    // Freed allocators are removed before the list grows.
    if watched.len() == watched.capacity() {
        watched.retain(|allocator| allocator.upgrade().is_some());
    }
    watched.push(allocator.downgrade());
}

/// Stops counting and puts the original functions back, unless others have replaced them since.
///
/// `gst_memory_map` reads `mem_map_full` twice, so no memory of an allocator that had none may be
/// mapped meanwhile. This holds in `gst_deinit`, which ends the tracer.
pub(super) fn stop() {
    ENABLED.store(false, Relaxed);
    let watched = std::mem::take(&mut *lock(&WATCHED));
    for allocator in watched.iter().filter_map(glib::WeakRef::upgrade) {
        let pointer: *mut ffi::GstAllocator = allocator.to_glib_none().0;
        let Originals { map, unmap } = originals(pointer);
        let map = map.map_or(std::ptr::null_mut(), |map| map as *mut ());
        let unmap = unmap.map_or(std::ptr::null_mut(), |unmap| unmap as *mut ());
        let _ = map_slot(pointer).compare_exchange(MAP as *mut (), map, SeqCst, SeqCst);
        let _ = unmap_slot(pointer).compare_exchange(UNMAP as *mut (), unmap, SeqCst, SeqCst);
    }
}

fn map_slot<'a>(allocator: *mut ffi::GstAllocator) -> &'a AtomicPtr<()> {
    // SAFETY: the caller holds the allocator.
    let slot = unsafe { &raw mut (*allocator).mem_map_full };
    // SAFETY: an aligned pointer in a live object. Other threads read it at any time and find
    // either function.
    unsafe { AtomicPtr::from_ptr(slot.cast()) }
}

fn unmap_slot<'a>(allocator: *mut ffi::GstAllocator) -> &'a AtomicPtr<()> {
    // SAFETY: the caller holds the allocator.
    let slot = unsafe { &raw mut (*allocator).mem_unmap_full };
    // SAFETY: as in `map_slot`.
    unsafe { AtomicPtr::from_ptr(slot.cast()) }
}

/// Attaches the original functions to their allocator. An allocator of a subclass that sets its
/// functions after they were replaced (in `constructed`, after its parent) is attached again.
fn attach(allocator: *mut ffi::GstAllocator, originals: Originals) {
    let object: *mut glib::gobject_ffi::GObject = allocator.cast();
    let quark = ORIGINALS.into_glib();
    // SAFETY: the caller holds the allocator.
    let previous = unsafe { glib::gobject_ffi::g_object_get_qdata(object, quark) };
    let data = Box::into_raw(Box::new(Attached {
        originals,
        _previous: if previous.is_null() {
            None
        } else {
            // SAFETY: this module alone uses the quark, so the data is a box from an earlier call.
            // The object gives it up below, and the caller holds the lock of all calls.
            Some(unsafe { Box::from_raw(previous.cast::<Attached>()) })
        },
    }));
    let mut old_destroy = None;
    // SAFETY: the object owns the new box from now on, and does not drop the previous one.
    unsafe {
        glib::gobject_ffi::g_object_replace_qdata(
            object,
            quark,
            previous,
            data.cast(),
            Some(drop_attached),
            &mut old_destroy,
        );
    }
}

unsafe extern "C" fn drop_attached(data: gpointer) {
    // SAFETY: the box that `attach` passed to the object.
    drop(unsafe { Box::from_raw(data.cast::<Attached>()) });
}

/// Returns the original functions of an allocator.
fn originals(allocator: *mut ffi::GstAllocator) -> Originals {
    let object: *mut glib::gobject_ffi::GObject = allocator.cast();
    // SAFETY: the allocator outlives its memory, which is being mapped.
    let data = unsafe { glib::gobject_ffi::g_object_get_qdata(object, ORIGINALS.into_glib()) };
    // SAFETY: `watch` attaches the data before it replaces the functions; the object frees it.
    let data = unsafe { data.cast::<Attached>().as_ref() };
    data.map(|data| data.originals).unwrap_or_default()
}

thread_local! {
    /// Whether an original function is called, which may map another memory.
    static NESTED: Cell<bool> = const { Cell::new(false) };
}

/// Replaces `mem_map_full`.
unsafe extern "C" fn map(
    memory: *mut ffi::GstMemory,
    info: *mut ffi::GstMapInfo,
    size: usize,
) -> gpointer {
    // SAFETY: GStreamer passes a live memory.
    let allocator = unsafe { (*memory).allocator };
    let originals = originals(allocator);
    let is_outermost = NESTED.try_with(|nested| !nested.replace(true)) == Ok(true);
    let data = match originals.map {
        // SAFETY: the allocator's own function, with the arguments of GStreamer.
        Some(full) => unsafe { full(memory, info, size) },
        // SAFETY: as `gst_memory_map` does without `mem_map_full`.
        None => match unsafe { (*allocator).mem_map } {
            Some(plain) => {
                // SAFETY: GStreamer passes the info of this map.
                let flags = unsafe { (*info).flags };
                // SAFETY: as above.
                unsafe { plain(memory, size, flags) }
            }
            None => std::ptr::null_mut(),
        },
    };
    if is_outermost {
        let _ = NESTED.try_with(|nested| nested.set(false));
        if !data.is_null() {
            // SAFETY: GStreamer passes the info of this map.
            let flags = unsafe { (*info).flags };
            // SAFETY: GStreamer passes a live memory.
            let memory = unsafe { gst::MemoryRef::from_ptr(memory) };
            count(memory, flags, originals.map.is_some());
        }
    }
    data
}

/// Replaces `mem_unmap_full`.
unsafe extern "C" fn unmap(memory: *mut ffi::GstMemory, info: *mut ffi::GstMapInfo) {
    // SAFETY: GStreamer passes a live memory.
    let allocator = unsafe { (*memory).allocator };
    if let Some(full) = originals(allocator).unmap {
        // SAFETY: as in `map`.
        unsafe { full(memory, info) };
        return;
    }
    // SAFETY: as in `map`.
    let plain = unsafe { (*allocator).mem_unmap };
    if let Some(plain) = plain {
        // SAFETY: as in `map`.
        unsafe { plain(memory) };
    }
}

/// Maps on threads on which no element runs.
static APPLICATION: Mutex<MapCounts> = Mutex::new(MapCounts {
    reads: 0,
    bytes_to_read: 0,
    writes: 0,
    bytes_to_write: 0,
    brackets: 0,
});

/// Returns the maps on threads on which no element runs.
pub(super) fn application() -> MapCounts {
    *lock(&APPLICATION)
}

fn count(memory: &gst::MemoryRef, flags: ffi::GstMapFlags, full: bool) {
    let size = memory.size() as u64;
    let mut maps = MapCounts::default();
    if flags & ffi::GST_MAP_READ != 0 {
        maps.reads = 1;
        maps.bytes_to_read = size;
    }
    if flags & ffi::GST_MAP_WRITE != 0 {
        maps.writes = 1;
        maps.bytes_to_write = size;
    }
    // The mem_map_full of GstDmaBufAllocator calls DMA_BUF_IOCTL_SYNC for any descriptor
    // (gstdmabuf.c). A file that is no dma-buf answers ENOTTY.
    if full && memory.is_memory_type::<gst_allocators::DmaBufMemory>() {
        let is_other = qdata::known_memory(memory).is_some_and(|m| m.kind != MemoryKind::DmaBuf);
        maps.brackets = u64::from(!is_other);
    }
    let has_element = threads::with(|thread| {
        let has_element = thread.element().is_some();
        if has_element {
            thread.activity.maps.add(&maps);
        }
        has_element
    });
    if has_element == Some(false) {
        lock(&APPLICATION).add(&maps);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn functions(allocator: &gst::Allocator) -> (usize, usize) {
        let pointer: *mut ffi::GstAllocator = allocator.to_glib_none().0;
        let map = map_slot(pointer).load(SeqCst) as usize;
        (map, unmap_slot(pointer).load(SeqCst) as usize)
    }

    #[test]
    fn stop_puts_the_functions_of_allocators_back() {
        gst::init().unwrap();
        // The default allocator has no mem_map_full, an allocator of descriptors has one.
        let plain = gst::Allocator::find(None).unwrap();
        let dma_buf: gst::Allocator = gst_allocators::DmaBufAllocator::new().upcast();
        let replaced: gst::Allocator = gst_allocators::DmaBufAllocator::new().upcast();
        let before = [&plain, &dma_buf].map(functions);
        start();
        for allocator in [&dma_buf, &replaced] {
            watch(allocator);
        }
        let ours = (MAP as usize, UNMAP as usize);
        assert_eq!([&plain, &dma_buf].map(functions), [ours; 2]);
        // A function that others have set since stays.
        let others = 8 as *mut ();
        let pointer: *mut ffi::GstAllocator = replaced.to_glib_none().0;
        map_slot(pointer).store(others, SeqCst);
        stop();
        assert_eq!([&plain, &dma_buf].map(functions), before);
        assert_eq!(functions(&replaced).0, others as usize);
        watch(&dma_buf);
        assert_eq!(functions(&dma_buf), before[1], "it has stopped");
    }
}
