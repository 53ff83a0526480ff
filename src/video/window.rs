// SPDX-License-Identifier: MPL-2.0
//! Windows of rows, as window functions and the functions of [`video`](super) access them.

use super::geometry::{Block, Canvas, Plane};
use super::pass::MappedPlane;
use crate::dmabuf::{Access, Window, Windows, Writable, page_size};
use gst_video::VideoInfo;
use smallvec::SmallVec;
use std::ops::{Deref, DerefMut, Range};

/// A plane of a frame. Columns and rows are those of the plane: one pixel of a subsampled plane
/// stands for several of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaneInfo {
    /// Number of the plane, from 0.
    pub number: usize,
    /// Pixels in a row (`GST_VIDEO_INFO_COMP_WIDTH` of the plane's first component).
    pub columns: usize,
    /// Number of rows.
    pub rows: usize,
    /// Bytes from one pixel to the next (`GST_VIDEO_INFO_COMP_PSTRIDE`): 4 in BGRx, 2 in the chroma
    /// of NV12 and in YUY2; 0 if it is not a whole number of bytes.
    pub pixel_bytes: usize,
    /// Bytes of a row that belong to the picture.
    pub row_bytes: usize,
    /// Bytes from one row to the next, including padding.
    pub stride: usize,
    /// Horizontal and vertical subsampling as powers of two: (1, 1) for the chroma of NV12.
    pub subsampling: (u32, u32),
    /// Columns and rows of the frame outside of the picture that the plane's first pixel stands for
    /// or shares bytes with. 0 unless a `GstVideoCropMeta` begins at an odd position of a
    /// subsampled format. A row of YUY2 then begins with the pixel to the left of the picture.
    pub margin: (usize, usize),
}

impl PlaneInfo {
    fn new(number: usize, info: &VideoInfo, canvas: &Canvas, plane: &Plane) -> Self {
        let format = info.format_info();
        let components = 0..info.n_components() as u8;
        let first = components
            .into_iter()
            .find(|component| info.comp_plane(*component) as usize == number)
            .unwrap_or(0);
        let block = Block::nth(info, number);
        let margin = (
            canvas.margin.0 % block.columns,
            canvas.margin.1 % block.rows,
        );
        let shift = |shifts: &[u32]| shifts.get(usize::from(first)).copied().unwrap_or(0);
        Self {
            number,
            columns: (margin.0 + canvas.size.0).div_ceil(1 << shift(format.w_sub())),
            rows: plane.rows,
            pixel_bytes: usize::try_from(info.comp_pstride(first)).unwrap_or(0),
            row_bytes: plane.row_bytes(),
            stride: plane.stride,
            subsampling: (shift(format.w_sub()), shift(format.h_sub())),
            margin,
        }
    }
}

/// Describes planes that begin at the picture ([`Picture::trimmed`](super::Picture::trimmed)).
pub(super) fn plane_infos(
    info: &VideoInfo,
    canvas: &Canvas,
    planes: &[Plane],
) -> SmallVec<[PlaneInfo; 4]> {
    let planes = planes.iter().enumerate();
    planes
        .map(|(number, plane)| PlaneInfo::new(number, info, canvas, plane))
        .collect()
}

/// Properties of a frame, for window functions.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FrameInfo<'f> {
    /// Format, size of the picture, colorimetry. Strides and offsets are the defaults of this size;
    /// the actual strides are in [`planes`](Self::planes).
    pub info: &'f VideoInfo,
    /// The planes.
    pub planes: &'f [PlaneInfo],
    /// Presentation time (`GST_BUFFER_PTS`).
    pub pts: Option<gst::ClockTime>,
    /// Duration (`GST_BUFFER_DURATION`).
    pub duration: Option<gst::ClockTime>,
    /// Number since the element was started, from 0.
    pub number: u64,
}

/// The reason why rows are not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// The frame has no such plane.
    #[error("the frame has {planes} planes, there is no plane {plane}")]
    NoPlane {
        /// The requested plane.
        plane: usize,
        /// Number of planes.
        planes: usize,
    },
    /// The plane has no such rows, or the range is empty.
    #[error("rows {} to {} of plane {plane}, which has {rows}, cannot be lent", asked.start, asked.end)]
    NoRows {
        /// The plane.
        plane: usize,
        /// The requested rows.
        asked: Range<usize>,
        /// Number of rows.
        rows: usize,
    },
    /// The two windows would overlap.
    #[error("the rows asked for lie where those of the other window do")]
    Overlap,
    /// The function has not requested second windows ([`Lending::Pairs`](super::Lending::Pairs)).
    #[error(
        "this function has said that it needs no second window (WindowFunction::lending): other \
         threads may be using those rows"
    )]
    NotInOrder,
}

