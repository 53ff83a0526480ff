// SPDX-License-Identifier: MPL-2.0
//! Work on parts of a frame: what is in some rectangles, and what is in none of them.
//!
//! The code here asks for the pieces of rows that it needs, and gives them back; where they come
//! from (windows of mapped pages, in the element) is for [`Rows`] to know. So nothing but the
//! pixels of an effect is ever touched.

mod aligned;
mod blur;
mod byte_sums;
mod channels;
mod clusters;
mod fill;
mod ink;
mod means;
mod pixelate;
#[doc(hidden)]
pub mod reference;
mod sprite;
mod sums;
mod windows;

pub use blur::Blur;
pub use fill::{ColorMatrix, Fill};
pub use pixelate::Pixelate;
pub use sprite::{Colors, Image, Sprite};

pub use super::area::{Area, Band, Rect};

use std::ops::Range;

/// Rows of a frame's planes, to be read and written in pieces of whole units.
///
/// A unit is what [`PlaneLayout::unit`](super::PlaneLayout::unit) says. Where the width of the
/// frame leaves a partial unit at the end of a row, bytes of it that are no picture are read as
/// anything and not written.
pub trait Rows {
    /// Why a piece of a row was not to be had.
    type Error;

    /// Reads units of a row of a plane.
    ///
    /// # Errors
    /// The implementation's.
    fn read(
        &mut self,
        plane: usize,
        row: usize,
        units: Range<usize>,
        into: &mut [u8],
    ) -> Result<(), Self::Error>;

    /// Writes units of a row of a plane.
    ///
    /// # Errors
    /// The implementation's.
    fn write(
        &mut self,
        plane: usize,
        row: usize,
        units: Range<usize>,
        from: &[u8],
    ) -> Result<(), Self::Error>;

    /// Reads units of a row of a plane, has them worked on, and writes them; where that can be
    /// had, in place. Else in `scratch`, which is as long as they are.
    ///
    /// # Errors
    /// The implementation's.
    fn update(
        &mut self,
        plane: usize,
        row: usize,
        units: Range<usize>,
        scratch: &mut [u8],
        work: impl FnOnce(&mut [u8]),
    ) -> Result<(), Self::Error> {
        self.read(plane, row, units.clone(), scratch)?;
        work(scratch);
        self.write(plane, row, units, scratch)
    }
}

/// Where units are worked on: on the stack, once for all rows.
type Chunk = [u8; CHUNK];

/// Works on some units of a row, as many at a time as a chunk holds. `work` is given the number
/// of its first unit, counted from the first of all, and the bytes.
fn in_chunks<R: Rows>(
    rows: &mut R,
    chunk: &mut Chunk,
    (plane, row, units): (usize, usize, Range<usize>),
    unit: usize,
    mut work: impl FnMut(usize, &mut [u8]),
) -> Result<(), R::Error> {
    let most = CHUNK / unit;
    let mut next = units.start;
    while next < units.end {
        let count = (units.end - next).min(most);
        let bytes = &mut chunk[..count * unit];
        let at = next - units.start;
        rows.update(plane, row, next..next + count, bytes, |bytes| {
            work(at, bytes)
        })?;
        next += count;
    }
    Ok(())
}

/// Bytes that are worked on at a time.
const CHUNK: usize = 3 << 10;
