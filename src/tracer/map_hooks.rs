// SPDX-License-Identifier: MPL-2.0
//! Counts what is mapped: a step before the allocator's own functions, as GStreamer has no hook
//! for `gst_memory_map`.
//!
//! `gst_memory_map` and `gst_memory_unmap` call the functions in their allocator's instance,
//! `mem_map_full` and `mem_unmap_full` if they are there, else `mem_map` and `mem_unmap`
//! (`gstmemory.c`). The first two are put aside, ours put in their place, and what was there is
//! called with the same arguments; what it returns is returned. It is never put back, as a
//! memory may be mapped at any time; so whoever mapped before and unmaps after comes to the
//! right function, too. This library stays loaded as all plugins do.
#![allow(unsafe_code)]

use super::copy_log::MapCounts;
use super::memory::MemoryKind;
use super::qdata;
use super::threads;
use crate::lock::lock;
use gst::ffi;
use gst::glib;
use gst::glib::ffi::gpointer;
use gst::glib::translate::{IntoGlib, ToGlibPtr};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{LazyLock, Mutex};

type Map = unsafe extern "C" fn(*mut ffi::GstMemory, *mut ffi::GstMapInfo, usize) -> gpointer;
type Unmap = unsafe extern "C" fn(*mut ffi::GstMemory, *mut ffi::GstMapInfo);

/// What an allocator had before.
#[derive(Clone, Copy, Debug, Default)]
struct Functions {
    map: Option<Map>,
    unmap: Option<Unmap>,
}

/// What is kept on an allocator until it is freed.
struct Before {
    functions: Functions,
    /// What was kept there earlier, for a thread that reads it now.
    _earlier: Option<Box<Before>>,
}

static BEFORE: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("zerocopy-before"));
static ON: AtomicBool = AtomicBool::new(false);

/// Begins to count.
pub(super) fn start() {
    ON.store(true, Relaxed);
    if let Some(system) = gst::Allocator::find(None) {
        watch(&system);
    }
}

/// Counts the maps of an allocator's memory from now on.
pub(super) fn watch(allocator: &gst::Allocator) {
    static WATCHING: Mutex<()> = Mutex::new(());
    if !ON.load(Relaxed) {
        return;
    }
    let pointer: *mut ffi::GstAllocator = allocator.to_glib_none().0;
    let _watching = lock(&WATCHING);
    let mut functions = Functions {
        // SAFETY: the caller has the allocator.
        map: unsafe { (*pointer).mem_map_full },
        // SAFETY: as above.
        unmap: unsafe { (*pointer).mem_unmap_full },
    };
    let is_ours = |there: usize| there == map as Map as usize || there == unmap as Unmap as usize;
    if functions.map.is_some_and(|there| is_ours(there as usize)) {
        return;
    }
    if functions.unmap.is_some_and(|there| is_ours(there as usize)) {
        // Only the other one was set anew.
        functions.unmap = before(pointer).unmap;
    }
    keep(pointer, functions);
    // SAFETY: a place in a live object.
    let unmap_slot = unsafe { &raw mut (*pointer).mem_unmap_full };
    // SAFETY: as above.
    let map_slot = unsafe { &raw mut (*pointer).mem_map_full };
    // SAFETY: an aligned pointer in a live object; other threads read it at any time, and find
    // either function.
    let slot = unsafe { AtomicPtr::from_ptr(unmap_slot.cast()) };
    slot.store(unmap as Unmap as *mut (), SeqCst);
    // SAFETY: as above.
    let slot = unsafe { AtomicPtr::from_ptr(map_slot.cast()) };
    slot.store(map as Map as *mut (), SeqCst);
}

/// Keeps functions on their allocator. An allocator that set its own after it was seen first
/// (in `constructed`, below its parent's) is seen again: what it has then counts.
fn keep(allocator: *mut ffi::GstAllocator, functions: Functions) {
    let object: *mut glib::gobject_ffi::GObject = allocator.cast();
    let quark = BEFORE.into_glib();
    // SAFETY: the caller has the allocator.
    let earlier = unsafe { glib::gobject_ffi::g_object_get_qdata(object, quark) };
    let kept = Box::into_raw(Box::new(Before {
        functions,
        _earlier: if earlier.is_null() {
            None
        } else {
            // SAFETY: the quark is ours: it is a box of the same type from an earlier call, which
            // the object gives up below, as the caller holds a lock that all calls take.
            Some(unsafe { Box::from_raw(earlier.cast::<Before>()) })
        },
    }));
    let mut old_destroy = None;
    // SAFETY: the object owns the new box from now on, and has not dropped the old one.
    unsafe {
        glib::gobject_ffi::g_object_replace_qdata(
            object,
            quark,
            earlier,
            kept.cast(),
            Some(drop_before),
            &mut old_destroy,
        );
    }
}

