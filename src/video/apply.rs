// SPDX-License-Identifier: MPL-2.0
//! Pixel work, carried out on a frame where it lies.

use super::call::{Calls, Stage};
use super::error::Error;
use super::geometry::{self, GeometryError, Picture};
use super::lend::{Job, Lender, cut, memories, place_all, planes_of, walk_step};
use super::open::for_rows;
use super::pages::Pages;
use super::task::Task;
use super::threads::Threads;
use super::together::{MOST_PLANES, Together, all_together};
use super::walk::{Cut, Kit, Placed};
use super::window::{FrameInfo, plane_infos};
use super::{Frames, Plane};
use crate::dmabuf::{ReadOnly, ReadWrite, Writable, WriteOnly};
use crate::memory::{self, How, OpenMemories};
use crate::pixel::regions::{OverlayRect, PlaneEffect};
use crate::pixel::{Piece, Step};
use smallvec::SmallVec;
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
    pub sprites: &'m [&'m OverlayRect],
    /// Users' functions, before that.
    pub calls: Option<&'m mut Calls<'f>>,
}

/// What works on frames, one at a time, and keeps what it needs for that.
#[derive(Debug, Default)]
pub struct Worker {
    pub(super) threads: Option<Threads>,
    pub(super) jobs: Vec<Job>,
    pub(super) pages: Pages,
    wanted: Pages,
    scratch: Vec<u8>,
}

