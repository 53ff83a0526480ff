// SPDX-License-Identifier: MPL-2.0
//! GStreamer memory: allocators, a pool, mappings cached on memories, and CPU access to the memories
//! of a frame.

mod access;
mod allocation_query;
mod allocator;
mod cache;
mod drm;
mod ffi;
mod pool;
mod selection;
mod supply;
mod writable;

pub use access::{AccessOptions, Error, MapMode, SyncScope};
pub(crate) use access::{Location, OpenMemories, offset, with_memories};
pub use allocation_query::{
    copy_answer, copy_meta, dma_buf_pool, gives_dma_bufs, has_pool, put_first,
};
pub(crate) use allocator::register as register_allocators;
pub use allocator::{
    Allocation, DmaBufAllocator, MemfdAllocator, Source, allocator_of, registered_name,
};
pub use drm::{
    DMA_DRM, DMA_DRM_FORMAT, DrmError, DrmFormat, IMPLICIT, LINEAR, is_dma_drm, video_info,
};
pub use pool::Pool;
pub(crate) use pool::held_in_queues;
pub use selection::{AllocatorChoice, AllocatorSelection, ORDER_VARIABLE, allocator_properties};
pub use supply::Supply;
pub use writable::{NotWritable, why_not_writable};

use crate::dmabuf::Counters;
use std::sync::atomic::Ordering::Relaxed;

/// Adds the counts of system calls to the `stats` of an element.
pub(crate) fn add_counts(stats: &mut gst::StructureRef, counters: &Counters) {
    for (name, counter) in [
        ("brackets", &counters.brackets),
        ("brackets-not-needed", &counters.unbracketed),
        ("sync-ioctls", &counters.sync_ioctls),
        ("sync-retries", &counters.sync_retries),
        ("maps", &counters.maps),
        ("unmaps", &counters.unmaps),
        ("sync-time", &counters.sync_time),
        ("fence-time", &counters.fence_time),
    ] {
        stats.set(name, counter.load(Relaxed));
    }
}
