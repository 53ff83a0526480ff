// SPDX-License-Identifier: MPL-2.0
//! Fills areas with a colour.

use super::Area;
use super::blend::Factor;
use super::blend_pixels::{BLOCK, PixelBlock, is_high_depth};
use super::blend_source::{BlendSource, BlendSpan};
use super::effect::{AccessKind, PlaneEffect, RowRequest, each_row};
use crate::format::Depth;
use crate::{ColorRange, Format, Piece};
use std::ops;
use std::sync::Arc;

/// How colours become luma and chroma, from the colorimetry of the caps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColorMatrix {
    /// The part of red in luma, 0 to 1.
    pub red: f64,
    /// The part of blue in luma, 0 to 1.
    pub blue: f64,
}

impl ColorMatrix {
    /// ITU-R BT.601.
    pub const BT601: Self = Self {
        red: 0.299,
        blue: 0.114,
    };
}

/// A colour blended over an area.
#[derive(Debug)]
pub struct Fill {
    planes: Vec<Plane>,
}

#[derive(Debug)]
struct Plane {
    pieces: Vec<Piece>,
    /// As many blocks as the longest piece has, and one more.
    ink: BlendSpan,
    /// The same as bytes, where the colour is opaque.
    solid: Option<Vec<u8>>,
    at: At,
}

/// Where it is in a frame: the pieces of the same rows together, row by row.
#[derive(Debug, Default)]
struct At {
    /// Those pieces.
    band: ops::Range<usize>,
    row: usize,
    piece: usize,
    /// Whether it is at the block after the whole ones of the piece.
    is_at_tail: bool,
}

impl Fill {
    /// Fills `area` with `color`, 0xAARRGGBB, its colours not multiplied with its alpha.
    /// `premultiplied` is whether the frame's are. Padding inside of pixels (the x of `BGRx`)
    /// becomes 0xff where the colour is opaque, and stays elsewhere.
    #[must_use]
    pub fn new(
        format: Format,
        premultiplied: bool,
        range: ColorRange,
        matrix: ColorMatrix,
        area: &Area,
        color: u32,
    ) -> Self {
        let [alpha, red, green, blue] = color.to_be_bytes();
        let (depth, full) = match format.depth() {
            Some(depth) => (depth, 65535),
            None => (Depth { bits: 8, shift: 0 }, 255),
        };
        let scaled = u32::from(alpha) * (full / 255);
        let color = components(format, range, matrix, depth, [red, green, blue]);
        // Sixteen bits at most.
        let dots = PixelBlock::uniform(color.map(|value| value as u16), scaled as u16);
        let plane = |(number, layout): (usize, &crate::PlaneLayout)| {
            let pieces = layout.pieces(area);
            let longest = pieces.iter().map(|piece| piece.blocks.len()).max();
            let blocks = longest.unwrap_or(0) + 1;
            let mut inks = BlendSource::new(format, premultiplied, number, Factor::Alpha);
            inks.begin();
            for _ in 0..(blocks * layout.block_pixels()).div_ceil(BLOCK) {
                inks.add(&dots);
            }
            let stretch = inks.stretch();
            let ink = BlendSpan::new(&Arc::new(inks), stretch);
            let solid = (alpha == 255).then(|| {
                // Padding that the colour does not cover keeps this value.
                let mut bytes = vec![
                    if is_high_depth(format) { 0 } else { 0xff };
                    blocks * layout.block_bytes()
                ];
                ink.blend(&mut bytes);
                bytes
            });
            Plane {
                pieces,
                ink,
                solid,
                at: At::default(),
            }
        };
        let planes = format.planes().iter().enumerate().map(plane).collect();
        Self { planes }
    }

    /// The work on each plane where there is some, by the plane's number.
    pub fn steps(&mut self) -> impl Iterator<Item = (usize, &mut dyn PlaneEffect)> {
        let planes = self.planes.iter_mut().enumerate();
        let planes = planes.filter(|(_, plane)| !plane.pieces.is_empty());
        planes.map(|(number, plane)| (number, plane as &mut dyn PlaneEffect))
    }

    /// Returns the pieces of a plane that are overwritten without being read; `None` where any is
    /// read.
    pub fn overwritten(&self, plane: usize) -> Option<&[Piece]> {
        let plane = self.planes.get(plane)?;
        plane.solid.as_ref().map(|_| &plane.pieces[..])
    }

    /// Whether there is something to paint in a plane.
    #[must_use]
    pub fn touches(&self, plane: usize) -> bool {
        self.planes
            .get(plane)
            .is_some_and(|plane| !plane.pieces.is_empty())
    }
}

