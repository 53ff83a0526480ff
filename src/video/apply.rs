// SPDX-License-Identifier: MPL-2.0
//! A plan of pixel work, carried out on a frame where it lies.

use super::geometry::{self, GeometryError};
use super::threads::Threads;
use super::walk::{self, Cut, Lend, Placed, Run};
use super::{Frames, Plane};
use crate::dmabuf::{ReadWrite, page_size};
use crate::memory::{self, How, OpenMemories};
use crate::pixel::{FramePlan, Step};
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
    /// Pages that the pixel code went over; a page in two planes counts twice.
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

/// How the work on a frame is cut up.
#[derive(Debug, Default)]
pub struct Tuning<'t> {
    /// Pages in a window (0: as many as go well).
    pub window_pages: usize,
    /// Threads to share the work with.
    pub threads: Option<&'t mut Threads>,
}

/// Carries a plan out on a frame, in place.
///
/// # Errors
/// [`Error`]. Unless mapping or bracket are for each window, the frame is then either untouched
/// or, when END failed, done.
pub fn apply(
    buffer: &mut gst::BufferRef,
    frames: &Frames,
    plan: &FramePlan,
    how: &How,
    tuning: Tuning<'_>,
) -> Result<Work, Error> {
    let shapes = geometry::shapes(&frames.info, frames.format.planes())?;
    let planes = geometry::planes(buffer, &frames.info, &shapes)?;
    let mut wanted: SmallVec<[usize; 4]> = SmallVec::new();
    for step in plan.steps() {
        wanted.extend(planes_of(step).map(|plane| planes[plane].memory));
    }
    memory::with_memories(
        buffer,
        &wanted,
        how,
        |open: &mut OpenMemories<'_, '_, ReadWrite>| {
            let begin = Instant::now();
            let cut = Cut {
                page: page_size(),
                pages: if tuning.window_pages == 0 {
                    WINDOW_PAGES
                } else {
                    tuning.window_pages
                },
            };
            let steps: SmallVec<[walk::Step; 4]> = plan
                .steps()
                .iter()
                .map(|step| {
                    planes_of(step)
                        .map(|plane| place(open, planes[plane]))
                        .collect()
                })
                .collect();
            let pages = steps
                .iter()
                .flatten()
                .map(|placed| placed.touched(cut.page))
                .sum();
            let shared = match tuning.threads {
                Some(threads) => threads.share(open, plan, &steps, cut)?,
                None => None,
            };
            let windows = match shared {
                Some(windows) => windows,
                None => {
                    let mut lender = Lender { open, windows: 0 };
                    for (step, placed) in plan.steps().iter().zip(&steps) {
                        walk_step(&mut lender, step, placed, cut)?;
                    }
                    lender.windows
                }
            };
            Ok(Work {
                windows,
                pages,
                time: begin.elapsed(),
            })
        },
    )
}

/// The planes that a step works on.
fn planes_of(step: &Step) -> impl Iterator<Item = usize> {
    let (first, second) = match step {
        Step::Plane { plane, .. } => (*plane, None),
        Step::Pair { first, second, .. } => (*first, Some(*second)),
    };
    std::iter::once(first).chain(second)
}

fn place(open: &OpenMemories<'_, '_, ReadWrite>, plane: Plane) -> Placed {
    let place = open.place(plane.memory);
    Placed {
        member: place.member,
        start: place.offset + plane.offset,
        plane,
    }
}

/// Carries a step out on the planes, or the rows of them, in `placed`.
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
pub(super) struct Lender<'l, 'o, 'b> {
    pub(super) open: &'l mut OpenMemories<'o, 'b, ReadWrite>,
    pub(super) windows: u64,
}

impl Lend for Lender<'_, '_, '_> {
    type Error = memory::Error;

    fn one(&mut self, run: Run, work: impl FnOnce(&mut [u8])) -> Result<(), memory::Error> {
        self.windows += 1;
        self.open.lend(run.0, run.1, |window| work(window))
    }

    fn two(
        &mut self,
        first: Run,
        second: Run,
        work: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<(), memory::Error> {
        self.windows += 2;
        self.open
            .lend_two(first, second, |first, second| work(first, second))
    }
}
