// SPDX-License-Identifier: MPL-2.0
//! The slow reference of the adjustments: pixel by pixel, component by component, in floating point.
//!
//! It is a second description of the formats on purpose. It shares no table, layout or loop with the
//! kernels.

use super::{Adjust, ColorRange, Format};

/// One plane of a frame.
#[derive(Debug)]
pub struct Plane<'a> {
    /// Its bytes, from the first of the first row.
    pub data: &'a mut [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// Where one component lies, in the terms of `GstVideoFormatInfo`.
#[derive(Clone, Copy)]
struct Component {
    plane: usize,
    offset: usize,
    pixel_stride: usize,
    /// Pixels that share a sample, horizontally and vertically.
    share: (usize, usize),
}

const fn at(plane: usize, offset: usize, pixel_stride: usize, share: (usize, usize)) -> Component {
    Component {
        plane,
        offset,
        pixel_stride,
        share,
    }
}

const fn packed(pixel_stride: usize, offsets: [usize; 3]) -> [Component; 3] {
    [
        at(0, offsets[0], pixel_stride, (1, 1)),
        at(0, offsets[1], pixel_stride, (1, 1)),
        at(0, offsets[2], pixel_stride, (1, 1)),
    ]
}

/// Luma's pixel stride is 2; `offsets` are those of the first luma, U and V.
const fn packed_422(offsets: [usize; 3]) -> [Component; 3] {
    [
        at(0, offsets[0], 2, (1, 1)),
        at(0, offsets[1], 4, (2, 1)),
        at(0, offsets[2], 4, (2, 1)),
    ]
}

/// Chroma interleaved in plane 1, in samples of `size` bytes.
const fn semi(size: usize, u_and_v: [usize; 2], share: (usize, usize)) -> [Component; 3] {
    [
        at(0, 0, size, (1, 1)),
        at(1, size * u_and_v[0], 2 * size, share),
        at(1, size * u_and_v[1], 2 * size, share),
    ]
}

/// Chroma in planes of its own.
const fn planar(size: usize, u_and_v: [usize; 2], share: (usize, usize)) -> [Component; 3] {
    [
        at(0, 0, size, (1, 1)),
        at(u_and_v[0], 0, size, share),
        at(u_and_v[1], 0, size, share),
    ]
}

/// What the components stand for, and how they are kept.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Red, green and blue in bytes.
    Rgb,
    /// Luma and chroma in bytes.
    Bytes,
    /// Luma and chroma in words: their bits, and how far from the lowest.
    Words(u32, u32),
    /// All in one word: five bits of red, six of green, five of blue.
    Rgb565,
}

/// Luma and chroma, or red, green and blue.
fn components(format: Format) -> (Kind, Vec<Component>) {
    let (rgb, bytes) = (Kind::Rgb, Kind::Bytes);
    match format {
        Format::Gray8 => (bytes, vec![at(0, 0, 1, (1, 1))]),
        Format::Gray16Le => (Kind::Words(16, 0), vec![at(0, 0, 2, (1, 1))]),
        Format::Rgb16 => (Kind::Rgb565, vec![at(0, 0, 2, (1, 1))]),
        Format::P01010le => (Kind::Words(10, 6), semi(2, [0, 1], (2, 2)).into()),
        Format::I42010le => (Kind::Words(10, 0), planar(2, [1, 2], (2, 2)).into()),
        Format::Y210 => (
            Kind::Words(10, 6),
            [
                at(0, 0, 4, (1, 1)),
                at(0, 2, 8, (2, 1)),
                at(0, 6, 8, (2, 1)),
            ]
            .into(),
        ),
        Format::Nv12 => (bytes, semi(1, [0, 1], (2, 2)).into()),
        Format::Nv21 => (bytes, semi(1, [1, 0], (2, 2)).into()),
        Format::Nv16 => (bytes, semi(1, [0, 1], (2, 1)).into()),
        Format::Nv61 => (bytes, semi(1, [1, 0], (2, 1)).into()),
        Format::Nv24 => (bytes, semi(1, [0, 1], (1, 1)).into()),
        Format::I420 => (bytes, planar(1, [1, 2], (2, 2)).into()),
        Format::Yv12 => (bytes, planar(1, [2, 1], (2, 2)).into()),
        Format::Y42b => (bytes, planar(1, [1, 2], (2, 1)).into()),
        Format::Y41b => (bytes, planar(1, [1, 2], (4, 1)).into()),
        Format::Y444 => (bytes, planar(1, [1, 2], (1, 1)).into()),
        Format::Yuy2 => (bytes, packed_422([0, 1, 3]).into()),
        Format::Yvyu => (bytes, packed_422([0, 3, 1]).into()),
        Format::Uyvy => (bytes, packed_422([1, 0, 2]).into()),
        Format::Vyuy => (bytes, packed_422([1, 2, 0]).into()),
        Format::Ayuv => (bytes, packed(4, [1, 2, 3]).into()),
        Format::Vuya => (bytes, packed(4, [2, 1, 0]).into()),
        Format::Bgrx | Format::Bgra => (rgb, packed(4, [2, 1, 0]).into()),
        Format::Rgbx | Format::Rgba => (rgb, packed(4, [0, 1, 2]).into()),
        Format::Xbgr | Format::Abgr => (rgb, packed(4, [3, 2, 1]).into()),
        Format::Xrgb | Format::Argb => (rgb, packed(4, [1, 2, 3]).into()),
        Format::Bgr => (rgb, packed(3, [2, 1, 0]).into()),
        Format::Rgb => (rgb, packed(3, [0, 1, 2]).into()),
    }
}