unsafe extern "C" fn drop_before(data: gpointer) {
    // SAFETY: it is the box that `keep` gave away.
    drop(unsafe { Box::from_raw(data.cast::<Before>()) });
}

/// What `watch` put aside.
fn before(allocator: *mut ffi::GstAllocator) -> Functions {
    let object: *mut glib::gobject_ffi::GObject = allocator.cast();
    // SAFETY: the allocator outlives its memory, which is being mapped.
    let kept = unsafe { glib::gobject_ffi::g_object_get_qdata(object, BEFORE.into_glib()) };
    // SAFETY: `watch` put it there before it put these functions in place; it goes with the
    // allocator.
    let kept = unsafe { kept.cast::<Before>().as_ref() };
    kept.map(|before| before.functions).unwrap_or_default()
}

thread_local! {
    /// A function that is put aside may map another memory.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// `mem_map_full`.
unsafe extern "C" fn map(
    memory: *mut ffi::GstMemory,
    info: *mut ffi::GstMapInfo,
    size: usize,
) -> gpointer {
    // SAFETY: GStreamer gives a live memory.
    let allocator = unsafe { (*memory).allocator };
    let before = before(allocator);
    let outermost = WITHIN.try_with(|within| !within.replace(true)) == Ok(true);
    let data = match before.map {
        // SAFETY: the allocator's own function, with the arguments that it would have got.
        Some(full) => unsafe { full(memory, info, size) },
        // SAFETY: as `gst_memory_map` does without such a function.
        None => match unsafe { (*allocator).mem_map } {
            Some(plain) => {
                // SAFETY: GStreamer gives the info of this map.
                let flags = unsafe { (*info).flags };
                // SAFETY: as above.
                unsafe { plain(memory, size, flags) }
            }
            None => std::ptr::null_mut(),
        },
    };
    if outermost {
        let _ = WITHIN.try_with(|within| within.set(false));
        if !data.is_null() {
            // SAFETY: GStreamer gives the info of this map.
            let flags = unsafe { (*info).flags };
            // SAFETY: GStreamer gives a live memory.
            let memory = unsafe { gst::MemoryRef::from_ptr(memory) };
            count(memory, flags, before.map.is_some());
        }
    }
    data
}

/// `mem_unmap_full`.
unsafe extern "C" fn unmap(memory: *mut ffi::GstMemory, info: *mut ffi::GstMapInfo) {
    // SAFETY: GStreamer gives a live memory.
    let allocator = unsafe { (*memory).allocator };
    if let Some(full) = before(allocator).unmap {
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

/// What was mapped on threads that are no element's.
static BY_OTHERS: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];

/// What was mapped on threads that are no element's.
pub(super) fn by_others() -> MapCounts {
    let [reads, bytes_to_read, writes, bytes_to_write, brackets] =
        BY_OTHERS.each_ref().map(|number| number.load(Relaxed));
    MapCounts {
        reads,
        bytes_to_read,
        writes,
        bytes_to_write,
        brackets,
    }
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
    // GstDmaBufAllocator sends START in its mem_map_full, whatever lies behind the descriptor
    // (gstdmabuf.c); what is known to be no dma-buf answers ENOTTY.
    if full && memory.is_memory_type::<gst_allocators::DmaBufMemory>() {
        let is_other = qdata::known_memory(memory).is_some_and(|m| m.kind != MemoryKind::DmaBuf);
        maps.brackets = u64::from(!is_other);
    }
    let ours = threads::with(|thread| {
        let ours = thread.element().is_some();
        if ours {
            thread.work.maps.add(&maps);
        }
        ours
    });
    if ours == Some(false) {
        let numbers = [
            maps.reads,
            maps.bytes_to_read,
            maps.writes,
            maps.bytes_to_write,
            maps.brackets,
        ];
        for (all, number) in BY_OTHERS.iter().zip(numbers) {
            all.fetch_add(number, Relaxed);
        }
    }
}
