// SPDX-License-Identifier: MPL-2.0
//! Checked planes of a frame, from caps, `GstVideoMeta` and `GstVideoCropMeta`.
//!
//! Metas are untrusted claims of other elements. Offset, stride and height of every plane are
//! checked against the memory before a byte is accessed; later code checks nothing again.

use crate::memory;
use crate::pixel::PlaneLayout;
use gst::glib::translate::IntoGlib;
use gst_video::{VideoCropMeta, VideoFormatFlags, VideoInfo, VideoMeta};
use smallvec::SmallVec;

/// The picture in a frame: the rectangle of the `GstVideoCropMeta` or, without one, the size in the
/// caps.
///
/// Caps may have the size of the rectangle (`videocrop`, which leaves the frame's in the
/// `GstVideoMeta`: `gst_video_crop_transform_ip`) or of the frame (decoders, such as `theoradec`:
/// `theora_handle_image`); what is shown is the rectangle (`gst_kms_sink_show_frame`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The last column and row at or before the picture at which samples of all planes begin.
    origin: (usize, usize),
    canvas: Canvas,
}

/// The pixels that are covered by the samples of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Canvas {
    /// Columns and rows before the picture that are covered by samples at its edges. 0 unless the
    /// picture begins at an odd position of a subsampled format.
    pub margin: (usize, usize),
    /// Width and height of the picture.
    pub size: (usize, usize),
}

impl Canvas {
    /// Returns width and height including the margin.
    pub fn covered(&self) -> (usize, usize) {
        (self.margin.0 + self.size.0, self.margin.1 + self.size.1)
    }
}

impl Picture {
    /// Returns the picture of a frame with the caps of `info`.
    ///
    /// # Errors
    /// [`GeometryError::Crop`].
    pub fn of(buffer: &gst::BufferRef, info: &VideoInfo) -> Result<Self, GeometryError> {
        let Some(crop) = buffer.meta::<VideoCropMeta>() else {
            return Ok(Self::whole(info));
        };
        let rect @ (x, y, width, height) = crop.rect();
        let meta = buffer.meta::<VideoMeta>();
        let frame = meta.map_or((info.width(), info.height()), |meta| {
            (meta.width(), meta.height())
        });
        let fits = |start: u32, length: u32, limit: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= limit)
        };
        if !fits(x, width, frame.0) || !fits(y, height, frame.1) {
            return Err(GeometryError::Crop { rect, frame });
        }
        let blocks = || (0..info.n_planes()).map(|plane| Block::of(info, plane));
        let margin = |start: u32, block: Option<usize>| start as usize % block.unwrap_or(1);
        let margin = (
            margin(x, blocks().map(|block| block.columns).max()),
            margin(y, blocks().map(|block| block.rows).max()),
        );
        Ok(Self {
            origin: (x as usize - margin.0, y as usize - margin.1),
            canvas: Canvas {
                margin,
                size: (width as usize, height as usize),
            },
        })
    }

    /// Returns the picture that is the whole frame.
    pub fn whole(info: &VideoInfo) -> Self {
        Self {
            origin: (0, 0),
            canvas: Canvas {
                margin: (0, 0),
                size: (info.width() as usize, info.height() as usize),
            },
        }
    }

    /// Returns the pixels that the samples cover.
    pub fn canvas(&self) -> Canvas {
        self.canvas
    }

    /// Returns the same picture at the origin of a frame.
    pub(super) fn moved_to_origin(&self) -> Self {
        Self {
            origin: (0, 0),
            ..*self
        }
    }

    /// Returns `info` with another size.
    pub(super) fn info(
        info: &VideoInfo,
        (width, height): (usize, usize),
    ) -> Result<VideoInfo, GeometryError> {
        if (info.width() as usize, info.height() as usize) == (width, height) {
            return Ok(info.clone());
        }
        // Both were u32s before a margin was added.
        let size = |size: usize| u32::try_from(size).map_err(|_| GeometryError::TooLarge);
        let resized = VideoInfo::builder(info.format(), size(width)?, size(height)?)
            .interlace_mode(info.interlace_mode())
            .flags(info.flags())
            .chroma_site(info.chroma_site())
            .colorimetry(&info.colorimetry())
            .par(info.par())
            .fps(info.fps())
            .build();
        resized.map_err(|_| GeometryError::TooLarge)
    }

    /// Trims planes of the canvas to the picture: each begins with the first sample that covers a
    /// pixel of the picture.
    pub(super) fn trimmed(&self, info: &VideoInfo, planes: &[Plane]) -> SmallVec<[Plane; 4]> {
        let trim = |(number, plane): (usize, &Plane)| {
            let (rows, bytes) = Block::nth(info, number).before(self.canvas.margin);
            Plane {
                offset: plane.offset + rows * plane.stride + bytes,
                rows: plane.rows.saturating_sub(rows),
                whole: plane.whole.saturating_sub(bytes),
                ..*plane
            }
        };
        planes.iter().enumerate().map(trim).collect()
    }
}

