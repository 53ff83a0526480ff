// SPDX-License-Identifier: MPL-2.0
//! Registers hooks of GStreamer 1.28 at run time; the plugin is built against 1.22.
#![allow(unsafe_code)]

use super::qdata;
use gst::ffi;
use gst::glib::translate::ToGlibPtr;

/// `GstTracerHookPoolBufferQueued` of 1.28 (`gsttracerutils.h`).
type PoolHook =
    unsafe extern "C" fn(*mut ffi::GstTracer, u64, *mut ffi::GstBufferPool, *mut ffi::GstBuffer);

/// Registers the hooks that the running GStreamer has.
pub(super) fn register(tracer: &gst::Tracer) {
    // A hook with an unknown name is called for all hooks, with their arguments
    // (`gst_tracing_register_hook`: the quark of an unknown name is 0, which stands for all). So
    // both the version and the name are checked.
    let (major, minor, ..) = gst::version();
    if (major, minor) < (1, 28) || gst::glib::Quark::try_from_str(QUEUED).is_none() {
        return;
    }
    let hook: PoolHook = pool_buffer_queued;
    // SAFETY: GStreamer stores the address without its type, and calls the hook with the arguments
    // that belong to its name.
    let hook = unsafe { std::mem::transmute::<PoolHook, unsafe extern "C" fn()>(hook) };
    let tracer: *mut ffi::GstTracer = tracer.to_glib_none().0;
    // SAFETY: the tracer is alive, and GStreamer takes its own reference.
    unsafe { ffi::gst_tracing_register_hook(tracer, c"pool-buffer-queued".as_ptr(), Some(hook)) };
}

const QUEUED: &str = "pool-buffer-queued";

/// Called when a buffer returns to its pool, which discards the content of its memories.
unsafe extern "C" fn pool_buffer_queued(
    _: *mut ffi::GstTracer,
    _: u64,
    _: *mut ffi::GstBufferPool,
    buffer: *mut ffi::GstBuffer,
) {
    // SAFETY: GStreamer passes a live buffer without further references.
    let buffer = unsafe { gst::BufferRef::from_ptr(buffer) };
    for memory in buffer.iter_memories() {
        if let Some(known) = qdata::known_memory(memory) {
            known.recycled();
        }
    }
}
