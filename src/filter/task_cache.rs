// SPDX-License-Identifier: MPL-2.0
//! What is to be done with the next frame, kept as long as nothing changes.

use super::regions;
use super::settings::Settings;
use crate::pixel::regions::Rect;
use crate::video::{Canvas, FilterSettings, FrameFormat, Task};
use std::sync::Arc;

/// The task for the last frame, and what it was made from.
#[derive(Debug, Default)]
pub(super) struct TaskCache {
    settings: Option<Arc<Settings>>,
    canvas: Canvas,
    of_interest: Vec<Rect>,
    /// The regions of interest of the frame at hand.
    seen: Vec<Rect>,
    made: Option<(FilterSettings, Task)>,
}

impl TaskCache {
    /// The task for a frame whose picture is on this canvas.
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
        // Where the picture is in the frame is of no importance: a crop that moves keeps the task.
        let fits = std::mem::replace(&mut self.canvas, canvas) == canvas;
        let stays = is_same && fits && self.seen == self.of_interest;
        let order = || {
            let mut order = settings.order();
            order.regions.extend_from_slice(&self.seen);
            order
        };
        // Controllers set properties for every frame, usually to the same value.
        let order = (!stays).then(order);
        let made = match (self.made.take(), order) {
            (Some(made), None) => made,
            (Some(made), Some(order)) if fits && made.0 == order => made,
            (_, order) => {
                let order = order.unwrap_or_else(|| settings.order());
                let task = Task::for_canvas(frames, canvas, &order);
                (order, task)
            }
        };
        self.settings = Some(Arc::clone(settings));
        std::mem::swap(&mut self.of_interest, &mut self.seen);
        &mut self.made.insert(made).1
    }
}
