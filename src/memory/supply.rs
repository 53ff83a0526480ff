// SPDX-License-Identifier: MPL-2.0
//! Whether the pool that frames come from runs out of buffers.
//!
//! A camera has as many buffers as its driver allows, 32 with videobuf2. Where downstream holds all
//! of them until it gets more (a queue with a high `min-threshold-buffers`), the stream stands for
//! good. `v4l2src` copies frames before that, but not if the ALLOCATION query has an entry for a
//! pool (`gst_v4l2_object_decide_allocation`), which `io-mode=dmabuf-import` and sources in system
//! memory need.

use super::ffi::{self, Pooled};
use super::pool::waiting_before;
use gst::glib;
use gst::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the last frames of a pool are held back before the stream counts as standing.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether a buffer came back meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// Pools of fewer buffers are not watched: downstream may need all of them at a time, and is held
/// up if one is held back.
const DEEP: usize = 8;

/// The buffers of the pool that frames come from.
#[derive(Debug, Default)]
pub struct Supply {
    pool: glib::WeakRef<gst::BufferPool>,
    /// The most buffers that it makes; 0 if it is not watched.
    most: usize,
    seen: Vec<Arc<Pooled>>,
    /// The stream has stood: the next frames are not held back before they count as the last.
    has_stood: bool,
    /// Frames since the pool was low.
    plenty: usize,
}

impl Supply {
    /// Whether the stream stands unless `frame` goes back to its pool: all buffers of the pool but
    /// one are downstream of `element`, and for a second none came back. Waits so long in that case,
    /// unless `is_flushing`.
    pub fn has_run_dry(
        &mut self,
        frame: &gst::BufferRef,
        element: &gst::Element,
        is_flushing: impl Fn() -> bool,
    ) -> bool {
        self.note(frame);
        if !self.is_low(element) {
            self.plenty += 1;
            // A stream that needs copies to go on has some low frames in each round of the pool.
            self.has_stood &= self.plenty < 2 * self.most;
            return false;
        }
        self.plenty = 0;
        if self.has_stood {
            return true;
        }
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if is_flushing() {
                return false;
            }
            std::thread::sleep(LOOK);
            if !self.is_low(element) {
                return false;
            }
        }
        self.has_stood = true;
        true
    }

    /// Remembers a buffer of the pool.
    fn note(&mut self, frame: &gst::BufferRef) {
        let pool = ffi::pool(frame);
        if self.pool.upgrade() != pool {
            let most = |pool: &gst::BufferPool| pool.config().params().map(|(.., most)| most);
            let most = pool.as_ref().and_then(most).unwrap_or(0);
            let most = usize::try_from(most).unwrap_or(0);
            self.pool.set(pool.as_ref());
            self.most = if most >= DEEP { most } else { 0 };
            self.seen.clear();
            (self.has_stood, self.plenty) = (false, 0);
        }
        if self.most > 0 {
            let pooled = Pooled::of(frame);
            if !self.seen.iter().any(|seen| Arc::ptr_eq(seen, &pooled)) {
                self.seen.retain(|seen| seen.exists());
                self.seen.push(pooled);
            }
        }
    }

    /// Whether all buffers but one are out of the pool, and not in a queue before the element. The
    /// one is for the device to go on with.
    fn is_low(&self, element: &gst::Element) -> bool {
        if self.most == 0 || self.seen.len() + 1 < self.most {
            return false;
        }
        let out = self.seen.iter().filter(|seen| seen.is_out()).count();
        // Only then are queues asked.
        out + 1 >= self.most && out + 1 >= self.most.saturating_add(waiting_before(element))
    }
}
