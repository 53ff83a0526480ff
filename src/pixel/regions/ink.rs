// SPDX-License-Identifier: MPL-2.0
//! What is laid over a run of units, in the frame's own order of bytes.
//!
//! Over, as in A over B: `new = (colour · alpha + old · (1 − alpha))`, with the first product made
//! beforehand. Divisions round down, as those of `gst_video_blend` do.

use crate::pixel::format::{Depth, Role, Shape, WideChroma};
use crate::pixel::kernels::Loop;
use crate::pixel::{Format, Isa};
use std::ops::Range;

/// What is laid over a pixel: its colour times its alpha, in the frame's own components, and its
/// alpha. Alpha and colours go to 255; in formats of more than eight bits to 65535.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dot {
    pub(super) product: [u32; 3],
    pub(super) alpha: u32,
}

/// Whether components of a format are words.
pub(super) fn is_wide(format: Format) -> bool {
    matches!(format.shape(), Shape::Wide(..))
}

/// Whether a format's components are red, green and blue.
pub(super) fn is_rgb(format: Format) -> bool {
    matches!(format.shape(), Shape::Rgb { .. } | Shape::Rgb565)
}

/// What a byte, or a word, of a unit is: a component of its pixel with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Component { number: usize, pixel: usize },
    Alpha,
    Padding,
}

const fn of(number: usize) -> Field {
    Field::Component { number, pixel: 0 }
}

/// The bytes, or the words, of a unit of a plane.
fn fields(format: Format, plane: usize) -> Vec<Field> {
    let role = |role: &Role| match role {
        Role::Luma => of(0),
        Role::U => of(1),
        Role::V => of(2),
        Role::Keep => Field::Alpha,
    };
    match (format.shape(), plane) {
        (Shape::Rgb565, _) => Vec::new(),
        (Shape::Rgb { bytes, offsets }, _) => {
            let has_alpha = matches!(
                format,
                Format::Bgra | Format::Rgba | Format::Abgr | Format::Argb
            );
            let other = if has_alpha {
                Field::Alpha
            } else {
                Field::Padding
            };
            let place = |byte| offsets.iter().position(|offset| *offset == byte);
            (0..bytes)
                .map(|byte| place(byte).map_or(other, of))
                .collect()
        }
        (Shape::Packed(roles), _) => {
            let mut fields: Vec<_> = roles.iter().map(role).collect();
            let mut luma = fields.iter_mut().filter(|field| **field == of(0));
            if let Some(second) = luma.nth(1) {
                *second = Field::Component {
                    number: 0,
                    pixel: 1,
                };
            }
            fields
        }
        (Shape::SemiPlanar { chroma }, 1) => chroma.iter().map(role).collect(),
        (Shape::Wide(_, WideChroma::Interleaved), 1) => Vec::from([of(1), of(2)]),
        (Shape::Planar { u, .. }, plane) if plane == u => Vec::from([of(1)]),
        (Shape::Planar { v, .. }, plane) if plane == v => Vec::from([of(2)]),
        (Shape::Wide(_, WideChroma::Planar), plane @ 1..) => Vec::from([of(plane)]),
        _ => Vec::from([of(0)]),
    }
}

/// Units of a plane's rows with what is laid over each.
#[derive(Clone, Debug)]
pub(super) struct Ink {
    kind: Kind,
    /// Bytes in a unit.
    unit: usize,
    isa: Isa,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Byte by byte, in those runs of bytes where there is something to see.
    Bytes {
        product: Vec<u16>,
        keep: Vec<u8>,
        runs: Vec<Range<usize>>,
    },
    /// Four bytes a pixel, of which one is an alpha that the others were not multiplied with.
    Straight {
        product: Vec<u16>,
        keep: Vec<u8>,
        alpha: usize,
    },
    /// Word by word.
    Words {
        product: Vec<u32>,
        keep: Vec<u16>,
        depth: Depth,
    },
    /// Pixel by pixel.
    Rgb565 {
        product: Vec<[u16; 3]>,
        keep: Vec<u8>,
    },
}

