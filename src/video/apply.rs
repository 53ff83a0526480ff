// SPDX-License-Identifier: MPL-2.0
//! Pixel work, carried out on a frame where it lies.

use super::call::{Calls, Stage};
use super::function::FunctionFailure;
use super::geometry::{self, GeometryError};
use super::open::for_rows;
use super::pages::Pages;
use super::rows::PlaneRows;
use super::task::Task;
use super::threads::Threads;
use super::walk::{self, Cut, Lend, Placed, Run};
use super::window::{FrameInfo, plane_infos};
use super::{Frames, Plane};
use crate::dmabuf::{Access, ReadOnly, ReadWrite, Writable, WriteOnly, page_size};
use crate::memory::{self, How, OpenMemories, Place};
use crate::pixel::Step;
use crate::pixel::regions::Sprite;
use smallvec::SmallVec;
use std::time::{Duration, Instant};

/// Pages in a window when nothing else is asked for: where the cost of a window is lost in the
/// work on it, and the window still in the second-level cache.
pub(super) const WINDOW_PAGES: usize = 64;

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

/// Why a frame could not be worked on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its layout is impossible; nothing was touched.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Its memory could not be opened or closed.
    #[error(transparent)]
    Memory(#[from] memory::Error),
    /// A window function failed.
    #[error(transparent)]
    Function(#[from] FunctionFailure),
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

/// A step of the plan on the planes, or on parts of them, that it is for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) step: usize,
    pub(super) placed: SmallVec<[Placed; 2]>,
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

fn cut(window_pages: usize) -> Cut {
    Cut {
        page: page_size(),
        pages: if window_pages == 0 {
            WINDOW_PAGES
        } else {
            window_pages
        },
    }
}

/// The memories of those planes that are touched.
fn memories(planes: &[Plane], touches: impl Fn(usize) -> bool) -> SmallVec<[usize; 4]> {
    let planes = planes.iter().enumerate();
    planes
        .filter(|(number, _)| touches(*number))
        .map(|(_, plane)| plane.memory)
        .collect()
}

/// The planes that a step works on.
pub(super) fn planes_of(step: &Step) -> impl Iterator<Item = usize> + use<> {
    let (first, second) = match step {
        Step::Plane { plane, .. } => (*plane, None),
        Step::Pair { first, second, .. } => (*first, Some(*second)),
    };
    std::iter::once(first).chain(second)
}

/// Where the planes lie in the memories that are open; those in others are never asked for.
pub(super) fn place_all<A: Access>(
    open: &OpenMemories<'_, '_, A>,
    planes: &[Plane],
    opened: &[usize],
) -> SmallVec<[Placed; 4]> {
    let place = |plane: &Plane| {
        let place = if opened.contains(&plane.memory) {
            open.place(plane.memory)
        } else {
            Place {
                member: usize::MAX,
                offset: 0,
            }
        };
        Placed {
            member: place.member,
            start: place.offset + plane.offset,
            plane: *plane,
        }
    };
    planes.iter().map(place).collect()
}

/// Carries a step out on the planes, or the parts of them, in `placed`.
pub(super) fn walk_step<L: Lend>(
    lender: &mut L,
    step: &Step,
    placed: &[Placed],
    cut: Cut,
) -> Result<(), L::Error> {
    match (step, placed) {
        (Step::Plane { op, .. }, [plane]) => walk::plane(lender, plane, op, cut),
        (Step::Pair { op, .. }, [first, second]) => walk::pair(lender, first, second, op, cut),
        _ => unreachable!("a step has as many places as planes"),
    }
}

/// The open memories of a frame, counting what they lend.
pub(super) struct Lender<'l, 'o, 'b, A: Writable> {
    open: &'l mut OpenMemories<'o, 'b, A>,
    pages: &'l mut Pages,
    pub(super) windows: u64,
}

impl<'l, 'o, 'b, A: Writable> Lender<'l, 'o, 'b, A> {
    pub(super) fn new(open: &'l mut OpenMemories<'o, 'b, A>, pages: &'l mut Pages) -> Self {
        Self {
            open,
            pages,
            windows: 0,
        }
    }
}

impl<A: Writable> Lend for Lender<'_, '_, '_, A> {
    type Error = memory::Error;

    fn one(&mut self, run: Run, work: impl FnOnce(&mut [u8])) -> Result<(), memory::Error> {
        self.windows += 1;
        self.pages.add(&run);
        self.open.lend(run.0, run.1, |window| work(window))
    }

    fn two(
        &mut self,
        first: Run,
        second: Run,
        work: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<(), memory::Error> {
        self.windows += 2;
        self.pages.add(&first);
        self.pages.add(&second);
        self.open
            .lend_two(first, second, |first, second| work(first, second))
    }
}
