// SPDX-License-Identifier: MPL-2.0
//! Keeps lines that only the tracer asked for out of the log that the user sees.
//!
//! A line that a category lets through goes to every log function, GStreamer's own among them,
//! which prints to standard error. That one is taken off and put back with a stream of ours,
//! which drops what the tracer's log function, asked before it on the same thread, has marked.
//! It stays GStreamer's function: an application that takes it off finds it.
#![allow(unsafe_code)]

use gst::ffi;
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};

thread_local! {
    static DROPS: Cell<bool> = const { Cell::new(false) };
}

/// Whether what this thread prints next is dropped.
pub(super) fn set(drops: bool) {
    let _ = DROPS.try_with(|cell| cell.set(drops));
}

/// `cookie_io_functions_t` (fopencookie(3), in glibc and musl).
#[repr(C)]
struct Functions {
    read: Option<unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> isize>,
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> isize>,
    seek: Option<unsafe extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int>,
    close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
}

unsafe extern "C" {
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: Functions) -> *mut c_void;
    fn setvbuf(stream: *mut c_void, buffer: *mut c_char, mode: c_int, size: usize) -> c_int;
}

/// `_IONBF` (stdio.h, glibc and musl).
const UNBUFFERED: c_int = 2;

/// Lets GStreamer's log function print through the stream of ours. Not with a log file
/// (GST_DEBUG_FILE), whose stream cannot be had back: there the lines are printed.
pub(super) fn hush() {
    if std::env::var_os("GST_DEBUG_FILE").is_some() {
        return;
    }
    let functions = Functions {
        read: None,
        write: Some(write),
        seek: None,
        close: None,
    };
    // SAFETY: the functions take no cookie, and the stream is never closed.
    let stream = unsafe { fopencookie(std::ptr::null_mut(), c"w".as_ptr(), functions) };
    if stream.is_null() {
        return;
    }
    // Each line comes whole, on the thread that logs it: a buffer would mix them.
    // SAFETY: the stream was opened above, and not used yet.
    unsafe { setvbuf(stream, std::ptr::null_mut(), UNBUFFERED, 0) };
    // SAFETY: NULL stands for GStreamer's own function.
    let taken_off = unsafe { ffi::gst_debug_remove_log_function(None) };
    if taken_off > 0 {
        // SAFETY: NULL stands for GStreamer's own function, whose data is a stream
        // (`gst_debug_log_default`), which lives for ever.
        unsafe { ffi::gst_debug_add_log_function(None, stream, None) };
    }
}

/// Writes to standard error, unless it is to be dropped.
unsafe extern "C" fn write(_: *mut c_void, bytes: *const c_char, size: usize) -> isize {
    if DROPS.try_with(Cell::get) != Ok(true) {
        // SAFETY: the stream gives so many bytes.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), size) };
        // Nobody is left to be told what standard error does not take.
        let _ = crate::dmabuf::write_all(rustix::stdio::stderr(), bytes);
    }
    // What standard error does not take is lost, as with GStreamer's own.
    isize::try_from(size).unwrap_or(isize::MAX)
}