impl Ink {
    /// `dots` are those of the pixels that the units stand for: as many for each unit as there
    /// are pixels in it, of which the subsampled planes look at the first.
    pub(super) fn new(
        format: Format,
        premultiplied: bool,
        plane: usize,
        dots: impl Iterator<Item = Dot>,
    ) -> Self {
        let layout = format.planes()[plane];
        let pixels = layout.pixels();
        let fields = fields(format, plane);
        let alpha = fields.iter().position(|field| *field == Field::Alpha);
        let narrow = |product: u32| product as u16; // at most 255 · 255 + 254
        let mut kind = match (format.shape(), alpha) {
            (Shape::Rgb565, _) => Kind::Rgb565 {
                product: Vec::new(),
                keep: Vec::new(),
            },
            (Shape::Wide(depth, _), _) => Kind::Words {
                product: Vec::new(),
                keep: Vec::new(),
                depth,
            },
            (_, Some(alpha)) if !premultiplied => Kind::Straight {
                product: Vec::new(),
                keep: Vec::new(),
                alpha,
            },
            _ => Kind::Bytes {
                product: Vec::new(),
                keep: Vec::new(),
                runs: Vec::new(),
            },
        };
        let mut of_unit: Vec<Dot> = Vec::with_capacity(pixels);
        for dot in dots {
            of_unit.push(dot);
            if of_unit.len() < pixels {
                continue;
            }
            let first = of_unit[0];
            match &mut kind {
                Kind::Rgb565 { product, keep } => {
                    product.push(first.product.map(narrow));
                    keep.push(255 - first.alpha as u8);
                }
                Kind::Words { product, keep, .. } => {
                    for field in &fields {
                        let (number, dot) = dot_of(*field, &of_unit);
                        product.push(number.map_or(0, |number| dot.product[number]));
                        keep.push(65535 - dot.alpha as u16);
                    }
                }
                Kind::Bytes { product, keep, .. } | Kind::Straight { product, keep, .. } => {
                    for field in &fields {
                        let (number, dot) = dot_of(*field, &of_unit);
                        product.push(match field {
                            Field::Alpha => narrow(255 * dot.alpha),
                            _ => number.map_or(0, |number| narrow(dot.product[number])),
                        });
                        keep.push(255 - dot.alpha as u8);
                    }
                }
            }
            of_unit.clear();
        }
        if let Kind::Bytes { keep, runs, .. } = &mut kind {
            *runs = seen(keep);
        }
        Self {
            kind,
            unit: layout.unit(),
            isa: Isa::best(),
        }
    }

    /// Lays units of the ink, from the first on, over as many as there are in `bytes`.
    pub(super) fn lay_over(&self, bytes: &mut [u8]) {
        let count = bytes.len() / self.unit;
        let run = |fields: usize| -> Range<usize> { 0..count * fields };
        match &self.kind {
            Kind::Bytes {
                product,
                keep,
                runs,
            } => self.isa.run(Over {
                product,
                keep,
                runs,
                bytes,
            }),
            Kind::Straight {
                product,
                keep,
                alpha,
            } => {
                let run = run(4);
                let ink = product[run.clone()].as_chunks::<4>().0;
                let ink = ink.iter().zip(keep[run].as_chunks::<4>().0);
                for (pixel, (product, keep)) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(ink) {
                    straight(pixel, product, keep[0], *alpha);
                }
            }
            Kind::Words {
                product,
                keep,
                depth,
            } => {
                let run = run(self.unit / 2);
                let ink = product[run.clone()].iter().zip(&keep[run]);
                for (word, (product, keep)) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(ink) {
                    let stored = u16::from_le_bytes(*word);
                    // Sixteen bits of it, the upper ones repeated below.
                    let mask = u16::MAX >> (16 - depth.bits) << depth.shift;
                    let up = (stored & mask) << (16 - depth.bits - depth.shift);
                    let old = u32::from(if depth.bits == 16 {
                        up
                    } else {
                        up | up >> depth.bits
                    });
                    let new = (product + old * u32::from(*keep)) / 65535;
                    let down = (new as u16) >> (16 - depth.bits - depth.shift) & mask;
                    *word = (stored & !mask | down).to_le_bytes();
                }
            }
            Kind::Rgb565 { product, keep } => {
                let run = run(1);
                let ink = product[run.clone()].iter().zip(&keep[run]);
                for (word, (product, keep)) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(ink) {
                    let old = u16::from_le_bytes(*word);
                    let field = |number: usize, shift: u32, bits: u32| {
                        let value = (old >> shift & ((1 << bits) - 1)) as u8;
                        let eight = value << (8 - bits) | value >> (2 * bits - 8);
                        let new = over(product[number], eight, *keep);
                        u16::from(new >> (8 - bits)) << shift
                    };
                    let new = field(0, 11, 5) | field(1, 5, 6) | field(2, 0, 5);
                    *word = new.to_le_bytes();
                }
            }
        }
    }
}

