// SPDX-License-Identifier: MPL-2.0
//! The counts behind the `stats` property.

use crate::dmabuf::Counters;
use crate::memory;
use crate::video::Work;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the element was started.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// What was asked of the kernel.
    pub(super) kernel: Arc<Counters>,
    pub(super) frames: AtomicU64,
    pub(super) frames_in_place: AtomicU64,
    pub(super) frames_copied: AtomicU64,
    pub(super) frames_skipped: AtomicU64,
    pub(super) bytes_copied: AtomicU64,
    windows: AtomicU64,
    pages: AtomicU64,
    process_time: AtomicU64,
}

/// Adds to a count.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}

impl Stats {
    pub(super) fn add_work(&self, work: &Work) {
        add(&self.windows, work.windows);
        add(&self.pages, work.pages);
        let nanoseconds = u64::try_from(work.time.as_nanos()).unwrap_or(u64::MAX);
        add(&self.process_time, nanoseconds);
    }

    pub(super) fn to_structure(&self, allocator: &str) -> gst::Structure {
        let mut stats = gst::Structure::new_empty("application/x-dmabufcpu-stats");
        for (name, counter) in [
            ("frames", &self.frames),
            ("frames-in-place", &self.frames_in_place),
            ("frames-copied", &self.frames_copied),
            ("frames-skipped", &self.frames_skipped),
            ("bytes-copied", &self.bytes_copied),
            ("windows", &self.windows),
            ("pages", &self.pages),
            ("process-time", &self.process_time),
        ] {
            stats.set(name, counter.load(Relaxed));
        }
        memory::add_counts(&mut stats, &self.kernel);
        stats.set("allocator", allocator);
        stats
    }
}
