// SPDX-License-Identifier: MPL-2.0
//! Pictures with transparent parts, laid over a frame.

use super::Rect;
use super::ink::{Dot, Ink, Inks, is_rgb, is_wide};
use super::over::Factor;
use crate::pixel::Format;
use std::ops::Range;
use std::sync::Arc;

/// How the colours of a picture are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// Red, green and blue.
    Rgb,
    /// Luma and chroma.
    Yuv,
}

/// A picture with an alpha for each pixel.
#[derive(Clone, Copy, Debug)]
pub struct Image<'i> {
    /// Four bytes a pixel, rows from top to bottom, nothing between them.
    pub bytes: &'i [u8],
    /// Pixels in a row.
    pub width: usize,
    /// What the colours are.
    pub colors: Colors,
    /// Which byte of a pixel is alpha, and which are its colours.
    pub order: [usize; 4],
    /// Whether the colours are multiplied with alpha.
    pub premultiplied: bool,
    /// Alpha of the picture as a whole, 0 to 1.
    pub alpha: f32,
}

/// A picture made ready for frames of one format and size, at one place.
///
/// What is drawn is what `gst_video_overlay_composition_blend` draws: subsampled planes take the
/// first pixel of those that share a sample, and where picture and frame do not both have RGB or
/// YUV, colours are converted with its numbers.
#[derive(Debug)]
pub struct Sprite {
    planes: Vec<Vec<Line>>,
}

/// Units of a row with something to see in most of them.
#[derive(Debug)]
pub struct Line {
    row: usize,
    units: Range<usize>,
    /// What of the first unit may change, if that is not all.
    late: Option<&'static [u8]>,
    ink: Ink,
}

impl Line {
    /// The row.
    #[must_use]
    pub fn row(&self) -> usize {
        self.row
    }

    /// Its units.
    #[must_use]
    pub fn units(&self) -> Range<usize> {
        self.units.clone()
    }

    /// Lays it over them.
    pub fn draw(&self, units: &mut [u8]) {
        let Some(mask) = self.late else {
            return self.ink.lay_over(units);
        };
        let mut before = [0; 16];
        let before = &mut before[..mask.len()];
        before.copy_from_slice(&units[..mask.len()]);
        self.ink.lay_over(units);
        for ((byte, before), mask) in units.iter_mut().zip(before).zip(mask) {
            if *mask == 0 {
                *byte = *before;
            }
        }
    }
}

impl Sprite {
    /// Makes `image` ready to be drawn at (`x`, `y`) on pictures of this size, in frames of this
    /// format whose colours are multiplied with their alpha if `premultiplied` says so. Column and
    /// row `corner` of the frame, which are less than what a sample stands for, are where the
    /// picture begins; nothing outside of it is drawn on.
    #[must_use]
    pub fn new(
        format: Format,
        premultiplied: bool,
        size: (usize, usize),
        corner: (usize, usize),
        (x, y): (i32, i32),
        image: &Image<'_>,
    ) -> Self {
        let height = image.bytes.len() / 4 / image.width.max(1);
        let place = Rect {
            x,
            y,
            width: u32::try_from(image.width).unwrap_or(u32::MAX),
            height: u32::try_from(height).unwrap_or(u32::MAX),
        };
        let (columns, rows) = place.clipped(size);
        let in_frame = |range: Range<usize>, corner| range.start + corner..range.end + corner;
        let (columns, rows) = (in_frame(columns, corner.0), in_frame(rows, corner.1));
        let mixing = Mixing::new(format, image);
        // Samples take the first of their pixels that is in the picture.
        let dot = |column: usize, row: usize| -> Dot {
            let (column, row) = (column.max(corner.0), row.max(corner.1));
            if !columns.contains(&column) || !rows.contains(&row) {
                return Dot::default();
            }
            // Both lie in the frame and in the image.
            let column = ((column - corner.0) as i64 - i64::from(x)) as usize;
            let row = ((row - corner.1) as i64 - i64::from(y)) as usize;
            let at = (row * image.width + column) * 4;
            mixing.dot(image.order.map(|byte| image.bytes[at + byte]))
        };
        let plane = |(number, layout): (usize, &crate::pixel::PlaneLayout)| {
            let pixels = layout.pixels();
            let share = layout.row_share();
            let mut inks = Inks::new(format, premultiplied, number, mixing.factor());
            let mut lines = Vec::new();
            let first_row = match rows.start {
                start if start == corner.1 => start / share,
                start => start.div_ceil(share),
            };
            for row in first_row..rows.end.div_ceil(share) {
                let units = columns.start / pixels..columns.end.div_ceil(pixels);
                let is_seen = |unit: &usize| {
                    let mut own = unit * pixels..(unit + 1) * pixels;
                    own.any(|column| dot(column, row * share).alpha != 0)
                };
                for units in runs(units.filter(is_seen), GAP / layout.unit()) {
                    let seen = units.start * pixels..units.end * pixels;
                    let dots = seen.map(|column| dot(column, row * share));
                    lines.push((row, units, inks.add(dots)));
                }
            }
            let inks = Arc::new(inks);
            let lines = lines.into_iter().map(|(row, units, stretch)| {
                let is_late = units.start * pixels < corner.0;
                Line {
                    row,
                    late: layout.late_unit().filter(|_| is_late),
                    units,
                    ink: Ink::new(&inks, stretch),
                }
            });
            lines.collect()
        };
        let planes = format.planes().iter().enumerate().map(plane).collect();
        Self { planes }
    }

