// SPDX-License-Identifier: MPL-2.0
//! The source of a blend, in the byte order of the frame.
//!
//! Neither frame nor source is in the cache, so the source is stored compactly, and contiguously for
//! all rows of a plane.

use super::blend::{BlendBytes, BlendPixels, Factor, over, straight, within};
use super::blend_pixels::{BLOCK, PixelBlock};
use crate::format::{Depth, Role, Sample};
use crate::{Format, Isa};
use std::ops::Range;
use std::sync::Arc;

/// What a byte, or a word, of a block is: a component of its pixel with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Component { number: usize, pixel: usize },
    Alpha,
    Padding,
}

/// The bytes, or the words, of a block of a plane; none where a word holds all components.
fn fields(format: Format, plane: usize) -> Vec<Field> {
    let layout = &format.planes()[plane];
    if layout.sample() == Sample::Rgb565 {
        return Vec::new();
    }
    let mut pixels = [0; 3];
    let field = |role: &Role| match role {
        Role::Alpha => Field::Alpha,
        Role::Padding => Field::Padding,
        role => role.component().map_or(Field::Padding, |number| {
            let pixel = pixels[number];
            pixels[number] += 1;
            Field::Component { number, pixel }
        }),
    };
    layout.roles().iter().map(field).collect()
}