impl Plane {
    /// Goes to the band that begins with this piece.
    fn enter(&mut self, first: usize) {
        let rows = self.pieces.get(first).map(|piece| &piece.rows);
        let behind = self.pieces.get(first..).unwrap_or(&[]);
        let alike = behind.iter().take_while(|piece| Some(&piece.rows) == rows);
        self.at = At {
            band: first..first + alike.count(),
            row: rows.map_or(usize::MAX, |rows| rows.start),
            piece: first,
            is_at_tail: false,
        };
        self.at.is_at_tail = self.has_no_whole();
    }

    fn has_no_whole(&self) -> bool {
        let piece = self.pieces.get(self.at.piece);
        piece.is_some_and(|piece| piece.blocks.is_empty() && piece.tail_mask.is_some())
    }

    fn advance(&mut self, rows: usize) {
        let Some(piece) = self.pieces.get(self.at.piece) else {
            return;
        };
        if !self.at.is_at_tail && piece.tail_mask.is_some() {
            self.at.is_at_tail = true;
            return;
        }
        self.at.piece += 1;
        if self.at.piece == self.at.band.end {
            self.at.row += rows;
            if self.at.row >= piece.rows.end {
                self.enter(self.at.band.end);
                return;
            }
            self.at.piece = self.at.band.start;
        }
        self.at.is_at_tail = self.has_no_whole();
    }
}

impl PlaneEffect for Plane {
    fn begin(&mut self) {
        self.enter(0);
    }

    fn next_request(&self) -> Option<RowRequest> {
        let piece = self.pieces.get(self.at.piece)?;
        let (blocks, access) = match &self.solid {
            _ if self.at.is_at_tail => (piece.blocks.end..piece.blocks.end + 1, AccessKind::Update),
            Some(_) => (piece.blocks.clone(), AccessKind::Write),
            None => (piece.blocks.clone(), AccessKind::Update),
        };
        let is_alone = self.at.band.len() == 1 && piece.tail_mask.is_none();
        let end = if is_alone {
            piece.rows.end
        } else {
            self.at.row + 1
        };
        Some(RowRequest {
            rows: self.at.row..end,
            blocks,
            access,
        })
    }

    fn work(&mut self, bytes: &mut [u8], stride: usize, rows: usize) {
        let mask = self.pieces.get(self.at.piece).and_then(|p| p.tail_mask);
        let mask = mask.filter(|_| self.at.is_at_tail);
        for piece in each_row(bytes, stride, rows) {
            match (&self.solid, mask) {
                (_, Some(mask)) => {
                    let mut new = [0; 16];
                    let new = &mut new[..piece.len()];
                    match &self.solid {
                        Some(solid) => new.copy_from_slice(&solid[..piece.len()]),
                        None => {
                            new.copy_from_slice(piece);
                            self.ink.blend(new);
                        }
                    }
                    for ((byte, new), mask) in piece.iter_mut().zip(new).zip(mask) {
                        if *mask != 0 {
                            *byte = *new;
                        }
                    }
                }
                (Some(solid), None) => piece.copy_from_slice(&solid[..piece.len()]),
                (None, None) => self.ink.blend(piece),
            }
        }
        self.advance(rows);
    }

    fn completed_rows(&self) -> usize {
        self.at.row
    }

    fn each_rect(&self, with: &mut dyn FnMut(ops::Range<usize>, ops::Range<usize>)) {
        for piece in &self.pieces {
            let blocks = &piece.blocks;
            let end = blocks.end + usize::from(piece.tail_mask.is_some());
            with(piece.rows.clone(), blocks.start..end);
        }
    }
}

/// The components of a colour, as the format has them: eight bits, or sixteen of which the upper
/// ones are the format's.
fn components(
    format: Format,
    range: ColorRange,
    matrix: ColorMatrix,
    depth: Depth,
    rgb: [u8; 3],
) -> [u32; 3] {
    if format.is_rgb() {
        return rgb.map(u32::from);
    }
    let [red, green, blue] = rgb.map(|value| f64::from(value) / 255.0);
    let luma = matrix.red * red + (1.0 - matrix.red - matrix.blue) * green + matrix.blue * blue;
    let chroma = |color: f64, part: f64| (color - luma) / (2.0 * (1.0 - part));
    let level = f64::from(1 << (depth.bits - 8));
    let full = f64::from((1_u32 << depth.bits) - 1);
    let (black, scale, chroma_scale) = match range {
        ColorRange::Limited => (16.0 * level, 219.0 * level, 224.0 * level),
        ColorRange::Full => (0.0, full, full),
    };
    [
        black + scale * luma,
        128.0 * level + chroma_scale * chroma(blue, matrix.blue),
        128.0 * level + chroma_scale * chroma(red, matrix.red),
    ]
    .map(|value| {
        // Whole, and between 0 and the highest value.
        let value = value.round().clamp(0.0, full) as u32;
        match depth.bits {
            8 | 16 => value,
            bits => value << (16 - bits) | value >> (2 * bits - 16),
        }
    })
}
