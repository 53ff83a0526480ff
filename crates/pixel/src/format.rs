// SPDX-License-Identifier: MPL-2.0
//! Pixel formats: how the rows of their planes are made, and what each byte means.

use super::area::Area;
use std::ops::Range;

/// A video format, by GStreamer's name for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[allow(missing_docs)] // the variants are the names of GstVideoFormat
pub enum Format {
    Nv12,
    Nv21,
    Nv16,
    Nv61,
    Nv24,
    I420,
    Yv12,
    Y42b,
    Y41b,
    Y444,
    Yuy2,
    Uyvy,
    Yvyu,
    Vyuy,
    Ayuv,
    Vuya,
    Gray8,
    Gray16Le,
    P01010le,
    I42010le,
    Rgb16,
    Bgr,
    Rgb,
    Bgrx,
    Rgbx,
    Xbgr,
    Xrgb,
    Bgra,
    Rgba,
    Abgr,
    Argb,
}

/// How the rows of one plane are made.
///
/// A row is a run of blocks, each holding one or more pixels; subsampled planes have fewer rows
/// than the frame. Strides, offsets and padding between rows are the caller's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlaneLayout {
    block_bytes: usize,
    pixels: usize,
    h_sub: u32,
    /// What a last block holds that has fewer pixels than the others: one entry a byte.
    tail_mask: Option<&'static [u8]>,
    /// The same for a block without its first pixel.
    head_mask: Option<&'static [u8]>,
}

impl PlaneLayout {
    const fn new(block_bytes: usize, pixels: usize, h_sub: u32) -> Self {
        Self {
            block_bytes,
            pixels,
            h_sub,
            tail_mask: None,
            head_mask: None,
        }
    }

    const fn packed_422(tail_mask: &'static [u8], head_mask: &'static [u8]) -> Self {
        Self {
            block_bytes: 4,
            pixels: 2,
            h_sub: 0,
            tail_mask: Some(tail_mask),
            head_mask: Some(head_mask),
        }
    }

    /// Bytes in one block.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Pixels of a row that one block stands for.
    #[must_use]
    pub const fn block_pixels(&self) -> usize {
        self.pixels
    }

    /// Rows of the frame that a row of this plane stands for.
    #[must_use]
    pub const fn row_subsampling(&self) -> usize {
        1 << self.h_sub
    }

    /// Rows of this plane in a frame of `height` rows.
    #[must_use]
    pub const fn rows(&self, height: usize) -> usize {
        height.div_ceil(1 << self.h_sub)
    }

    /// Units of a row of `width` pixels whose every byte may be changed (alpha and padding
    /// inside a pixel aside, which no operation changes).
    #[must_use]
    pub const fn whole_blocks(&self, width: usize) -> usize {
        match self.tail_mask {
            // The last sample of a subsampled plane is whole although it serves fewer pixels.
            None => width.div_ceil(self.pixels),
            Some(_) => width / self.pixels,
        }
    }

    /// What the block behind the whole ones holds, if the width leaves a tail_mask one: a mask
    /// with an entry for each of its [`block`](Self::block_bytes) bytes, `0xff` where the byte belongs
    /// to the picture and `0` where it is padding and must stay as it is.
    #[must_use]
    pub const fn tail_mask(&self, width: usize) -> Option<&'static [u8]> {
        match self.tail_mask {
            Some(mask) if !width.is_multiple_of(self.pixels) => Some(mask),
            _ => None,
        }
    }

    /// What a block without its first pixel holds, as a mask like that of
    /// [`tail_mask`](Self::tail_mask); `None` where all of a block's bytes are of all of its
    /// pixels.
    #[must_use]
    pub const fn head_mask(&self) -> Option<&'static [u8]> {
        self.head_mask
    }

    /// The parts of blocks that cover an area of the frame, for work that goes over blocks: each
    /// byte of a sample that stands for a pixel of the area is in one of them, once, and no other
    /// byte is.
    #[must_use]
    pub fn pieces(&self, area: &Area) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let (Some(tail_mask), Some(head_mask)) = (self.tail_mask, self.head_mask) else {
            let samples = area.samples((self.pixels, 1 << self.h_sub));
            let whole = |(blocks, rows)| Piece {
                rows,
                blocks,
                tail_mask: None,
            };
            pieces.extend(samples.rects().map(whole));
            return pieces;
        };
        for (columns, rows) in area.rects() {
            let first = columns.start.div_ceil(self.pixels);
            if columns.start < first * self.pixels {
                pieces.push(Piece {
                    rows: rows.clone(),
                    blocks: first - 1..first - 1,
                    tail_mask: Some(head_mask),
                });
            }
            let end = columns.end / self.pixels;
            let cut = (end * self.pixels < columns.end).then_some(tail_mask);
            if first < end || (cut.is_some() && first <= end) {
                pieces.push(Piece {
                    rows,
                    blocks: first..end,
                    tail_mask: cut,
                });
            }
        }
        pieces
    }

    /// Bytes of a row from its first block to its last, the tail_mask one included; `None` where
    /// that is more than a `usize` holds.
    #[must_use]
    pub const fn row_bytes(&self, width: usize) -> Option<usize> {
        width.div_ceil(self.pixels).checked_mul(self.block_bytes)
    }
}

