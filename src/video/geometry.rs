// SPDX-License-Identifier: MPL-2.0
//! Where a frame's planes lie, and the proof that they lie there.
//!
//! What a `GstVideoMeta` says is a claim of another element. Every plane's offset, stride and
//! height is checked against the memory that it is claimed to be in before a byte is touched;
//! behind this module nothing needs checking.

use crate::memory;
use crate::pixel::PlaneLayout;
use gst::glib::translate::IntoGlib;
use gst_video::{VideoFormatFlags, VideoInfo, VideoMeta};
use smallvec::SmallVec;

/// What a plane consists of, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of rows.
    pub rows: usize,
    /// Bytes in the whole units of a row.
    pub whole: usize,
    /// Bytes in a unit of the format.
    pub unit: usize,
    /// What the unit behind the whole ones holds, if there is one ([`PlaneLayout::partial_unit`]).
    pub partial: Option<&'static [u8]>,
    /// One row of colours, whose stride says nothing.
    pub is_palette: bool,
}

/// The planes' shapes for the pixel code, which must not touch padding within a row.
///
/// # Errors
/// [`GeometryError::TooLarge`].
pub fn shapes(
    info: &VideoInfo,
    layouts: &[PlaneLayout],
) -> Result<SmallVec<[Shape; 4]>, GeometryError> {
    let (width, height) = (info.width() as usize, info.height() as usize);
    let shape = |layout: &PlaneLayout| {
        layout.row_bytes(width).map(|_| Shape {
            rows: layout.rows(height),
            whole: layout.whole_units(width) * layout.unit(),
            unit: layout.unit(),
            partial: layout.partial_unit(width),
            is_palette: false,
        })
    };
    let shapes = layouts.iter().map(shape).collect::<Option<_>>();
    shapes.ok_or(GeometryError::TooLarge)
}

/// The planes' shapes for copying, of any format whose rows are rows of pixels.
///
/// # Errors
/// [`GeometryError::Rows`] for tiled and other complex formats.
pub fn shapes_to_copy(info: &VideoInfo) -> Result<SmallVec<[Shape; 4]>, GeometryError> {
    let format = info.format_info();
    let flags = format.flags();
    if flags.intersects(VideoFormatFlags::COMPLEX | VideoFormatFlags::TILED) {
        return Err(GeometryError::Rows(info.format().to_string()));
    }
    let mut shapes: SmallVec<[Shape; 4]> = SmallVec::new();
    for plane in 0..info.n_planes() {
        let mut shape = Shape {
            rows: 0,
            whole: 0,
            unit: 1,
            partial: None,
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
                // Pixels that are no number of bytes apart (IYU1): all that a row may hold.
                let stride = info.stride().get(plane as usize).copied().unwrap_or(0);
                shape.whole = usize::try_from(stride).unwrap_or(0);
                continue;
            }
            // A pixel's padding (BGRx) is copied with it.
            shape.whole = shape
                .whole
                .max((first + last + bytes).max(last + step.min(4)));
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

/// A plane within a memory, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Index of the memory in its `GstBuffer`.
    pub memory: usize,
    /// Where row 0 begins, in bytes from the memory's first.
    pub offset: usize,
    /// From row to row, in bytes.
    pub stride: usize,
    /// Number of rows.
    pub rows: usize,
    /// Bytes in the whole units of a row.
    pub whole: usize,
    /// Bytes in a unit of the format.
    pub unit: usize,
    /// What the unit behind the whole ones holds, if there is one ([`PlaneLayout::partial_unit`]).
    pub partial: Option<&'static [u8]>,
}

impl Plane {
    /// Bytes of a row that belong to the picture, from the first to the last.
    pub fn row_bytes(&self) -> usize {
        self.whole
            + self.partial.map_or(0, |mask| {
                mask.iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |last| last + 1)
            })
    }

    /// Bytes from row 0's first to the last row's last.
    pub fn extent(&self) -> usize {
        match self.rows {
            0 => 0,
            rows => (rows - 1) * self.stride + self.row_bytes(),
        }
    }
}

