// SPDX-License-Identifier: MPL-2.0
//! Blends with the Porter-Duff operator over: `new = (colour · factor + old · (1 − alpha))`.
//!
//! The factor is the alpha, or a constant for premultiplied colours. Divisions round down, as in
//! `gst_video_blend`.

use crate::kernels::Kernel;
use std::ops::Range;

/// What colours are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Factor {
    /// Their own alpha.
    Alpha,
    /// The same for all, as their alpha is in them already.
    Same(u32),
}

impl Factor {
    /// What a colour of this alpha is multiplied with.
    pub(super) fn of(self, alpha: u32) -> u32 {
        match self {
            Self::Alpha => alpha,
            Self::Same(factor) => factor,
        }
    }
}

/// Returns the part of a run within the first `most` fields.
pub(super) fn within(run: &Range<u32>, most: usize) -> Range<usize> {
    (run.start as usize).min(most)..(run.end as usize).min(most)
}

/// A span that is blended byte by byte.
pub(super) struct BlendBytes<'a> {
    pub(super) ink: &'a [u16],
    pub(super) factor: Factor,
    pub(super) runs: &'a [Range<u32>],
    pub(super) bytes: &'a mut [u8],
}

/// Bytes that are blended at a time: with a length that the compiler knows, all of it is vectors.
const LANES: usize = 32;

impl Kernel for BlendBytes<'_> {
    #[inline(always)]
    fn run(self) {
        for run in self.runs {
            let run = within(run, self.bytes.len());
            let (ink, bytes) = (&self.ink[run.clone()], &mut self.bytes[run]);
            match self.factor {
                Factor::Alpha => over_bytes(bytes, ink, |alpha| alpha),
                // At most 255.
                Factor::Same(factor) => over_bytes(bytes, ink, |_| factor as u16),
            }
        }
    }
}

#[inline(always)]
fn over_bytes(bytes: &mut [u8], ink: &[u16], factor: impl Fn(u16) -> u16) {
    in_blocks::<_, _, LANES>(bytes, ink, |bytes, ink| {
        for (byte, ink) in bytes.iter_mut().zip(ink) {
            let (color, alpha) = (ink & 0xff, ink >> 8);
            let product = color.wrapping_mul(factor(alpha));
            *byte = over(product, *byte, 255 - alpha as u8);
        }
    });
}

/// Calls `with` for each `N` elements, and for what is left at the end with others after it.
#[inline(always)]
fn in_blocks<T: Copy + Default, I: Copy + Default, const N: usize>(
    of: &mut [T],
    ink: &[I],
    with: impl Fn(&mut [T; N], &[I; N]),
) {
    let (blocks, rest) = of.as_chunks_mut::<N>();
    let (inks, ink) = ink.as_chunks::<N>();
    for (block, ink) in blocks.iter_mut().zip(inks) {
        with(block, ink);
    }
    if !rest.is_empty() {
        let (mut last, mut last_ink) = ([T::default(); N], [I::default(); N]);
        last[..rest.len()].copy_from_slice(rest);
        last_ink[..rest.len()].copy_from_slice(ink);
        with(&mut last, &last_ink);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// `(product + old · keep) / 255`, rounded down.
#[inline(always)]
pub(super) fn over(product: u16, old: u8, keep: u8) -> u8 {
    // At most 255 · 255 + 254, as the alphas of the two make 255: sixteen bits are enough, and eight
    // of them go into a vector of any instruction set.
    let sum = product.wrapping_add(u16::from(old) * u16::from(keep));
    // Exact up to 65534.
    (sum.wrapping_add(1).wrapping_add(sum >> 8) >> 8) as u8
}

/// A span that is blended by pixels of four bytes.
pub(super) struct BlendPixels<'a> {
    pub(super) ink: &'a [u32],
    pub(super) factor: Factor,
    pub(super) place: usize,
    /// Whether the fourth byte is an alpha, too; else it stays.
    pub(super) is_alpha: bool,
    pub(super) runs: &'a [Range<u32>],
    pub(super) bytes: &'a mut [u8],
}

impl Kernel for BlendPixels<'_> {
    #[inline(always)]
    fn run(self) {
        let pixels = self.bytes.as_chunks_mut::<4>().0;
        for run in self.runs {
            let run = within(run, pixels.len());
            let (ink, pixels) = (&self.ink[run.clone()], &mut pixels[run]);
            match (self.factor, self.place) {
                (Factor::Alpha, 0) => over_pixels::<0>(pixels, ink, self.is_alpha, |alpha| alpha),
                (Factor::Alpha, _) => over_pixels::<3>(pixels, ink, self.is_alpha, |alpha| alpha),
                (Factor::Same(factor), 0) => {
                    over_pixels::<0>(pixels, ink, self.is_alpha, |_| factor);
                }
                (Factor::Same(factor), _) => {
                    over_pixels::<3>(pixels, ink, self.is_alpha, |_| factor);
                }
            }
        }
    }
}