/// What is blended over blocks of a plane's rows: stretches of ink, one after the other.
#[derive(Clone, Debug)]
pub(super) struct BlendSource {
    kind: Kind,
    factor: Factor,
    /// The parts of stretches, in their fields, in which something is seen: what is written has a
    /// lot of holes.
    runs: Vec<Range<u32>>,
    /// Where the last stretch begins.
    start: usize,
    first_run: usize,
    fields: Vec<Field>,
    /// Pixels and bytes in a block.
    pixels: usize,
    block_bytes: usize,
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

/// The part of a source that is blended over consecutive blocks of a row.
#[derive(Clone, Debug)]
pub(super) struct BlendSpan {
    of: Arc<BlendSource>,
    /// Its first field.
    start: usize,
    /// Its runs, by number.
    runs: Range<usize>,
}

/// Where a stretch is among the others.
#[derive(Debug)]
pub(super) struct Stretch {
    start: usize,
    runs: Range<usize>,
}

impl BlendSource {
    /// None yet, for a plane of a format; `premultiplied` is whether the frame's colours are
    /// multiplied with its alpha.
    pub(super) fn new(format: Format, premultiplied: bool, plane: usize, factor: Factor) -> Self {
        let layout = format.planes()[plane];
        let fields = fields(format, plane);
        let fourth = |field| fields.iter().position(|other| *other == field);
        let kind = match (layout.sample(), format.depth()) {
            (Sample::Rgb565, _) => Kind::Rgb565(Vec::new()),
            (_, Some(depth)) => Kind::Words {
                product: Vec::new(),
                alpha: Vec::new(),
                depth,
            },
            (_, None) => match (fourth(Field::Alpha), fourth(Field::Padding)) {
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
            start: 0,
            first_run: 0,
            fields,
            pixels: layout.block_pixels(),
            block_bytes: layout.block_bytes(),
            isa: Isa::best(),
        }
    }

    /// Forgets all of it, and keeps the memory for more.
    pub(super) fn clear(&mut self, factor: Factor) {
        self.factor = factor;
        self.runs.clear();
        match &mut self.kind {
            Kind::Bytes(ink) => ink.clear(),
            Kind::Pixels { ink, .. } => ink.clear(),
            Kind::Words { product, alpha, .. } => {
                product.clear();
                alpha.clear();
            }
            Kind::Rgb565(ink) => ink.clear(),
        }
        self.begin();
    }

    /// Begins a stretch.
    #[inline(always)]
    pub(super) fn begin(&mut self) {
        (self.start, self.first_run) = (self.len(), self.runs.len());
    }

    /// The stretch as it is.
    #[inline(always)]
    pub(super) fn stretch(&self) -> Stretch {
        Stretch {
            start: self.start,
            runs: self.first_run..self.runs.len(),
        }
    }

    /// Fields so far; those of pixels are pixels.
    #[inline(always)]
    fn len(&self) -> usize {
        match &self.kind {
            Kind::Bytes(ink) => ink.len(),
            Kind::Pixels { ink, .. } => ink.len(),
            Kind::Words { product, .. } => product.len(),
            Kind::Rgb565(ink) => ink.len(),
        }
    }

    /// Fields of this many pixels.
    #[inline(always)]
    fn fields_of(&self, pixels: usize) -> usize {
        let of_unit = match self.kind {
            Kind::Bytes(_) | Kind::Words { .. } => self.fields.len(),
            Kind::Pixels { .. } | Kind::Rgb565(_) => 1,
        };
        pixels / self.pixels * of_unit
    }

    /// Adds pixels to the stretch of which nothing is seen.
    #[inline(always)]
    pub(super) fn add_hole(&mut self, pixels: usize) {
        let length = self.len() + self.fields_of(pixels);
        match &mut self.kind {
            Kind::Bytes(ink) => ink.resize(length, 0),
            Kind::Pixels { ink, .. } => ink.resize(length, 0),
            Kind::Words { product, alpha, .. } => {
                product.resize(length, 0);
                alpha.resize(length, 0);
            }
            Kind::Rgb565(ink) => ink.resize(length, [0; 4]),
        }
    }

    /// Adds a block of pixels to the stretch. Where several of them are one block, subsampled planes
    /// look at the first.
    #[inline(always)]
    pub(super) fn add(&mut self, dots: &PixelBlock) {
        let begin = self.len();
        self.add_hole(BLOCK);
        // A plane has fewer fields.
        let run = [begin - self.start, self.len() - self.start].map(|field| field as u32);
        match self.runs[self.first_run..].last_mut() {
            Some(last) if last.end == run[0] => last.end = run[1],
            _ => self.runs.push(run[0]..run[1]),
        }
        let (fields, pixels, factor) = (&self.fields[..], self.pixels, self.factor);
        match &mut self.kind {
            Kind::Bytes(ink) => {
                let ink = &mut ink[begin..];
                match (pixels, fields.len()) {
                    (1, 1) => add_bytes::<1, 1>(ink, fields, dots),
                    (1, 2) => add_bytes::<1, 2>(ink, fields, dots),
                    (1, 3) => add_bytes::<1, 3>(ink, fields, dots),
                    (2, 1) => add_bytes::<2, 1>(ink, fields, dots),
                    (2, 2) => add_bytes::<2, 2>(ink, fields, dots),
                    (2, 4) => add_bytes::<2, 4>(ink, fields, dots),
                    _ => each_field(ink, fields, pixels, dots, |ink, color, alpha| {
                        *ink = color | alpha << 8;
                    }),
                }
            }
            Kind::Pixels { ink, place, .. } => {
                let mut shifts = [0; 3];
                for (byte, field) in fields.iter().enumerate() {
                    if let Field::Component { number, .. } = field {
                        shifts[*number] = 8 * byte;
                    }
                }
                let [first, second, third] = &dots.color;
                let colors = first.iter().zip(second).zip(third);
                let ink = ink[begin..].iter_mut().zip(colors).zip(&dots.alpha);
                for ((ink, ((first, second), third)), alpha) in ink {
                    *ink = u32::from(*first) << shifts[0]
                        | u32::from(*second) << shifts[1]
                        | u32::from(*third) << shifts[2]
                        | u32::from(*alpha) << (8 * *place);
                }
            }
            Kind::Words { product, alpha, .. } => {
                let product = &mut product[begin..];
                each_field(product, fields, pixels, dots, |product, color, alpha| {
                    *product = u32::from(color) * factor.of(alpha.into());
                });
                let to = &mut alpha[begin..];
                each_field(to, fields, pixels, dots, |to, _, alpha| *to = alpha);
            }
            Kind::Rgb565(ink) => {
                for (number, ink) in ink[begin..].iter_mut().enumerate() {
                    // Eight bits, where it is called.
                    let [r, g, b] = dots.color.map(|values| values[number] as u8);
                    *ink = [r, g, b, dots.alpha[number] as u8];
                }
            }
        }
    }
}

/// Adds source bytes for blocks of `PIXELS` pixels and `BYTES` bytes.
#[inline(always)]
fn add_bytes<const PIXELS: usize, const BYTES: usize>(
    ink: &mut [u16],
    fields: &[Field],
    dots: &PixelBlock,
) {
    let fields: [Field; BYTES] = std::array::from_fn(|field| fields[field]);
    let sources = fields.map(|field| {
        let (number, pixel) = source_of(field);
        (&dots.color[number], pixel.min(PIXELS - 1))
    });
    let alphas = dots.alpha.as_chunks::<PIXELS>().0;
    for (block, (ink, alpha)) in ink
        .as_chunks_mut::<BYTES>()
        .0
        .iter_mut()
        .zip(alphas)
        .enumerate()
    {
        for (ink, (color, pixel)) in ink.iter_mut().zip(&sources) {
            *ink = color[block * PIXELS + pixel] | alpha[*pixel] << 8;
        }
    }
}

/// Calls `with` for each field of a block, with its colour and its alpha.
#[inline(always)]
fn each_field<T>(
    ink: &mut [T],
    fields: &[Field],
    pixels: usize,
    dots: &PixelBlock,
    with: impl Fn(&mut T, u16, u16),
) {
    for (at, field) in fields.iter().enumerate() {
        let (number, pixel) = source_of(*field);
        let ink = ink.iter_mut().skip(at).step_by(fields.len());
        let colors = dots.color[number].iter().zip(&dots.alpha);
        let colors = colors.skip(pixel).step_by(pixels);
        ink.zip(colors)
            .for_each(|(ink, (color, alpha))| with(ink, *color, *alpha));
    }
}

impl BlendSpan {
    pub(super) fn new(of: &Arc<BlendSource>, stretch: Stretch) -> Self {
        let of = Arc::clone(of);
        let Stretch { start, runs } = stretch;
        Self { of, start, runs }
    }

