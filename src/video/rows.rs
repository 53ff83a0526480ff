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
    /// Lends the windows in which some units of a row lie to `work`, one by one, with the place
    /// of their bytes in the piece.
    fn each(
        &mut self,
        plane: usize,
        row: usize,
        units: Range<usize>,
        mut work: impl FnMut(&mut [u8], Range<usize>),
    ) -> Result<(), L::Error> {
        let placed = &self.planes[plane];
        let unit = placed.plane.unit;
        let begin = placed.row(row) + units.start * unit;
        // A partial unit at the end of the frame's row ends with its last byte of picture.
        let end = placed.row(row) + (units.end * unit).min(placed.plane.row_bytes());
        let page = self.cut.page;
        let mut at = begin;
        while at < end {
            let first = at / page;
            let last = (first.saturating_add(self.cut.pages)).min(end.div_ceil(page));
            let stop = end.min(last.saturating_mul(page));
            self.lender.one((placed.member, first..last), |window| {
                let here = at - first * page..stop - first * page;
                work(&mut window[here], at - begin..stop - begin);
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
}