/// Nearest whole number in a byte, ties to even, as C's `rint` has it.
fn byte(v: f64) -> f64 {
    v.clamp(0.0, 255.0).round_ties_even()
}

fn balances(a: &Adjust) -> bool {
    (a.brightness, a.contrast, a.saturation, a.hue) != (0.0, 1.0, 1.0, 0.0)
}

fn balance_luma(a: &Adjust, y: f64) -> f64 {
    byte(16.0 + ((y - 16.0) * a.contrast + a.brightness * 255.0))
}

fn balance_chroma(a: &Adjust, u: f64, v: f64) -> (f64, f64) {
    let (sin, cos) = (
        (std::f64::consts::PI * a.hue).sin(),
        (std::f64::consts::PI * a.hue).cos(),
    );
    let (i, j) = (u - 128.0, v - 128.0);
    (
        byte(128.0 + (i * cos + j * sin) * a.saturation),
        byte(128.0 + (-i * sin + j * cos) * a.saturation),
    )
}

fn gamma_luma(a: &Adjust, y: f64) -> f64 {
    (255.0 * (y / 255.0).powf(1.0 / a.gamma) + 0.5).floor()
}

/// Luma and chroma of an RGB colour: 256ths of whole numbers, rounded down.
fn to_yuv([r, g, b]: [f64; 3]) -> [f64; 3] {
    [
        ((66.0 * r + 129.0 * g + 25.0 * b) / 256.0 + 16.0).floor(),
        ((-38.0 * r - 74.0 * g + 112.0 * b) / 256.0 + 128.0).floor(),
        ((112.0 * r - 94.0 * g - 18.0 * b) / 256.0 + 128.0).floor(),
    ]
    .map(|c| c.clamp(0.0, 255.0))
}

fn to_rgb([y, u, v]: [f64; 3]) -> [f64; 3] {
    [
        ((298.0 * y + 409.0 * v - 57068.0) / 256.0).floor(),
        ((298.0 * y - 100.0 * u - 208.0 * v + 34707.0) / 256.0).floor(),
        ((298.0 * y + 516.0 * u - 70870.0) / 256.0).floor(),
    ]
    .map(|c| c.clamp(0.0, 255.0))
}

/// What a YUV colour becomes.
#[must_use]
pub fn yuv_pixel(range: ColorRange, a: &Adjust, [mut y, mut u, mut v]: [u8; 3]) -> [u8; 3] {
    if balances(a) {
        y = balance_luma(a, f64::from(y)) as u8;
        let (new_u, new_v) = balance_chroma(a, f64::from(u), f64::from(v));
        (u, v) = (new_u as u8, new_v as u8);
    }
    if a.gamma != 1.0 {
        y = gamma_luma(a, f64::from(y)) as u8;
    }
    if a.invert {
        let mirror = |c: u8, sum: i32| (sum - i32::from(c)).clamp(0, 255) as u8;
        y = mirror(
            y,
            if range == ColorRange::Limited {
                16 + 235
            } else {
                255
            },
        );
        (u, v) = (mirror(u, 256), mirror(v, 256));
    }
    [y, u, v]
}

/// What an RGB colour becomes.
#[must_use]
pub fn rgb_pixel(a: &Adjust, rgb: [u8; 3]) -> [u8; 3] {
    let mut rgb = rgb.map(f64::from);
    if balances(a) {
        let [y, u, v] = to_yuv(rgb);
        let (u, v) = balance_chroma(a, u, v);
        rgb = to_rgb([balance_luma(a, y), u, v]);
    }
    if a.gamma != 1.0 {
        let [y, u, v] = to_yuv(rgb);
        rgb = to_rgb([gamma_luma(a, y), u, v]);
    }
    if a.invert {
        rgb = rgb.map(|c| 255.0 - c);
    }
    rgb.map(|c| c as u8)
}