    /// Lays blocks of the source, from the first on, over as many as there are in `bytes`.
    pub(super) fn blend(&self, bytes: &mut [u8]) {
        let BlendSource {
            kind,
            factor,
            runs,
            block_bytes,
            isa,
            ..
        } = &*self.of;
        let runs = &runs[self.runs.clone()];
        let count = bytes.len() / block_bytes;
        let of = |fields: usize| self.start..self.start + count * fields;
        match kind {
            Kind::Bytes(ink) => isa.run(BlendBytes {
                ink: &ink[of(*block_bytes)],
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
            Kind::Pixels { ink, place, fourth } => isa.run(BlendPixels {
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
                let of = of(block_bytes / 2);
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

/// The component that a field is, and the pixel of its block.
fn source_of(field: Field) -> (usize, usize) {
    match field {
        Field::Component { number, pixel } => (number, pixel),
        Field::Alpha | Field::Padding => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::blend_pixels::is_high_depth;
    use super::*;
    use dmabufcpu_testing::Rng;

    #[derive(Clone, Copy)]
    struct Dot {
        color: [u32; 3],
        alpha: u32,
    }

    /// Adds a stretch.
    fn add(inks: &mut BlendSource, dots: &[Dot]) -> Stretch {
        inks.begin();
        for some in dots.chunks(BLOCK) {
            let mut block = PixelBlock::uniform([0; 3], 0);
            for (number, dot) in some.iter().enumerate() {
                block.alpha[number] = dot.alpha as u16;
                for (color, value) in block.color.iter_mut().zip(dot.color) {
                    color[number] = value as u16;
                }
            }
            if some.iter().all(|dot| dot.alpha == 0) {
                inks.add_hole(BLOCK);
            } else {
                inks.add(&block);
            }
        }
        inks.stretch()
    }

    /// Pixels, many of them transparent, many opaque, and some of each black.
    fn dots(random: &mut Rng, factor: Factor, count: usize) -> Vec<Dot> {
        let dot = |at: usize| {
            let alpha = match at / 150 % 4 {
                0 => 0,
                1 => 255,
                _ => random.usize(..256) as u32,
            };
            // What the alpha lets through.
            let most = match factor {
                Factor::Alpha => 255,
                Factor::Same(factor) => (alpha * 255 + 254) / factor,
            };
            let color = [0; 3].map(|_: u32| random.usize(..256) as u32);
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
        let mut random = Rng::with_seed(17);
        let narrow = |format: &&Format| !is_high_depth(**format) && **format != Format::Rgb16;
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
                    let (pixels, block_bytes) = (layout.block_pixels(), layout.block_bytes());
                    let mut inks = BlendSource::new(format, premultiplied, plane, factor);
                    // More than one stretch, and fewer bytes than ink.
                    let other = dots(&mut random, factor, 7 * pixels);
                    let before = add(&mut inks, &other);
                    let dots = dots(&mut random, factor, 900 * pixels);
                    let stretch = add(&mut inks, &dots);
                    let inks = Arc::new(inks);
                    let ink = BlendSpan::new(&inks, stretch);
                    for blocks in [900, 611, 1, 0] {
                        let mut bytes: Vec<u8> = (0..blocks * block_bytes)
                            .map(|_| random.usize(..256) as u8)
                            .collect();
                        let expected = bytes.iter().enumerate().map(|(at, &old)| {
                            let dots = &dots[at / block_bytes * pixels..][..pixels];
                            let (product, alpha) = match fields[at % block_bytes] {
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
                        ink.blend(&mut bytes);
                        assert!(bytes == expected, "{format:?} {plane} {factor:?} {blocks}");
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
                let bytes = if is_high_depth(format) { 2 } else { 1 };
                if format != Format::Rgb16 {
                    assert_eq!(
                        fields.len() * bytes,
                        layout.block_bytes(),
                        "{format:?} {plane}"
                    );
                }
                for field in fields {
                    if let Field::Component { number, pixel } = field {
                        components[number] += 1;
                        assert!(pixel < layout.block_pixels());
                    }
                }
            }
            let expected = match format {
                Format::Rgb16 => [0, 0, 0],
                Format::Gray8 | Format::Gray16Le => [1, 0, 0],
                Format::Yuy2 | Format::Yvyu | Format::Uyvy | Format::Vyuy | Format::Y210 => {
                    [2, 1, 1]
                }
                _ => [1, 1, 1],
            };
            assert_eq!(components, expected, "{format:?}");
        }
    }
}
