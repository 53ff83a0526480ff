// SPDX-License-Identifier: MPL-2.0
//! What is laid over a run of units, in the frame's own order of bytes.
//!
//! A frame is in no cache when it comes, and nor is the ink after that: what is kept of it is as
//! small as can be, and lies in one piece for all of a plane's rows.

use super::over::{Factor, OverBytes, OverPixels, over, straight, within};
use crate::pixel::format::{Depth, Role, Shape, WideChroma};
use crate::pixel::{Format, Isa};
use std::ops::Range;
use std::sync::Arc;

/// What is laid over a pixel: its colour in the frame's own components, and its alpha. Both go to
/// 255; in formats of more than eight bits to 65535.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dot {
    pub(super) color: [u32; 3],
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

/// What is laid over units of a plane's rows: stretches of ink, one behind the other.
#[derive(Clone, Debug)]
pub(super) struct Inks {
    kind: Kind,
    factor: Factor,
    /// The parts of stretches, in their fields, in which something is seen.
    runs: Vec<Range<u32>>,
    fields: Vec<Field>,
    /// Pixels and bytes in a unit.
    pixels: usize,
    unit: usize,
    isa: Isa,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Byte by byte, a colour and above it an alpha.
    Bytes(Vec<u16>),
    /// Four bytes a pixel: three colours and in the fourth one's place an alpha.
    Pixels {
        ink: Vec<u32>,
        place: usize,
        fourth: Fourth,
    },
    /// Word by word: a colour times its factor, and an alpha.
    Words {
        product: Vec<u32>,
        alpha: Vec<u16>,
        depth: Depth,
    },
    /// Pixel by pixel: three colours, and an alpha.
    Rgb565(Vec<[u8; 4]>),
}

/// What the fourth byte of a pixel is in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fourth {
    /// Nothing: it stays as it is.
    Padding,
    /// An alpha that the colours were multiplied with.
    Premultiplied,
    /// An alpha that they were not multiplied with.
    Straight,
}

/// Ink for a run of units.
#[derive(Clone, Debug)]
pub(super) struct Ink {
    of: Arc<Inks>,
    /// Its first field.
    start: usize,
    /// Its runs, by number.
    runs: Range<usize>,
}

/// Where a stretch is among the others.
pub(super) struct Stretch {
    start: usize,
    runs: Range<usize>,
}

/// Fields that are looked at together, 64 bytes of the frame: where none of them is seen, none is
/// laid on. What is written has a lot of holes.
const BLOCK: usize = 64;

impl Inks {
    /// None yet, for a plane of a format; `premultiplied` is whether the frame's colours are
    /// multiplied with its alpha.
    pub(super) fn new(format: Format, premultiplied: bool, plane: usize, factor: Factor) -> Self {
        let layout = format.planes()[plane];
        let fields = fields(format, plane);
        let fourth = |field| fields.iter().position(|other| *other == field);
        let kind = match format.shape() {
            Shape::Rgb565 => Kind::Rgb565(Vec::new()),
            Shape::Wide(depth, _) => Kind::Words {
                product: Vec::new(),
                alpha: Vec::new(),
                depth,
            },
            _ => match (fourth(Field::Alpha), fourth(Field::Padding)) {
                (Some(place), _) => Kind::Pixels {
                    ink: Vec::new(),
                    place,
                    fourth: match premultiplied {
                        true => Fourth::Premultiplied,
                        false => Fourth::Straight,
                    },
                },
                (None, Some(place)) => Kind::Pixels {
                    ink: Vec::new(),
                    place,
                    fourth: Fourth::Padding,
                },
                (None, None) => Kind::Bytes(Vec::new()),
            },
        };
        Self {
            kind,
            factor,
            runs: Vec::new(),
            fields,
            pixels: layout.pixels(),
            unit: layout.unit(),
            isa: Isa::best(),
        }
    }

    /// Adds a stretch. `dots` are those of the pixels that its units stand for: as many for each
    /// unit as there are pixels in it, of which the subsampled planes look at the first.
    pub(super) fn add(&mut self, dots: impl Iterator<Item = Dot>) -> Stretch {
        let (start, first_run) = (self.len(), self.runs.len());
        let mut of_unit: Vec<Dot> = Vec::with_capacity(self.pixels);
        for dot in dots {
            of_unit.push(dot);
            if of_unit.len() == self.pixels {
                self.add_unit(&of_unit);
                of_unit.clear();
            }
        }
        self.find_runs(start);
        Stretch {
            start,
            runs: first_run..self.runs.len(),
        }
    }

