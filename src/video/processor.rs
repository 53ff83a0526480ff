// SPDX-License-Identifier: MPL-2.0
//! Processes a frame in place: adjustments, effect, window functions and overlays in one access.

use super::callbacks::{CallbackFrame, CallbackRunner};
use super::caps::FrameFormat;
use super::error::Error;
use super::fused::{FusedPass, MAX_PLANES, fuse};
use super::geometry::{self, GeometryError, Picture, Plane};
use super::open::frame_scoped;
use super::page_set::PageSet;
use super::pass::{MappedPlane, PassContext, WindowSize};
use super::slice_threads::SliceThreads;
use super::task::Task;
use super::window::{FrameInfo, plane_infos};
use super::window_source::{
    CountedWindows, StepItem, map_planes, run_step, step_planes, touched_memories, window_size,
};
use crate::dmabuf::{Access, ReadOnly, ReadWrite, Writable, WriteOnly};
use crate::memory::{self, AccessOptions, OpenMemories};
use crate::pixel::regions::{OverlayRect, PlaneEffect};
use crate::pixel::{Piece, Step};
use smallvec::SmallVec;
use std::time::{Duration, Instant};

/// Statistics of one processed frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassStats {
    /// Number of windows.
    pub windows: u64,
    /// Number of distinct pages that pixel code accessed.
    pub pages: u64,
    /// Time of all windows, without START and END.
    pub time: Duration,
}

/// Operations on a frame after its task.
#[derive(Debug, Default)]
pub struct Extras<'m, 'f> {
    /// Overlays, blended last.
    pub overlays: &'m [&'m OverlayRect],
    /// Window functions, called before overlays are blended.
    pub callbacks: Option<&'m mut CallbackRunner<'f>>,
}

/// Processes frames one at a time. Keeps threads and buffers between frames.
#[derive(Debug, Default)]
pub struct FrameProcessor {
    pub(super) threads: Option<SliceThreads>,
    pub(super) step_items: Vec<StepItem>,
    pub(super) pages: PageSet,
    needed_pages: PageSet,
    scratch: Vec<u8>,
}

/// The operations of one pass over a frame.
struct FramePass<'p> {
    planes: &'p [MappedPlane],
    task: Option<&'p mut Task>,
    /// Whether the adjustments are done already.
    is_adjusted: bool,
    overlays: &'p [&'p OverlayRect],
    window_size: WindowSize,
    /// Whether windows may be extended beyond `window_size`.
    can_extend: bool,
}

impl FrameProcessor {
    /// Sets the number of threads (0: one per core, where that helps).
    pub fn set_threads(&mut self, threads: u32) {
        if self.threads.as_ref().map_or(1, SliceThreads::requested) != threads {
            self.threads = (threads != 1).then(|| SliceThreads::new(threads));
        }
    }

