// SPDX-License-Identifier: MPL-2.0
//! A cursor over the pieces of rows to adjust, from top to bottom.

use crate::pixel::Piece;
use std::ops::Range;

/// Iterates over pieces of rows, restricted to some row ranges.
pub(super) struct RowCursor<'t> {
    /// Sorted by rows; pieces of the same rows are adjacent.
    pieces: &'t [Piece],
    /// The remaining row ranges, ascending; the first is the current one.
    rows: &'t [Range<usize>],
    /// The pieces of the current row, as indices.
    row_pieces: Range<usize>,
    row: usize,
    piece: usize,
}

impl<'t> RowCursor<'t> {
    /// Starts at the first piece within `rows`.
    pub(super) fn new(pieces: &'t [Piece], rows: &'t [Range<usize>]) -> Self {
        let mut cursor = Self {
            pieces,
            rows,
            row_pieces: 0..0,
            row: 0,
            piece: 0,
        };
        cursor.seek(0);
        cursor
    }

    /// Moves to the first row within `rows` that has a piece, at piece `first` or later.
    fn seek(&mut self, mut first: usize) {
        while let Some(own) = self.rows.first() {
            first += self.pieces[first..].partition_point(|piece| piece.rows.end <= own.start);
            let Some(rows) = self.pieces.get(first).map(|piece| &piece.rows) else {
                break;
            };
            if rows.start < own.end && !own.is_empty() {
                let after = self.pieces[first..].iter();
                let alike = after.take_while(|piece| piece.rows == *rows).count();
                self.row_pieces = first..first + alike;
                self.row = rows.start.max(own.start);
                self.piece = first;
                return;
            }
            self.rows = &self.rows[1..];
        }
        let end = self.pieces.len();
        (self.row_pieces, self.row, self.piece) = (end..end, usize::MAX, end);
    }

    /// Returns the current row; `usize::MAX` at the end.
    pub(super) fn row(&self) -> usize {
        self.row
    }

    pub(super) fn piece(&self) -> Option<&'t Piece> {
        self.pieces.get(self.piece)
    }

    pub(super) fn is_done(&self) -> bool {
        self.piece().is_none()
    }

    /// Returns whether the current row has one piece.
    pub(super) fn has_one_piece(&self) -> bool {
        self.row_pieces.len() == 1
    }

    /// Returns how many rows have the same pieces, including the current one.
    pub(super) fn rows_left(&self) -> usize {
        self.end().saturating_sub(self.row)
    }

    fn end(&self) -> usize {
        let rows = self.rows.first().map_or(0, |rows| rows.end);
        self.piece().map_or(0, |piece| piece.rows.end.min(rows))
    }

    /// Moves to the next piece; if the row has one piece, by `rows` rows.
    pub(super) fn advance(&mut self, rows: usize) {
        let end = self.end();
        self.piece += 1;
        if self.piece >= self.row_pieces.end {
            self.row = self.row.saturating_add(rows);
            self.piece = self.row_pieces.start;
            if self.row >= end {
                self.seek_below(end);
            }
        }
    }

    /// Moves below rows with the same pieces, or below the current row range.
    fn seek_below(&mut self, end: usize) {
        let is_through = self.piece().is_none_or(|piece| piece.rows.end <= end);
        if self.rows.first().is_some_and(|rows| rows.end <= end) {
            self.rows = &self.rows[1..];
        }
        self.seek(if is_through {
            self.row_pieces.end
        } else {
            self.row_pieces.start
        });
    }

    /// Calls `with` for each piece, with its rows that lie in the row ranges.
    pub(super) fn for_each(&self, mut with: impl FnMut(&Piece, Range<usize>)) {
        for rows in self.rows {
            let first = self
                .pieces
                .partition_point(|piece| piece.rows.end <= rows.start);
            let those = self.pieces[first..].iter();
            for piece in those.take_while(|piece| piece.rows.start < rows.end) {
                let rows = piece.rows.start.max(rows.start)..piece.rows.end.min(rows.end);
                with(piece, rows);
            }
        }
    }
}
