// SPDX-License-Identifier: MPL-2.0
//! Work on parts of a frame: what is in some rectangles, and what is in none of them.
//!
//! The code here says which pieces of rows it needs ([`PlaneEffect`]), one after the other; where they
//! come from (windows of mapped pages, in the element), and what else is done with them there, is
//! for others to know. So nothing but the pixels of an effect is ever touched.

mod aligned;
mod blend;
mod blend_pixels;
mod blend_source;
mod blur;
mod box_sum;
mod box_sum_u8;
mod clusters;
mod component;
mod counts;
mod deinterleave;
mod effect;
mod fill;
mod overlay;
mod pixelate;
mod reciprocal;
#[doc(hidden)]
pub mod reference;
mod sliding_sum;

pub use blur::Blur;
pub use effect::{AccessKind, PlaneEffect, RowRequest};
pub use fill::{ColorMatrix, Fill};
pub use overlay::{Colors, Image, OverlayRect, OverlaySpan};
pub use pixelate::Pixelate;

pub use super::area::{Area, Band, Rect};

use std::ops::Range;

/// Rows of a frame's planes, to be read and written in pieces of whole blocks.
///
/// A block is what [`PlaneLayout::block_bytes`](super::PlaneLayout::unit) says. Where the width of the
/// frame leaves a tail_mask block at the end of a row, bytes of it that are no picture are read as
/// anything and not written.
pub trait Rows {
    /// Why a piece of a row was not to be had.
    type Error;

    /// Reads blocks of a row of a plane.
    ///
    /// # Errors
    /// The implementation's.
    fn read(
        &mut self,
        plane: usize,
        row: usize,
        blocks: Range<usize>,
        into: &mut [u8],
    ) -> Result<(), Self::Error>;

    /// Writes blocks of a row of a plane.
    ///
    /// # Errors
    /// The implementation's.
    fn write(
        &mut self,
        plane: usize,
        row: usize,
        blocks: Range<usize>,
        from: &[u8],
    ) -> Result<(), Self::Error>;
}
