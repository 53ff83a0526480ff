// SPDX-License-Identifier: MPL-2.0
//! Passes over planes in windows of pages.
//!
//! Plain arithmetic on checked planes; a [`WindowSource`] provides the memory. Windows end at page
//! borders, not at rows or pixels: a block across the border of two windows is processed while
//! both are borrowed.

mod bands;
mod pair;
mod partition;
mod plane_pass;
mod row_cursor;
#[cfg(test)]
pub(in crate::video) mod tests;

pub(super) use bands::{Bands, MAX_BANDS, add_band};
pub(super) use pair::pair;
pub(super) use partition::{Partition, Slice, WorkItem};
pub(super) use plane_pass::{Adjustment, PassContext, PlaneLayers, PlanePass, lines_in};
#[cfg(test)]
pub(super) use tests::lend_two;

use super::geometry::Plane;
use crate::pixel::{Piece, PlaneOp};
use std::ops::Range;

/// Pages of one buffer of a frame: (buffer index, pages).
pub(super) type PageRange = (usize, Range<usize>);

/// Provides windows of buffers.
pub(super) trait WindowSource {
    /// The reason why a window is not available.
    type Error;

    /// Calls `work` with one window.
    fn with_window(
        &mut self,
        page_range: PageRange,
        work: impl FnOnce(&mut [u8]),
    ) -> Result<(), Self::Error>;

    /// Calls `work` with two windows that have no page in common.
    fn with_windows(
        &mut self,
        first: PageRange,
        second: PageRange,
        work: impl FnOnce(&mut [u8], &mut [u8]),
    ) -> Result<(), Self::Error>;
}

/// The size of windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowSize {
    /// Bytes per page.
    pub(super) page: usize,
    /// Pages per window, at least one.
    pub(super) pages: usize,
}

/// A plane and its place in a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct MappedPlane {
    /// Index of the buffer: a distinct dma-buf, or a memory that has none.
    pub(super) buffer: usize,
    /// Offset of row 0 in the buffer, in bytes.
    pub(super) start: usize,
    pub(super) plane: Plane,
}

/// The longest block of any format, in bytes.
const MAX_BLOCK_BYTES: usize = 16;

impl MappedPlane {
    fn end(&self) -> usize {
        self.start + self.plane.extent()
    }

    pub(super) fn row(&self, row: usize) -> usize {
        self.start + row * self.plane.stride
    }

    /// Joins rows without padding into one row.
    fn flattened(mut self) -> Self {
        let plane = &mut self.plane;
        if plane.tail_mask.is_none() && plane.stride == plane.whole {
            plane.whole *= plane.rows;
            plane.stride = plane.whole;
            plane.rows = plane.rows.min(1);
        }
        self
    }

    fn is_empty(&self) -> bool {
        self.plane.extent() == 0
    }

    /// Returns the rows that have a byte in `bytes`, and possibly neighbouring rows.
    pub(super) fn rows_in(&self, bytes: &Range<usize>) -> Range<usize> {
        let first = bytes.start.saturating_sub(self.start) / self.plane.stride.max(1);
        let last = bytes.end.saturating_sub(self.start) / self.plane.stride.max(1);
        first..(last + 1).min(self.plane.rows)
    }

    /// Returns the pieces of rows in `bytes` (a window) that hold whole blocks, as ranges in the
    /// window.
    fn whole_pieces(
        &self,
        bytes: Range<usize>,
        block_bytes: usize,
    ) -> impl Iterator<Item = Range<usize>> {
        let this = *self;
        this.rows_in(&bytes).filter_map(move |row| {
            let row = this.row(row);
            let from = bytes
                .start
                .saturating_sub(row)
                .next_multiple_of(block_bytes);
            let to =
                this.plane.whole.min(bytes.end.saturating_sub(row)) / block_bytes * block_bytes;
            (from < to).then(|| row + from - bytes.start..row + to - bytes.start)
        })
    }

    /// Returns the offsets in `bytes` (a window) of partial blocks that lie in it with all bytes of
    /// picture.
    fn partial_blocks(&self, bytes: Range<usize>) -> impl Iterator<Item = usize> {
        let this = *self;
        let rows = match this.plane.tail_mask {
            Some(_) => this.rows_in(&bytes),
            None => 0..0,
        };
        rows.filter_map(move |row| {
            let first = this.row(row) + this.plane.whole;
            let last = this.row(row) + this.plane.row_bytes();
            (first >= bytes.start && last <= bytes.end).then(|| first - bytes.start)
        })
    }

    /// Returns the block with bytes on both sides of `border`: the offset of its first byte, and the
    /// block.
    fn across(&self, border: usize, block_bytes: usize) -> Option<(usize, BlockCopy)> {
        let row = border.checked_sub(self.start)? / self.plane.stride.max(1);
        if row >= self.plane.rows {
            return None;
        }
        let within = border - self.row(row);
        if within < self.plane.whole {
            let before = within % block_bytes;
            return (before != 0).then(|| (border - before, BlockCopy::whole(block_bytes)));
        }
        let mask = self.plane.tail_mask?;
        let inside = within > self.plane.whole && within < self.plane.row_bytes();
        inside.then(|| (self.row(row) + self.plane.whole, BlockCopy::masked(mask)))
    }

