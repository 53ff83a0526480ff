// SPDX-License-Identifier: MPL-2.0
//! Counts for the property `stats`.

use crate::element::{Counts, add};
use crate::video::PassStats;
use std::sync::atomic::AtomicU64;

/// Counts since the element was started.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) common: Counts,
    pub(super) frames_skipped: AtomicU64,
    windows: AtomicU64,
    pages: AtomicU64,
    process_time: AtomicU64,
}

impl Stats {
    pub(super) fn add_work(&self, work: &PassStats) {
        add(&self.windows, work.windows);
        add(&self.pages, work.pages);
        let nanoseconds = u64::try_from(work.time.as_nanos()).unwrap_or(u64::MAX);
        add(&self.process_time, nanoseconds);
    }

    pub(super) fn to_structure(&self, allocator: &str) -> gst::Structure {
        let more = [
            ("frames-skipped", &self.frames_skipped),
            ("windows", &self.windows),
            ("pages", &self.pages),
            ("process-time", &self.process_time),
        ];
        self.common.to_structure(&more, allocator)
    }
}