    /// Runs a task, then `extras`, on a frame in place, in windows of `window_pages` pages (0:
    /// automatic).
    ///
    /// # Errors
    /// [`Error`]. Unless mapping or bracket are per window, the frame is then either untouched or,
    /// if END or a function failed, processed completely or in part.
    pub fn apply(
        &mut self,
        buffer: &mut gst::BufferRef,
        frames: &FrameFormat,
        task: &mut Task,
        extras: Extras<'_, '_>,
        how: &AccessOptions,
        window_pages: usize,
    ) -> Result<PassStats, Error> {
        let Extras {
            overlays,
            callbacks,
        } = extras;
        let picture = Picture::of(buffer, &frames.info)?;
        if picture.canvas() != task.canvas() {
            return Err(GeometryError::Picture.into());
        }
        let planes = planes(buffer, frames, &picture)?;
        let touches = |plane| {
            task.needs_plane(plane) || overlays.iter().any(|overlay| overlay.touches(plane))
        };
        let (window_size, can_extend) = (window_size(window_pages), window_pages == 0);
        self.pages.clear();
        let Some(callbacks) = callbacks else {
            let wanted = touched_memories(&planes, touches);
            if overlays.is_empty() && task.overwrites(buffer, &planes, window_size.page) {
                return self.access::<WriteOnly>(buffer, &wanted, how, |processor, open| {
                    let mapped = map_planes(open, &planes, &wanted);
                    let pass = FramePass {
                        planes: &mapped,
                        task: Some(task),
                        is_adjusted: false,
                        overlays,
                        window_size,
                        can_extend,
                    };
                    Ok(processor.run_pass(open, pass)?)
                });
            }
            return self.access::<ReadWrite>(buffer, &wanted, how, |processor, open| {
                let mapped = map_planes(open, &planes, &wanted);
                let size = (window_size, can_extend);
                Ok(processor.run_threaded(open, &mapped, task, overlays, size)?)
            });
        };
        let has_only_callbacks = !(0..planes.len()).any(touches);
        let trimmed = picture.trimmed(&frames.info, &planes);
        self.with_callbacks(
            buffer,
            frames,
            (&picture, &trimmed[..]),
            callbacks,
            how,
            |processor, buffer, frame, callbacks, how| {
                let wanted = touched_memories(&planes, |plane| {
                    callbacks.needs_plane(plane)
                        || task.needs_plane(plane)
                        || overlays.iter().any(|overlay| overlay.touches(plane))
                });
                if has_only_callbacks && callbacks.overwrites(buffer, &trimmed, window_size.page) {
                    return processor.access::<WriteOnly>(
                        buffer,
                        &wanted,
                        how,
                        |processor, open| {
                            let mapped = map_planes(open, &trimmed, &wanted);
                            let limit = how.options.fence_timeout;
                            let mut frame = processor.callback_frame(frame, &mapped, window_size);
                            callbacks.run(open, &mut frame, limit)
                        },
                    );
                }
                processor.access::<ReadWrite>(buffer, &wanted, how, |processor, open| {
                    let mapped = map_planes(open, &planes, &wanted);
                    let mut windows = processor.run_threaded(
                        open,
                        &mapped,
                        task,
                        &[],
                        (window_size, can_extend),
                    )?;
                    let limit = how.options.fence_timeout;
                    let lent = map_planes(open, &trimmed, &wanted);
                    let mut frame = processor.callback_frame(frame, &lent, window_size);
                    windows += callbacks.run(open, &mut frame, limit)?;
                    let after = FramePass {
                        planes: &mapped,
                        task: None,
                        is_adjusted: true,
                        overlays,
                        window_size,
                        can_extend,
                    };
                    Ok(windows + processor.run_pass(open, after)?)
                })
            },
        )
    }

    /// Runs read-only window functions on a frame, which may be shared.
    ///
    /// # Errors
    /// [`Error`]; the frame is unchanged.
    pub fn read(
        &mut self,
        buffer: &gst::BufferRef,
        frames: &FrameFormat,
        callbacks: &mut CallbackRunner<'_>,
        how: &AccessOptions,
        window_pages: usize,
    ) -> Result<PassStats, Error> {
        let picture = Picture::of(buffer, &frames.info)?;
        let planes = planes(buffer, frames, &picture)?;
        let planes = picture.trimmed(&frames.info, &planes);
        let window_size = window_size(window_pages);
        self.pages.clear();
        self.with_callbacks(
            buffer,
            frames,
            (&picture, &planes[..]),
            callbacks,
            how,
            |processor, buffer, frame, callbacks, how| {
                let wanted = touched_memories(&planes, |plane| callbacks.needs_plane(plane));
                processor.access::<ReadOnly>(buffer, &wanted, how, |processor, open| {
                    let mapped = map_planes(open, &planes, &wanted);
                    let limit = how.options.fence_timeout;
                    let mut frame = processor.callback_frame(frame, &mapped, window_size);
                    callbacks.run(open, &mut frame, limit)
                })
            },
        )
    }

