// SPDX-License-Identifier: MPL-2.0
//! From the planes of a frame to windows of its open memories, counted.

use super::Plane;
use super::page_set::Pages;
use super::pass::{self, Cut, Kit, Lane, Lend, Placed, Run};
use crate::dmabuf::{Access, Writable, page_size};
use crate::memory::{self, Location, OpenMemories};
use crate::pixel::Step;
use smallvec::SmallVec;

/// Pages in a window when nothing else is asked for: where the cost of a window is lost in the
/// work on it, and the window still in the second-level cache.
pub(super) const WINDOW_PAGES: usize = 64;

/// A step of the plan on the planes, or on parts of them, that it is for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) step: usize,
    pub(super) placed: SmallVec<[Placed; 2]>,
}

/// The sizes of windows of so many pages (0: as many as go well).
pub(super) fn cut(window_pages: usize) -> Cut {
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
pub(super) fn memories(planes: &[Plane], touches: impl Fn(usize) -> bool) -> SmallVec<[usize; 4]> {
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
            open.location(plane.memory)
        } else {
            Location {
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
        (Step::Plane { op, .. }, [plane]) => pass::plane(lender, plane, op, cut),
        (Step::Pair { op, .. }, [first, second]) => pass::pair(lender, first, second, op, cut),
        _ => unreachable!("a step has as many places as planes"),
    }
}

/// The open memories of a frame, counting what they lend.
pub(super) struct Lender<'l, 'o, 'b, A: Writable> {
    open: &'l mut OpenMemories<'o, 'b, A>,
    pages: &'l mut Pages,
    /// Whether all pages of a window count.
    counts_all: bool,
    pub(super) windows: u64,
}

impl<'l, 'o, 'b, A: Writable> Lender<'l, 'o, 'b, A> {
    pub(super) fn new(open: &'l mut OpenMemories<'o, 'b, A>, pages: &'l mut Pages) -> Self {
        Self {
            open,
            pages,
            counts_all: true,
            windows: 0,
        }
    }

    /// Walks a lane, whose windows may have pages in them that nothing falls on.
    pub(super) fn walk(&mut self, lane: Lane<'_>, kit: &mut Kit<'_>) -> Result<(), memory::Error> {
        self.counts_all = false;
        let walked = lane.walk(self, kit);
        self.counts_all = true;
        self.pages.add_all(kit.wanted);
        walked
    }

    fn count(&mut self, run: &Run) {
        self.windows += 1;
        if self.counts_all {
            self.pages.add(run);
        }
    }
}

impl<A: Writable> Lend for Lender<'_, '_, '_, A> {
    type Error = memory::Error;

    fn one(&mut self, run: Run, work: impl FnOnce(&mut [u8])) -> Result<(), memory::Error> {
        self.count(&run);
        self.open.lend(run.0, run.1, |window| work(window))
    }

    fn two(
        &mut self,
        first: Run,
        second: Run,
        work: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<(), memory::Error> {
        self.count(&first);
        self.count(&second);
        self.open
            .lend_two(first, second, |first, second| work(first, second))
    }
}
