// SPDX-License-Identifier: MPL-2.0
//! Adjusts, fills, pixelates, blurs and overlays video frames in slices of bytes. Makes no system
//! call, and does not allocate while it processes a frame.
//!
//! [`FramePlan::new`] computes the steps for a frame: at most one [`Step`] for each plane, with all
//! adjustments fused into it. A plane that the settings do not change has no step. A plan holds its
//! tables, so keep it until settings or format change.
//!
//! The caller passes its memory to [`PlaneOp::apply`] in windows of any size, with the spans of rows
//! in each:
//!
//! ```
//! use dmabufcpu_pixel::{Adjust, Format, FramePlan, ColorRange, Step};
//!
//! let adjust = Adjust { invert: true, ..Adjust::identity() };
//! let plan = FramePlan::new(Format::Gray8, ColorRange::Full, &adjust);
//! let mut window = [0, 1, 2, 254, 255, 77];
//! for step in plan.steps() {
//!     if let Step::Plane { plane: 0, op } = step {
//!         // two rows of two pixels, stride 3
//!         op.apply(&mut window, [0..2, 3..5].into_iter());
//!     }
//! }
//! assert_eq!(window, [255, 254, 2, 1, 0, 77]);
//! ```
//!
//! # The same picture as GStreamer's elements
//! Brightness, contrast, saturation and hue match `videobalance`, gamma matches `gamma`; combined
//! they match `videobalance ! gamma`, byte for byte in the formats that these elements support. A
//! stage at its neutral setting is skipped, as in those elements. Invert is applied last: RGB
//! components become 255 − v, luma is mirrored within its range (251 − v in limited, 255 − v in full
//! range), chroma around 128. Alpha and padding never change.
//!
//! Samples of more than eight bits use the same formulas with scaled levels, in double precision.
//! Samples of five and six bits are extended to eight, processed as RGB, and rounded back.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod area;
mod format;
mod high_depth;
mod kernels;
mod piecewise;
mod plan;
#[doc(hidden)]
pub mod reference;
pub mod regions;
mod tone;

pub use format::{Format, Piece, PlaneLayout};
pub use kernels::Isa;
#[doc(hidden)]
pub use kernels::prefetch;
pub use plan::{FramePlan, PairOp, PairSpan, PlaneOp, Step};

/// The adjustments, with the ranges of the element's properties of the same names.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Adjust {
    /// Added to luma, in blocks of its whole range; −1 to 1, neutral at 0.
    pub brightness: f64,
    /// Scales luma around black; 0 to 2, neutral at 1.
    pub contrast: f64,
    /// Scales chroma around grey; 0 to 2, neutral at 1.
    pub saturation: f64,
    /// Turns chroma, in blocks of half a turn; −1 to 1, neutral at 0.
    pub hue: f64,
    /// Exponent 1/gamma on luma, after the balance; 0.01 to 10, neutral at 1.
    pub gamma: f64,
    /// Negative, after everything else.
    pub invert: bool,
}

impl Adjust {
    /// The settings that change nothing.
    #[must_use]
    pub const fn identity() -> Self {
        Self {
            brightness: 0.0,
            contrast: 1.0,
            saturation: 1.0,
            hue: 0.0,
            gamma: 1.0,
            invert: false,
        }
    }

    /// Whether these settings change nothing.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        *self == Self::identity()
    }

    /// Whether the stage of `videobalance` is skipped.
    pub(crate) fn balance_is_identity(&self) -> bool {
        self.brightness == 0.0 && self.contrast == 1.0 && self.saturation == 1.0 && self.hue == 0.0
    }
}

impl Default for Adjust {
    fn default() -> Self {
        Self::identity()
    }
}

/// The range of luma and chroma values, from the colorimetry of the caps.
///
/// Only invert uses it. `videobalance` and `gamma`, which the other adjustments match, do not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ColorRange {
    /// Luma 16 to 235 (of 8 bits), chroma 16 to 240.
    Limited,
    /// All values.
    Full,
}
