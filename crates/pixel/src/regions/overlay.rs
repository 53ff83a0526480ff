// SPDX-License-Identifier: MPL-2.0
//! Overlay rectangles: images with alpha that are blended over a frame.

use super::Rect;
use super::blend_pixels::{BLOCK, Conversion, PixelBlock};
use super::blend_source::{BlendSource, BlendSpan, Stretch};
use crate::kernels::Kernel;
use crate::{Format, Isa};
use std::ops::Range;
use std::sync::Arc;

/// The colour space of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// Red, green and blue.
    Rgb,
    /// Luma and chroma.
    Yuv,
}

/// An image with alpha.
#[derive(Clone, Copy, Debug)]
pub struct Image<'i> {
    /// Four bytes a pixel, rows from top to bottom.
    pub bytes: &'i [u8],
    /// Pixels in a row.
    pub width: usize,
    /// Rows. Those that are not in `bytes` as a whole are transparent.
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// What the colours are.
    pub colors: Colors,
    /// Which byte of a pixel is alpha, and which are its colours.
    pub order: [usize; 4],
    /// Whether the colours are multiplied with alpha.
    pub premultiplied: bool,
    /// Alpha of the picture as a whole, 0 to 1.
    pub alpha: f32,
}

impl Image<'_> {
    fn row(&self, number: usize) -> &[[u8; 4]] {
        let bytes = number.checked_mul(self.stride);
        let bytes = bytes.and_then(|start| self.bytes.get(start..));
        let pixels = bytes.map_or(&[][..], |bytes| bytes.as_chunks().0);
        pixels.get(..self.width).unwrap_or(&[])
    }
}

/// An image prepared for frames of one format and size, at one position.
///
/// What is drawn is what `gst_video_overlay_composition_blend` draws: subsampled planes take the
/// first pixel of those that share a sample, and where picture and frame do not both have RGB or
/// YUV, colours are converted with its numbers.
#[derive(Debug, Default)]
pub struct OverlayRect {
    /// The frame's, and whether its colours are multiplied with its alpha.
    format: Option<(Format, bool)>,
    planes: Vec<Plane>,
}

#[derive(Debug)]
struct Plane {
    ink: Arc<BlendSource>,
    spans: Vec<OverlaySpan>,
    /// The spans' rows, blocks and ink, while there is more to come.
    stretches: Vec<(usize, Range<usize>, Stretch)>,
}

/// Units of a row with something to see in most of them.
#[derive(Debug)]
pub struct OverlaySpan {
    row: usize,
    blocks: Range<usize>,
    /// The bytes of the first block that may change, if not all of them.
    head_mask: Option<&'static [u8]>,
    ink: BlendSpan,
}

impl OverlaySpan {
    /// The row.
    #[must_use]
    pub fn row(&self) -> usize {
        self.row
    }

    /// Its blocks.
    #[must_use]
    pub fn blocks(&self) -> Range<usize> {
        self.blocks.clone()
    }

    /// Blends it over the blocks.
    pub fn blend(&self, blocks: &mut [u8]) {
        let Some(mask) = self.head_mask else {
            return self.ink.blend(blocks);
        };
        let mut before = [0; 16];
        let before = &mut before[..mask.len()];
        before.copy_from_slice(&blocks[..mask.len()]);
        self.ink.blend(blocks);
        for ((byte, before), mask) in blocks.iter_mut().zip(before).zip(mask) {
            if *mask == 0 {
                *byte = *before;
            }
        }
    }
}

impl OverlayRect {
    /// Creates a rectangle and applies [`OverlayRect::set`] to it.
    #[must_use]
    pub fn new(
        format: Format,
        premultiplied: bool,
        size: (usize, usize),
        corner: (usize, usize),
        place: (i32, i32),
        image: &Image<'_>,
    ) -> Self {
        let mut rect = Self::default();
        rect.set(format, premultiplied, size, corner, place, image);
        rect
    }

