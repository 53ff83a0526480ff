// SPDX-License-Identifier: MPL-2.0
//! Pixel work, carried out on a frame where it lies.

use super::call::{Calls, Stage};
use super::error::Error;
use super::geometry;
use super::lend::{Job, Lender, cut, memories, place_all, planes_of, walk_step};
use super::open::for_rows;
use super::pages::Pages;
use super::rows::PlaneRows;
use super::task::Task;
use super::threads::Threads;
use super::walk::{Cut, Placed};
use super::window::{FrameInfo, plane_infos};
use super::{Frames, Plane};
use crate::dmabuf::{ReadOnly, ReadWrite, Writable, WriteOnly};
use crate::memory::{self, How, OpenMemories};
use crate::pixel::regions::Sprite;
use std::time::{Duration, Instant};

/// What was done on a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Windows that were borrowed.
    pub windows: u64,
    /// Pages that the pixel code had in its hands.
    pub pages: u64,
    /// Time from the first window to the last.
    pub time: Duration,
}

/// What is done with a frame besides its task.
#[derive(Debug, Default)]
pub struct More<'m, 'f> {
    /// What is drawn on it, last.
    pub sprites: &'m [&'m Sprite],
    /// Users' functions, before that.
    pub calls: Option<&'m mut Calls<'f>>,
}

/// What works on frames, one at a time, and keeps what it needs for that.
#[derive(Debug, Default)]
pub struct Worker {
    pub(super) threads: Option<Threads>,
    pub(super) jobs: Vec<Job>,
    pub(super) pages: Pages,
}

impl Worker {
    /// Sets how many threads share a frame's work (0: one a core, where that helps).
    pub fn set_threads(&mut self, threads: u32) {
        if self.threads.as_ref().map_or(1, Threads::asked) != threads {
            self.threads = (threads != 1).then(|| Threads::new(threads));
        }
    }

    /// Carries a task out on a frame, in place, in windows of `window_pages` pages (0: as many
    /// as go well), then what there is to do besides.
    ///
    /// # Errors
    /// [`Error`]. Unless mapping or bracket are for each window, the frame is then either
    /// untouched or, when END or a function failed, done or partly done.
    pub fn apply(
        &mut self,
        buffer: &mut gst::BufferRef,
        frames: &Frames,
        task: &mut Task,
        more: More<'_, '_>,
        how: &How,
        window_pages: usize,
    ) -> Result<Work, Error> {
        let More { sprites, calls } = more;
        let shapes = geometry::shapes(&frames.info, frames.format.planes())?;
        let planes = geometry::planes(buffer, &frames.info, &shapes)?;
        let touches =
            |plane| task.touches(plane) || sprites.iter().any(|sprite| sprite.touches(plane));
        let cut = cut(window_pages);
        self.pages.clear();
        let Some(calls) = calls else {
            let wanted = memories(&planes, touches);
            if sprites.is_empty() && task.overwrites(buffer, &planes, cut.page) {
                return memory::with_memories::<WriteOnly, _, _>(buffer, &wanted, how, |open| {
                    let begin = Instant::now();
                    let placed = place_all(open, &planes, &wanted);
                    let windows = self.effects(open, &placed, Some(task), sprites, cut)?;
                    Ok(self.done(windows, begin))
                });
            }
            return memory::with_memories::<ReadWrite, _, _>(buffer, &wanted, how, |open| {
                let begin = Instant::now();
                let placed = place_all(open, &planes, &wanted);
                let windows = self.adjust(open, &placed, task, cut)?
                    + self.effects(open, &placed, Some(task), sprites, cut)?;
                Ok(self.done(windows, begin))
            });
        };
        let is_alone = !(0..planes.len()).any(touches);
        self.call(
            buffer,
            frames,
            &planes,
            calls,
            how,
            |worker, buffer, frame, calls, how| {
                let wanted = memories(&planes, |plane| {
                    calls.touch(plane)
                        || task.touches(plane)
                        || sprites.iter().any(|sprite| sprite.touches(plane))
                });
                if is_alone && calls.overwrite(buffer, &planes, cut.page) {
                    return memory::with_memories::<WriteOnly, _, _>(
                        buffer,
                        &wanted,
                        how,
                        |open| {
                            let begin = Instant::now();
                            let placed = place_all(open, &planes, &wanted);
                            let limit = how.options.fence_timeout;
                            let windows =
                                calls.run(open, &mut worker.stage(frame, &placed, cut), limit)?;
                            Ok(worker.done(windows, begin))
                        },
                    );
                }
                memory::with_memories::<ReadWrite, _, _>(buffer, &wanted, how, |open| {
                    let begin = Instant::now();
                    let placed = place_all(open, &planes, &wanted);
                    let mut windows = worker.adjust(open, &placed, task, cut)?
                        + worker.effects(open, &placed, Some(task), &[], cut)?;
                    let limit = how.options.fence_timeout;
                    windows += calls.run(open, &mut worker.stage(frame, &placed, cut), limit)?;
                    windows += worker.effects(open, &placed, None, sprites, cut)?;
                    Ok(worker.done(windows, begin))
                })
            },
        )
    }

