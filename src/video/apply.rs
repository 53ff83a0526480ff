// SPDX-License-Identifier: MPL-2.0
//! A plan of pixel work, carried out on a frame where it lies.

use super::geometry::{self, GeometryError};
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

/// Carries a plan out on a frame, in place, in windows of `window_pages` pages (0: as many as
/// go well).
///
/// # Errors
/// [`Error`]. Unless mapping or bracket are for each window, the frame is then either untouched
/// or, when END failed, done.
pub fn apply(
    buffer: &mut gst::BufferRef,
    frames: &Frames,
    plan: &FramePlan,
    how: &How,
    window_pages: usize,
) -> Result<Work, Error> {
    let shapes = geometry::shapes(&frames.info, frames.format.planes())?;
    let planes = geometry::planes(buffer, &frames.info, &shapes)?;
    let mut wanted: SmallVec<[usize; 4]> = SmallVec::new();
    for step in plan.steps() {
        match step {
            Step::Plane { plane, .. } => wanted.push(planes[*plane].memory),
            Step::Pair { first, second, .. } => {
                wanted.extend([planes[*first].memory, planes[*second].memory]);
            }
        }
    }
    memory::with_memories(
        buffer,
        &wanted,
        how,
        |open: &mut OpenMemories<'_, '_, ReadWrite>| {
            let begin = Instant::now();
            let cut = Cut {
                page: page_size(),
                pages: if window_pages == 0 {
                    WINDOW_PAGES
                } else {
                    window_pages
                },
            };
            let mut lender = Lender { open, windows: 0 };
            let mut pages = 0;
            for step in plan.steps() {
                pages += match step {
                    Step::Plane { plane, op } => {
                        let placed = lender.place(planes[*plane]);
                        walk::plane(&mut lender, &placed, op, cut)?
                    }
                    Step::Pair { first, second, op } => {
                        let (first, second) =
                            (lender.place(planes[*first]), lender.place(planes[*second]));
                        walk::pair(&mut lender, &first, &second, op, cut)?
                    }
                };
            }
            Ok(Work {
                windows: lender.windows,
                pages,
                time: begin.elapsed(),
            })
        },
    )
}

/// The open memories of a frame, counting what they lend.
struct Lender<'l, 'o, 'b> {
    open: &'l mut OpenMemories<'o, 'b, ReadWrite>,
    windows: u64,
}

impl Lender<'_, '_, '_> {
    fn place(&self, plane: Plane) -> Placed {
        let place = self.open.place(plane.memory);
        Placed {
            member: place.member,
            start: place.offset + plane.offset,
            plane,
        }
    }
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
