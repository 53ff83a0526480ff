// SPDX-License-Identifier: MPL-2.0
//! Converts the pixels of an overlay to blocks in the components of a frame.

use super::blend::Factor;
use super::overlay::{Colors, Image};
use crate::Format;

/// Pixels that are converted at a time.
pub(super) const BLOCK: usize = 32;

/// What is blended over the pixels of a block: their colours in the frame's own components, and
/// their alpha. Both go to 255; in formats of more than eight bits to 65535.
#[derive(Clone, Copy, Debug)]
pub(super) struct PixelBlock {
    pub(super) color: [[u16; BLOCK]; 3],
    pub(super) alpha: [u16; BLOCK],
}

impl PixelBlock {
    /// The same for all pixels.
    pub(super) fn uniform(color: [u16; 3], alpha: u16) -> Self {
        Self {
            color: color.map(|value| [value; BLOCK]),
            alpha: [alpha; BLOCK],
        }
    }

    /// The same, but the first `count` pixels are like the one after them.
    #[inline(always)]
    pub(super) fn repeated(&self, count: usize) -> Self {
        let mut dots = *self;
        for values in dots.color.iter_mut().chain([&mut dots.alpha]) {
            let value = values[count];
            values[..count].fill(value);
        }
        dots
    }
}

/// Whether components of a format are words.
pub(super) fn is_high_depth(format: Format) -> bool {
    format.depth().is_some()
}

/// How a picture's pixels become dots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversion {
    /// How far to the right alpha and the colours are in a pixel of 32 bits.
    shifts: [u32; 4],
    premultiplied: bool,
    /// The picture's alpha as a whole, 0 to 255, or to 65535 in wide formats.
    alpha: u32,
    is_high_depth: bool,
    convert: Option<Convert>,
}

#[derive(Clone, Copy, Debug)]
enum Convert {
    ToYuv,
    ToRgb,
}

impl Conversion {
    pub(super) fn new(format: Format, image: &Image<'_>) -> Self {
        let is_high_depth = is_high_depth(format);
        let full = if is_high_depth { 65535.0 } else { 255.0 };
        Self {
            // A byte's number in a pixel is below 4.
            shifts: image.order.map(|byte| 8 * (byte as u32 & 3)),
            premultiplied: image.premultiplied,
            alpha: (full * image.alpha.clamp(0.0, 1.0)) as u32,
            is_high_depth,
            convert: match (image.colors, format.is_rgb()) {
                (Colors::Rgb, false) => Some(Convert::ToYuv),
                (Colors::Yuv, true) => Some(Convert::ToRgb),
                _ => None,
            },
        }
    }

    /// Colours that were converted are no longer multiplied with their alpha.
    pub(super) fn factor(&self) -> Factor {
        match self.convert {
            Some(Convert::ToYuv) => Factor::Alpha,
            _ if self.premultiplied => Factor::Same(self.alpha),
            _ => Factor::Alpha,
        }
    }

    /// A function that says whether something is seen of a pixel.
    #[inline(always)]
    pub(super) fn is_seen(&self) -> impl Fn(u32) -> bool + Copy + use<> {
        let full: u32 = if self.is_high_depth { 65535 } else { 255 };
        // What becomes an alpha of at least 1.
        let least = match self.alpha {
            0 => 256,
            alpha => full.div_ceil(alpha),
        };
        let shift = self.shifts[0];
        move |pixel| pixel >> shift & 0xff >= least
    }

    /// Converts pixels, whose first byte is the lowest.
    #[inline(always)]
    pub(super) fn convert(&self, pixels: &[u32; BLOCK], dots: &mut PixelBlock) {
        let (alpha, shift) = (self.alpha, self.shifts[0]);
        let own = pixels.iter().zip(&mut dots.alpha);
        if self.is_high_depth {
            own.for_each(|(pixel, to)| {
                *to = (((pixel >> shift & 0xff) * alpha / 65535) << 8) as u16;
            });
        } else {
            own.for_each(|(pixel, to)| {
                let product = (pixel >> shift & 0xff) * alpha;
                // Divided by 255.
                *to = ((product + 1 + (product >> 8)) >> 8) as u16;
            });
        }
        match self.convert {
            Some(Convert::ToYuv) if self.premultiplied => {
                self.each(pixels, dots, |alpha, color| {
                    to_yuv(unmultiplied(alpha, color))
                });
            }
            Some(Convert::ToYuv) => {
                self.each(pixels, dots, |_, color| {
                    to_yuv(color.map(|value| value as f32))
                });
            }
            Some(Convert::ToRgb) => self.each(pixels, dots, |_, color| to_rgb(color)),
            None => self.each(pixels, dots, |_, color| color.map(|value| value as u16)),
        }
        if self.is_high_depth {
            let colors = dots.color.as_flattened_mut().iter_mut();
            colors.for_each(|value| *value <<= 8);
        }
        if let Factor::Same(factor) = self.factor() {
            self.limit(dots, factor);
        }
    }

