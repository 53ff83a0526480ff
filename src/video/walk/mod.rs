// SPDX-License-Identifier: MPL-2.0
//! Planes, window by window: which pages to borrow, and which row pieces lie in them.
//!
//! Plain arithmetic on checked planes; memory comes from whoever lends it. A window ends where
//! a page ends, not where a row or a pixel does: what lies across the border of two windows is
//! worked on with both in hand, which is what the second window is for.

mod bands;
mod deal;
mod front;
mod layers;
mod pair;
#[cfg(test)]
mod tests;

pub(super) use bands::{Bands, MOST_BANDS, add_band};
pub(super) use deal::{Deal, Lot, Share};
pub(super) use layers::{Adjusting, Kit, Lane, Layers, within};
pub(super) use pair::pair;
#[cfg(test)]
pub(super) use tests::lend_two;

use super::Plane;
use crate::pixel::{Piece, PlaneOp};
use std::ops::Range;

/// Runs of pages of a member of a frame's memory.
pub(super) type Run = (usize, Range<usize>);

/// Lends windows.
pub(super) trait Lend {
    /// Why a window was not lent.
    type Error;

    /// Lends one run of pages to `work`.
    fn one(&mut self, run: Run, work: impl FnOnce(&mut [u8])) -> Result<(), Self::Error>;

    /// Lends two runs that have no page in common.
    fn two(
        &mut self,
        first: Run,
        second: Run,
        work: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<(), Self::Error>;
}

/// The sizes that windows are cut to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Bytes in a page.
    pub(super) page: usize,
    /// Pages in a window, at least one.
    pub(super) pages: usize,
}

/// A plane, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// Index of the member of the frame's memory.
    pub(super) member: usize,
    /// Its row 0 begins at this byte of the member.
    pub(super) start: usize,
    pub(super) plane: Plane,
}

/// The longest unit that a format has, in bytes.
const LONGEST_UNIT: usize = 16;

impl Placed {
    fn end(&self) -> usize {
        self.start + self.plane.extent()
    }

    pub(super) fn row(&self, row: usize) -> usize {
        self.start + row * self.plane.stride
    }

    /// The same bytes as one row, where nothing lies between the rows.
    fn flattened(mut self) -> Self {
        let plane = &mut self.plane;
        if plane.partial.is_none() && plane.stride == plane.whole {
            plane.whole *= plane.rows;
            plane.stride = plane.whole;
            plane.rows = plane.rows.min(1);
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.plane.extent() == 0
    }

    /// Rows that have a byte in `bytes`, and perhaps some that have not.
    pub(super) fn rows_in(&self, bytes: &Range<usize>) -> Range<usize> {
        let first = bytes.start.saturating_sub(self.start) / self.plane.stride.max(1);
        let last = bytes.end.saturating_sub(self.start) / self.plane.stride.max(1);
        first..(last + 1).min(self.plane.rows)
    }

    /// The pieces of rows in `bytes` (a window) that hold whole `unit`s, as ranges in the window.
    fn whole_pieces(&self, bytes: Range<usize>, unit: usize) -> impl Iterator<Item = Range<usize>> {
        let this = *self;
        this.rows_in(&bytes).filter_map(move |row| {
            let row = this.row(row);
            let from = bytes.start.saturating_sub(row).next_multiple_of(unit);
            let to = this.plane.whole.min(bytes.end.saturating_sub(row)) / unit * unit;
            (from < to).then(|| row + from - bytes.start..row + to - bytes.start)
        })
    }

    /// Where partial units lie in `bytes` (a window) with all their bytes of picture.
    fn partial_units(&self, bytes: Range<usize>) -> impl Iterator<Item = usize> {
        let this = *self;
        let rows = match this.plane.partial {
            Some(_) => this.rows_in(&bytes),
            None => 0..0,
        };
        rows.filter_map(move |row| {
            let first = this.row(row) + this.plane.whole;
            let last = this.row(row) + this.plane.row_bytes();
            (first >= bytes.start && last <= bytes.end).then(|| first - bytes.start)
        })
    }

    /// The unit that has bytes on both sides of `border`: its first byte and its mask.
    fn across(&self, border: usize, unit: usize) -> Option<(usize, Unit)> {
        let row = border.checked_sub(self.start)? / self.plane.stride.max(1);
        if row >= self.plane.rows {
            return None;
        }
        let within = border - self.row(row);
        if within < self.plane.whole {
            let cut = within % unit;
            return (cut != 0).then(|| (border - cut, Unit::whole(unit)));
        }
        let mask = self.plane.partial?;
        let inside = within > self.plane.whole && within < self.plane.row_bytes();
        inside.then(|| (self.row(row) + self.plane.whole, Unit::masked(mask)))
    }

    /// The window that byte `at` lies in.
    fn window_at(&self, at: usize, cut: Cut) -> Range<usize> {
        let first = self.start / cut.page;
        let skipped = (at / cut.page - first) / cut.pages * cut.pages;
        let start = first + skipped;
        start..(start + cut.pages).min(self.end().div_ceil(cut.page))
    }

    /// Some of its rows, as a plane of their own.
    pub(super) fn some_rows(&self, rows: Range<usize>) -> Self {
        let mut some = *self;
        some.start = self.row(rows.start);
        some.plane.rows = rows.len();
        some
    }

    /// Some units of some of its rows, as a plane of their own.
    pub(super) fn piece(&self, piece: &Piece) -> Self {
        let mut part = self.some_rows(piece.rows.clone());
        let unit = self.plane.unit;
        part.start += piece.blocks.start * unit;
        part.plane.whole = piece.blocks.len() * unit;
        part.plane.partial = piece.tail_mask;
        part
    }

    /// All of it as a piece.
    pub(super) fn whole(&self) -> Piece {
        Piece {
            rows: 0..self.plane.rows,
            blocks: 0..self.plane.whole / self.plane.unit.max(1),
            tail_mask: self.plane.partial,
        }
    }

    /// The pages from its first byte to its last.
    pub(super) fn pages(&self, page: usize) -> Range<usize> {
        self.start / page..self.end().div_ceil(page)
    }

    /// The windows that cover the rows, in pages; pages that lie between rows are in none.
    pub(super) fn windows(&self, cut: Cut) -> impl Iterator<Item = Range<usize>> + use<> {
        let this = *self;
        let all = this.pages(cut.page);
        let has_gaps = this.plane.stride >= this.plane.row_bytes() + cut.page;
        let mut next = all.start;
        let mut row = 0;
        std::iter::from_fn(move || {
            if !has_gaps {
                let first = next;
                next = first.saturating_add(cut.pages).min(all.end);
                return (first < next).then_some(first..next);
            }
            let pages_of = |row| this.some_rows(row..row + 1).pages(cut.page);
            while row < this.plane.rows && pages_of(row).end <= next {
                row += 1;
            }
            if row >= this.plane.rows {
                return None;
            }
            let first = pages_of(row).start.max(next);
            let mut end = pages_of(row).end;
            while end - first < cut.pages
                && row + 1 < this.plane.rows
                && pages_of(row + 1).start <= end
            {
                row += 1;
                end = pages_of(row).end;
            }
            next = end.min(first.saturating_add(cut.pages));
            Some(first..next)
        })
    }
}

/// A unit that is worked on outside of its window.
struct Unit {
    bytes: [u8; LONGEST_UNIT],
    length: usize,
    mask: Option<&'static [u8]>,
}

impl Unit {
    fn whole(length: usize) -> Self {
        Self {
            bytes: [0; LONGEST_UNIT],
            length,
            mask: None,
        }
    }