/// Units of some rows, and perhaps a part of the block behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Rows of the plane.
    pub rows: Range<usize>,
    /// Whole blocks of each; may be none.
    pub blocks: Range<usize>,
    /// The block behind those, in so far as it is part of the piece: a mask as that of
    /// [`PlaneLayout::tail_mask`].
    pub tail_mask: Option<&'static [u8]>,
}

/// What one byte of a packed block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Luma,
    U,
    V,
    /// Alpha.
    Keep,
}

/// Where a format keeps its components.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Gray,
    /// Luma in plane 0; `u` and `v` are the planes of the two others.
    Planar {
        u: usize,
        v: usize,
    },
    /// Luma in plane 0, chroma in plane 1.
    SemiPlanar {
        chroma: [Role; 2],
    },
    Packed([Role; 4]),
    /// Bytes a pixel, and the offsets of red, green and blue in it.
    Rgb {
        bytes: usize,
        offsets: [usize; 3],
    },
    /// Components of more than eight bits, luma in plane 0.
    HighDepth(Depth, HighDepthChroma),
    /// Five, six and five bits of a 16-bit word, red on top.
    Rgb565,
}

/// Where in a word of 16 bits, little-endian, a value is. The other bits are padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Depth {
    pub(super) bits: u32,
    pub(super) shift: u32,
}

/// Where wide chroma is: not at all, U and V in turns in plane 1, or in planes 1 and 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HighDepthChroma {
    None,
    Interleaved,
    Planar,
}

const WHOLE: PlaneLayout = PlaneLayout::new(1, 1, 0);
const HALF: PlaneLayout = PlaneLayout::new(1, 2, 0);
const QUARTER: PlaneLayout = PlaneLayout::new(1, 2, 1);
const QUARTER_OF_ROW: PlaneLayout = PlaneLayout::new(1, 4, 0);
const WORD: PlaneLayout = PlaneLayout::new(2, 1, 0);
const WORD_QUARTER: PlaneLayout = PlaneLayout::new(2, 2, 1);

