// SPDX-License-Identifier: MPL-2.0
//! GStreamer allocators over the exporters of the dma-buf floor.
//!
//! Once the plugin is loaded, `gst_allocator_find` knows them as `dmabufcpu-dma-heap`,
//! `dmabufcpu-udmabuf`, `dmabufcpu-drm-dumb` and `dmabufcpu-memfd`.

mod alloc;
mod imp;
mod source;
mod vtable;

pub(super) use alloc::CAT;
pub use source::{Allocation, Source};

use crate::dmabuf::exporters::{Exporter, Kind};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;

glib::wrapper! {
    /// Allocates dma-bufs: memory for which `gst_is_dmabuf_memory` holds.
    ///
    /// Memory is mapped on first use and stays mapped; maps send START and END, retried for EINTR
    /// and EAGAIN, and fail when START does. Copies of the memory are dma-bufs of the same
    /// exporter, made in brackets; where there is no memory for one, it is NULL.
    pub struct DmaBufAllocator(ObjectSubclass<imp::DmaBufAllocator>)
        @extends gst_allocators::DmaBufAllocator, gst_allocators::FdAllocator, gst::Allocator,
            gst::Object;
}

glib::wrapper! {
    /// Allocates memory files, which are not dma-bufs: `gst_is_fd_memory` holds,
    /// `gst_is_dmabuf_memory` does not.
    pub struct MemfdAllocator(ObjectSubclass<imp::MemfdAllocator>)
        @extends gst_allocators::FdAllocator, gst::Allocator, gst::Object;
}

/// The allocator over an exporter, of the type that its memory asks for.
pub fn allocator_of(exporter: Arc<dyn Exporter>) -> gst::Allocator {
    if exporter.kind() == Kind::Memfd {
        let allocator: MemfdAllocator = glib::Object::new();
        allocator.imp().set_exporter(exporter);
        allocator.upcast()
    } else {
        let allocator: DmaBufAllocator = glib::Object::new();
        allocator.imp().set_exporter(exporter);
        allocator.upcast()
    }
}

/// The name that a kind's allocator is registered under.
pub fn registered_name(kind: Kind) -> String {
    format!("dmabufcpu-{}", kind.name())
}

/// Registers an allocator for each kind of exporter. None opens its device before it is used.
pub(crate) fn register() {
    for kind in Kind::AUTO {
        let allocator = allocator_of(kind.exporter(None));
        gst::Allocator::register(&registered_name(kind), allocator);
    }
}
