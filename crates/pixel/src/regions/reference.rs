// SPDX-License-Identifier: MPL-2.0
//! The slow reference of the effects: sample by sample, from their definitions.
//!
//! It is a second description of the formats on purpose. It shares no layout and no loop with the
//! effects.

use crate::Format;
use crate::reference::Plane;
use std::collections::BTreeMap;

/// Where one component lies: in bits of a word that starts `offset + column * stride` bytes
/// from the start of a row.
struct Component {
    plane: usize,
    offset: usize,
    stride: usize,
    bytes: usize,
    bits: u32,
    shift: u32,
    /// Pixels that share a sample.
    share: (usize, usize),
}

fn byte(plane: usize, offset: usize, stride: usize, share: (usize, usize)) -> Component {
    Component {
        plane,
        offset,
        stride,
        bytes: 1,
        bits: 8,
        shift: 0,
        share,
    }
}

fn word(c: Component, bits: u32, shift: u32) -> Component {
    Component {
        bytes: 2,
        bits,
        shift,
        ..c
    }
}

fn components(format: Format) -> Vec<Component> {
    const ONE: (usize, usize) = (1, 1);
    const TWO: (usize, usize) = (2, 1);
    const FOUR: (usize, usize) = (2, 2);
    let luma = || byte(0, 0, 1, ONE);
    let semi = |share| vec![luma(), byte(1, 0, 2, share), byte(1, 1, 2, share)];
    let planar = |share| vec![luma(), byte(1, 0, 1, share), byte(2, 0, 1, share)];
    let packed = |stride, offsets: [usize; 3]| {
        let component = |offset| byte(0, offset, stride, ONE);
        offsets.into_iter().map(component).collect::<Vec<_>>()
    };
    let packed_422 = |luma, chroma: [usize; 2]| {
        vec![
            byte(0, luma, 2, ONE),
            byte(0, chroma[0], 4, TWO),
            byte(0, chroma[1], 4, TWO),
        ]
    };
    match format {
        Format::Nv12 | Format::Nv21 => semi(FOUR),
        Format::Nv16 | Format::Nv61 => semi(TWO),
        Format::Nv24 => semi(ONE),
        Format::I420 | Format::Yv12 => planar(FOUR),
        Format::Y42b => planar(TWO),
        Format::Y41b => planar((4, 1)),
        Format::Y444 => planar(ONE),
        Format::Yuy2 | Format::Yvyu => packed_422(0, [1, 3]),
        Format::Uyvy | Format::Vyuy => packed_422(1, [0, 2]),
        Format::Ayuv | Format::Xrgb | Format::Argb | Format::Xbgr | Format::Abgr => {
            packed(4, [1, 2, 3])
        }
        Format::Vuya | Format::Bgrx | Format::Rgbx | Format::Bgra | Format::Rgba => {
            packed(4, [0, 1, 2])
        }
        Format::Bgr | Format::Rgb => packed(3, [0, 1, 2]),
        Format::Gray8 => vec![luma()],
        Format::Gray16Le => vec![word(byte(0, 0, 2, ONE), 16, 0)],
        Format::P01010le => vec![
            word(byte(0, 0, 2, ONE), 10, 6),
            word(byte(1, 0, 4, FOUR), 10, 6),
            word(byte(1, 2, 4, FOUR), 10, 6),
        ],
        Format::I42010le => vec![
            word(byte(0, 0, 2, ONE), 10, 0),
            word(byte(1, 0, 2, FOUR), 10, 0),
            word(byte(2, 0, 2, FOUR), 10, 0),
        ],
        Format::Y210 => vec![
            word(byte(0, 0, 4, ONE), 10, 6),
            word(byte(0, 2, 8, TWO), 10, 6),
            word(byte(0, 6, 8, TWO), 10, 6),
        ],
        Format::Rgb16 => [(5, 11), (6, 5), (5, 0)]
            .map(|(bits, shift)| word(byte(0, 0, 2, ONE), bits, shift))
            .into(),
    }
}