    fn masked(mask: &'static [u8]) -> Self {
        Self {
            mask: Some(mask),
            ..Self::whole(mask.len())
        }
    }

    fn has(&self, byte: usize) -> bool {
        self.mask.is_none_or(|mask| mask[byte] != 0)
    }

    /// Copies in what of the unit lies in `window`, where the unit's byte `first` is at
    /// `window[at]`.
    fn gather(&mut self, window: &[u8], at: usize, first: usize) {
        for byte in first..self.length {
            let Some(value) = window.get(at + byte - first) else {
                return;
            };
            if self.has(byte) {
                self.bytes[byte] = *value;
            }
        }
    }

    /// Undoes [`gather`](Self::gather).
    fn scatter(&self, window: &mut [u8], at: usize, first: usize) {
        for byte in first..self.length {
            let Some(value) = window.get_mut(at + byte - first) else {
                return;
            };
            if self.has(byte) {
                *value = self.bytes[byte];
            }
        }
    }

    fn apply(&mut self, op: &PlaneOp) {
        op.apply(
            &mut self.bytes[..self.length],
            std::iter::once(0..self.length),
        );
    }
}

/// Runs `op` over a plane.
///
/// # Errors
/// The lender's.
pub(super) fn plane<L: Lend>(
    lender: &mut L,
    placed: &Placed,
    op: &PlaneOp,
    cut: Cut,
) -> Result<(), L::Error> {
    let placed = placed.flattened();
    if placed.is_empty() {
        return Ok(());
    }
    let unit = op.block_bytes();
    let end_page = placed.end().div_ceil(cut.page);
    for pages in placed.windows(cut) {
        let bytes = pages.start * cut.page..pages.end * cut.page;
        lender.one((placed.member, pages.clone()), |window| {
            op.apply(window, placed.whole_pieces(bytes.clone(), unit));
            if let Some(mask) = placed.plane.partial {
                for at in placed.partial_units(bytes.clone()) {
                    let mut odd = Unit::masked(mask);
                    odd.gather(window, at, 0);
                    odd.apply(op);
                    odd.scatter(window, at, 0);
                }
            }
        })?;
        let border = pages.end;
        if border < end_page
            && let Some((first, mut odd)) = placed.across(border * cut.page, unit)
        {
            let before = border * cut.page - first;
            lender.two(
                (placed.member, border - 1..border),
                (placed.member, border..border + 1),
                |left, right| {
                    odd.gather(left, cut.page - before, 0);
                    odd.gather(right, 0, before);
                    odd.apply(op);
                    odd.scatter(left, cut.page - before, 0);
                    odd.scatter(right, 0, before);
                },
            )?;
        }
    }
    Ok(())
}
