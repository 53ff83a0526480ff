// SPDX-License-Identifier: MPL-2.0
//! What the filter's effects must make of a frame, or of its picture, by the slow references.

use crate::filter::Filter;
use crate::frame::Layout;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstdmabufcpu::pixel::Adjust;
use gstdmabufcpu::pixel::regions::reference;

pub type Rect = (i32, i32, i32, i32);

/// Overlapping, at odd places, over the edges, empty, outside, larger than the frame.
pub const RECTS: [&[Rect]; 8] = [
    &[(3, 5, 7, 9)],
    &[(0, 0, 16, 8), (8, 4, 21, 11), (9, 5, 2, 2)],
    &[(-5, -7, 20, 10), (25, 30, 100, 100)],
    &[(4, 4, 0, 10), (4, 4, 10, 0)],
    &[(200, 200, 10, 10), (-50, 0, 50, 10)],
    &[(-10, -10, 1000, 1000)],
    &[(1, 1, 1, 1), (31, 16, 1, 1), (6, 3, 3, 2), (9, 3, 3, 2)],
    &[],
];

pub fn array(rects: &[Rect]) -> gst::Array {
    gst::Array::new(
        rects
            .iter()
            .map(|(x, y, w, h)| gst::Array::new([*x, *y, *w, *h])),
    )
}

fn contains((left, top, width, height): &Rect, x: i32, y: i32) -> bool {
    x >= *left && y >= *top && x - left < *width && y - top < *height
}

/// Which pixels a mode means, row by row.
pub fn mask(info: &VideoInfo, rects: &[Rect], mode: &str) -> Vec<bool> {
    mask_of((info.width() as i32, info.height() as i32), rects, mode)
}

/// The same of a picture of this size.
fn mask_of((width, height): (i32, i32), rects: &[Rect], mode: &str) -> Vec<bool> {
    let mut mask = vec![mode == "all"; (width * height) as usize];
    // Not pixel by pixel, as there may be thousands.
    for rect in rects {
        let rows = rect.1.max(0)..(rect.1 + rect.3).min(height);
        let columns = rect.0.max(0)..(rect.0 + rect.2).min(width);
        for (y, x) in rows.flat_map(|y| columns.clone().map(move |x| (y, x))) {
            let is_line = || {
                let line: i32 = mode.parse().unwrap();
                let (inner_x, inner_y) = (rect.0 + line, rect.1 + line);
                let inner = (inner_x, inner_y, rect.2 - 2 * line, rect.3 - 2 * line);
                !contains(&inner, x, y)
            };
            mask[(y * width + x) as usize] |= match mode {
                "all" | "inside" | "outside" => true,
                _ => is_line(),
            };
        }
    }
    if mode == "outside" {
        mask.iter_mut().for_each(|pixel| *pixel = !*pixel);
    }
    mask
}

/// The colour's components in the order in which they lie in the frame.
pub fn components(info: &VideoInfo, color: [f64; 3]) -> [f64; 3] {
    let values = values(info, color);
    let format = info.format_info();
    let mut order: Vec<usize> = (0..info.n_components() as usize).take(3).collect();
    // Luma comes first where pixels share their chroma.
    let first = |number| number == 0 && info.is_yuv() && format.w_sub().get(1) == Some(&1);
    order.sort_by_key(|&number| {
        let offset = format.poffset()[number];
        (format.plane()[number], !first(number), offset)
    });
    if info.format() == VideoFormat::Vyuy {
        // GStreamer's table has U first, its own code for the format (and V4L2) V.
        order.swap(1, 2);
    }
    std::array::from_fn(|number| order.get(number).map_or(0.0, |number| values[*number]))
}

/// Red, green and blue as luma and chroma, or as they are, on the scale of the format's values.
fn values(info: &VideoInfo, [red, green, blue]: [f64; 3]) -> [f64; 3] {
    let bits = info.comp_depth(0);
    let full = f64::from((1 << bits) - 1);
    if info.is_rgb() {
        if info.format() == VideoFormat::Rgb16 {
            // Five and six bits are the upper ones of eight.
            let cut = |value: f64, bits: u32| f64::from((value * 255.0) as u32 >> (8 - bits));
            return [cut(red, 5), cut(green, 6), cut(blue, 5)];
        }
        return [red, green, blue].map(|value| value * full);
    }
    let colorimetry = info.colorimetry();
    let (kr, kb) = colorimetry.matrix().kr_kb().unwrap_or((0.299, 0.114));
    let luma = kr * red + (1.0 - kr - kb) * green + kb * blue;
    let u = (blue - luma) / (2.0 - 2.0 * kb);
    let v = (red - luma) / (2.0 - 2.0 * kr);
    let unit = f64::from(1 << (bits - 8));
    if colorimetry.range() == gst_video::VideoColorRange::Range0_255 {
        [
            full * luma,
            128.0 * unit + full * u,
            128.0 * unit + full * v,
        ]
    } else {
        let chroma = |c: f64| 128.0 * unit + 224.0 * unit * c;
        [16.0 * unit + 219.0 * unit * luma, chroma(u), chroma(v)]
    }
}

