// SPDX-License-Identifier: MPL-2.0
//! Counts what a thread, and what all together, allocate through Rust's allocator; GStreamer has its own (malloc).
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Allocations of this thread so far.
pub fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

static ALL: AtomicU64 = AtomicU64::new(0);

/// Allocations of all threads so far.
pub fn all_allocations() -> u64 {
    ALL.load(Relaxed)
}

pub struct Counting;

// SAFETY: everything is the system allocator's; counting touches no memory but a static and a Cell
// of the thread, which need no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        ALL.fetch_add(1, Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(address, layout) }
    }
}