    /// Fields so far; those of pixels are pixels.
    fn len(&self) -> usize {
        match &self.kind {
            Kind::Bytes(ink) => ink.len(),
            Kind::Pixels { ink, .. } => ink.len(),
            Kind::Words { product, .. } => product.len(),
            Kind::Rgb565(ink) => ink.len(),
        }
    }

    fn add_unit(&mut self, dots: &[Dot]) {
        // Eight bits, where it is called.
        let narrow = |value: u32| value as u8;
        let factor = self.factor;
        match &mut self.kind {
            Kind::Bytes(ink) => {
                for field in &self.fields {
                    let (number, dot) = dot_of(*field, dots);
                    let color = number.map_or(0, |number| dot.color[number]);
                    ink.push(u16::from_le_bytes([narrow(color), narrow(dot.alpha)]));
                }
            }
            Kind::Pixels { ink, .. } => {
                let mut pixel = [0; 4];
                for (byte, field) in pixel.iter_mut().zip(&self.fields) {
                    *byte = match dot_of(*field, dots) {
                        (Some(number), dot) => narrow(dot.color[number]),
                        (None, _) => narrow(dots[0].alpha),
                    };
                }
                ink.push(u32::from_le_bytes(pixel));
            }
            Kind::Words { product, alpha, .. } => {
                for field in &self.fields {
                    let (number, dot) = dot_of(*field, dots);
                    let color = number.map_or(0, |number| dot.color[number]);
                    product.push(color * factor.of(dot.alpha));
                    alpha.push(dot.alpha as u16); // at most 65535
                }
            }
            Kind::Rgb565(ink) => {
                let [r, g, b] = dots[0].color.map(narrow);
                ink.push([r, g, b, narrow(dots[0].alpha)]);
            }
        }
    }

    /// Finds the runs of blocks in which something is seen, from `start` on.
    fn find_runs(&mut self, start: usize) {
        let first = self.runs.len();
        let runs = &mut self.runs;
        let mut find = |number: usize, block: usize, is_seen: bool, length: usize| {
            if !is_seen {
                return;
            }
            // A plane has fewer fields.
            let begin = (number * block) as u32;
            let end = begin + length as u32;
            match runs[first..].last_mut() {
                Some(run) if run.end == begin => run.end = end,
                _ => runs.push(begin..end),
            }
        };
        match &self.kind {
            Kind::Bytes(ink) => {
                for (number, block) in ink[start..].chunks(BLOCK).enumerate() {
                    let is_seen = block.iter().any(|ink| ink >> 8 != 0);
                    find(number, BLOCK, is_seen, block.len());
                }
            }
            Kind::Pixels { ink, place, .. } => {
                let mask = 0xff << (8 * place);
                for (number, block) in ink[start..].chunks(BLOCK / 4).enumerate() {
                    let is_seen = block.iter().any(|ink| ink & mask != 0);
                    find(number, BLOCK / 4, is_seen, block.len());
                }
            }
            Kind::Words { .. } | Kind::Rgb565(_) => {}
        }
    }
}

impl Ink {
    pub(super) fn new(of: &Arc<Inks>, stretch: Stretch) -> Self {
        let of = Arc::clone(of);
        let Stretch { start, runs } = stretch;
        Self { of, start, runs }
    }

