// SPDX-License-Identifier: MPL-2.0
//! Caches the task for frames while settings, regions and canvas stay.

use super::regions;
use super::settings::Settings;
use crate::pixel::regions::Rect;
use crate::video::{Canvas, FilterSettings, FrameFormat, Task};
use std::sync::Arc;

/// The task for the last frame, and its inputs.
#[derive(Debug, Default)]
pub(super) struct TaskCache {
    settings: Option<Arc<Settings>>,
    canvas: Canvas,
    of_interest: Vec<Rect>,
    /// The regions of interest of the current frame.
    seen: Vec<Rect>,
    made: Option<(FilterSettings, Task)>,
}

impl TaskCache {
    /// Returns the task for a frame whose picture has this canvas.
    pub(super) fn task(
        &mut self,
        settings: &Arc<Settings>,
        frame: &gst::BufferRef,
        frames: &FrameFormat,
        canvas: Canvas,
    ) -> &mut Task {
        self.seen.clear();
        if settings.roi_meta {
            regions::add_of_interest(frame, settings.roi_type.as_deref(), &mut self.seen);
        }
        let is_same = self
            .settings
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(before, settings));
        // The canvas excludes the position of the picture, so a moving crop keeps the task.
        let fits = std::mem::replace(&mut self.canvas, canvas) == canvas;
        let stays = is_same && fits && self.seen == self.of_interest;
        let made = match self.made.take() {
            Some(made) if stays => made,
            made => {
                let mut wanted = settings.filter.clone();
                wanted.regions.extend_from_slice(&self.seen);
                match made {
                    // Controllers set properties for every frame, usually to the same value.
                    Some(made) if fits && made.0 == wanted => made,
                    _ => {
                        let task = Task::for_canvas(frames, canvas, &wanted);
                        (wanted, task)
                    }
                }
            }
        };
        self.settings = Some(Arc::clone(settings));
        std::mem::swap(&mut self.of_interest, &mut self.seen);
        &mut self.made.insert(made).1
    }
}