/// The number of a field's component, and the dot of its pixel.
fn dot_of(field: Field, dots: &[Dot]) -> (Option<usize>, Dot) {
    match field {
        Field::Component { number, pixel } => (Some(number), dots[pixel]),
        Field::Alpha => (None, dots[0]),
        Field::Padding => (None, Dot::default()),
    }
}

/// Bytes of ink that are looked at together: where none of them is seen, none is laid on. What is
/// written has a lot of holes.
const BLOCK: usize = 64;

/// The runs of blocks in which something is seen.
fn seen(keep: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (number, block) in keep.chunks(BLOCK).enumerate() {
        if block.iter().all(|keep| *keep == 255) {
            continue;
        }
        let start = number * BLOCK;
        let end = start + block.len();
        match runs.last_mut() {
            Some(run) if run.end == start => run.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

/// Ink over bytes.
struct Over<'a> {
    product: &'a [u16],
    keep: &'a [u8],
    runs: &'a [Range<usize>],
    bytes: &'a mut [u8],
}

impl Loop for Over<'_> {
    #[inline(always)]
    fn run(self) {
        let most = self.bytes.len();
        for run in self.runs {
            let run = run.start.min(most)..run.end.min(most);
            let ink = self.product[run.clone()]
                .iter()
                .zip(&self.keep[run.clone()]);
            for (byte, (product, keep)) in self.bytes[run].iter_mut().zip(ink) {
                *byte = over(*product, *byte, *keep);
            }
        }
    }
}

/// `(product + old · keep) / 255`, rounded down.
#[inline(always)]
fn over(product: u16, old: u8, keep: u8) -> u8 {
    // At most 255 · 255 + 254, as the alphas of the two make 255: sixteen bits are enough, and eight
    // of them go into a vector of any instruction set.
    let sum = product.wrapping_add(u16::from(old) * u16::from(keep));
    // Exact up to 65534.
    (sum.wrapping_add(1).wrapping_add(sum >> 8) >> 8) as u8
}

/// Over, where the colours below were not multiplied with the alpha beside them.
fn straight(pixel: &mut [u8; 4], product: &[u16; 4], keep: u8, alpha: usize) {
    if keep == 255 {
        return;
    }
    let (old_alpha, keep) = (u32::from(pixel[alpha]), u32::from(keep));
    let new_alpha = 255 - keep + old_alpha * keep / 255;
    for (byte, (value, product)) in pixel.iter_mut().zip(product).enumerate() {
        *value = if byte == alpha {
            new_alpha as u8
        } else {
            let below = u32::from(*value) * old_alpha * keep / 255;
            ((u32::from(*product) + below) / new_alpha.max(1)).min(255) as u8
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

    #[test]
    fn every_byte_of_every_format_is_something() {
        for &format in Format::ALL {
            let mut components = [0; 3];
            for (plane, layout) in format.planes().iter().enumerate() {
                let fields = fields(format, plane);
                let bytes = if is_wide(format) { 2 } else { 1 };
                if format != Format::Rgb16 {
                    assert_eq!(fields.len() * bytes, layout.unit(), "{format:?} {plane}");
                }
                for field in fields {
                    if let Field::Component { number, pixel } = field {
                        components[number] += 1;
                        assert!(pixel < layout.pixels());
                    }
                }
            }
            let expected = match format {
                Format::Rgb16 => [0, 0, 0],
                Format::Gray8 | Format::Gray16Le => [1, 0, 0],
                Format::Yuy2 | Format::Yvyu | Format::Uyvy | Format::Vyuy => [2, 1, 1],
                _ => [1, 1, 1],
            };
            assert_eq!(components, expected, "{format:?}");
        }
    }
}
