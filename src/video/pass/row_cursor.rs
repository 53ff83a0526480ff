// SPDX-License-Identifier: MPL-2.0
//! Pieces of rows, from top to bottom.

use crate::pixel::Piece;
use std::ops::Range;

/// Which pieces of rows are to be adjusted, from top to bottom, and where that has got to.
pub(super) struct Front<'t> {
    /// Those of the same rows follow one another.
    pieces: &'t [Piece],
    /// The rows that are still ours, those at hand first: ascending.
    ours: &'t [Range<usize>],
    /// The pieces of the row at hand.
    band: Range<usize>,
    row: usize,
    piece: usize,
}

impl<'t> Front<'t> {
    /// What of the pieces lies in `ours`.
    pub(super) fn new(pieces: &'t [Piece], ours: &'t [Range<usize>]) -> Self {
        let mut front = Self {
            pieces,
            ours,
            band: 0..0,
            row: 0,
            piece: 0,
        };
        front.enter(0);
        front
    }

    /// Goes to the first row that is ours and has a piece, not before the piece `first`.
    fn enter(&mut self, mut first: usize) {
        while let Some(ours) = self.ours.first() {
            first += self.pieces[first..].partition_point(|piece| piece.rows.end <= ours.start);
            let Some(rows) = self.pieces.get(first).map(|piece| &piece.rows) else {
                break;
            };
            if rows.start < ours.end && !ours.is_empty() {
                let behind = self.pieces[first..].iter();
                let alike = behind.take_while(|piece| piece.rows == *rows).count();
                self.band = first..first + alike;
                self.row = rows.start.max(ours.start);
                self.piece = first;
                return;
            }
            self.ours = &self.ours[1..];
        }
        let end = self.pieces.len();
        (self.band, self.row, self.piece) = (end..end, usize::MAX, end);
    }

    /// The first row that has something to be adjusted.
    pub(super) fn row(&self) -> usize {
        self.row
    }

    pub(super) fn piece(&self) -> Option<&'t Piece> {
        self.pieces.get(self.piece)
    }

    pub(super) fn is_done(&self) -> bool {
        self.piece().is_none()
    }

    /// Whether there is one piece in the row.
    pub(super) fn is_alone(&self) -> bool {
        self.band.len() == 1
    }

    /// Rows that are like the one at hand, it included.
    pub(super) fn rows_left(&self) -> usize {
        self.end().saturating_sub(self.row)
    }

    fn end(&self) -> usize {
        let ours = self.ours.first().map_or(0, |rows| rows.end);
        self.piece().map_or(0, |piece| piece.rows.end.min(ours))
    }

    /// Goes on by a piece, or by so many rows of a band that is one piece.
    pub(super) fn advance(&mut self, rows: usize) {
        let end = self.end();
        self.piece += 1;
        if self.piece >= self.band.end {
            self.row = self.row.saturating_add(rows);
            self.piece = self.band.start;
            if self.row >= end {
                self.enter_below(end);
            }
        }
    }

    /// Goes on below a band, or below rows that were ours.
    fn enter_below(&mut self, end: usize) {
        let is_through = self.piece().is_none_or(|piece| piece.rows.end <= end);
        if self.ours.first().is_some_and(|rows| rows.end <= end) {
            self.ours = &self.ours[1..];
        }
        self.enter(if is_through {
            self.band.end
        } else {
            self.band.start
        });
    }

    /// Gives each piece that there is, with those of its rows that are ours.
    pub(super) fn each(&self, mut with: impl FnMut(&Piece, Range<usize>)) {
        for ours in self.ours {
            let first = self
                .pieces
                .partition_point(|piece| piece.rows.end <= ours.start);
            let those = self.pieces[first..].iter();
            for piece in those.take_while(|piece| piece.rows.start < ours.end) {
                let rows = piece.rows.start.max(ours.start)..piece.rows.end.min(ours.end);
                with(piece, rows);
            }
        }
    }
}
