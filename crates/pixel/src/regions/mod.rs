// SPDX-License-Identifier: MPL-2.0
//! Effects on regions of a frame, inside or outside of rectangles.
//!
//! Effects are independent of how rows are obtained: they request pieces of rows ([`PlaneEffect`]), and
//! only the pixels of an effect are accessed.

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
/// Blocks have [`PlaneLayout::block_bytes`](super::PlaneLayout::block_bytes) bytes. Where the width
/// of the frame leaves a shorter block at the end of a row, its bytes outside of the picture have
/// any value and are not written.
pub trait Rows {
    /// Why a piece of a row is not available.
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