/// Some rows of a plane and their place in a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowSpan {
    plane: PlaneInfo,
    first: usize,
    /// The rows, as a plane.
    mapped: MappedPlane,
}

impl RowSpan {
    /// # Errors
    /// [`WindowError`] if the plane or the rows do not exist.
    pub(super) fn new(
        planes: &[PlaneInfo],
        mapped: &[MappedPlane],
        plane: usize,
        rows: Range<usize>,
    ) -> Result<Self, WindowError> {
        let (Some(info), Some(whole)) = (planes.get(plane), mapped.get(plane)) else {
            return Err(WindowError::NoPlane {
                plane,
                planes: planes.len(),
            });
        };
        if rows.is_empty() || rows.end > info.rows {
            return Err(WindowError::NoRows {
                plane,
                asked: rows,
                rows: info.rows,
            });
        }
        Ok(Self::of(*info, whole, rows))
    }

    /// Creates a span of rows that exist.
    pub(super) fn of(plane: PlaneInfo, mapped: &MappedPlane, rows: Range<usize>) -> Self {
        Self {
            plane,
            first: rows.start,
            mapped: mapped.some_rows(rows),
        }
    }

    pub(super) fn buffer(&self) -> usize {
        self.mapped.buffer
    }

    /// Returns the range from the first row's first byte to the last row's last, in the buffer.
    pub(super) fn bytes(&self) -> Range<usize> {
        self.mapped.start..self.mapped.start + self.mapped.plane.extent()
    }

    pub(super) fn pages(&self) -> Range<usize> {
        self.mapped.pages(page_size())
    }

    /// Cuts the rows out of a window that begins at byte `start` of the buffer.
    pub(super) fn rows<'w, A: Access>(&self, window: Window<'w, A>, start: usize) -> Rows<'w, A> {
        let bytes = self.bytes();
        let [_, rows, _] = window.split(bytes.start - start..bytes.end - start);
        Rows {
            bytes: rows,
            plane: self.plane,
            first: self.first,
            count: self.mapped.plane.rows,
        }
    }

    /// Borrows the rows from their buffer.
    pub(super) fn borrow<'w, A: Access>(&self, buffer: &'w mut Windows<'_, A>) -> Rows<'w, A> {
        let pages = self.pages();
        let start = pages.start * page_size();
        self.rows(buffer.window(pages), start)
    }
}

/// Consecutive whole rows of one plane, borrowed while the bracket is open.
///
/// The access is that of the bracket: [`rows_mut`](Self::rows_mut) and the like exist only if `A`
/// is [`Writable`].
#[derive(Debug)]
pub struct Rows<'w, A: Access> {
    bytes: Window<'w, A>,
    plane: PlaneInfo,
    first: usize,
    count: usize,
}

impl<A: Access> Rows<'_, A> {
    /// Returns the plane of the rows.
    pub fn plane(&self) -> &PlaneInfo {
        &self.plane
    }

    /// Returns the range of these rows in the plane.
    pub fn range(&self) -> Range<usize> {
        self.first..self.first + self.count
    }

    /// Returns the rows from top to bottom, [`PlaneInfo::row_bytes`] each, without padding.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let length = self.plane.row_bytes;
        let rows = self.bytes.chunks(self.plane.stride.max(1));
        rows.map(move |row| &row[..length])
    }

    /// Returns one row; 0 is the first of these rows.
    ///
    /// # Panics
    /// Panics if `number` is out of range.
    pub fn row(&self, number: usize) -> &[u8] {
        let start = number * self.plane.stride;
        &self.bytes[start..start + self.plane.row_bytes]
    }

    /// Returns the bytes from the first row's first to the last row's last, including padding
    /// between rows: row `n` begins at `n` times [`PlaneInfo::stride`]. The padding may contain
    /// anything, even rows of another plane.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<A: Access> Rows<'_, A> {
    /// Returns the address of the first byte, for code in other languages, which may write if `A`
    /// is [`Writable`].
    pub(crate) fn address(&self) -> std::ptr::NonNull<u8> {
        self.bytes.address()
    }
}