/// The repeating block of a plane: a sample, or pixels that share one (YUY2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// Columns and rows of the frame that it covers.
    pub(super) columns: usize,
    pub(super) rows: usize,
    bytes: usize,
}

impl Block {
    fn of(info: &VideoInfo, plane: u32) -> Self {
        let mut block = Self {
            columns: 1,
            rows: 1,
            bytes: 0,
        };
        let format = info.format_info();
        if format.has_palette() && plane == 1 {
            return block;
        }
        for component in 0..info.n_components() as u8 {
            let shift = |shifts: &[u32]| shifts.get(usize::from(component)).copied().unwrap_or(0);
            if info.comp_plane(component) == plane {
                let bytes = usize::try_from(info.comp_pstride(component)).unwrap_or(0);
                block.columns = block.columns.max(1 << shift(format.w_sub()));
                block.rows = block.rows.max(1 << shift(format.h_sub()));
                block.bytes = block.bytes.max(bytes);
            }
        }
        if block.bytes == 0 {
            // The pixel stride is not a whole number of bytes: a row is one block.
            block.columns = usize::MAX;
        }
        block
    }

    pub(super) fn nth(info: &VideoInfo, plane: usize) -> Self {
        Self::of(info, u32::try_from(plane).unwrap_or(u32::MAX))
    }

    /// Returns the rows, and bytes of a row, of the plane that cover these columns and rows.
    fn before(&self, (columns, rows): (usize, usize)) -> (usize, usize) {
        (rows / self.rows, columns / self.columns * self.bytes)
    }
}

/// The rows of a plane, independent of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneShape {
    /// Number of rows.
    pub rows: usize,
    /// Bytes in the whole blocks of a row.
    pub whole: usize,
    /// Bytes in a block of the format.
    pub block_bytes: usize,
    /// Mask of the partial block after the whole ones, if there is one
    /// ([`PlaneLayout::tail_mask`]).
    pub tail_mask: Option<&'static [u8]>,
    /// Rows, and bytes of a row, before the picture.
    pub skipped: (usize, usize),
    /// Whether it is a palette: one row of colours whose stride is meaningless.
    pub is_palette: bool,
}

/// Returns the shapes of planes for pixel code, which must not access padding within a row.
///
/// # Errors
/// [`GeometryError::TooLarge`].
pub fn shapes(
    info: &VideoInfo,
    picture: &Picture,
    layouts: &[PlaneLayout],
) -> Result<SmallVec<[PlaneShape; 4]>, GeometryError> {
    let (width, height) = picture.canvas.covered();
    let shape = |(number, layout): (usize, &PlaneLayout)| {
        layout.row_bytes(width).map(|_| PlaneShape {
            rows: layout.rows(height),
            whole: layout.whole_blocks(width) * layout.block_bytes(),
            block_bytes: layout.block_bytes(),
            tail_mask: layout.tail_mask(width),
            skipped: Block::nth(info, number).before(picture.origin),
            is_palette: false,
        })
    };
    let shapes = layouts.iter().enumerate().map(shape).collect::<Option<_>>();
    shapes.ok_or(GeometryError::TooLarge)
}