/// What a YUV colour of more bits becomes.
fn deep_pixel(
    range: ColorRange,
    a: &Adjust,
    bits: u32,
    [mut y, mut u, mut v]: [f64; 3],
) -> [f64; 3] {
    let scale = f64::from(1 << (bits - 8));
    let max = 256.0 * scale - 1.0;
    let whole = |c: f64| c.clamp(0.0, max).round_ties_even();
    if balances(a) {
        y = whole(16.0 * scale + ((y - 16.0 * scale) * a.contrast + a.brightness * 255.0 * scale));
        let (sin, cos) = (
            (std::f64::consts::PI * a.hue).sin(),
            (std::f64::consts::PI * a.hue).cos(),
        );
        let (i, j) = (u - 128.0 * scale, v - 128.0 * scale);
        u = whole(128.0 * scale + (i * cos + j * sin) * a.saturation);
        v = whole(128.0 * scale + (-i * sin + j * cos) * a.saturation);
    }
    if a.gamma != 1.0 {
        y = (max * (y / max).powf(1.0 / a.gamma) + 0.5).floor();
    }
    if a.invert {
        let luma_sum = match range {
            ColorRange::Limited => (16.0 + 235.0) * scale,
            ColorRange::Full => max,
        };
        y = (luma_sum - y).clamp(0.0, max);
        u = (256.0 * scale - u).clamp(0.0, max);
        v = (256.0 * scale - v).clamp(0.0, max);
    }
    [y, u, v]
}

/// A word with another value of `bits` bits at `shift`; the other bits stay.
fn put(data: &mut [u8], at: usize, (bits, shift): (u32, u32), value: f64) {
    let mask = (0xffff >> (16 - bits)) << shift;
    let old = u16::from_le_bytes([data[at], data[at + 1]]);
    let new = (old & !mask) | ((value as u16) << shift);
    data[at..at + 2].copy_from_slice(&new.to_le_bytes());
}

fn get(data: &[u8], at: usize, (bits, shift): (u32, u32)) -> f64 {
    let word = u16::from_le_bytes([data[at], data[at + 1]]);
    f64::from((word >> shift) & (0xffff >> (16 - bits)))
}

/// A colour of five, six and five bits, by way of eight.
fn rgb_565(a: &Adjust, data: &mut [u8], at: usize) {
    let fields = [(5, 11), (6, 5), (5, 0)];
    let top = |(bits, _): (u32, u32)| f64::from((1 << bits) - 1);
    let eight = fields.map(|f| (get(data, at, f) / top(f) * 255.0).round() as u8);
    for (field, value) in fields.into_iter().zip(rgb_pixel(a, eight)) {
        let value = (f64::from(value) / 255.0 * top(field)).round();
        put(data, at, field, value);
    }
}

/// Works on a whole frame in place; `planes` in the order of `GstVideoInfo`.
///
/// # Panics
/// When a plane is too short for the frame.
pub fn apply(
    format: Format,
    range: ColorRange,
    adjust: &Adjust,
    (width, height): (usize, usize),
    planes: &mut [Plane<'_>],
) {
    let (kind, components) = components(format);
    // Luma of YUV depends on nothing else and has few values.
    let luma: Vec<u8> = (0..=255)
        .map(|y| yuv_pixel(range, adjust, [y, 128, 128])[0])
        .collect();
    for row in 0..height {
        for column in 0..width {
            let place = |c: &Component| {
                let sample = column / c.share.0 * c.pixel_stride + c.offset;
                row / c.share.1 * planes[c.plane].stride + sample
            };
            let first = |c: &Component| column % c.share.0 == 0 && row % c.share.1 == 0;
            let places: Vec<usize> = components.iter().map(place).collect();
            if kind == Kind::Rgb {
                let data = &mut *planes[0].data;
                let rgb = rgb_pixel(adjust, [data[places[0]], data[places[1]], data[places[2]]]);
                for (place, value) in places.iter().zip(rgb) {
                    data[*place] = value;
                }
                continue;
            }
            if kind == Kind::Rgb565 {
                rgb_565(adjust, planes[0].data, places[0]);
                continue;
            }
            if let Kind::Words(bits, shift) = kind {
                let field = (bits, shift);
                let y = get(planes[0].data, places[0], field);
                let [y, _, _] = deep_pixel(range, adjust, bits, [y, 0.0, 0.0]);
                put(planes[0].data, places[0], field, y);
                if let [_, u, v] = &components[..]
                    && first(u)
                {
                    let (u_at, v_at) = (places[1], places[2]);
                    let old_u = get(planes[u.plane].data, u_at, field);
                    let old_v = get(planes[v.plane].data, v_at, field);
                    let [_, new_u, new_v] = deep_pixel(range, adjust, bits, [0.0, old_u, old_v]);
                    put(planes[u.plane].data, u_at, field, new_u);
                    put(planes[v.plane].data, v_at, field, new_v);
                }
                continue;
            }
            let y = &mut planes[0].data[places[0]];
            *y = luma[usize::from(*y)];
            // A shared sample is changed once, with the first pixel that it serves.
            if let [_, u, v] = &components[..]
                && first(u)
            {
                let (u_at, v_at) = (places[1], places[2]);
                let old = [128, planes[u.plane].data[u_at], planes[v.plane].data[v_at]];
                let [_, new_u, new_v] = yuv_pixel(range, adjust, old);
                planes[u.plane].data[u_at] = new_u;
                planes[v.plane].data[v_at] = new_v;
            }
        }
    }
}