    /// Lays units of the ink, from the first on, over as many as there are in `bytes`.
    pub(super) fn lay_over(&self, bytes: &mut [u8]) {
        let Inks {
            kind,
            factor,
            runs,
            unit,
            isa,
            ..
        } = &*self.of;
        let runs = &runs[self.runs.clone()];
        let count = bytes.len() / unit;
        let of = |fields: usize| self.start..self.start + count * fields;
        match kind {
            Kind::Bytes(ink) => isa.run(OverBytes {
                ink: &ink[of(*unit)],
                factor: *factor,
                runs,
                bytes,
            }),
            Kind::Pixels {
                ink,
                place,
                fourth: Fourth::Straight,
            } => {
                let ink = &ink[of(1)];
                for run in runs {
                    let run = within(run, count);
                    let pixels = bytes.as_chunks_mut::<4>().0[run.clone()].iter_mut();
                    for (pixel, ink) in pixels.zip(&ink[run]) {
                        straight(pixel, ink.to_le_bytes(), *factor, *place);
                    }
                }
            }
            Kind::Pixels { ink, place, fourth } => isa.run(OverPixels {
                ink: &ink[of(1)],
                factor: *factor,
                place: *place,
                is_alpha: *fourth == Fourth::Premultiplied,
                runs,
                bytes,
            }),
            Kind::Words {
                product,
                alpha,
                depth,
            } => {
                let of = of(unit / 2);
                let ink = product[of.clone()].iter().zip(&alpha[of]);
                for (word, (product, alpha)) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(ink) {
                    let stored = u16::from_le_bytes(*word);
                    // Sixteen bits of it, the upper ones repeated below.
                    let mask = u16::MAX >> (16 - depth.bits) << depth.shift;
                    let up = (stored & mask) << (16 - depth.bits - depth.shift);
                    let old = u32::from(if depth.bits == 16 {
                        up
                    } else {
                        up | up >> depth.bits
                    });
                    let new = (product + old * u32::from(65535 - alpha)) / 65535;
                    let down = (new as u16) >> (16 - depth.bits - depth.shift) & mask;
                    *word = (stored & !mask | down).to_le_bytes();
                }
            }
            Kind::Rgb565(ink) => {
                let ink = &ink[of(1)];
                for (word, ink) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(ink) {
                    let old = u16::from_le_bytes(*word);
                    let alpha = ink[3].into();
                    let field = |number: usize, shift: u32, bits: u32| {
                        let value = (old >> shift & ((1 << bits) - 1)) as u8;
                        let eight = value << (8 - bits) | value >> (2 * bits - 8);
                        let product = u32::from(ink[number]) * factor.of(alpha);
                        let new = over(product as u16, eight, 255 - ink[3]);
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
        Field::Alpha | Field::Padding => (None, dots[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::random::Random;
    use super::*;

    /// Dots of which many are not seen, many hide all, and some of each are black.
    fn dots(random: &mut Random, factor: Factor, count: usize) -> Vec<Dot> {
        let dot = |at: usize| {
            let alpha = match at / 150 % 4 {
                0 => 0,
                1 => 255,
                _ => random.below(256) as u32,
            };
            // What the alpha lets through.
            let most = match factor {
                Factor::Alpha => 255,
                Factor::Same(factor) => (alpha * 255 + 254) / factor,
            };
            let color = [0; 3].map(|_: u32| random.below(256) as u32);
            let color = color.map(|value| value.min(most));
            let is_black = (at / 70).is_multiple_of(3);
            Dot {
                color: if is_black { [0; 3] } else { color },
                alpha,
            }
        };
        (0..count).map(dot).collect()
    }

    #[test]
    fn each_byte_is_what_the_formula_says() {
        let mut random = Random(17);
        let narrow = |format: &&Format| !is_wide(**format) && **format != Format::Rgb16;
        for &format in Format::ALL.iter().filter(narrow) {
            for (premultiplied, factor) in [
                (true, Factor::Alpha),
                (true, Factor::Same(255)),
                (true, Factor::Same(178)),
                (false, Factor::Same(255)),
                (false, Factor::Same(178)),
                (false, Factor::Alpha),
            ] {
                for (plane, layout) in format.planes().iter().enumerate() {
                    let fields = fields(format, plane);
                    if fields.contains(&Field::Alpha) && !premultiplied {
                        continue;
                    }
                    let (pixels, unit) = (layout.pixels(), layout.unit());
                    let mut inks = Inks::new(format, premultiplied, plane, factor);
                    // More than one stretch, and fewer bytes than ink.
                    let other = dots(&mut random, factor, 7 * pixels);
                    let before = inks.add(other.into_iter());
                    let dots = dots(&mut random, factor, 900 * pixels);
                    let stretch = inks.add(dots.iter().copied());
                    let inks = Arc::new(inks);
                    let ink = Ink::new(&inks, stretch);
                    for units in [900, 611, 1, 0] {
                        let mut bytes: Vec<u8> =
                            (0..units * unit).map(|_| random.below(256) as u8).collect();
                        let expected = bytes.iter().enumerate().map(|(at, &old)| {
                            let dots = &dots[at / unit * pixels..][..pixels];
                            let (product, alpha) = match fields[at % unit] {
                                Field::Component { number, pixel } => {
                                    let Dot { color, alpha } = dots[pixel];
                                    (color[number] * factor.of(alpha), alpha)
                                }
                                Field::Alpha => (255 * dots[0].alpha, dots[0].alpha),
                                Field::Padding => (0, 0),
                            };
                            ((product + u32::from(old) * (255 - alpha)) / 255) as u8
                        });
                        let expected: Vec<u8> = expected.collect();
                        ink.lay_over(&mut bytes);
                        assert!(bytes == expected, "{format:?} {plane} {factor:?} {units}");
                    }
                    assert_eq!(before.start, 0);
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
