// SPDX-License-Identifier: MPL-2.0
//! GStreamer allocators over the [exporters](crate::dmabuf::exporters).
//!
//! The plugin registers one for each kind, for `gst_allocator_find`: `dmabufcpu-` and the kind's
//! name.

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
    /// Memory is mapped on first use and stays mapped. Each map sends START and END, retried on
    /// EINTR and EAGAIN, and fails if START fails. A copy of the memory is a dma-buf of the same
    /// exporter, made in brackets; it is NULL if the allocation fails.
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

/// Returns an allocator over an exporter: a [`DmaBufAllocator`] if it makes dma-bufs, otherwise a
/// [`MemfdAllocator`].
pub fn allocator_of(exporter: Arc<dyn Exporter>) -> gst::Allocator {
    if exporter.kind().makes_dma_bufs() {
        let allocator: DmaBufAllocator = glib::Object::new();
        allocator.imp().set_exporter(exporter);
        allocator.upcast()
    } else {
        let allocator: MemfdAllocator = glib::Object::new();
        allocator.imp().set_exporter(exporter);
        allocator.upcast()
    }
}

/// Returns the name under which the allocator of a kind is registered.
pub fn registered_name(kind: Kind) -> String {
    format!("dmabufcpu-{}", kind.name())
}

/// Registers an allocator for each kind of exporter. Devices are opened on first use.
pub(crate) fn register() {
    for kind in Kind::ALL {
        let allocator = allocator_of(kind.exporter(None));
        gst::Allocator::register(&registered_name(kind), allocator);
    }
}
