// SPDX-License-Identifier: MPL-2.0
//! The table of pixel formats, and the layout of their planes.
//!
//! A format is one row of the table: its names and where each component is. Every list of formats
//! and every choice of a kernel is made from it. A row whose arrangement of components no kernel
//! supports does not compile.

use super::area::Area;
use std::ops::Range;

/// Makes the enum [`Format`] and its table from the rows.
macro_rules! formats {
    ($($format:ident $name:literal $drm:tt $v4l2:tt $sample:ident $chroma:ident $([$($role:ident)+])+;)+) => {
        /// A video format. The variants are those of `GstVideoFormat`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        #[allow(missing_docs)]
        pub enum Format {
            $($format,)+
        }

        impl Format {
            /// All formats, in the order of the table.
            pub const ALL: &'static [Format] = &[$(Self::$format),+];

            /// The rows of the table, in the order of the variants.
            const ROWS: &'static [Row] = &[$(Row {
                name: $name,
                drm: fourcc($drm),
                v4l2: &$v4l2,
                planes: &[$(PlaneLayout::new(
                    Sample::$sample,
                    subsampling::$chroma,
                    &[$(Role::$role),+],
                    &const { masks(Sample::$sample, &[$(Role::$role),+]) },
                )),+],
                shape: shape(Sample::$sample, &[$(&[$(Role::$role),+]),+]),
            }),+];
        }
    };
}

// Sources: `video-format.c` for names and components, `format_map` in `video-info-dma.c` for DRM
// fourccs ("" where there is none), `gst_v4l2_object_v4l2fourcc_to_video_format` of v4l2src for
// V4L2 fourccs.
//
// The roles of a plane are those of one block, in the order of its samples in memory.
formats! {
    // format name         DRM     V4L2                   sample      chroma   planes
    Nv12     "NV12"      "NV12" [*b"NV12", *b"NM12"] Byte        YUV_420 [Luma] [U V];
    Nv21     "NV21"      "NV21" [*b"NV21", *b"NM21"] Byte        YUV_420 [Luma] [V U];
    Nv16     "NV16"      "NV16" [*b"NV16", *b"NM16"] Byte        YUV_422 [Luma] [U V];
    Nv61     "NV61"      "NV61" [*b"NV61", *b"NM61"] Byte        YUV_422 [Luma] [V U];
    Nv24     "NV24"      "NV24" []                   Byte        YUV_444 [Luma] [U V];
    I420     "I420"      "YU12" [*b"YU12", *b"YM12"] Byte        YUV_420 [Luma] [U] [V];
    Yv12     "YV12"      "YV12" [*b"YV12", *b"YM21"] Byte        YUV_420 [Luma] [V] [U];
    Y42b     "Y42B"      "YU16" [*b"422P"]           Byte        YUV_422 [Luma] [U] [V];
    Y41b     "Y41B"      "YU11" [*b"411P"]           Byte        YUV_411 [Luma] [U] [V];
    Y444     "Y444"      "YU24" []                   Byte        YUV_444 [Luma] [U] [V];
    Yuy2     "YUY2"      "YUYV" [*b"YUYV"]           Byte        YUV_422 [Luma U Luma V];
    Uyvy     "UYVY"      "UYVY" [*b"UYVY"]           Byte        YUV_422 [U Luma V Luma];
    Yvyu     "YVYU"      "YVYU" [*b"YVYU"]           Byte        YUV_422 [Luma V Luma U];
    Vyuy     "VYUY"      "VYUY" [*b"VYUY"]           Byte        YUV_422 [V Luma U Luma];
    // DRM writes components from the highest bits down: its AYUV is VUYA in memory, and there is
    // no name for what GStreamer calls AYUV.
    Ayuv     "AYUV"      ""     []                   Byte        YUV_444 [Alpha Luma U V];
    Vuya     "VUYA"      "AYUV" []                   Byte        YUV_444 [V U Luma Alpha];
    Gray8    "GRAY8"     "R8  " [*b"GREY"]           Byte        NONE    [Luma];
    Gray16Le "GRAY16_LE" "R16 " [*b"Y16 "]           Word16      NONE    [Luma];
    P01010le "P010_10LE" "P010" []                   Word10High  YUV_420 [Luma] [U V];
    I42010le "I420_10LE" "S010" []                   Word10Low   YUV_420 [Luma] [U] [V];
    Y210     "Y210"      "Y210" []                   Word10High  YUV_422 [Luma U Luma V];
    Rgb16    "RGB16"     "RG16" [*b"RGBP"]           Rgb565      NONE    [Red Green Blue];
    Bgr      "BGR"       "RG24" [*b"BGR3"]           Byte        NONE    [Blue Green Red];
    Rgb      "RGB"       "BG24" [*b"RGB3"]           Byte        NONE    [Red Green Blue];
    Bgrx     "BGRx"      "XR24" [*b"XR24", *b"BGR4"] Byte        NONE    [Blue Green Red Padding];
    Rgbx     "RGBx"      "XB24" [*b"XB24"]           Byte        NONE    [Red Green Blue Padding];
    Xbgr     "xBGR"      "RX24" [*b"RX24"]           Byte        NONE    [Padding Blue Green Red];
    Xrgb     "xRGB"      "BX24" [*b"BX24", *b"RGB4"] Byte        NONE    [Padding Red Green Blue];
    Bgra     "BGRA"      "AR24" [*b"AR24"]           Byte        NONE    [Blue Green Red Alpha];
    Rgba     "RGBA"      "AB24" [*b"AB24"]           Byte        NONE    [Red Green Blue Alpha];
    Abgr     "ABGR"      "RA24" [*b"RA24"]           Byte        NONE    [Alpha Blue Green Red];
    Argb     "ARGB"      "BA24" [*b"BA24"]           Byte        NONE    [Alpha Red Green Blue];
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    name: &'static str,
    drm: Option<&'static str>,
    v4l2: &'static [[u8; 4]],
    planes: &'static [PlaneLayout],
    shape: Shape,
}