impl<A: Writable> Rows<'_, A> {
    /// As [`rows`](Rows::rows), mutable.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u8]> {
        let length = self.plane.row_bytes;
        let rows = self.bytes.chunks_mut(self.plane.stride.max(1));
        rows.map(move |row| &mut row[..length])
    }

    /// As [`row`](Rows::row), mutable.
    ///
    /// # Panics
    /// Panics if `number` is out of range.
    pub fn row_mut(&mut self, number: usize) -> &mut [u8] {
        let start = number * self.plane.stride;
        &mut self.bytes[start..start + self.plane.row_bytes]
    }

    /// As [`bytes`](Rows::bytes), mutable. Padding should not be modified.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// The window that a [`WindowFunction`](super::WindowFunction) is called with: [`Rows`], their
/// frame and, if the function requested it, access to a second window.
#[derive(Debug)]
pub struct FrameWindow<'w, A: Access> {
    rows: Rows<'w, A>,
    frame: &'w FrameInfo<'w>,
    others: Option<OtherWindows<'w, A>>,
}

/// The parts of a frame outside of the window, for a second window.
#[derive(Debug)]
struct OtherWindows<'w, A: Access> {
    mapped: &'w [MappedPlane],
    /// The buffer of the window.
    buffer: usize,
    before: Window<'w, A>,
    after: Window<'w, A>,
    /// Offset of `after` in the buffer, in bytes.
    after_start: usize,
    /// All buffers; `None` for that of the window.
    buffers: SmallVec<[Option<Windows<'w, A>>; 4]>,
}

impl<'w, A: Access> FrameWindow<'w, A> {
    /// Creates a window without access to a second one.
    pub(super) fn alone(rows: Rows<'w, A>, frame: &'w FrameInfo<'w>) -> Self {
        Self {
            rows,
            frame,
            others: None,
        }
    }

    /// Creates a window with access to a second one.
    pub(super) fn with_second(
        span: &RowSpan,
        buffers: &'w mut [Windows<'_, A>],
        mapped: &'w [MappedPlane],
        frame: &'w FrameInfo<'w>,
    ) -> Self {
        let bytes = span.bytes();
        let mut pieces = None;
        let buffers = buffers.iter_mut().enumerate();
        let others = buffers.map(|(number, windows)| {
            if number != span.buffer() {
                return Some(windows.narrowed());
            }
            pieces = Some(windows.window(0..usize::MAX).split(bytes.clone()));
            None
        });
        let others = others.collect();
        let Some([before, rows, after]) = pieces else {
            unreachable!("every span is in an open buffer");
        };
        Self {
            rows: Rows {
                bytes: rows,
                plane: span.plane,
                first: span.first,
                count: span.mapped.plane.rows,
            },
            frame,
            others: Some(OtherWindows {
                mapped,
                buffer: span.buffer(),
                before,
                after,
                after_start: bytes.end,
                buffers: others,
            }),
        }
    }

    /// Returns the frame.
    pub fn frame(&self) -> &FrameInfo<'w> {
        self.frame
    }

    /// Returns the window together with a second one: rows of any plane outside of the window.
    ///
    /// Both are borrowed from `self`, so a third window cannot exist. Rows above the window have
    /// already been processed.
    ///
    /// # Errors
    /// [`WindowError`]; always, unless [`lending`](super::WindowFunction::lending) is
    /// [`Pairs`](super::Lending::Pairs).
    pub fn second(
        &mut self,
        plane: usize,
        rows: Range<usize>,
    ) -> Result<(&mut Rows<'w, A>, Rows<'_, A>), WindowError> {
        let others = self.others.as_mut().ok_or(WindowError::NotInOrder)?;
        let span = RowSpan::new(self.frame.planes, others.mapped, plane, rows)?;
        let bytes = span.bytes();
        let other = if span.buffer() != others.buffer {
            let buffer = others.buffers.get_mut(span.buffer());
            match buffer.and_then(Option::as_mut) {
                Some(windows) => span.borrow(windows),
                None => unreachable!(
                    "all memories are open where there are pairs (CallbackRunner::needs_plane)"
                ),
            }
        } else if bytes.end <= others.before.len() {
            span.rows(others.before.reborrowed(), 0)
        } else if bytes.start >= others.after_start {
            span.rows(others.after.reborrowed(), others.after_start)
        } else {
            return Err(WindowError::Overlap);
        };
        Ok((&mut self.rows, other))
    }
}

impl<'w, A: Access> Deref for FrameWindow<'w, A> {
    type Target = Rows<'w, A>;

    fn deref(&self) -> &Rows<'w, A> {
        &self.rows
    }
}

impl<A: Access> DerefMut for FrameWindow<'_, A> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.rows
    }
}