    /// Prepares `image` to be drawn at (`x`, `y`) on pictures of this size, in frames of this format
    /// whose colours are multiplied with their alpha if `premultiplied` says so. The picture begins
    /// at column and row `corner` of the frame, which are less than what a sample stands for; nothing
    /// outside of it is drawn on. The memory of the previous image is reused.
    pub fn set(
        &mut self,
        format: Format,
        premultiplied: bool,
        size: (usize, usize),
        corner: (usize, usize),
        (x, y): (i32, i32),
        image: &Image<'_>,
    ) {
        let mixing = Conversion::new(format, image);
        let new = |number| BlendSource::new(format, premultiplied, number, mixing.factor());
        if self.format.replace((format, premultiplied)) != Some((format, premultiplied)) {
            let planes = (0..format.planes().len()).map(|number| Plane {
                ink: Arc::new(new(number)),
                spans: Vec::new(),
                stretches: Vec::new(),
            });
            self.planes = planes.collect();
        }
        self.clear();
        let mut inks = Vec::with_capacity(self.planes.len());
        for (number, (plane, layout)) in self.planes.iter_mut().zip(format.planes()).enumerate() {
            if Arc::get_mut(&mut plane.ink).is_none() {
                plane.ink = Arc::new(new(number));
            }
            if let Some(ink) = Arc::get_mut(&mut plane.ink) {
                ink.clear(mixing.factor());
                inks.push(Filled {
                    ink,
                    stretches: &mut plane.stretches,
                    pixels: layout.block_pixels(),
                    rows: layout.row_subsampling(),
                });
            }
        }
        let of_pixel =
            |layout: &crate::PlaneLayout| layout.block_bytes().div_ceil(layout.block_pixels());
        let place = Rect {
            x,
            y,
            width: u32::try_from(image.width).unwrap_or(u32::MAX),
            height: u32::try_from(image.height).unwrap_or(u32::MAX),
        };
        let (columns, rows) = place.clipped(size);
        let in_frame = |range: Range<usize>, corner| range.start + corner..range.end + corner;
        Isa::best().run(Convert {
            image,
            mixing,
            columns: in_frame(columns, corner.0),
            rows: in_frame(rows, corner.1),
            place: (
                i64::from(x) + corner.0 as i64,
                i64::from(y) + corner.1 as i64,
            ),
            corner,
            inks: &mut inks,
            align: format
                .planes()
                .iter()
                .map(|layout| layout.block_pixels())
                .max()
                .unwrap_or(1),
            gap: GAP / format.planes().iter().map(of_pixel).max().unwrap_or(1),
        });
        for (plane, layout) in self.planes.iter_mut().zip(format.planes()) {
            let stretches = plane.stretches.drain(..);
            plane.spans.extend(stretches.map(|(row, blocks, stretch)| {
                OverlaySpan {
                    row,
                    head_mask: layout
                        .head_mask()
                        .filter(|_| blocks.start * layout.block_pixels() < corner.0),
                    blocks,
                    ink: BlendSpan::new(&plane.ink, stretch),
                }
            }));
        }
    }

    /// Removes the image.
    pub fn clear(&mut self) {
        for plane in &mut self.planes {
            plane.spans.clear();
        }
    }

    /// What is drawn on a plane, from top to bottom.
    #[must_use]
    pub fn spans(&self, plane: usize) -> &[OverlaySpan] {
        self.planes.get(plane).map_or(&[], |plane| &plane.spans)
    }

    /// Whether any of it is visible in a plane.
    #[must_use]
    pub fn touches(&self, plane: usize) -> bool {
        self.planes
            .get(plane)
            .is_some_and(|plane| !plane.spans.is_empty())
    }
}

/// The gap, in bytes, that is processed faster than a new span is requested.
const GAP: usize = 256;

/// A plane's ink while it is made.
struct Filled<'f> {
    ink: &'f mut BlendSource,
    stretches: &'f mut Vec<(usize, Range<usize>, Stretch)>,
    /// Pixels in a block, and rows of the frame that a row stands for.
    pixels: usize,
    rows: usize,
}

/// The way from a picture's pixels to the source of all planes: row by row, and of a row only the
/// blocks in which something is seen.
struct Convert<'c, 'f> {
    image: &'c Image<'c>,
    mixing: Conversion,
    /// What the frame has of the image.
    columns: Range<usize>,
    rows: Range<usize>,
    /// Column and row of the frame where the image begins.
    place: (i64, i64),
    /// Column and row of the frame where the picture begins: samples take the first of their pixels
    /// that is in the picture.
    corner: (usize, usize),
    inks: &'c mut [Filled<'f>],
    /// Pixels in the largest block; a line begins with one.
    align: usize,
    /// Pixels that are not seen and nevertheless part of a line.
    gap: usize,
}