const fn fourcc(drm: &'static str) -> Option<&'static str> {
    assert!(matches!(drm.len(), 0 | 4), "a fourcc has four characters");
    if drm.is_empty() { None } else { Some(drm) }
}

/// Pixels that share a chroma sample: horizontally, and log2 of those vertically.
mod subsampling {
    pub(super) const NONE: (usize, u32) = (1, 0);
    pub(super) const YUV_444: (usize, u32) = (1, 0);
    pub(super) const YUV_422: (usize, u32) = (2, 0);
    pub(super) const YUV_420: (usize, u32) = (2, 1);
    pub(super) const YUV_411: (usize, u32) = (4, 0);
}

/// How a sample is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sample {
    /// Eight bits.
    Byte,
    /// A little-endian word of 16 bits.
    Word16,
    /// The low 10 bits of such a word.
    Word10Low,
    /// The high 10 bits of such a word.
    Word10High,
    /// The fields of one such word: 5, 6 and 5 bits, from the highest bit down.
    Rgb565,
}

impl Sample {
    /// The bits of a 16-bit word that hold a sample; `None` for other samples.
    const fn depth(self) -> Option<Depth> {
        match self {
            Self::Byte | Self::Rgb565 => None,
            Self::Word16 => Some(Depth { bits: 16, shift: 0 }),
            Self::Word10Low => Some(Depth { bits: 10, shift: 0 }),
            Self::Word10High => Some(Depth { bits: 10, shift: 6 }),
        }
    }

    /// Bytes of a block with this number of samples.
    const fn bytes(self, samples: usize) -> usize {
        match self {
            Self::Byte => samples,
            Self::Word16 | Self::Word10Low | Self::Word10High => 2 * samples,
            Self::Rgb565 => 2,
        }
    }

    /// The bits of a block that hold its sample of this number, counted from the lowest bit of a
    /// little-endian word.
    pub(super) const fn place(self, number: usize) -> Depth {
        match (self, self.depth()) {
            (Self::Rgb565, _) => match number {
                0 => Depth { bits: 5, shift: 11 },
                1 => Depth { bits: 6, shift: 5 },
                _ => Depth { bits: 5, shift: 0 },
            },
            (_, Some(Depth { bits, shift })) => Depth {
                bits,
                shift: shift + 16 * number as u32,
            },
            (_, None) => Depth {
                bits: 8,
                shift: 8 * number as u32,
            },
        }
    }
}

/// How the rows of one plane are made.
///
/// A row is a run of blocks, each holding one or more pixels; subsampled planes have fewer rows
/// than the frame. Strides, offsets and padding between rows are not part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlaneLayout {
    sample: Sample,
    roles: &'static [Role],
    block_bytes: usize,
    pixels: usize,
    h_sub: u32,
    /// What a last block holds that has fewer pixels than the others: one entry a byte.
    tail_mask: Option<&'static [u8]>,
    /// The same for a block without its first pixel.
    head_mask: Option<&'static [u8]>,
}

