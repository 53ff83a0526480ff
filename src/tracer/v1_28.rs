// SPDX-License-Identifier: MPL-2.0
//! Hooks that GStreamer 1.22, which this is built against, does not have, where the one that it
//! runs with does.
#![allow(unsafe_code)]

use super::qdata;
use gst::ffi;
use gst::glib::translate::ToGlibPtr;

/// `GstTracerHookPoolBufferQueued` of 1.28 (`gsttracerutils.h`).
type PoolHook =
    unsafe extern "C" fn(*mut ffi::GstTracer, u64, *mut ffi::GstBufferPool, *mut ffi::GstBuffer);

/// Registers what there is.
pub(super) fn register(tracer: &gst::Tracer) {
    // A hook of a name that GStreamer does not know is called for all hooks, with their
    // arguments (`gst_tracing_register_hook`: the quark of an unknown name is 0, which stands
    // for all). So nothing is left to chance here.
    let (major, minor, ..) = gst::version();
    if (major, minor) < (1, 28) || gst::glib::Quark::try_from_str(QUEUED).is_none() {
        return;
    }
    let hook: PoolHook = pool_buffer_queued;
    // SAFETY: hooks are called with the arguments that their names stand for; GStreamer keeps
    // their address without its type.
    let hook = unsafe { std::mem::transmute::<PoolHook, unsafe extern "C" fn()>(hook) };
    let tracer: *mut ffi::GstTracer = tracer.to_glib_none().0;
    // SAFETY: the tracer lives, and GStreamer takes a reference of its own.
    unsafe { ffi::gst_tracing_register_hook(tracer, c"pool-buffer-queued".as_ptr(), Some(hook)) };
}

const QUEUED: &str = "pool-buffer-queued";

/// A buffer is back in its pool: what its memory held is gone, and what it holds when it comes
/// again is another frame.
unsafe extern "C" fn pool_buffer_queued(
    _: *mut ffi::GstTracer,
    _: u64,
    _: *mut ffi::GstBufferPool,
    buffer: *mut ffi::GstBuffer,
) {
    // SAFETY: GStreamer gives a live buffer, which nobody else has.
    let buffer = unsafe { gst::BufferRef::from_ptr(buffer) };
    for memory in buffer.iter_memories() {
        if let Some(known) = qdata::known_memory(memory) {
            known.recycled();
        }
    }
}