/// What goes over a frame together.
struct Pass<'p> {
    planes: &'p [Placed],
    task: Option<&'p mut Task>,
    /// Whether the frame is adjusted already.
    is_adjusted: bool,
    sprites: &'p [&'p OverlayRect],
    cut: Cut,
    /// Whether windows may be longer than that.
    grows: bool,
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
        let picture = Picture::of(buffer, &frames.info)?;
        if picture.canvas() != task.canvas() {
            return Err(GeometryError::Picture.into());
        }
        let planes = planes(buffer, frames, &picture)?;
        let touches =
            |plane| task.touches(plane) || sprites.iter().any(|sprite| sprite.touches(plane));
        let (cut, grows) = (cut(window_pages), window_pages == 0);
        self.pages.clear();
        let Some(calls) = calls else {
            let wanted = memories(&planes, touches);
            if sprites.is_empty() && task.overwrites(buffer, &planes, cut.page) {
                return memory::with_memories::<WriteOnly, _, _>(buffer, &wanted, how, |open| {
                    let begin = Instant::now();
                    let placed = place_all(open, &planes, &wanted);
                    let pass = Pass {
                        planes: &placed,
                        task: Some(task),
                        is_adjusted: false,
                        sprites,
                        cut,
                        grows,
                    };
                    let windows = self.pass(open, pass)?;
                    Ok(self.done(windows, begin))
                });
            }
            return memory::with_memories::<ReadWrite, _, _>(buffer, &wanted, how, |open| {
                let begin = Instant::now();
                let placed = place_all(open, &planes, &wanted);
                let windows = self.shared_pass(open, &placed, task, sprites, (cut, grows))?;
                Ok(self.done(windows, begin))
            });
        };
        let is_alone = !(0..planes.len()).any(touches);
        let trimmed = picture.trimmed(&frames.info, &planes);
        self.call(
            buffer,
            frames,
            (&picture, &trimmed[..]),
            calls,
            how,
            |worker, buffer, frame, calls, how| {
                let wanted = memories(&planes, |plane| {
                    calls.touch(plane)
                        || task.touches(plane)
                        || sprites.iter().any(|sprite| sprite.touches(plane))
                });
                if is_alone && calls.overwrite(buffer, &trimmed, cut.page) {
                    return memory::with_memories::<WriteOnly, _, _>(
                        buffer,
                        &wanted,
                        how,
                        |open| {
                            let begin = Instant::now();
                            let placed = place_all(open, &trimmed, &wanted);
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
                    let mut windows = worker.shared_pass(open, &placed, task, &[], (cut, grows))?;
                    let limit = how.options.fence_timeout;
                    let lent = place_all(open, &trimmed, &wanted);
                    windows += calls.run(open, &mut worker.stage(frame, &lent, cut), limit)?;
                    let after = Pass {
                        planes: &placed,
                        task: None,
                        is_adjusted: true,
                        sprites,
                        cut,
                        grows,
                    };
                    windows += worker.pass(open, after)?;
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
        let picture = Picture::of(buffer, &frames.info)?;
        let planes = planes(buffer, frames, &picture)?;
        let planes = picture.trimmed(&frames.info, &planes);
        let cut = cut(window_pages);
        self.pages.clear();
        self.call(
            buffer,
            frames,
            (&picture, &planes[..]),
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
        (picture, planes): (&Picture, &[Plane]),
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
        let infos = plane_infos(&frames.info, &picture.canvas(), planes);
        let info = Picture::info(&frames.info, picture.canvas().size)?;
        let frame = FrameInfo {
            info: &info,
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

    /// Has threads share the adjustments, if that can be and is worth it; returns the number of
    /// windows then.
    fn share(
        &mut self,
        open: &mut OpenMemories<'_, '_, ReadWrite>,
        planes: &[Placed],
        task: &Task,
        cut: Cut,
    ) -> Result<Option<u64>, memory::Error> {
        let Some(threads) = &mut self.threads else {
            return Ok(None);
        };
        let steps = task.plan().steps();
        self.jobs.clear();
        for (number, step) in steps.iter().enumerate() {
            add_jobs(&mut self.jobs, number, step, planes, task.pieces());
        }
        let shared = threads.share(open, steps, &self.jobs, &mut self.pages, cut)?;
        if shared.is_some() {
            for placed in self.jobs.iter().flat_map(|job| &job.placed) {
                for pages in placed.windows(cut) {
                    self.pages.add(&(placed.member, pages));
                }
            }
        }
        Ok(shared)
    }

    /// All that falls on the frame, by threads if that can be; returns the number of windows.
    fn shared_pass(
        &mut self,
        open: &mut OpenMemories<'_, '_, ReadWrite>,
        planes: &[Placed],
        task: &mut Task,
        sprites: &[&OverlayRect],
        (cut, grows): (Cut, bool),
    ) -> Result<u64, memory::Error> {
        // What falls on adjusted planes goes over them in the same walk.
        let mut adjusted = task.plan().steps().iter().flat_map(planes_of);
        let meets = adjusted.any(|plane| {
            task.has_effect(plane) || sprites.iter().any(|sprite| sprite.touches(plane))
        });
        let shared = match meets {
            true => None,
            false => self.share(open, planes, task, cut)?,
        };
        let pass = Pass {
            planes,
            task: Some(task),
            is_adjusted: shared.is_some(),
            sprites,
            cut,
            grows,
        };
        let reach = pass.task.as_ref().map_or(0, |task| task.reach());
        let windows = self.pass_by(open, pass, |threads, open, all, pages, kit| {
            if !meets {
                return Ok(None);
            }
            all.iter_mut()
                .for_each(|together| together.prepare(kit.cut, reach));
            threads.share_together(open, all, pages, kit)
        })?;
        Ok(shared.unwrap_or(0) + windows)
    }

    /// One walk over each plane for all that falls on it; returns the number of windows.
    fn pass<A: Writable>(
        &mut self,
        open: &mut OpenMemories<'_, '_, A>,
        pass: Pass<'_>,
    ) -> Result<u64, memory::Error> {
        self.pass_by(open, pass, |_, _, _, _, _| Ok(None))
    }

    /// The same, by threads if `share` says that they did it.
    fn pass_by<A: Writable>(
        &mut self,
        open: &mut OpenMemories<'_, '_, A>,
        pass: Pass<'_>,
        share: impl FnOnce(
            &mut Threads,
            &mut OpenMemories<'_, '_, A>,
            &mut [Together<'_>],
            &mut Pages,
            &mut Kit<'_>,
        ) -> Result<Option<u64>, memory::Error>,
    ) -> Result<u64, memory::Error> {
        let Pass {
            planes,
            task,
            is_adjusted,
            sprites,
            cut,
            grows,
        } = pass;
        let mut effects: [Option<&mut dyn PlaneEffect>; MOST_PLANES] = Default::default();
        let (mut steps, mut pieces) = (&[][..], None);
        if let Some(task) = task {
            let parts = task.parts();
            pieces = parts.pieces;
            if !is_adjusted {
                steps = parts.plan.steps();
            }
            if let Some(effect) = parts.effect {
                effect.steps(&mut effects);
            }
        }
        let mut all = all_together(steps, planes, pieces, &mut effects, sprites);
        let mut kit = Kit {
            cut,
            grows,
            wanted: &mut self.wanted,
            scratch: &mut self.scratch,
        };
        if let Some(threads) = &mut self.threads
            && let Some(windows) = share(threads, open, &mut all, &mut self.pages, &mut kit)?
        {
            return Ok(windows);
        }
        let mut lender = Lender::new(open, &mut self.pages);
        for together in &all {
            match together.only_step() {
                Some(step) => walk_step(&mut lender, step, together.planes(), cut)?,
                None => lender.walk(together.whole_lane(), &mut kit)?,
            }
        }
        Ok(lender.windows)
    }
}

/// The planes that hold the samples of a picture, for the pixel code.
fn planes(
    buffer: &gst::BufferRef,
    frames: &Frames,
    picture: &Picture,
) -> Result<SmallVec<[Plane; 4]>, GeometryError> {
    let shapes = geometry::shapes(&frames.info, picture, frames.format.planes())?;
    geometry::planes(buffer, &frames.info, &shapes)
}

/// What a step does, as jobs.
fn add_jobs(
    jobs: &mut Vec<Job>,
    number: usize,
    step: &Step,
    planes: &[Placed],
    pieces: Option<&[Vec<Piece>]>,
) {
    let mut add = |place: &dyn Fn(&Placed) -> Placed| {
        let placed = planes_of(step).map(|plane| place(&planes[plane]));
        jobs.push(Job {
            step: number,
            placed: placed.collect(),
        });
    };
    let Some(pieces) = pieces else {
        return add(&|placed| *placed);
    };
    for plane in planes_of(step).take(1) {
        for piece in &pieces[plane] {
            add(&|placed| placed.piece(piece));
        }
    }
}
