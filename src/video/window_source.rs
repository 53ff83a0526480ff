// SPDX-License-Identifier: MPL-2.0
//! Windows of the open memories of a frame, counted.

use super::geometry::Plane;
use super::page_set::PageSet;
use super::pass::{self, MappedPlane, PageRange, PassContext, PlanePass, WindowSize, WindowSource};
use crate::dmabuf::{Access, Writable, page_size};
use crate::memory::{self, Location, OpenMemories};
use crate::pixel::Step;
use smallvec::SmallVec;

/// Pages per window for `window-pages=0`: large enough that the cost of a window is negligible, and
/// small enough for the second-level cache.
pub(super) const DEFAULT_WINDOW_PAGES: usize = 64;

/// A step of the plan, and the planes or parts of planes that it processes.
#[derive(Debug)]
pub(super) struct StepItem {
    pub(super) step: usize,
    pub(super) mapped: SmallVec<[MappedPlane; 2]>,
}

/// Returns the size of windows of `window_pages` pages (0: [`DEFAULT_WINDOW_PAGES`]).
pub(super) fn window_size(window_pages: usize) -> WindowSize {
    WindowSize {
        page: page_size(),
        pages: if window_pages == 0 {
            DEFAULT_WINDOW_PAGES
        } else {
            window_pages
        },
    }
}

/// Returns the indices of the memories of the planes that are accessed.
pub(super) fn touched_memories(
    planes: &[Plane],
    is_touched: impl Fn(usize) -> bool,
) -> SmallVec<[usize; 4]> {
    let planes = planes.iter().enumerate();
    planes
        .filter(|(number, _)| is_touched(*number))
        .map(|(_, plane)| plane.memory)
        .collect()
}

/// Returns the planes that a step processes.
pub(super) fn step_planes(step: &Step) -> impl Iterator<Item = usize> + use<> {
    let (first, second) = match step {
        Step::Plane { plane, .. } => (*plane, None),
        Step::Pair { first, second, .. } => (*first, Some(*second)),
    };
    std::iter::once(first).chain(second)
}

/// Locates the planes in the open memories. Planes in other memories must not be accessed.
pub(super) fn map_planes<A: Access>(
    open: &OpenMemories<'_, '_, A>,
    planes: &[Plane],
    opened: &[usize],
) -> SmallVec<[MappedPlane; 4]> {
    let place = |plane: &Plane| {
        let place = if opened.contains(&plane.memory) {
            open.location(plane.memory)
        } else {
            Location {
                member: usize::MAX,
                offset: 0,
            }
        };
        MappedPlane {
            buffer: place.member,
            start: place.offset + plane.offset,
            plane: *plane,
        }
    };
    planes.iter().map(place).collect()
}

/// Runs a step on the planes, or parts of planes, in `mapped`.
pub(super) fn run_step<S: WindowSource>(
    source: &mut S,
    step: &Step,
    mapped: &[MappedPlane],
    window_size: WindowSize,
) -> Result<(), S::Error> {
    match (step, mapped) {
        (Step::Plane { op, .. }, [plane]) => pass::plane(source, plane, op, window_size),
        (Step::Pair { op, .. }, [first, second]) => {
            pass::pair(source, first, second, op, window_size)
        }
        _ => unreachable!("a step has one mapped plane per plane"),
    }
}

/// The open memories of a frame, with counters of borrowed windows and pages.
pub(super) struct CountedWindows<'l, 'o, 'b, A: Writable> {
    open: &'l mut OpenMemories<'o, 'b, A>,
    pages: &'l mut PageSet,
    /// Whether all pages of a window are counted.
    counts_all: bool,
    pub(super) windows: u64,
}

impl<'l, 'o, 'b, A: Writable> CountedWindows<'l, 'o, 'b, A> {
    pub(super) fn new(open: &'l mut OpenMemories<'o, 'b, A>, pages: &'l mut PageSet) -> Self {
        Self {
            open,
            pages,
            counts_all: true,
            windows: 0,
        }
    }

    /// Runs a pass and counts only the pages that it needs: windows may include others.
    pub(super) fn run_pass(
        &mut self,
        pass: PlanePass<'_>,
        context: &mut PassContext<'_>,
    ) -> Result<(), memory::Error> {
        self.counts_all = false;
        let done = pass.run(self, context);
        self.counts_all = true;
        self.pages.add_all(context.needed_pages);
        done
    }

    fn count(&mut self, page_range: &PageRange) {
        self.windows += 1;
        if self.counts_all {
            self.pages.add(page_range);
        }
    }
}

impl<A: Writable> WindowSource for CountedWindows<'_, '_, '_, A> {
    type Error = memory::Error;

    fn with_window(
        &mut self,
        page_range: PageRange,
        work: impl FnOnce(&mut [u8]),
    ) -> Result<(), memory::Error> {
        self.count(&page_range);
        self.open
            .lend(page_range.0, page_range.1, |window| work(window))
    }

    fn with_windows(
        &mut self,
        first: PageRange,
        second: PageRange,
        work: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<(), memory::Error> {
        self.count(&first);
        self.count(&second);
        self.open
            .lend_two(first, second, |first, second| work(first, second))
    }
}
