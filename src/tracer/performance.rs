// SPDX-License-Identifier: MPL-2.0
//! Listens to the category `GST_PERFORMANCE`, where GStreamer tells of copies that no hook
//! sees.

use super::copy_log;
use super::log_filter;
use super::threads;
use gst::glib::translate::IntoGlib;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Where copies are told: v4l2's slow copy, the quietest that is of use, at LOG.
const LEVEL: gst::DebugLevel = gst::DebugLevel::Log;

/// What the user wants to see of the category.
static WANTED: AtomicI32 = AtomicI32::new(0);

/// Begins to listen.
pub(super) fn start() {
    let Some(category) = gst::DebugCategory::get("GST_PERFORMANCE") else {
        // A GStreamer that was built without its log.
        return;
    };
    let wanted = category.threshold();
    WANTED.store(wanted.into_glib(), Relaxed);
    if wanted < LEVEL {
        // Before ours is there, which is asked first then, as it was added last.
        log_filter::hush();
    }
    gst::log::add_log_function(move |from, level, _, _, _, _, message| {
        log_filter::set(false);
        if from.as_ptr() != category.as_ptr() {
            return;
        }
        log_filter::set(level.into_glib() > WANTED.load(Relaxed));
        if let Some(text) = message.get()
            && let Some((reason, bytes)) = copy_log::read(text.trim_end())
        {
            threads::with(|thread| {
                thread.work.reasons.count(reason);
                thread.work.copied += bytes;
            });
        }
    });
    if wanted < LEVEL {
        category.set_threshold(LEVEL);
    }
}

/// Listens again, if the thresholds were set anew since.
pub(super) fn again() {
    if let Some(category) = gst::DebugCategory::get("GST_PERFORMANCE") {
        let threshold = category.threshold();
        if threshold < LEVEL {
            WANTED.store(threshold.into_glib(), Relaxed);
            category.set_threshold(LEVEL);
        }
    }
}
