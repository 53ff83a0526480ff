// SPDX-License-Identifier: MPL-2.0
//! Pieces of rows, read and written through windows: what effects on parts of a frame work with.

use super::walk::{Cut, Lend, Placed};
use crate::pixel::regions::Rows;
use std::ops::Range;

/// The planes of a frame and who lends their pages.
pub(super) struct PlaneRows<'r, L> {
    pub(super) lender: &'r mut L,
    pub(super) planes: &'r [Placed],
    pub(super) cut: Cut,
}

impl<L: Lend> PlaneRows<'_, L> {
    /// Where some units of a row lie, in bytes of their member. A partial unit at the end of the
    /// frame's row ends with its last byte of picture.
    fn place(&self, plane: usize, row: usize, units: &Range<usize>) -> Range<usize> {
        let placed = &self.planes[plane];
        let (row, unit) = (placed.row(row), placed.plane.unit);
        row + units.start * unit..row + (units.end * unit).min(placed.plane.row_bytes())
    }

    /// The pages of the window that begins with byte `at` of bytes that end at `end`. Called
    /// for each row: pages are powers of two, and dividing by what is not known to be one takes
    /// as long as the rest.
    fn window(&self, at: usize, end: usize) -> Range<usize> {
        let shift = self.cut.page.trailing_zeros();
        let first = at >> shift;
        first
            ..first
                .saturating_add(self.cut.pages)
                .min(((end - 1) >> shift) + 1)
    }

    /// Lends the windows in which some units of a row lie to `work`, one by one, with the place
    /// of their bytes in the piece.
    fn each(
        &mut self,
        plane: usize,
        row: usize,
        units: Range<usize>,
        mut work: impl FnMut(&mut [u8], Range<usize>),
    ) -> Result<(), L::Error> {
        let member = self.planes[plane].member;
        let Range { start: begin, end } = self.place(plane, row, &units);
        let page = self.cut.page;
        let mut at = begin;
        while at < end {
            let pages = self.window(at, end);
            let start = pages.start * page;
            let stop = end.min(pages.end * page);
            self.lender.one((member, pages), |window| {
                work(
                    &mut window[at - start..stop - start],
                    at - begin..stop - begin,
                );
            })?;
            at = stop;
        }
        Ok(())
    }
}

impl<L: Lend> Rows for PlaneRows<'_, L> {
    type Error = L::Error;

    fn read(
        &mut self,
        plane: usize,
        row: usize,
        units: Range<usize>,
        into: &mut [u8],
    ) -> Result<(), L::Error> {
        self.each(plane, row, units, |window, place| {
            into[place].copy_from_slice(window);
        })
    }

    fn write(
        &mut self,
        plane: usize,
        row: usize,
        units: Range<usize>,
        from: &[u8],
    ) -> Result<(), L::Error> {
        let placed = self.planes[plane];
        let picture = placed
            .plane
            .row_bytes()
            .saturating_sub(units.start * placed.plane.unit);
        // Inside the partial unit, padding may lie before the last byte of picture.
        let hole = placed.plane.partial.map(|mask| {
            let first = placed
                .plane
                .whole
                .saturating_sub(units.start * placed.plane.unit);
            (first, mask)
        });
        self.each(plane, row, units, |window, place| {
            let from = &from[place.clone()];
            let Some((first, mask)) = hole.filter(|(first, _)| place.end > *first) else {
                window.copy_from_slice(from);
                return;
            };
            for ((at, to), from) in place.zip(window).zip(from) {
                let is_padding = at >= first && at < picture && mask[at - first] == 0;
                if !is_padding {
                    *to = *from;
                }
            }
        })
    }
    fn update(
        &mut self,
        plane: usize,
        row: usize,
        units: Range<usize>,
        scratch: &mut [u8],
        work: impl FnOnce(&mut [u8]),
    ) -> Result<(), L::Error> {
        let placed = &self.planes[plane];
        let member = placed.member;
        let bytes = self.place(plane, row, &units);
        // Padding of a partial unit is not to be written.
        let is_whole = units.end * placed.plane.unit <= placed.plane.whole;
        if is_whole && !bytes.is_empty() {
            let pages = self.window(bytes.start, bytes.end);
            let start = pages.start * self.cut.page;
            if bytes.end <= pages.end * self.cut.page {
                return self.lender.one((member, pages), |window| {
                    work(&mut window[bytes.start - start..bytes.end - start]);
                });
            }
        }
        self.read(plane, row, units.clone(), scratch)?;
        work(scratch);
        self.write(plane, row, units, scratch)
    }
}
