// SPDX-License-Identifier: MPL-2.0
//! Areas painted over.

use super::ink::{Dot, Ink, is_rgb, is_wide};
use super::{Area, CHUNK, Rows, in_chunks};
use crate::pixel::format::{Depth, Shape};
use crate::pixel::{Format, Piece, Range};

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

/// A colour laid over an area, whole or in part.
#[derive(Debug)]
pub struct Fill {
    planes: Vec<Plane>,
}

#[derive(Debug)]
struct Plane {
    pieces: Vec<Piece>,
    /// As many units as the longest piece has, and one more.
    ink: Ink,
    /// The same as bytes, where they need nothing of what is below.
    solid: Option<Vec<u8>>,
}

impl Fill {
    /// Fills `area` with `color`, 0xAARRGGBB, its colours not multiplied with its alpha.
    /// `premultiplied` is whether the frame's are. Padding inside of pixels (the x of `BGRx`)
    /// becomes 0xff where the colour is opaque, and stays elsewhere.
    #[must_use]
    pub fn new(
        format: Format,
        premultiplied: bool,
        range: Range,
        matrix: ColorMatrix,
        area: &Area,
        color: u32,
    ) -> Self {
        let [alpha, red, green, blue] = color.to_be_bytes();
        let (depth, full) = match format.shape() {
            Shape::Wide(depth, _) => (depth, 65535),
            _ => (Depth { bits: 8, shift: 0 }, 255),
        };
        let scaled = u32::from(alpha) * (full / 255);
        let color = components(format, range, matrix, depth, [red, green, blue]);
        let dot = Dot {
            product: color.map(|value| value * scaled),
            alpha: scaled,
        };
        let plane = |(number, layout): (usize, &crate::pixel::PlaneLayout)| {
            let pieces = layout.pieces(area);
            let longest = pieces.iter().map(|piece| piece.units.len()).max();
            let units = longest.unwrap_or(0) + 1;
            let dots = std::iter::repeat_n(dot, units * layout.pixels());
            let ink = Ink::new(format, premultiplied, number, dots);
            let solid = (alpha == 255).then(|| {
                // Padding that the ink does not lie over keeps what it is laid over.
                let mut bytes = vec![if is_wide(format) { 0 } else { 0xff }; units * layout.unit()];
                ink.lay_over(0, &mut bytes);
                bytes
            });
            Plane { pieces, ink, solid }
        };
        let planes = format.planes().iter().enumerate().map(plane).collect();
        Self { planes }
    }

    /// Paints.
    ///
    /// # Errors
    /// Those of `rows`.
    pub fn apply<R: Rows>(&self, rows: &mut R) -> Result<(), R::Error> {
        let mut chunk = [0; CHUNK];
        for (number, plane) in self.planes.iter().enumerate() {
            let unit = plane.ink.unit();
            for piece in &plane.pieces {
                let end = piece.units.end;
                for row in piece.rows.clone() {
                    match &plane.solid {
                        Some(solid) if !piece.units.is_empty() => {
                            let bytes = &solid[..piece.units.len() * unit];
                            rows.write(number, row, piece.units.clone(), bytes)?;
                        }
                        _ => {
                            let place = (number, row, piece.units.clone());
                            in_chunks(rows, &mut chunk, place, unit, |at, bytes| {
                                plane.ink.lay_over(at, bytes);
                            })?
                        }
                    }
                    if let Some(mask) = piece.partial {
                        let place = (number, row, end..end + 1);
                        in_chunks(rows, &mut chunk, place, unit, |_, bytes| {
                            let mut new = [0; 16];
                            let new = &mut new[..bytes.len()];
                            new.copy_from_slice(bytes);
                            plane.ink.lay_over(0, new);
                            for ((byte, new), mask) in bytes.iter_mut().zip(new).zip(mask) {
                                if *mask != 0 {
                                    *byte = *new;
                                }
                            }
                        })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The pieces of a plane that are painted over without a look at what is below; `None`
    /// where something is looked at.
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

/// The components of a colour, as the format has them: eight bits, or sixteen of which the upper
/// ones are the format's.
fn components(
    format: Format,
    range: Range,
    matrix: ColorMatrix,
    depth: Depth,
    rgb: [u8; 3],
) -> [u32; 3] {
    if is_rgb(format) {
        return rgb.map(u32::from);
    }
    let [red, green, blue] = rgb.map(|value| f64::from(value) / 255.0);
    let luma = matrix.red * red + (1.0 - matrix.red - matrix.blue) * green + matrix.blue * blue;
    let chroma = |color: f64, part: f64| (color - luma) / (2.0 * (1.0 - part));
    let unit = f64::from(1 << (depth.bits - 8));
    let full = f64::from((1_u32 << depth.bits) - 1);
    let (black, scale, chroma_scale) = match range {
        Range::Limited => (16.0 * unit, 219.0 * unit, 224.0 * unit),
        Range::Full => (0.0, full, full),
    };
    [
        black + scale * luma,
        128.0 * unit + chroma_scale * chroma(blue, matrix.blue),
        128.0 * unit + chroma_scale * chroma(red, matrix.red),
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
