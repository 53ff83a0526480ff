// SPDX-License-Identifier: MPL-2.0
//! Detects that downstream holds all buffers of the pool of the source.
//!
//! The driver limits the buffers of a camera: 32 with videobuf2. If downstream keeps all of them
//! until it gets more (a queue with a high `min-threshold-buffers`), the stream stops. `v4l2src`
//! copies frames before that, but not if the ALLOCATION query has an entry for a pool
//! (`gst_v4l2_object_decide_allocation`), which `io-mode=dmabuf-import` and sources in system memory
//! need.

use super::ffi::{self, Pooled};
use super::pool::waiting_before;
use gst::glib;
use gst::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long no buffer may return before the stream counts as stalled.
const PATIENCE: Duration = Duration::from_secs(1);

/// Interval at which returned buffers are counted.
const POLL: Duration = Duration::from_millis(5);

/// Smaller pools are not watched: downstream may need all their buffers at once, and waiting would
/// delay it.
const DEEP: usize = 8;

/// The buffers of the pool that frames come from, as seen so far.
#[derive(Debug, Default)]
pub struct Supply {
    pool: glib::WeakRef<gst::BufferPool>,
    /// Maximum of the pool; 0 if it is not watched.
    most: usize,
    seen: Vec<Arc<Pooled>>,
    /// The stream has stalled: later frames do not wait.
    has_stalled: bool,
    /// Frames since the pool was low.
    plenty: usize,
}

impl Supply {
    /// Whether the stream stalls unless `frame` returns to its pool: all buffers of the pool but one
    /// are downstream of `element`, and none returned within 1 s. Waits that long, unless
    /// `is_flushing`.
    pub fn has_run_dry(
        &mut self,
        frame: &gst::BufferRef,
        element: &gst::Element,
        is_flushing: impl Fn() -> bool,
    ) -> bool {
        self.note(frame);
        if !self.is_low(element) {
            self.plenty += 1;
            // While copies are needed, some frames of each cycle through the pool are low.
            self.has_stalled &= self.plenty < 2 * self.most;
            return false;
        }
        self.plenty = 0;
        if self.has_stalled {
            return true;
        }
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if is_flushing() {
                return false;
            }
            std::thread::sleep(POLL);
            if !self.is_low(element) {
                return false;
            }
        }
        self.has_stalled = true;
        true
    }

    /// Records a buffer of the pool.
    fn note(&mut self, frame: &gst::BufferRef) {
        let pool = ffi::pool(frame);
        if self.pool.upgrade() != pool {
            let most = |pool: &gst::BufferPool| pool.config().params().map(|(.., most)| most);
            let most = pool.as_ref().and_then(most).unwrap_or(0);
            let most = usize::try_from(most).unwrap_or(0);
            self.pool.set(pool.as_ref());
            self.most = if most >= DEEP { most } else { 0 };
            self.seen.clear();
            (self.has_stalled, self.plenty) = (false, 0);
        }
        if self.most > 0 {
            let pooled = Pooled::of(frame);
            if !self.seen.iter().any(|seen| Arc::ptr_eq(seen, &pooled)) {
                self.seen.retain(|seen| seen.exists());
                self.seen.push(pooled);
            }
        }
    }

    /// Whether all buffers but one are out of the pool, and not in a queue upstream of the element.
    /// The device needs one to continue.
    fn is_low(&self, element: &gst::Element) -> bool {
        if self.most == 0 || self.seen.len() + 1 < self.most {
            return false;
        }
        let out = self.seen.iter().filter(|seen| seen.is_out()).count();
        // Queues are examined only if the first condition holds.
        out + 1 >= self.most && out + 1 >= self.most.saturating_add(waiting_before(element))
    }
}