impl Component {
    fn word(&self, planes: &[Plane<'_>], (column, row): (usize, usize)) -> (usize, u32) {
        let plane = &planes[self.plane];
        let at = row * plane.stride + column * self.stride + self.offset;
        let bytes = plane.data[at..at + self.bytes].iter().rev();
        (
            at,
            bytes.fold(0, |word, byte| (word << 8) | u32::from(*byte)),
        )
    }

    fn get(&self, planes: &[Plane<'_>], sample: (usize, usize)) -> u64 {
        let (_, word) = self.word(planes, sample);
        u64::from((word >> self.shift) % (1 << self.bits))
    }

    fn put(&self, planes: &mut [Plane<'_>], sample: (usize, usize), value: u64) {
        let (at, word) = self.word(planes, sample);
        let mask = ((1 << self.bits) - 1) << self.shift;
        let word = (word & !mask) | ((value as u32) << self.shift & mask);
        let bytes = word.to_le_bytes();
        planes[self.plane].data[at..at + self.bytes].copy_from_slice(&bytes[..self.bytes]);
    }

    /// The samples that stand for at least one pixel of the mask.
    fn samples(&self, (width, height): (usize, usize), mask: &[bool]) -> Vec<(usize, usize)> {
        let mut samples = Vec::new();
        for row in 0..height.div_ceil(self.share.1) {
            for column in 0..width.div_ceil(self.share.0) {
                let rows = row * self.share.1..((row + 1) * self.share.1).min(height);
                let any = rows.into_iter().any(|row| {
                    let end = ((column + 1) * self.share.0).min(width);
                    (column * self.share.0..end).any(|column| mask[row * width + column])
                });
                if any {
                    samples.push((column, row));
                }
            }
        }
        samples
    }
}

fn mean(sum: u64, count: u64) -> u64 {
    (2 * sum + count) / (2 * count)
}

/// Makes blocks of the pixels of which `mask`, row by row, is true.
///
/// # Panics
/// When a plane or the mask is too short for the frame.
pub fn pixelate(
    format: Format,
    size: (usize, usize),
    mask: &[bool],
    block: usize,
    planes: &mut [Plane<'_>],
) {
    pixelate_from(format, size, (0, 0), mask, block, planes);
}

/// The same with a grid that begins at this column and row, as do all of the mask's pixels.
///
/// # Panics
/// When a plane or the mask is too short for the frame.
pub fn pixelate_from(
    format: Format,
    size: (usize, usize),
    (left, top): (usize, usize),
    mask: &[bool],
    block: usize,
    planes: &mut [Plane<'_>],
) {
    if block < 2 {
        return;
    }
    for component in components(format) {
        let samples = component.samples(size, mask);
        let block_of = |(column, row): (usize, usize)| {
            // The first pixel of the sample's that may be in the mask.
            let (x, y) = (column * component.share.0, row * component.share.1);
            ((x.max(left) - left) / block, (y.max(top) - top) / block)
        };
        let mut blocks: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for sample in &samples {
            let block = blocks.entry(block_of(*sample)).or_default();
            block.0 += component.get(planes, *sample);
            block.1 += 1;
        }
        for sample in &samples {
            let (sum, count) = blocks[&block_of(*sample)];
            component.put(planes, *sample, mean(sum, count));
        }
    }
}

/// Blurs the pixels of which `mask`, row by row, is true.
///
/// # Panics
/// When a plane or the mask is too short for the frame.
pub fn blur(
    format: Format,
    size: (usize, usize),
    mask: &[bool],
    block: usize,
    planes: &mut [Plane<'_>],
) {
    for component in components(format) {
        let samples = component.samples(size, mask);
        let radius = (block / 2 / component.share.0, block / 2 / component.share.1);
        let (columns, rows) = (
            size.0.div_ceil(component.share.0),
            size.1.div_ceil(component.share.1),
        );
        let mut values: Vec<Option<u64>> = vec![None; columns * rows];
        for (column, row) in &samples {
            values[row * columns + column] = Some(component.get(planes, (*column, *row)));
        }
        for (column, row) in samples {
            let (mut sum, mut count) = (0, 0);
            for y in row.saturating_sub(radius.1)..=row.saturating_add(radius.1).min(rows - 1) {
                let first = column.saturating_sub(radius.0);
                let last = column.saturating_add(radius.0).min(columns - 1);
                let line = &values[y * columns + first..=y * columns + last];
                for value in line.iter().flatten() {
                    sum += value;
                    count += 1;
                }
            }
            component.put(planes, (column, row), mean(sum, count));
        }
    }
}

/// Lays a colour of this alpha, 0 to 1, over the pixels of which `mask`, row by row, is true.
/// `color` holds the three components on the scale of the format's values.
///
/// # Panics
/// When a plane or the mask is too short for the frame.
pub fn fill(
    format: Format,
    size: (usize, usize),
    mask: &[bool],
    (color, alpha): ([f64; 3], f64),
    planes: &mut [Plane<'_>],
    mut round: impl FnMut(f64) -> u64,
) {
    for (component, color) in components(format).iter().zip(color) {
        for sample in component.samples(size, mask) {
            let old = component.get(planes, sample) as f64;
            component.put(planes, sample, round(old + (color - old) * alpha));
        }
    }
}