    /// What is drawn on a plane, from top to bottom.
    #[must_use]
    pub fn lines(&self, plane: usize) -> &[Line] {
        self.planes.get(plane).map_or(&[], Vec::as_slice)
    }

    /// Whether there is something to see in a plane.
    #[must_use]
    pub fn touches(&self, plane: usize) -> bool {
        self.planes
            .get(plane)
            .is_some_and(|lines| !lines.is_empty())
    }
}

/// Runs of numbers that ascend; smaller gaps than `gap` are part of a run.
fn runs(numbers: impl Iterator<Item = usize>, gap: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if number < run.end + gap => run.end = number + 1,
            _ => runs.push(number..number + 1),
        }
    }
    runs
}

/// Bytes that are gone over sooner than a new piece of a row is asked for.
const GAP: usize = 256;

/// How a picture's pixels become dots.
struct Mixing {
    premultiplied: bool,
    /// 0 to 255, or to 65535 in wide formats.
    alpha: u32,
    is_wide: bool,
    convert: Option<Convert>,
}

enum Convert {
    ToYuv,
    ToRgb,
}

impl Mixing {
    fn new(format: Format, image: &Image<'_>) -> Self {
        let is_wide = is_wide(format);
        let full = if is_wide { 65535.0 } else { 255.0 };
        Self {
            premultiplied: image.premultiplied,
            alpha: (full * image.alpha.clamp(0.0, 1.0)) as u32,
            is_wide,
            convert: match (image.colors, is_rgb(format)) {
                (Colors::Rgb, false) => Some(Convert::ToYuv),
                (Colors::Yuv, true) => Some(Convert::ToRgb),
                _ => None,
            },
        }
    }

    /// Colours that were converted are no longer multiplied with their alpha.
    fn factor(&self) -> Factor {
        match self.convert {
            Some(Convert::ToYuv) => Factor::Alpha,
            _ if self.premultiplied => Factor::Same(self.alpha),
            _ => Factor::Alpha,
        }
    }

    fn dot(&self, [alpha, first, second, third]: [u8; 4]) -> Dot {
        let own = i32::from(alpha);
        let mut color = [first, second, third].map(i32::from);
        match self.convert {
            Some(Convert::ToYuv) => {
                if self.premultiplied && own != 0 {
                    color = color.map(|value| (value * 255 + own / 2) / own);
                }
                color = to_yuv(color);
            }
            Some(Convert::ToRgb) => color = to_rgb(color),
            None => {}
        }
        let color = color.map(i32::cast_unsigned);
        let (alpha, shift) = if self.is_wide {
            ((u32::from(alpha) * self.alpha / 65535) << 8, 8)
        } else {
            (u32::from(alpha) * self.alpha / 255, 0)
        };
        let full = if self.is_wide { 65535 } else { 255 };
        let most = match self.factor() {
            // More than alpha lets through is no premultiplied colour. (That alpha was rounded
            // down.)
            Factor::Same(factor) => (alpha * full + full - 1) / factor.max(1),
            Factor::Alpha => full,
        };
        Dot {
            color: color.map(|value| (value << shift).min(most)),
            alpha,
        }
    }
}

// The numbers of GStreamer's video-blend.c, which are those of BT.709 in limited range.

fn to_yuv([r, g, b]: [i32; 3]) -> [i32; 3] {
    [
        (47 * r + 157 * g + 16 * b + 4096) >> 8,
        (-26 * r - 87 * g + 112 * b + 32768) >> 8,
        (112 * r - 102 * g - 10 * b + 32768) >> 8,
    ]
    .map(|value| value.clamp(0, 255))
}

fn to_rgb([y, u, v]: [i32; 3]) -> [i32; 3] {
    [
        (298 * y + 459 * v - 63514) >> 8,
        (298 * y - 55 * u - 136 * v + 19681) >> 8,
        (298 * y + 541 * u - 73988) >> 8,
    ]
    .map(|value| value.clamp(0, 255))
}