impl Format {
    /// Every format.
    pub const ALL: &'static [Format] = &[
        Self::Nv12,
        Self::Nv21,
        Self::Nv16,
        Self::Nv61,
        Self::Nv24,
        Self::I420,
        Self::Yv12,
        Self::Y42b,
        Self::Y41b,
        Self::Y444,
        Self::Yuy2,
        Self::Uyvy,
        Self::Yvyu,
        Self::Vyuy,
        Self::Ayuv,
        Self::Vuya,
        Self::Gray8,
        Self::Gray16Le,
        Self::P01010le,
        Self::I42010le,
        Self::Rgb16,
        Self::Bgr,
        Self::Rgb,
        Self::Bgrx,
        Self::Rgbx,
        Self::Xbgr,
        Self::Xrgb,
        Self::Bgra,
        Self::Rgba,
        Self::Abgr,
        Self::Argb,
    ];

    /// The planes, in the order of `GstVideoInfo`'s offsets and strides.
    #[must_use]
    pub fn planes(self) -> &'static [PlaneLayout] {
        const SEMI_420: &[PlaneLayout] = &[WHOLE, PlaneLayout::new(2, 2, 1)];
        const SEMI_422: &[PlaneLayout] = &[WHOLE, PlaneLayout::new(2, 2, 0)];
        const SEMI_444: &[PlaneLayout] = &[WHOLE, PlaneLayout::new(2, 1, 0)];
        const PLANAR_420: &[PlaneLayout] = &[WHOLE, QUARTER, QUARTER];
        const PLANAR_422: &[PlaneLayout] = &[WHOLE, HALF, HALF];
        const PLANAR_411: &[PlaneLayout] = &[WHOLE, QUARTER_OF_ROW, QUARTER_OF_ROW];
        const PLANAR_444: &[PlaneLayout] = &[WHOLE, WHOLE, WHOLE];
        const WIDE_SEMI_420: &[PlaneLayout] = &[WORD, PlaneLayout::new(4, 2, 1)];
        const WIDE_PLANAR_420: &[PlaneLayout] = &[WORD, WORD_QUARTER, WORD_QUARTER];
        const LUMA_FIRST: &[PlaneLayout] = &[PlaneLayout::packed_422(
            &[0xff, 0xff, 0, 0xff],
            &[0, 0xff, 0xff, 0xff],
        )];
        const CHROMA_FIRST: &[PlaneLayout] = &[PlaneLayout::packed_422(
            &[0xff, 0xff, 0xff, 0],
            &[0xff, 0, 0xff, 0xff],
        )];
        const PIXEL_1: &[PlaneLayout] = &[WHOLE];
        const PIXEL_2: &[PlaneLayout] = &[WORD];
        const PIXEL_3: &[PlaneLayout] = &[PlaneLayout::new(3, 1, 0)];
        const PIXEL_4: &[PlaneLayout] = &[PlaneLayout::new(4, 1, 0)];
        match self {
            Self::Nv12 | Self::Nv21 => SEMI_420,
            Self::Nv16 | Self::Nv61 => SEMI_422,
            Self::Nv24 => SEMI_444,
            Self::I420 | Self::Yv12 => PLANAR_420,
            Self::Y42b => PLANAR_422,
            Self::Y41b => PLANAR_411,
            Self::Y444 => PLANAR_444,
            Self::P01010le => WIDE_SEMI_420,
            Self::I42010le => WIDE_PLANAR_420,
            Self::Yuy2 | Self::Yvyu => LUMA_FIRST,
            Self::Uyvy | Self::Vyuy => CHROMA_FIRST,
            Self::Gray8 => PIXEL_1,
            Self::Gray16Le | Self::Rgb16 => PIXEL_2,
            Self::Bgr | Self::Rgb => PIXEL_3,
            _ => PIXEL_4,
        }
    }

    pub(super) fn shape(self) -> Shape {
        use Role::{Keep, Luma, U, V};
        const WIDE_16: Depth = Depth { bits: 16, shift: 0 };
        const LOW_10: Depth = Depth { bits: 10, shift: 0 };
        const HIGH_10: Depth = Depth { bits: 10, shift: 6 };
        let rgb = |bytes, offsets| Shape::Rgb { bytes, offsets };
        match self {
            Self::Nv12 | Self::Nv16 | Self::Nv24 => Shape::SemiPlanar { chroma: [U, V] },
            Self::Nv21 | Self::Nv61 => Shape::SemiPlanar { chroma: [V, U] },
            Self::I420 | Self::Y42b | Self::Y41b | Self::Y444 => Shape::Planar { u: 1, v: 2 },
            Self::Yv12 => Shape::Planar { u: 2, v: 1 },
            Self::Yuy2 => Shape::Packed([Luma, U, Luma, V]),
            Self::Yvyu => Shape::Packed([Luma, V, Luma, U]),
            Self::Uyvy => Shape::Packed([U, Luma, V, Luma]),
            Self::Vyuy => Shape::Packed([V, Luma, U, Luma]),
            Self::Ayuv => Shape::Packed([Keep, Luma, U, V]),
            Self::Vuya => Shape::Packed([V, U, Luma, Keep]),
            Self::Gray8 => Shape::Gray,
            Self::Gray16Le => Shape::HighDepth(WIDE_16, HighDepthChroma::None),
            Self::P01010le => Shape::HighDepth(HIGH_10, HighDepthChroma::Interleaved),
            Self::I42010le => Shape::HighDepth(LOW_10, HighDepthChroma::Planar),
            Self::Rgb16 => Shape::Rgb565,
            Self::Bgr => rgb(3, [2, 1, 0]),
            Self::Rgb => rgb(3, [0, 1, 2]),
            Self::Bgrx | Self::Bgra => rgb(4, [2, 1, 0]),
            Self::Rgbx | Self::Rgba => rgb(4, [0, 1, 2]),
            Self::Xbgr | Self::Abgr => rgb(4, [3, 2, 1]),
            Self::Xrgb | Self::Argb => rgb(4, [1, 2, 3]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::area::Rect;
    use super::*;
    use dmabufcpu_testing::random::Random;

    #[test]
    fn pieces_hold_the_samples_of_an_area_and_no_others() {
        let mut random = Random(5);
        let mut next = |range: usize| random.below(range) as u32;
        for _ in 0..200 {
            let rects: Vec<Rect> = (0..next(5))
                .map(|_| Rect {
                    x: next(14) as i32 - 3,
                    y: next(9) as i32 - 3,
                    width: next(7),
                    height: next(6),
                })
                .collect();
            let size = (13, 7);
            let area = Area::inside(&rects, size);
            let has = |x: usize, y: usize| area.row(y).iter().any(|span| span.contains(&x));
            for format in Format::ALL {
                for layout in format.planes() {
                    let mut seen = vec![vec![0; layout.row_bytes(size.0).unwrap()]; size.1];
                    for piece in layout.pieces(&area) {
                        for row in piece.rows {
                            for block in piece.blocks.clone() {
                                let bytes = block * layout.block_bytes()
                                    ..(block + 1) * layout.block_bytes();
                                seen[row][bytes].iter_mut().for_each(|seen| *seen += 1);
                            }
                            for (byte, mask) in
                                piece.tail_mask.unwrap_or_default().iter().enumerate()
                            {
                                if *mask != 0 {
                                    seen[row][piece.blocks.end * layout.block_bytes() + byte] += 1;
                                }
                            }
                        }
                    }
                    for (row, seen) in seen.iter().enumerate() {
                        for (byte, seen) in seen.iter().enumerate() {
                            let first = byte / layout.block_bytes() * layout.block_pixels();
                            let mut columns = first..first + layout.block_pixels();
                            if layout.tail_mask.is_some() {
                                let Shape::Packed(of) = format.shape() else {
                                    panic!("{format:?} is not packed")
                                };
                                if of[byte % 4] == Role::Luma {
                                    let place = first + byte % 4 / 2;
                                    columns = place..place + 1;
                                }
                            }
                            let shared = 1 << layout.h_sub;
                            let mut rows = row * shared..((row + 1) * shared).min(size.1);
                            let expected =
                                rows.any(|y| columns.clone().any(|x| x < size.0 && has(x, y)));
                            assert_eq!(
                                *seen,
                                i32::from(expected),
                                "{format:?} {rects:?} byte {byte} of row {row}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rows_of_odd_frames() {
        let [y, uv] = Format::Nv12.planes() else {
            panic!()
        };
        assert_eq!((y.rows(5), uv.rows(5)), (5, 3));
        assert_eq!((y.row_bytes(5), uv.row_bytes(5)), (Some(5), Some(6)));
        assert_eq!((uv.whole_blocks(5), uv.tail_mask(5)), (3, None));
        assert_eq!(uv.row_bytes(usize::MAX), None);
    }

    #[test]
    fn second_luma_of_an_odd_last_macropixel_is_padding() {
        let [yuy2] = Format::Yuy2.planes() else {
            panic!()
        };
        assert_eq!((yuy2.whole_blocks(5), yuy2.row_bytes(5)), (2, Some(12)));
        assert_eq!(yuy2.tail_mask(5), Some(&[0xff, 0xff, 0, 0xff][..]));
        assert_eq!(yuy2.tail_mask(6), None);
        let [uyvy] = Format::Uyvy.planes() else {
            panic!()
        };
        assert_eq!(uyvy.tail_mask(1), Some(&[0xff, 0xff, 0xff, 0][..]));
    }
}
