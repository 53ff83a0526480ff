// SPDX-License-Identifier: MPL-2.0
//! The classes of the allocators.
#![allow(unsafe_code)]

use super::{alloc, vtable};
use crate::dmabuf::exporters::Exporter;
use gst::glib;
use gst::glib::translate::IntoGlibPtr;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_allocators::subclass::prelude::*;
use once_cell::sync::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The class of [`super::DmaBufAllocator`].
#[derive(Debug, Default)]
pub struct DmaBufAllocator {
    exporter: OnceCell<Arc<dyn Exporter>>,
}

/// The class of [`super::MemfdAllocator`].
#[derive(Debug, Default)]
pub struct MemfdAllocator {
    exporter: OnceCell<Arc<dyn Exporter>>,
}

#[glib::object_subclass]
impl ObjectSubclass for DmaBufAllocator {
    const NAME: &'static str = "GstDmaBufCpuAllocator";
    type Type = super::DmaBufAllocator;
    type ParentType = gst_allocators::DmaBufAllocator;
}

#[glib::object_subclass]
impl ObjectSubclass for MemfdAllocator {
    const NAME: &'static str = "GstDmaBufCpuMemfdAllocator";
    type Type = super::MemfdAllocator;
    type ParentType = gst_allocators::FdAllocator;
}

impl ObjectImpl for DmaBufAllocator {
    fn constructed(&self) {
        self.parent_constructed();
        let allocator = self.obj();
        vtable::set_up(allocator.upcast_ref());
        vtable::bracket_maps(allocator.upcast_ref());
    }
}

impl ObjectImpl for MemfdAllocator {
    fn constructed(&self) {
        self.parent_constructed();
        vtable::set_up(self.obj().upcast_ref());
    }
}

impl GstObjectImpl for DmaBufAllocator {}
impl GstObjectImpl for MemfdAllocator {}

impl DmaBufAllocator {
    pub(super) fn set_exporter(&self, exporter: Arc<dyn Exporter>) {
        let _ = self.exporter.set(exporter);
    }
}

impl MemfdAllocator {
    pub(super) fn set_exporter(&self, exporter: Arc<dyn Exporter>) {
        let _ = self.exporter.set(exporter);
    }
}

/// Allocates for C: on failure, logs an error and returns NULL. A panic must not cross into C.
fn allocate(
    allocator: &gst::Allocator,
    exporter: Option<&Arc<dyn Exporter>>,
    size: usize,
    params: &gst::AllocationParams,
) -> *mut gst::ffi::GstMemory {
    let made = catch_unwind(AssertUnwindSafe(|| {
        exporter.map(|exporter| alloc::memory(allocator, &**exporter, size, params))
    }));
    match made {
        Ok(Some(Ok(memory))) => return memory.into_glib_ptr(),
        Ok(Some(Err(error))) => gst::error!(alloc::CAT, obj = allocator, "{error}"),
        Ok(None) => gst::error!(
            alloc::CAT,
            obj = allocator,
            "made by type: find it by name, or make it from an exporter"
        ),
        Err(_) => gst::error!(alloc::CAT, obj = allocator, "panicked"),
    }
    std::ptr::null_mut()
}

// SAFETY: `alloc` returns memory of this allocator or NULL, as gst_allocator_alloc requires; `free`
// is the parent's.
unsafe impl AllocatorImpl for DmaBufAllocator {
    unsafe fn alloc(
        &self,
        size: usize,
        params: &gst::AllocationParams,
    ) -> *mut gst::ffi::GstMemory {
        allocate(self.obj().upcast_ref(), self.exporter.get(), size, params)
    }
}

// SAFETY: as above.
unsafe impl AllocatorImpl for MemfdAllocator {
    unsafe fn alloc(
        &self,
        size: usize,
        params: &gst::AllocationParams,
    ) -> *mut gst::ffi::GstMemory {
        allocate(self.obj().upcast_ref(), self.exporter.get(), size, params)
    }
}

impl FdAllocatorImpl for DmaBufAllocator {}
impl FdAllocatorImpl for MemfdAllocator {}
impl DmaBufAllocatorImpl for DmaBufAllocator {}