    /// Calls `work` between `begin` and `end` of the window functions.
    fn with_callbacks<'f>(
        &mut self,
        buffer: &gst::BufferRef,
        frames: &FrameFormat,
        (picture, planes): (&Picture, &[Plane]),
        callbacks: &mut CallbackRunner<'f>,
        how: &AccessOptions,
        work: impl FnOnce(
            &mut Self,
            &gst::BufferRef,
            &FrameInfo<'_>,
            &mut CallbackRunner<'f>,
            &AccessOptions,
        ) -> Result<PassStats, Error>,
    ) -> Result<PassStats, Error> {
        let infos = plane_infos(&frames.info, &picture.canvas(), planes);
        let info = Picture::info(&frames.info, picture.canvas().size)?;
        let frame = FrameInfo {
            info: &info,
            planes: &infos,
            pts: buffer.pts(),
            duration: buffer.duration(),
            number: callbacks.number(),
        };
        callbacks.begin(&frame)?;
        let for_pairs = callbacks.needs_pairs().then(|| frame_scoped(how));
        let done = work(
            self,
            buffer,
            &frame,
            callbacks,
            for_pairs.as_ref().unwrap_or(how),
        )?;
        callbacks.end(&frame)?;
        Ok(done)
    }

    fn callback_frame<'s>(
        &'s mut self,
        frame: &'s FrameInfo<'s>,
        mapped: &'s [MappedPlane],
        window_size: WindowSize,
    ) -> CallbackFrame<'s> {
        CallbackFrame {
            frame,
            mapped,
            window_size,
            threads: self.threads.as_mut(),
            pages: &mut self.pages,
        }
    }

    /// Opens memories of a frame for `work`, which returns the number of windows.
    fn access<A: Access>(
        &mut self,
        buffer: &gst::BufferRef,
        memories: &[usize],
        how: &AccessOptions,
        work: impl FnOnce(&mut Self, &mut OpenMemories<'_, '_, A>) -> Result<u64, Error>,
    ) -> Result<PassStats, Error> {
        memory::with_memories::<A, _, _>(buffer, memories, how, |open| {
            let begin = Instant::now();
            let windows = work(self, open)?;
            Ok(PassStats {
                windows,
                pages: self.pages.count(),
                time: begin.elapsed(),
            })
        })
    }

    /// Runs the adjustments on threads and returns the number of windows; `None` if the work cannot
    /// be divided or dividing it does not pay.
    fn run_steps_threaded(
        &mut self,
        open: &mut OpenMemories<'_, '_, ReadWrite>,
        planes: &[MappedPlane],
        task: &Task,
        window_size: WindowSize,
    ) -> Result<Option<u64>, memory::Error> {
        let Some(threads) = &mut self.threads else {
            return Ok(None);
        };
        let steps = task.plan().steps();
        self.step_items.clear();
        for (number, step) in steps.iter().enumerate() {
            add_step_items(&mut self.step_items, number, step, planes, task.pieces());
        }
        let shared =
            threads.run_steps(open, steps, &self.step_items, &mut self.pages, window_size)?;
        if shared.is_some() {
            for mapped in self.step_items.iter().flat_map(|item| &item.mapped) {
                for pages in mapped.windows(window_size) {
                    self.pages.add(&(mapped.buffer, pages));
                }
            }
        }
        Ok(shared)
    }

    /// Runs task and overlays, on threads if possible, and returns the number of windows.
    fn run_threaded(
        &mut self,
        open: &mut OpenMemories<'_, '_, ReadWrite>,
        planes: &[MappedPlane],
        task: &mut Task,
        overlays: &[&OverlayRect],
        (window_size, can_extend): (WindowSize, bool),
    ) -> Result<u64, memory::Error> {
        // Effects and overlays on adjusted planes are fused with the adjustment.
        let mut adjusted = task.plan().steps().iter().flat_map(step_planes);
        let can_fuse = adjusted.any(|plane| {
            task.has_effect(plane) || overlays.iter().any(|overlay| overlay.touches(plane))
        });
        let shared = match can_fuse {
            true => None,
            false => self.run_steps_threaded(open, planes, task, window_size)?,
        };
        let pass = FramePass {
            planes,
            task: Some(task),
            is_adjusted: shared.is_some(),
            overlays,
            window_size,
            can_extend,
        };
        let context_rows = pass.task.as_ref().map_or(0, |task| task.context_rows());
        let windows = self.run_pass_with(open, pass, |threads, open, all, pages, context| {
            if !can_fuse {
                return Ok(None);
            }
            all.iter_mut()
                .for_each(|fused| fused.prepare_slices(context.window_size, context_rows));
            threads.run_passes(open, all, pages, context)
        })?;
        Ok(shared.unwrap_or(0) + windows)
    }

    /// Runs one fused pass per plane and returns the number of windows.
    fn run_pass<A: Writable>(
        &mut self,
        open: &mut OpenMemories<'_, '_, A>,
        pass: FramePass<'_>,
    ) -> Result<u64, memory::Error> {
        self.run_pass_with(open, pass, |_, _, _, _, _| Ok(None))
    }

    /// As [`run_pass`](Self::run_pass), unless `on_threads` returns a number of windows.
    fn run_pass_with<A: Writable>(
        &mut self,
        open: &mut OpenMemories<'_, '_, A>,
        pass: FramePass<'_>,
        on_threads: impl FnOnce(
            &mut SliceThreads,
            &mut OpenMemories<'_, '_, A>,
            &mut [FusedPass<'_>],
            &mut PageSet,
            &mut PassContext<'_>,
        ) -> Result<Option<u64>, memory::Error>,
    ) -> Result<u64, memory::Error> {
        let FramePass {
            planes,
            task,
            is_adjusted,
            overlays,
            window_size,
            can_extend,
        } = pass;
        let mut effects: [Option<&mut dyn PlaneEffect>; MAX_PLANES] = Default::default();
        let (mut steps, mut pieces) = (&[][..], None);
        if let Some(task) = task {
            let operations = task.operations();
            pieces = operations.pieces;
            if !is_adjusted {
                steps = operations.plan.steps();
            }
            if let Some(effect) = operations.effect {
                effect.assign_to(&mut effects);
            }
        }
        let mut all = fuse(steps, planes, pieces, &mut effects, overlays);
        let mut context = PassContext {
            window_size,
            can_extend,
            needed_pages: &mut self.needed_pages,
            scratch: &mut self.scratch,
        };
        if let Some(threads) = &mut self.threads
            && let Some(windows) =
                on_threads(threads, open, &mut all, &mut self.pages, &mut context)?
        {
            return Ok(windows);
        }
        let mut source = CountedWindows::new(open, &mut self.pages);
        for fused in &all {
            match fused.plain_step() {
                Some(step) => run_step(&mut source, step, fused.planes(), window_size)?,
                None => source.run_pass(fused.whole_pass(), &mut context)?,
            }
        }
        Ok(source.windows)
    }
}

/// Returns the planes that hold the samples of a picture, for pixel code.
fn planes(
    buffer: &gst::BufferRef,
    frames: &FrameFormat,
    picture: &Picture,
) -> Result<SmallVec<[Plane; 4]>, GeometryError> {
    let shapes = geometry::shapes(&frames.info, picture, frames.format.planes())?;
    geometry::planes(buffer, &frames.info, &shapes)
}

/// Adds a step as items, one per part of its planes.
fn add_step_items(
    step_items: &mut Vec<StepItem>,
    number: usize,
    step: &Step,
    planes: &[MappedPlane],
    pieces: Option<&[Vec<Piece>]>,
) {
    let mut add = |place: &dyn Fn(&MappedPlane) -> MappedPlane| {
        let mapped = step_planes(step).map(|plane| place(&planes[plane]));
        step_items.push(StepItem {
            step: number,
            mapped: mapped.collect(),
        });
    };
    let Some(pieces) = pieces else {
        return add(&|mapped| *mapped);
    };
    for plane in step_planes(step).take(1) {
        for piece in &pieces[plane] {
            add(&|mapped| mapped.piece(piece));
        }
    }
}