impl PlaneLayout {
    const fn new(
        sample: Sample,
        (w_sub, h_sub): (usize, u32),
        roles: &'static [Role],
        masks: &'static Masks,
    ) -> Self {
        let luma = count(roles, Role::Luma);
        let is_chroma = luma == 0 && count(roles, Role::Red) == 0;
        assert!(
            luma <= 1 || luma == w_sub,
            "a block has one luma sample a pixel"
        );
        let block_bytes = sample.bytes(roles.len());
        Self {
            sample,
            roles,
            block_bytes,
            pixels: if is_chroma {
                w_sub
            } else if luma > 1 {
                luma
            } else {
                1
            },
            h_sub: if is_chroma { h_sub } else { 0 },
            tail_mask: if luma > 1 {
                Some(masks.tail.split_at(block_bytes).0)
            } else {
                None
            },
            head_mask: if luma > 1 {
                Some(masks.head.split_at(block_bytes).0)
            } else {
                None
            },
        }
    }

    /// The samples of a block, in the order of memory.
    pub(super) const fn roles(&self) -> &'static [Role] {
        self.roles
    }

    pub(super) const fn sample(&self) -> Sample {
        self.sample
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

    /// Blocks of a row of `width` pixels whose every byte may be changed (alpha and padding
    /// inside a pixel aside, which no operation changes).
    #[must_use]
    pub const fn whole_blocks(&self, width: usize) -> usize {
        match self.tail_mask {
            // The last sample of a subsampled plane is whole although it serves fewer pixels.
            None => width.div_ceil(self.pixels),
            Some(_) => width / self.pixels,
        }
    }

    /// What the block after the whole ones holds, if the width leaves one with fewer pixels: a mask
    /// with an entry for each of its bytes, `0xff` where the byte belongs
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

    /// Returns the parts of blocks that cover an area of the frame, for work that goes over blocks: each
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

    /// Bytes of a row from its first block to its last, the last, shorter one included; `None` where
    /// that is more than a `usize` holds.
    #[must_use]
    pub const fn row_bytes(&self, width: usize) -> Option<usize> {
        width.div_ceil(self.pixels).checked_mul(self.block_bytes)
    }
}

/// Blocks of some rows, and perhaps a part of the block after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Rows of the plane.
    pub rows: Range<usize>,
    /// Whole blocks of each; may be none.
    pub blocks: Range<usize>,
    /// The block after those, in so far as it is part of the piece: a mask as that of
    /// [`PlaneLayout::tail_mask`].
    pub tail_mask: Option<&'static [u8]>,
}

/// What a sample of a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Luma,
    U,
    V,
    Red,
    Green,
    Blue,
    Alpha,
    Padding,
}

impl Role {
    /// The number of the component: 0, 1, 2 are luma, U, V or red, green, blue. `None` for what
    /// no operation on colours changes.
    pub(super) const fn component(self) -> Option<usize> {
        match self {
            Self::Luma | Self::Red => Some(0),
            Self::U | Self::Green => Some(1),
            Self::V | Self::Blue => Some(2),
            Self::Alpha | Self::Padding => None,
        }
    }
}

const fn count(roles: &[Role], role: Role) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < roles.len() {
        count += (roles[at] as usize == role as usize) as usize;
        at += 1;
    }
    count
}

/// The offset of a sample in a block of bytes. Does not compile where it is missing.
const fn offset(roles: &[Role], role: Role) -> usize {
    let mut at = 0;
    while roles[at] as usize != role as usize {
        at += 1;
    }
    at
}

/// The longest block, in bytes.
const MOST_BLOCK_BYTES: usize = 16;

/// Masks of the bytes of a block that belong to a part of its pixels, for
/// [`PlaneLayout::tail_mask`] and [`PlaneLayout::head_mask`].
struct Masks {
    tail: [u8; MOST_BLOCK_BYTES],
    head: [u8; MOST_BLOCK_BYTES],
}

/// The tail mask leaves out all luma samples but the first, the head mask the first.
const fn masks(sample: Sample, roles: &[Role]) -> Masks {
    let mut masks = Masks {
        tail: [0xff; MOST_BLOCK_BYTES],
        head: [0xff; MOST_BLOCK_BYTES],
    };
    let (mut at, mut luma) = (0, 0);
    while at < roles.len() {
        if matches!(roles[at], Role::Luma) {
            let mut byte = sample.bytes(at);
            while byte < sample.bytes(at + 1) {
                if luma == 0 {
                    masks.head[byte] = 0;
                } else {
                    masks.tail[byte] = 0;
                }
                byte += 1;
            }
            luma += 1;
        }
        at += 1;
    }
    masks
}