/// Alpha, or the byte that is none, of each pixel becomes 255.
pub fn opaque(layout: &Layout, mask: &[bool], files: &mut [Vec<u8>]) {
    let at = match layout.info.format() {
        VideoFormat::Ayuv
        | VideoFormat::Argb
        | VideoFormat::Abgr
        | VideoFormat::Xrgb
        | VideoFormat::Xbgr => 0,
        VideoFormat::Vuya
        | VideoFormat::Bgra
        | VideoFormat::Rgba
        | VideoFormat::Bgrx
        | VideoFormat::Rgbx => 3,
        _ => return,
    };
    let width = layout.info.width() as usize;
    let place = layout.planes[0];
    let piece = &layout.memories[place.memory];
    for (number, _) in mask.iter().enumerate().filter(|(_, inside)| **inside) {
        let row = piece.offset + place.offset + number / width * place.stride;
        files[piece.file][row + number % width * 4 + at] = 255;
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Effect {
    Adjust,
    Fill,
    Pixelate(usize),
    Blur(usize),
    Outline(u32),
}

pub const COLOR: [f64; 3] = [200.0 / 255.0, 30.0 / 255.0, 90.0 / 255.0];

pub const INVERT: Adjust = Adjust {
    invert: true,
    ..Adjust::identity()
};

/// Hue depends on both halves of chroma.
pub const TURN: Adjust = Adjust {
    hue: 0.3,
    contrast: 1.2,
    ..Adjust::identity()
};

/// What a picture is within its frame.
fn all(layout: &Layout) -> Rect {
    (
        0,
        0,
        layout.info.width() as i32,
        layout.info.height() as i32,
    )
}

/// A mask of the picture's pixels as one of the frame's.
pub fn in_frame(layout: &Layout, picture: Rect, mask: &[bool]) -> Vec<bool> {
    let (_, _, width, height) = all(layout);
    let mut whole = vec![false; (width * height) as usize];
    for (number, inside) in mask.iter().enumerate() {
        let (x, y) = (number as i32 % picture.2, number as i32 / picture.2);
        whole[((picture.1 + y) * width + picture.0 + x) as usize] = *inside;
    }
    whole
}

pub fn expected(
    layout: &Layout,
    before: &[Vec<u8>],
    effect: Effect,
    adjust: &Adjust,
    mode: &str,
    rects: &[Rect],
) -> Vec<Vec<u8>> {
    let picture = all(layout);
    expected_in(layout, before, picture, effect, adjust, mode, rects)
}

/// What the files hold after an effect on the part of the frame that is its picture, from whose
/// corner the rectangles count.
pub fn expected_in(
    layout: &Layout,
    before: &[Vec<u8>],
    picture: Rect,
    effect: Effect,
    adjust: &Adjust,
    mode: &str,
    rects: &[Rect],
) -> Vec<Vec<u8>> {
    let size = (layout.info.width() as usize, layout.info.height() as usize);
    let line;
    let mode = match effect {
        Effect::Outline(width) => {
            line = width.to_string();
            &line
        }
        _ => mode,
    };
    let of_picture = |mode: &str| {
        let mask = mask_of((picture.2, picture.3), rects, mode);
        in_frame(layout, picture, &mask)
    };
    let mask = of_picture(mode);
    let format = layout.pixel_format();
    // The samples of an area are taken from the frame that is adjusted as a whole.
    let adjusted = layout.filtered(before, adjust);
    let adjusted_in = |mask: &[bool]| {
        let bits = bits_of(layout, before, mask);
        let files = before.iter().zip(&adjusted).zip(bits);
        let files = files.map(|((before, adjusted), bits)| {
            let bytes = before.iter().zip(adjusted).zip(bits);
            let bytes = bytes.map(|((old, new), bits)| if bits == 0 { *old } else { *new });
            bytes.collect()
        });
        files.collect::<Vec<Vec<u8>>>()
    };
    let whole = adjusted_in(&of_picture("all"));
    let changed = |change: &dyn Fn(&mut [gstdmabufcpu::pixel::reference::Plane<'_>])| {
        layout.changed(&whole, |planes| change(planes))
    };
    let bits = bits_of(layout, before, &mask);
    match effect {
        Effect::Adjust => adjusted_in(&mask),
        Effect::Fill | Effect::Outline(_) => {
            let color = components(&layout.info, COLOR);
            let mut after = changed(&|planes| {
                let round = |value: f64| value.round() as u64;
                reference::fill(format, size, &mask, (color, 1.0), planes, round);
            });
            opaque(layout, &mask, &mut after);
            // Bits of a word that are no value are 0 in a colour.
            for (file, bytes) in after.iter_mut().enumerate() {
                for (byte, bits) in bytes.iter_mut().zip(&bits[file]) {
                    *byte &= if *bits == 0 { 0xff } else { *bits };
                }
            }
            after
        }
        Effect::Pixelate(block) => {
            let corner = (picture.0 as usize, picture.1 as usize);
            changed(&|planes| {
                reference::pixelate_from(format, size, corner, &mask, block, planes);
            })
        }
        Effect::Blur(block) => {
            changed(&|planes| reference::blur(format, size, &mask, block, planes))
        }
    }
}

/// Which bits are those of samples of these pixels.
pub fn bits_of(layout: &Layout, before: &[Vec<u8>], mask: &[bool]) -> Vec<Vec<u8>> {
    let size = (layout.info.width() as usize, layout.info.height() as usize);
    let marked = |value: u64| {
        let color = ([0.0; 3], 1.0);
        layout.changed(before, |planes| {
            let format = layout.pixel_format();
            reference::fill(format, size, mask, color, planes, |_| value);
        })
    };
    let mut bits = marked(0);
    for (bits, ones) in bits
        .iter_mut()
        .flatten()
        .zip(marked(u64::MAX).iter().flatten())
    {
        *bits ^= ones;
    }
    bits
}

pub fn set(filter: &Filter, effect: Effect, mode: &str, rects: &[Rect]) {
    let element = &filter.element;
    element.set_property("regions", array(rects));
    element.set_property_from_str("region-mode", mode);
    element.set_property("fill-color", 0xffc8_1e5a_u32);
    let (name, block) = match effect {
        Effect::Adjust => ("adjust", 0),
        Effect::Fill => ("fill", 0),
        Effect::Pixelate(block) => ("pixelate", block),
        Effect::Blur(block) => ("blur", block),
        Effect::Outline(_) => ("outline", 0),
    };
    element.set_property_from_str("region-effect", name);
    element.set_property("block-size", block as u32);
    if let Effect::Outline(line) = effect {
        element.set_property("outline-width", line);
    }
}

pub const EFFECTS: [Effect; 8] = [
    Effect::Adjust,
    Effect::Fill,
    Effect::Pixelate(5),
    Effect::Pixelate(16),
    Effect::Blur(3),
    Effect::Blur(9),
    Effect::Outline(1),
    Effect::Outline(4),
];

/// Bytes from the begin of a row to the component's first sample.
pub fn first_sample(info: &VideoInfo, component: usize) -> usize {
    match info.format() {
        // GStreamer's table has 0 for all three.
        VideoFormat::Y210 => [0, 2, 6][component],
        _ => info.format_info().poffset()[component] as usize,
    }
}

/// Pages of the frame's files that hold a sample of these pixels, by what GStreamer knows of the
/// format.
pub fn pages_under(layout: &Layout, mask: &[bool]) -> u64 {
    let (info, format) = (&layout.info, layout.info.format_info());
    let width = info.width() as usize;
    let mut pages = std::collections::BTreeSet::new();
    for component in 0..info.n_components().min(3) as usize {
        let place = &layout.planes[format.plane()[component] as usize];
        let memory = &layout.memories[place.memory];
        let start = memory.offset + place.offset + first_sample(info, component);
        let shift = |of: &[u32]| of[component];
        let (across, down) = (shift(format.w_sub()), shift(format.h_sub()));
        let step = format.pixel_stride()[component] as usize;
        for (number, _) in mask.iter().enumerate().filter(|(_, inside)| **inside) {
            let (x, y) = ((number % width) >> across, (number / width) >> down);
            pages.insert((memory.file, (start + y * place.stride + x * step) / 4096));
        }
    }
    pages.len() as u64
}
