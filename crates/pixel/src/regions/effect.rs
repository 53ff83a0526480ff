// SPDX-License-Identifier: MPL-2.0
//! Work on a plane that says which piece of a row it needs next, and is given it.
//!
//! So whoever has the rows decides in which order the layers of a picture go over them, and how
//! many rows are in hand at a time.

use super::Rows;
use std::ops::Range;

/// What is done with a piece of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// It is looked at.
    Read,
    /// It is written as a whole.
    Write,
    /// It is changed.
    Update,
}

/// The piece of a row that is needed, or of several rows, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRequest {
    /// The rows, at least one.
    pub rows: Range<usize>,
    /// Whole blocks of each.
    pub blocks: Range<usize>,
    /// What for.
    pub access: AccessKind,
}

/// Work on a plane, piece by piece, by whichever thread.
pub trait PlaneEffect: Send {
    /// Begins a frame.
    fn begin(&mut self);

    /// The piece that is needed next; `None` when all is done.
    fn next_request(&self) -> Option<RowRequest>;

    /// Works on the piece that is [`next_request`](Self::next_request) in so many of the rows, the first of
    /// them first: from its first byte in the first row to its last in the last. A row begins
    /// `stride` bytes behind the one before; what lies between is for others.
    fn work(&mut self, bytes: &mut [u8], stride: usize, rows: usize);

    /// The first row that is not yet as it will be: none above it is asked for again.
    fn completed_rows(&self) -> usize;

    /// Gives the rows and blocks that are asked for in the course of a frame, as rectangles.
    fn each_rect(&self, with: &mut dyn FnMut(Range<usize>, Range<usize>));
}

/// Pieces of rows that begin `stride` bytes behind one another; the last ends with `bytes`.
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

/// Work that knows its plane.
pub(super) trait OfPlane: PlaneEffect {
    /// The plane's number.
    fn plane(&self) -> usize;

    /// Bytes in a block.
    fn block_bytes(&self) -> usize;

    /// Room for the longest piece.
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
