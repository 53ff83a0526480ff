// SPDX-License-Identifier: MPL-2.0
//! The interface of effects: an effect requests a piece of a row, and is given its bytes.
//!
//! The caller decides in which order the layers of a picture are processed, and how many rows are
//! mapped at a time.

use super::Rows;
use std::ops::Range;

/// How a piece of a row is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// It is read.
    Read,
    /// All of its bytes are written, none is read.
    Write,
    /// It is read and written.
    Update,
}

/// A request for a piece of a row, or for the same piece of consecutive rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRequest {
    /// The rows, at least one.
    pub rows: Range<usize>,
    /// Whole blocks of each.
    pub blocks: Range<usize>,
    /// How it is accessed.
    pub access: AccessKind,
}

/// An effect on one plane, piece by piece. It may run on any thread.
pub trait PlaneEffect: Send {
    /// Begins a frame.
    fn begin(&mut self);

    /// Returns the next request; `None` at the end of the frame.
    fn next_request(&self) -> Option<RowRequest>;

    /// Processes the piece of [`next_request`](Self::next_request) in the first `rows` of its rows.
    /// `bytes` begins with its first byte in the first of them and ends with its last byte in the
    /// last. Rows are `stride` bytes apart. Bytes between are not accessed.
    fn work(&mut self, bytes: &mut [u8], stride: usize, rows: usize);

    /// Returns the first row that is not completed. No row above it is requested again.
    fn completed_rows(&self) -> usize;

    /// Calls `with` for the rows and blocks of all requests of a frame, as rectangles.
    fn each_rect(&self, with: &mut dyn FnMut(Range<usize>, Range<usize>));
}

/// Pieces of rows that are `stride` bytes apart; the last ends with `bytes`.
#[inline(always)]
pub(super) fn each_row(
    bytes: &mut [u8],
    stride: usize,
    rows: usize,
) -> impl Iterator<Item = &mut [u8]> {
    let length = bytes.len() - stride * rows.saturating_sub(1);
    let pieces = bytes.chunks_mut(if rows > 1 { stride } else { length }.max(1));
    pieces.map(move |piece| &mut piece[..length])
}

/// An effect on a plane with its number.
pub(super) trait OfPlane: PlaneEffect {
    /// The plane's number.
    fn plane(&self) -> usize;

    /// Bytes in a block.
    fn block_bytes(&self) -> usize;

    /// A buffer as long as the longest piece.
    fn scratch(&mut self) -> &mut Vec<u8>;

    /// Whether there is nothing to do.
    fn is_empty(&self) -> bool;
}

/// Does all the work on each of a frame's planes.
pub(super) fn apply<P: OfPlane, R: Rows + ?Sized>(
    planes: &mut [P],
    rows: &mut R,
) -> Result<(), R::Error> {
    for plane in planes {
        let mut scratch = std::mem::take(plane.scratch());
        let done = apply_to(plane, rows, &mut scratch);
        *plane.scratch() = scratch;
        done?;
    }
    Ok(())
}

/// The work on each plane, by the plane's number.
pub(super) fn by_plane<P: OfPlane>(
    planes: &mut [P],
) -> impl Iterator<Item = (usize, &mut dyn PlaneEffect)> {
    planes
        .iter_mut()
        .map(|of| (of.plane(), of as &mut dyn PlaneEffect))
}

/// Whether there is something to do in a plane.
pub(super) fn touches<P: OfPlane>(planes: &[P], plane: usize) -> bool {
    planes
        .iter()
        .any(|of| of.plane() == plane && !of.is_empty())
}

fn apply_to<P: OfPlane, R: Rows + ?Sized>(
    steps: &mut P,
    rows: &mut R,
    scratch: &mut [u8],
) -> Result<(), R::Error> {
    let (plane, block_bytes) = (steps.plane(), steps.block_bytes());
    steps.begin();
    while let Some(RowRequest {
        rows: of,
        blocks,
        access,
    }) = steps.next_request()
    {
        let row = of.start;
        let bytes = &mut scratch[..blocks.len() * block_bytes];
        if access != AccessKind::Write {
            rows.read(plane, row, blocks.clone(), bytes)?;
        }
        steps.work(bytes, 0, 1);
        if access != AccessKind::Read {
            rows.write(plane, row, blocks, bytes)?;
        }
    }
    Ok(())
}
