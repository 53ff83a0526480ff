// SPDX-License-Identifier: MPL-2.0
//! What the tracer keeps on GStreamer's objects, so that nothing is looked up or asked of the
//! kernel twice, and nothing is known by an address that another object may have later.
#![allow(unsafe_code)]

use super::memory::Memory;
use super::names::{ElementId, PadId};
use super::state::Format;
use crate::lock::lock;
use gst::ffi;
use gst::glib;
use gst::glib::translate::IntoGlib;
use gst::prelude::*;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex};

/// What is kept on a pad.
#[derive(Debug)]
pub(super) struct Pad {
    pub(super) id: PadId,
    pub(super) element: ElementId,
    /// Whether it was seen to that the element's own counts are found.
    pub(super) is_remembered: AtomicBool,
    /// The caps that were seen last, and what they say of frames; None for what is no raw video.
    pub(super) seen: Mutex<(Option<gst::Caps>, Option<Arc<Format>>)>,
}

static PAD: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("zerocopy-pad"));
static ELEMENT: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("zerocopy-element"));
static MEMORY: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("zerocopy-memory"));
static KEEPING: Mutex<()> = Mutex::new(());

/// What is kept on an object under a quark of ours, made now if it is not there.
fn keep<T: Clone + Send + Sync + 'static>(
    object: &impl IsA<glib::Object>,
    quark: glib::Quark,
    make: impl FnOnce() -> Option<T>,
) -> Option<T> {
    let look = || {
        // SAFETY: under this quark, which is ours, there are values of this type only, which
        // are never replaced and live as long as the object.
        let there = unsafe { object.as_ref().qdata::<T>(quark) };
        // SAFETY: as above; the caller has the object.
        there.map(|value| unsafe { value.as_ref() }.clone())
    };
    if let Some(there) = look() {
        return Some(there);
    }
    let made = make()?;
    let _keeping = lock(&KEEPING);
    if let Some(there) = look() {
        return Some(there);
    }
    // SAFETY: as above; nothing is there yet, and nobody else puts anything.
    unsafe { object.as_ref().set_qdata(quark, made.clone()) };
    Some(made)
}

/// What is kept on a pad.
pub(super) fn pad(pad: &gst::Pad, make: impl FnOnce() -> Option<Arc<Pad>>) -> Option<Arc<Pad>> {
    keep(pad, *PAD, make)
}

/// The number that is kept on an element.
pub(super) fn element(
    element: &gst::Element,
    make: impl FnOnce() -> ElementId,
) -> Option<ElementId> {
    keep(element, *ELEMENT, || Some(make()))
}

/// The memory at the root of the shares that `memory` was made by.
pub(super) fn root(memory: &gst::MemoryRef) -> &gst::MemoryRef {
    let mut memory = memory;
    while let Some(parent) = memory.parent() {
        memory = parent;
    }
    memory
}

/// What is known of a memory, whichever part of it this one is.
pub(super) fn known_memory(memory: &gst::MemoryRef) -> Option<Arc<Memory>> {
    memory_if_known(root(memory))
}

/// What is kept on a memory, if it was seen before.
fn memory_if_known(memory: &gst::MemoryRef) -> Option<Arc<Memory>> {
    let object = memory.as_ptr().cast::<ffi::GstMiniObject>().cast_mut();
    // SAFETY: a GstMemory begins with its GstMiniObject; the call locks by itself.
    let data = unsafe { ffi::gst_mini_object_get_qdata(object, MEMORY.into_glib()) };
    // SAFETY: under this quark, which is ours, `memory` puts a boxed Arc and never replaces it;
    // it is dropped only with the memory, which the caller has borrowed.
    unsafe { data.cast::<Arc<Memory>>().as_ref() }.cloned()
}

/// What is kept on a memory, made now if it is seen for the first time.
pub(super) fn memory(memory: &gst::MemoryRef, make: impl FnOnce() -> Arc<Memory>) -> Arc<Memory> {
    if let Some(there) = memory_if_known(memory) {
        return there;
    }
    let made = make();
    let _keeping = lock(&KEEPING);
    if let Some(there) = memory_if_known(memory) {
        return there;
    }
    let data = Box::into_raw(Box::new(Arc::clone(&made)));
    let object = memory.as_ptr().cast::<ffi::GstMiniObject>().cast_mut();
    // SAFETY: as in `memory_if_known`; GStreamer takes the box over and gives it to `drop_memory`,
    // once. There is no earlier value to be replaced, as looked up under the lock.
    unsafe {
        ffi::gst_mini_object_set_qdata(object, MEMORY.into_glib(), data.cast(), Some(drop_memory));
    }
    made
}

unsafe extern "C" fn drop_memory(data: glib::ffi::gpointer) {
    // SAFETY: it is the box that `memory` gave away.
    drop(unsafe { Box::from_raw(data.cast::<Arc<Memory>>()) });
}

/// The name of the pool that a buffer goes back to, by the field `pool` of `GstBuffer`.
pub(super) fn pool_name(buffer: &gst::BufferRef) -> Option<String> {
    let buffer = buffer.as_ptr();
    // SAFETY: the buffer is borrowed.
    let pool = unsafe { (*buffer).pool };
    let pool = pool.cast::<ffi::GstObject>();
    // SAFETY: a buffer on its way holds a reference to its pool, a GstObject.
    let pool = unsafe { glib::translate::from_glib_borrow::<_, Option<gst::Object>>(pool) };
    Some(pool.as_ref().as_ref()?.name().into())
}

/// Whether nobody else holds a buffer.
pub(super) fn is_writable(buffer: &gst::BufferRef) -> bool {
    let object = buffer.as_ptr().cast::<ffi::GstMiniObject>();
    // SAFETY: the buffer is borrowed; its count is read only.
    let writable = unsafe { ffi::gst_mini_object_is_writable(object) };
    writable != glib::ffi::GFALSE
}

/// Whether a buffer is one of a pool.
pub(super) fn is_pooled(buffer: &gst::BufferRef) -> bool {
    let buffer = buffer.as_ptr();
    // SAFETY: the buffer is borrowed.
    let pool = unsafe { (*buffer).pool };
    !pool.is_null()
}