/// The fourth byte's place is the first or the last.
#[inline(always)]
fn over_pixels<const PLACE: usize>(
    pixels: &mut [[u8; 4]],
    ink: &[u32],
    is_alpha: bool,
    factor: impl Fn(u32) -> u32,
) {
    // Of two bytes of a pixel, each in sixteen bits: no sum is longer, see `over`.
    const LOW: u32 = 0x00ff_00ff;
    let shift = 8 * PLACE;
    let fourth = 0xff_u32 << shift;
    let stays = if is_alpha { 0 } else { fourth };
    let one = |pixel: &mut [u8; 4], ink: u32| {
        let old = u32::from_le_bytes(*pixel);
        let alpha = ink >> shift & 0xff;
        let (keep, factor, color) = (255 - alpha, factor(alpha), ink & !fourth);
        // The fourth is its own colour, which is wholly laid on.
        let (even, odd) = match PLACE {
            0 => (alpha * 255, 0),
            _ => (0, (alpha * 255) << 16),
        };
        let over = |color: u32, old: u32, more: u32| {
            let sum = (color & LOW) * factor + (old & LOW) * keep + more;
            (sum + 0x0001_0001 + (sum >> 8 & LOW)) >> 8 & LOW
        };
        let new = over(color, old, even) | over(color >> 8, old >> 8, odd) << 8;
        *pixel = (new & !stays | old & stays).to_le_bytes();
    };
    in_blocks::<_, _, { LANES / 2 }>(pixels, ink, |pixels, ink| {
        for (pixel, ink) in pixels.iter_mut().zip(ink) {
            one(pixel, *ink);
        }
    });
}

/// Over, where the colours below were not multiplied with the alpha beside them.
pub(super) fn straight(pixel: &mut [u8; 4], ink: [u8; 4], factor: Factor, place: usize) {
    let alpha = u32::from(ink[place]);
    if alpha == 0 {
        return;
    }
    let (old_alpha, keep) = (u32::from(pixel[place]), 255 - alpha);
    let new_alpha = alpha + old_alpha * keep / 255;
    for (byte, (value, color)) in pixel.iter_mut().zip(ink).enumerate() {
        *value = if byte == place {
            new_alpha as u8
        } else {
            let below = u32::from(*value) * old_alpha * keep / 255;
            let product = u32::from(color) * factor.of(alpha);
            ((product + below) / new_alpha.max(1)).min(255) as u8
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_by_255_is_exact() {
        for alpha in 0..=255_u8 {
            for old in 0..=255_u8 {
                for colour in [0, 1, 127, 128, 254, 255_u16] {
                    let product = colour * u16::from(alpha);
                    let sum = u32::from(product) + u32::from(old) * u32::from(255 - alpha);
                    assert_eq!(u32::from(over(product, old, 255 - alpha)), sum / 255);
                }
            }
        }
    }
}
