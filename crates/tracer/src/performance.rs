// SPDX-License-Identifier: MPL-2.0
//! Reads the debug category `GST_PERFORMANCE`, in which GStreamer logs copies that no hook reports.
//!
//! The verdict on kmssink and v4l2src depends on messages up to level LOG. A message that passes
//! the threshold of its category goes to every log function, so raising the threshold would print
//! one line or more per frame. [`start`] therefore removes GStreamer's default log function, and
//! the tracer's own passes all other messages on to it (`gst_debug_log_default`). [`stop`] undoes
//! both.
#![allow(unsafe_code)]

use super::copy_log;
use super::threads;
use gst::ffi;
use gst::glib::translate::{FromGlib, IntoGlib};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

/// The level that is read. v4l2 elements log slow copies at LOG, others at lower levels.
const LEVEL: gst::DebugLevel = gst::DebugLevel::Log;

/// The threshold of the category that the user has set.
static USER_THRESHOLD: AtomicI32 = AtomicI32::new(0);
/// Whether the tracer's log function replaces the default one.
static REPLACES_DEFAULT: AtomicBool = AtomicBool::new(false);

/// Returns the category; `None` if GStreamer was built without its debug log.
fn category() -> Option<gst::DebugCategory> {
    gst::DebugCategory::get("GST_PERFORMANCE")
}

/// Starts to read the category.
pub(super) fn start() {
    let Some(category) = category() else {
        return;
    };
    let threshold = category.threshold();
    USER_THRESHOLD.store(threshold.into_glib(), Relaxed);
    // The stream of a log file (GST_DEBUG_FILE) cannot be recovered: its messages are not filtered.
    if threshold < LEVEL && std::env::var_os("GST_DEBUG_FILE").is_none() {
        REPLACES_DEFAULT.store(remove_default() > 0, Relaxed);
    }
    gst::log::add_log_function(move |from, level, file, function, line, object, message| {
        let is_performance = from.as_ptr() == category.as_ptr();
        let is_users = !is_performance || level.into_glib() <= USER_THRESHOLD.load(Relaxed);
        if is_users && REPLACES_DEFAULT.load(Relaxed) {
            gst::log::log_default(from, level, file, function, line, object, message);
        }
        if is_performance
            && let Some(text) = message.get()
            && let Some((reason, bytes)) = copy_log::parse(text.trim_end())
        {
            threads::with(|thread| {
                thread.activity.reasons.count(reason);
                thread.activity.bytes_copied += bytes;
            });
        }
    });
    if threshold < LEVEL {
        category.set_threshold(LEVEL);
    }
}

/// Raises the threshold again if it was set since.
pub(super) fn raise_threshold() {
    let Some(category) = category() else {
        return;
    };
    let threshold = category.threshold();
    if threshold < LEVEL {
        USER_THRESHOLD.store(threshold.into_glib(), Relaxed);
        category.set_threshold(LEVEL);
    }
}

/// Restores the user's threshold and the default log function.
///
/// The tracer's log function stays until GStreamer frees its list of functions, as removing one
/// frees it while other threads may call it (`gst_debug_remove_with_compare_func`, gstinfo.c).
pub(super) fn stop() {
    let Some(category) = category() else {
        return;
    };
    // SAFETY: the value is that of a level.
    let threshold = unsafe { gst::DebugLevel::from_glib(USER_THRESHOLD.load(Relaxed)) };
    if category.threshold() == LEVEL {
        category.set_threshold(threshold);
    }
    if REPLACES_DEFAULT.swap(false, Relaxed) {
        add_default();
    }
}

/// Removes the default log function. Returns how often it was registered.
fn remove_default() -> u32 {
    // SAFETY: NULL stands for the default log function.
    unsafe { ffi::gst_debug_remove_log_function(None) }
}

fn add_default() {
    // SAFETY: NULL stands for the default log function, whose data is an open stream, or NULL for
    // standard error.
    unsafe { ffi::gst_debug_add_log_function(None, std::ptr::null_mut(), None) };
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stop_restores_the_threshold_and_the_default_function() {
        gst::init().unwrap();
        let threshold = category().unwrap().threshold();
        start();
        assert_eq!(category().unwrap().threshold(), LEVEL);
        assert_eq!(remove_default(), 0, "it was removed");
        stop();
        assert_eq!(category().unwrap().threshold(), threshold);
        assert_eq!(remove_default(), 1, "it was restored");
        add_default();
    }
}
