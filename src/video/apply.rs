// SPDX-License-Identifier: MPL-2.0
//! Pixel work, carried out on a frame where it lies.

use super::geometry::{self, GeometryError};
use super::pages::Pages;
use super::rows::PlaneRows;
use super::task::Task;
use super::threads::Threads;
use super::walk::{self, Cut, Lend, Placed, Run};
use super::{Frames, Plane};
use crate::dmabuf::{Access, ReadWrite, Writable, WriteOnly, page_size};
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
    /// as go well), and draws `sprites` on it.
    ///
    /// # Errors
    /// [`Error`]. Unless mapping or bracket are for each window, the frame is then either
    /// untouched or, when END failed, done.
    pub fn apply(
        &mut self,
        buffer: &mut gst::BufferRef,
        frames: &Frames,
        task: &mut Task,
        sprites: &[&Sprite],
        how: &How,
        window_pages: usize,
    ) -> Result<Work, Error> {
        let shapes = geometry::shapes(&frames.info, frames.format.planes())?;
        let planes = geometry::planes(buffer, &frames.info, &shapes)?;
        let mut wanted: SmallVec<[usize; 4]> = SmallVec::new();
        for (number, plane) in planes.iter().enumerate() {
            if task.touches(number) || sprites.iter().any(|sprite| sprite.touches(number)) {
                wanted.push(plane.memory);
            }
        }
        let cut = Cut {
            page: page_size(),
            pages: if window_pages == 0 {
                WINDOW_PAGES
            } else {
                window_pages
            },
        };
        self.pages.clear();
        if sprites.is_empty() && task.overwrites(buffer, &planes, cut.page) {
            return memory::with_memories::<WriteOnly, _, _>(buffer, &wanted, how, |open| {
                let begin = Instant::now();
                let placed = place_all(open, &planes, &wanted);
                let lender = self.effects(open, &placed, task, sprites, cut)?;
                Ok(self.done(lender, begin))
            });
        }
        memory::with_memories::<ReadWrite, _, _>(buffer, &wanted, how, |open| {
            let begin = Instant::now();
            let placed = place_all(open, &planes, &wanted);
            let windows = self.adjust(open, &placed, task, cut)?
                + self.effects(open, &placed, task, sprites, cut)?;
            Ok(self.done(windows, begin))
        })
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
        task: &mut Task,
        sprites: &[&Sprite],
        cut: Cut,
    ) -> Result<u64, memory::Error> {
        let mut lender = Lender::new(open, &mut self.pages);
        let mut rows = PlaneRows {
            lender: &mut lender,
            planes,
            cut,
        };
        if let Some(effect) = task.effect() {
            effect.apply(&mut rows)?;
        }
        for sprite in sprites {
            sprite.draw(&mut rows)?;
        }
        Ok(lender.windows)
    }
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
fn place_all<A: Access>(
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