/// An arrangement of components for which there is a kernel.
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
    /// Such components in one plane: a block of two pixels.
    HighDepthPacked(Depth, [Role; 4]),
    /// Five, six and five bits of a 16-bit word, red on top.
    Rgb565,
}

/// Where in a little-endian word a value is. The other bits are padding or other values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Depth {
    pub(super) bits: u32,
    pub(super) shift: u32,
}

/// Where chroma of high depth is: nowhere, U and V interleaved in plane 1, or in planes 1 and 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HighDepthChroma {
    None,
    Interleaved,
    Planar,
}

/// Chooses the kernel. Fails to compile for an arrangement that none supports.
#[expect(clippy::panic, reason = "evaluated by the compiler only")]
const fn shape(sample: Sample, planes: &[&[Role]]) -> Shape {
    use Role::{Blue, Green, Luma, Red, U, V};
    match (sample, sample.depth(), planes) {
        (Sample::Byte, _, [[Luma]]) => Shape::Gray,
        (Sample::Byte, _, [[Luma], [U], [V]]) => Shape::Planar { u: 1, v: 2 },
        (Sample::Byte, _, [[Luma], [V], [U]]) => Shape::Planar { u: 2, v: 1 },
        (Sample::Byte, _, [[Luma], [U, V]]) => Shape::SemiPlanar { chroma: [U, V] },
        (Sample::Byte, _, [[Luma], [V, U]]) => Shape::SemiPlanar { chroma: [V, U] },
        (Sample::Byte, _, [[a, b, c, d]]) if count(planes[0], Luma) > 0 => {
            assert!(count(planes[0], U) == 1 && count(planes[0], V) == 1);
            Shape::Packed([*a, *b, *c, *d])
        }
        (Sample::Byte, _, [rgb]) if rgb.len() == 3 || rgb.len() == 4 => Shape::Rgb {
            bytes: rgb.len(),
            offsets: [offset(rgb, Red), offset(rgb, Green), offset(rgb, Blue)],
        },
        (Sample::Rgb565, _, [[Red, Green, Blue]]) => Shape::Rgb565,
        (_, Some(depth), [[Luma]]) => Shape::HighDepth(depth, HighDepthChroma::None),
        (_, Some(depth), [[Luma], [U, V]]) => Shape::HighDepth(depth, HighDepthChroma::Interleaved),
        (_, Some(depth), [[Luma], [U], [V]]) => Shape::HighDepth(depth, HighDepthChroma::Planar),
        (_, Some(depth), [[a, b, c, d]])
            if count(planes[0], Luma) == 2
                && count(planes[0], U) == 1
                && count(planes[0], V) == 1 =>
        {
            Shape::HighDepthPacked(depth, [*a, *b, *c, *d])
        }
        _ => panic!("no kernel supports this arrangement of components"),
    }
}

impl Format {
    const fn row(self) -> &'static Row {
        &Self::ROWS[self as usize]
    }

    /// Returns GStreamer's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the DRM fourcc that GStreamer maps to the format.
    #[must_use]
    pub const fn drm_fourcc(self) -> Option<&'static str> {
        self.row().drm
    }

    /// Returns the V4L2 fourccs that `v4l2src` maps to the format.
    #[must_use]
    pub const fn v4l2_fourccs(self) -> &'static [[u8; 4]] {
        self.row().v4l2
    }

    /// Returns the planes, in the order of `GstVideoInfo`'s offsets and strides.
    #[must_use]
    pub const fn planes(self) -> &'static [PlaneLayout] {
        self.row().planes
    }

    /// The bits of a word that hold a sample; `None` where samples have eight bits or fewer.
    pub(super) const fn depth(self) -> Option<Depth> {
        self.planes()[0].sample().depth()
    }

    /// Whether the components are red, green and blue.
    pub(super) const fn is_rgb(self) -> bool {
        count(self.planes()[0].roles(), Role::Red) > 0
    }

    pub(super) const fn shape(self) -> Shape {
        self.row().shape
    }
}

#[cfg(test)]
mod tests {
    use super::super::area::Rect;
    use super::*;
    use dmabufcpu_testing::Rng;

    #[test]
    fn pieces_hold_the_samples_of_an_area_and_no_others() {
        let mut random = Rng::with_seed(5);
        let mut next = |range: usize| random.usize(..range) as u32;
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
                                let roles = layout.roles();
                                let bytes = layout.block_bytes() / roles.len();
                                let sample = byte / bytes % roles.len();
                                if roles[sample] == Role::Luma {
                                    let place = first + sample / 2;
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