/// Returns the shapes of planes for copying, in any format whose rows are rows of pixels.
///
/// # Errors
/// [`GeometryError::Rows`] for tiled and other complex formats; [`GeometryError::TooLarge`].
pub fn shapes_to_copy(
    info: &VideoInfo,
    picture: &Picture,
) -> Result<SmallVec<[PlaneShape; 4]>, GeometryError> {
    let info = &Picture::info(info, picture.canvas.covered())?;
    let format = info.format_info();
    let flags = format.flags();
    if flags.intersects(VideoFormatFlags::COMPLEX | VideoFormatFlags::TILED) {
        return Err(GeometryError::Rows(info.format().to_string()));
    }
    let mut shapes: SmallVec<[PlaneShape; 4]> = SmallVec::new();
    for plane in 0..info.n_planes() {
        let mut shape = PlaneShape {
            rows: 0,
            whole: 0,
            block_bytes: 1,
            tail_mask: None,
            skipped: Block::of(info, plane).before(picture.origin),
            is_palette: false,
        };
        for component in 0..info.n_components() as u8 {
            if info.comp_plane(component) != plane {
                continue;
            }
            let bytes = (info.comp_depth(component) as usize).div_ceil(8);
            let step = usize::try_from(info.comp_pstride(component)).unwrap_or(0);
            let first = info.comp_poffset(component) as usize;
            let last = (info.comp_width(component) as usize).saturating_sub(1) * step;
            shape.rows = shape.rows.max(info.comp_height(component) as usize);
            if step == 0 {
                // The pixel stride is not a whole number of bytes (IYU1): all bytes of a row.
                let stride = info.stride().get(plane as usize).copied().unwrap_or(0);
                shape.whole = usize::try_from(stride).unwrap_or(0);
                continue;
            }
            // The padding of a pixel (BGRx) is copied as well, and all of a block (Y210, whose sample
            // offsets are missing in the table of GStreamer).
            shape.whole = shape.whole.max((first + last + bytes).max(last + step));
        }
        if flags.contains(VideoFormatFlags::PALETTE) && plane == 1 {
            shape.rows = 1;
            shape.whole = 256 * 4;
            shape.is_palette = true;
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

/// A plane in a memory, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Index of the memory in its `GstBuffer`.
    pub memory: usize,
    /// Offset of row 0 in the memory, in bytes.
    pub offset: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Number of rows.
    pub rows: usize,
    /// Bytes in the whole blocks of a row.
    pub whole: usize,
    /// Bytes in a block of the format.
    pub block_bytes: usize,
    /// Mask of the partial block after the whole ones, if there is one
    /// ([`PlaneLayout::tail_mask`]).
    pub tail_mask: Option<&'static [u8]>,
}

impl Plane {
    /// Returns the number of bytes of a row from the first of the picture to the last.
    pub fn row_bytes(&self) -> usize {
        self.whole
            + self.tail_mask.map_or(0, |mask| {
                mask.iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |last| last + 1)
            })
    }

    /// Returns the number of bytes from the first of row 0 to the last of the last row.
    pub fn extent(&self) -> usize {
        match self.rows {
            0 => 0,
            rows => (rows - 1) * self.stride + self.row_bytes(),
        }
    }
}

/// An invalid layout of a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// The formats of meta and caps differ.
    #[error("the frame's GstVideoMeta says {meta}, the caps say {caps}")]
    Format {
        /// Format in the meta.
        meta: String,
        /// Format in the caps.
        caps: String,
    },
    /// The frame is smaller in the meta than in the caps.
    #[error(
        "the frame's GstVideoMeta says {}x{}, the caps say {}x{}", meta.0, meta.1, caps.0, caps.1
    )]
    Size {
        /// Width and height in the meta.
        meta: (u32, u32),
        /// Width and height in the caps.
        caps: (u32, u32),
    },
    /// The rectangle of the crop meta is empty or outside of the frame.
    #[error(
        "the frame's GstVideoCropMeta says {}x{} at {},{}, which is no part of a frame of {}x{}",
        rect.2, rect.3, rect.0, rect.1, frame.0, frame.1
    )]
    Crop {
        /// The rectangle: x, y, width and height.
        rect: (u32, u32, u32, u32),
        /// Width and height of the frame.
        frame: (u32, u32),
    },
    /// The task was created for pictures of another size.
    #[error("the frame's picture is not of the size that the task was made for")]
    Picture,
    /// The numbers of planes in meta and format differ.
    #[error("the frame's GstVideoMeta has {meta} planes, its format has {format}")]
    Planes {
        /// Planes in the meta.
        meta: usize,
        /// Planes of the format.
        format: usize,
    },
    /// The rows exceed the address space.
    #[error("the frame is too large for this machine")]
    TooLarge,
    /// The format has no rows of pixels.
    #[error("frames of format {0} are not made of rows of pixels")]
    Rows(String),
    /// A row is longer than the stride.
    #[error("plane {plane}: rows of {row} bytes do not fit a stride of {stride}")]
    Stride {
        /// Number of the plane.
        plane: usize,
        /// Bytes in a row.
        row: usize,
        /// Claimed stride.
        stride: i32,
    },
    /// The plane exceeds its memory.
    #[error(
        "plane {plane}: {rows} rows of stride {stride} from offset {offset} do not fit the \
         {available} bytes of the frame's memory there"
    )]
    Bounds {
        /// Number of the plane.
        plane: usize,
        /// Claimed offset in the frame.
        offset: usize,
        /// Claimed stride.
        stride: i32,
        /// Rows of the plane.
        rows: usize,
        /// Bytes from the offset to the end of its memory.
        available: usize,
    },
}