/// What is wrong with a frame's layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// The meta is of another format than the caps.
    #[error("the frame's GstVideoMeta says {meta}, the caps say {caps}")]
    Format {
        /// Format in the meta.
        meta: String,
        /// Format in the caps.
        caps: String,
    },
    /// The meta tells of a smaller frame than the caps.
    #[error(
        "the frame's GstVideoMeta says {}x{}, the caps say {}x{}", meta.0, meta.1, caps.0, caps.1
    )]
    Size {
        /// Width and height in the meta.
        meta: (u32, u32),
        /// Width and height in the caps.
        caps: (u32, u32),
    },
    /// The meta has another number of planes than the format.
    #[error("the frame's GstVideoMeta has {meta} planes, its format has {format}")]
    Planes {
        /// Planes in the meta.
        meta: usize,
        /// Planes of the format.
        format: usize,
    },
    /// Rows longer than an address space.
    #[error("the frame is too large for this machine")]
    TooLarge,
    /// The format has no rows of pixels.
    #[error("frames of format {0} are not made of rows of pixels")]
    Rows(String),
    /// A row is longer than the distance to the next.
    #[error("plane {plane}: rows of {row} bytes do not fit a stride of {stride}")]
    Stride {
        /// Number of the plane.
        plane: usize,
        /// Bytes in a row.
        row: usize,
        /// Claimed stride.
        stride: i32,
    },
    /// The plane ends behind its memory.
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

/// Finds and checks the planes of a frame.
///
/// Strides and offsets come from the `GstVideoMeta` where there is one, else from the caps.
///
/// # Errors
/// [`GeometryError`]; the frame must not be touched then.
pub fn planes(
    buffer: &gst::BufferRef,
    info: &VideoInfo,
    shapes: &[Shape],
) -> Result<SmallVec<[Plane; 4]>, GeometryError> {
    let sizes: SmallVec<[usize; 4]> = buffer.iter_memories().map(|memory| memory.size()).collect();
    let (width, height) = (info.width(), info.height());
    match buffer.meta::<VideoMeta>() {
        Some(meta) => {
            // Under caps of format DMA_DRM a meta may say the same, or the format that it stands for.
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

/// Checks claimed offsets and strides of planes against the sizes of the memories that they are
/// in, one behind the other.
fn check<'c>(
    claims: impl Iterator<Item = (&'c usize, &'c i32)>,
    memories: &[usize],
    shapes: &[Shape],
) -> Result<SmallVec<[Plane; 4]>, GeometryError> {
    let mut planes = SmallVec::new();
    for ((number, shape), (&offset, &stride)) in shapes.iter().enumerate().zip(claims) {
        let rows = shape.rows;
        let (memory, start, size) = find(memories, offset).unwrap_or((0, 0, 0));
        let mut plane = Plane {
            memory,
            offset: start,
            stride: 0,
            rows,
            whole: shape.whole,
            unit: shape.unit,
            partial: shape.partial,
        };
        let needed = plane.row_bytes();
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
        planes.push(plane);
    }
    Ok(planes)
}

/// The memory that holds byte `offset` of all of them, where that byte is in it, and its size.
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

    fn of(format: Format, width: u32, height: u32) -> SmallVec<[Shape; 4]> {
        gst::init().unwrap();
        let info = VideoInfo::builder(gst_video::VideoFormat::Nv12, width, height);
        shapes(&info.build().unwrap(), format.planes()).unwrap()
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
    fn last_row_needs_no_padding_behind_it() {
        assert!(nv12([0, 128], [32, 32], &[128 + 32 + 16]).is_ok());
        assert!(nv12([0, 128], [32, 32], &[128 + 32 + 15]).is_err());
    }

    #[test]
    fn plane_that_crosses_into_the_next_memory_is_refused() {
        let error = nv12([0, 56], [16, 16], &[60, 100]).unwrap_err();
        assert!(matches!(error, GeometryError::Bounds { plane: 0, .. }));
    }

    #[test]
    fn lies_are_refused() {
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
    fn row_of_an_odd_macropixel_ends_with_its_last_byte_of_picture() {
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
