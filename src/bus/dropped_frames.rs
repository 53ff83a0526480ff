// SPDX-License-Identifier: MPL-2.0
//! Rate-limited warnings of dropped frames: the first immediately, later ones together.

use crate::dmabuf::lock;
use std::fmt::Display;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Minimum time between two warnings.
const INTERVAL: Duration = Duration::from_secs(10);

/// Frames dropped since the last warning.
#[derive(Debug, Default)]
struct Pending {
    warned: Option<Instant>,
    frames: u64,
}

impl Pending {
    /// Adds a frame. Returns the number of frames to report if a warning is due.
    fn add(&mut self, now: Instant) -> Option<u64> {
        self.frames += 1;
        let waits = |warned| now.saturating_duration_since(warned) < INTERVAL;
        if self.warned.is_some_and(waits) {
            return None;
        }
        self.warned = Some(now);
        Some(std::mem::take(&mut self.frames))
    }
}

/// Warns of dropped frames, at most once per [`INTERVAL`].
#[derive(Debug, Default)]
pub(crate) struct DroppedFrames(Mutex<Pending>);

impl DroppedFrames {
    /// Starts a stream.
    pub(crate) fn reset(&self) {
        *lock(&self.0) = Pending::default();
    }

    /// Reports a frame that was dropped because of `error`.
    pub(crate) fn warn(
        &self,
        element: &gst::Element,
        error: &dyn Display,
        debug: impl FnOnce() -> String,
    ) {
        // Posted without the lock, as a sync handler of the bus may call the element.
        let due = lock(&self.0).add(Instant::now());
        let Some(frames) = due else {
            return;
        };
        let which = match frames {
            1 => "A bad frame was".to_owned(),
            _ => format!("{frames} bad frames were"),
        };
        gst::element_warning!(
            element,
            gst::StreamError::Failed,
            ("{which} dropped: {error}"),
            [
                "{}; reported at most once in {} s, see frames-dropped in stats; \
                 bad-frames=error stops instead",
                debug(),
                INTERVAL.as_secs()
            ]
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_drop_is_reported_at_once_later_ones_by_interval() {
        let mut pending = Pending::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let reports = [0, 0, 3, 9, 10, 10, 19, 30].map(|seconds| pending.add(at(seconds)));
        let expected = [Some(1), None, None, None, Some(4), None, None, Some(3)];
        assert_eq!(reports, expected);
    }
}