/// Returns the checked planes of a frame.
///
/// Strides and offsets are those of the `GstVideoMeta` if there is one, else of the caps.
///
/// # Errors
/// [`GeometryError`]; the frame must not be accessed then.
pub fn planes(
    buffer: &gst::BufferRef,
    info: &VideoInfo,
    shapes: &[PlaneShape],
) -> Result<SmallVec<[Plane; 4]>, GeometryError> {
    let sizes: SmallVec<[usize; 4]> = buffer.iter_memories().map(|memory| memory.size()).collect();
    let (width, height) = (info.width(), info.height());
    match buffer.meta::<VideoMeta>() {
        Some(meta) => {
            // With caps of format DMA_DRM, the meta may have DMA_DRM or the actual format.
            let is_drm = meta.format().into_glib() == memory::DMA_DRM_FORMAT;
            if meta.format() != info.format() && !is_drm {
                return Err(GeometryError::Format {
                    meta: meta.format().to_string(),
                    caps: info.format().to_string(),
                });
            }
            if meta.width() < width || meta.height() < height {
                return Err(GeometryError::Size {
                    meta: (meta.width(), meta.height()),
                    caps: (width, height),
                });
            }
            if meta.n_planes() as usize != shapes.len() {
                return Err(GeometryError::Planes {
                    meta: meta.n_planes() as usize,
                    format: shapes.len(),
                });
            }
            let claims = meta.offset().iter().zip(meta.stride());
            check(claims, &sizes, shapes)
        }
        None => {
            let claims = info.offset().iter().zip(info.stride());
            check(claims, &sizes, shapes)
        }
    }
}