impl Kernel for Convert<'_, '_> {
    #[inline(always)]
    fn run(self) {
        let (x, y) = self.place;
        let top = self.corner.1;
        let is_seen = self.mixing.is_seen();
        let mut dots = PixelBlock::uniform([0; 3], 0);
        for row in self.rows {
            // Both are in the frame and in the image.
            let first = (self.columns.start as i64 - x) as usize;
            let pixels = self.image.row((row as i64 - y) as usize);
            let Some(pixels) = pixels.get(first..first + self.columns.len()) else {
                continue;
            };
            let mut line: Option<Range<usize>> = None;
            let mut last = 0;
            let mut at = 0;
            while let Some(seen) = next_seen(&pixels[at..], is_seen) {
                let seen = self.columns.start + at + seen;
                let column = seen / self.align * self.align;
                if let Some(before) = line.take_if(|line| column >= line.end + self.gap) {
                    end_line(of_row(self.inks, row, top), row, before.start..last);
                }
                let hole = match &line {
                    Some(line) => column - line.end,
                    None => {
                        of_row(self.inks, row, top).for_each(|of| of.ink.begin());
                        0
                    }
                };
                let before = self.columns.start.saturating_sub(column);
                let from = column.saturating_sub(self.columns.start);
                let block = block(&pixels[from..], before);
                self.mixing.convert(&block, &mut dots);
                // At the picture's left edge.
                let is_first = before > 0 && self.columns.start == self.corner.0;
                let shared = is_first.then(|| dots.repeated(before));
                for of in of_row(self.inks, row, top) {
                    if hole > 0 {
                        of.ink.add_hole(hole);
                    }
                    let shared = shared.as_ref().filter(|_| of.pixels > 1);
                    of.ink.add(shared.unwrap_or(&dots));
                }
                let end = column + BLOCK;
                line = Some(line.map_or(column, |line| line.start)..end);
                last = end
                    - dots
                        .alpha
                        .iter()
                        .rev()
                        .take_while(|alpha| **alpha == 0)
                        .count();
                at = (end - self.columns.start).min(pixels.len());
            }
            if let Some(line) = line {
                end_line(of_row(self.inks, row, top), row, line.start..last);
            }
        }
    }
}

/// The planes that have a row of their own for one of the frame's, in a picture whose first row is
/// `top`.
#[inline(always)]
fn of_row<'i, 'f>(
    inks: &'i mut [Filled<'f>],
    row: usize,
    top: usize,
) -> impl Iterator<Item = &'i mut Filled<'f>> {
    let planes = inks.iter_mut();
    planes.filter(move |of| row.is_multiple_of(of.rows) || row == top)
}

/// Ends a line that is seen in these columns.
#[inline(always)]
fn end_line<'i, 'f: 'i>(
    planes: impl Iterator<Item = &'i mut Filled<'f>>,
    row: usize,
    columns: Range<usize>,
) {
    for of in planes {
        let blocks = columns.start / of.pixels..columns.end.div_ceil(of.pixels);
        of.stretches.push((row / of.rows, blocks, of.ink.stretch()));
    }
}

/// The first pixel of which something is seen.
#[inline(always)]
fn next_seen(pixels: &[[u8; 4]], is_seen: impl Fn(u32) -> bool + Copy) -> Option<usize> {
    let seen = |pixel: &[u8; 4]| is_seen(u32::from_le_bytes(*pixel));
    const SOME: usize = 16;
    let (blocks, _) = pixels.as_chunks::<SOME>();
    let any = |block: &[[u8; 4]; SOME]| block.iter().fold(false, |any, pixel| any | seen(pixel));
    let skipped = blocks.iter().take_while(|block| !any(block)).count() * SOME;
    Some(skipped + pixels[skipped..].iter().position(seen)?)
}

/// A block of pixels, as many as there are, after some transparent ones.
#[inline(always)]
fn block(pixels: &[[u8; 4]], before: usize) -> [u32; BLOCK] {
    if before == 0
        && let Some(pixels) = pixels.first_chunk::<BLOCK>()
    {
        return pixels.map(u32::from_le_bytes);
    }
    let mut block = [0; BLOCK];
    for (to, pixel) in block.iter_mut().skip(before).zip(pixels) {
        *to = u32::from_le_bytes(*pixel);
    }
    block
}
