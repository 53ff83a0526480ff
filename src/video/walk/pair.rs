// SPDX-License-Identifier: MPL-2.0
//! Two planes walked together, byte for byte: chroma whose one half depends on the other.

use super::{Cut, LONGEST_UNIT, Lend, Placed};
use crate::pixel::{PairOp, PairSpan};

/// Runs `op` over two planes of the same layout, the bytes of one with those of the other.
///
/// # Errors
/// The lender's.
pub(in crate::video) fn pair<L: Lend>(
    lender: &mut L,
    first: &Placed,
    second: &Placed,
    op: &PairOp,
    cut: Cut,
) -> Result<(), L::Error> {
    let mut cursor = Cursor::new(first, second, op.block_bytes());
    while let Some((one, other)) = cursor.position() {
        let windows = [
            cursor.first.window_at(one, cut),
            cursor.second.window_at(other, cut),
        ];
        let [left, right] = windows;
        let starts = [left.start * cut.page, right.start * cut.page];
        cursor.ends = [left.end * cut.page, right.end * cut.page];
        if !cursor.fits() {
            cursor.step_across(lender, op, cut)?;
        } else if first.member == second.member && left.start < right.end && right.start < left.end
        {
            let start = left.start.min(right.start);
            let end = left.end.max(right.end);
            lender.one((first.member, start..end), |window| {
                cursor.work_in_one(window, start * cut.page, op);
            })?;
        } else {
            lender.two(
                (first.member, left),
                (second.member, right),
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

/// A position in two planes that are walked together.
struct Cursor {
    first: Placed,
    second: Placed,
    unit: usize,
    row: usize,
    /// Bytes of the row that are done.
    done: usize,
    /// Where the current windows end.
    ends: [usize; 2],
}

impl Cursor {
    fn new(first: &Placed, second: &Placed, unit: usize) -> Self {
        let flat = [first.flattened(), second.flattened()];
        let [first, second] = match flat {
            [one, other] if one.plane.rows == other.plane.rows => flat,
            _ => [*first, *second],
        };
        Self {
            first,
            second,
            unit,
            row: 0,
            done: 0,
            ends: [0; 2],
        }
    }

    /// Where the next bytes lie; `None` at the end.
    fn position(&self) -> Option<(usize, usize)> {
        let inside = self.row < self.first.plane.rows && self.first.plane.whole > 0;
        inside.then(|| {
            (
                self.first.row(self.row) + self.done,
                self.second.row(self.row) + self.done,
            )
        })
    }

    /// Whether the next unit lies in the current windows.
    fn fits(&self) -> bool {
        self.position().is_some_and(|(one, other)| {
            one + self.unit <= self.ends[0] && other + self.unit <= self.ends[1]
        })
    }

    fn advance(&mut self, bytes: usize) {
        self.done += bytes;
        if self.done >= self.first.plane.whole {
            self.done = 0;
            self.row += 1;
        }
    }

    /// The next piece of a row that lies in the current windows, in bytes of the members.
    fn piece(&mut self) -> Option<PairSpan> {
        self.piece_of(usize::MAX)
    }

    fn piece_of(&mut self, longest: usize) -> Option<PairSpan> {
        let (first, second) = self.position()?;
        let room = (self.ends[0].saturating_sub(first)).min(self.ends[1].saturating_sub(second));
        let len =
            (self.first.plane.whole - self.done).min(room).min(longest) / self.unit * self.unit;
        (len > 0).then(|| {
            self.advance(len);
            PairSpan { first, second, len }
        })
    }

    /// Both planes have bytes in the same pages: each piece is cut out of the one window.
    fn work_in_one(&mut self, window: &mut [u8], start: usize, op: &PairOp) {
        while let Some((one, other)) = self.position() {
            let apart = one.abs_diff(other);
            if apart < self.unit {
                // Planes on top of each other: a layout that no picture has.
                self.advance(self.unit);
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

    /// The next unit crosses the border of a window, in one plane or in both.
    fn step_across<L: Lend>(
        &mut self,
        lender: &mut L,
        op: &PairOp,
        cut: Cut,
    ) -> Result<(), L::Error> {
        let Some((one, other)) = self.position() else {
            return Ok(());
        };
        let mut units = [[0; LONGEST_UNIT]; 2];
        let places = [(self.first.member, one), (self.second.member, other)];
        for (unit, (member, at)) in units.iter_mut().zip(places) {
            for (byte, value) in unit[..self.unit].iter_mut().enumerate() {
                let page = (at + byte) / cut.page;
                lender.one((member, page..page + 1), |window| {
                    *value = window[(at + byte) % cut.page];
                })?;
            }
        }
        let [left, right] = &mut units;
        let whole = PairSpan {
            first: 0,
            second: 0,
            len: self.unit,
        };
        op.apply(
            &mut left[..self.unit],
            &mut right[..self.unit],
            std::iter::once(whole),
        );
        for (unit, (member, at)) in units.iter().zip(places) {
            for (byte, value) in unit[..self.unit].iter().enumerate() {
                let page = (at + byte) / cut.page;
                lender.one((member, page..page + 1), |window| {
                    window[(at + byte) % cut.page] = *value;
                })?;
            }
        }
        self.advance(self.unit);
        Ok(())
    }
}