/// Checks claimed offsets and strides of planes against the sizes of consecutive memories.
fn check<'c>(
    claims: impl Iterator<Item = (&'c usize, &'c i32)>,
    memories: &[usize],
    shapes: &[PlaneShape],
) -> Result<SmallVec<[Plane; 4]>, GeometryError> {
    let mut planes = SmallVec::new();
    for ((number, shape), (&offset, &stride)) in shapes.iter().enumerate().zip(claims) {
        let (rows_before, bytes_before) = shape.skipped;
        let rows = rows_before.saturating_add(shape.rows);
        let (memory, start, size) = find(memories, offset).unwrap_or((0, 0, 0));
        let mut plane = Plane {
            memory,
            offset: start,
            stride: 0,
            rows: shape.rows,
            whole: shape.whole,
            block_bytes: shape.block_bytes,
            tail_mask: shape.tail_mask,
        };
        let needed = bytes_before.saturating_add(plane.row_bytes());
        plane.stride = usize::try_from(stride)
            .ok()
            .map(|stride| if shape.is_palette { needed } else { stride })
            .filter(|stride| *stride >= needed)
            .ok_or(GeometryError::Stride {
                plane: number,
                row: needed,
                stride,
            })?;
        let extent = rows
            .saturating_sub(1)
            .checked_mul(plane.stride)
            .and_then(|last| last.checked_add(needed));
        let available = size.saturating_sub(start);
        if extent.is_none_or(|extent| extent > available) {
            return Err(GeometryError::Bounds {
                plane: number,
                offset,
                stride,
                rows,
                available,
            });
        }
        plane.offset += rows_before * plane.stride + bytes_before;
        planes.push(plane);
    }
    Ok(planes)
}

/// Returns the index of the memory that holds byte `offset` of all memories, the offset in it, and
/// its size.
fn find(memories: &[usize], offset: usize) -> Option<(usize, usize, usize)> {
    let mut rest = offset;
    for (index, &size) in memories.iter().enumerate() {
        if rest < size {
            return Some((index, rest, size));
        }
        rest -= size;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixel::Format;

    fn of(format: Format, width: u32, height: u32) -> SmallVec<[PlaneShape; 4]> {
        gst::init().unwrap();
        let info = VideoInfo::builder(gst_video::VideoFormat::Nv12, width, height);
        let info = info.build().unwrap();
        shapes(&info, &Picture::whole(&info), format.planes()).unwrap()
    }

    fn nv12(
        offsets: [usize; 2],
        strides: [i32; 2],
        memories: &[usize],
    ) -> Result<SmallVec<[Plane; 4]>, GeometryError> {
        let claims = offsets.iter().zip(&strides);
        check(claims, memories, &of(Format::Nv12, 16, 4))
    }

    #[test]
    fn planes_in_one_memory_and_in_two() {
        let one = nv12([0, 64], [16, 16], &[96]).unwrap();
        assert_eq!((one[1].memory, one[1].offset, one[1].rows), (0, 64, 2));
        let two = nv12([0, 64], [16, 16], &[64, 32]).unwrap();
        assert_eq!((two[1].memory, two[1].offset), (1, 0));
    }

    #[test]
    fn last_row_needs_no_padding() {
        assert!(nv12([0, 128], [32, 32], &[128 + 32 + 16]).is_ok());
        assert!(nv12([0, 128], [32, 32], &[128 + 32 + 15]).is_err());
    }

    #[test]
    fn plane_that_crosses_into_the_next_memory_is_refused() {
        let error = nv12([0, 56], [16, 16], &[60, 100]).unwrap_err();
        assert!(matches!(error, GeometryError::Bounds { plane: 0, .. }));
    }

    #[test]
    fn false_claims_are_refused() {
        let huge = usize::MAX - 8;
        for (offsets, strides) in [
            ([0, huge], [16, 16]),
            ([huge, 64], [16, 16]),
            ([0, 64], [16, i32::MAX]),
            ([0, 64], [15, 16]),
            ([0, 64], [-16, 16]),
            ([0, 64], [0, 16]),
            ([0, 96], [16, 16]),
            ([0, 65], [16, 16]),
        ] {
            assert!(
                nv12(offsets, strides, &[96]).is_err(),
                "{offsets:?} {strides:?}"
            );
        }
        assert!(nv12([0, 64], [16, 16], &[]).is_err());
    }

    #[test]
    fn row_with_a_partial_macropixel_ends_at_its_last_used_byte() {
        let claims = || [0usize].into_iter();
        let check_uyvy = |size: usize| {
            let offsets: Vec<usize> = claims().collect();
            check(offsets.iter().zip(&[12]), &[size], &of(Format::Uyvy, 5, 2))
        };
        // 2 macropixels and the first three bytes of the third.
        assert_eq!(check_uyvy(23).unwrap()[0].row_bytes(), 11);
        assert!(check_uyvy(22).is_err());
    }
}
