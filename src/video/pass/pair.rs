// SPDX-License-Identifier: MPL-2.0
//! Pass over two planes byte by byte: separate chroma planes that depend on each other.

use super::{MAX_BLOCK_BYTES, MappedPlane, WindowSize, WindowSource};
use crate::pixel::{PairOp, PairSpan};

/// Runs `op` over two planes of the same layout, on the bytes of both at equal positions.
///
/// # Errors
/// Those of `source`.
pub(in crate::video) fn pair<S: WindowSource>(
    source: &mut S,
    first: &MappedPlane,
    second: &MappedPlane,
    op: &PairOp,
    window_size: WindowSize,
) -> Result<(), S::Error> {
    let mut cursor = Cursor::new(first, second, op.block_bytes());
    while let Some((one, other)) = cursor.position() {
        let windows = [
            cursor.first.window_at(one, window_size),
            cursor.second.window_at(other, window_size),
        ];
        let [left, right] = windows;
        let starts = [
            left.start * window_size.page,
            right.start * window_size.page,
        ];
        cursor.ends = [left.end * window_size.page, right.end * window_size.page];
        if !cursor.fits() {
            cursor.step_across(source, op, window_size)?;
        } else if first.buffer == second.buffer && left.start < right.end && right.start < left.end
        {
            let start = left.start.min(right.start);
            let end = left.end.max(right.end);
            source.with_window((first.buffer, start..end), |window| {
                cursor.work_in_one(window, start * window_size.page, op);
            })?;
        } else {
            source.with_windows(
                (first.buffer, left),
                (second.buffer, right),
                |left, right| {
                    let spans = std::iter::from_fn(|| cursor.piece()).map(|piece| PairSpan {
                        first: piece.first - starts[0],
                        second: piece.second - starts[1],
                        len: piece.len,
                    });
                    op.apply(left, right, spans);
                },
            )?;
        }
    }
    Ok(())
}

/// A common position in two planes.
struct Cursor {
    first: MappedPlane,
    second: MappedPlane,
    block_bytes: usize,
    row: usize,
    /// Bytes of the row that are processed.
    done: usize,
    /// Ends of the current windows, in bytes of their buffers.
    ends: [usize; 2],
}

impl Cursor {
    fn new(first: &MappedPlane, second: &MappedPlane, block_bytes: usize) -> Self {
        let flat = [first.flattened(), second.flattened()];
        let [first, second] = match flat {
            [one, other] if one.plane.rows == other.plane.rows => flat,
            _ => [*first, *second],
        };
        Self {
            first,
            second,
            block_bytes,
            row: 0,
            done: 0,
            ends: [0; 2],
        }
    }

    /// Returns the offsets of the next bytes in their buffers; `None` at the end.
    fn position(&self) -> Option<(usize, usize)> {
        let inside = self.row < self.first.plane.rows && self.first.plane.whole > 0;
        inside.then(|| {
            (
                self.first.row(self.row) + self.done,
                self.second.row(self.row) + self.done,
            )
        })
    }

    /// Returns whether the next block lies in the current windows.
    fn fits(&self) -> bool {
        self.position().is_some_and(|(one, other)| {
            one + self.block_bytes <= self.ends[0] && other + self.block_bytes <= self.ends[1]
        })
    }

    fn advance(&mut self, bytes: usize) {
        self.done += bytes;
        if self.done >= self.first.plane.whole {
            self.done = 0;
            self.row += 1;
        }
    }

    /// Returns the next piece of a row within the current windows, in bytes of the buffers.
    fn piece(&mut self) -> Option<PairSpan> {
        self.piece_of(usize::MAX)
    }

    fn piece_of(&mut self, longest: usize) -> Option<PairSpan> {
        let (first, second) = self.position()?;
        let room = (self.ends[0].saturating_sub(first)).min(self.ends[1].saturating_sub(second));
        let len = (self.first.plane.whole - self.done).min(room).min(longest) / self.block_bytes
            * self.block_bytes;
        (len > 0).then(|| {
            self.advance(len);
            PairSpan { first, second, len }
        })
    }

    /// Processes a window that holds bytes of both planes.
    fn work_in_one(&mut self, window: &mut [u8], start: usize, op: &PairOp) {
        while let Some((one, other)) = self.position() {
            let apart = one.abs_diff(other);
            if apart < self.block_bytes {
                // Overlapping planes: no valid picture has this layout.
                self.advance(self.block_bytes);
                continue;
            }
            let Some(piece) = self.piece_of(apart) else {
                return;
            };
            let border = one.max(other);
            let (low, high) = window.split_at_mut(border - start);
            let span = |first, second| {
                std::iter::once(PairSpan {
                    first,
                    second,
                    len: piece.len,
                })
            };
            if one < other {
                op.apply(low, high, span(one - start, 0));
            } else {
                op.apply(high, low, span(0, other - start));
            }
        }
    }

    /// Processes a block that crosses the border of a window, in one plane or in both.
    fn step_across<S: WindowSource>(
        &mut self,
        source: &mut S,
        op: &PairOp,
        window_size: WindowSize,
    ) -> Result<(), S::Error> {
        let Some((one, other)) = self.position() else {
            return Ok(());
        };
        let mut blocks = [[0; MAX_BLOCK_BYTES]; 2];
        let places = [(self.first.buffer, one), (self.second.buffer, other)];
        for (block, (buffer, at)) in blocks.iter_mut().zip(places) {
            for (byte, value) in block[..self.block_bytes].iter_mut().enumerate() {
                let page = (at + byte) / window_size.page;
                source.with_window((buffer, page..page + 1), |window| {
                    *value = window[(at + byte) % window_size.page];
                })?;
            }
        }
        let [left, right] = &mut blocks;
        let whole = PairSpan {
            first: 0,
            second: 0,
            len: self.block_bytes,
        };
        op.apply(
            &mut left[..self.block_bytes],
            &mut right[..self.block_bytes],
            std::iter::once(whole),
        );
        for (block, (buffer, at)) in blocks.iter().zip(places) {
            for (byte, value) in block[..self.block_bytes].iter().enumerate() {
                let page = (at + byte) / window_size.page;
                source.with_window((buffer, page..page + 1), |window| {
                    window[(at + byte) % window_size.page] = *value;
                })?;
            }
        }
        self.advance(self.block_bytes);
        Ok(())
    }
}
