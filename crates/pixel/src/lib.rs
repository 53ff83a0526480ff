// SPDX-License-Identifier: MPL-2.0
//! Pixel work on slices of bytes: no GStreamer, no system call, no allocation while it works.
//!
//! [`FramePlan::new`] turns what the user set into the steps that one frame needs: at most one
//! [`Step`] for each plane, with every adjustment fused into it. A plane that the settings do
//! not change has no step and need not be touched at all. The tables of a plan are built when
//! it is made, so keep it until settings or format change.
//!
//! The caller walks its memory in windows of any size and hands each window to
//! [`PlaneOp::apply`] with the pieces of rows that lie in it:
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
//! Brightness, contrast, saturation and hue give what `videobalance` gives, gamma what `gamma`
//! gives, both what the two give one behind the other, byte for byte where the peers know the
//! format. A stage at its neutral setting is skipped, as the peers pass frames through then.
//! Inverting comes last: RGB components become 255 − v, luma is mirrored within its range
//! (251 − v in limited, 255 − v in full range), chroma around 128. Alpha and padding bytes are
//! never changed.
//!
//! More than eight bits go by the same formulas, all levels scaled, in double precision; five and
//! six bits are made eight, go the way of RGB, and are rounded back.

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

/// What the user set: the values of the element's properties of the same names.
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

    /// Whether the stage that `videobalance` stands for is skipped.
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
/// Only inverting looks at it: the peers whose pictures brightness, contrast, saturation, hue
/// and gamma must match do not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ColorRange {
    /// Luma 16 to 235 (of 8 bits), chroma 16 to 240.
    Limited,
    /// All values.
    Full,
}
