// SPDX-License-Identifier: MPL-2.0
//! Attaches data to GStreamer's objects, so that it lives as long as they do, no address is used as
//! a key after its reuse, and no memory is examined twice.
#![allow(unsafe_code)]

use super::frame::Format;
use super::memory::Memory;
use super::names::{ElementId, PadId};
use dmabufcpu_dmabuf::lock;
use gst::ffi;
use gst::glib;
use gst::glib::translate::IntoGlib;
use gst::prelude::*;
use rustix::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex};

/// The data of a pad.
#[derive(Debug)]
pub(super) struct Pad {
    pub(super) id: PadId,
    pub(super) element: ElementId,
    /// Whether the element was compared with the types of the plugin `dmabufcpu`.
    pub(super) is_checked: AtomicBool,
    /// The last caps, and their format; `None` for anything but raw video.
    pub(super) format: Mutex<(Option<gst::Caps>, Option<Arc<Format>>)>,
}

static PAD: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("zerocopy-pad"));
static ELEMENT: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("zerocopy-element"));
static MEMORY: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("zerocopy-memory"));
static ATTACHING: Mutex<()> = Mutex::new(());

/// Returns the data of an object under a quark of this module, created by `make` if there is none.
fn attach<T: Clone + Send + Sync + 'static>(
    object: &impl IsA<glib::Object>,
    quark: glib::Quark,
    make: impl FnOnce() -> Option<T>,
) -> Option<T> {
    let get = || {
        // SAFETY: this module alone uses the quark, with values of one type, which are never
        // replaced and live as long as the object.
        let data = unsafe { object.as_ref().qdata::<T>(quark) };
        // SAFETY: as above; the caller holds the object.
        data.map(|data| unsafe { data.as_ref() }.clone())
    };
    if let Some(data) = get() {
        return Some(data);
    }
    let data = make()?;
    let _attaching = lock(&ATTACHING);
    if let Some(data) = get() {
        return Some(data);
    }
    // SAFETY: as above; no data is attached yet, and the lock excludes other threads.
    unsafe { object.as_ref().set_qdata(quark, data.clone()) };
    Some(data)
}

/// Returns the data of a pad.
pub(super) fn pad(pad: &gst::Pad, make: impl FnOnce() -> Option<Arc<Pad>>) -> Option<Arc<Pad>> {
    attach(pad, *PAD, make)
}

/// Returns the id of an element.
pub(super) fn element(
    element: &gst::Element,
    make: impl FnOnce() -> ElementId,
) -> Option<ElementId> {
    attach(element, *ELEMENT, || Some(make()))
}

/// Returns the memory of which `memory` is a share, or `memory` itself.
pub(super) fn root(memory: &gst::MemoryRef) -> &gst::MemoryRef {
    let mut memory = memory;
    while let Some(parent) = memory.parent() {
        memory = parent;
    }
    memory
}

/// Returns the data of a memory, or of the memory of which it is a share.
pub(super) fn known_memory(memory: &gst::MemoryRef) -> Option<Arc<Memory>> {
    attached_memory(root(memory))
}

/// Returns the data of a memory, if it was examined.
fn attached_memory(memory: &gst::MemoryRef) -> Option<Arc<Memory>> {
    let object = memory.as_ptr().cast::<ffi::GstMiniObject>().cast_mut();
    // SAFETY: a GstMemory begins with its GstMiniObject; the call locks by itself.
    let data = unsafe { ffi::gst_mini_object_get_qdata(object, MEMORY.into_glib()) };
    // SAFETY: `memory` alone uses the quark, with a boxed Arc that it never replaces. The box is
    // dropped with the memory, which the caller borrows.
    unsafe { data.cast::<Arc<Memory>>().as_ref() }.cloned()
}

/// Returns the data of a memory, created by `make` if there is none.
pub(super) fn memory(memory: &gst::MemoryRef, make: impl FnOnce() -> Arc<Memory>) -> Arc<Memory> {
    if let Some(data) = attached_memory(memory) {
        return data;
    }
    let known = make();
    let _attaching = lock(&ATTACHING);
    if let Some(data) = attached_memory(memory) {
        return data;
    }
    let data = Box::into_raw(Box::new(Arc::clone(&known)));
    let object = memory.as_ptr().cast::<ffi::GstMiniObject>().cast_mut();
    // SAFETY: as in `attached_memory`. GStreamer owns the box and passes it to `drop_memory` once.
    // No earlier value is replaced, as checked under the lock.
    unsafe {
        ffi::gst_mini_object_set_qdata(object, MEMORY.into_glib(), data.cast(), Some(drop_memory));
    }
    known
}

unsafe extern "C" fn drop_memory(data: glib::ffi::gpointer) {
    // SAFETY: the box that `memory` attached.
    drop(unsafe { Box::from_raw(data.cast::<Arc<Memory>>()) });
}

/// Returns the file descriptor of a memory, if it has one.
pub(super) fn descriptor(memory: &gst::MemoryRef) -> Option<BorrowedFd<'_>> {
    let memory = memory.downcast_memory_ref::<gst_allocators::FdMemory>()?;
    let fd = memory.fd();
    // SAFETY: the memory owns the descriptor and outlives the result; -1 is excluded. If another
    // owner closed it, system calls return EBADF.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Returns the name of the pool of a buffer (`GstBuffer.pool`).
pub(super) fn pool_name(buffer: &gst::BufferRef) -> Option<String> {
    let buffer = buffer.as_ptr();
    // SAFETY: the buffer is borrowed.
    let pool = unsafe { (*buffer).pool };
    let pool = pool.cast::<ffi::GstObject>();
    // SAFETY: a buffer outside its pool holds a reference to the pool, a GstObject.
    let pool = unsafe { glib::translate::from_glib_borrow::<_, Option<gst::Object>>(pool) };
    Some(pool.as_ref().as_ref()?.name().into())
}

/// Whether a buffer has no further references.
pub(super) fn is_writable(buffer: &gst::BufferRef) -> bool {
    let object = buffer.as_ptr().cast::<ffi::GstMiniObject>();
    // SAFETY: the buffer is borrowed; the call only reads its reference count.
    let writable = unsafe { ffi::gst_mini_object_is_writable(object) };
    writable != glib::ffi::GFALSE
}

/// Whether a buffer belongs to a pool.
pub(super) fn is_pooled(buffer: &gst::BufferRef) -> bool {
    let buffer = buffer.as_ptr();
    // SAFETY: the buffer is borrowed.
    let pool = unsafe { (*buffer).pool };
    !pool.is_null()
}