    /// Returns the window that contains byte `at`, in pages.
    fn window_at(&self, at: usize, window_size: WindowSize) -> Range<usize> {
        let first = self.start / window_size.page;
        let skipped = (at / window_size.page - first) / window_size.pages * window_size.pages;
        let start = first + skipped;
        start..(start + window_size.pages).min(self.end().div_ceil(window_size.page))
    }

    /// Returns some of the rows as a plane.
    pub(super) fn some_rows(&self, rows: Range<usize>) -> Self {
        let mut some = *self;
        some.start = self.row(rows.start);
        some.plane.rows = rows.len();
        some
    }

    /// Returns some blocks of some rows as a plane.
    pub(super) fn piece(&self, piece: &Piece) -> Self {
        let mut part = self.some_rows(piece.rows.clone());
        let block_bytes = self.plane.block_bytes;
        part.start += piece.blocks.start * block_bytes;
        part.plane.whole = piece.blocks.len() * block_bytes;
        part.plane.tail_mask = piece.tail_mask;
        part
    }

    /// Returns the whole plane as a piece.
    pub(super) fn whole(&self) -> Piece {
        Piece {
            rows: 0..self.plane.rows,
            blocks: 0..self.plane.whole / self.plane.block_bytes.max(1),
            tail_mask: self.plane.tail_mask,
        }
    }

    /// Returns the pages from the first byte to the last.
    pub(super) fn pages(&self, page: usize) -> Range<usize> {
        self.start / page..self.end().div_ceil(page)
    }

    /// Returns the windows that cover the rows, in pages; pages between rows are in no window.
    pub(super) fn windows(
        &self,
        window_size: WindowSize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let this = *self;
        let all = this.pages(window_size.page);
        let has_gaps = this.plane.stride >= this.plane.row_bytes() + window_size.page;
        let mut next = all.start;
        let mut row = 0;
        std::iter::from_fn(move || {
            if !has_gaps {
                let first = next;
                next = first.saturating_add(window_size.pages).min(all.end);
                return (first < next).then_some(first..next);
            }
            let pages_of = |row| this.some_rows(row..row + 1).pages(window_size.page);
            while row < this.plane.rows && pages_of(row).end <= next {
                row += 1;
            }
            if row >= this.plane.rows {
                return None;
            }
            let first = pages_of(row).start.max(next);
            let mut end = pages_of(row).end;
            while end - first < window_size.pages
                && row + 1 < this.plane.rows
                && pages_of(row + 1).start <= end
            {
                row += 1;
                end = pages_of(row).end;
            }
            next = end.min(first.saturating_add(window_size.pages));
            Some(first..next)
        })
    }
}

/// A copy of a block that is processed outside of its window.
struct BlockCopy {
    bytes: [u8; MAX_BLOCK_BYTES],
    length: usize,
    mask: Option<&'static [u8]>,
}

impl BlockCopy {
    fn whole(length: usize) -> Self {
        Self {
            bytes: [0; MAX_BLOCK_BYTES],
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

    /// Copies the bytes of the block that lie in `window`, where byte `first` of the block is at
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

    /// Writes back what [`gather`](Self::gather) copied.
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
/// Those of `source`.
pub(super) fn plane<S: WindowSource>(
    source: &mut S,
    mapped: &MappedPlane,
    op: &PlaneOp,
    window_size: WindowSize,
) -> Result<(), S::Error> {
    let mapped = mapped.flattened();
    if mapped.is_empty() {
        return Ok(());
    }
    let block_bytes = op.block_bytes();
    let end_page = mapped.end().div_ceil(window_size.page);
    for pages in mapped.windows(window_size) {
        let bytes = pages.start * window_size.page..pages.end * window_size.page;
        source.with_window((mapped.buffer, pages.clone()), |window| {
            op.apply(window, mapped.whole_pieces(bytes.clone(), block_bytes));
            if let Some(mask) = mapped.plane.tail_mask {
                for at in mapped.partial_blocks(bytes.clone()) {
                    let mut odd = BlockCopy::masked(mask);
                    odd.gather(window, at, 0);
                    odd.apply(op);
                    odd.scatter(window, at, 0);
                }
            }
        })?;
        let border = pages.end;
        if border < end_page
            && let Some((first, mut odd)) = mapped.across(border * window_size.page, block_bytes)
        {
            let before = border * window_size.page - first;
            source.with_windows(
                (mapped.buffer, border - 1..border),
                (mapped.buffer, border..border + 1),
                |left, right| {
                    odd.gather(left, window_size.page - before, 0);
                    odd.gather(right, 0, before);
                    odd.apply(op);
                    odd.scatter(left, window_size.page - before, 0);
                    odd.scatter(right, 0, before);
                },
            )?;
        }
    }
    Ok(())
}