    /// Makes each pixel's colours of its alpha and its colours.
    #[inline(always)]
    fn each(
        &self,
        pixels: &[u32; BLOCK],
        dots: &mut PixelBlock,
        with: impl Fn(i32, [i32; 3]) -> [u16; 3],
    ) {
        let [alpha, first, second, third] = self.shifts;
        for (number, pixel) in pixels.iter().enumerate() {
            let part = |shift: u32| (pixel >> shift & 0xff).cast_signed();
            let color = with(part(alpha), [first, second, third].map(part));
            for (to, value) in dots.color.iter_mut().zip(color) {
                to[number] = value;
            }
        }
    }

    /// More than alpha lets through is no premultiplied colour. (That alpha was rounded down.)
    #[inline(always)]
    fn limit(&self, dots: &mut PixelBlock, factor: u32) {
        let full = if self.is_high_depth { 65535 } else { 255 };
        let mut most = dots.alpha;
        if factor != full {
            for most in &mut most {
                let limit = (u32::from(*most) * full + full - 1) / factor.max(1);
                *most = limit.min(65535) as u16;
            }
        }
        for color in &mut dots.color {
            for (value, most) in color.iter_mut().zip(&most) {
                *value = (*value).min(*most);
            }
        }
    }
}

// The numbers of GStreamer's video-blend.c, which are those of BT.709 in limited range. Whole numbers
// below 2^24, and such numbers divided by a power of two, are exact in an `f32`, for which every
// vector instruction set has a division and a fast multiplication.

/// Added to a number below 2^22, and subtracted again, it rounds to the nearest whole number: there
/// are no bits for a fraction in the sum.
const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23

/// `(color · 255 + alpha / 2) / alpha`, rounded down; anything where alpha is 0.
#[inline(always)]
fn unmultiplied(alpha: i32, color: [i32; 3]) -> [f32; 3] {
    let reciprocal = 1.0 / (alpha.max(1) as f32);
    color.map(|value| {
        // The half keeps the quotient 1/(2·alpha) away from whole numbers; the errors of reciprocal
        // and product are below 1/(100·alpha).
        let sum = (value * 255 + (alpha >> 1)) as f32 + 0.5;
        (sum * reciprocal - 0.5 + ROUND) - ROUND
    })
}

#[inline(always)]
fn to_yuv([r, g, b]: [f32; 3]) -> [u16; 3] {
    const PART: f32 = 1.0 / 256.0;
    [
        47.0 * PART * r + 157.0 * PART * g + 16.0 * PART * b + 16.0,
        -26.0 * PART * r - 87.0 * PART * g + 112.0 * PART * b + 128.0,
        112.0 * PART * r - 102.0 * PART * g - 10.0 * PART * b + 128.0,
    ]
    .map(|value| {
        let value = if value > 0.0 { value } else { 0.0 };
        let value = if value < 255.0 { value } else { 255.0 };
        // Rounds down: no fraction of 256 is in the middle.
        (value - 127.5 * PART + ROUND).to_bits() as u16
    })
}

#[inline(always)]
fn to_rgb([y, u, v]: [i32; 3]) -> [u16; 3] {
    [
        (298 * y + 459 * v - 63514) >> 8,
        (298 * y - 55 * u - 136 * v + 19681) >> 8,
        (298 * y + 541 * u - 73988) >> 8,
    ]
    .map(|value| value.clamp(0, 255) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// gst_video_blend's matrix_prea_rgb_to_yuv, of one pixel.
    fn reference(alpha: i32, color: [i32; 3]) -> [u16; 3] {
        let [r, g, b] = match alpha {
            0 => color,
            _ => color.map(|value| (value * 255 + alpha / 2) / alpha),
        };
        [
            (47 * r + 157 * g + 16 * b + 4096) >> 8,
            (-26 * r - 87 * g + 112 * b + 32768) >> 8,
            (112 * r - 102 * g - 10 * b + 32768) >> 8,
        ]
        .map(|value| value.clamp(0, 255) as u16)
    }

    /// Also where they are no premultiplied colours, as they are above their alpha.
    #[test]
    fn division_by_alpha_is_exact() {
        for alpha in 1..=255 {
            for value in 0..=255 {
                let exact = (value * 255 + alpha / 2) / alpha;
                let ours = unmultiplied(alpha, [value; 3])[0];
                assert_eq!(ours, exact as f32, "{value} {alpha}");
            }
        }
    }

    #[test]
    fn yuv_is_what_whole_numbers_give() {
        let some = (0..=255).filter(|value| value % 5 == 0 || *value > 250);
        for r in some.clone() {
            for g in some.clone() {
                for b in some.clone() {
                    let ours = to_yuv([r, g, b].map(|value| value as f32));
                    assert_eq!(ours, reference(255, [r, g, b]), "{r} {g} {b}");
                }
            }
        }
        for alpha in 1..=255 {
            for r in some.clone() {
                for (g, b) in [(0, 255), (255, 0), (alpha, r), (r, alpha), (255, 255)] {
                    let ours = to_yuv(unmultiplied(alpha, [r, g, b]));
                    assert_eq!(ours, reference(alpha, [r, g, b]), "{alpha}: {r} {g} {b}");
                }
            }
        }
    }
}