    /// Has functions that only read look at a frame, which others may hold, too.
    ///
    /// # Errors
    /// [`Error`]; the frame is as it was.
    pub fn read(
        &mut self,
        buffer: &gst::BufferRef,
        frames: &Frames,
        calls: &mut Calls<'_>,
        how: &How,
        window_pages: usize,
    ) -> Result<Work, Error> {
        let shapes = geometry::shapes(&frames.info, frames.format.planes())?;
        let planes = geometry::planes(buffer, &frames.info, &shapes)?;
        let cut = cut(window_pages);
        self.pages.clear();
        self.call(
            buffer,
            frames,
            &planes,
            calls,
            how,
            |worker, buffer, frame, calls, how| {
                let wanted = memories(&planes, |plane| calls.touch(plane));
                memory::with_memories::<ReadOnly, _, _>(buffer, &wanted, how, |open| {
                    let begin = Instant::now();
                    let placed = place_all(open, &planes, &wanted);
                    let limit = how.options.fence_timeout;
                    let windows = calls.run(open, &mut worker.stage(frame, &placed, cut), limit)?;
                    Ok(worker.done(windows, begin))
                })
            },
        )
    }

    /// Does `work` between the beginning and the end of a frame's functions.
    fn call<'f>(
        &mut self,
        buffer: &gst::BufferRef,
        frames: &Frames,
        planes: &[Plane],
        calls: &mut Calls<'f>,
        how: &How,
        work: impl FnOnce(
            &mut Self,
            &gst::BufferRef,
            &FrameInfo<'_>,
            &mut Calls<'f>,
            &How,
        ) -> Result<Work, Error>,
    ) -> Result<Work, Error> {
        let infos = plane_infos(&frames.info, planes);
        let frame = FrameInfo {
            info: &frames.info,
            planes: &infos,
            pts: buffer.pts(),
            duration: buffer.duration(),
            number: calls.number(),
        };
        calls.begin(&frame)?;
        let for_pairs = calls.need_pairs().then(|| for_rows(how));
        let done = work(
            self,
            buffer,
            &frame,
            calls,
            for_pairs.as_ref().unwrap_or(how),
        )?;
        calls.end(&frame)?;
        Ok(done)
    }

    fn stage<'s>(
        &'s mut self,
        frame: &'s FrameInfo<'s>,
        placed: &'s [Placed],
        cut: Cut,
    ) -> Stage<'s> {
        Stage {
            frame,
            placed,
            cut,
            threads: self.threads.as_mut(),
            pages: &mut self.pages,
        }
    }

    fn done(&self, windows: u64, begin: Instant) -> Work {
        Work {
            windows,
            pages: self.pages.count(),
            time: begin.elapsed(),
        }
    }

    /// The plan's steps; returns the number of windows.
    fn adjust(
        &mut self,
        open: &mut OpenMemories<'_, '_, ReadWrite>,
        planes: &[Placed],
        task: &Task,
        cut: Cut,
    ) -> Result<u64, memory::Error> {
        let steps = task.plan().steps();
        self.jobs.clear();
        for (number, step) in steps.iter().enumerate() {
            let mut add = |place: &dyn Fn(&Placed) -> Placed| {
                let placed = planes_of(step).map(|plane| place(&planes[plane]));
                self.jobs.push(Job {
                    step: number,
                    placed: placed.collect(),
                });
            };
            let Some(pieces) = task.pieces() else {
                add(&|placed| *placed);
                continue;
            };
            for plane in planes_of(step).take(1) {
                for piece in &pieces[plane] {
                    add(&|placed| placed.piece(piece));
                }
            }
        }
        if let Some(threads) = &mut self.threads
            && let Some(windows) = threads.share(open, steps, &self.jobs, &mut self.pages, cut)?
        {
            for placed in self.jobs.iter().flat_map(|job| &job.placed) {
                for pages in placed.windows(cut) {
                    self.pages.add(&(placed.member, pages));
                }
            }
            return Ok(windows);
        }
        let mut lender = Lender::new(open, &mut self.pages);
        for job in &self.jobs {
            walk_step(&mut lender, &steps[job.step], &job.placed, cut)?;
        }
        Ok(lender.windows)
    }

    /// What is done to parts of the frame, and what is drawn on it; returns the number of
    /// windows.
    fn effects<A: Writable>(
        &mut self,
        open: &mut OpenMemories<'_, '_, A>,
        planes: &[Placed],
        task: Option<&mut Task>,
        sprites: &[&Sprite],
        cut: Cut,
    ) -> Result<u64, memory::Error> {
        let mut lender = Lender::new(open, &mut self.pages);
        let mut rows = PlaneRows {
            lender: &mut lender,
            planes,
            cut,
        };
        if let Some(effect) = task.and_then(Task::effect) {
            effect.apply(&mut rows)?;
        }
        for sprite in sprites {
            sprite.draw(&mut rows)?;
        }
        Ok(lender.windows)
    }
}
